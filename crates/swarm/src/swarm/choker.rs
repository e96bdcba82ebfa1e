//! Who may download from us (BEP 3).
//!
//! While we fetch: those that give us most, and one more by turns, so that newcomers get a start.
//! While we seed: by turns, so that nobody holds a slot for long. Peers on the local network need no
//! slot at all.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use crate::PeerKey;
use chance::Chance;

/// What the choker sees of a peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerView {
    pub(crate) key: PeerKey,
    pub(crate) interested: bool,
    pub(crate) local: bool,
    pub(crate) unchoked: bool,
    /// Bytes a second that it gives us.
    pub(crate) down_rate: u64,
    /// Bytes it got from us since it was unchoked.
    pub(crate) served: u64,
    /// Since when it has its slot, or waits for one.
    pub(crate) since: Instant,
    pub(crate) connected_at: Instant,
}

/// Guests ([`super::guests`]) that hold slots or want some.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct GuestLoad {
    /// Slots that they hold.
    pub(crate) served: usize,
    pub(crate) waiting: usize,
}

/// Slots and turns.
#[derive(Debug)]
pub(crate) struct Choker {
    fixed_slots: Option<usize>,
    slots: usize,
    /// Who gets the odd slot changes with each round.
    odd_to_guests: bool,
    optimistic: Option<PeerKey>,
    round_at: Instant,
    optimistic_at: Instant,
    rounds: u64,
}

impl Choker {
    pub(crate) fn new(now: Instant, fixed_slots: Option<usize>) -> Self {
        let slots = fixed_slots.unwrap_or(SLOTS_MIN).max(1);
        Self {
            fixed_slots,
            slots,
            odd_to_guests: true,
            optimistic: None,
            round_at: now,
            optimistic_at: now,
            rounds: 0,
        }
    }

    pub(crate) const fn next_round(&self) -> Instant {
        self.round_at
    }

    /// Rounds so far.
    pub(crate) const fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Slots that there are; local peers need none.
    pub(crate) const fn slots(&self) -> usize {
        self.slots
    }

    /// Who waits for a slot, in the order in which they would get one if nothing changed. While we fetch, rates
    /// do change, and now and then somebody goes first by chance.
    pub(crate) fn queue(now: Instant, seeding: bool, peers: &[PeerView]) -> Vec<PeerKey> {
        let mut waiting: Vec<_> = peers.iter().copied().filter(PeerView::waits).collect();
        line_up(now, seeding, &mut waiting);
        waiting.into_iter().map(|peer| peer.key).collect()
    }

    /// A peer became interested: it may go at once if it is local or a slot is free.
    pub(crate) fn admits(&self, peer: &PeerView, peers: &[PeerView], guests: GuestLoad) -> bool {
        peer.local || self.has_room(peers, guests)
    }

    /// A slot is free.
    pub(crate) fn has_room(&self, peers: &[PeerView], guests: GuestLoad) -> bool {
        self.used(peers, guests) < self.slots
    }

    /// Slots that are taken. They may be more than there are while those grow fewer.
    pub(crate) fn used(&self, peers: &[PeerView], guests: GuestLoad) -> usize {
        peers.iter().filter(|other| takes_slot(other)).count() + guests.served
    }

    /// Slots that guests may hold while peers want some too.
    pub(crate) const fn guest_share(&self) -> usize {
        (self.slots + self.odd_to_guests as usize) / 2
    }

    /// A round every ten seconds: who is to be unchoked from now on. `up_rate` is bytes a second.
    pub(crate) fn round(
        &mut self,
        now: Instant,
        seeding: bool,
        up_rate: u64,
        peers: &[PeerView],
        guests: GuestLoad,
        chance: &mut Chance,
    ) -> Vec<PeerKey> {
        self.round_at = now + ROUND;
        self.rounds += 1;
        self.odd_to_guests = !self.odd_to_guests;
        self.slots = self.fixed_slots.unwrap_or_else(|| slots_for(up_rate)).max(1);
        let (mut chosen, rivals): (Vec<_>, Vec<_>) =
            peers.iter().copied().filter(|peer| peer.interested).partition(|peer| peer.local);
        let mut rivals = rivals;
        if now >= self.optimistic_at || !rivals.iter().any(|p| Some(p.key) == self.optimistic) {
            self.optimistic_at = now + OPTIMISTIC;
            self.optimistic = choose_optimistic(now, seeding, &rivals, chance);
        }
        line_up(now, seeding, &mut rivals);
        let optimistic = rivals.iter().position(|peer| Some(peer.key) == self.optimistic);
        if let Some(place) = optimistic {
            let peer = rivals.remove(place);
            rivals.insert(0, peer);
        }
        let wanted = (guests.served + guests.waiting).min(self.guest_share());
        let slots = self.slots.saturating_sub(wanted.max(guests.served));
        chosen.extend(rivals.into_iter().take(slots));
        chosen.into_iter().map(|peer| peer.key).collect()
    }
}

impl PeerView {
    /// It wants a slot and has none.
    pub(crate) const fn waits(&self) -> bool {
        self.interested && !self.unchoked && !self.local
    }
}

/// Who comes first gets a slot first. Among those that give us as much, who has waited longest.
fn line_up(now: Instant, seeding: bool, peers: &mut [PeerView]) {
    match seeding {
        true => peers.sort_by_key(|peer| (had_its_turn(now, peer), !peer.unchoked, peer.since)),
        false => peers.sort_by_key(|peer| (Reverse(peer.down_rate), !peer.unchoked, peer.since)),
    }
}

/// Served long enough and well enough to let another one in.
fn had_its_turn(now: Instant, peer: &PeerView) -> bool {
    peer.unchoked && now.duration_since(peer.since) >= TURN && peer.served >= TURN_BYTES
}

const fn takes_slot(peer: &PeerView) -> bool {
    peer.unchoked && !peer.local && peer.interested
}

/// Among those that wait; newcomers have three times the chance of others.
fn choose_optimistic(
    now: Instant,
    seeding: bool,
    rivals: &[PeerView],
    chance: &mut Chance,
) -> Option<PeerKey> {
    if seeding {
        return None;
    }
    let mut lots = Vec::new();
    for peer in rivals.iter().filter(|peer| !peer.unchoked) {
        let new = now.duration_since(peer.connected_at) < NEWCOMER;
        lots.extend(std::iter::repeat_n(peer.key, if new { 3 } else { 1 }));
    }
    (!lots.is_empty()).then(|| lots[chance.index(lots.len())])
}

/// More slots for a faster uplink: enough that slow peers together can use it, few enough that each
/// gets a stream worth returning.
fn slots_for(up_rate: u64) -> usize {
    ((up_rate as f64 / 1024.0 * 0.6).sqrt() as usize).clamp(SLOTS_MIN, SLOTS_MAX)
}

const ROUND: Duration = Duration::from_secs(10);
const OPTIMISTIC: Duration = Duration::from_secs(30);
const NEWCOMER: Duration = Duration::from_secs(90);
const TURN: Duration = Duration::from_secs(60);
const TURN_BYTES: u64 = 10 << 20;
const SLOTS_MIN: usize = 8;
const SLOTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: GuestLoad = GuestLoad { served: 0, waiting: 0 };

    fn peer(key: u64, now: Instant) -> PeerView {
        PeerView {
            key: PeerKey(key),
            interested: true,
            local: false,
            unchoked: false,
            down_rate: 0,
            served: 0,
            since: now,
            connected_at: now,
        }
    }

    #[test]
    fn best_givers_and_one_by_chance_are_served() {
        let now = crate::test_now();
        let mut choker = Choker::new(now, Some(3));
        let peers: Vec<_> = (0..10)
            .map(|key| PeerView { down_rate: key * 1000, unchoked: key > 5, ..peer(key, now) })
            .collect();
        let chosen = choker.round(now, false, 0, &peers, NOBODY, &mut Chance::new(1));
        assert_eq!(chosen.len(), 3);
        assert!(chosen.contains(&PeerKey(9)) && chosen.contains(&PeerKey(8)));
        assert!(chosen.iter().any(|key| key.0 <= 5), "one newcomer by chance: {chosen:?}");
    }

    #[test]
    fn local_peers_need_no_slot() {
        let now = crate::test_now();
        let mut choker = Choker::new(now, Some(1));
        let peers: Vec<_> =
            (0..6).map(|key| PeerView { local: key < 5, ..peer(key, now) }).collect();
        assert_eq!(choker.round(now, true, 0, &peers, NOBODY, &mut Chance::new(1)).len(), 6);
    }

    #[test]
    fn seeding_rotates_after_a_turn() {
        let start = crate::test_now();
        let now = start + Duration::from_secs(100);
        let mut choker = Choker::new(start, Some(1));
        let served = PeerView { unchoked: true, served: 99 << 20, ..peer(1, start) };
        let waiting = peer(2, start);
        let chosen = choker.round(now, true, 0, &[served, waiting], NOBODY, &mut Chance::new(1));
        assert_eq!(chosen, [PeerKey(2)]);
    }

    #[test]
    fn a_free_slot_is_given_at_once() {
        let now = crate::test_now();
        let choker = Choker::new(now, Some(1));
        assert!(choker.admits(&peer(1, now), &[], NOBODY));
        let taken = PeerView { unchoked: true, ..peer(2, now) };
        assert!(!choker.admits(&peer(1, now), &[taken], NOBODY));
    }

    #[test]
    fn a_seeder_serves_who_has_waited_longest() {
        let start = crate::test_now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut peers = vec![PeerView { unchoked: true, ..peer(1, start) }];
        peers.extend([(2, 30), (3, 10), (4, 20)].map(|(key, since)| peer(key, at(since))));
        peers.push(PeerView { interested: false, ..peer(5, at(1)) });
        peers.push(PeerView { local: true, ..peer(6, at(1)) });
        assert_eq!(Choker::queue(at(40), true, &peers), [PeerKey(3), PeerKey(4), PeerKey(2)]);
        // As told, so it comes.
        peers.retain(|peer| peer.key != PeerKey(1) && !peer.local);
        let mut choker = Choker::new(start, Some(2));
        let chosen = choker.round(at(40), true, 0, &peers, NOBODY, &mut Chance::new(1));
        assert_eq!(chosen, [PeerKey(3), PeerKey(4)]);
        // Who had its turn waits again, behind all others.
        peers.iter_mut().for_each(|peer| peer.unchoked = chosen.contains(&peer.key));
        peers.iter_mut().filter(|peer| peer.unchoked).for_each(|peer| {
            (peer.since, peer.served) = (at(40), TURN_BYTES);
        });
        let chosen = choker.round(at(100), true, 0, &peers, NOBODY, &mut Chance::new(1));
        assert_eq!(chosen, [PeerKey(2), PeerKey(3)]);
    }

    #[test]
    fn who_fetches_lets_those_wait_least_that_give_most() {
        let start = crate::test_now();
        let rates = [(1, 0), (2, 500), (3, 9_000), (4, 500)];
        let mut peers: Vec<_> =
            rates.map(|(key, down_rate)| PeerView { down_rate, ..peer(key, start) }).into();
        peers[1].since += Duration::from_secs(1);
        let queue = Choker::queue(start, false, &peers);
        assert_eq!(queue, [3, 4, 2, 1].map(PeerKey), "then those that have waited longest");
    }

    #[test]
    fn guests_get_half_of_the_slots_while_peers_want_them_too() {
        let now = crate::test_now();
        let slots_of_peers = |slots, guests| {
            let mut choker = Choker::new(now, Some(slots));
            let peers: Vec<_> = (0..9).map(|key| peer(key, now)).collect();
            [(); 2].map(|()| choker.round(now, true, 0, &peers, guests, &mut Chance::new(1)).len())
        };
        assert_eq!(slots_of_peers(4, NOBODY), [4, 4]);
        assert_eq!(slots_of_peers(4, GuestLoad { served: 1, waiting: 0 }), [3, 3]);
        assert_eq!(slots_of_peers(4, GuestLoad { served: 0, waiting: 9 }), [2, 2]);
        assert_eq!(slots_of_peers(4, GuestLoad { served: 4, waiting: 9 }), [0, 0]);
        assert_eq!(slots_of_peers(1, GuestLoad { served: 0, waiting: 9 }), [1, 0], "by turns");
    }
}

//! Upload slots for guests: who is no BitTorrent peer, asks for one part of a file and leaves.
//!
//! Guests and peers share the slots. While both want some, guests get half of them, so that neither
//! shuts the other out. Guests come first come first served, address by address: many requests of one
//! address do not push back the first one of another. Who is on the local network needs no slot.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use proto::address::is_local;

use super::Swarm;
use super::choker::{self, GuestLoad};
use crate::limits::GUESTS_WAITING_MAX;
use crate::{Action, GuestKey};

/// How the slots stand, for who comes from one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestView {
    /// A guest from there would be served at once.
    pub room: bool,
    /// One from there is served now.
    pub served: bool,
    /// Guests that wait, from anywhere.
    pub waiting: usize,
}

/// Who is served, who waits.
#[derive(Debug, Default)]
pub(crate) struct Guests {
    served: BTreeMap<GuestKey, IpAddr>,
    /// In the order of their turns, each with who waits there; none is empty.
    waiting: VecDeque<(IpAddr, VecDeque<GuestKey>)>,
    waiting_len: usize,
}

impl Swarm {
    /// A guest wants a slot. [`Action::Admit`] gives it one, maybe at once; whatever happens the shell
    /// calls [`Swarm::handle_guest_left`] in the end. False when too many wait: then it is forgotten.
    pub fn handle_guest(&mut self, now: Instant, key: GuestKey, ip: IpAddr) -> bool {
        self.now = now;
        if self.guests.waiting_len >= GUESTS_WAITING_MAX || self.stopping {
            return false;
        }
        if is_local(ip) {
            self.guests.served.insert(key, place_of(ip));
            self.actions.push(Action::Admit(key));
        } else {
            self.guests.wait(key, place_of(ip));
        }
        self.after();
        true
    }

    /// A guest is done, or waits no longer. `sent` payload bytes went to it.
    pub fn handle_guest_left(&mut self, now: Instant, key: GuestKey, sent: u64) {
        self.now = now;
        self.up.add(sent);
        self.guests.remove(key);
        self.admit_who_waits();
        self.after();
    }

    /// How the slots stand, for who comes from `ip`.
    #[must_use]
    pub fn guest_view(&self, ip: IpAddr) -> GuestView {
        let place = place_of(ip);
        GuestView {
            room: is_local(ip) || (self.guests.waiting_len == 0 && self.has_room_for_guest()),
            served: self.guests.served.values().any(|other| *other == place),
            waiting: self.guests.waiting_len,
        }
    }

    /// Free slots go to guests that wait.
    pub(super) fn admit_guests(&mut self) {
        while self.guests.waiting_len > 0 && !self.stopping && self.has_room_for_guest() {
            let Some(key) = self.guests.admit_next() else { return };
            self.actions.push(Action::Admit(key));
        }
    }

    pub(super) fn guest_load(&self) -> GuestLoad {
        GuestLoad { served: self.guests.slots_taken(), waiting: self.guests.waiting_len }
    }

    fn has_room_for_guest(&self) -> bool {
        let views = self.choker_views();
        let load = self.guest_load();
        let peers_wait = views.iter().any(choker::PeerView::waits);
        self.choker.has_room(&views, load)
            && (!peers_wait || load.served < self.choker.guest_share())
    }
}

impl Guests {
    pub(crate) fn is_empty(&self) -> bool {
        self.served.is_empty() && self.waiting.is_empty()
    }

    fn slots_taken(&self) -> usize {
        self.served.values().filter(|ip| !is_local(**ip)).count()
    }

    fn wait(&mut self, key: GuestKey, place: IpAddr) {
        self.waiting_len += 1;
        match self.waiting.iter_mut().find(|(other, _)| *other == place) {
            Some((_, keys)) => keys.push_back(key),
            None => self.waiting.push_back((place, [key].into())),
        }
    }

    /// The first one of the address whose turn it is; that address then goes to the end.
    fn admit_next(&mut self) -> Option<GuestKey> {
        let (place, mut keys) = self.waiting.pop_front()?;
        let key = keys.pop_front()?;
        self.waiting_len -= 1;
        if !keys.is_empty() {
            self.waiting.push_back((place, keys));
        }
        self.served.insert(key, place);
        Some(key)
    }

    fn remove(&mut self, key: GuestKey) {
        if self.served.remove(&key).is_some() {
            return;
        }
        for (_, keys) in &mut self.waiting {
            let before = keys.len();
            keys.retain(|other| *other != key);
            self.waiting_len -= before - keys.len();
        }
        self.waiting.retain(|(_, keys)| !keys.is_empty());
    }
}

/// What counts as one address: of IPv6 a whole /64, which everybody has.
fn place_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use proto::{InfoHashV1, InfoHashes, PeerId};

    use super::super::Config;
    use super::*;

    /// Far away: not on the local network.
    fn ip(host: u8) -> IpAddr {
        [198, 51, 100, host].into()
    }

    fn swarm(slots: usize) -> (Swarm, Instant) {
        let now = crate::test_now();
        let config = Config {
            seed: 1,
            peer_id: PeerId([5; 20]),
            info_hashes: InfoHashes::new(Some(InfoHashV1([1; 20])), None).unwrap(),
            trackers: Vec::new(),
            max_peers: 10,
            upload_slots: Some(slots),
            piece_budget: 1 << 20,
            fetch: true,
            super_seed: false,
            metadata_known: true,
            order: crate::PieceOrder::default(),
            exchange: false,
            punch: false,
            dht: false,
        };
        (Swarm::new(now, config), now)
    }

    fn admitted(swarm: &mut Swarm) -> Vec<u64> {
        let mut actions = Vec::new();
        swarm.poll_actions(&mut actions);
        let admitted = actions
            .into_iter()
            .filter_map(|action| if let Action::Admit(key) = action { Some(key.0) } else { None });
        admitted.collect()
    }

    #[test]
    fn guests_wait_for_a_slot_and_take_turns_by_address() {
        let (mut swarm, now) = swarm(1);
        for (key, host) in [(1, 1), (2, 1), (3, 1), (4, 2)] {
            assert!(swarm.handle_guest(now, GuestKey(key), ip(host)));
        }
        assert_eq!(admitted(&mut swarm), [1]);
        let mut order = vec![1];
        while let Some(last) = order.last().copied().filter(|_| order.len() < 4) {
            swarm.handle_guest_left(now, GuestKey(last), 10);
            order.extend(admitted(&mut swarm));
        }
        assert_eq!(order, [1, 2, 4, 3], "the other address does not wait for all of the first");
        assert_eq!(swarm.stats().uploaded, 30);
    }

    #[test]
    fn who_gives_up_leaves_the_queue() {
        let (mut swarm, now) = swarm(1);
        for key in 1..=3 {
            swarm.handle_guest(now, GuestKey(key), ip(key as u8));
        }
        swarm.handle_guest_left(now, GuestKey(2), 0);
        assert_eq!(swarm.guest_view(ip(9)), GuestView { room: false, served: false, waiting: 1 });
        assert!(swarm.guest_view(ip(1)).served);
        swarm.handle_guest_left(now, GuestKey(1), 0);
        assert_eq!(admitted(&mut swarm), [1, 3]);
        swarm.handle_guest_left(now, GuestKey(3), 0);
        assert_eq!(swarm.guest_view(ip(9)), GuestView { room: true, served: false, waiting: 0 });
    }

    #[test]
    fn local_guests_need_no_slot() {
        let (mut swarm, now) = swarm(1);
        for key in 1..=3 {
            swarm.handle_guest(now, GuestKey(key), [192, 168, 0, 1].into());
        }
        swarm.handle_guest(now, GuestKey(4), ip(1));
        assert_eq!(admitted(&mut swarm), [1, 2, 3, 4]);
    }

    #[test]
    fn the_queue_is_bounded() {
        let (mut swarm, now) = swarm(1);
        let all = 2 + GUESTS_WAITING_MAX as u64;
        let taken = (0..all).filter(|key| swarm.handle_guest(now, GuestKey(*key), ip(1))).count();
        assert_eq!(taken, 1 + GUESTS_WAITING_MAX);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let parse = |text: &str| place_of(text.parse().unwrap());
        assert_eq!(parse("2001:db8::1"), parse("2001:db8::ffff:1"));
        assert_ne!(parse("2001:db8::1"), parse("2001:db8:0:1::1"));
        assert_eq!(parse("::ffff:10.0.0.1"), IpAddr::from([10, 0, 0, 1]));
    }
}

//! Addresses that peers may be found at: whom to dial next, whom to leave alone, who is banned.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use proto::egress::Nearness;
use proto::peer::priority;

use super::room::Crowd;

#[derive(Debug)]
struct Candidate {
    failures: u32,
    next_at: Instant,
    /// Being dialled, or connected either way.
    busy: bool,
    /// The last dial failed, or the last connection has ended.
    away: bool,
    /// The nearest of those who named it.
    by: Nearness,
}

/// Known addresses and bans.
#[derive(Debug)]
pub(crate) struct Addresses {
    candidates: BTreeMap<SocketAddr, Candidate>,
    /// Proved liars at that address.
    banned: BTreeMap<SocketAddr, ()>,
    /// Liars found at that host, whatever their port.
    liars: BTreeMap<IpAddr, u32>,
    dialling: usize,
}

impl Addresses {
    pub(crate) fn new() -> Self {
        let (candidates, banned, liars) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { candidates, banned, liars, dialling: 0 }
    }

    /// Somebody who is that near says that a peer is there.
    pub(crate) fn add(&mut self, now: Instant, addr: SocketAddr, by: Nearness) {
        let addr = canonical(addr);
        if by.may_name(addr).is_err() || self.is_banned(addr) {
            return;
        }
        if let Some(known) = self.candidates.get_mut(&addr) {
            known.by = known.by.max(by);
            return;
        }
        if self.candidates.len() >= CANDIDATES_MAX && !self.evict_worst() {
            return;
        }
        self.candidates
            .insert(addr, Candidate { failures: 0, next_at: now, busy: false, away: false, by });
    }

    /// The next addresses to dial, at most `room`: first those of networks that few connections lead to,
    /// among them those that we and they like most (BEP 40). `ours` is where others see us.
    pub(crate) fn due(
        &mut self,
        now: Instant,
        room: usize,
        (mut crowd, ours): (Crowd, SocketAddr),
    ) -> Vec<(SocketAddr, Nearness)> {
        let room = room.min(DIALLING_MAX.saturating_sub(self.dialling));
        if room == 0 {
            return Vec::new();
        }
        let ready = self.candidates.iter().filter(|(_, c)| !c.busy && c.next_at <= now);
        let mut ready: Vec<_> = ready.map(|(addr, c)| (*addr, c.by)).collect();
        ready.sort_by_cached_key(|(addr, _)| Reverse(priority(ours, *addr)));
        // Each one chosen makes its network count for more.
        let mut ready: Vec<_> =
            ready.into_iter().map(|found| (crowd.add(found.0.ip()), found)).collect();
        ready.sort_by_key(|(others, _)| *others);
        let mut ready: Vec<_> = ready.into_iter().map(|(_, found)| found).collect();
        ready.truncate(room);
        for (addr, _) in &ready {
            if let Some(candidate) = self.candidates.get_mut(addr) {
                candidate.busy = true;
                self.dialling += 1;
            }
        }
        ready
    }

    /// Addresses that could be dialled now.
    pub(crate) fn ready(&self, now: Instant) -> impl Iterator<Item = SocketAddr> {
        let ready = self.candidates.iter().filter(move |(_, c)| !c.busy && c.next_at <= now);
        ready.map(|(addr, _)| *addr)
    }

    /// An address to be dialled out of turn, on the word of somebody who is that near. False when it is being
    /// dialled or connected, may not be dialled, or enough are.
    pub(crate) fn reserve(&mut self, now: Instant, addr: SocketAddr, by: Nearness) -> bool {
        if by.may_name(addr).is_err() || self.is_banned(addr) || self.dialling >= DIALLING_MAX {
            return false;
        }
        self.add(now, addr, by);
        let Some(candidate) = self.candidates.get_mut(&addr).filter(|known| !known.busy) else {
            return false;
        };
        candidate.busy = true;
        self.dialling += 1;
        true
    }

    /// When the next address may be dialled; `None` also while enough are being dialled.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        if self.dialling >= DIALLING_MAX {
            return None;
        }
        self.candidates.values().filter(|candidate| !candidate.busy).map(|c| c.next_at).min()
    }

    /// A dial led to a connection; whether that is worth anything is seen when it ends.
    pub(crate) fn on_connected(&mut self, addr: SocketAddr) {
        self.dialling = self.dialling.saturating_sub(1);
        if let Some(candidate) = self.candidates.get_mut(&addr) {
            candidate.away = false;
        }
    }

    /// Who listens there dialled us: no need to dial it.
    pub(crate) fn hold(&mut self, now: Instant, addr: SocketAddr) {
        self.add(now, addr, Nearness::of(addr.ip()));
        if let Some(candidate) = self.candidates.get_mut(&addr) {
            (candidate.busy, candidate.away) = (true, false);
        }
    }

    pub(crate) fn on_dial_failed(&mut self, now: Instant, addr: SocketAddr) {
        self.dialling = self.dialling.saturating_sub(1);
        self.retry_later(now, addr);
    }

    /// The last connection to who listens there ended. One that moved no payload counts as a failure,
    /// or two that have nothing for each other would meet again every second.
    pub(crate) fn on_disconnected(&mut self, now: Instant, addr: SocketAddr, worked: bool) {
        if let Some(candidate) = self.candidates.get_mut(&addr)
            && worked
        {
            candidate.failures = 0;
        }
        self.retry_later(now, addr);
    }

    /// Ourselves, or a second way to a peer that we have: not worth dialling again soon.
    pub(crate) fn forget(&mut self, addr: SocketAddr) {
        self.candidates.remove(&addr);
    }

    /// A liar was found at `addr`; `listening` is where it can be dialled.
    pub(crate) fn ban(&mut self, addr: SocketAddr, listening: Option<SocketAddr>) {
        for addr in [Some(addr), listening].into_iter().flatten() {
            self.candidates.remove(&addr);
            if self.banned.len() < BANNED_MAX {
                self.banned.insert(addr, ());
            }
        }
        if self.liars.len() < BANNED_MAX || self.liars.contains_key(&addr.ip()) {
            *self.liars.entry(addr.ip()).or_default() += 1;
        }
    }

    /// Several peers may share one host, so a host is banned only after several liars.
    pub(crate) fn is_banned(&self, addr: SocketAddr) -> bool {
        self.banned.contains_key(&addr)
            || self.liars.get(&addr.ip()).is_some_and(|liars| *liars >= LIARS_A_HOST)
    }

    /// Where nobody is to be had now: some of the addresses, and how many there are.
    pub(crate) fn unavailable(&self) -> (Vec<SocketAddr>, usize) {
        let away = self.candidates.iter().filter(|(_, candidate)| candidate.away);
        let all = || self.banned.keys().chain(away.clone().map(|(addr, _)| addr));
        (all().take(UNAVAILABLE_MAX).copied().collect(), all().count())
    }

    fn retry_later(&mut self, now: Instant, addr: SocketAddr) {
        let Some(candidate) = self.candidates.get_mut(&addr) else { return };
        (candidate.busy, candidate.away) = (false, true);
        candidate.next_at = now + RETRY_FIRST * (1 << candidate.failures.min(8));
        candidate.failures += 1;
        if candidate.failures > FAILURES_MAX {
            self.candidates.remove(&addr);
        }
    }

    fn evict_worst(&mut self) -> bool {
        let idle = self.candidates.iter().filter(|(_, candidate)| !candidate.busy);
        let worst = idle.max_by_key(|(_, candidate)| candidate.failures);
        let Some((addr, _)) = worst.filter(|(_, worst)| worst.failures > 0) else { return false };
        let addr = *addr;
        self.candidates.remove(&addr).is_some()
    }
}

/// IPv4 in IPv6 clothing is the same address: one form everywhere.
#[must_use]
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// A peer's addresses that cost nothing to keep, and far more than are ever dialled.
const CANDIDATES_MAX: usize = 1_000;
const BANNED_MAX: usize = 1_000;
/// Half-open connections at once.
const DIALLING_MAX: usize = 30;
/// Then 2, 4, 8 … seconds.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// After about ten minutes of trying an address is dropped; a tracker may name it again.
const FAILURES_MAX: u32 = 10;
const LIARS_A_HOST: u32 = 3;
/// More are counted and not shown: people look at a few.
const UNAVAILABLE_MAX: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 6881))
    }

    fn nobody() -> (Crowd, SocketAddr) {
        (Crowd::default(), SocketAddr::from(([1, 2, 3, 4], 0)))
    }

    #[test]
    fn networks_take_turns_and_the_dearest_of_each_comes_first() {
        let now = crate::test_now();
        let mut known = Addresses::new();
        let at = |net, host| SocketAddr::from(([20, net, 0, host], 6881));
        (1..=9).for_each(|host| known.add(now, at(1, host), Nearness::Machine));
        (2..=4).for_each(|net| known.add(now, at(net, 1), Nearness::Machine));
        let mut crowd = Crowd::default();
        crowd.add(at(2, 7).ip());
        let (_, ours) = nobody();
        let due: Vec<_> =
            known.due(now, 4, (crowd, ours)).into_iter().map(|(addr, _)| addr).collect();
        let dear = |addr: &SocketAddr| priority(ours, *addr);
        let dearest = (1..=9).map(|host| dear(&at(1, host))).max();
        let of_first = |addr: &&SocketAddr| addr.ip().to_string().starts_with("20.1.");
        let chosen: Vec<_> = due[..3].iter().filter(of_first).map(dear).collect();
        assert_eq!(chosen, dearest.into_iter().collect::<Vec<_>>(), "{due:?}");
        assert!(due[..3].contains(&at(3, 1)) && due[..3].contains(&at(4, 1)), "{due:?}");
    }

    #[test]
    fn failing_addresses_wait_longer_each_time() {
        let now = crate::test_now();
        let mut known = Addresses::new();
        known.add(now, addr(1), Nearness::Machine);
        assert_eq!(known.due(now, 5, nobody()), [(addr(1), Nearness::Machine)]);
        assert!(known.due(now, 5, nobody()).is_empty(), "being dialled already");
        known.on_dial_failed(now, addr(1));
        assert_eq!(known.next_at(), Some(now + Duration::from_secs(1)));
        known.due(now + Duration::from_secs(1), 5, nobody());
        known.on_dial_failed(now, addr(1));
        assert_eq!(known.next_at(), Some(now + Duration::from_secs(2)));
    }

    #[test]
    fn connections_that_bring_nothing_are_made_ever_more_rarely() {
        let mut now = crate::test_now();
        let mut known = Addresses::new();
        known.add(now, addr(1), Nearness::Machine);
        let mut waits = Vec::new();
        for worked in [false, false, false, true] {
            assert_eq!(known.due(now, 1, nobody()), [(addr(1), Nearness::Machine)]);
            known.on_connected(addr(1));
            known.on_disconnected(now, addr(1), worked);
            let next = known.next_at().unwrap();
            waits.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(waits, [1, 2, 4, 1]);
    }

    #[test]
    fn nobody_leads_us_nearer_than_they_are() {
        let now = crate::test_now();
        let due = |by: &[Nearness]| {
            let mut known = Addresses::new();
            for near in
                ["10.0.0.9:1", "127.0.0.1:1", "9.9.9.9:1", "169.254.169.254:80", "0.0.0.0:1"]
            {
                by.iter().for_each(|by| known.add(now, near.parse().unwrap(), *by));
            }
            let mut due = known.due(now, 9, nobody());
            due.sort_unstable();
            due.into_iter().map(|(addr, by)| (addr.to_string(), by)).collect::<Vec<_>>()
        };
        use Nearness::{Internet, Machine, Network};
        let entry = |text: &str, by| (text.to_owned(), by);
        assert_eq!(due(&[Internet]), [entry("9.9.9.9:1", Internet)]);
        let near = [entry("9.9.9.9:1", Network), entry("10.0.0.9:1", Network)];
        assert_eq!(due(&[Internet, Network, Internet]), near);
        assert_eq!(due(&[Machine]).len(), 4);
    }

    #[test]
    fn who_dialled_us_is_not_dialled() {
        let now = crate::test_now();
        let mut known = Addresses::new();
        known.hold(now, addr(1));
        known.add(now, addr(1), Nearness::Machine);
        assert!(known.due(now, 1, nobody()).is_empty());
        known.on_disconnected(now, addr(1), true);
        assert_eq!(known.next_at(), Some(now + Duration::from_secs(1)));
    }

    #[test]
    fn nothing_is_due_while_enough_are_being_dialled() {
        let now = crate::test_now();
        let mut known = Addresses::new();
        (0..100).for_each(|last| known.add(now, addr(last), Nearness::Machine));
        assert_eq!(known.due(now, 100, nobody()).len(), DIALLING_MAX);
        assert_eq!(known.next_at(), None, "or the swarm would wake itself for ever");
        known.on_connected(addr(1));
        assert_eq!(known.next_at(), Some(now));
    }

    #[test]
    fn address_out_of_turn_counts_like_any_other() {
        let now = crate::test_now();
        let mut known = Addresses::new();
        assert!(known.reserve(now, addr(1), Nearness::Machine));
        assert!(!known.reserve(now, addr(1), Nearness::Machine), "it is being dialled");
        assert!(!known.reserve(now, addr(2), Nearness::Internet), "it may not be named");
        known.on_dial_failed(now, addr(1));
        assert_eq!(known.next_at(), Some(now + Duration::from_secs(1)), "its turn comes");
        assert!(known.reserve(now, addr(1), Nearness::Machine), "and need not be waited for");
        known.ban(addr(3), None);
        assert!(!known.reserve(now, addr(3), Nearness::Machine));
        let begun = (4..=255).filter(|last| known.reserve(now, addr(*last), Nearness::Machine));
        assert_eq!(begun.count(), DIALLING_MAX - 1);
    }

    #[test]
    fn one_liar_does_not_ban_its_neighbours() {
        let now = crate::test_now();
        let mut known = Addresses::new();
        let neighbour = SocketAddr::new(addr(1).ip(), 7000);
        known.ban(addr(1), None);
        assert!(known.is_banned(addr(1)) && !known.is_banned(neighbour));
        known.ban(SocketAddr::new(addr(1).ip(), 1), None);
        known.ban(SocketAddr::new(addr(1).ip(), 2), None);
        assert!(known.is_banned(neighbour));
        known.add(now, addr(1), Nearness::Machine);
        assert!(known.due(now, 1, nobody()).is_empty());
    }

    #[test]
    fn who_is_away_or_banned_is_unavailable_until_they_connect() {
        let now = crate::test_now();
        let mut known = Addresses::new();
        (1..=3).for_each(|last| known.add(now, addr(last), Nearness::Machine));
        assert_eq!(known.unavailable(), (vec![], 0), "nobody has tried");
        known.due(now, 3, nobody());
        known.on_dial_failed(now, addr(1));
        known.on_connected(addr(2));
        known.ban(addr(3), None);
        assert_eq!(known.unavailable(), (vec![addr(3), addr(1)], 2));
        known.reserve(now, addr(1), Nearness::Machine);
        assert_eq!(known.unavailable().1, 2, "as long as it has not answered");
        known.on_connected(addr(1));
        known.on_disconnected(now, addr(2), true);
        assert_eq!(known.unavailable(), (vec![addr(3), addr(2)], 2));
        (4..200).for_each(|last| known.ban(addr(last), None));
        let (some, all) = known.unavailable();
        assert_eq!((some.len(), all), (UNAVAILABLE_MAX, 198));
    }

    #[test]
    fn mapped_addresses_have_one_form() {
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:6881".parse().unwrap();
        assert_eq!(canonical(mapped), addr(1));
    }
}

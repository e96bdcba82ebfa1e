//! Peers told of each other (BEP 11).
//!
//! There is one of these for a torrent that is known not to be private (BEP 27), and none for any other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use proto::egress::Nearness;
use proto::metainfo::OpenHash;
use proto::peer::{EXCHANGED_MAX, PeerExchange, PeerFlags};

use super::peer::Peer;
use crate::limits::punch::INTRODUCED_MAX;
use crate::{Direction, PeerKey};

/// What each peer was told and has told.
#[derive(Debug)]
pub(crate) struct Exchange {
    lines: BTreeMap<PeerKey, Line>,
}

#[derive(Debug)]
struct Line {
    told: BTreeSet<SocketAddr>,
    /// Those that it told of and that have hole punching (BEP 55).
    introduced: BTreeSet<SocketAddr>,
    next_at: Instant,
    heard_at: Option<Instant>,
}

impl Exchange {
    /// `hashes` are the torrent's; without any that strangers may know there is no exchange.
    pub(crate) fn new(hashes: &[OpenHash]) -> Option<Self> {
        let is_open = hashes.iter().any(|hash| hash.may_announce());
        is_open.then(|| Self { lines: BTreeMap::new() })
    }

    /// What is to be told by now, and to whom.
    pub(crate) fn due(
        &mut self,
        now: Instant,
        peers: &BTreeMap<PeerKey, Peer>,
    ) -> Vec<(PeerKey, PeerExchange)> {
        let mut messages = Vec::new();
        for (key, peer) in peers.iter().filter(|(_, peer)| peer.info.exchanges) {
            let line = self.lines.entry(*key).or_insert_with(|| Line::new(now));
            if line.next_at > now {
                continue;
            }
            let message = line.news(others(*key, peer, peers));
            let is_silent = message.added.is_empty() && message.dropped.is_empty();
            line.next_at = now + if is_silent { LOOK_AGAIN } else { INTERVAL };
            if !is_silent {
                messages.push((*key, message));
            }
        }
        messages
    }

    /// What a peer tells, if it is time.
    pub(crate) fn heard(
        &mut self,
        now: Instant,
        key: PeerKey,
        message: PeerExchange,
    ) -> Vec<SocketAddr> {
        let line = self.lines.entry(key).or_insert_with(|| Line::new(now));
        if line.heard_at.is_some_and(|heard| now.duration_since(heard) < INTERVAL_MIN) {
            return Vec::new();
        }
        line.heard_at = Some(now);
        for addr in &message.dropped {
            line.introduced.remove(&super::canonical(*addr));
        }
        let told = message.added.iter().map(|(addr, flags)| (super::canonical(*addr), flags));
        told.inspect(|(addr, flags)| line.on_told(*addr, **flags)).map(|(addr, _)| addr).collect()
    }

    /// Who told of that address, and says that it could bring us together with the peer there (BEP 55).
    pub(crate) fn introducers(&self, addr: SocketAddr) -> impl Iterator<Item = PeerKey> {
        let lines = self.lines.iter().filter(move |(_, line)| line.introduced.contains(&addr));
        lines.map(|(key, _)| *key)
    }

    /// It could not.
    pub(crate) fn disown(&mut self, key: PeerKey, addr: SocketAddr) {
        if let Some(line) = self.lines.get_mut(&key) {
            line.introduced.remove(&addr);
        }
    }

    /// A connection ended.
    pub(crate) fn forget(&mut self, key: PeerKey) {
        self.lines.remove(&key);
    }
}

impl Line {
    const fn new(now: Instant) -> Self {
        Self { told: BTreeSet::new(), introduced: BTreeSet::new(), next_at: now, heard_at: None }
    }

    fn on_told(&mut self, addr: SocketAddr, flags: PeerFlags) {
        if flags.holepunch && self.introduced.len() < INTRODUCED_MAX {
            self.introduced.insert(addr);
        }
    }

    /// The difference to what was told, as much of it as one message takes.
    fn news(&mut self, current: BTreeMap<SocketAddr, PeerFlags>) -> PeerExchange {
        let gone = self.told.iter().filter(|addr| !current.contains_key(addr));
        let dropped: Vec<_> = gone.take(EXCHANGED_MAX).copied().collect();
        dropped.iter().for_each(|addr| _ = self.told.remove(addr));
        let new = current.into_iter().filter(|(addr, _)| !self.told.contains(addr));
        let added: Vec<_> = new.take(EXCHANGED_MAX).collect();
        self.told.extend(added.iter().map(|(addr, _)| *addr));
        PeerExchange { added, dropped }
    }
}

/// Those whom a peer may be told of: where they can be dialled, and what is known of them.
fn others(
    key: PeerKey,
    peer: &Peer,
    peers: &BTreeMap<PeerKey, Peer>,
) -> BTreeMap<SocketAddr, PeerFlags> {
    let own = peer.listen_addr();
    let others = peers.iter().filter(|(other, _)| **other != key).filter_map(|(_, other)| {
        let addr = other.listen_addr().filter(|addr| Some(*addr) != own)?;
        let seeds = other.is_seeder() || other.info.upload_only;
        let reachable = other.connected.direction == Direction::Outgoing;
        let holepunch = other.info.punches;
        // Only who has uTP has hole punching.
        let utp = other.connected.utp || holepunch;
        Some((addr, PeerFlags { seeds, utp, holepunch, reachable, ..PeerFlags::default() }))
    });
    others.filter(|(addr, _)| may_tell(peer.connected.addr.ip(), *addr)).collect()
}

/// An address may be told to who could reach it, else strangers would learn of a local network.
pub(super) fn may_tell(to: IpAddr, addr: SocketAddr) -> bool {
    Nearness::of(to).may_name(addr).is_ok()
}

/// Between two messages to a peer (BEP 11: one a minute).
const INTERVAL: Duration = Duration::from_secs(60);
/// Peers whose messages come faster than that are not heard, but clocks differ and networks bunch.
const INTERVAL_MIN: Duration = Duration::from_secs(45);
/// When there was nothing to tell.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use proto::{InfoHash, PeerId};

    use super::*;
    use crate::{Connected, PeerInfo, test_now};

    fn exchange() -> Exchange {
        Exchange { lines: BTreeMap::new() }
    }

    fn peer(addr: &str, listen_port: Option<u16>) -> Peer {
        let direction =
            if listen_port.is_some() { Direction::Incoming } else { Direction::Outgoing };
        let mut peer = Peer::new(
            test_now(),
            Connected {
                addr: addr.parse().unwrap(),
                direction,
                peer_id: PeerId([1; 20]),
                info_hash: InfoHash([2; 20]),
                v2: false,
                fast: true,
                extended: true,
                dht: false,
                utp: false,
            },
        );
        peer.info = PeerInfo { exchanges: true, listen_port, ..PeerInfo::default() };
        peer
    }

    fn peers(all: &[(&str, Option<u16>)]) -> BTreeMap<PeerKey, Peer> {
        (1..).map(PeerKey).zip(all.iter().map(|(addr, port)| peer(addr, *port))).collect()
    }

    fn told(messages: Vec<(PeerKey, PeerExchange)>, key: u64) -> (Vec<String>, Vec<String>) {
        let to = messages.into_iter().filter(|(to, _)| *to == PeerKey(key));
        let message = to.map(|(_, message)| message).next().unwrap_or_default();
        let added = message.added.iter().map(|(addr, _)| addr.to_string()).collect();
        (added, message.dropped.iter().map(SocketAddr::to_string).collect())
    }

    #[test]
    fn each_peer_hears_of_the_others_and_then_of_changes_once_a_minute() {
        let (now, mut exchange) = (test_now(), exchange());
        let mut peers =
            peers(&[("1.1.1.1:9", None), ("2.2.2.2:5000", Some(7)), ("3.3.3.3:9", None)]);
        let first = exchange.due(now, &peers);
        assert_eq!(told(first, 1), (vec!["2.2.2.2:7".into(), "3.3.3.3:9".into()], vec![]));
        peers.remove(&PeerKey(3));
        peers.insert(PeerKey(4), peer("4.4.4.4:9", None));
        let soon = exchange.due(now + Duration::from_secs(59), &peers);
        assert_eq!(told(soon, 1), (vec![], vec![]));
        let later = exchange.due(now + INTERVAL, &peers);
        assert_eq!(told(later, 1), (vec!["4.4.4.4:9".into()], vec!["3.3.3.3:9".into()]));
    }

    #[test]
    fn who_cannot_be_dialled_or_does_not_listen_is_left_out() {
        let (now, mut exchange) = (test_now(), exchange());
        let mut peers = peers(&[("1.1.1.1:9", None), ("2.2.2.2:5000", Some(0))]);
        peers.insert(PeerKey(3), Peer { info: PeerInfo::default(), ..peer("3.3.3.3:9", None) });
        let messages = exchange.due(now, &peers);
        assert!(messages.iter().all(|(to, _)| *to != PeerKey(3)), "it has no such extension");
        assert_eq!(told(messages, 1), (vec!["3.3.3.3:9".into()], vec![]));
    }

    #[test]
    fn who_can_be_met_through_a_nat_is_told_of_as_such() {
        let (now, mut exchange) = (test_now(), exchange());
        let mut peers = peers(&[("1.1.1.1:9", None), ("2.2.2.2:9", None), ("3.3.3.3:9", None)]);
        peers.get_mut(&PeerKey(2)).unwrap().connected.utp = true;
        peers.get_mut(&PeerKey(3)).unwrap().info.punches = true;
        let messages = exchange.due(now, &peers);
        let flags = messages[0].1.added.iter().map(|(_, flags)| (flags.utp, flags.holepunch));
        assert_eq!(flags.collect::<Vec<_>>(), [(true, false), (true, true)]);
        let plain = messages[1].1.added[0].1;
        assert!(!plain.utp && !plain.holepunch, "it came by TCP and says nothing of uTP");
    }

    #[test]
    fn of_each_peer_so_many_introductions_are_remembered() {
        let (mut now, mut exchange) = (test_now(), exchange());
        let flags = PeerFlags { holepunch: true, ..PeerFlags::default() };
        let addr = |number: u16| SocketAddr::from(([9, 9, 9, 9], number + 1));
        for message in 0..10 {
            let added = (0..50).map(|number| (addr(message * 50 + number), flags)).collect();
            exchange.heard(now, PeerKey(1), PeerExchange { added, dropped: Vec::new() });
            now += INTERVAL;
        }
        assert_eq!(exchange.lines[&PeerKey(1)].introduced.len(), INTRODUCED_MAX);
        assert_eq!(exchange.introducers(addr(0)).collect::<Vec<_>>(), [PeerKey(1)]);
        exchange.disown(PeerKey(1), addr(0));
        assert_eq!(exchange.introducers(addr(0)).count(), 0);
    }

    #[test]
    fn fifty_at_a_time_and_the_rest_a_minute_later() {
        let (now, mut exchange) = (test_now(), exchange());
        let addrs: Vec<_> = (0..80).map(|last| format!("9.9.9.{last}:9")).collect();
        let all: Vec<_> = addrs.iter().map(|addr| (addr.as_str(), None)).collect();
        let peers = peers(&all);
        assert_eq!(told(exchange.due(now, &peers), 1).0.len(), EXCHANGED_MAX);
        assert_eq!(told(exchange.due(now + INTERVAL, &peers), 1).0.len(), 29);
        assert_eq!(told(exchange.due(now + 2 * INTERVAL, &peers), 1).0.len(), 0);
    }

    #[test]
    fn near_addresses_stay_among_near_peers() {
        let (now, mut exchange) = (test_now(), exchange());
        let all = peers(&[("8.8.8.8:9", None), ("10.0.0.2:9", None), ("10.0.0.3:9", None)]);
        let messages = exchange.due(now, &all);
        assert_eq!(told(messages.clone(), 1), (vec![], vec![]));
        assert_eq!(told(messages, 2).0, ["8.8.8.8:9", "10.0.0.3:9"]);
    }

    #[test]
    fn who_talks_too_often_is_not_heard() {
        let (now, mut exchange) = (test_now(), exchange());
        let peer = ("9.9.9.9:1".parse().unwrap(), PeerFlags::default());
        let mut heard = |at| {
            let message = PeerExchange { added: vec![peer], dropped: Vec::new() };
            exchange.heard(at, PeerKey(1), message).len()
        };
        let tell = [heard(now), heard(now + Duration::from_secs(1)), heard(now + INTERVAL_MIN)];
        assert_eq!(tell, [1, 0, 1]);
    }
}

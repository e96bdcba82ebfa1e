//! Peers that announced themselves to us, for a while and within bounds.
//!
//! Whoever has one network can fill [`PEERS_A_SOURCE_MAX`] places, not the store. When there are too many
//! info hashes, those of the source that brought most of them go first, so that a few networks cannot push
//! out everybody's; then those far from our id, which are others' to keep.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use proto::InfoHash;
use proto::dht::NodeId;

use crate::limits::{
    HASHES_MAX, PEER_KEPT, PEERS_A_HASH_MAX, PEERS_A_SOURCE_AND_HASH_MAX, PEERS_A_SOURCE_MAX,
    PEERS_MAX,
};
use crate::space::{Distance, may_name, source_of};
use chance::Secrets;

/// The peers of one info hash.
#[derive(Debug)]
struct Swarm {
    /// The source of its first peer.
    founder: IpAddr,
    /// Nobody else joined it.
    alone: bool,
    peers: BTreeMap<SocketAddr, Instant>,
}

/// What is kept of one source.
#[derive(Debug, Default, PartialEq, Eq)]
struct Source {
    peers: u32,
    /// Info hashes that it brought.
    founded: u32,
}

/// The peers of all info hashes, of one family of addresses.
#[derive(Debug, Default)]
pub(crate) struct Store {
    swarms: BTreeMap<InfoHash, Swarm>,
    sources: BTreeMap<IpAddr, Source>,
    len: usize,
}

impl Store {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Keeps a peer, or keeps it longer. False when there is no room.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        own: NodeId,
        hash: InfoHash,
        peer: SocketAddr,
    ) -> bool {
        let known = self.swarms.get_mut(&hash).and_then(|swarm| swarm.peers.get_mut(&peer));
        if let Some(seen_at) = known {
            *seen_at = now;
            return true;
        }
        let source = source_of(peer.ip());
        let of_source = self.sources.get(&source).map_or(0, |source| source.peers);
        if of_source >= PEERS_A_SOURCE_MAX || !self.has_room(hash, source) {
            return false;
        }
        if !self.swarms.contains_key(&hash)
            && self.swarms.len() >= HASHES_MAX
            && !self.evict(own, hash, source)
        {
            return false;
        }
        if self.len >= PEERS_MAX {
            return false;
        }
        let of_source = self.sources.entry(source).or_default();
        of_source.peers += 1;
        let swarm = self.swarms.entry(hash).or_insert_with(|| {
            of_source.founded += 1;
            Swarm { founder: source, alone: true, peers: BTreeMap::new() }
        });
        swarm.alone &= swarm.founder == source;
        swarm.peers.insert(peer, now);
        self.len += 1;
        true
    }

    /// Some peers of a swarm in random order, at most `count`, such as may be told to `asker`.
    pub(crate) fn sample(
        &self,
        hash: InfoHash,
        asker: IpAddr,
        count: usize,
        chance: &mut Secrets,
    ) -> Vec<SocketAddr> {
        let Some(swarm) = self.swarms.get(&hash) else { return Vec::new() };
        // Told to a stranger, an address of our own network is useless at best.
        let told = swarm.peers.keys().filter(|peer| may_name(asker, **peer));
        let mut peers: Vec<_> = told.copied().collect();
        chance.sample(&mut peers, count);
        peers.truncate(count);
        peers
    }

    /// Some peers of a swarm.
    pub(crate) fn any(&self, hash: InfoHash, count: usize) -> impl Iterator<Item = SocketAddr> {
        self.swarms.get(&hash).into_iter().flat_map(|swarm| swarm.peers.keys()).take(count).copied()
    }

    /// Forgets who did not announce again.
    pub(crate) fn expire(&mut self, now: Instant) {
        let (sources, mut gone) = (&mut self.sources, 0);
        self.swarms.retain(|_, swarm| {
            swarm.peers.retain(|peer, seen_at| {
                let stays = now.duration_since(*seen_at) < PEER_KEPT;
                if !stays {
                    gone += 1;
                    release(sources, source_of(peer.ip()), |source| source.peers -= 1);
                }
                stays
            });
            if swarm.peers.is_empty() {
                release(sources, swarm.founder, |source| source.founded -= 1);
            }
            !swarm.peers.is_empty()
        });
        self.len -= gone;
    }

    fn has_room(&self, hash: InfoHash, source: IpAddr) -> bool {
        let Some(swarm) = self.swarms.get(&hash) else { return true };
        let near = swarm.peers.keys().filter(|peer| source_of(peer.ip()) == source).count();
        swarm.peers.len() < PEERS_A_HASH_MAX && near < PEERS_A_SOURCE_AND_HASH_MAX as usize
    }

    /// Makes room for a hash that `source` brings, by forgetting the swarm that is worth least, if it is
    /// worth less: whose founder brought more, then that nobody else joined, then that is farther from us.
    fn evict(&mut self, own: NodeId, hash: InfoHash, source: IpAddr) -> bool {
        let distance = |hash: InfoHash| Distance::between(own, NodeId(hash.0));
        // With this hash, of which its source may keep one for another.
        let founded = |founder: IpAddr| {
            let founded = self.sources.get(&founder).map_or(0, |founder| founder.founded);
            founded + u32::from(founder == source)
        };
        let cheapness =
            |hash: InfoHash, swarm: &Swarm| (founded(swarm.founder), swarm.alone, distance(hash));
        let cheapest =
            self.swarms.iter().map(|(hash, swarm)| (cheapness(*hash, swarm), *hash)).max();
        let newcomer = (founded(source), true, distance(hash));
        let Some((_, cheapest)) = cheapest.filter(|(cheapness, _)| *cheapness > newcomer) else {
            return false;
        };
        if let Some(gone) = self.swarms.remove(&cheapest) {
            self.len -= gone.peers.len();
            let sources = &mut self.sources;
            let peers = gone.peers.keys().map(|peer| source_of(peer.ip()));
            peers.for_each(|ip| release(sources, ip, |source| source.peers -= 1));
            release(sources, gone.founder, |source| source.founded -= 1);
        }
        true
    }
}

/// Takes something off a source, and forgets it when nothing is left.
fn release(sources: &mut BTreeMap<IpAddr, Source>, ip: IpAddr, off: impl FnOnce(&mut Source)) {
    if let Some(source) = sources.get_mut(&ip) {
        off(source);
        if *source == Source::default() {
            sources.remove(&ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeId = NodeId([0; 20]);
    const HASH: InfoHash = InfoHash([1; 20]);

    fn peer(network: u32, host: u8, port: u16) -> SocketAddr {
        let [_, a, b, _] = network.to_be_bytes();
        SocketAddr::from(([11, a, b, host], port))
    }

    fn consistent(store: &Store) {
        assert_eq!(store.len, store.swarms.values().map(|swarm| swarm.peers.len()).sum::<usize>());
        assert_eq!(
            store.len as u32,
            store.sources.values().map(|source| source.peers).sum::<u32>()
        );
        let founded = store.sources.values().map(|source| source.founded).sum::<u32>();
        assert_eq!(store.swarms.len() as u32, founded);
    }

    #[test]
    fn peers_are_kept_for_a_while_and_longer_when_they_come_again() {
        let now = crate::test_now();
        let mut store = Store::default();
        let (one, other) = (peer(0, 1, 1), peer(1 << 8, 1, 1));
        assert!(store.insert(now, OWN, HASH, one) && store.insert(now, OWN, HASH, other));
        let later = now + PEER_KEPT / 2;
        assert!(store.insert(later, OWN, HASH, one));
        store.expire(now + PEER_KEPT);
        let asker = IpAddr::from([9, 9, 9, 9]);
        assert_eq!(store.sample(HASH, asker, 9, &mut Secrets::new([1; 16])), [one]);
        consistent(&store);
        store.expire(later + PEER_KEPT);
        assert!(store.swarms.is_empty() && store.sources.is_empty());
        consistent(&store);
    }

    #[test]
    fn one_network_cannot_fill_a_swarm_or_the_store() {
        let now = crate::test_now();
        let mut store = Store::default();
        let taken = (0..1000).filter(|port| store.insert(now, OWN, HASH, peer(0, 1, 1 + port)));
        assert_eq!(taken.count(), PEERS_A_SOURCE_AND_HASH_MAX as usize);
        for hash in 2..200 {
            for port in 1..10 {
                let _ = store.insert(now, OWN, InfoHash([hash; 20]), peer(0, 2, port));
            }
        }
        assert_eq!(store.len(), PEERS_A_SOURCE_MAX as usize);
        assert!(store.insert(now, OWN, HASH, peer(1 << 8, 1, 1)), "others still fit");
        consistent(&store);
    }

    /// The smaller, the nearer to us.
    fn hash(number: u32) -> InfoHash {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        InfoHash(bytes)
    }

    #[test]
    fn too_many_hashes_push_out_those_far_from_us() {
        let now = crate::test_now();
        let mut store = Store::default();
        for number in 0..HASHES_MAX as u32 {
            assert!(store.insert(now, OWN, hash(1000 + number), peer(number << 8, 1, 1)));
        }
        let new = peer(9999 << 8, 1, 1);
        assert!(!store.insert(now, OWN, hash(u32::MAX), new), "farther than all");
        assert!(store.insert(now, OWN, hash(1), new));
        assert_eq!(store.swarms.len(), HASHES_MAX);
        consistent(&store);
    }

    #[test]
    fn a_few_networks_cannot_push_out_everybodys_hashes() {
        let now = crate::test_now();
        let mut store = Store::default();
        let honest = HASHES_MAX as u32 - 500;
        for number in 0..honest {
            assert!(store.insert(now, OWN, hash(1 << 20 | number), peer(number << 8, 1, 1)));
        }
        for number in 0..2 * PEERS_A_SOURCE_MAX {
            let _ = store.insert(now, OWN, hash(number), peer((9000 + number % 4) << 8, 1, 1));
        }
        consistent(&store);
        assert_eq!(store.swarms.len(), HASHES_MAX);
        let kept = |store: &Store| {
            let kept =
                (0..honest).filter(|number| store.any(hash(1 << 20 | number), 1).count() == 1);
            kept.count() as u32
        };
        assert_eq!(kept(&store), honest);
        // Others have room, however far; a swarm that somebody joined goes after one that nobody did.
        assert!(store.insert(now, OWN, hash(u32::MAX), peer(5000 << 8, 1, 1)));
        let joined = hash(498);
        assert_eq!(store.any(joined, 2).count(), 1);
        assert!(store.insert(now, OWN, joined, peer(5001 << 8, 1, 1)));
        for number in 0..100 {
            let number = 6000 + number;
            assert!(store.insert(now, OWN, hash(1 << 30 | number), peer(number << 8, 1, 1)));
        }
        assert_eq!(store.any(joined, 2).count(), 2);
        assert_eq!(kept(&store), honest);
        consistent(&store);
    }

    #[test]
    fn samples_are_small_random_and_fit_for_who_asks() {
        let now = crate::test_now();
        let mut store = Store::default();
        for network in 0..100 {
            assert!(store.insert(now, OWN, HASH, peer(network << 8, 1, 1)));
        }
        let local: SocketAddr = "192.168.1.1:5".parse().expect("an address");
        assert!(store.insert(now, OWN, HASH, local));
        let mut chance = Secrets::new([1; 16]);
        let stranger = IpAddr::from([9, 9, 9, 9]);
        let (one, other) = (
            store.sample(HASH, stranger, 10, &mut chance),
            store.sample(HASH, stranger, 10, &mut chance),
        );
        assert_eq!((one.len(), other.len()), (10, 10));
        assert_ne!(one, other);
        assert!(!store.sample(HASH, stranger, 500, &mut chance).contains(&local));
        let near = IpAddr::from([192, 168, 1, 9]);
        assert!(store.sample(HASH, near, 500, &mut chance).contains(&local));
    }
}

//! Peers that announced themselves to us, for a while and within bounds.
//!
//! Whoever has one network can fill [`PEERS_A_SOURCE_MAX`] places, not the store; and when there are too
//! many info hashes, those far from our id go first, which are others' to keep.

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

/// The peers of all info hashes, of one family of addresses.
#[derive(Debug, Default)]
pub(crate) struct Store {
    swarms: BTreeMap<InfoHash, BTreeMap<SocketAddr, Instant>>,
    /// Peers kept of each source.
    sources: BTreeMap<IpAddr, u32>,
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
        let known = self.swarms.get_mut(&hash).and_then(|swarm| swarm.get_mut(&peer));
        if let Some(seen_at) = known {
            *seen_at = now;
            return true;
        }
        let source = source_of(peer.ip());
        let of_source = self.sources.get(&source).copied().unwrap_or_default();
        if of_source >= PEERS_A_SOURCE_MAX || !self.has_room(hash, source) {
            return false;
        }
        if !self.swarms.contains_key(&hash)
            && self.swarms.len() >= HASHES_MAX
            && !self.evict_farther(own, hash)
        {
            return false;
        }
        if self.len >= PEERS_MAX {
            return false;
        }
        self.swarms.entry(hash).or_default().insert(peer, now);
        *self.sources.entry(source).or_default() += 1;
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
        let told = swarm.keys().filter(|peer| may_name(asker, **peer));
        let mut peers: Vec<_> = told.copied().collect();
        chance.sample(&mut peers, count);
        peers.truncate(count);
        peers
    }

    /// Some peers of a swarm.
    pub(crate) fn any(&self, hash: InfoHash, count: usize) -> impl Iterator<Item = SocketAddr> {
        self.swarms.get(&hash).into_iter().flat_map(BTreeMap::keys).take(count).copied()
    }

    /// Forgets who did not announce again.
    pub(crate) fn expire(&mut self, now: Instant) {
        let (sources, mut gone) = (&mut self.sources, 0);
        self.swarms.retain(|_, swarm| {
            swarm.retain(|peer, seen_at| {
                let stays = now.duration_since(*seen_at) < PEER_KEPT;
                if !stays {
                    gone += 1;
                    release(sources, *peer);
                }
                stays
            });
            !swarm.is_empty()
        });
        self.len -= gone;
    }

    fn has_room(&self, hash: InfoHash, source: IpAddr) -> bool {
        let Some(swarm) = self.swarms.get(&hash) else { return true };
        let near = swarm.keys().filter(|peer| source_of(peer.ip()) == source).count();
        swarm.len() < PEERS_A_HASH_MAX && near < PEERS_A_SOURCE_AND_HASH_MAX as usize
    }

    /// Makes room by forgetting the swarm that is farthest from us, if `hash` is nearer.
    fn evict_farther(&mut self, own: NodeId, hash: InfoHash) -> bool {
        let distance = |hash: InfoHash| Distance::between(own, NodeId(hash.0));
        let farthest = self.swarms.keys().copied().max_by_key(|hash| distance(*hash));
        let Some(farthest) = farthest.filter(|far| distance(*far) > distance(hash)) else {
            return false;
        };
        let gone = self.swarms.remove(&farthest).unwrap_or_default();
        self.len -= gone.len();
        gone.keys().for_each(|peer| release(&mut self.sources, *peer));
        true
    }
}

fn release(sources: &mut BTreeMap<IpAddr, u32>, peer: SocketAddr) {
    let source = source_of(peer.ip());
    if let Some(count) = sources.get_mut(&source) {
        *count -= 1;
        if *count == 0 {
            sources.remove(&source);
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
        SocketAddr::from(([11, a, b + 1, host], port))
    }

    fn consistent(store: &Store) {
        assert_eq!(store.len, store.swarms.values().map(BTreeMap::len).sum::<usize>());
        assert_eq!(store.len as u32, store.sources.values().sum::<u32>());
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

    #[test]
    fn too_many_hashes_push_out_those_far_from_us() {
        let now = crate::test_now();
        let mut store = Store::default();
        let hash = |number: u32| {
            let mut bytes = [0; 20];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            InfoHash(bytes)
        };
        for number in 0..HASHES_MAX as u32 {
            assert!(store.insert(now, OWN, hash(1000 + number), peer((number / 100) << 8, 1, 1)));
        }
        assert!(!store.insert(now, OWN, hash(u32::MAX), peer(99 << 8, 1, 1)), "farther than all");
        assert!(store.insert(now, OWN, hash(1), peer(99 << 8, 1, 1)));
        assert_eq!(store.swarms.len(), HASHES_MAX);
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

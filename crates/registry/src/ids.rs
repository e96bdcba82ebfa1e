//! Names of peers, for those that are told to clients that are no BitTorrent peers.
//!
//! A peer is its address and 32 bits; only Teem's own are asked by others than peers, and only their ids
//! are kept, here beside the swarms. Whether such a peer is still in its swarm is the swarm's to say:
//! this table may know more, and forgets what expired with each round of the sweep.

use std::collections::BTreeMap;

use proto::{InfoHash, PeerId};

use crate::key::PeerKey;
use crate::limits::PEER_IDS_MAX;
use crate::time::Secs;

/// Peer ids by swarm and address.
#[derive(Debug, Default)]
pub(crate) struct PeerIds {
    known: BTreeMap<(InfoHash, PeerKey), Known>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    id: PeerId,
    until: Secs,
}

impl PeerIds {
    pub(crate) const fn new() -> Self {
        Self { known: BTreeMap::new() }
    }

    /// Notes a peer's id; if there is no room the peer goes on without.
    pub(crate) fn insert(&mut self, swarm: InfoHash, peer: PeerKey, id: PeerId, until: Secs) {
        let is_full = self.known.len() >= PEER_IDS_MAX;
        match self.known.get_mut(&(swarm, peer)) {
            Some(known) => *known = Known { id, until },
            None if is_full => {}
            None => drop(self.known.insert((swarm, peer), Known { id, until })),
        }
    }

    pub(crate) fn remove(&mut self, swarm: InfoHash, peer: PeerKey) {
        self.known.remove(&(swarm, peer));
    }

    /// Forgets what has expired.
    pub(crate) fn sweep(&mut self, now: Secs) {
        self.known.retain(|_, known| now < known.until);
    }

    /// The peers of a swarm that have an id here.
    pub(crate) fn of(&self, swarm: InfoHash) -> impl Iterator<Item = (PeerKey, PeerId)> {
        let every = (swarm, PeerKey::V4([0; 6]))..=(swarm, PeerKey::V6([0xff; 18]));
        self.known.range(every).map(|((_, peer), known)| (*peer, known.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> PeerKey {
        let [a, b, c, d] = number.to_be_bytes();
        PeerKey::V4([a, b, c, d, 0, 1])
    }

    fn swarm(number: u8) -> InfoHash {
        InfoHash([number; 20])
    }

    #[test]
    fn ids_are_kept_by_swarm_and_address_until_they_expire() {
        let mut ids = PeerIds::new();
        ids.insert(swarm(1), key(1), PeerId([1; 20]), Secs(10));
        ids.insert(swarm(1), PeerKey::V6([0xff; 18]), PeerId([2; 20]), Secs(20));
        ids.insert(swarm(2), key(1), PeerId([3; 20]), Secs(10));
        ids.insert(swarm(2), key(1), PeerId([4; 20]), Secs(20));
        let of = |ids: &PeerIds, number| ids.of(swarm(number)).map(|(_, id)| id.0[0]).collect();
        let both: (Vec<u8>, Vec<u8>) = (of(&ids, 1), of(&ids, 2));
        assert_eq!(both, (vec![1, 2], vec![4]));
        ids.sweep(Secs(10));
        let left: Vec<u8> = of(&ids, 1);
        assert_eq!(left, [2]);
        ids.remove(swarm(2), key(1));
        assert_eq!(ids.of(swarm(2)).count(), 0);
    }

    #[test]
    fn a_full_table_goes_on_without_new_ids() {
        let mut ids = PeerIds::new();
        for number in 0..PEER_IDS_MAX as u32 + 5 {
            ids.insert(swarm(1), key(number), PeerId([1; 20]), Secs(10));
        }
        assert_eq!(ids.known.len(), PEER_IDS_MAX);
        ids.insert(swarm(1), key(0), PeerId([9; 20]), Secs(20));
        assert_eq!(ids.of(swarm(1)).next(), Some((key(0), PeerId([9; 20]))));
    }
}

//! Making room when a shard is full.
//!
//! What goes is drawn by a keyed hash, so nobody can aim at a swarm: of a few drawn ones the one that
//! serves the fewest, and of those the youngest, since made-up hashes are young and have one peer.

use chance::Chance;
use proto::InfoHash;

use crate::feed::Change;
use crate::shard::Shard;

/// Swarms drawn for one eviction. Each doubling makes it twice as rare that a swarm of many peers goes.
const DRAWN: usize = 8;

impl Shard {
    /// Makes room for one more swarm; false if only those of the catalogue are left.
    pub(crate) fn evict_swarm(&mut self, newcomer: &InfoHash) -> bool {
        let mut dice = self.dice(newcomer);
        let drawn = (0..DRAWN).map(|_| dice.index(self.swarms.len()));
        let least = drawn
            .filter(|&at| !self.swarms[at].pinned)
            .min_by_key(|&at| (self.swarms[at].count().peers, u32::MAX - self.swarms[at].born.0));
        let Some(at) = least else { return false };
        self.take(at);
        self.totals.evicted += 1;
        true
    }

    /// Makes room for one more peer, in the largest of a few drawn swarms; false if none of them has any. A
    /// swarm that loses its last one stays until it is swept: the caller's positions hold.
    pub(crate) fn evict_peer(&mut self, newcomer: &InfoHash) -> bool {
        let mut dice = self.dice(newcomer);
        let drawn = (0..DRAWN).map(|_| dice.index(self.swarms.len()));
        let Some(at) = drawn.max_by_key(|&at| self.swarms[at].count().peers) else { return false };
        let before = self.swarms[at].count();
        if before.peers == 0 {
            return false;
        }
        let (peer, mark) = self.swarms[at].remove_any(&self.hasher, &mut dice);
        if let Some(feed) = &mut self.feed
            && !mark.remote
        {
            feed.push(self.swarms[at].hash, peer, Change::Left { peer: peer.into() });
        }
        let after = self.swarms[at].count();
        self.recount(before, after);
        self.totals.evicted += 1;
        true
    }

    /// Chance that nobody without the key can foresee.
    fn dice(&self, newcomer: &InfoHash) -> Chance {
        let mut message = [0; InfoHash::LEN + 8];
        message[..InfoHash::LEN].copy_from_slice(newcomer.as_bytes());
        message[InfoHash::LEN..].copy_from_slice(&self.totals.evicted.to_le_bytes());
        Chance::new(self.hasher.hash(&message))
    }
}

//! What the catalogue tells a shard about its swarms: how many downloads ended before a restart, and
//! that a torrent is no longer named. It asks in turn which counts have changed.
//!
//! A hybrid that is no longer named is two swarms again, each with the peers that announced under its
//! hash: otherwise the second hash would lead to the first one for ever.

use proto::InfoHash;

use super::Shard;
use crate::key::PeerKey;
use crate::mark::{Epoch, Mark, Names};
use crate::peers::Role;
use crate::time::Secs;

/// Peers of a hybrid that announced under its second hash.
#[derive(Debug)]
pub struct Departed(Vec<(PeerKey, Mark, Role)>);

impl Shard {
    /// Counts at least so many downloads of a pinned swarm: those of earlier runs.
    pub fn restore_completed(&mut self, swarm: &InfoHash, completed: u32) {
        let Some(at) = self.find(swarm) else { return };
        let swarm = &mut self.swarms[at];
        let more = completed.saturating_sub(swarm.completed);
        swarm.completed += more;
        self.totals.completed += u64::from(more);
    }

    /// Appends the pinned swarms whose downloads have changed since the last call, and how many there
    /// are now.
    pub fn drain_completed(&mut self, out: &mut Vec<(InfoHash, u32)>) {
        for hash in std::mem::take(&mut self.finished) {
            if let Some(at) = self.find(&hash) {
                out.push((hash, self.swarms[at].completed));
            }
        }
    }

    /// The second hash of the hybrid whose first one this is.
    #[must_use]
    pub fn second_of(&self, first: &InfoHash) -> Option<InfoHash> {
        self.find(first).and_then(|at| self.swarms[at].second.as_deref().copied())
    }

    /// First step of taking a torrent back, for hybrids, asked of the shard of its second hash: that
    /// hash leads nowhere from now on.
    pub fn unredirect(&mut self, second: &InfoHash) {
        self.aliases.remove(second);
    }

    /// Second step: the swarm is kept as long as it has peers, like any other. Those that announced
    /// under a hybrid's second hash go to [`Shard::settle`].
    pub fn unpin(&mut self, now: Secs, swarm: &InfoHash) -> Departed {
        let Some(at) = self.find(swarm) else { return Departed(Vec::new()) };
        self.finished.remove(swarm);
        if self.swarms[at].second.is_none() {
            self.pinned -= usize::from(self.swarms[at].pinned);
            self.swarms[at].pinned = false;
            self.drop_if_idle(at);
            return Departed(Vec::new());
        }
        let old = self.take(at);
        let (born, completed) = (old.born, old.completed);
        let (mut stay, mut departed) = (Vec::new(), Vec::new());
        for (peer, mark, role) in old.into_peers() {
            if mark.names.overlaps(Names::SECOND) {
                let mark = Mark { names: Names::FIRST, epoch: Epoch::not(now), ..mark };
                departed.push((peer, mark, role));
            }
            if mark.names.overlaps(Names::FIRST) {
                stay.push((peer, Mark { names: Names::FIRST, ..mark }, role));
            }
        }
        self.put(now, *swarm, stay);
        if let Some(at) = self.find(swarm) {
            (self.swarms[at].born, self.swarms[at].completed) = (born, completed);
        }
        Departed(departed)
    }

    /// Third step, for hybrids, asked of the shard of the second hash: its peers get a swarm of their
    /// own.
    pub fn settle(&mut self, now: Secs, second: InfoHash, departed: Departed) {
        self.put(now, second, departed.0);
    }

    /// Adds peers to a swarm. Those that are there already have announced again meanwhile.
    fn put(&mut self, now: Secs, swarm: InfoHash, peers: Vec<(PeerKey, Mark, Role)>) {
        if peers.is_empty() {
            return;
        }
        let Some(at) = self.find_or_create(now, swarm) else { return };
        let before = self.swarms[at].count();
        for (peer, mark, role) in peers {
            if self.swarms[at].find(&self.hasher, &peer).is_none() {
                self.swarms[at].insert(&self.hasher, peer, mark, role);
            }
        }
        let after = self.swarms[at].count();
        self.recount(before, after);
    }
}

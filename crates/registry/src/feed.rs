//! The feed: what changed among this node's own peers, for other nodes to take in.
//!
//! Changes are coalesced by swarm and peer (the last one counts) and bounded. What does not fit is
//! not lost for long: a peer that could not be told of stays due, and is told of at its next announce;
//! a peer that left without a word expires at the others.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use proto::InfoHash;

use crate::client::ClientClass;
use crate::key::PeerKey;
use crate::limits::FEED_MAX;
use crate::mark::Names;
use crate::peers::Role;

/// What the feed says of one swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmChanges {
    /// The hash that the swarm is kept under.
    pub info_hash: InfoHash,
    /// Its peers that changed, each once.
    pub changes: Vec<Change>,
}

/// What the feed says of one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It joined, or something about it is new.
    Joined(Presence),
    /// It is still there; the others' knowledge of it would lapse soon.
    Renewed(Presence),
    /// It left or fell silent.
    Left {
        /// Its address.
        peer: SocketAddr,
    },
}

/// A peer as one node tells another of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// Its address.
    pub peer: SocketAddr,
    /// Whether it has all of the content.
    pub role: Role,
    /// Under which hashes it announced.
    pub names: Names,
    /// What client it is.
    pub class: ClientClass,
    /// Seconds after which it is to be forgotten, unless it is told of again.
    pub life_secs: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Feed {
    pending: BTreeMap<InfoHash, BTreeMap<PeerKey, Change>>,
    len: usize,
    dropped: u64,
}

impl Feed {
    /// Notes a change; false if there was no room for it.
    pub(crate) fn push(&mut self, hash: InfoHash, peer: PeerKey, change: Change) -> bool {
        let known = self.pending.get(&hash).is_some_and(|swarm| swarm.contains_key(&peer));
        if !known && self.len >= FEED_MAX {
            self.dropped += 1;
            return false;
        }
        self.len += usize::from(!known);
        self.pending.entry(hash).or_default().insert(peer, change);
        true
    }

    /// Hands out whole swarms, until `max` changes are reached.
    pub(crate) fn drain(&mut self, max: usize, out: &mut Vec<SwarmChanges>) {
        let mut taken = 0;
        while taken < max {
            let Some((info_hash, changes)) = self.pending.pop_first() else { break };
            taken += changes.len();
            out.push(SwarmChanges { info_hash, changes: changes.into_values().collect() });
        }
        self.len -= taken;
    }

    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

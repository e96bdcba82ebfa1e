//! Web seeds (BEP 19): servers that have the content as plain files.
//!
//! To the swarm each is a peer that has everything, wants nothing and answers whenever it can; the shell
//! turns requests into HTTP. It is no peer to others: it is told to nobody, takes no place among the
//! peers, and somebody pays for what it sends. So peers come first: while they give enough, web seeds are
//! asked only for what no peer has.

use std::time::Instant;

use proto::PieceIndex;

use super::Swarm;
use super::peer::Peer;
use super::rarity::Rarity;
use crate::{Action, Goodbye, PeerKey};

/// How many there are, and what they may be asked for.
#[derive(Debug, Default)]
pub(crate) struct WebSeeds {
    pub(crate) count: usize,
    pub(crate) duty: Duty,
}

/// What web seeds may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Duty {
    /// All: peers do not give enough.
    #[default]
    All,
    /// Pieces that no peer has.
    Gaps,
    /// Nothing: peers give enough, and one of them has everything.
    Nothing,
}

impl Duty {
    /// `peer`, web seed or not, may be asked for blocks of `piece` now.
    pub(crate) fn may(self, peer: &Peer, piece: PieceIndex, rarity: &Rarity) -> bool {
        let is_its_duty = || match self {
            Self::All => true,
            Self::Gaps => rarity.count(piece) == 0,
            Self::Nothing => false,
        };
        peer.gives(piece) && (!peer.web_seed || is_its_duty())
    }
}

impl Swarm {
    /// A web seed is there; the key names it from now on. The shell stands for it: it obeys the commands
    /// and tells as a [`crate::PeerEvent`] what it has, when it answers, and what came of each request.
    pub fn handle_web_seed(&mut self, now: Instant) -> PeerKey {
        self.now = now;
        let key = PeerKey(self.next_key);
        self.next_key += 1;
        let peer = Peer::of_web_seed(now, self.config.info_hashes.primary());
        self.peers.insert(key, peer);
        self.web_seeds.count += 1;
        self.set_duty_of_web_seeds();
        if self.stopping || !self.wants_peers() {
            self.actions.push(Action::Disconnect(key, Goodbye::Useless));
        }
        key
    }

    /// Once a second: do peers give enough?
    pub(super) fn set_duty_of_web_seeds(&mut self) {
        if self.web_seeds.count == 0 {
            return;
        }
        let peers = || self.peers.values().filter(|peer| !peer.web_seed);
        let rate: u64 = peers().map(|peer| peer.down.per_second()).sum();
        self.web_seeds.duty = match rate >= ENOUGH {
            false => Duty::All,
            true if peers().any(Peer::is_seeder) => Duty::Nothing,
            true => Duty::Gaps,
        };
    }

    /// Connections to peers.
    pub(super) fn peer_count(&self) -> usize {
        self.peers.len() - self.web_seeds.count
    }

    /// There is no peer.
    pub(super) fn is_alone(&self) -> bool {
        self.peer_count() == 0
    }
}

/// Bytes a second of all peers together that are enough.
const ENOUGH: u64 = 1 << 20;

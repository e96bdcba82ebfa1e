//! Super-seeding (BEP 16): the only one that has all of it sends each piece once, as far as others pass it on.
//!
//! Peers are told of no piece but one at a time, the one that fewest have or were told of; of the next one
//! when another peer reports the last, which it can only have from them. Who has nobody to pass it on to, or
//! takes long, is told of the next one all the same. It ends when the swarm can do without us.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proto::{Bitfield, PieceIndex};

use super::Swarm;
use super::peer::Peer;
use super::rarity::Rarity;
use crate::{PeerCommand, PeerKey};

/// Who was told of what.
#[derive(Debug)]
pub(crate) struct SuperSeed {
    /// Pieces by how many peers have them or were told of them.
    supply: Rarity,
    told: BTreeMap<PeerKey, Told>,
}

/// What one peer was told.
#[derive(Debug)]
struct Told {
    /// Pieces that it may have from us.
    pieces: Bitfield,
    last: Option<PieceIndex>,
    /// When it was told of the last one, or had it.
    since: Instant,
    has_last: bool,
}

impl SuperSeed {
    pub(crate) fn new(pieces: u32) -> Self {
        let mut supply = Rarity::new(pieces);
        (0..pieces).map(PieceIndex).for_each(|piece| supply.offer(piece));
        Self { supply, told: BTreeMap::new() }
    }

    fn knows(&self, key: PeerKey, piece: PieceIndex) -> bool {
        self.told.get(&key).is_some_and(|told| told.pieces.has(piece))
    }
}

impl Swarm {
    /// We have all of it and tell of it bit by bit: peers are not to hear that we want nothing more.
    #[must_use]
    pub const fn is_super_seeding(&self) -> bool {
        self.super_seed.is_some()
    }

    /// A peer is there: it is told of a first piece.
    pub(super) fn super_seed_to(&mut self, key: PeerKey) {
        let Some(torrent) = &self.torrent else { return };
        let pieces = Bitfield::empty(torrent.geometry.piece_count());
        if let Some(seed) = &mut self.super_seed {
            let told = Told { pieces, last: None, since: self.now, has_last: false };
            seed.told.insert(key, told);
            self.tell_next(key);
        }
    }

    /// A peer says all that it has; `before` is what it said earlier.
    pub(super) fn super_seed_has(&mut self, key: PeerKey, before: Option<&Bitfield>) {
        let has = self.peers.get(&key).and_then(|peer| peer.has.clone());
        let (Some(seed), Some(has)) = (&mut self.super_seed, has) else { return };
        for piece in before.into_iter().flat_map(Bitfield::iter) {
            if !seed.knows(key, piece) {
                seed.supply.fewer(piece);
            }
        }
        for piece in has.iter() {
            if !seed.knows(key, piece) {
                seed.supply.more(piece);
            }
        }
        let last = seed.told.get(&key).and_then(|told| told.last);
        if last.is_some_and(|last| has.has(last)) {
            self.tell_next(key);
        }
    }

    /// A peer has one more piece.
    pub(super) fn super_seed_have(&mut self, key: PeerKey, piece: PieceIndex) {
        let now = self.now;
        let Some(seed) = &mut self.super_seed else { return };
        if seed.knows(key, piece) {
            if let Some(told) = seed.told.get_mut(&key).filter(|told| told.last == Some(piece)) {
                (told.since, told.has_last) = (now, true);
                if !self.somebody_else_lacks(key, piece) {
                    self.tell_next(key);
                }
            }
            return;
        }
        seed.supply.more(piece);
        let passed_on = seed.told.iter().filter(|(_, told)| told.last == Some(piece));
        let givers: Vec<_> = passed_on.map(|(giver, _)| *giver).collect();
        givers.into_iter().for_each(|giver| self.tell_next(giver));
    }

    /// A peer lost a piece that it had.
    pub(super) fn super_seed_lost(&mut self, key: PeerKey, piece: PieceIndex) {
        if let Some(seed) = &mut self.super_seed
            && !seed.knows(key, piece)
        {
            seed.supply.fewer(piece);
        }
    }

    /// A peer has gone; `has` is what it had.
    pub(super) fn super_seed_left(&mut self, key: PeerKey, has: Option<&Bitfield>) {
        let Some(seed) = &mut self.super_seed else { return };
        let Some(told) = seed.told.remove(&key) else { return };
        told.pieces.iter().for_each(|piece| seed.supply.fewer(piece));
        for piece in has.into_iter().flat_map(Bitfield::iter) {
            if !told.pieces.has(piece) {
                seed.supply.fewer(piece);
            }
        }
    }

    /// Time has passed: who waits long is told of the next piece, and once there are copies enough all are
    /// told of all.
    pub(super) fn super_seed_tick(&mut self) {
        let (Some(seed), Some(torrent)) = (&self.super_seed, &self.torrent) else { return };
        let mut pieces = (0..torrent.geometry.piece_count()).map(PieceIndex);
        let copies = self.copies.count();
        if pieces.all(|piece| copies + usize::from(torrent.rarity.count(piece)) >= ENOUGH) {
            return self.end_super_seed();
        }
        let slow = seed.told.iter().filter(|(key, told)| {
            let wants = self.peers.get(key).is_some_and(|peer| peer.interested_in_us);
            let patience = match (told.has_last, wants) {
                (true, _) => PASSING_ON,
                (false, true) => FETCHING,
                (false, false) => WANTING,
            };
            self.now.duration_since(told.since) >= patience
        });
        let slow: Vec<_> = slow.map(|(key, _)| *key).collect();
        slow.into_iter().for_each(|key| self.tell_next(key));
    }

    /// From now on all are told of all that we have.
    pub(super) fn end_super_seed(&mut self) {
        if self.super_seed.take().is_some() {
            let keys: Vec<_> = self.peers.keys().copied().collect();
            keys.into_iter().for_each(|key| self.introduce(key));
        }
    }

    fn tell_next(&mut self, key: PeerKey) {
        let (Some(seed), Some(peer)) = (&mut self.super_seed, self.peers.get(&key)) else { return };
        let Some(told) = seed.told.get_mut(&key) else { return };
        let has = |piece| peer.has.as_ref().is_some_and(|has| has.has(piece));
        let mut lacks = Bitfield::empty(told.pieces.len());
        for piece in (0..told.pieces.len()).map(PieceIndex) {
            if !told.pieces.has(piece) && !has(piece) {
                lacks.insert(piece);
            }
        }
        told.since = self.now;
        let Some(next) = seed.supply.rarest(&lacks, &mut self.chance) else { return };
        seed.supply.more(next);
        told.pieces.insert(next);
        (told.last, told.has_last) = (Some(next), has(next));
        self.command(key, PeerCommand::Have(next));
    }

    /// Some peer could have the piece from this one, and wants any at all.
    fn somebody_else_lacks(&self, key: PeerKey, piece: PieceIndex) -> bool {
        let wants = |(other, peer): &(&PeerKey, &Peer)| **other != key && peer.interested_in_us;
        let mut others = self.peers.iter().filter(wants);
        others.any(|(_, peer)| !peer.has.as_ref().is_some_and(|has| has.has(piece)))
    }
}

/// So many peers have each piece: one that leaves takes none along.
const ENOUGH: usize = 2;
/// How long to wait for a peer to pass a piece on: perhaps it meets nobody.
const PASSING_ON: Duration = Duration::from_secs(10);
/// How long to wait for it to fetch one: others are served first.
const FETCHING: Duration = Duration::from_secs(60);
/// How long to wait for it to want one: it may want some files only.
const WANTING: Duration = Duration::from_secs(3);

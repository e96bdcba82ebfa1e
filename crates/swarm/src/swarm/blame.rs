//! Who sent wrong bytes.
//!
//! v2: the leaf hashes of a failed piece, fetched from any peer and proved against the file's root,
//! name the wrong blocks, and so their senders. v1 has no such proof: the digests of a failed piece's
//! blocks are kept until a right copy is here; whoever sent a block that differs from it lied. A piece
//! that one peer sent alone needs neither.

use std::collections::{BTreeMap, BTreeSet};

use proto::{MerkleHash, PieceIndex};

use crate::PeerKey;

/// The blocks of a failed try: who sent which, and what it hashed to.
pub(crate) type Blocks = Vec<Option<(PeerKey, MerkleHash)>>;

/// What failed tries left behind.
#[derive(Debug, Default)]
pub(crate) struct Suspicions {
    failed: BTreeMap<PieceIndex, Vec<Blocks>>,
    suspects: BTreeSet<PeerKey>,
}

impl Suspicions {
    /// A piece failed. Gives back its sender if one peer sent all of it.
    pub(crate) fn add(&mut self, piece: PieceIndex, blocks: Blocks) -> Option<PeerKey> {
        let senders: BTreeSet<_> = blocks.iter().flatten().map(|(sender, _)| *sender).collect();
        let sole = (senders.len() == 1).then(|| senders.first().copied()).flatten();
        if self.failed.len() < PIECES_MAX || self.failed.contains_key(&piece) {
            let tries = self.failed.entry(piece).or_default();
            if tries.len() < TRIES_MAX {
                tries.push(blocks);
                self.suspects.extend(senders);
            }
        }
        sole
    }

    /// The piece failed before: fetch it from one peer alone and have its digests kept.
    pub(crate) fn is_suspect(&self, piece: PieceIndex) -> bool {
        self.failed.contains_key(&piece)
    }

    /// It sent blocks of a piece that failed and is not right yet.
    pub(crate) fn is_suspected(&self, peer: PeerKey) -> bool {
        self.suspects.contains(&peer)
    }

    /// Right digests of blocks are known, `None` where they are not: who sent something else, and
    /// which block.
    pub(crate) fn liars(
        &self,
        piece: PieceIndex,
        right: &[Option<MerkleHash>],
    ) -> Vec<(u32, PeerKey)> {
        let mut liars = Vec::new();
        for blocks in self.failed.get(&piece).into_iter().flatten() {
            for (number, (sent, right)) in blocks.iter().zip(right).enumerate() {
                if let (Some((sender, digest)), Some(right)) = (sent, right)
                    && digest != right
                {
                    liars.push((number as u32, *sender));
                }
            }
        }
        liars
    }

    /// The piece is here and right.
    pub(crate) fn forget(&mut self, piece: PieceIndex) {
        if self.failed.remove(&piece).is_some() {
            let left = self.failed.values().flatten().flatten().flatten();
            self.suspects = left.map(|(sender, _)| *sender).collect();
        }
    }

    /// Somebody sent a block of this piece's failed tries.
    pub(crate) fn sent_by(&self, piece: PieceIndex, peer: PeerKey) -> bool {
        self.failed.get(&piece).is_some_and(|tries| {
            tries.iter().flatten().flatten().any(|(sender, _)| *sender == peer)
        })
    }
}

/// Failed pieces remembered at once.
const PIECES_MAX: usize = 256;
/// Failed tries remembered for each.
const TRIES_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: u8) -> MerkleHash {
        MerkleHash([byte; 32])
    }

    #[test]
    fn the_sender_of_what_differs_is_named() {
        let (liar, honest) = (PeerKey(1), PeerKey(2));
        let mut suspicions = Suspicions::default();
        let blocks = vec![Some((honest, digest(1))), Some((liar, digest(9))), None];
        assert_eq!(suspicions.add(PieceIndex(5), blocks), None);
        assert!(suspicions.sent_by(PieceIndex(5), liar));
        let right = [Some(digest(1)), Some(digest(2)), None];
        assert_eq!(suspicions.liars(PieceIndex(5), &right), [(1, liar)]);
        suspicions.forget(PieceIndex(5));
        assert!(!suspicions.is_suspect(PieceIndex(5)));
    }

    #[test]
    fn who_sent_a_whole_bad_piece_is_guilty_at_once() {
        let mut suspicions = Suspicions::default();
        let blocks = vec![Some((PeerKey(1), digest(1))), Some((PeerKey(1), digest(9)))];
        assert_eq!(suspicions.add(PieceIndex(0), blocks), Some(PeerKey(1)));
    }
}

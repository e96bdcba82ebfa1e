//! Which missing piece is rarest: pieces in buckets by rank and then by how many peers have them.
//! A lower rank comes first, whatever is rare.
//!
//! Seeders have every piece, so they move no piece against another; they are counted apart, and a
//! seeder that comes or goes costs nothing.

use proto::{Bitfield, PieceIndex};

use chance::Chance;

/// How many peers have each piece, and the pieces to be had in that order.
#[derive(Debug)]
pub(crate) struct Rarity {
    /// Peers that have the piece, seeders apart.
    counts: Vec<u16>,
    /// Which pieces come first.
    ranks: Vec<u8>,
    /// The pieces that may be picked, by rank and count.
    buckets: [Vec<Vec<PieceIndex>>; RANKS],
    /// Where in its bucket a piece is; [`ABSENT`] when it may not be picked.
    places: Vec<u32>,
    /// No piece before this one may be picked.
    first: usize,
}

impl Rarity {
    pub(crate) fn new(pieces: u32) -> Self {
        let pieces = pieces as usize;
        let (counts, places) = (vec![0; pieces], vec![ABSENT; pieces]);
        Self { counts, ranks: vec![0; pieces], buckets: Default::default(), places, first: 0 }
    }

    #[cfg(test)]
    pub(crate) fn pickable(&self) -> usize {
        self.buckets.iter().flatten().map(Vec::len).sum()
    }

    /// Has `piece` come before those of higher rank. [`RANKS`] is the bound.
    pub(crate) fn set_rank(&mut self, piece: PieceIndex, rank: u8) {
        self.relink(piece, |rarity| rarity.ranks[piece.as_usize()] = rank.min(RANKS as u8 - 1));
    }

    /// Makes `piece` one that may be picked.
    pub(crate) fn offer(&mut self, piece: PieceIndex) {
        if self.places[piece.as_usize()] == ABSENT {
            self.first = self.first.min(piece.as_usize());
            self.link(piece);
        }
    }

    /// `piece` is opened, there or unwanted: it may not be picked.
    pub(crate) fn withdraw(&mut self, piece: PieceIndex) {
        if self.places[piece.as_usize()] != ABSENT {
            self.unlink(piece);
        }
    }

    /// `piece` is missing and not being fetched.
    pub(crate) fn may_pick(&self, piece: PieceIndex) -> bool {
        self.places.get(piece.as_usize()).is_some_and(|place| *place != ABSENT)
    }

    /// No piece may be picked.
    pub(crate) fn is_empty(&self) -> bool {
        self.buckets.iter().flatten().all(Vec::is_empty)
    }

    /// One more peer that is no seeder has `piece`.
    pub(crate) fn more(&mut self, piece: PieceIndex) {
        self.relink(piece, |rarity| {
            let count = &mut rarity.counts[piece.as_usize()];
            *count = count.saturating_add(1);
        });
    }

    /// One peer fewer has `piece`.
    pub(crate) fn fewer(&mut self, piece: PieceIndex) {
        self.relink(piece, |rarity| {
            let count = &mut rarity.counts[piece.as_usize()];
            *count = count.saturating_sub(1);
        });
    }

    /// The rarest piece of the first rank that may be picked among those in `of`, at random among equals.
    pub(crate) fn rarest(&self, of: &Bitfield, chance: &mut Chance) -> Option<PieceIndex> {
        self.buckets.iter().flatten().filter(|bucket| !bucket.is_empty()).find_map(|bucket| {
            let start = chance.index(bucket.len());
            let (before, after) = bucket.split_at(start);
            after.iter().chain(before).copied().find(|piece| of.has(*piece))
        })
    }

    /// The first piece of the first rank that may be picked among those in `of`.
    pub(crate) fn first(&mut self, of: &Bitfield) -> Option<PieceIndex> {
        let absent = self.places[self.first..].iter().take_while(|place| **place == ABSENT);
        self.first += absent.count();
        let in_use =
            (0..).zip(&self.buckets).filter(|(_, buckets)| !buckets.iter().all(Vec::is_empty));
        in_use.map(|(rank, _)| rank).find_map(|rank: u8| {
            let rest = (self.first as u32..self.places.len() as u32).map(PieceIndex);
            let mut rest = rest.filter(|piece| self.ranks[piece.as_usize()] == rank);
            rest.find(|piece| self.may_pick(*piece) && of.has(*piece))
        })
    }

    /// Peers that have `piece`, seeders apart.
    pub(crate) fn count(&self, piece: PieceIndex) -> u16 {
        self.counts[piece.as_usize()]
    }

    /// No piece that may be picked comes before this one.
    pub(crate) fn is_of_first_rank(&self, piece: PieceIndex) -> bool {
        let before = &self.buckets[..usize::from(self.ranks[piece.as_usize()])];
        before.iter().flatten().all(Vec::is_empty)
    }

    /// Changes what decides about a piece's bucket.
    fn relink(&mut self, piece: PieceIndex, change: impl Fn(&mut Self)) {
        let linked = self.places[piece.as_usize()] != ABSENT;
        if linked {
            self.unlink(piece);
        }
        change(self);
        if linked {
            self.link(piece);
        }
    }

    fn link(&mut self, piece: PieceIndex) {
        let count = usize::from(self.counts[piece.as_usize()]);
        let buckets = &mut self.buckets[usize::from(self.ranks[piece.as_usize()])];
        if buckets.len() <= count {
            buckets.resize_with(count + 1, Vec::new);
        }
        self.places[piece.as_usize()] = buckets[count].len() as u32;
        buckets[count].push(piece);
    }

    fn unlink(&mut self, piece: PieceIndex) {
        let buckets = &mut self.buckets[usize::from(self.ranks[piece.as_usize()])];
        let bucket = &mut buckets[usize::from(self.counts[piece.as_usize()])];
        let place = self.places[piece.as_usize()] as usize;
        bucket.swap_remove(place);
        if let Some(moved) = bucket.get(place) {
            self.places[moved.as_usize()] = place as u32;
        }
        self.places[piece.as_usize()] = ABSENT;
    }
}

const ABSENT: u32 = u32::MAX;
/// How many ranks there are.
pub(crate) const RANKS: usize = 3;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rarest_piece_of_the_peer_is_picked() {
        let mut rarity = Rarity::new(4);
        (0..4).for_each(|piece| rarity.offer(PieceIndex(piece)));
        for piece in [0, 0, 1, 2, 2] {
            rarity.more(PieceIndex(piece));
        }
        let mut of = Bitfield::full(4);
        of.remove(PieceIndex(3));
        assert_eq!(rarity.rarest(&of, &mut Chance::new(1)), Some(PieceIndex(1)));
        rarity.withdraw(PieceIndex(1));
        rarity.fewer(PieceIndex(2));
        assert_eq!(rarity.rarest(&of, &mut Chance::new(1)), Some(PieceIndex(2)));
        assert_eq!(rarity.rarest(&Bitfield::empty(4), &mut Chance::new(1)), None);
    }

    proptest! {
        #[test]
        fn picks_agree_with_a_plain_search(ops in prop::collection::vec((0u8..7, 0u32..24), 0..200)) {
            let mut rarity = Rarity::new(24);
            let mut plain = [(0u8, 0u16, false); 24];
            for (op, piece) in ops {
                let entry = &mut plain[piece as usize];
                let piece = PieceIndex(piece);
                match op {
                    0 => { rarity.offer(piece); entry.2 = true }
                    1 => { rarity.withdraw(piece); entry.2 = false }
                    2 => { rarity.more(piece); entry.1 += 1 }
                    3 => { rarity.fewer(piece); entry.1 = entry.1.saturating_sub(1) }
                    _ => { rarity.set_rank(piece, op - 4); entry.0 = op - 4 }
                }
            }
            let least = plain.iter().filter(|entry| entry.2).map(|entry| (entry.0, entry.1)).min();
            let picked = rarity.rarest(&Bitfield::full(24), &mut Chance::new(7));
            let found = picked.map(|piece| (plain[piece.as_usize()].0, rarity.count(piece)));
            prop_assert_eq!(found, least);
            prop_assert!(picked.is_none_or(|piece| rarity.is_of_first_rank(piece)));
            let rank = least.map(|(rank, _)| rank);
            let first = plain.iter().position(|entry| entry.2 && Some(entry.0) == rank);
            prop_assert_eq!(rarity.first(&Bitfield::full(24)).map(PieceIndex::as_usize), first);
            prop_assert_eq!(rarity.pickable(), plain.iter().filter(|entry| entry.2).count());
        }
    }
}

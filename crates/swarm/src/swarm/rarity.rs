//! Which missing piece is rarest: pieces in buckets by how many peers have them.
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
    /// The pieces that may be picked, by count.
    buckets: Vec<Vec<PieceIndex>>,
    /// Where in its bucket a piece is; [`ABSENT`] when it may not be picked.
    places: Vec<u32>,
    /// No piece before this one may be picked.
    first: usize,
}

impl Rarity {
    pub(crate) fn new(pieces: u32) -> Self {
        let pieces = pieces as usize;
        let (counts, places) = (vec![0; pieces], vec![ABSENT; pieces]);
        Self { counts, buckets: Vec::new(), places, first: 0 }
    }

    #[cfg(test)]
    pub(crate) fn pickable(&self) -> usize {
        self.buckets.iter().map(Vec::len).sum()
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
        self.buckets.iter().all(Vec::is_empty)
    }

    /// One more peer that is no seeder has `piece`.
    pub(crate) fn more(&mut self, piece: PieceIndex) {
        self.shift(piece, |count| count.saturating_add(1));
    }

    /// One peer fewer has `piece`.
    pub(crate) fn fewer(&mut self, piece: PieceIndex) {
        self.shift(piece, |count| count.saturating_sub(1));
    }

    /// The rarest piece that may be picked among those in `of`, at random among equals.
    pub(crate) fn rarest(&self, of: &Bitfield, chance: &mut Chance) -> Option<PieceIndex> {
        self.buckets.iter().filter(|bucket| !bucket.is_empty()).find_map(|bucket| {
            let start = chance.index(bucket.len());
            let (before, after) = bucket.split_at(start);
            after.iter().chain(before).copied().find(|piece| of.has(*piece))
        })
    }

    /// The first piece that may be picked among those in `of`.
    pub(crate) fn first(&mut self, of: &Bitfield) -> Option<PieceIndex> {
        let absent = self.places[self.first..].iter().take_while(|place| **place == ABSENT);
        self.first += absent.count();
        let rest = self.first as u32..self.places.len() as u32;
        rest.map(PieceIndex).find(|piece| self.may_pick(*piece) && of.has(*piece))
    }

    /// Peers that have `piece`, seeders apart.
    pub(crate) fn count(&self, piece: PieceIndex) -> u16 {
        self.counts[piece.as_usize()]
    }

    fn shift(&mut self, piece: PieceIndex, change: impl Fn(u16) -> u16) {
        let linked = self.places[piece.as_usize()] != ABSENT;
        if linked {
            self.unlink(piece);
        }
        let count = &mut self.counts[piece.as_usize()];
        *count = change(*count);
        if linked {
            self.link(piece);
        }
    }

    fn link(&mut self, piece: PieceIndex) {
        let count = usize::from(self.counts[piece.as_usize()]);
        if self.buckets.len() <= count {
            self.buckets.resize_with(count + 1, Vec::new);
        }
        self.places[piece.as_usize()] = self.buckets[count].len() as u32;
        self.buckets[count].push(piece);
    }

    fn unlink(&mut self, piece: PieceIndex) {
        let bucket = &mut self.buckets[usize::from(self.counts[piece.as_usize()])];
        let place = self.places[piece.as_usize()] as usize;
        bucket.swap_remove(place);
        if let Some(moved) = bucket.get(place) {
            self.places[moved.as_usize()] = place as u32;
        }
        self.places[piece.as_usize()] = ABSENT;
    }
}

const ABSENT: u32 = u32::MAX;

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
        fn picks_agree_with_a_plain_search(ops in prop::collection::vec((0u8..4, 0u32..24), 0..200)) {
            let mut rarity = Rarity::new(24);
            let mut plain = [(0u16, false); 24];
            for (op, piece) in ops {
                let entry = &mut plain[piece as usize];
                let piece = PieceIndex(piece);
                match op {
                    0 => { rarity.offer(piece); entry.1 = true }
                    1 => { rarity.withdraw(piece); entry.1 = false }
                    2 => { rarity.more(piece); entry.0 += 1 }
                    _ => { rarity.fewer(piece); entry.0 = entry.0.saturating_sub(1) }
                }
            }
            let least = plain.iter().filter(|entry| entry.1).map(|entry| entry.0).min();
            let picked = rarity.rarest(&Bitfield::full(24), &mut Chance::new(7));
            prop_assert_eq!(picked.map(|piece| rarity.count(piece)), least);
            let first = plain.iter().position(|entry| entry.1);
            prop_assert_eq!(rarity.first(&Bitfield::full(24)).map(PieceIndex::as_usize), first);
            prop_assert_eq!(rarity.pickable(), plain.iter().filter(|entry| entry.1).count());
        }
    }
}

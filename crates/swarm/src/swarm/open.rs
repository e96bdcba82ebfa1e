//! Pieces that are being fetched: which blocks are missing, asked for, or here, and from whom.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proto::{Block, Geometry, PieceIndex};
use smallvec::SmallVec;

use crate::{BlockBuf, PeerKey};

/// One block of an open piece.
#[derive(Debug)]
enum Slot {
    /// All pad: nothing to fetch.
    Pad,
    /// Asked from nobody.
    Missing,
    /// Asked from these; more than one only in the end game. And since when.
    Asked(SmallVec<[PeerKey; 1]>, Instant),
    /// Here, and who sent it.
    Here(BlockBuf, PeerKey),
}

impl Slot {
    const fn sender(&self) -> Option<PeerKey> {
        match self {
            Self::Here(_, sender) => Some(*sender),
            Self::Pad | Self::Missing | Self::Asked(..) => None,
        }
    }

    fn is_asked_from(&self, peer: PeerKey) -> bool {
        matches!(self, Self::Asked(asked, _) if asked.contains(&peer))
    }
}

/// One open piece.
#[derive(Debug)]
struct OpenPiece {
    slots: Vec<Slot>,
    missing: u32,
    /// Slots that are neither here nor pad.
    absent: u32,
    /// After a bad try only one peer may fetch it, so that a second failure names its author.
    sole: Option<PeerKey>,
    on_parole: bool,
    /// Who was asked first; others join only where that is allowed.
    owner: Option<PeerKey>,
    /// Rises from piece to piece.
    opened: u64,
}

/// A piece whose blocks are all here.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) blocks: Vec<Option<BlockBuf>>,
    /// Who sent each block.
    pub(crate) senders: Vec<Option<PeerKey>>,
}

/// What an incoming block did.
#[derive(Debug)]
pub(crate) enum Received {
    /// It was missing; these peers were asked for it too.
    Wanted { also_asked: SmallVec<[PeerKey; 1]>, whole: bool },
    /// It was here already, or the piece is not open.
    Surplus(BlockBuf),
}

/// What was begun and is not to be ended.
#[derive(Debug, Default)]
pub(crate) struct Abandoned {
    /// The blocks that are here.
    pub(crate) blocks: Vec<BlockBuf>,
    /// Those that were asked for, and of whom.
    pub(crate) asked: Vec<(PeerKey, Block)>,
}

/// Who asks for blocks, when, and for how many at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) geometry: &'a Geometry,
    pub(crate) now: Instant,
    pub(crate) peer: PeerKey,
    pub(crate) room: usize,
}

/// All open pieces.
#[derive(Debug, Default)]
pub(crate) struct OpenPieces {
    pieces: BTreeMap<PieceIndex, OpenPiece>,
    /// Open pieces with a missing block, in the order in which they were opened.
    unasked: Vec<PieceIndex>,
    by_age: BTreeMap<u64, PieceIndex>,
    next_opened: u64,
}

impl OpenPieces {
    pub(crate) fn is_open(&self, piece: PieceIndex) -> bool {
        self.pieces.contains_key(&piece)
    }

    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// All blocks of the piece are here.
    pub(crate) fn is_whole(&self, piece: PieceIndex) -> bool {
        self.pieces.get(&piece).is_some_and(|open| open.absent == 0)
    }

    /// Its blocks came from several peers.
    pub(crate) fn is_mixed(&self, piece: PieceIndex) -> bool {
        self.pieces.get(&piece).is_some_and(|open| are_several(open.slots.iter().map(Slot::sender)))
    }

    /// Starts a piece. `on_parole` keeps it to one peer at a time. True when there is nothing to
    /// fetch: the piece is all pad.
    pub(crate) fn open(&mut self, geometry: &Geometry, piece: PieceIndex, on_parole: bool) -> bool {
        let numbers = 0..geometry.block_count(piece);
        let content = numbers.map(|number| geometry.has_content(geometry.block(piece, number)));
        let slots: Vec<_> =
            content.map(|content| if content { Slot::Missing } else { Slot::Pad }).collect();
        let missing = slots.iter().filter(|slot| matches!(slot, Slot::Missing)).count() as u32;
        let opened = self.next_opened;
        self.next_opened += 1;
        self.by_age.insert(opened, piece);
        let (absent, sole, owner) = (missing, None, None);
        let open = OpenPiece { slots, missing, absent, sole, on_parole, owner, opened };
        assert!(self.pieces.insert(piece, open).is_none(), "piece {} is open already", piece.0);
        self.unasked.push(piece);
        missing == 0
    }

    /// Takes up to `room` missing blocks that `peer` may be asked for, oldest pieces first. Unless it
    /// `joins`, only of pieces that nobody else was asked for before.
    pub(crate) fn ask(
        &mut self,
        asking: Asking<'_>,
        joins: bool,
        may: impl Fn(PieceIndex) -> bool,
        out: &mut Vec<Block>,
    ) {
        let Asking { geometry, now, peer, room } = asking;
        let end = out.len() + room;
        let mut at = 0;
        while at < self.unasked.len() && out.len() < end {
            let piece = self.unasked[at];
            let open = self.pieces.get_mut(&piece).expect("listed pieces are open");
            let taken = !joins && open.owner.is_some_and(|owner| owner != peer);
            if taken || !may(piece) || open.sole.is_some_and(|sole| sole != peer) {
                at += 1;
                continue;
            }
            open.owner.get_or_insert(peer);
            if open.on_parole {
                open.sole = Some(peer);
            }
            for (number, slot) in open.slots.iter_mut().enumerate() {
                if out.len() == end || open.missing == 0 {
                    break;
                }
                if matches!(slot, Slot::Missing) {
                    *slot = Slot::Asked(SmallVec::from_elem(peer, 1), now);
                    open.missing -= 1;
                    out.push(geometry.block(piece, number as u32));
                }
            }
            if open.missing == 0 {
                self.unasked.remove(at);
            }
        }
    }

    /// Takes missing blocks of one piece, whoever else is asked for it.
    pub(crate) fn ask_of(&mut self, asking: Asking<'_>, piece: PieceIndex, out: &mut Vec<Block>) {
        let Asking { geometry, now, peer, room } = asking;
        let Some(open) = self.pieces.get_mut(&piece) else { return };
        if open.missing == 0 || room == 0 || open.sole.is_some_and(|sole| sole != peer) {
            return;
        }
        open.owner.get_or_insert(peer);
        if open.on_parole {
            open.sole = Some(peer);
        }
        let missing = open.slots.iter_mut().enumerate();
        let missing = missing.filter(|(_, slot)| matches!(slot, Slot::Missing)).take(room);
        for (number, slot) in missing {
            *slot = Slot::Asked(SmallVec::from_elem(peer, 1), now);
            open.missing -= 1;
            out.push(geometry.block(piece, number as u32));
        }
        if open.missing == 0 {
            self.unasked.retain(|unasked| *unasked != piece);
        }
    }

    /// Takes blocks of one piece that another peer has owed for so `long`; none is asked of three.
    pub(crate) fn ask_late(
        &mut self,
        asking: Asking<'_>,
        piece: PieceIndex,
        long: Duration,
        out: &mut Vec<Block>,
    ) {
        let Asking { geometry, now, peer, room } = asking;
        let Some(open) = self.pieces.get_mut(&piece).filter(|open| open.sole.is_none()) else {
            return;
        };
        let end = out.len() + room;
        for (number, slot) in open.slots.iter_mut().enumerate() {
            let Slot::Asked(asked, since) = slot else { continue };
            let is_late = now.duration_since(*since) >= long;
            if out.len() < end && is_late && asked.len() == 1 && !asked.contains(&peer) {
                asked.push(peer);
                out.push(geometry.block(piece, number as u32));
            }
        }
    }

    /// Gives back what `peer` was asked for of some pieces: the blocks to cancel.
    pub(crate) fn take_back(
        &mut self,
        geometry: &Geometry,
        peer: PeerKey,
        which: impl Fn(PieceIndex) -> bool,
    ) -> Vec<Block> {
        let mut taken = Vec::new();
        for (piece, open) in self.pieces.iter_mut().filter(|(piece, _)| which(**piece)) {
            let mut any = false;
            for number in 0..open.slots.len() {
                if open.slots[number].is_asked_from(peer) {
                    taken.push(geometry.block(*piece, number as u32));
                    any |= give_back(open, peer, number);
                }
            }
            if open.sole == Some(peer) {
                open.sole = None;
            }
            if any {
                relist(&mut self.unasked, *piece);
            }
        }
        taken
    }

    /// End game: takes up to `room` blocks that others were asked for, fewest askers first, and those
    /// last that were asked for first: they are likely to be on their way already. So is what was
    /// asked for a moment ago. Unless blocks may be asked for `twice`, only those of peers that are
    /// `busy`. Gives back what is to be cancelled: the blocks of busy peers.
    pub(crate) fn ask_again(
        &mut self,
        asking: Asking<'_>,
        may: impl Fn(PieceIndex) -> bool,
        busy: &BTreeSet<PeerKey>,
        twice: bool,
        out: &mut Vec<Block>,
    ) -> Vec<(PeerKey, Block)> {
        let Asking { geometry, now, peer, room } = asking;
        let mut left = Vec::new();
        for askers in 1..ASKERS_MAX {
            for piece in self.by_age.values().rev() {
                let open = self.pieces.get_mut(piece).expect("listed pieces are open");
                if !may(*piece) || open.sole.is_some() {
                    continue;
                }
                for (number, slot) in open.slots.iter_mut().enumerate().rev() {
                    if out.len() >= room {
                        return left;
                    }
                    let Slot::Asked(asked, since) = slot else { continue };
                    let due = now.duration_since(*since) >= ASK_AGAIN * askers as u32;
                    if !due || asked.len() != askers || asked.contains(&peer) {
                        continue;
                    }
                    if !twice && asked.iter().any(|other| !busy.contains(other)) {
                        continue;
                    }
                    let block = geometry.block(*piece, number as u32);
                    out.push(block);
                    asked.retain(|other| {
                        let leaves = busy.contains(other);
                        if leaves {
                            left.push((*other, block));
                        }
                        !leaves
                    });
                    asked.push(peer);
                    if asked.len() == 1 {
                        *since = now;
                    }
                }
            }
        }
        left
    }

    /// A block came from `peer`.
    pub(crate) fn receive(&mut self, peer: PeerKey, block: Block, data: BlockBuf) -> Received {
        let Some(open) = self.pieces.get_mut(&block.piece) else { return Received::Surplus(data) };
        let slot = &mut open.slots[block.number() as usize];
        let also_asked = match slot {
            Slot::Pad | Slot::Here(..) => return Received::Surplus(data),
            Slot::Asked(asked, _) => {
                asked.retain(|asked| *asked != peer);
                std::mem::take(asked)
            }
            Slot::Missing => {
                open.missing -= 1;
                if open.missing == 0 {
                    self.unasked.retain(|unasked| *unasked != block.piece);
                }
                SmallVec::new()
            }
        };
        *slot = Slot::Here(data, peer);
        open.absent -= 1;
        Received::Wanted { also_asked, whole: open.absent == 0 }
    }

    /// `peer` will not send this block: it is missing again unless others were asked too.
    pub(crate) fn give_back(&mut self, peer: PeerKey, block: Block) {
        let Some(open) = self.pieces.get_mut(&block.piece) else { return };
        if give_back(open, peer, block.number() as usize) {
            relist(&mut self.unasked, block.piece);
        }
        // It may not come back to the rest: another one must be able to.
        if open.sole == Some(peer) && !open.slots.iter().any(|slot| slot.is_asked_from(peer)) {
            open.sole = None;
        }
    }

    /// Throws away what a liar sent of pieces that are not whole.
    pub(crate) fn distrust(&mut self, liar: PeerKey, spare_own: bool) -> Vec<BlockBuf> {
        let mut thrown = Vec::new();
        for (piece, open) in &mut self.pieces {
            // Of a piece that is its alone it will bear the blame alone.
            if spare_own && open.sole == Some(liar) {
                continue;
            }
            for slot in &mut open.slots {
                if !matches!(slot, Slot::Here(_, sender) if *sender == liar) {
                    continue;
                }
                if let Slot::Here(data, _) = std::mem::replace(slot, Slot::Missing) {
                    thrown.push(data);
                    open.missing += 1;
                    open.absent += 1;
                    relist(&mut self.unasked, *piece);
                }
            }
        }
        thrown
    }

    /// `peer` is gone or too slow: gives back all that it was asked for.
    pub(crate) fn give_back_all(&mut self, peer: PeerKey) {
        for (piece, open) in &mut self.pieces {
            let mut any = false;
            for number in 0..open.slots.len() {
                any |= give_back(open, peer, number);
            }
            if open.sole == Some(peer) {
                open.sole = None;
            }
            if open.owner == Some(peer) {
                open.owner = None;
            }
            if any {
                relist(&mut self.unasked, *piece);
            }
        }
    }

    /// Drops open pieces.
    pub(crate) fn abandon(
        &mut self,
        geometry: &Geometry,
        which: impl Fn(PieceIndex) -> bool,
    ) -> Abandoned {
        let mut abandoned = Abandoned::default();
        let pieces: Vec<_> = self.pieces.keys().copied().filter(|piece| which(*piece)).collect();
        for piece in pieces {
            let slots = self.pieces.get(&piece).map_or(&[][..], |open| &open.slots);
            for (number, slot) in (0..).zip(slots) {
                if let Slot::Asked(peers, _) = slot {
                    let block = geometry.block(piece, number);
                    abandoned.asked.extend(peers.iter().map(|peer| (*peer, block)));
                }
            }
            let here = self.take(piece).into_iter().flat_map(|whole| whole.blocks);
            abandoned.blocks.extend(here.flatten());
        }
        abandoned
    }

    /// Takes a piece whose blocks are all here, or (when dropping it) those that are.
    pub(crate) fn take(&mut self, piece: PieceIndex) -> Option<Whole> {
        let open = self.pieces.remove(&piece)?;
        self.by_age.remove(&open.opened);
        self.unasked.retain(|unasked| *unasked != piece);
        let (blocks, senders) = open
            .slots
            .into_iter()
            .map(|slot| match slot {
                Slot::Here(data, sender) => (Some(data), Some(sender)),
                Slot::Pad | Slot::Missing | Slot::Asked(..) => (None, None),
            })
            .unzip();
        Some(Whole { blocks, senders })
    }

    /// Some open piece has a block that nobody was asked for.
    pub(crate) fn has_unasked(&self) -> bool {
        !self.unasked.is_empty()
    }
}

/// Not all blocks have the same sender.
pub(crate) fn are_several(senders: impl Iterator<Item = Option<PeerKey>>) -> bool {
    let mut senders = senders.flatten();
    let first = senders.next();
    senders.any(|sender| Some(sender) != first)
}

fn give_back(open: &mut OpenPiece, peer: PeerKey, number: usize) -> bool {
    let Slot::Asked(asked, _) = &mut open.slots[number] else { return false };
    let before = asked.len();
    asked.retain(|asked| *asked != peer);
    if before == asked.len() || !asked.is_empty() {
        return false;
    }
    open.slots[number] = Slot::Missing;
    open.missing += 1;
    true
}

fn relist(unasked: &mut Vec<PieceIndex>, piece: PieceIndex) {
    if !unasked.contains(&piece) {
        unasked.insert(0, piece);
    }
}

/// Peers that a block is asked from at most, in the end game.
const ASKERS_MAX: usize = 3;
/// How long a block may take before the end game asks another peer too; twice that for a third.
const ASK_AGAIN: Duration = Duration::from_millis(400);

#[cfg(test)]
mod tests {
    use proto::{BLOCK_LEN, FileIndex};

    use super::*;

    const ANNA: PeerKey = PeerKey(1);
    const BERT: PeerKey = PeerKey(2);

    fn two_pieces() -> (Geometry, OpenPieces) {
        let len = u64::from(8 * BLOCK_LEN);
        let geometry = Geometry::new(4 * BLOCK_LEN, len, false, [(FileIndex(0), 0, len)]);
        let mut open = OpenPieces::default();
        open.open(&geometry, PieceIndex(0), false);
        (geometry, open)
    }

    fn asking(geometry: &Geometry, peer: PeerKey, room: usize) -> Asking<'_> {
        Asking { geometry, now: crate::test_now(), peer, room }
    }

    fn ask(open: &mut OpenPieces, geometry: &Geometry, peer: PeerKey, room: usize) -> Vec<Block> {
        let mut out = Vec::new();
        open.ask(asking(geometry, peer, room), true, |_| true, &mut out);
        out
    }

    #[test]
    fn blocks_are_asked_once_and_in_order() {
        let (geometry, mut open) = two_pieces();
        let anna = ask(&mut open, &geometry, ANNA, 3);
        let bert = ask(&mut open, &geometry, BERT, 3);
        assert_eq!(anna.iter().map(Block::number).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(bert.iter().map(Block::number).collect::<Vec<_>>(), [3]);
        assert!(!open.has_unasked());
    }

    #[test]
    fn a_lost_peer_gives_its_blocks_back() {
        let (geometry, mut open) = two_pieces();
        ask(&mut open, &geometry, ANNA, 4);
        open.give_back_all(ANNA);
        assert_eq!(ask(&mut open, &geometry, BERT, 9).len(), 4);
    }

    #[test]
    fn end_game_asks_others_and_names_whom_to_cancel() {
        let (geometry, mut open) = two_pieces();
        let asked = ask(&mut open, &geometry, ANNA, 4);
        let mut again = Vec::new();
        let now = asking(&geometry, BERT, 1);
        let nobody = BTreeSet::new();
        open.ask_again(now, |_| true, &nobody, true, &mut again);
        assert!(again.is_empty(), "they may be on their way");
        let later = Asking { now: now.now + 2 * ASK_AGAIN, ..now };
        open.ask_again(later, |_| true, &nobody, false, &mut again);
        assert!(again.is_empty(), "nobody is busy");
        open.ask_again(later, |_| true, &nobody, true, &mut again);
        assert_eq!(again, asked[3..], "what comes last is asked for first");
        let received = open.receive(BERT, again[0], BlockBuf::new());
        let Received::Wanted { also_asked, whole: false } = received else {
            panic!("{received:?}")
        };
        assert_eq!(also_asked[..], [ANNA]);
        let late = open.receive(ANNA, again[0], BlockBuf::new());
        assert!(matches!(late, Received::Surplus(_)));
    }

    #[test]
    fn pieces_that_are_not_shared_have_one_sender_each() {
        let (geometry, mut open) = two_pieces();
        open.open(&geometry, PieceIndex(1), false);
        let own = |open: &mut OpenPieces, peer| {
            let mut out = Vec::new();
            open.ask(asking(&geometry, peer, 2), false, |_| true, &mut out);
            out.iter().map(|block| block.piece.0).collect::<Vec<_>>()
        };
        assert_eq!((own(&mut open, ANNA), own(&mut open, BERT)), (vec![0, 0], vec![1, 1]));
        assert_eq!(own(&mut open, ANNA), [0, 0]);
        assert!(own(&mut open, ANNA).is_empty(), "the rest is Bert's");
        open.give_back_all(BERT);
        assert_eq!(own(&mut open, ANNA), [1, 1]);
    }

    #[test]
    fn a_liars_blocks_are_fetched_again() {
        let (geometry, mut open) = two_pieces();
        let asked = ask(&mut open, &geometry, ANNA, 4);
        asked.iter().for_each(|block| drop(open.receive(ANNA, *block, BlockBuf::new())));
        open.receive(ANNA, asked[0], BlockBuf::new());
        assert!(open.distrust(BERT, false).is_empty());
        assert_eq!(open.distrust(ANNA, false).len(), 4);
        assert_eq!(ask(&mut open, &geometry, BERT, 9), asked);
    }

    #[test]
    fn parole_ends_when_the_peer_refuses() {
        let (geometry, mut open) = two_pieces();
        open.open(&geometry, PieceIndex(1), true);
        open.take(PieceIndex(0));
        let asked = ask(&mut open, &geometry, ANNA, 1);
        open.give_back(ANNA, asked[0]);
        assert_eq!(ask(&mut open, &geometry, BERT, 9).len(), 4);
    }

    #[test]
    fn a_busy_peer_is_relieved_of_what_another_can_send() {
        let (geometry, mut open) = two_pieces();
        let asked = ask(&mut open, &geometry, ANNA, 4);
        let mut again = Vec::new();
        let later = Asking { now: crate::test_now() + 2 * ASK_AGAIN, ..asking(&geometry, BERT, 2) };
        let busy = BTreeSet::from([ANNA]);
        let left = open.ask_again(later, |_| true, &busy, false, &mut again);
        assert_eq!(again, [asked[3], asked[2]]);
        assert_eq!(left, [(ANNA, asked[3]), (ANNA, asked[2])]);
        // It comes all the same: then the other one need not send it.
        let received = open.receive(ANNA, asked[3], BlockBuf::new());
        let Received::Wanted { also_asked, .. } = received else { panic!("{received:?}") };
        assert_eq!(also_asked[..], [BERT]);
    }

    #[test]
    fn a_piece_on_parole_belongs_to_one_peer() {
        let (geometry, mut open) = two_pieces();
        open.open(&geometry, PieceIndex(1), true);
        open.take(PieceIndex(0));
        assert_eq!(ask(&mut open, &geometry, ANNA, 1).len(), 1);
        assert_eq!(ask(&mut open, &geometry, BERT, 9).len(), 0);
        open.give_back_all(ANNA);
        assert_eq!(ask(&mut open, &geometry, BERT, 9).len(), 4);
    }
}

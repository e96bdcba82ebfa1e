//! Which files are wanted, and how much: what that means for each piece.
//!
//! A piece is as wanted as the most wanted file that has bytes in it. What nobody wants is not fetched;
//! what is there of it is kept and served.

use std::collections::BTreeMap;

use proto::{Bitfield, FileIndex, Geometry, PieceIndex};

use super::{Swarm, Torrent, view};
use crate::{Action, Notice, PeerCommand, PeerKey};

/// How much a file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Not at all: nothing of it is fetched but what shares a piece with a wanted file.
    Skip,
    /// When there is nothing else to fetch.
    Low,
    /// As most.
    #[default]
    Normal,
    /// Before all others.
    High,
}

/// The wishes of one torrent. As long as they are all alike they take no memory.
#[derive(Debug)]
pub(crate) struct Wishes {
    /// By file; empty while all are normal.
    files: Vec<Priority>,
    /// By piece; empty while all are normal.
    pieces: Vec<Priority>,
    /// Pieces that are wanted and not there.
    pub(crate) lacking: u32,
    /// Content bytes of wanted files.
    pub(crate) len: u64,
    /// Of those, the ones that are there.
    pub(crate) verified: u64,
}

impl Wishes {
    pub(crate) fn new(
        geometry: &Geometry,
        have: &Bitfield,
        files: usize,
        changes: &BTreeMap<FileIndex, Priority>,
    ) -> Self {
        let mut wishes =
            Self { files: Vec::new(), pieces: Vec::new(), lacking: 0, len: 0, verified: 0 };
        wishes.change(geometry, have, files, changes);
        wishes
    }

    /// Other wishes for these files; numbers that no file has are left out.
    pub(crate) fn change(
        &mut self,
        geometry: &Geometry,
        have: &Bitfield,
        files: usize,
        changes: &BTreeMap<FileIndex, Priority>,
    ) {
        self.files.resize(files, Priority::Normal);
        for (file, priority) in changes {
            if let Some(place) = self.files.get_mut(file.0 as usize) {
                *place = *priority;
            }
        }
        if self.files.iter().all(|priority| *priority == Priority::Normal) {
            (self.files, self.pieces) = (Vec::new(), Vec::new());
            self.lacking = geometry.piece_count() - have.count();
            self.len = geometry.content_len();
            self.verified = have.iter().map(|piece| view::content_in(geometry, piece)).sum();
            return;
        }
        let every = (0..geometry.piece_count()).map(PieceIndex);
        self.pieces = every.map(|piece| self.judge(geometry, piece)).collect();
        (self.lacking, self.len, self.verified) = (0, 0, 0);
        for piece in (0..geometry.piece_count()).map(PieceIndex) {
            let (wanted, here) = (self.content_in(geometry, piece), have.has(piece));
            self.len += wanted;
            self.verified += if here { wanted } else { 0 };
            self.lacking += u32::from(!here && self.wants(piece));
        }
    }

    /// All files are wanted alike.
    pub(crate) fn are_plain(&self) -> bool {
        self.files.is_empty()
    }

    fn judge(&self, geometry: &Geometry, piece: PieceIndex) -> Priority {
        let files = geometry.spans(geometry.whole(piece)).map(|span| self.of_file(span.file));
        files.max().unwrap_or(Priority::Skip)
    }

    pub(crate) fn of_file(&self, file: FileIndex) -> Priority {
        self.files.get(file.0 as usize).copied().unwrap_or_default()
    }

    pub(crate) fn of(&self, piece: PieceIndex) -> Priority {
        self.pieces.get(piece.as_usize()).copied().unwrap_or_default()
    }

    pub(crate) fn wants(&self, piece: PieceIndex) -> bool {
        self.of(piece) != Priority::Skip
    }

    /// Bytes of wanted files in a piece.
    fn content_in(&self, geometry: &Geometry, piece: PieceIndex) -> u64 {
        if self.files.is_empty() {
            return view::content_in(geometry, piece);
        }
        let spans = geometry.spans(geometry.whole(piece));
        let wanted = spans.filter(|span| self.of_file(span.file) != Priority::Skip);
        wanted.map(|span| u64::from(span.len)).sum()
    }

    /// A piece is there now.
    pub(crate) fn on_stored(&mut self, geometry: &Geometry, piece: PieceIndex) {
        self.verified += self.content_in(geometry, piece);
        self.lacking -= u32::from(self.wants(piece));
    }

    /// A piece is not there any more.
    pub(crate) fn on_lost(&mut self, geometry: &Geometry, piece: PieceIndex) {
        self.verified -= self.content_in(geometry, piece);
        self.lacking += u32::from(self.wants(piece));
    }
}

impl Torrent {
    /// A piece is wanted and not there.
    pub(super) fn lacks(&self, piece: PieceIndex) -> bool {
        self.wishes.wants(piece) && !self.have.has(piece)
    }

    /// A missing piece may be picked, if it is wanted.
    pub(super) fn offer(&mut self, piece: PieceIndex) {
        if self.wishes.wants(piece) {
            self.rarity.offer(piece);
        }
    }

    /// Pieces that `has` names and we want.
    pub(super) fn wanted_of(&self, has: &Bitfield) -> u32 {
        has.iter().filter(|piece| self.lacks(*piece)).count() as u32
    }
}

impl Swarm {
    /// Files are wanted more or less than before.
    pub(super) fn prioritize(&mut self, changes: Vec<(FileIndex, Priority)>) {
        let changes: BTreeMap<_, _> = changes.into_iter().collect();
        let Some(torrent) = &mut self.torrent else {
            // Kept until there are files; no torrent has more of them than it can name.
            self.early_wishes.extend(changes);
            return;
        };
        let (geometry, files) = (torrent.geometry.clone(), torrent.info.files().len());
        torrent.wishes.change(&geometry, &torrent.have, files, &changes);
        for piece in (0..geometry.piece_count()).map(PieceIndex) {
            torrent.rarity.set_rank(piece, rank(torrent.wishes.of(piece)));
            if !torrent.wishes.wants(piece) {
                torrent.rarity.withdraw(piece);
            }
        }
        self.abandon_unwanted();
        self.offer_missing();
        self.recount_wanted();
        self.judge_completeness();
    }

    /// What was begun and is not wanted any more.
    fn abandon_unwanted(&mut self) {
        let Some(torrent) = &mut self.torrent else { return };
        let wishes = &torrent.wishes;
        let abandoned = torrent.open.abandon(&torrent.geometry, |piece| !wishes.wants(piece));
        for (key, block) in abandoned.asked {
            self.command(key, PeerCommand::Cancel(block));
        }
        for data in abandoned.blocks {
            self.wasted += data.as_slice().len() as u64;
            self.actions.push(Action::Recycle(data));
        }
    }

    fn recount_wanted(&mut self) {
        let Some(torrent) = &self.torrent else { return };
        for peer in self.peers.values_mut() {
            peer.wanted = peer.has.as_ref().map_or(0, |has| torrent.wanted_of(has));
        }
    }

    /// All that is wanted may be there now, or no longer.
    fn judge_completeness(&mut self) {
        let Some(torrent) = &mut self.torrent else { return };
        let complete = torrent.wishes.lacking == 0;
        let was_complete = std::mem::replace(&mut torrent.complete, complete);
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        keys.iter().for_each(|key| self.update_interest(*key));
        if complete && !was_complete {
            self.on_complete(&keys);
        } else if was_complete && !complete {
            self.actions.push(Action::Notice(Notice::Incomplete));
            keys.iter().for_each(|key| self.command(*key, PeerCommand::UploadOnly(false)));
            for addr in std::mem::take(&mut self.parted) {
                self.addresses.add(self.now, addr, proto::egress::Nearness::Machine);
            }
            self.announcer.hurry(self.now);
            self.seeker.hurry(self.now);
            self.dial_and_announce();
        }
    }
}

/// The picker's rank of a priority.
pub(super) const fn rank(priority: Priority) -> u8 {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low | Priority::Skip => 2,
    }
}

/// Seeders whose address is kept for when more is wanted; trackers know others.
pub(super) const PARTED_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proto::BLOCK_LEN;

    use super::*;

    /// Five files of odd lengths end to end: pieces are shared.
    fn geometry(lens: &[u64]) -> Geometry {
        let mut at = 0;
        let files: Vec<_> = (0..)
            .zip(lens)
            .map(|(index, len)| {
                at += len;
                (FileIndex(index), at - len, *len)
            })
            .collect();
        Geometry::new(BLOCK_LEN, at, false, files)
    }

    #[test]
    fn a_piece_is_as_wanted_as_the_most_wanted_file_in_it() {
        let geometry = geometry(&[20_000, 20_000, 20_000]);
        let have = Bitfield::empty(geometry.piece_count());
        let changes = [(0, Priority::Skip), (1, Priority::High), (9, Priority::High)];
        let changes = changes.map(|(file, priority)| (FileIndex(file), priority)).into();
        let wishes = Wishes::new(&geometry, &have, 3, &changes);
        let pieces = [0, 1, 2, 3].map(|piece| wishes.of(PieceIndex(piece)));
        assert_eq!(pieces, [Priority::Skip, Priority::High, Priority::High, Priority::Normal]);
        assert_eq!((wishes.lacking, wishes.len, wishes.verified), (3, 40_000, 0));
    }

    proptest! {
        #[test]
        fn counts_agree_with_a_plain_count(
            lens in prop::collection::vec(0_u64..60_000, 1..8),
            there in prop::collection::vec(any::<bool>(), 40),
            levels in prop::collection::vec(0_u8..4, 8),
            stored in prop::collection::vec(0_u32..40, 0..20),
        ) {
            prop_assume!(lens.iter().sum::<u64>() > 0);
            let geometry = geometry(&lens);
            let count = geometry.piece_count();
            let mut have = Bitfield::empty(count);
            (0..count).filter(|piece| there[*piece as usize]).for_each(|piece| {
                have.insert(PieceIndex(piece));
            });
            let level = |file: usize| {
                [Priority::Skip, Priority::Low, Priority::Normal, Priority::High][usize::from(levels[file])]
            };
            let changes = (0..lens.len()).map(|file| (FileIndex(file as u32), level(file))).collect();
            let mut wishes = Wishes::new(&geometry, &have, lens.len(), &changes);
            for piece in stored.into_iter().filter(|piece| *piece < count).map(PieceIndex) {
                if have.insert(piece) {
                    wishes.on_stored(&geometry, piece);
                } else {
                    have.remove(piece);
                    wishes.on_lost(&geometry, piece);
                }
            }
            let (mut lacking, mut len, mut verified) = (0, 0, 0);
            for piece in (0..count).map(PieceIndex) {
                let mut wanted = false;
                for span in geometry.spans(geometry.whole(piece)) {
                    if level(span.file.0 as usize) == Priority::Skip {
                        continue;
                    }
                    wanted = true;
                    len += u64::from(span.len);
                    verified += if have.has(piece) { u64::from(span.len) } else { 0 };
                }
                lacking += u32::from(wanted && !have.has(piece));
            }
            prop_assert_eq!((wishes.lacking, wishes.len, wishes.verified), (lacking, len, verified));
        }
    }
}

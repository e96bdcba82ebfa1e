//! Taking what is missing from copies elsewhere on this machine instead of fetching it.
//!
//! Each piece is read, checked against all hashes that its torrent has, and only then written, like a
//! piece that a peer sent. Copies are read and nothing else.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proto::merkle::{self, TreeShape};
use proto::{BLOCK_LEN, FileIndex, MerkleHash, PieceIndex};
use swarm::BlockBuf;

use super::copies::{Copies, Likeness, Search};
use super::recheck::{Cancelled, Checker};
use super::storage::{SlotState, Storage};
use super::{OpenError, StorageEvent};
use crate::hashing::verify::{Piece, Verdict, verify_all};

/// Whom to tell, and when to stop.
pub(super) struct Watch<'a> {
    /// Told the bytes that were read.
    pub(super) progress: &'a (dyn Fn(u64) + Sync),
    pub(super) cancel: &'a AtomicBool,
    /// The torrent runs already: each piece is reported to it.
    pub(super) running: bool,
}

impl Storage {
    /// Takes what is missing from copies: in these folders, and where the record knows some. Blocks.
    pub(super) fn reuse(
        self: &Arc<Self>,
        named: &[PathBuf],
        watch: &Watch<'_>,
    ) -> Result<(), OpenError> {
        let missing = self.files_with_gaps();
        if missing.is_empty() {
            return Ok(());
        }
        let records = &*self.shared.records;
        let copies = Search { info: &self.info, named, records }.run(&missing);
        let mut taking = Taking { storage: self, copies, watch, sources: BTreeMap::new() };
        taking.learn_layers()?;
        for &file in &missing {
            taking.take_file(file)?;
        }
        taking.take_shared_pieces(&missing)
    }

    /// All is there: others may take it from here.
    pub(super) fn note_copies(&self) {
        if let Err(error) = self.shared.records.note_copies(&self.path(), &self.info) {
            tracing::warn!(torrent = %self.key, %error, "cannot note where the files are");
        }
    }

    /// The same for a torrent that runs: its piece layers have just come. Ends early when it is closed.
    pub(crate) fn reuse_beside(self: &Arc<Self>, named: &[PathBuf], cancel: &AtomicBool) {
        let watch = Watch { progress: &|_| (), cancel, running: true };
        match self.reuse(named, &watch) {
            Ok(()) | Err(OpenError::Cancelled) => {}
            // What was not copied is fetched.
            Err(error) => tracing::warn!(torrent = %self.key, %error, "copying stopped"),
        }
    }

    /// Wanted files that lack bytes and may be written.
    fn files_with_gaps(&self) -> Vec<FileIndex> {
        let have = self.have();
        let lacks = |file: &FileIndex| {
            self.geometry.pieces_of(*file).any(|piece| !have.has(PieceIndex(piece)))
        };
        let may_write = |file: &FileIndex| {
            let state = *self.slot(*file).state.lock();
            let ours = matches!(state, SlotState::Absent | SlotState::Part(_));
            ours && self.slot(*file).is_wanted()
        };
        let files = (0..self.slots.len() as u32).map(FileIndex);
        files.filter(lacks).filter(may_write).collect()
    }

    /// Pieces of a file that are missing and can be judged.
    fn gaps_of(&self, file: FileIndex) -> Vec<PieceIndex> {
        let pieces: Vec<_> = {
            let progress = self.progress.lock();
            let pieces = self.geometry.pieces_of(file).map(PieceIndex);
            pieces.filter(|piece| !progress.have.has(*piece)).collect()
        };
        pieces.into_iter().filter(|piece| self.expected(*piece).is_some()).collect()
    }
}

struct Taking<'a> {
    storage: &'a Arc<Storage>,
    copies: Copies,
    watch: &'a Watch<'a>,
    /// The candidates that held content, by the file that they are a copy of.
    sources: BTreeMap<FileIndex, usize>,
}

/// A piece that was read, and whether it is right.
type Read = (PieceIndex, Vec<Option<BlockBuf>>, bool);

impl Taking<'_> {
    /// A magnet link brings no piece layers. That of a file with a whole copy is in the copy: the root
    /// proves it.
    fn learn_layers(&self) -> Result<(), Cancelled> {
        let storage = self.storage;
        for index in self.copies.files() {
            let file = &storage.info.files()[index.0 as usize];
            let Some(root) = file.root else { continue };
            let known = storage.layers.read().layer(&root).is_some();
            if known || file.len <= u64::from(storage.info.piece_len()) {
                continue;
            }
            for candidate in self.copies.of(index) {
                let Some(copy) = candidate.open() else { continue };
                let layer = self.layer_of(&copy, file.len)?;
                let piece_len = storage.info.piece_len();
                if let Some(layer) = layer
                    && merkle::verify_layer(&root, file.len, piece_len, &layer)
                {
                    storage.layers.write().insert_verified(root, layer.into());
                    break;
                }
            }
        }
        Ok(())
    }

    /// What the piece layer of a file is; `None` when it has another length or cannot be read.
    fn layer_of(&self, file: &File, len: u64) -> Result<Option<Vec<MerkleHash>>, Cancelled> {
        let piece_len = self.storage.info.piece_len();
        let Some(shape) = TreeShape::new(len, piece_len) else { return Ok(None) };
        if file.metadata().map_or(0, |metadata| metadata.len()) != len {
            return Ok(None);
        }
        let run = piece_len.min(RUN_LEN);
        let mut memory = vec![0; run as usize];
        let (mut layer, mut leaves) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < len {
            if self.is_over() {
                return Err(Cancelled);
            }
            let here = &mut memory[..(len - at).min(u64::from(run)) as usize];
            if file.read_exact_at(here, at).is_err() {
                return Ok(None);
            }
            leaves.extend(merkle::leaves(here));
            at += here.len() as u64;
            if at % u64::from(piece_len) == 0 || at == len {
                layer.push(merkle::root(&leaves, 1 << shape.piece_layer()));
                leaves.clear();
            }
        }
        Ok(Some(layer))
    }

    /// Takes the pieces that lie in this file alone.
    fn take_file(&mut self, index: FileIndex) -> Result<(), OpenError> {
        let candidates = self.copies.of(index).to_vec();
        if candidates.is_empty() {
            return Ok(());
        }
        let mut missing = self.storage.gaps_of(index);
        missing.retain(|piece| self.storage.files_of(*piece).count() == 1);
        for (number, candidate) in candidates.iter().enumerate() {
            if missing.is_empty() {
                break;
            }
            let Some(copy) = candidate.open() else { continue };
            let before = missing.len();
            if candidate.likeness == Likeness::Length {
                let (first, rest) = missing.split_at(1);
                if !self.take(first, &|_| copy.try_clone().map(Some), Some(&copy))?.is_empty() {
                    continue;
                }
                missing = rest.to_vec();
            }
            missing = self.take(&missing, &|_| copy.try_clone().map(Some), Some(&copy))?;
            if missing.len() < before {
                self.sources.entry(index).or_insert(number);
            }
        }
        Ok(())
    }

    /// v1 puts files end to end: takes pieces that lie in several of them, each from the copy that gave
    /// other pieces, or the likeliest.
    fn take_shared_pieces(&self, missing: &[FileIndex]) -> Result<(), OpenError> {
        let mut pieces: Vec<_> =
            missing.iter().flat_map(|file| self.storage.gaps_of(*file)).collect();
        pieces.sort_unstable();
        pieces.dedup();
        pieces.retain(|piece| {
            let files: Vec<_> = self.storage.files_of(*piece).collect();
            files.len() > 1 && files.iter().any(|file| !self.copies.of(*file).is_empty())
        });
        if pieces.is_empty() {
            return Ok(());
        }
        let open = |file: FileIndex| -> io::Result<Option<File>> {
            let slot = self.storage.slot(file);
            if matches!(*slot.state.lock(), SlotState::Whole(_)) {
                return self.storage.root.open_read(&slot.names.own).map(Some);
            }
            let number = self.sources.get(&file).copied().unwrap_or(0);
            Ok(self.copies.of(file).get(number).and_then(super::copies::Candidate::open))
        };
        self.take(&pieces, &open, None).map(drop)
    }

    /// Takes pieces from the files that `open` gives; returns those that are not right there.
    fn take(
        &self,
        pieces: &[PieceIndex],
        open: &(dyn Fn(FileIndex) -> io::Result<Option<File>> + Sync),
        copy: Option<&File>,
    ) -> Result<Vec<PieceIndex>, OpenError> {
        let storage = self.storage;
        let checker = Checker {
            geometry: &storage.geometry,
            expected: &|piece| storage.expected(piece),
            open,
            progress: &|_| (),
            cancel: self.watch.cancel,
            parts: None,
            pool: &storage.shared.pool,
        };
        let (mut left, mut last) = (Vec::new(), None);
        let mut queue = pieces.iter().copied();
        loop {
            let batch = checker.next_batch(&mut queue);
            if batch.is_empty() {
                return Ok(left);
            }
            if self.is_over() {
                return Err(OpenError::Cancelled);
            }
            let mut read = Vec::with_capacity(batch.len());
            for piece in batch {
                match checker.read_piece(piece, &mut last) {
                    Some(blocks) => read.push((piece, blocks)),
                    None => left.push(piece),
                }
            }
            for (piece, blocks, good) in self.judge(read) {
                let written = match good {
                    true => self.write(piece, &blocks, copy),
                    false => {
                        left.push(piece);
                        Ok(())
                    }
                };
                storage.shared.pool.give(blocks.into_iter().flatten());
                written?;
            }
        }
    }

    fn judge(&self, read: Vec<(PieceIndex, Vec<Option<BlockBuf>>)>) -> Vec<Read> {
        let storage = self.storage;
        let bytes = read.iter().map(|(piece, _)| u64::from(storage.geometry.piece_len(*piece)));
        (self.watch.progress)(bytes.sum());
        // Layers are only ever added, so each piece that was chosen can be judged.
        let judged = read.iter().filter_map(|(index, blocks)| {
            let expected = storage.expected(*index)?;
            Some(Piece { geometry: &storage.geometry, index: *index, blocks, expected })
        });
        let judged: Vec<_> = judged.collect();
        let good: Vec<PieceIndex> = judged
            .iter()
            .zip(verify_all(&judged))
            .filter(|(_, verdict)| Verdict::is_good(verdict))
            .map(|(piece, _)| piece.index)
            .collect();
        let with_verdict = |(piece, blocks)| (piece, blocks, good.contains(&piece));
        read.into_iter().map(with_verdict).collect()
    }

    fn write(
        &self,
        piece: PieceIndex,
        blocks: &[Option<BlockBuf>],
        copy: Option<&File>,
    ) -> Result<(), OpenError> {
        let storage = self.storage;
        storage.write_copied(piece, blocks, copy).map_err(|failure| OpenError::Io {
            what: failure.reason,
            source: match failure.full {
                true => io::ErrorKind::StorageFull.into(),
                false => io::Error::other("copying stopped"),
            },
        })?;
        storage.reused.fetch_add(storage.content_of(piece), Ordering::Relaxed);
        let file = storage.files_of(piece).next();
        let event = file.filter(|_| self.watch.running);
        let event = event.map(|file| StorageEvent::Rechecked { file, good: vec![piece] });
        storage.on_written(&[piece], event);
        Ok(())
    }

    fn is_over(&self) -> bool {
        let closed = self.watch.running && *self.storage.closed.read();
        closed || self.watch.cancel.load(Ordering::Relaxed)
    }
}

/// Bytes that are hashed in one go.
const RUN_LEN: u32 = 1 << 20;

const _: () = assert!(RUN_LEN.is_multiple_of(BLOCK_LEN) && RUN_LEN.is_power_of_two());

//! Making it durable, in this order: the data is synced, complete files get their names, the folders
//! are synced, and only then the record says that the pieces are there.
//!
//! A failed sync is never repeated as proof: the system may have dropped the pages that it could not
//! write (Rebello et al., ATC 2020). What was written since the last good sync counts as lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proto::{Bitfield, FileIndex, PieceIndex};
use swarm::DiskEvent;

use super::StorageEvent;
use super::descriptors::sync_data;
use super::error::is_full;
use super::parts::RECORDED_AS;
use super::root::Found;
use super::shared::SyncQueue;
use super::storage::{Progress, Slot, SlotState, Storage};
use crate::api::Fault;
use crate::record::{FileRecord, RecordError, Standing};

/// Above so many files or folders, one sync of the whole file system is cheaper than one each.
const SYNCS_MAX: usize = 64;

/// The sync thread of a disk: serves storages as they become due, until the queue is stopped and empty.
pub(super) fn run(queue: &SyncQueue) {
    while let Some(storage) = queue.take() {
        storage.checkpoint();
    }
}

/// What a checkpoint covers.
struct Batch {
    pieces: Vec<PieceIndex>,
    dirty: BTreeSet<FileIndex>,
    dirs: BTreeSet<PathBuf>,
    forgotten: BTreeSet<FileIndex>,
    settle: BTreeSet<FileIndex>,
    lost: bool,
    /// Bytes of files that are not wanted were written.
    parts: bool,
}

impl Storage {
    /// Syncs and records what was written so far. Blocks.
    pub(super) fn checkpoint(self: &Arc<Self>) {
        let _only_one = self.checkpointing.lock();
        let Some(mut batch) = self.take_batch() else { return };
        match self.parts.sync().and_then(|any| self.sync_files(&batch.dirty).map(|()| any)) {
            Ok(any) => batch.parts = any,
            Err(error) => return self.on_sync_failed(batch.pieces, &error),
        }
        let settled = self.settle_batch(&mut batch);
        batch.dirty.extend(&settled);
        let all_here = self.is_complete_with(&self.progress.lock(), &batch.pieces);
        let complete = all_here && self.make_rest(&mut batch);
        if let Err(error) = self.sync_dirs(&batch.dirs) {
            return self.on_sync_failed(batch.pieces, &error);
        }
        self.record(batch, &settled, complete);
    }

    /// Ends in good order: nothing is written any more, what was written is synced and recorded, and
    /// the next start trusts the files by their times. Blocks.
    pub fn close(self: &Arc<Self>) {
        if std::mem::replace(&mut *self.closed.write(), true) {
            return;
        }
        self.lane.sync.forget(self);
        self.checkpoint();
        let _only_one = self.checkpointing.lock();
        if self.debt.has_failed() {
            return;
        }
        // Only incomplete files were written to since they were recorded.
        let every = (0..self.slots.len() as u32).map(FileIndex);
        let parts = every.filter(|file| self.is_incomplete(*file));
        let mut files: Vec<_> =
            parts.filter_map(|file| Some((file, Some(self.file_record(file)?)))).collect();
        files.extend(self.parts.record().map(|record| (RECORDED_AS, Some(record))));
        self.parts.close();
        let (durable, finished, pending) = {
            let progress = self.progress.lock();
            (progress.durable.clone(), progress.finished, progress.pending.len())
        };
        let standing = Standing { clean: true, finished };
        match self.shared.records.checkpoint(self.key, &durable, &files, standing) {
            Ok(()) if pending == 0 => self.journal.lock().remove(),
            Ok(()) => {}
            Err(error) => tracing::warn!(torrent = %self.key, %error, "clean stop not recorded"),
        }
        self.lane.descriptors.close_all(self.id);
    }

    fn is_incomplete(&self, file: FileIndex) -> bool {
        matches!(*self.slot(file).state.lock(), SlotState::Part(_))
    }

    /// Syncs now what waits for it: the swarm says that all is there.
    pub fn finish(self: &Arc<Self>) {
        self.request_checkpoint(true);
    }

    fn take_batch(&self) -> Option<Batch> {
        let mut progress = self.progress.lock();
        progress.queued = false;
        progress.pending_bytes = 0;
        // After a failed sync nothing proves anything any more.
        if self.debt.has_failed() && self.failed.load(Ordering::Acquire) {
            return None;
        }
        Some(Batch {
            pieces: std::mem::take(&mut progress.pending),
            dirty: std::mem::take(&mut progress.dirty),
            dirs: std::mem::take(&mut progress.dirs),
            forgotten: std::mem::take(&mut progress.forgotten),
            settle: std::mem::take(&mut progress.settle),
            lost: std::mem::take(&mut progress.lost),
            parts: false,
        })
    }

    fn sync_files(&self, dirty: &BTreeSet<FileIndex>) -> io::Result<()> {
        if self.debt.has_failed() {
            return Err(io::Error::other("an earlier sync failed"));
        }
        // From here on a write makes the descriptor dirty again.
        let open = |file| self.lane.descriptors.begin_sync(self.id, file);
        let mut rest: Vec<_> = dirty.iter().copied().collect();
        let all = self.debt.take_all() || rest.len() > SYNCS_MAX;
        if all && self.root.sync_covers().is_some() {
            let opened: Vec<_> = rest.iter().filter_map(|file| open(*file)).collect();
            self.root.sync_all()?;
            drop(opened);
            rest.retain(|file| self.is_elsewhere(*file));
        }
        for file in rest {
            match open(file) {
                Some(open) => sync_data(&open)?,
                None => self.sync_closed(file)?,
            }
        }
        Ok(())
    }

    /// The file is on another file system than the root.
    fn is_elsewhere(&self, file: FileIndex) -> bool {
        match *self.slot(file).state.lock() {
            SlotState::Part(identity) | SlotState::Whole(identity) => {
                Some(identity.dev) != self.root.sync_covers()
            }
            SlotState::Absent | SlotState::Changed => false,
        }
    }

    /// It was synced when its descriptor was closed; what that could not report shows now.
    fn sync_closed(&self, file: FileIndex) -> io::Result<()> {
        let slot = self.slot(file);
        let state = slot.state.lock();
        let opened = match *state {
            SlotState::Part(_) => self.root.open_write(&slot.names.part),
            SlotState::Whole(_) => self.root.open_read(&slot.names.own),
            SlotState::Absent | SlotState::Changed => return Ok(()),
        };
        drop(state);
        sync_data(&opened?)
    }

    /// Gives the files their names that are complete with this batch.
    fn settle_batch(&self, batch: &mut Batch) -> Vec<FileIndex> {
        let mut candidates = std::mem::take(&mut batch.settle);
        {
            let progress = self.progress.lock();
            let mut left: BTreeMap<FileIndex, u32> = Default::default();
            for file in batch.pieces.iter().flat_map(|piece| self.files_of(*piece)) {
                *left.entry(file).or_insert(progress.undurable[file.0 as usize]) -= 1;
            }
            let done = left.into_iter().filter(|(_, left)| *left == 0).map(|(file, _)| file);
            candidates.extend(done);
        }
        let mut settled = Vec::new();
        for file in candidates {
            match self.settle(file) {
                Ok(true) => {
                    let own = &self.slot(file).names.own;
                    batch.dirs.insert(own.parent().map(PathBuf::from).unwrap_or_default());
                    settled.push(file);
                }
                Ok(false) => {}
                Err(error) => self.fail(error.reason(), error.fault(), error.is_full()),
            }
        }
        settled
    }

    /// All that is wanted is durable once these pieces are, and that is not known yet.
    pub(super) fn is_complete_with(&self, progress: &Progress, pieces: &[PieceIndex]) -> bool {
        let mut durable_now: BTreeMap<FileIndex, u32> = BTreeMap::new();
        for file in pieces.iter().flat_map(|piece| self.files_of(*piece)) {
            *durable_now.entry(file).or_default() += 1;
        }
        let is_complete = |file: FileIndex| {
            progress.undurable[file.0 as usize] == durable_now.get(&file).copied().unwrap_or(0)
        };
        let slots = (0..).map(FileIndex).zip(&self.slots);
        let mut wanted = slots.filter(|(_, slot)| slot.is_wanted());
        !progress.finished && wanted.all(|(file, _)| is_complete(file))
    }

    /// Every file is wanted.
    fn wants_everything(&self) -> bool {
        self.slots.iter().all(Slot::is_wanted)
    }

    /// Every wanted piece is synced: makes what has no content. True when every wanted file has its name.
    fn make_rest(&self, batch: &mut Batch) -> bool {
        if !self.writable {
            return true;
        }
        match self.make_contentless() {
            Ok(dirs) => batch.dirs.extend(dirs),
            Err(error) => {
                self.fail(error.reason(), error.fault(), error.is_full());
                return false;
            }
        }
        let mut slots = self.slots.iter().filter(|slot| slot.len > 0 && slot.is_wanted());
        slots.all(|slot| matches!(*slot.state.lock(), SlotState::Whole(_)))
    }

    fn sync_dirs(&self, dirs: &BTreeSet<PathBuf>) -> io::Result<()> {
        if dirs.len() > SYNCS_MAX && self.root.sync_covers().is_some() {
            return self.root.sync_all();
        }
        dirs.iter().try_for_each(|dir| self.root.sync_dir(dir))
    }

    fn record(self: &Arc<Self>, batch: Batch, settled: &[FileIndex], complete: bool) {
        let touched: BTreeSet<_> = batch.dirty.union(&batch.forgotten).copied().collect();
        let mut files: Vec<_> =
            touched.into_iter().map(|file| (file, self.file_record(file))).collect();
        let parts_done = complete && self.wants_everything() && self.parts.is_there();
        if batch.parts || parts_done {
            files.push((RECORDED_AS, self.parts.record().filter(|_| !parts_done)));
        }
        let have = self.durable_with(&batch.pieces);
        let finished = complete || self.is_finished();
        let standing = Standing { clean: false, finished };
        if let Err(error) = self.shared.records.checkpoint(self.key, &have, &files, standing) {
            return self.on_record_failed(batch, &error);
        }
        if parts_done {
            self.parts.remove();
        }
        self.on_durable(&batch.pieces, finished);
        for &file in settled {
            self.emit(StorageEvent::FileDone(file));
        }
        if complete {
            self.note_copies();
            self.emit(StorageEvent::Finished);
        }
    }

    fn durable_with(&self, pieces: &[PieceIndex]) -> Bitfield {
        let progress = self.progress.lock();
        let mut have = progress.durable.clone();
        // Lost since the checkpoint began: not to be claimed.
        for &piece in pieces.iter().filter(|piece| progress.have.has(**piece)) {
            have.insert(piece);
        }
        have
    }

    fn on_durable(&self, pieces: &[PieceIndex], finished: bool) {
        let mut bytes = 0;
        let pending = {
            let mut progress = self.progress.lock();
            for &piece in pieces {
                if progress.have.has(piece) && progress.durable.insert(piece) {
                    bytes += self.content_of(piece);
                    for file in self.files_of(piece) {
                        progress.undurable[file.0 as usize] -= 1;
                    }
                }
            }
            let mut slots = self.slots.iter().zip(&progress.undurable);
            let complete = slots.all(|(slot, undurable)| !slot.is_wanted() || *undurable == 0);
            progress.finished = finished && complete;
            progress.pending.clone()
        };
        let durable = self.durable.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // A piece written between these two lines is entered by its worker after us, or twice.
        let mut journal = self.journal.lock();
        let reset = match finished {
            true => {
                journal.remove();
                Ok(())
            }
            false => journal.reset(&pending),
        };
        if let Err(error) = reset {
            tracing::warn!(torrent = %self.key, %error, "journal not written");
        }
        drop(journal);
        if bytes > 0 {
            self.emit(StorageEvent::Durable(durable));
        }
    }

    fn on_sync_failed(&self, pieces: Vec<PieceIndex>, error: &io::Error) {
        let reason = format!("sync {}: {error}", self.root.path().display());
        self.debt.set_failed();
        {
            let mut progress = self.progress.lock();
            self.withdraw(&mut progress, &pieces);
        }
        // The cache may still show what the disk does not have: a restart must not believe it.
        self.journal.lock().remove();
        if !pieces.is_empty() {
            self.emit(StorageEvent::Disk(DiskEvent::Lost(pieces)));
        }
        self.fail(reason, Fault::Disk, is_full(error));
    }

    /// The data is safe, the record is not: it is tried again. A full disk is waited for; anything
    /// else ends writing.
    fn on_record_failed(self: &Arc<Self>, batch: Batch, error: &RecordError) {
        {
            let mut progress = self.progress.lock();
            progress.pending.extend(batch.pieces);
            progress.dirty.extend(batch.dirty);
            progress.dirs.extend(batch.dirs);
            progress.forgotten.extend(batch.forgotten);
            progress.lost |= batch.lost;
        }
        if batch.parts {
            self.parts.mark_dirty();
        }
        if !error.is_full() {
            return self.fail(error.to_string(), Fault::Disk, false);
        }
        let (reason, fault) = (error.to_string(), Fault::Disk);
        self.emit(StorageEvent::Failed { reason, fault, full: true });
        if !*self.closed.read() {
            self.request_checkpoint(false);
        }
    }

    /// Which file it is; `None` when there was none or it is not trusted.
    pub(super) fn file_record(&self, file: FileIndex) -> Option<FileRecord> {
        let slot = self.slot(file);
        let state = slot.state.lock();
        let (path, known, whole) = match *state {
            SlotState::Part(known) => (&slot.names.part, known, false),
            SlotState::Whole(identity) => {
                let made = slot.made.load(Ordering::Acquire);
                return Some(FileRecord { identity, whole: true, made });
            }
            SlotState::Absent | SlotState::Changed => return None,
        };
        match self.root.find(path) {
            Ok(Some(Found::File { identity, .. })) if identity.same_file(&known) => {
                Some(FileRecord { identity, whole, made: true })
            }
            // The record goes on to say that there was a file, or the next start would look for its bytes
            // among those that are kept apart from files.
            Ok(_) | Err(_) => Some(FileRecord { identity: known, whole, made: true }),
        }
    }
}

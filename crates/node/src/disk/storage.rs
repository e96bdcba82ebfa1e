//! One torrent's files: reading, writing, and what is known about them.
//!
//! Invariant: `have` names only pieces whose bytes were verified and, since, written by us or found
//! unchanged. Bytes of other pieces are never handed out. A file that we did not make is read and
//! compared, never written to.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use proto::metainfo::{Expected, Info, PieceLayers};
use proto::{Bitfield, Block, FileIndex, Geometry, InfoHash, PieceIndex};
use swarm::DiskEvent;
use tokio::sync::mpsc::UnboundedSender;

use super::descriptors::{StorageId, SyncDebt};
use super::journal::Journal;
use super::lanes::Lane;
use super::names::Names;
use super::parts::Parts;
use super::root::Root;
use super::shared::{Job, Shared};
use super::{Allowance, FileIdentity, StorageEvent};
use crate::api::Fault;

/// One torrent's files. Shared by the connections that read, the workers that write and the thread
/// that syncs.
pub struct Storage {
    pub(super) id: StorageId,
    pub(super) key: InfoHash,
    pub(super) info: Arc<Info>,
    pub(super) geometry: Geometry,
    pub(super) layers: RwLock<PieceLayers>,
    pub(super) root: Root,
    /// The name of what is fetched.
    pub(super) top: String,
    /// Missing content may be written; a share is only read.
    pub(super) writable: bool,
    pub(super) slots: Box<[Slot]>,
    pub(super) progress: Mutex<Progress>,
    pub(super) journal: Mutex<Journal>,
    pub(super) parts: Parts,
    /// Held during a checkpoint: there is one at a time.
    pub(super) checkpointing: Mutex<()>,
    /// Writers hold it shared; closing takes it for good and sets it.
    pub(super) closed: RwLock<bool>,
    pub(super) debt: Arc<SyncDebt>,
    pub(super) failed: AtomicBool,
    pub(super) durable: AtomicU64,
    /// Content bytes that came from copies elsewhere on this machine.
    pub(super) reused: AtomicU64,
    pub(super) shared: Arc<Shared>,
    /// What it shares with others that lie on the same disk.
    pub(super) lane: Arc<Lane>,
    pub(super) events: UnboundedSender<StorageEvent>,
}

/// One file of a storage.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) names: Names,
    pub(super) len: u64,
    pub(super) state: Mutex<SlotState>,
    /// It is to be there when all is done; [`Storage::set_wanted`] changes that.
    pub(super) wanted: AtomicBool,
    /// We made the file, so we may remove it as long as nobody changes it.
    pub(super) made: AtomicBool,
    /// Held by who writes. The system lets one writer into a file at a time, too, but there the others
    /// spin as long as it takes.
    pub(super) writing: Mutex<()>,
    /// When the path was looked at last, in milliseconds since the workers started.
    pub(super) looked_ms: AtomicU64,
}

/// What is on disk of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotState {
    /// Nothing.
    Absent,
    /// The incomplete file that we made; of its identity only device and inode stay.
    Part(FileIdentity),
    /// A file under its own name that nobody may change. Nothing is written to it: verified bytes
    /// that belong there are compared.
    Whole(FileIdentity),
    /// It was changed by somebody and waits to be checked again.
    Changed,
}

/// How far a storage is. Guarded by one lock, held for moments only.
#[derive(Debug)]
pub(super) struct Progress {
    /// Verified and written.
    pub(super) have: Bitfield,
    /// Synced and recorded, too.
    pub(super) durable: Bitfield,
    /// Written since the last checkpoint began.
    pub(super) pending: Vec<PieceIndex>,
    pub(super) pending_bytes: u64,
    /// Files written to since then.
    pub(super) dirty: BTreeSet<FileIndex>,
    /// Folders whose names changed since then.
    pub(super) dirs: BTreeSet<PathBuf>,
    /// Files whose record no longer holds.
    pub(super) forgotten: BTreeSet<FileIndex>,
    /// Files to be given their own name if they are complete, though no piece of theirs is pending.
    pub(super) settle: BTreeSet<FileIndex>,
    /// For each file, its pieces that are not durable.
    pub(super) undurable: Vec<u32>,
    /// It waits in the queue of the sync thread.
    pub(super) queued: bool,
    /// Pieces were lost since the last checkpoint, so the record must be replaced.
    pub(super) lost: bool,
    pub(super) finished: bool,
}

/// Why a piece was not stored.
#[derive(Debug)]
pub(super) struct StoreFailure {
    pub(super) reason: String,
    pub(super) full: bool,
}

impl Slot {
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }
}

impl Storage {
    /// The torrent's pieces and files.
    #[must_use]
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The torrent.
    #[must_use]
    pub const fn info(&self) -> &Arc<Info> {
        &self.info
    }

    /// Content bytes that would survive a power cut.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Relaxed)
    }

    /// Content bytes that this run took from copies elsewhere on this machine.
    #[must_use]
    pub fn reused(&self) -> u64 {
        self.reused.load(Ordering::Relaxed)
    }

    /// The piece layers, as far as they are known.
    #[must_use]
    pub fn layers(&self) -> PieceLayers {
        self.layers.read().clone()
    }

    /// How much memory the torrent may use for pieces, of what all have together.
    pub(crate) fn allowance(&self, most: u64) -> Allowance {
        Allowance::new(self.lane.budget.clone(), most)
    }

    /// The pieces that are verified and written.
    #[must_use]
    pub fn have(&self) -> Bitfield {
        self.progress.lock().have.clone()
    }

    /// Every wanted file has its own name, and all is synced and recorded.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.progress.lock().finished
    }

    /// Where the torrent's file or folder is or will be.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match (self.writable, self.info.is_single_file(), self.slots.first()) {
            (true, ..) => self.root.path().join(&self.top),
            (false, true, Some(slot)) => self.root.path().join(&slot.names.own),
            (false, ..) => self.root.path().to_owned(),
        }
    }

    /// The piece layers of a magnet link came in. Files that were there and could not be judged are
    /// checked now; [`StorageEvent::Rechecked`] says what of them is right.
    pub fn set_layers(self: &Arc<Self>, layers: PieceLayers) {
        let every = (0..self.slots.len() as u32).map(FileIndex);
        let first_piece = |file| self.geometry.pieces_of(file).next().map(PieceIndex);
        let unjudged: Vec<_> = every
            .filter(|file| matches!(*self.slot(*file).state.lock(), SlotState::Whole(_)))
            .filter(|file| first_piece(*file).is_some_and(|piece| self.expected(piece).is_none()))
            .collect();
        *self.layers.write() = layers;
        for file in unjudged {
            *self.slot(file).state.lock() = SlotState::Changed;
            self.lane.jobs.push(Job::Recheck(self.clone(), file));
        }
    }

    /// The file is to be there when all is done.
    pub(crate) fn is_wanted(&self, file: FileIndex) -> bool {
        self.slots.get(file.0 as usize).is_some_and(Slot::is_wanted)
    }

    /// Every piece of the file is there.
    pub(crate) fn is_whole(&self, file: FileIndex) -> bool {
        let progress = self.progress.lock();
        self.geometry.pieces_of(file).all(|piece| progress.have.has(PieceIndex(piece)))
    }

    /// From now on these files are wanted, or not. What is there of the others stays, and is served.
    pub fn set_wanted(self: &Arc<Self>, changes: impl IntoIterator<Item = (FileIndex, bool)>) {
        let mut changed = false;
        {
            let mut progress = self.progress.lock();
            for (file, wanted) in changes {
                let Some(slot) = self.slots.get(file.0 as usize) else { continue };
                if slot.wanted.swap(wanted, Ordering::AcqRel) == wanted {
                    continue;
                }
                changed = true;
                progress.finished &= !wanted;
                if wanted && slot.len > 0 && progress.undurable[file.0 as usize] == 0 {
                    progress.settle.insert(file);
                }
            }
        }
        if changed && self.writable {
            self.request_checkpoint(true);
        }
    }

    pub(super) fn expected(&self, piece: PieceIndex) -> Option<Expected> {
        self.info.expected(piece, &self.layers.read())
    }

    pub(super) fn slot(&self, file: FileIndex) -> &Slot {
        &self.slots[file.0 as usize]
    }

    /// Content bytes in a piece.
    pub(super) fn content_of(&self, piece: PieceIndex) -> u64 {
        let spans = self.geometry.spans(self.geometry.whole(piece));
        spans.map(|span| u64::from(span.len)).sum()
    }

    /// Files that have bytes in a piece.
    pub(super) fn files_of(&self, piece: PieceIndex) -> impl Iterator<Item = FileIndex> {
        self.geometry.spans(self.geometry.whole(piece)).map(|span| span.file)
    }

    pub(super) fn emit(&self, event: StorageEvent) {
        // Nobody listens when the torrent is being removed.
        let _ = self.events.send(event);
    }

    /// Reports a trouble that ends writing.
    pub(super) fn fail(&self, reason: String, fault: Fault, full: bool) {
        tracing::error!(torrent = %self.key, reason, "storage failed");
        self.failed.store(true, Ordering::Release);
        self.emit(StorageEvent::Failed { reason, fault, full });
    }

    /// Pieces are written: counts them, tells so, and lets the sync thread know.
    pub(super) fn on_written(self: &Arc<Self>, pieces: &[PieceIndex], event: Option<StorageEvent>) {
        let mut bytes = 0;
        let (urgent, first) = {
            let mut progress = self.progress.lock();
            for &piece in pieces {
                if progress.have.insert(piece) {
                    progress.pending.push(piece);
                    bytes += u64::from(self.geometry.piece_len(piece));
                    progress.dirty.extend(self.files_of(piece));
                }
            }
            progress.pending_bytes += bytes;
            // Under the lock, so that it comes before what a checkpoint of these pieces has to say.
            if let Some(event) = event {
                self.emit(event);
            }
            let urgent =
                progress.pending_bytes >= self.shared.config.sync_bytes || progress.have.is_full();
            (urgent, !std::mem::replace(&mut progress.queued, true))
        };
        if let Err(error) = self.journal.lock().append(pieces) {
            // Costs these pieces after a crash, nothing else.
            tracing::warn!(torrent = %self.key, %error, "journal not written");
        }
        self.lane.sync.request(self, first, urgent);
    }

    /// Asks for a checkpoint, soon or at once.
    pub(super) fn request_checkpoint(self: &Arc<Self>, urgent: bool) {
        let first = !std::mem::replace(&mut self.progress.lock().queued, true);
        self.lane.sync.request(self, first, urgent);
    }

    /// A file is not the one that was checked: its pieces are gone until it is checked again.
    pub(super) fn on_changed(self: &Arc<Self>, file: FileIndex) {
        // Who has the files next may do with them what it likes, and with the record.
        let closed = self.closed.read();
        if *closed {
            return;
        }
        {
            let mut state = self.slot(file).state.lock();
            if *state == SlotState::Changed {
                return;
            }
            *state = SlotState::Changed;
        }
        self.lane.descriptors.close(self.id, file);
        let lost = {
            let mut progress = self.progress.lock();
            let pieces = self.geometry.pieces_of(file).map(PieceIndex);
            let lost: Vec<_> = pieces.filter(|piece| progress.have.has(*piece)).collect();
            self.withdraw(&mut progress, &lost);
            progress.forgotten.insert(file);
            lost
        };
        tracing::warn!(
            torrent = %self.key,
            path = %self.slot(file).names.own.display(),
            pieces = lost.len(),
            "file changed on disk; it is checked again"
        );
        if !lost.is_empty() {
            self.emit(StorageEvent::Disk(DiskEvent::Lost(lost)));
        }
        self.request_checkpoint(true);
        self.lane.jobs.push(Job::Recheck(self.clone(), file));
        drop(closed);
    }

    /// Takes pieces back that were there.
    pub(super) fn withdraw(&self, progress: &mut Progress, lost: &[PieceIndex]) {
        for &piece in lost {
            progress.have.remove(piece);
            if progress.durable.remove(piece) {
                for file in self.files_of(piece) {
                    progress.undurable[file.0 as usize] += 1;
                }
                self.durable.fetch_sub(self.content_of(piece), Ordering::Relaxed);
            }
        }
        progress.pending.retain(|piece| !lost.contains(piece));
        progress.lost = true;
        progress.finished = false;
    }

    /// Whether a block can be asked for at all.
    pub(crate) fn is_servable(&self, run: Block) -> bool {
        self.geometry.contains(run) && self.progress.lock().have.has(run.piece)
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storage").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.lane.descriptors.close_all(self.id);
        self.lane.leave();
    }
}

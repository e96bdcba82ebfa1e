//! Checking what is on disk: when a torrent is opened, and when a file changed underneath.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use proto::metainfo::Expected;
use proto::{BLOCK_LEN, FileIndex, Geometry, PieceIndex, Span};
use swarm::BlockBuf;

use super::StorageEvent;
use super::parts::Parts;
use super::pool::BlockPool;
use super::root::Found;
use super::storage::{SlotState, Storage};
use crate::hashing::verify::{Piece, Verdict, verify, verify_all};

/// Pieces that are read and hashed at once, so that the hash function's lanes are full.
const PIECES_AT_ONCE: usize = 16;
/// Buffers that one call takes (IOV_MAX of Linux and the BSDs).
const SLICES_MAX: usize = 1024;
/// Bytes that are read before they are hashed, but for pieces that are larger.
const BYTES_AT_ONCE: usize = 8 << 20;

/// Reads pieces from files and judges them.
pub(super) struct Checker<'a> {
    pub(super) geometry: &'a Geometry,
    pub(super) expected: &'a (dyn Fn(PieceIndex) -> Option<Expected> + Sync),
    /// Opens the file that the bytes are taken from; `None` when there is none.
    pub(super) open: &'a (dyn Fn(FileIndex) -> io::Result<Option<File>> + Sync),
    /// Bytes read so far.
    pub(super) progress: &'a (dyn Fn(u64) + Sync),
    pub(super) cancel: &'a AtomicBool,
    /// Where bytes of files may be that are not there.
    pub(super) parts: Option<&'a Parts>,
    pub(super) pool: &'a BlockPool,
}

/// The file that was read last, so that neighbouring pieces do not open it again.
pub(super) type LastFile = Option<(FileIndex, Option<File>)>;

/// The check was cancelled.
#[derive(Debug)]
pub(super) struct Cancelled;

impl Checker<'_> {
    /// The pieces that are right, in order. Those that cannot be read or judged are not.
    pub(super) fn check(
        &self,
        pieces: &[PieceIndex],
        threads: usize,
    ) -> Result<Vec<PieceIndex>, Cancelled> {
        let queue = Mutex::new((pieces.iter().copied(), 0_u64));
        let good = Mutex::new(Vec::new());
        let threads = threads.clamp(1, pieces.len().div_ceil(PIECES_AT_ONCE).max(1));
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| self.work(&queue, &good));
            }
            self.work(&queue, &good);
        });
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Cancelled);
        }
        let mut good = good.into_inner();
        good.sort_unstable();
        Ok(good)
    }

    fn work(
        &self,
        queue: &Mutex<(impl Iterator<Item = PieceIndex>, u64)>,
        good: &Mutex<Vec<PieceIndex>>,
    ) {
        let mut last = None;
        while !self.cancel.load(Ordering::Relaxed) {
            let batch = self.next_batch(&mut queue.lock().0);
            if batch.is_empty() {
                return;
            }
            let right = self.judge(&batch, &mut last);
            good.lock().extend(right);
            let bytes: u64 =
                batch.iter().map(|piece| u64::from(self.geometry.piece_len(*piece))).sum();
            // Under the lock, so that the figures never go back.
            let mut queue = queue.lock();
            queue.1 += bytes;
            (self.progress)(queue.1);
        }
    }

    pub(super) fn next_batch(
        &self,
        pieces: &mut impl Iterator<Item = PieceIndex>,
    ) -> Vec<PieceIndex> {
        let mut bytes = 0;
        let mut batch = Vec::new();
        while batch.len() < PIECES_AT_ONCE && bytes < BYTES_AT_ONCE {
            let Some(piece) = pieces.next() else { break };
            bytes += self.geometry.piece_len(piece) as usize;
            batch.push(piece);
        }
        batch
    }

    fn judge(&self, batch: &[PieceIndex], last: &mut LastFile) -> Vec<PieceIndex> {
        let mut read = Vec::with_capacity(batch.len());
        for &piece in batch {
            if let Some(expected) = (self.expected)(piece)
                && let Some(blocks) = self.read_piece(piece, last)
            {
                read.push((piece, blocks, expected));
            }
        }
        let pieces = read.iter().map(|(index, blocks, expected)| Piece {
            geometry: self.geometry,
            index: *index,
            blocks,
            expected: *expected,
        });
        let verdicts = verify_all(&pieces.collect::<Vec<_>>());
        let right = read.iter().zip(verdicts).filter(|(_, verdict)| Verdict::is_good(verdict));
        let right = right.map(|((piece, ..), _)| *piece).collect();
        self.pool.give(read.into_iter().flat_map(|(_, blocks, _)| blocks.into_iter().flatten()));
        right
    }

    /// Reads a piece that is about to be copied, and checks what was read; `None` when it is wrong.
    pub(super) fn read_again(
        &self,
        piece: PieceIndex,
        last: &mut LastFile,
    ) -> Result<Option<Vec<Option<BlockBuf>>>, Cancelled> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Cancelled);
        }
        let (Some(expected), Some(blocks)) = ((self.expected)(piece), self.read_piece(piece, last))
        else {
            return Ok(None);
        };
        let read = Piece { geometry: self.geometry, index: piece, blocks: &blocks, expected };
        let good = verify(&read).is_good();
        Ok(good.then_some(blocks))
    }

    /// Reads a piece; `None` when some of it is not there. Bytes of pads are whatever they are.
    pub(super) fn read_piece(
        &self,
        piece: PieceIndex,
        last: &mut LastFile,
    ) -> Option<Vec<Option<BlockBuf>>> {
        let count = self.geometry.block_count(piece);
        let mut blocks = Vec::with_capacity(count as usize);
        self.pool.take(count as usize, &mut blocks);
        for (block, number) in blocks.iter_mut().zip(0..) {
            block.set_len(self.geometry.block(piece, number).len);
        }
        for span in self.geometry.spans(self.geometry.whole(piece)) {
            if last.as_ref().is_none_or(|(file, _)| *file != span.file) {
                *last = Some((span.file, (self.open)(span.file).unwrap_or(None)));
            }
            let read = match last {
                Some((_, Some(file))) => read_span(file, span, &mut blocks),
                Some((_, None)) | None => {
                    let (file, place) = self.parts?.locate(piece).ok()??;
                    let span = Span { file_offset: place + u64::from(span.begin), ..span };
                    read_span(&file, span, &mut blocks)
                }
            };
            if !read.unwrap_or(false) {
                return None;
            }
        }
        Some(blocks.into_iter().map(Some).collect())
    }
}

/// Reads a span into its blocks with as few calls as possible; false when the file ends before.
fn read_span(file: &File, span: Span, blocks: &mut [BlockBuf]) -> io::Result<bool> {
    let end = span.begin + span.len;
    let first = (span.begin / BLOCK_LEN) as usize;
    let until = end.div_ceil(BLOCK_LEN) as usize;
    let starts = (0..).step_by(BLOCK_LEN as usize).skip(first);
    let mut slices: Vec<_> = blocks[first..until]
        .iter_mut()
        .zip(starts)
        .map(|(block, start): (_, u32)| {
            let from = span.begin.saturating_sub(start) as usize;
            let upto = (end - start).min(BLOCK_LEN) as usize;
            IoSliceMut::new(&mut block.space()[from..upto])
        })
        .collect();
    let (mut left, mut offset) = (slices.as_mut_slice(), span.file_offset);
    while !left.is_empty() {
        let batch = left.len().min(SLICES_MAX);
        match rustix::io::preadv(file, &mut left[..batch], offset) {
            Ok(0) => return Ok(false),
            Ok(read) => {
                offset += read as u64;
                IoSliceMut::advance_slices(&mut left, read);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

impl Storage {
    /// Checks a file again that changed underneath, and says which of its pieces are there.
    pub(super) fn recheck_file(self: &Arc<Self>, file: FileIndex) {
        let slot = self.slot(file);
        if *slot.state.lock() != SlotState::Changed {
            return;
        }
        let before = self.root.find(&slot.names.own);
        let Ok(Some(Found::File { identity, .. })) = before else {
            return self.on_gone(file);
        };
        let pieces: Vec<_> = self.geometry.pieces_of(file).map(PieceIndex).collect();
        let good = Checker {
            geometry: &self.geometry,
            expected: &|piece| self.expected(piece),
            open: &|index| self.open_to_check(index, file),
            progress: &|_| (),
            cancel: &self.failed,
            parts: Some(&self.parts),
            pool: &self.shared.pool,
        }
        .check(&pieces, 1);
        let after = self.root.find(&slot.names.own);
        let Ok(Some(Found::File { identity: after, .. })) = after else {
            return self.on_gone(file);
        };
        let closed = self.closed.read();
        if *closed {
            return;
        }
        let mut good = good.unwrap_or_default();
        if after != identity {
            // Still being changed: nothing that was read holds. The next look finds out more.
            good.clear();
        }
        *slot.state.lock() = SlotState::Whole(after);
        if good.len() < pieces.len() {
            // It has something of somebody else's now.
            slot.made.store(false, Ordering::Release);
        }
        let event = StorageEvent::Rechecked { file, good: good.clone() };
        self.on_written(&good, Some(event));
        self.request_checkpoint(false);
        drop(closed);
    }

    /// The file is not there any more, or something else is.
    fn on_gone(&self, file: FileIndex) {
        self.emit(StorageEvent::Rechecked { file, good: Vec::new() });
        if self.writable {
            let path = self.root.path().join(&self.slot(file).names.own);
            let reason = format!(
                "{} was moved, deleted or replaced while in use; start again to fetch it again",
                path.display()
            );
            self.fail(reason, crate::api::Fault::Disk, false);
        }
    }

    /// A file as it is on disk; of files other than `changed`, only if they are as they were.
    fn open_to_check(&self, file: FileIndex, changed: FileIndex) -> io::Result<Option<File>> {
        let slot = self.slot(file);
        let state = *slot.state.lock();
        match state {
            SlotState::Changed if file == changed => self.root.open_read(&slot.names.own).map(Some),
            SlotState::Whole(_) => self.root.open_read(&slot.names.own).map(Some),
            SlotState::Part(_) => self.root.open_read(&slot.names.part).map(Some),
            SlotState::Absent | SlotState::Changed => Ok(None),
        }
    }
}

//! Writing verified pieces: one positioned, vectored write for each file that a piece touches.
//!
//! A file is made at its first write, under its `.part` name. Bytes that belong to a file which we
//! must not write to are compared with what is there: equal is as good as written.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proto::{BLOCK_LEN, FileIndex, PieceIndex, Span};
use swarm::BlockBuf;

use super::FileIdentity;
use super::clone::share_room;
use super::error::is_full;
use super::read::read_blocking;
use super::storage::{SlotState, Storage, StoreFailure};
use crate::api::Fault;

/// Buffers that one call takes (IOV_MAX of Linux and the BSDs).
const SLICES_MAX: usize = 1024;

/// What to do with bytes of a file.
enum Target {
    Write(Arc<File>),
    Compare(Arc<File>),
}

impl Storage {
    /// Writes a whole verified piece.
    pub(super) fn write_piece(
        self: &Arc<Self>,
        piece: PieceIndex,
        blocks: &[Option<BlockBuf>],
    ) -> Result<(), StoreFailure> {
        self.write_copied(piece, blocks, None)
    }

    /// The same for a piece that was read from `copy`, where its files' bytes lie at the same offsets:
    /// where the file system can, they share their room.
    pub(super) fn write_copied(
        self: &Arc<Self>,
        piece: PieceIndex,
        blocks: &[Option<BlockBuf>],
        copy: Option<&File>,
    ) -> Result<(), StoreFailure> {
        let closed = self.closed.read();
        if *closed || self.failed.load(Ordering::Acquire) || !self.writable {
            let reason = "the torrent's files are closed".to_owned();
            return Err(StoreFailure { reason, full: false });
        }
        for span in self.geometry.spans(self.geometry.whole(piece)) {
            let written = self.write_span((piece, span), blocks, copy);
            written.map_err(|error| self.store_failure(span.file, &error))?;
        }
        Ok(())
    }

    fn write_span(
        self: &Arc<Self>,
        (piece, span): (PieceIndex, Span),
        blocks: &[Option<BlockBuf>],
        copy: Option<&File>,
    ) -> io::Result<()> {
        let slices = gather(span, blocks)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the piece has a gap"))?;
        if self.keep_aside(piece, span, &slices)? {
            return Ok(());
        }
        match self.target(span.file)? {
            Target::Write(file) => {
                let turn = self.slot(span.file).writing.lock();
                let copy = copy.filter(|_| self.root.shares_room());
                // What was verified is in memory: only that counts.
                let shared = copy.is_some_and(|copy| share_room(copy, &file, span))
                    && is_there(&file, &slices, span.file_offset)?;
                if !shared {
                    write_all_at(&file, slices, span.file_offset)?;
                }
                drop(turn);
                self.lane.descriptors.mark_dirty(self.id, span.file);
                Ok(())
            }
            Target::Compare(file) => match is_there(&file, &slices, span.file_offset)? {
                true => Ok(()),
                false => Err(io::ErrorKind::AlreadyExists.into()),
            },
        }
    }

    fn store_failure(&self, file: FileIndex, error: &io::Error) -> StoreFailure {
        let path = self.root.path().join(&self.slot(file).names.own);
        if error.kind() == io::ErrorKind::AlreadyExists {
            let reason = format!(
                "{} exists with other content; move it away, or choose another folder",
                path.display()
            );
            self.fail(reason.clone(), Fault::Conflict, false);
            return StoreFailure { reason, full: false };
        }
        let full = is_full(error);
        let reason = match full {
            true => format!("no room left to write {}", path.display()),
            false => format!("write {}: {error}", path.display()),
        };
        StoreFailure { reason, full }
    }

    fn target(self: &Arc<Self>, index: FileIndex) -> io::Result<Target> {
        let slot = self.slot(index);
        let mut state = slot.state.lock();
        let write = matches!(*state, SlotState::Absent | SlotState::Part(_));
        if let Some(open) = self.lane.descriptors.lookup(self.id, index, write) {
            return Ok(if write { Target::Write(open) } else { Target::Compare(open) });
        }
        let key = (self.id, index);
        let keep = |file, write| self.lane.descriptors.insert(key, file, write, &self.debt);
        match *state {
            SlotState::Absent => {
                let file = self.create(index)?;
                *state = SlotState::Part(FileIdentity::of(&file.metadata()?));
                Ok(Target::Write(keep(file, true)))
            }
            SlotState::Part(known) => {
                let file = self.root.open_write(&slot.names.part)?;
                // Not ours: whoever put it there keeps it as it is.
                if !FileIdentity::of(&file.metadata()?).same_file(&known) {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                Ok(Target::Write(keep(file, true)))
            }
            SlotState::Whole(_) | SlotState::Changed => {
                Ok(Target::Compare(keep(self.root.open_read(&slot.names.own)?, false)))
            }
        }
    }

    /// Makes a file, with what was kept of it elsewhere. Its slot is locked.
    pub(super) fn create(&self, index: FileIndex) -> io::Result<File> {
        let slot = self.slot(index);
        let part = &slot.names.part;
        let parent = part.parent().unwrap_or(part).to_owned();
        let file = match self.root.create(part, slot.len) {
            // The folder was there when the torrent was opened.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.root.make_dirs(&parent)?;
                self.root.create(part, slot.len)?
            }
            other => other?,
        };
        if let Err(error) = self.bring_in(index, &file) {
            // Nothing was said of it to anybody.
            let _ = self.root.remove(part);
            return Err(error);
        }
        self.progress.lock().dirs.extend(parent.ancestors().map(Path::to_owned));
        Ok(file)
    }
}

/// The memory of a span, block by block; `None` when a block is missing.
fn gather<'a>(span: Span, blocks: &'a [Option<BlockBuf>]) -> Option<Vec<IoSlice<'a>>> {
    let mut slices = Vec::with_capacity(span.len.div_ceil(BLOCK_LEN) as usize + 1);
    let (mut at, end) = (span.begin, span.begin + span.len);
    while at < end {
        let number = at / BLOCK_LEN;
        let start = number * BLOCK_LEN;
        let upto = end.min(start + BLOCK_LEN);
        let block = blocks.get(number as usize)?.as_ref()?.as_slice();
        slices.push(IoSlice::new(block.get((at - start) as usize..(upto - start) as usize)?));
        at = upto;
    }
    Some(slices)
}

pub(super) fn write_all_at(
    file: &File,
    mut slices: Vec<IoSlice<'_>>,
    mut offset: u64,
) -> io::Result<()> {
    let mut left = slices.as_mut_slice();
    while !left.is_empty() {
        let batch = left.len().min(SLICES_MAX);
        match rustix::io::pwritev(file, &left[..batch], offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether the file holds these bytes.
fn is_there(file: &File, slices: &[IoSlice<'_>], mut offset: u64) -> io::Result<bool> {
    let mut found = vec![0; BLOCK_LEN as usize];
    for slice in slices {
        let found = &mut found[..slice.len()];
        if !read_blocking(file, found, offset)? || found != &**slice {
            return Ok(false);
        }
        offset += slice.len() as u64;
    }
    Ok(true)
}

//! Serving: positioned reads of runs inside a piece, with proof that the file is still the one that
//! was checked.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proto::{Block, FileIndex, PieceIndex, Span};
use rustix::io::Errno;

use super::root::Found;
use super::storage::{SlotState, Storage};
use super::{FileIdentity, ReadError};

/// How long a look at a file's path holds, in milliseconds. An open descriptor does not notice that
/// its path names another file by now.
const LOOK_INTERVAL_MS: u64 = 2_000;

impl Storage {
    /// Reads a run of a piece that we have into `out`, which has the run's length. Pads are zeros.
    /// Blocks on the disk.
    pub fn read(self: &Arc<Self>, run: Block, out: &mut [u8]) -> Result<(), ReadError> {
        self.read_run(run, out, Patience::Blocking).map(drop)
    }

    /// As [`Storage::read`], but only if all of it is in memory: false when it would have to wait for
    /// the disk; `out` is then undefined.
    pub fn read_cached(self: &Arc<Self>, run: Block, out: &mut [u8]) -> Result<bool, ReadError> {
        self.read_run(run, out, Patience::Cached)
    }

    fn read_run(
        self: &Arc<Self>,
        run: Block,
        out: &mut [u8],
        patience: Patience,
    ) -> Result<bool, ReadError> {
        if !self.is_servable(run) || out.len() != run.len as usize {
            return Err(ReadError::Absent);
        }
        let mut filled = 0;
        for span in self.geometry.spans(run) {
            let at = (span.begin - run.begin) as usize;
            let end = at + span.len as usize;
            out[filled..at].fill(0);
            if !self.read_span(run.piece, span, &mut out[at..end], patience)? {
                return Ok(false);
            }
            filled = end;
        }
        out[filled..].fill(0);
        Ok(true)
    }

    fn read_span(
        self: &Arc<Self>,
        piece: PieceIndex,
        span: Span,
        out: &mut [u8],
        patience: Patience,
    ) -> Result<bool, ReadError> {
        let io = |source| {
            let what = format!("read {}", self.slot(span.file).names.own.display());
            ReadError::Io { what, source }
        };
        // A copy of the few bytes that are elsewhere may wait for the disk: rarely asked for.
        if patience == Patience::Cached && self.parts.may_have(piece) {
            return Ok(false);
        }
        if patience == Patience::Blocking
            && let Some(complete) = self.read_aside(piece, span, out).map_err(io)?
        {
            return if complete { Ok(true) } else { Err(ReadError::Absent) };
        }
        let Some(file) = self.file_to_read(span.file, patience)? else { return Ok(false) };
        let complete = match patience {
            Patience::Blocking => read_blocking(&file, out, span.file_offset),
            Patience::Cached if self.root.is_in_memory() => {
                read_blocking(&file, out, span.file_offset)
            }
            Patience::Cached => match platform::read_cached(&file, out, span.file_offset) {
                Ok(Cached::Missing) => return Ok(false),
                Ok(Cached::All) => Ok(true),
                Ok(Cached::End) => Ok(false),
                Err(error) => Err(error),
            },
        };
        let complete = complete.map_err(io)?;
        // After the read: a change that came later concerns other reads.
        let Some(state) = self.state_of(span.file, patience) else { return Ok(false) };
        let unchanged = match state {
            SlotState::Whole(identity) => {
                FileIdentity::of(&file.metadata().map_err(io)?) == identity
            }
            SlotState::Part(_) => true,
            SlotState::Absent | SlotState::Changed => false,
        };
        // A file that got its own name meanwhile has other times than a moment ago, and a path.
        if patience == Patience::Cached && self.is_to_be_looked_at(span.file) {
            return Ok(false);
        }
        if !complete || !unchanged || !self.path_holds(span.file) {
            self.on_changed(span.file);
            return Err(ReadError::Changed { file: span.file });
        }
        Ok(true)
    }

    /// What is on disk of the file. Who makes or names it waits for the disk meanwhile: `None` when there is
    /// no time for that.
    fn state_of(&self, file: FileIndex, patience: Patience) -> Option<SlotState> {
        let state = &self.slot(file).state;
        match patience {
            Patience::Blocking => Some(*state.lock()),
            Patience::Cached => state.try_lock().map(|state| *state),
        }
    }

    /// A look at its path is due, and would have to wait for a disk.
    fn is_to_be_looked_at(&self, file: FileIndex) -> bool {
        let looked = self.slot(file).looked_ms.load(Ordering::Relaxed);
        !self.root.is_in_memory() && self.shared.now_ms() >= looked + LOOK_INTERVAL_MS
    }

    /// The open file; `None` when it would have to be opened and there is no time for that.
    fn file_to_read(
        self: &Arc<Self>,
        file: FileIndex,
        patience: Patience,
    ) -> Result<Option<Arc<File>>, ReadError> {
        if let Some(open) = self.lane.descriptors.lookup(self.id, file, false) {
            return Ok(Some(open));
        }
        match patience {
            // Opening may wait for a disk, where there is one.
            Patience::Cached if !self.root.is_in_memory() => return Ok(None),
            Patience::Cached | Patience::Blocking => {}
        }
        let slot = self.slot(file);
        // Held while opening, so that the file is not given its own name in between.
        let state = slot.state.lock();
        let opened = match *state {
            SlotState::Absent => return Err(ReadError::Absent),
            SlotState::Changed => return Err(ReadError::Changed { file }),
            SlotState::Part(identity) => {
                self.root.open_write(&slot.names.part).map(|open| (open, true, identity))
            }
            SlotState::Whole(identity) => {
                self.root.open_read(&slot.names.own).map(|open| (open, false, identity))
            }
        };
        drop(state);
        let same = opened.and_then(|(open, writable, identity)| {
            let same = FileIdentity::of(&open.metadata()?).same_file(&identity);
            Ok(same.then_some((open, writable)))
        });
        match same {
            Ok(Some((open, writable))) => {
                let key = (self.id, file);
                Ok(Some(self.lane.descriptors.insert(key, open, writable, &self.debt)))
            }
            Err(source) if is_ours(&source) => {
                Err(ReadError::Io { what: format!("open {}", slot.names.own.display()), source })
            }
            Ok(None) | Err(_) => {
                self.on_changed(file);
                Err(ReadError::Changed { file })
            }
        }
    }

    /// Now and then looks whether the path still names the file.
    fn path_holds(&self, file: FileIndex) -> bool {
        let slot = self.slot(file);
        let now = self.shared.now_ms();
        let looked = slot.looked_ms.load(Ordering::Relaxed);
        if now < looked + LOOK_INTERVAL_MS {
            return true;
        }
        slot.looked_ms.store(now, Ordering::Relaxed);
        // Held meanwhile, so that the file is not given its own name in between.
        let state = slot.state.lock();
        let (known, found) = match *state {
            SlotState::Whole(known) => (known, self.root.find(&slot.names.own)),
            SlotState::Part(known) => (known, self.root.find(&slot.names.part)),
            SlotState::Absent | SlotState::Changed => return false,
        };
        match found {
            Ok(Some(Found::File { identity, .. })) => identity.same_file(&known),
            Ok(Some(Found::Link | Found::Other) | None) => false,
            // Not being able to look proves nothing.
            Err(_) => true,
        }
    }
}

/// Errors that say nothing about the file: the path itself is as it was.
fn is_ours(error: &io::Error) -> bool {
    let changed = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::ISDIR, Errno::NXIO];
    Errno::from_io_error(error).is_none_or(|errno| !changed.contains(&errno))
}

/// Whether a read may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    Blocking,
    Cached,
}

/// What a read from memory brought.
enum Cached {
    All,
    Missing,
    End,
}

/// Fills `out`; false when the file ends before.
pub(super) fn read_blocking(file: &File, out: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_exact_at(out, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(target_os = "linux")]
mod platform {
    use std::fs::File;
    use std::io::{self, IoSliceMut};

    use rustix::io::{Errno, ReadWriteFlags, preadv2};

    use super::Cached;

    /// Reads what the page cache has.
    pub(super) fn read_cached(file: &File, out: &mut [u8], offset: u64) -> io::Result<Cached> {
        let len = out.len();
        let flags = ReadWriteFlags::NOWAIT;
        match preadv2(file, &mut [IoSliceMut::new(out)], offset, flags) {
            Ok(read) if read == len => Ok(Cached::All),
            Ok(0) => Ok(Cached::End),
            // Less: the rest is not in memory, or a signal came.
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(Cached::Missing),
            // A file system that cannot tell: it may have to wait.
            Err(Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => Ok(Cached::Missing),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::fs::File;
    use std::io;

    use super::Cached;

    pub(super) fn read_cached(_: &File, _: &mut [u8], _: u64) -> io::Result<Cached> {
        Ok(Cached::Missing)
    }
}

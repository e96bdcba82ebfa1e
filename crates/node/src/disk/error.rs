//! What can go wrong with files, sorted by whom it concerns, and what a storage reports.

use std::io;
use std::path::PathBuf;

use proto::{FileIndex, PieceIndex};
use swarm::DiskEvent;

use crate::api::Fault;
use crate::record::RecordError;

/// Why a torrent's files cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Something that Teem did not make stands where content must go.
    #[error("{path} is in the way: {reason}; move it away, or choose another folder{}", kept_hint(*.kept))]
    Conflict {
        /// What stands there.
        path: PathBuf,
        /// Why it cannot be used.
        reason: &'static str,
        /// Bytes of it that are right, copied beside it: they need not be fetched again.
        kept: u64,
    },
    /// There is no room for what is missing.
    #[error(transparent)]
    Full(#[from] NoRoom),
    /// The system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, on what.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The record cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The caller changed its mind.
    #[error("stopped before the files were checked")]
    Cancelled,
}

/// A folder has no room for what should be written there.
#[derive(Debug, thiserror::Error)]
#[error("not enough room in {folder}: {needed} bytes are needed, {available} are free")]
pub struct NoRoom {
    /// Where it should go.
    pub folder: PathBuf,
    /// Bytes to be written.
    pub needed: u64,
    /// Bytes that may be written.
    pub available: u64,
}

fn kept_hint(bytes: u64) -> String {
    match bytes {
        0 => String::new(),
        _ => {
            format!(" ({bytes} bytes of it are right; they are kept and will not be fetched again)")
        }
    }
}

impl OpenError {
    /// Whose fault it is, for the exit status.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Conflict { .. } => Fault::Conflict,
            Self::Full(_) | Self::Io { .. } | Self::Record(_) => Fault::Disk,
            Self::Cancelled => Fault::Other,
        }
    }
}

/// Why a run of bytes cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file is not the one that was checked. Its pieces have been reported lost and will be
    /// checked again.
    #[error("file {} changed on disk", .file.0)]
    Changed {
        /// The file.
        file: FileIndex,
    },
    /// There is no such run, or its bytes were never written.
    #[error("these bytes are not there")]
    Absent,
    /// The system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, on what.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
}

/// What a storage tells the torrent that it belongs to. There are never more of them under way than
/// jobs, files and checkpoints, all of which are bounded.
#[derive(Debug)]
pub enum StorageEvent {
    /// For [`swarm::Swarm`]: the end of a job, or lost pieces.
    Disk(DiskEvent),
    /// Content bytes that would survive a power cut, all told.
    Durable(u64),
    /// A file is whole, synced and has its own name.
    FileDone(FileIndex),
    /// All files are whole, have their names, and are synced and recorded.
    Finished,
    /// A file that had changed was checked again; these of its pieces are right and served again.
    Rechecked {
        /// The file.
        file: FileIndex,
        /// Pieces that are there after all.
        good: Vec<PieceIndex>,
    },
    /// The disk or a foreign file makes it impossible to go on; serving goes on where it can.
    Failed {
        /// What is wrong, in words.
        reason: String,
        /// Whose fault it is.
        fault: Fault,
        /// The disk or a quota is full.
        full: bool,
    },
}

/// Whether the disk or a quota is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

//! One process at a time in a data folder.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::RecordError;

/// Holds the folder until it is dropped, or the process dies in whatever way.
#[derive(Debug)]
pub(super) struct FolderLock(#[expect(dead_code, reason = "closing it gives the lock up")] File);

impl FolderLock {
    /// Takes the lock, or says that another process has it.
    pub(super) fn take(folder: &Path) -> Result<Self, RecordError> {
        let path = folder.join("lock");
        let io = |source: io::Error| RecordError::Io { what: path.display().to_string(), source };
        let mut file =
            OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(RecordError::Locked(folder.to_owned()));
            }
            Err(error) => return Err(io(error.into())),
        }
        // The process id is for people who look for the holder; the lock does not depend on it, so
        // a full disk is no reason to refuse.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self(file))
    }
}

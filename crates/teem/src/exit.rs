//! From an error to an exit status: the only place that knows the numbers.
//!
//! Scripts rely on them, so they are fixed: see [`Status`]. A command returns `anyhow::Result`; the
//! first cause in the chain that has a status of its own decides, anything else is [`Status::Failed`].

use std::fmt;
use std::io;

use node::{Fault, NodeError};

use crate::signal::Signal;

/// The exit statuses that `teem --help` documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    /// Anything that has no number of its own.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The tracker knows no such name, or the torrent no such file.
    NotFound = 3,
    /// The content is not what its hashes say.
    Verification = 4,
    /// The tracker wants a token, or another one.
    Unauthorised = 5,
    /// Nobody answers: no tracker, no source, or time ran out.
    NoPeers = 6,
    /// The disk is full or refuses.
    Disk = 7,
    /// Ended by Ctrl-C (SIGINT).
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

/// A failure whose exit status and remedy are known.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure; `message` says in one line what is wrong, not what to do.
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), hint: None }
    }

    /// Adds what the person can do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The end that a signal asks for; it was announced when the signal came.
    pub(crate) fn interrupted(signal: Signal) -> Self {
        Self::new(signal.status(), "")
    }

    /// What a torrent that cannot go on means for the process.
    pub(crate) fn of_torrent(fault: Fault, reason: &str) -> Self {
        match fault {
            Fault::Disk => Self::disk(reason),
            Fault::Verification => Self::new(Status::Verification, reason),
            Fault::Conflict => Self::new(Status::Failed, reason)
                .hint("move the other file away, or choose another folder with --output DIR"),
            Fault::NoSuchFile => Self::no_such_file(reason),
            Fault::Other => Self::new(Status::Failed, reason),
        }
    }

    /// What was asked for is not in the torrent.
    pub(crate) fn no_such_file(reason: impl Into<String>) -> Self {
        Self::new(Status::NotFound, reason).hint(
            "--only takes numbers as `teem torrent show` lists them, and patterns such as '*.mkv' or \
             'extras/'",
        )
    }

    /// The disk refuses; what has been fetched is kept.
    pub(crate) fn disk(reason: impl Into<String>) -> Self {
        Self::new(Status::Disk, reason).hint(
            "make room or choose another folder with --output DIR, then run the same command \
             again: it goes on from what is there",
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The exit status of an error.
pub(crate) fn status(error: &anyhow::Error) -> Status {
    error.chain().find_map(status_of_cause).unwrap_or(Status::Failed)
}

/// What the person can do about an error, when it is known.
pub(crate) fn hint(error: &anyhow::Error) -> Option<&str> {
    error.chain().find_map(|cause| cause.downcast_ref::<Failure>()?.hint.as_deref())
}

fn status_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Status> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return Some(failure.status);
    }
    if let Some(error) = cause.downcast_ref::<NodeError>() {
        return Some(match error {
            NodeError::Disk { .. } | NodeError::Database(_) => Status::Disk,
            NodeError::Locked(_)
            | NodeError::Listen { .. }
            | NodeError::Duplicate(_)
            | NodeError::Closed => Status::Failed,
        });
    }
    // Reading may fail for many reasons that are the caller's; these three are always the disk's.
    let error = cause.downcast_ref::<io::Error>()?;
    let disk = [
        io::ErrorKind::StorageFull,
        io::ErrorKind::QuotaExceeded,
        io::ErrorKind::ReadOnlyFilesystem,
    ];
    disk.contains(&error.kind()).then_some(Status::Disk)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_first_cause_with_a_status_decides() {
        let error = anyhow::Error::from(Failure::new(Status::NotFound, "no such name").hint("ls"));
        let error = error.context("cannot get it");
        assert_eq!(status(&error), Status::NotFound);
        assert_eq!(hint(&error), Some("ls"));
    }

    #[test]
    fn a_full_disk_is_a_disk_failure_wherever_it_shows() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = Err::<(), _>(full).context("write a.torrent").expect_err("an error");
        assert_eq!(status(&error), Status::Disk);
        let absent = anyhow::Error::from(io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(status(&absent), Status::Failed);
    }
}

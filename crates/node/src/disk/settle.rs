//! Giving files their own names, and what has no content: empty files, links.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use proto::FileIndex;
use rustix::fs::Mode;

use super::FileIdentity;
use super::error::is_full;
use super::names::link_text;
use super::root::Found;
use super::storage::{SlotState, Storage};
use crate::api::Fault;

/// Why a file does not get its name.
#[derive(Debug)]
pub(super) enum SettleError {
    /// Something else has it.
    Taken(PathBuf),
    /// The `.part` file is not ours any more.
    Gone(PathBuf),
    /// The system refused.
    Io(PathBuf, io::Error),
}

impl Storage {
    /// Gives a complete and synced file its own name; true if it did not have it before. The folder
    /// must be synced after.
    pub(super) fn settle(&self, index: FileIndex) -> Result<bool, SettleError> {
        let slot = self.slot(index);
        let mut state = slot.state.lock();
        let own = || self.root.path().join(&slot.names.own);
        let part = || self.root.path().join(&slot.names.part);
        let io = |error: io::Error| SettleError::Io(own(), error);
        let known = match *state {
            SlotState::Part(known) => known,
            // All of it shares pieces with files that were wanted before it was.
            SlotState::Absent if slot.is_wanted() && slot.len > 0 => {
                let made = self.create(index).map_err(io)?;
                made.sync_data().map_err(io)?;
                let known = FileIdentity::of(&made.metadata().map_err(io)?);
                *state = SlotState::Part(known);
                known
            }
            SlotState::Absent | SlotState::Whole(_) | SlotState::Changed => return Ok(false),
        };
        match self.root.find(&slot.names.part).map_err(io)? {
            Some(Found::File { identity, .. }) if identity.same_file(&known) => {}
            _ => return Err(SettleError::Gone(part())),
        }
        if self.info.files()[index.0 as usize].executable {
            let file = self.root.open_read(&slot.names.part).map_err(io)?;
            make_executable(&file).map_err(io)?;
        }
        let named = self.root.rename_new(&slot.names.part, &slot.names.own);
        named.map_err(|error| SettleError::of(own(), error))?;
        match self.root.find(&slot.names.own).map_err(io)? {
            Some(Found::File { identity, .. }) if identity.same_file(&known) => {
                *state = SlotState::Whole(identity);
                slot.made.store(true, Ordering::Release);
                Ok(true)
            }
            _ => Err(SettleError::Gone(own())),
        }
    }

    /// Makes the files that have no content, and the links; returns the folders to sync.
    pub(super) fn make_contentless(&self) -> Result<Vec<PathBuf>, SettleError> {
        let mut dirs = Vec::new();
        for (file, slot) in self.info.files().iter().zip(&self.slots) {
            let path = &slot.names.own;
            let io = |error| SettleError::of(self.root.path().join(path), error);
            if !slot.is_wanted() || (file.symlink.is_none() && file.len > 0) {
                continue;
            }
            let link = file.symlink.as_ref().map(|target| link_text(file, target));
            match (self.root.find(path).map_err(io)?, &link) {
                (None, link) => {
                    let parent = path.parent().map(PathBuf::from).unwrap_or_default();
                    self.root.make_dirs(&parent).map_err(io)?;
                    match link {
                        Some(text) => self.root.symlink(text, path).map_err(io)?,
                        None => {
                            let made = self.root.create(path, 0).map_err(io)?;
                            if file.executable {
                                make_executable(&made).map_err(io)?;
                            }
                        }
                    }
                    dirs.push(parent);
                }
                (Some(Found::File { identity, .. }), None) if identity.size == 0 => {}
                (Some(Found::Link), Some(text))
                    if self.root.read_link(path).map_err(io)? == *text => {}
                (Some(_), _) => return Err(SettleError::Taken(self.root.path().join(path))),
            }
        }
        Ok(dirs)
    }
}

impl SettleError {
    fn of(path: PathBuf, error: io::Error) -> Self {
        match error.kind() == io::ErrorKind::AlreadyExists {
            true => Self::Taken(path),
            false => Self::Io(path, error),
        }
    }

    /// What to tell people.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Taken(path) => format!(
                "{} exists already and is not replaced; move it away and start again: \
                 nothing is fetched twice",
                path.display()
            ),
            Self::Gone(path) => format!(
                "{} was moved, deleted or replaced while in use; start again to fetch it again",
                path.display()
            ),
            Self::Io(path, error) => format!("finish {}: {error}", path.display()),
        }
    }
}

impl SettleError {
    /// Whose fault it is.
    pub(super) const fn fault(&self) -> Fault {
        match self {
            Self::Taken(_) => Fault::Conflict,
            Self::Gone(_) | Self::Io(..) => Fault::Disk,
        }
    }

    /// The disk or a quota is full.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Io(_, error) if is_full(error))
    }
}

/// Whoever may read the file may run it.
fn make_executable(file: &File) -> io::Result<()> {
    let mode = rustix::fs::fstat(file)?.st_mode & 0o777;
    Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode | ((mode & 0o444) >> 2)))?)
}

//! Why the catalogue refuses, or cannot.

use proto::InfoHashes;
use proto::metainfo::MetainfoError;

use super::about::AboutError;
use super::name::NameError;
use super::usage::Full;
use crate::limits::METAINFO_LEN_MAX;

/// The catalogue refuses, or cannot.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The name breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The description or a tag breaks a rule.
    #[error(transparent)]
    About(#[from] AboutError),
    /// The torrent file is not valid.
    #[error("not a valid torrent file: {0}")]
    Metainfo(#[from] MetainfoError),
    /// The torrent file is too long.
    #[error("the torrent file is longer than {} MiB", METAINFO_LEN_MAX >> 20)]
    TooLong,
    /// The name has other content and is not the caller's.
    #[error(transparent)]
    NameTaken(Box<NameTaken>),
    /// Only its owner may do this with the name.
    #[error("the name \"{0}\" is not yours: only who published it first may change or remove it")]
    NotOwner(String),
    /// The operator's lists do not let it in.
    #[error("this tracker does not take this torrent")]
    NotAdmitted,
    /// No room.
    #[error(transparent)]
    Full(#[from] Full),
    /// Another process has the data folder.
    #[error("{0} is in use by another tracker; give this one its own --data folder")]
    Locked(String),
    /// The file is something else, or newer than this program.
    #[error("{path}: {reason}")]
    Unusable {
        /// The database.
        path: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The database or its disk fails.
    #[error("catalogue: {0}")]
    Database(#[from] rusqlite::Error),
    /// The file system fails.
    #[error("{what}: {source}")]
    Disk {
        /// What was tried, on what.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The tracker is stopping.
    #[error("the tracker is stopping")]
    Closed,
}

impl CatalogueError {
    /// The database's disk is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        let Self::Database(error) = self else { return false };
        error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
    }
}

/// A name has other content than the one offered, and the one who offers it does not own the name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name \"{name}\" has other content already: {}; this is {}; only who published it first can \
     put a new version there: choose another name",
    shown(existing),
    shown(offered)
)]
pub struct NameTaken {
    /// The name.
    pub name: String,
    /// What has the name.
    pub existing: InfoHashes,
    /// What should have got it.
    pub offered: InfoHashes,
}

/// The hashes in words.
fn shown(hashes: &InfoHashes) -> String {
    let v1 = hashes.v1().map(|hash| format!("v1 info hash {hash}"));
    let v2 = hashes.v2().map(|hash| format!("v2 info hash {hash}"));
    v1.into_iter().chain(v2).collect::<Vec<_>>().join(" and ")
}

//! Taking a torrent away: what it is known by, and, if the person says so, its content.

use std::io;
use std::path::{Path, PathBuf};

use proto::FileIndex;
use proto::InfoHash;
use proto::metainfo::Info;

use super::super::journal::Journal;
use super::super::names;
use super::super::parts::Parts;
use super::super::root::{Found, Root};
use super::{Place, folders_of, is_contentless, remove_empty};
use crate::record::{RecordError, Records};

/// Why a torrent cannot be taken away.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// A file cannot be removed.
    #[error("remove {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The record cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Forgets a torrent; nobody may use it any more. With a place, the content there goes before: files that
/// we made and that nobody has changed. Returns those that stay since they are not ours. Can be called
/// again when it was interrupted. Blocks.
pub(crate) fn remove(
    records: &Records,
    key: InfoHash,
    content: Option<(&Info, &Place)>,
) -> Result<Vec<PathBuf>, RemoveError> {
    let left = match content {
        Some((info, place)) => remove_content(records, info, place)?,
        None => Vec::new(),
    };
    Parts::forget(records.dir(), key);
    Journal::new(records.dir(), key).remove();
    records.remove(key)?;
    Ok(left)
}

fn remove_content(
    records: &Records,
    info: &Info,
    place: &Place,
) -> Result<Vec<PathBuf>, RemoveError> {
    let root = match Root::open(&place.folder) {
        Ok(root) => root,
        // The folder itself has gone.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(RemoveError::Io { path: place.folder.clone(), source }),
    };
    let known = records.progress(info.hashes().primary(), info.geometry().piece_count())?;
    let names = names::for_fetch(info, &place.renames);
    let mut left = Vec::new();
    for ((index, file), names) in (0..).map(FileIndex).zip(info.files()).zip(&names) {
        if file.len == 0 || file.symlink.is_some() {
            if known.is_some() && is_contentless(&root, (info, index), &names.own) {
                take(&root, &names.own)?;
            }
            continue;
        }
        if let Ok(Some(Found::File { ours: true, .. })) = root.find(&names.part) {
            take(&root, &names.part)?;
        }
        let Ok(Some(found)) = root.find(&names.own) else { continue };
        let recorded = known.as_ref().and_then(|known| known.files.get(&index));
        match (found, recorded) {
            (Found::File { identity, .. }, Some(file))
                if file.made && file.whole && identity.recorded_as(&file.identity, true) =>
            {
                take(&root, &names.own)?;
            }
            _ => left.push(root.path().join(&names.own)),
        }
    }
    remove_empty(&root, &folders_of(&names));
    Ok(left)
}

fn take(root: &Root, path: &Path) -> Result<(), RemoveError> {
    match root.remove(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(RemoveError::Io { path: root.path().join(path), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

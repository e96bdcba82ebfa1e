//! Taking a torrent away: what it is known by, and, if the person says so, its content.

use std::io;
use std::path::{Path, PathBuf};

use proto::FileIndex;
use proto::InfoHash;
use proto::metainfo::{File, Info};

use super::super::journal::Journal;
use super::super::names;
use super::super::parts::Parts;
use super::super::root::{Found, Root};
use super::{Job, MoveError, Place, draft_of, finish, folders_of, is_contentless, remove_empty};
use crate::orders::Data;
use crate::record::{RecordError, Records, Stage};

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
    /// A move that was begun cannot be ended.
    #[error(transparent)]
    Move(#[from] MoveError),
    /// The record cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Forgets a torrent; nobody may use it any more. What is known of one that was fetched says where its content
/// is: a move that was begun ends first, and then the content goes, if it is to: files that we made and that
/// nobody has changed. Returns those that stay since they are not ours. Can be called again when it was
/// interrupted. Blocks.
pub(crate) fn remove(
    records: &Records,
    key: InfoHash,
    fetched: Option<(&Info, Place)>,
    data: Data,
) -> Result<Vec<PathBuf>, RemoveError> {
    let left = match fetched {
        Some((info, place)) => {
            let place = call_off(records, info, place)?;
            match data {
                Data::Delete => remove_content(records, info, &place)?,
                Data::Keep => Vec::new(),
            }
        }
        None => Vec::new(),
    };
    Parts::forget(records.dir(), key);
    Journal::new(records.dir(), key).remove();
    records.remove(key)?;
    Ok(left)
}

/// Ends a move that was begun: copies that are not all there are thrown away; one that is further goes on to
/// its end, which takes a moment. Returns where the content is.
fn call_off(records: &Records, info: &Info, place: Place) -> Result<Place, RemoveError> {
    let key = info.hashes().primary();
    let Some(begun) = records.load_move(key)? else { return Ok(place) };
    if begun.stage != Stage::Copying {
        let job = Job {
            records,
            info,
            progress: &|_| (),
            cancelled: &|| false,
            #[cfg(test)]
            by_copy: false,
        };
        return Ok(finish(&job, place)?);
    }
    match Root::open(&begun.folder) {
        Ok(root) => {
            let names = names::for_fetch(info, &begun.renames);
            for (file, names) in (0..).map(FileIndex).zip(&names) {
                for path in [&names.own, &names.part] {
                    let draft = draft_of(path, file, key);
                    if let Ok(Some(Found::File { ours: true, .. })) = root.find(&draft) {
                        take(&root, &draft)?;
                    }
                }
            }
            remove_empty(&root, &folders_of(&names));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(RemoveError::Io { path: begun.folder, source }),
    }
    records.end_move(key)?;
    Ok(Place { folder: begun.origin, renames: place.renames })
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
    let described = || (0..).map(FileIndex).zip(info.files()).zip(&names);
    let is_contentful = |file: &File| file.len > 0 && file.symlink.is_none();
    for ((index, _), names) in described().filter(|((_, file), _)| is_contentful(file)) {
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
    // Nobody can tell who made these: they go with the rest, or stay with it.
    let all_ours = known.is_some() && left.is_empty();
    for ((index, _), names) in described().filter(|((_, file), _)| !is_contentful(file)) {
        match is_contentless(&root, (info, index), &names.own) {
            true if all_ours => take(&root, &names.own)?,
            true => left.push(root.path().join(&names.own)),
            false => {}
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

//! A file or folder that one version of its content leaves to the next.
//!
//! The next version is made whole in a hidden folder beside the present one; then both change places
//! in one step, so that whoever looks finds one whole version at any time. What was the present one is
//! then taken apart: files that are as we made them go, a person's own files move over. All of it can
//! be interrupted anywhere; [`finish`] goes on.
//!
//! Invariant: nothing that a person made or changed is removed or replaced.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use proto::metainfo::{Info, Metainfo};
use proto::{FileIndex, InfoHash};
use walkdir::WalkDir;

use super::Renames;
use super::names::{self, link_text};
use super::root::{Found, Root};
use crate::api::Fault;
use crate::record::{
    FileRecord, Progress, RecordError, Records, SavedContent, SavedSource, Standing,
};

/// What the record knows of the content under a name.
#[derive(Debug)]
pub struct Present {
    /// The version that it is.
    pub metainfo: Metainfo,
    /// Files of it that somebody changed.
    pub changed: Vec<PathBuf>,
}

/// Why one version cannot take the place of another.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// A person's own file would be lost.
    #[error("{path} {reason}, and the new version would replace it")]
    Conflict {
        /// The file.
        path: PathBuf,
        /// What it is.
        reason: &'static str,
    },
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
}

impl SwitchError {
    /// Whose fault it is, for the exit status.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Conflict { .. } => Fault::Conflict,
            Self::Io { .. } | Self::Record(_) => Fault::Disk,
        }
    }

    fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what: format!("{what} {}", path.display()), source }
    }
}

/// Where the next versions of a name are made: hidden, and on the same file system.
#[must_use]
pub fn stages_of(folder: &Path, name: &str) -> PathBuf {
    let tag: String =
        digest::sha1(name.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    folder.join(format!(".teem-{tag}"))
}

/// Where that version is made.
#[must_use]
pub fn stage_of(folder: &Path, name: &str, key: InfoHash) -> PathBuf {
    stages_of(folder, name).join(&key.to_string()[..16])
}

/// Which version stands under `name` in `folder`, if this node fetched it there. Blocks.
pub(crate) fn present(
    records: &Records,
    folder: &Path,
    name: &str,
) -> Result<Option<Present>, SwitchError> {
    let Ok(root) = Root::open(folder) else { return Ok(None) };
    for metainfo in fetched_into(records, folder, name)? {
        let look = Look::at(&root, &metainfo.info, records)?;
        if look.tells {
            let changed = look.changed.iter().map(|path| folder.join(path)).collect();
            return Ok(Some(Present { metainfo, changed }));
        }
    }
    Ok(None)
}

/// The torrents of that name that were fetched into a folder, the latest first.
fn fetched_into(
    records: &Records,
    folder: &Path,
    name: &str,
) -> Result<Vec<Metainfo>, RecordError> {
    let sources = records.sources_of(&SavedContent::Fetch(folder.to_owned()))?;
    let known = sources.into_iter().filter_map(|source| match source {
        SavedSource::Metainfo(bytes) => Metainfo::decode(&bytes).ok(),
        SavedSource::Magnet(_) => None,
    });
    Ok(known.filter(|metainfo| metainfo.info.name() == name).collect())
}

/// How the files of a version are.
#[derive(Debug, Default)]
struct Look {
    /// As we made them.
    ours: BTreeSet<PathBuf>,
    /// Something else is there.
    changed: Vec<PathBuf>,
    /// There is no doubt which version it is: empty files and links may be those of any.
    tells: bool,
}

impl Look {
    fn at(root: &Root, info: &Info, records: &Records) -> Result<Self, SwitchError> {
        let pieces = info.geometry().piece_count();
        let known = records.progress(info.hashes().primary(), pieces)?;
        let mut look = Self::default();
        let names = names::for_fetch(info, &Renames::default());
        let empty = info.content_len() == 0;
        for (index, names) in (0..).map(FileIndex).zip(names) {
            let path = names.own;
            let found = match root.find(&path) {
                Ok(None) => continue,
                Ok(Some(found)) => found,
                // A folder on the way is something else now.
                Err(_) => Found::Other,
            };
            if is_ours(root, info, (index, &path), found, known.as_ref()) {
                look.ours.insert(path);
                look.tells |= empty || info.files()[index.0 as usize].len > 0;
            } else {
                look.changed.push(path);
            }
        }
        Ok(look)
    }
}

fn is_ours(
    root: &Root,
    info: &Info,
    (index, path): (FileIndex, &Path),
    found: Found,
    known: Option<&Progress>,
) -> bool {
    let file = &info.files()[index.0 as usize];
    match (found, &file.symlink) {
        (Found::Link, Some(target)) => {
            root.read_link(path).is_ok_and(|there| there == link_text(file, target))
        }
        (Found::File { identity, .. }, None) if file.len == 0 => identity.size == 0,
        (Found::File { identity, .. }, None) => {
            let recorded = known.and_then(|known| known.files.get(&index));
            recorded.is_some_and(|recorded| {
                recorded.whole && identity.recorded_as(&recorded.identity, true)
            })
        }
        (Found::Link | Found::File { .. } | Found::Other, _) => false,
    }
}

/// Puts `new`, whole in its stage, where `old` stands in `folder`; returns a person's own files for
/// which there was no room under their names, with the names that they have now. Nobody may use either
/// meanwhile. Blocks.
pub(crate) fn replace(
    records: &Records,
    folder: &Path,
    old: &Metainfo,
    new: &Metainfo,
) -> Result<Vec<PathBuf>, SwitchError> {
    let (name, key) = (new.info.name(), new.info.hashes().primary());
    let stage = stage_of(folder, name, key);
    let open = |path: &Path| Root::open(path).map_err(|error| SwitchError::io("open", path, error));
    let (root, staged) = (open(folder)?, open(&stage)?);
    refuse_conflicts(records, (folder, &root), &staged, old)?;
    // First, so that whichever of the two is found after a power cut is known.
    records.move_to(key, &SavedContent::Fetch(folder.to_owned()))?;
    records.note_copies(&folder.join(name), &new.info)?;
    let exchanged = root.exchange(Path::new(name), &staged);
    exchanged.map_err(|error| {
        SwitchError::io("put the new version in place of", &folder.join(name), error)
    })?;
    sync(&root, &staged);
    renew_single(records, &root, &new.info)?;
    let left = clear(records, folder, &stage, old)?;
    records.remove(old.info.hashes().primary())?;
    Ok(left)
}

/// Refuses to go on while a person's work would be lost.
fn refuse_conflicts(
    records: &Records,
    (folder, root): (&Path, &Root),
    staged: &Root,
    old: &Metainfo,
) -> Result<(), SwitchError> {
    let look = Look::at(root, &old.info, records)?;
    if let Some(path) = look.changed.first() {
        let path = folder.join(path);
        return Err(SwitchError::Conflict { path, reason: "was changed by somebody" });
    }
    for (path, _) in own_entries(folder, old, &look) {
        // A folder on the way that is a file there, or the other way round, is an error of the look.
        let free = matches!(staged.find(&path), Ok(None));
        if !free && !folder.join(&path).is_dir() {
            let path = folder.join(path);
            return Err(SwitchError::Conflict { path, reason: "is not of the version before" });
        }
    }
    Ok(())
}

/// What a person put among the files of a version: paths below `folder`, and whether each is a folder.
fn own_entries(folder: &Path, of: &Metainfo, look: &Look) -> Vec<(PathBuf, bool)> {
    let top = folder.join(of.info.name());
    let entries = WalkDir::new(&top).into_iter().flatten();
    let below = entries.filter_map(|entry| {
        let path = entry.path().strip_prefix(folder).ok()?.to_owned();
        Some((path, entry.file_type().is_dir()))
    });
    let all: Vec<PathBuf> = names::for_fetch(&of.info, &Renames::default())
        .into_iter()
        .map(|names| names.own)
        .collect();
    let folders: BTreeSet<&Path> = all.iter().flat_map(|path| path.ancestors().skip(1)).collect();
    below
        .filter(|(path, is_dir)| match is_dir {
            true => !folders.contains(path.as_path()),
            false => !look.ours.contains(path),
        })
        .collect()
}

/// Takes the old version in `stage` apart, which has changed places with the one in `folder`.
fn clear(
    records: &Records,
    folder: &Path,
    stage: &Path,
    old: &Metainfo,
) -> Result<Vec<PathBuf>, SwitchError> {
    let open = |path: &Path| Root::open(path).map_err(|error| SwitchError::io("open", path, error));
    let (root, staged) = (open(folder)?, open(stage)?);
    if old.info.is_single_file() {
        renew_single(records, &staged, &old.info)?;
    }
    let look = Look::at(&staged, &old.info, records)?;
    let mut left = Vec::new();
    for (path, is_dir) in own_entries(stage, old, &look) {
        let moved = match is_dir {
            true => root.make_dirs(&path).map(|_| path.clone()),
            false => move_over(&staged, &root, &path),
        };
        let moved =
            moved.map_err(|error| SwitchError::io("move back", &stage.join(&path), error))?;
        if moved != path {
            left.push(folder.join(moved));
        }
    }
    for path in &look.ours {
        let removed = staged.remove(path);
        removed.map_err(|error| SwitchError::io("remove", &stage.join(path), error))?;
    }
    remove_folders(stage);
    Ok(left)
}

/// Gives a person's file its place in the new version, or one beside if that is taken.
fn move_over(from: &Root, to: &Root, path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    for number in 1..=NAMES_TRIED {
        let parent = target.parent().map(Path::to_owned).unwrap_or_default();
        // Something else may be where its folder was.
        let made = to.make_dirs(&parent).and_then(|_| from.move_new(path, to, &target));
        match made {
            Ok(()) => return Ok(target),
            Err(error) if number == NAMES_TRIED => return Err(error),
            Err(_) => {
                let top: PathBuf = path.components().take(1).collect();
                let rest = path.strip_prefix(&top).unwrap_or(path);
                let mut beside = top.into_os_string();
                beside.push(format!(" (yours {number})"));
                target = Path::new(&beside).join(rest);
            }
        }
    }
    Ok(target)
}

/// A rename changes the times of a file that is all of its torrent, but not those of files in a folder:
/// the record follows.
fn renew_single(records: &Records, root: &Root, info: &Info) -> Result<(), SwitchError> {
    if !info.is_single_file() {
        return Ok(());
    }
    let (key, pieces) = (info.hashes().primary(), info.geometry().piece_count());
    let (Some(known), Ok(Some(Found::File { identity, .. }))) =
        (records.progress(key, pieces)?, root.find(Path::new(info.name())))
    else {
        return Ok(());
    };
    let file = FileIndex(0);
    let Some(FileRecord { identity: before, whole: true, made }) = known.files.get(&file).copied()
    else {
        return Ok(());
    };
    let renamed = identity.recorded_as(&before, false) && identity.mtime_ns == before.mtime_ns;
    if renamed && identity.ctime_ns != before.ctime_ns {
        let record = FileRecord { identity, whole: true, made };
        let standing = Standing { clean: known.clean, finished: known.finished };
        records.checkpoint(key, &known.have, &[(file, Some(record))], standing)?;
    }
    Ok(())
}

/// Goes on where an earlier run was interrupted after the exchange: takes the old version apart; returns
/// a person's files for which there was no room. Blocks.
pub(crate) fn finish(
    records: &Records,
    folder: &Path,
    name: &str,
) -> Result<Vec<PathBuf>, SwitchError> {
    let Some(Present { metainfo: here, .. }) = present(records, folder, name)? else {
        return Ok(Vec::new());
    };
    let stage = stage_of(folder, name, here.info.hashes().primary());
    let mut left = Vec::new();
    if !stage.is_dir() {
        return Ok(left);
    }
    for old in fetched_into(records, folder, name)? {
        if old.info.hashes() != here.info.hashes() {
            left.extend(clear(records, folder, &stage, &old)?);
            records.remove(old.info.hashes().primary())?;
        }
    }
    Ok(left)
}

/// Throws away versions of `name` that were begun and never became whole. None may be in use. Blocks.
pub(crate) fn discard(records: &Records, folder: &Path, name: &str) -> Result<(), SwitchError> {
    let stages = stages_of(folder, name);
    let Ok(entries) = std::fs::read_dir(&stages) else { return Ok(()) };
    let here = present(records, folder, name)?.map(|here| here.metainfo.info.hashes());
    for stage in entries.flatten().map(|entry| entry.path()) {
        let mut begun = fetched_into(records, &stage, name)?;
        // Of a switch that a power cut stopped, the record says already where it was to lead.
        begun.extend(fetched_into(records, folder, name)?.into_iter().filter(|known| {
            let hashes = known.info.hashes();
            stage == stage_of(folder, name, hashes.primary()) && here != Some(hashes)
        }));
        discard_stage(records, &stage, &begun)?;
    }
    // Not empty when somebody else put something there.
    let _ = std::fs::remove_dir(&stages);
    Ok(())
}

/// Throws away what was made of versions in their stage.
fn discard_stage(records: &Records, stage: &Path, begun: &[Metainfo]) -> Result<(), SwitchError> {
    let root = Root::open(stage).map_err(|error| SwitchError::io("open", stage, error))?;
    for metainfo in begun {
        let look = Look::at(&root, &metainfo.info, records)?;
        let parts = names::for_fetch(&metainfo.info, &Renames::default())
            .into_iter()
            .map(|names| names.part);
        let is_ours =
            |path: &PathBuf| matches!(root.find(path), Ok(Some(Found::File { ours: true, .. })));
        for path in look.ours.iter().cloned().chain(parts.filter(is_ours)) {
            let removed = root.remove(&path);
            removed.map_err(|error| SwitchError::io("remove", &stage.join(&path), error))?;
        }
        records.remove(metainfo.info.hashes().primary())?;
    }
    remove_folders(stage);
    Ok(())
}

/// Removes the folders below and `top` itself, as far as they are empty.
fn remove_folders(top: &Path) {
    for entry in WalkDir::new(top).contents_first(true).into_iter().flatten() {
        if entry.file_type().is_dir() {
            // One with something in it stays: it is not ours to empty.
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

fn sync(root: &Root, staged: &Root) {
    for folder in [root, staged] {
        // A power cut may undo the switch, nothing else: either version is whole.
        if let Err(error) = folder.sync_dir(Path::new("")) {
            tracing::warn!(folder = %folder.path().display(), %error, "cannot sync");
        }
    }
}

/// Names that are tried for a person's file.
const NAMES_TRIED: u32 = 100;

//! Moving a torrent's files to another folder, or to other names, and taking them away.
//!
//! Within a file system files are renamed. To another one they are copied under names that only we give,
//! synced, and only when all are there do they get their names; then the record says where the content is,
//! and only then the old files go. Each step stands in the record before the next begins
//! ([`Stage`](crate::record::Stage)), so whatever is interrupted goes on, and calling [`relocate`] again ends it.
//!
//! Invariant: at any moment every byte that was there is in a file that the record, or the step that it
//! names, leads to. Nothing is replaced, and nothing goes that is not ours by its identity.

mod copy;
mod remove;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use proto::metainfo::Info;
use proto::{FileIndex, InfoHash};

pub use remove::RemoveError;
pub(crate) use remove::remove;

use self::copy::Copying;
use super::names::{self, Names};
use super::root::{Found, Root};
use super::{FileIdentity, NoRoom, Renames};
use crate::record::{Arrival, FileRecord, MoveRecord, Progress, RecordError, Records, Stage};

/// A folder, and the names that the content has in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) renames: Renames,
}

/// Why content stays where it is.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// Something stands where it should go.
    #[error("{0} exists already and is not replaced")]
    Taken(PathBuf),
    /// Somebody changed a file while it was copied.
    #[error("{0} was changed while it was moved")]
    Changed(PathBuf),
    /// There is no room.
    #[error(transparent)]
    Full(#[from] NoRoom),
    /// It is on its way to somewhere else.
    #[error("an earlier move to {under_way} has not ended, so it cannot go to {wanted}")]
    UnderWay {
        /// Where that leads.
        under_way: PathBuf,
        /// Where it should go now.
        wanted: PathBuf,
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
    /// The caller changed its mind.
    #[error("stopped before everything was moved")]
    Cancelled,
}

impl MoveError {
    fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() == io::ErrorKind::AlreadyExists {
            true => Self::Taken(path.to_owned()),
            false => Self::Io { what: format!("{what} {}", path.display()), source },
        }
    }

    /// A rename cannot lead from one file system to another.
    fn is_crossing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::CrossesDevices)
    }
}

/// What is moved, and who wants to know.
pub(crate) struct Job<'a> {
    pub(crate) records: &'a Records,
    pub(crate) info: &'a Info,
    /// Told the bytes copied so far.
    pub(crate) progress: &'a dyn Fn(u64),
    /// Ends a copy; what is renamed stays so.
    pub(crate) cancelled: &'a dyn Fn() -> bool,
    /// Both ends are taken for different file systems.
    #[cfg(test)]
    pub(crate) by_copy: bool,
}

impl Job<'_> {
    #[cfg(not(test))]
    const fn must_copy(&self) -> bool {
        let _ = self;
        false
    }

    #[cfg(test)]
    const fn must_copy(&self) -> bool {
        self.by_copy
    }
}

/// One file on its way.
#[derive(Debug)]
struct Travel {
    file: FileIndex,
    record: FileRecord,
    from: PathBuf,
    to: PathBuf,
    /// Its name while it is copied.
    draft: PathBuf,
}

/// Moves what is there of a torrent's content; nobody may use it meanwhile. When it fails, all of the
/// content is where it was, as far as that is in our hands. Blocks.
pub(crate) fn relocate(job: &Job<'_>, from: &Place, to: &Place) -> Result<(), MoveError> {
    let key = job.info.hashes().primary();
    let begun = job.records.load_move(key)?;
    if let Some(MoveRecord { stage: Stage::Clearing, moved, origin, .. }) = &begun {
        // The content is at the other end already: what is left of the earlier move goes first.
        clear(origin, moved);
        job.records.end_move(key)?;
    }
    let begun = begun.filter(|begun| begun.stage != Stage::Clearing);
    if let Some(begun) = &begun
        && (&begun.origin, &begun.folder, &begun.renames) != (&from.folder, &to.folder, &to.renames)
    {
        let (under_way, wanted) = (begun.folder.clone(), to.folder.clone());
        return Err(MoveError::UnderWay { under_way, wanted });
    }
    if from == to {
        return Ok(());
    }
    // A disk that does not answer lets nothing be made, not even what is there.
    if !to.folder.is_dir() {
        std::fs::create_dir_all(&to.folder)
            .map_err(|error| MoveError::io("make the folder", &to.folder, error))?;
    }
    let ends = Ends::open(job, from, to)?;
    match begun.map(|begun| (begun.stage, begun.moved)) {
        Some((Stage::Placing, moved)) => Copying::new(job, &ends).place(moved),
        Some((Stage::Renaming, _)) => ends.rename(job),
        Some((Stage::Copying, _)) => Copying::new(job, &ends).copy(),
        None | Some((Stage::Clearing, _)) => {
            ends.refuse_what_is_taken()?;
            match ends.on_one_device() && !job.must_copy() {
                true => ends.rename(job),
                false => Copying::new(job, &ends).copy(),
            }
        }
    }
}

/// Ends a move that was begun; returns where the content is. When it fails, the content may be at both ends,
/// and nobody may use it until another call has ended the move. Blocks.
pub(crate) fn finish(job: &Job<'_>, place: Place) -> Result<Place, MoveError> {
    let key = job.info.hashes().primary();
    let Some(begun) = job.records.load_move(key)? else { return Ok(place) };
    let to = Place { folder: begun.folder, renames: begun.renames };
    if begun.stage == Stage::Clearing {
        clear(&begun.origin, &begun.moved);
        job.records.end_move(key)?;
        return Ok(to);
    }
    let from = Place { folder: begun.origin, renames: place.renames };
    let error = match relocate(job, &from, &to) {
        Ok(()) => return Ok(to),
        Err(error @ MoveError::Cancelled) => return Err(error),
        Err(error) => error,
    };
    match job.records.load_move(key)?.map(|begun| begun.stage) {
        Some(Stage::Renaming | Stage::Placing | Stage::Clearing) => return Err(error),
        // All of it is where it was.
        Some(Stage::Copying) => job.records.end_move(key)?,
        None => {}
    }
    // The person is told by the log: the move can be asked for again.
    tracing::warn!(torrent = %key, %error, "a move that was interrupted is given up");
    Ok(from)
}

/// Both ends of a move.
struct Ends {
    key: InfoHash,
    from: Root,
    to: Root,
    travels: Vec<Travel>,
    /// The folders of the content at either end, below its root.
    folders: [BTreeSet<PathBuf>; 2],
    /// Files without content that have another path at the new end: they are made anew there.
    contentless: Vec<(FileIndex, PathBuf)>,
    record: MoveRecord,
}

impl Ends {
    fn open(job: &Job<'_>, from: &Place, to: &Place) -> Result<Self, MoveError> {
        let info = job.info;
        let key = info.hashes().primary();
        let open = |place: &Place| {
            Root::open(&place.folder).map_err(|error| MoveError::io("open", &place.folder, error))
        };
        let known = job.records.progress(key, info.geometry().piece_count())?;
        let known: Option<&Progress> = known.as_ref();
        let names = [from, to].map(|place| names::for_fetch(info, &place.renames));
        let folders = names.each_ref().map(|names| folders_of(names));
        let [old, new] = names;
        let mut travels = Vec::new();
        let mut contentless = Vec::new();
        for (file, (old, new)) in (0..).map(FileIndex).zip(old.into_iter().zip(new)) {
            let described = &info.files()[file.0 as usize];
            if described.len == 0 || described.symlink.is_some() {
                if from.folder != to.folder || old.own != new.own {
                    contentless.push((file, old.own));
                }
                continue;
            }
            let Some(record) = known.and_then(|known| known.files.get(&file)).copied() else {
                continue;
            };
            let (from, to) = match record.whole {
                true => (old.own, new.own),
                false => (old.part, new.part),
            };
            let draft = draft_of(&to, file, key);
            travels.push(Travel { file, record, from, to, draft });
        }
        let (folder, renames) = (to.folder.clone(), to.renames.clone());
        let (origin, stage, moved) = (from.folder.clone(), Stage::Renaming, Vec::new());
        let record = MoveRecord { origin, folder, renames, stage, moved };
        let (root_from, root_to) = (open(from)?, open(to)?);
        Ok(Self { key, from: root_from, to: root_to, travels, folders, contentless, record })
    }

    /// Before anything is touched.
    fn refuse_what_is_taken(&self) -> Result<(), MoveError> {
        for travel in &self.travels {
            let path = self.to.path().join(&travel.to);
            // A name may only differ in the case of its letters, or lead back to the file itself.
            match self.to.find(&travel.to) {
                Ok(None) => {}
                Ok(Some(Found::File { identity, .. })) if same(&identity, &travel.record) => {}
                Ok(Some(_)) => return Err(MoveError::Taken(path)),
                Err(error) => return Err(MoveError::io("look at", &path, error)),
            }
        }
        Ok(())
    }

    fn on_one_device(&self) -> bool {
        let there = self.to.device();
        let is_there = |travel: &Travel| match self.from.find(&travel.from) {
            Ok(Some(Found::File { identity, .. })) => identity.dev == there,
            Ok(_) | Err(_) => true,
        };
        self.from.device() == there && self.travels.iter().all(is_there)
    }

    /// Within a file system: each file is at one end or the other, and in the end all are at the new one.
    fn rename(&self, job: &Job<'_>) -> Result<(), MoveError> {
        let record = MoveRecord { stage: Stage::Renaming, ..self.record.clone() };
        job.records.save_move(self.key, record)?;
        let mut done = Vec::new();
        let renamed: Result<(), MoveError> = self.travels.iter().try_for_each(|travel| {
            let moved = self.rename_one(travel)?;
            done.extend(moved.then_some(travel));
            Ok(())
        });
        if let Err(error) = renamed {
            return match self.take_back(&done) {
                true => {
                    job.records.end_move(self.key)?;
                    match error.is_crossing() {
                        // The same device under two mounts.
                        true => Copying::new(job, self).copy(),
                        false => Err(error),
                    }
                }
                // The move stays begun, and goes on another time.
                false => {
                    let what =
                        format!("{error}; some files are in {} now", self.to.path().display());
                    Err(MoveError::Io { what, source: io::ErrorKind::Other.into() })
                }
            };
        }
        self.sync(&self.to, 1)?;
        job.records.switch_move(self.key, self.record.clone(), self.arrived(), Vec::new())?;
        self.tidy(job.info);
        Ok(())
    }

    /// True when it is at the new end now.
    fn rename_one(&self, travel: &Travel) -> Result<bool, MoveError> {
        let path = self.from.path().join(&travel.from);
        let found = self.from.find(&travel.from);
        match found.map_err(|error| MoveError::io("look at", &path, error))? {
            Some(Found::File { identity, .. }) if same(&identity, &travel.record) => {}
            // Renamed before; or gone, or not ours: then it stays as it is.
            Some(_) | None => {
                let there = self.to.find(&travel.to);
                return Ok(is_same(there.ok().flatten(), &travel.record));
            }
        }
        let target = self.to.path().join(&travel.to);
        let parent = travel.to.parent().unwrap_or_else(|| Path::new(""));
        self.to
            .make_dirs(parent)
            .map_err(|error| MoveError::io("make a folder of", &target, error))?;
        self.from
            .move_new(&travel.from, &self.to, &travel.to)
            .map_err(|error| MoveError::io("move to", &target, error))?;
        Ok(true)
    }

    fn take_back(&self, done: &[&Travel]) -> bool {
        let mut all = true;
        for travel in done.iter().rev() {
            all &= self.to.move_new(&travel.to, &self.from, &travel.from).is_ok();
        }
        remove_empty(&self.to, &self.folders[1]);
        all
    }

    /// What the record has to say of the files at the new end: a rename changes a file's times.
    fn arrived(&self) -> Vec<(FileIndex, Option<FileRecord>)> {
        let arrived = self.travels.iter().filter_map(|travel| {
            let Ok(Some(Found::File { identity, .. })) = self.to.find(&travel.to) else {
                return None;
            };
            let before = &travel.record.identity;
            let unchanged = !travel.record.whole || identity.mtime_ns == before.mtime_ns;
            let is_it = same(&identity, &travel.record) && unchanged;
            is_it.then_some((travel.file, Some(FileRecord { identity, ..travel.record })))
        });
        arrived.collect()
    }

    fn sync(&self, root: &Root, end: usize) -> Result<(), MoveError> {
        let folders = self.folders[end].iter().map(PathBuf::as_path);
        for folder in folders.chain([Path::new("")]) {
            match root.sync_dir(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(MoveError::io("sync", &root.path().join(folder), error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Takes what is left at the old end: empty files, links, and the folders that are empty then.
    fn tidy(&self, info: &Info) {
        for (file, path) in &self.contentless {
            if is_contentless(&self.from, (info, *file), path) {
                // It is made again when it is missed.
                let _ = self.from.remove(path);
            }
        }
        remove_empty(&self.from, &self.folders[0]);
    }
}

/// The very file that the record means, whatever time it shows: a rename changes that.
fn same(identity: &FileIdentity, record: &FileRecord) -> bool {
    identity.ino == record.identity.ino && identity.size == record.identity.size
}

fn is_same(found: Option<Found>, record: &FileRecord) -> bool {
    matches!(found, Some(Found::File { identity, .. }) if same(&identity, record))
}

/// All folders on the way to the files, below the root.
fn folders_of(names: &[Names]) -> BTreeSet<PathBuf> {
    let folders = names.iter().flat_map(|names| names.own.ancestors().skip(1));
    folders.filter(|folder| !folder.as_os_str().is_empty()).map(Path::to_owned).collect()
}

/// The name of a copy that is not whole: ours, and no file's of the torrent.
fn draft_of(to: &Path, file: FileIndex, key: InfoHash) -> PathBuf {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let end = format!("~{}.{}.moving", file.0, names::tag(key));
    to.with_file_name(names::shortened(&name, &end))
}

/// What has no content and can be made again is there.
fn is_contentless(root: &Root, (info, file): (&Info, FileIndex), path: &Path) -> bool {
    let file = &info.files()[file.0 as usize];
    let link = file.symlink.as_ref().map(|target| names::link_text(file, target));
    match (root.find(path), link) {
        (Ok(Some(Found::File { identity, .. })), None) => identity.size == 0,
        (Ok(Some(Found::Link)), Some(text)) => root.read_link(path).is_ok_and(|is| is == text),
        (Ok(_) | Err(_), _) => false,
    }
}

/// The deepest first; one with something in it stays.
fn remove_empty(root: &Root, folders: &BTreeSet<PathBuf>) {
    for folder in folders.iter().rev() {
        let _ = root.remove_dir(folder);
    }
}

/// Removes the old files of a move, which were below `origin`, as far as they are still ours.
fn clear(origin: &Path, left: &[Arrival]) {
    let Ok(root) = Root::open(origin) else { return };
    let mut folders = BTreeSet::new();
    for Arrival { identity, path, .. } in left {
        let Ok(path) = path.strip_prefix(origin) else { continue };
        if let Ok(Some(Found::File { identity: found, .. })) = root.find(path)
            && found.recorded_as(identity, true)
        {
            // If it stays, it takes room and harms nobody.
            let _ = root.remove(path);
        }
        let above = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        folders.extend(above.map(Path::to_owned));
    }
    remove_empty(&root, &folders);
}

#[cfg(test)]
mod tests;

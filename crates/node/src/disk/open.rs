//! Opening a torrent's files: what is there, what of it may be believed, what must be read.
//!
//! A file that the record knows (inode and size, and its times if nobody of us wrote after they were
//! recorded) is believed without reading. What was written after the last checkpoint is read, and so
//! is every file that the record does not know. Files that we did not make are adopted as they are
//! when they are right; otherwise the good pieces of them are copied beside them.

mod mend;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use proto::metainfo::{Info, PieceLayers};
use proto::{Bitfield, FileIndex, Geometry, PieceIndex};
use tokio::sync::mpsc::UnboundedSender;

use super::descriptors::SyncDebt;
use super::journal::Journal;
use super::names::{self, Names};
use super::parts::{Parts, RECORDED_AS};
use super::recheck::{Cancelled, Checker};
use super::reuse::Watch;
use super::root::{Folders, Found, Root};
use super::storage::{Progress, Slot, SlotState, Storage};
use super::survey::{Claim, Survey, Surveyed};
use super::{Disk, OpenError, Renames, StorageEvent};
use crate::api::{Content, Fresh};
use crate::record::{self, FileRecord, Standing};

/// What to open.
#[derive(Debug)]
pub struct OpenArgs<'a> {
    /// The torrent.
    pub info: Arc<Info>,
    /// Its piece layers, as far as they are known; pieces without are not believed.
    pub layers: PieceLayers,
    /// Where its bytes are or go.
    pub content: &'a Content,
    /// Folders with copies: what is missing is taken from there, after a check, and nothing is written
    /// to them.
    pub adopt: &'a [PathBuf],
    /// For each file, whether it is wanted; all are when there is no list. The others are not looked for
    /// but under names that only we give.
    pub wanted: Option<Vec<bool>>,
    /// Names that hold instead of those in the torrent, where it is fetched.
    pub renames: &'a Renames,
    /// Nothing that is recorded is believed: all that is there is read. A file of ours that is wrong is
    /// mended, one that somebody changed is put aside.
    pub distrust: bool,
    /// Takes what the storage has to say.
    pub events: UnboundedSender<StorageEvent>,
}

/// Open files, and what is there.
#[derive(Debug)]
pub struct Opened {
    /// The files.
    pub storage: Arc<Storage>,
    /// Pieces that are there and right.
    pub have: Bitfield,
    /// Every file has its own name, and all is synced and recorded. If all pieces are there and this
    /// is false, [`StorageEvent::Finished`] comes soon.
    pub finished: bool,
}

impl From<Cancelled> for OpenError {
    fn from(Cancelled: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl Disk {
    /// Opens a torrent's files; blocks, for as long as it takes to read what must be checked.
    /// `progress` is told the bytes read so far, from several threads but never less than before;
    /// `cancel` ends the check with [`OpenError::Cancelled`].
    pub fn open(
        &self,
        args: OpenArgs<'_>,
        progress: &(dyn Fn(u64) + Sync),
        cancel: &AtomicBool,
    ) -> Result<Opened, OpenError> {
        Opener::new(self, args)?.open(progress, cancel)
    }
}

struct Opener<'a> {
    disk: &'a Disk,
    args: OpenArgs<'a>,
    geometry: Geometry,
    root: Root,
    names: Vec<Names>,
    known: Option<record::Progress>,
    journal: Journal,
    parts: Parts,
    parts_are_recorded: bool,
}

impl<'a> Opener<'a> {
    fn new(disk: &'a Disk, args: OpenArgs<'a>) -> Result<Self, OpenError> {
        let folders = &disk.shared.folders;
        let (root, names) = match args.content {
            Content::Fetch { folder } => {
                let io =
                    |source| OpenError::Io { what: format!("open {}", folder.display()), source };
                std::fs::create_dir_all(folder).map_err(io)?;
                (folders.open(folder).map_err(io)?, names::for_fetch(&args.info, args.renames))
            }
            Content::Share { path, .. } => share_root(folders, path, &args.info)?,
        };
        let geometry = args.info.geometry();
        let key = args.info.hashes().primary();
        let known = disk.shared.records.progress(key, geometry.piece_count())?;
        let journal = Journal::new(disk.shared.records.dir(), key);
        let parts = Parts::new(disk.shared.records.dir(), key, &args.info);
        let parts_are_recorded = !args.distrust && parts.is_recorded(known.as_ref());
        if parts.is_there() && !parts_are_recorded {
            parts.mark_dirty();
        }
        Ok(Self { disk, args, geometry, root, names, known, journal, parts, parts_are_recorded })
    }

    fn open(
        self,
        progress: &(dyn Fn(u64) + Sync),
        cancel: &AtomicBool,
    ) -> Result<Opened, OpenError> {
        let survey = Survey {
            info: &self.args.info,
            root: &self.root,
            names: &self.names,
            known: self.trusted(),
            fresh: match self.args.content {
                Content::Share { fresh, .. } => fresh.as_ref().map(|Fresh(files)| files.as_slice()),
                Content::Fetch { .. } => None,
            },
            made: self.known.as_ref(),
            writable: self.is_fetch(),
            wanted: self.args.wanted.as_deref(),
        };
        let mut files = survey.run()?;
        let mut have = self.believed(&files);
        let unread = self.unread(&files, &have)?;
        let checked = AtomicU64::new(0);
        let counted = |bytes| {
            checked.store(bytes, Ordering::Relaxed);
            progress(bytes);
        };
        let good = self.check(&files, &unread, &counted, cancel)?;
        let conflict = self.adopt(&mut files, &unread, &good);
        let aside = match self.args.distrust && self.is_fetch() {
            true => self.mend(&mut files, (&unread, &good))?,
            false => BTreeSet::new(),
        };
        // What was wrong is out of the way.
        let conflict = conflict.filter(|_| !self.args.distrust);
        let (own, foreign): (Vec<_>, Vec<_>) =
            good.into_iter().partition(|piece| self.is_own(&files, *piece));
        for &piece in &own {
            have.insert(piece);
        }
        if self.is_fetch() && !have.is_full() && conflict.is_none() {
            self.check_room(&files)?;
        }
        let mut dirs = self.make_dirs(&files)?;
        dirs.extend(aside);
        let (adopt, fetch) = (self.args.adopt, self.is_fetch());
        let opened = self.into_storage(&files, have, own, dirs)?;
        match conflict {
            None => {
                opened.copy(&files, &foreign, cancel)?;
                if fetch {
                    let read = AtomicU64::new(checked.into_inner());
                    let progress =
                        |bytes| progress(read.fetch_add(bytes, Ordering::Relaxed) + bytes);
                    let watch = Watch { progress: &progress, cancel, running: false };
                    opened.storage.reuse(adopt, &watch)?;
                }
                Ok(opened.into_opened())
            }
            Some((path, reason)) => {
                let kept = opened.copy(&files, &foreign, cancel)?;
                opened.storage.close();
                Err(OpenError::Conflict { path, reason, kept })
            }
        }
    }

    const fn is_fetch(&self) -> bool {
        matches!(self.args.content, Content::Fetch { .. })
    }

    /// What the record says, if it is to be believed.
    fn trusted(&self) -> Option<&record::Progress> {
        self.known.as_ref().filter(|_| !self.args.distrust)
    }

    fn files_of(&self, piece: PieceIndex) -> impl Iterator<Item = FileIndex> {
        self.geometry.spans(self.geometry.whole(piece)).map(|span| span.file)
    }

    fn is_wanted(&self, file: FileIndex) -> bool {
        let wanted = self.args.wanted.as_ref();
        wanted.is_none_or(|wanted| wanted.get(file.0 as usize).copied().unwrap_or(false))
    }

    /// Bytes of that piece may be kept apart from the file, which is not there.
    fn is_aside(&self, files: &[Surveyed], file: FileIndex, piece: PieceIndex) -> bool {
        let found = &files[file.0 as usize];
        let absent = found.state == SlotState::Absent && found.foreign.is_none();
        absent && self.is_fetch() && self.parts.may_have(piece)
    }

    /// Why the bytes of a file in a piece are believed. Of a file that is recorded and gone, some may
    /// never have been kept apart.
    fn claim(&self, files: &[Surveyed], file: FileIndex, piece: PieceIndex) -> Claim {
        if !self.is_aside(files, file, piece) {
            return files[file.0 as usize].claim;
        }
        let gone = self.trusted().is_some_and(|known| known.files.contains_key(&file));
        if self.parts_are_recorded && !gone { Claim::Recorded } else { Claim::None }
    }

    /// Pieces that need not be read: each file of theirs is known.
    fn believed(&self, files: &[Surveyed]) -> Bitfield {
        let mut have = Bitfield::empty(self.geometry.piece_count());
        for piece in (0..self.geometry.piece_count()).map(PieceIndex) {
            let recorded = self.trusted().is_some_and(|known| known.have.has(piece));
            let believed = self.files_of(piece).all(|file| match self.claim(files, file, piece) {
                Claim::Fresh => true,
                Claim::Recorded => recorded,
                Claim::None => false,
            });
            if believed {
                have.insert(piece);
            }
        }
        have
    }

    /// Pieces that must be read: those of files that are not known, and those in the journal.
    fn unread(&self, files: &[Surveyed], have: &Bitfield) -> Result<Vec<PieceIndex>, OpenError> {
        let journal = self.journal.read(self.geometry.piece_count()).map_err(|source| {
            OpenError::Io { what: "read the journal of written pieces".into(), source }
        })?;
        let journal: BTreeSet<_> = journal.into_iter().collect();
        let is_unread = |piece: &PieceIndex| {
            let mut unknown = journal.contains(piece);
            for file in self.files_of(*piece) {
                let found = &files[file.0 as usize];
                if found.source().is_none() && !self.is_aside(files, file, *piece) {
                    return false;
                }
                unknown |= self.claim(files, file, *piece) == Claim::None;
            }
            unknown && !have.has(*piece)
        };
        Ok((0..self.geometry.piece_count()).map(PieceIndex).filter(is_unread).collect())
    }

    fn check(
        &self,
        files: &[Surveyed],
        unread: &[PieceIndex],
        progress: &(dyn Fn(u64) + Sync),
        cancel: &AtomicBool,
    ) -> Result<Vec<PieceIndex>, OpenError> {
        let checker = Checker {
            geometry: &self.geometry,
            expected: &|piece| self.args.info.expected(piece, &self.args.layers),
            open: &|file| open_source(&self.root, &files[file.0 as usize]),
            progress,
            cancel,
            parts: Some(&self.parts),
            pool: &self.disk.shared.pool,
        };
        Ok(checker.check(unread, self.disk.shared.config.workers)?)
    }

    /// Decides about files that stand where content must go and are not known. They are adopted if
    /// all that can be judged of them is right; the first that is not is in the way.
    fn adopt(
        &self,
        files: &mut [Surveyed],
        unread: &[PieceIndex],
        good: &[PieceIndex],
    ) -> Option<(PathBuf, &'static str)> {
        let mut conflict = None;
        for index in (0..files.len() as u32).map(FileIndex) {
            let file = &files[index.0 as usize];
            let path = &self.names[index.0 as usize].own;
            let Some((place, identity)) = &file.foreign else { continue };
            if place != path {
                continue;
            }
            // A piece at the edge may be wrong because of the neighbour, and one whose hash is not
            // known yet cannot be judged: they are compared when they come.
            let judged = self.geometry.pieces_of(index).map(PieceIndex).filter(|piece| {
                self.files_of(*piece).count() == 1
                    && unread.binary_search(piece).is_ok()
                    && self.args.info.expected(*piece, &self.args.layers).is_some()
            });
            let right = identity.size == self.args.info.files()[index.0 as usize].len
                && judged.into_iter().all(|piece| good.binary_search(&piece).is_ok());
            let unchanged = matches!(
                self.root.find(path),
                Ok(Some(Found::File { identity: now, .. })) if now == *identity
            );
            if right && unchanged {
                let adopted = SlotState::Whole(*identity);
                if matches!(file.state, SlotState::Part(_)) {
                    // Ours, and of no use any more; if it stays, that harms nobody.
                    let _ = self.root.remove(&self.names[index.0 as usize].part);
                }
                let made = self.recorded_file(index, identity).is_some_and(|file| file.made);
                files[index.0 as usize].adopt(adopted, made);
            } else if conflict.is_none() {
                conflict = Some((self.root.path().join(path), "it has other content"));
            }
        }
        conflict
    }

    /// All bytes of the piece are in the files that we serve from.
    fn is_own(&self, files: &[Surveyed], piece: PieceIndex) -> bool {
        self.files_of(piece).all(|file| {
            let found = &files[file.0 as usize];
            (found.state != SlotState::Absent && found.foreign.is_none())
                || self.is_aside(files, file, piece)
        })
    }

    fn check_room(&self, files: &[Surveyed]) -> Result<(), OpenError> {
        let wanted = (0..).map(FileIndex).zip(self.args.info.files().iter().zip(files));
        let wanted = wanted.filter(|(index, _)| self.is_wanted(*index));
        let missing = wanted.map(|(_, (file, found))| match found.state {
            SlotState::Whole(_) => 0,
            SlotState::Absent | SlotState::Part(_) | SlotState::Changed => {
                file.len.saturating_sub(found.allocated)
            }
        });
        let lacking = self.root.lacks_room(missing.sum()).map_err(|source| OpenError::Io {
            what: format!("ask for the room in {}", self.root.path().display()),
            source,
        })?;
        lacking.map_or(Ok(()), |lacking| Err(lacking.into()))
    }

    /// Makes the folders of files that are not there yet; returns those to sync.
    fn make_dirs(&self, files: &[Surveyed]) -> Result<BTreeSet<PathBuf>, OpenError> {
        let mut dirs = BTreeSet::new();
        if !self.is_fetch() {
            return Ok(dirs);
        }
        let every = (0..).map(FileIndex).zip(self.names.iter().zip(files));
        let absent = every
            .filter(|(index, (_, file))| file.state == SlotState::Absent && self.is_wanted(*index));
        let parents: BTreeSet<&Path> =
            absent.filter_map(|(_, (names, _))| names.own.parent()).collect();
        for parent in parents {
            let made = self.root.make_dirs(parent).map_err(|source| OpenError::Io {
                what: format!("make the folder {}", self.root.path().join(parent).display()),
                source,
            })?;
            if made {
                dirs.extend(parent.ancestors().map(Path::to_owned));
            }
        }
        Ok(dirs)
    }

    fn into_storage(
        self,
        files: &[Surveyed],
        have: Bitfield,
        checked: Vec<PieceIndex>,
        dirs: BTreeSet<PathBuf>,
    ) -> Result<Ready, OpenError> {
        let progress = self.progress(files, have, checked, dirs);
        let wanted: Vec<bool> =
            (0..files.len() as u32).map(|index| self.is_wanted(FileIndex(index))).collect();
        let geometry = self.geometry;
        let durable =
            progress.durable.iter().flat_map(|piece| geometry.spans(geometry.whole(piece)));
        let durable = durable.map(|span| u64::from(span.len)).sum();
        let shared = &self.disk.shared;
        let content = match self.args.content {
            Content::Fetch { .. } => Path::new(self.args.info.name()),
            Content::Share { .. } => Path::new(""),
        };
        let lane = shared.lanes.join(shared, self.root.device_of(content));
        let lane = lane.map_err(|source| {
            let what = format!("start threads for {}", self.root.path().display());
            OpenError::Io { what, source }
        })?;
        let slots = self.names.into_iter().zip(self.args.info.files()).zip(files).zip(wanted);
        let slots = slots.map(|(((names, file), found), wanted)| Slot {
            names,
            len: file.len,
            state: Mutex::new(found.state),
            wanted: AtomicBool::new(wanted),
            made: AtomicBool::new(found.made),
            writing: Mutex::default(),
            looked_ms: AtomicU64::new(shared.now_ms()),
        });
        let storage = Arc::new(Storage {
            id: shared.next_id(),
            key: self.args.info.hashes().primary(),
            info: self.args.info.clone(),
            layers: RwLock::new(self.args.layers),
            top: self.args.renames.top(&self.args.info).to_owned(),
            writable: matches!(self.args.content, Content::Fetch { .. }),
            slots: slots.collect(),
            progress: Mutex::new(progress),
            journal: Mutex::new(self.journal),
            parts: self.parts,
            checkpointing: Mutex::new(()),
            closed: RwLock::new(false),
            debt: Arc::new(SyncDebt::new(self.root.sync_covers())),
            root: self.root,
            failed: AtomicBool::new(false),
            durable: AtomicU64::new(durable),
            reused: AtomicU64::new(0),
            geometry,
            shared: shared.clone(),
            lane,
            events: self.args.events,
        });
        storage.record_opened(self.known.as_ref())?;
        Ok(Ready { storage })
    }

    fn progress(
        &self,
        files: &[Surveyed],
        have: Bitfield,
        checked: Vec<PieceIndex>,
        dirs: BTreeSet<PathBuf>,
    ) -> Progress {
        let fetch = self.is_fetch();
        // A share is as durable as its owner made it; what we wrote ourselves is synced first.
        let pending = if fetch { checked } else { Vec::new() };
        let mut durable = have.clone();
        for piece in &pending {
            durable.remove(*piece);
        }
        let mut undurable = vec![0; files.len()];
        let missing = (0..self.geometry.piece_count()).map(PieceIndex);
        for file in
            missing.filter(|piece| !durable.has(*piece)).flat_map(|piece| self.files_of(piece))
        {
            undurable[file.0 as usize] += 1;
        }
        let every = || (0..files.len() as u32).map(FileIndex);
        let is_to_be_named = |file: &FileIndex| {
            let index = file.0 as usize;
            undurable[index] == 0
                && match files[index].state {
                    SlotState::Part(_) => true,
                    // Its bytes are with those of others.
                    SlotState::Absent => {
                        fetch && self.is_wanted(*file) && self.args.info.files()[index].len > 0
                    }
                    SlotState::Whole(_) | SlotState::Changed => false,
                }
        };
        let settle: BTreeSet<_> = every().filter(is_to_be_named).collect();
        let was_finished = self.trusted().is_some_and(|known| known.finished);
        let named = settle.is_empty() && !files.iter().any(|file| file.missing);
        let here = every()
            .filter(|file| self.is_wanted(*file))
            .all(|file| self.geometry.pieces_of(file).all(|piece| have.has(PieceIndex(piece))));
        Progress {
            finished: here && (!fetch || (was_finished && named)),
            dirty: pending.iter().flat_map(|piece| self.files_of(*piece)).collect(),
            have,
            durable,
            pending,
            pending_bytes: 0,
            dirs,
            forgotten: BTreeSet::new(),
            settle,
            undurable,
            queued: false,
            lost: false,
        }
    }
}

/// A storage that is recorded; foreign pieces are still to be copied.
struct Ready {
    storage: Arc<Storage>,
}

impl Ready {
    /// Copies good pieces from files that we did not make; returns the bytes copied. Each is read and
    /// checked once more, since its file may change at any time.
    fn copy(
        &self,
        files: &[Surveyed],
        pieces: &[PieceIndex],
        cancel: &AtomicBool,
    ) -> Result<u64, OpenError> {
        let storage = &self.storage;
        let mut copied = 0;
        let mut last = None;
        let checker = Checker {
            geometry: &storage.geometry,
            expected: &|piece| storage.expected(piece),
            open: &|file| open_source(&storage.root, &files[file.0 as usize]),
            progress: &|_| (),
            cancel,
            parts: Some(&storage.parts),
            pool: &storage.shared.pool,
        };
        for &piece in pieces {
            let Some(blocks) = checker.read_again(piece, &mut last)? else { continue };
            let written = storage.write_piece(piece, &blocks);
            storage.shared.pool.give(blocks.into_iter().flatten());
            written.map_err(|failure| OpenError::Io {
                what: failure.reason,
                source: match failure.full {
                    true => std::io::ErrorKind::StorageFull.into(),
                    false => std::io::Error::other("copying stopped"),
                },
            })?;
            storage.on_written(&[piece], None);
            copied += storage.content_of(piece);
        }
        Ok(copied)
    }

    fn into_opened(self) -> Opened {
        let storage = self.storage;
        let (have, finished, waiting) = {
            let progress = storage.progress.lock();
            let all_here = storage.is_complete_with(&progress, &progress.pending);
            let waiting = !progress.pending.is_empty() || !progress.settle.is_empty() || all_here;
            (progress.have.clone(), progress.finished, waiting)
        };
        if waiting {
            storage.request_checkpoint(true);
        } else if finished {
            storage.note_copies();
        }
        Opened { storage, have, finished }
    }
}

impl Storage {
    /// Brings the record to what was found, and says that this run has not ended.
    fn record_opened(&self, known: Option<&record::Progress>) -> Result<(), OpenError> {
        let (durable, finished) = {
            let progress = self.progress.lock();
            (progress.durable.clone(), progress.finished)
        };
        let changed = |index: FileIndex| {
            let before = known.and_then(|known| known.files.get(&index)).copied();
            let now: Option<FileRecord> = self.file_record(index);
            (before != now).then_some((index, now))
        };
        let mut files: Vec<_> =
            (0..self.slots.len() as u32).map(FileIndex).filter_map(changed).collect();
        let parts = (self.parts.record(), known.and_then(|known| known.files.get(&RECORDED_AS)));
        if parts.0.as_ref() != parts.1 {
            files.push((RECORDED_AS, parts.0));
        }
        // Nothing will be written to a finished torrent, so its times go on counting.
        let standing = Standing { clean: finished, finished };
        let as_known = known.is_some_and(|known| {
            let stands = Standing { clean: known.clean, finished: known.finished };
            known.have == durable && stands == standing && files.is_empty()
        });
        if !as_known {
            self.shared.records.checkpoint(self.key, &durable, &files, standing)?;
        }
        Ok(())
    }
}

/// Where a share's paths start, and its files' names.
fn share_root(
    folders: &Folders,
    path: &Path,
    info: &Info,
) -> Result<(Root, Vec<Names>), OpenError> {
    let io = |source| OpenError::Io { what: format!("open {}", path.display()), source };
    // The user's own path may lead through links; below it none is followed.
    let real = path.canonicalize().map_err(io)?;
    if !info.is_single_file() {
        return Ok((folders.open(&real).map_err(io)?, names::for_share(info, None)));
    }
    let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
        return Err(io(std::io::ErrorKind::IsADirectory.into()));
    };
    let names = names::for_share(info, Some(Path::new(name)));
    Ok((folders.open(parent).map_err(io)?, names))
}

/// The file that a check reads.
fn open_source(root: &Root, file: &Surveyed) -> std::io::Result<Option<File>> {
    file.source().map(|path| root.open_read(path)).transpose()
}

//! The part of a move that leads to another file system.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use proto::FileIndex;

use super::super::FileIdentity;
use super::super::root::{Found, Root};
use super::{Ends, Job, MoveError, Travel, clear, same};
use crate::record::{Arrival, FileRecord, MoveRecord, Stage};

/// A move by copies.
pub(super) struct Copying<'a> {
    job: &'a Job<'a>,
    ends: &'a Ends,
    copied: u64,
}

impl<'a> Copying<'a> {
    pub(super) const fn new(job: &'a Job<'a>, ends: &'a Ends) -> Self {
        Self { job, ends, copied: 0 }
    }

    /// From the beginning: copies, then goes on. A copy that an earlier run began is thrown away.
    pub(super) fn copy(mut self) -> Result<(), MoveError> {
        let begun = MoveRecord { stage: Stage::Copying, ..self.ends.record.clone() };
        // Whatever becomes of this run, what the person wants is known.
        self.job.records.save_move(self.ends.key, begun)?;
        self.forget_drafts();
        match self.require_room().and_then(|()| self.copy_all()) {
            Ok(moved) => {
                let stage = Stage::Placing;
                let record = MoveRecord { stage, moved: moved.clone(), ..self.ends.record.clone() };
                self.job.records.save_move(self.ends.key, record)?;
                self.place(moved)
            }
            // Whoever cancels ends for now; the next start goes on.
            Err(MoveError::Cancelled) => Err(MoveError::Cancelled),
            Err(error) => {
                self.forget_drafts();
                self.job.records.end_move(self.ends.key)?;
                Err(error)
            }
        }
    }

    /// Copies, and records that all are there.
    #[cfg(test)]
    pub(super) fn copies_for_test(mut self) -> Vec<Arrival> {
        let moved = self.copy_all().unwrap();
        let (stage, record) = (Stage::Placing, self.ends.record.clone());
        let record = MoveRecord { stage, moved: moved.clone(), ..record };
        self.job.records.save_move(self.ends.key, record).unwrap();
        moved
    }

    fn forget_drafts(&self) {
        for travel in &self.ends.travels {
            if let Ok(Some(Found::File { ours: true, .. })) = self.ends.to.find(&travel.draft) {
                let _ = self.ends.to.remove(&travel.draft);
            }
        }
        super::remove_empty(&self.ends.to, &self.ends.folders[1]);
    }

    fn require_room(&self) -> Result<(), MoveError> {
        let taken = |travel: &Travel| match self.ends.from.find(&travel.from) {
            Ok(Some(Found::File { allocated, .. })) => allocated,
            Ok(_) | Err(_) => 0,
        };
        let needed = self.ends.travels.iter().map(taken).sum();
        let folder = self.ends.to.path();
        let lacking = self.ends.to.lacks_room(needed);
        let lacking =
            lacking.map_err(|error| MoveError::io("ask for the room in", folder, error))?;
        lacking.map_or(Ok(()), |lacking| Err(lacking.into()))
    }

    fn copy_all(&mut self) -> Result<Vec<Arrival>, MoveError> {
        let mut moved = Vec::new();
        for travel in &self.ends.travels {
            let from = self.ends.from.path().join(&travel.from);
            let found = self.ends.from.find(&travel.from);
            let found = found.map_err(|error| MoveError::io("look at", &from, error))?;
            let Some(Found::File { identity, .. }) = found else { continue };
            if !same(&identity, &travel.record) {
                continue;
            }
            let draft = self.ends.to.path().join(&travel.draft);
            let copy = self.copy_one(travel, &identity);
            let copy = copy.map_err(|error| match error.kind() == io::ErrorKind::Interrupted {
                true => MoveError::Cancelled,
                false => MoveError::io("copy to", &draft, error),
            })?;
            let Some(copy) = copy else { return Err(MoveError::Changed(from)) };
            moved.push(Arrival { file: travel.file, identity: copy, path: draft });
        }
        self.ends.sync(&self.ends.to, 1)?;
        Ok(moved)
    }

    /// The copy; `None` when somebody changed the file meanwhile. Interrupted when it is cancelled.
    fn copy_one(
        &mut self,
        travel: &Travel,
        before: &FileIdentity,
    ) -> io::Result<Option<FileIdentity>> {
        let (from, to) = (&self.ends.from, &self.ends.to);
        let source = from.open_read(&travel.from)?;
        to.make_dirs(travel.draft.parent().unwrap_or_else(|| Path::new("")))?;
        let mut copy = to.create(&travel.draft, before.size)?;
        for run in Data::of(&source, before.size) {
            let (mut at, end) = run?;
            while at < end {
                if (self.job.cancelled)() {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                let len = (end - at).min(COPIED_AT_ONCE);
                (&source).seek(io::SeekFrom::Start(at))?;
                copy.seek(io::SeekFrom::Start(at))?;
                if io::copy(&mut (&source).take(len), &mut copy)? < len {
                    return Ok(None);
                }
                at += len;
                self.copied += len;
                (self.job.progress)(self.copied);
            }
        }
        let described = source.metadata()?;
        copy.set_permissions(described.permissions())?;
        copy.set_modified(described.modified()?)?;
        copy.sync_all()?;
        let unchanged = FileIdentity::of(&described) == *before;
        Ok(if unchanged { Some(FileIdentity::of(&copy.metadata()?)) } else { None })
    }

    /// All copies are on the disk: they get their names, the record says so, and the old files go.
    pub(super) fn place(self, moved: Vec<Arrival>) -> Result<(), MoveError> {
        let mut files = Vec::new();
        let mut left = Vec::new();
        for arrival in &moved {
            let Some(travel) = self.ends.travels.iter().find(|each| each.file == arrival.file)
            else {
                continue;
            };
            match self.place_one(travel, &arrival.identity) {
                Ok(identity) => {
                    let old = self.copied_old(travel, &arrival.identity);
                    let record = FileRecord { identity, ..travel.record };
                    files.push((travel.file, old.is_some().then_some(record)));
                    left.extend(old);
                }
                Err(error) => {
                    self.unplace(&moved);
                    self.job.records.end_move(self.ends.key)?;
                    return Err(error);
                }
            }
        }
        self.ends.sync(&self.ends.to, 1)?;
        let record = self.ends.record.clone();
        self.job.records.switch_move(self.ends.key, record, files, left.clone())?;
        // Without any the move has ended.
        if !left.is_empty() {
            clear(&self.ends.record.origin, &left);
            self.job.records.end_move(self.ends.key)?;
        }
        self.ends.tidy(self.job.info);
        Ok(())
    }

    fn place_one(&self, travel: &Travel, copy: &FileIdentity) -> Result<FileIdentity, MoveError> {
        let to = &self.ends.to;
        let target = to.path().join(&travel.to);
        let is_copy = |path: &PathBuf| match to.find(path) {
            Ok(Some(Found::File { identity, .. })) => identity.same_content(copy),
            Ok(_) | Err(_) => false,
        };
        if is_copy(&travel.draft) {
            to.move_new(&travel.draft, to, &travel.to)
                .map_err(|error| MoveError::io("name", &target, error))?;
        } else if !is_copy(&travel.to) {
            return Err(MoveError::Changed(target));
        }
        match to.find(&travel.to) {
            Ok(Some(Found::File { identity, .. })) if identity.same_content(copy) => Ok(identity),
            Ok(_) | Err(_) => Err(MoveError::Changed(target)),
        }
    }

    /// The old file, if it is still there and the copy has all that it has. One that somebody changed may
    /// have more, so it stays.
    fn copied_old(&self, travel: &Travel, copy: &FileIdentity) -> Option<Arrival> {
        let Ok(Some(Found::File { identity, .. })) = self.ends.from.find(&travel.from) else {
            return None;
        };
        let path = self.ends.from.path().join(&travel.from);
        let unchanged = match travel.record.whole {
            true => identity.recorded_as(&travel.record.identity, true),
            // Pieces came after its times were recorded; the copy has the time that it had then.
            false => same(&identity, &travel.record) && has_time_of(copy, &identity),
        };
        if !unchanged {
            tracing::warn!(file = %path.display(), "a file that was moved stays too: somebody changed it");
        }
        unchanged.then_some(Arrival { file: travel.file, identity, path })
    }

    /// Takes the copies away, whatever they are called by now: the old files hold.
    fn unplace(&self, moved: &[Arrival]) {
        let of = |file: FileIndex| self.ends.travels.iter().find(move |each| each.file == file);
        for Arrival { file, identity, .. } in moved {
            for path in of(*file).into_iter().flat_map(|travel| [&travel.draft, &travel.to]) {
                remove_if(&self.ends.to, path, |found| found.same_content(identity));
            }
        }
        super::remove_empty(&self.ends.to, &self.ends.folders[1]);
    }
}

/// The copy was given this file's time, as exactly as its file system keeps times.
fn has_time_of(copy: &FileIdentity, file: &FileIdentity) -> bool {
    let kept = |step: &i64| file.mtime_ns - file.mtime_ns.rem_euclid(*step);
    TIME_STEPS_NS.iter().any(|step| kept(step) == copy.mtime_ns)
}

fn remove_if(root: &Root, path: &Path, is_ours: impl Fn(&FileIdentity) -> bool) {
    if let Ok(Some(Found::File { identity, .. })) = root.find(path)
        && is_ours(&identity)
    {
        // If it stays, it takes room and harms nobody.
        let _ = root.remove(path);
    }
}

/// The parts of a file that were written: an incomplete one may be nearly all hole.
struct Data<'a> {
    file: &'a File,
    at: u64,
    len: u64,
}

impl<'a> Data<'a> {
    const fn of(file: &'a File, len: u64) -> Self {
        Self { file, at: 0, len }
    }
}

impl Iterator for Data<'_> {
    type Item = io::Result<(u64, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.len {
            return None;
        }
        let run = written_run(self.file, self.at, self.len);
        self.at = match run {
            Ok(Some((_, end))) => end,
            Ok(None) | Err(_) => self.len,
        };
        run.transpose()
    }
}

#[cfg(target_os = "linux")]
fn written_run(file: &File, at: u64, len: u64) -> io::Result<Option<(u64, u64)>> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::NOTSUP) => return Ok(Some((at, len))),
        Err(error) => return Err(error.into()),
    };
    let end = seek(file, SeekFrom::Hole(start))?;
    Ok((start < len).then(|| (start, end.min(len))))
}

#[cfg(not(target_os = "linux"))]
fn written_run(_: &File, at: u64, len: u64) -> io::Result<Option<(u64, u64)>> {
    Ok(Some((at, len)))
}

/// How exactly file systems keep the time of a change: most of them, NTFS, exFAT, ext3, FAT.
const TIME_STEPS_NS: [i64; 5] = [1, 100, 10_000_000, 1_000_000_000, 2_000_000_000];
/// Between two looks at whether anybody still wants it.
const COPIED_AT_ONCE: u64 = 1 << 20;

//! A folder in which people drop files: tells which came, changed and went, once they have settled.
//!
//! Nothing is told of a file while somebody may still be writing to it. A look at a folder in which nothing
//! happens is one system call.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What has happened to a file. What went comes first, since another one may have come in its place: a file
/// that was renamed is one that went and one that came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    Went(PathBuf),
    Changed(PathBuf),
    Came(PathBuf),
}

/// The folder and what was told of it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    wanted: fn(&Path) -> bool,
    files: BTreeMap<PathBuf, Seen>,
    /// The folder's time of change at the last whole look; `None` when another one is due in any case.
    quiet_since: Option<SystemTime>,
    looks_left: u32,
}

#[derive(Debug)]
struct Seen {
    stamp: Stamp,
    told: bool,
    there: bool,
}

/// Changes when the file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    ino: u64,
    size: u64,
    modified: SystemTime,
}

impl Folder {
    /// The files in `path` that are `wanted`.
    pub(crate) const fn new(path: PathBuf, wanted: fn(&Path) -> bool) -> Self {
        Self { path, wanted, files: BTreeMap::new(), quiet_since: None, looks_left: 0 }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Somebody may still be writing to a file of it that was not told of.
    pub(crate) fn is_settling(&self) -> bool {
        self.files.values().any(|seen| !seen.told)
    }

    /// What has happened since the last look; `now` is by the clock that file times are by.
    ///
    /// # Errors
    /// The folder cannot be read. Then nothing has gone: a disk that is away for a moment takes no
    /// torrents along.
    pub(crate) fn look(&mut self, now: SystemTime) -> io::Result<Vec<Change>> {
        let modified = std::fs::metadata(&self.path)?.modified()?;
        if self.quiet_since == Some(modified) && self.looks_left > 0 {
            self.looks_left -= 1;
            return Ok(Vec::new());
        }
        let settled = |at: SystemTime| now.duration_since(at).is_ok_and(|age| age >= SETTLE);
        let mut changes = Vec::new();
        let mut quiet = settled(modified);
        self.files.values_mut().for_each(|seen| seen.there = false);
        for entry in std::fs::read_dir(&self.path)? {
            let path = entry?.path();
            // What goes between two calls has gone.
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            if !metadata.is_file() || !(self.wanted)(&path) {
                continue;
            }
            let modified = metadata.modified()?;
            let stamp = Stamp { ino: metadata.ino(), size: metadata.len(), modified };
            let is_settled = settled(modified);
            match self.files.get_mut(&path) {
                Some(seen) if seen.stamp == stamp => {
                    seen.there = true;
                    // A time in the future says nothing; what stays the same has settled.
                    if !seen.told && (is_settled || modified > now) {
                        seen.told = true;
                        changes.push(Change::Came(path));
                    }
                }
                Some(seen) if seen.told && is_settled => {
                    (seen.stamp, seen.there) = (stamp, true);
                    changes.push(Change::Changed(path));
                }
                Some(seen) if seen.told => seen.there = true,
                Some(seen) => (seen.stamp, seen.there) = (stamp, true),
                None => {
                    self.files.insert(path.clone(), Seen { stamp, told: is_settled, there: true });
                    if is_settled {
                        changes.push(Change::Came(path));
                    }
                }
            }
            quiet &= is_settled;
        }
        self.files.retain(|path, seen| {
            if !seen.there && seen.told {
                changes.push(Change::Went(path.clone()));
            }
            seen.there
        });
        self.quiet_since = quiet.then_some(modified);
        self.looks_left = LOOKS_SAVED;
        Ok(changes)
    }
}

/// Whoever writes a file in parts writes more often than this.
const SETTLE: Duration = Duration::from_secs(1);
/// A file that is written to in its place does not change its folder's time: so often it is not looked for.
const LOOKS_SAVED: u32 = 30;

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};

    use super::*;

    struct Bench {
        dir: tempfile::TempDir,
        folder: Folder,
        now: SystemTime,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let wanted = |path: &Path| path.extension().is_some_and(|end| end == "torrent");
            let folder = Folder::new(dir.path().to_owned(), wanted);
            Self { dir, folder, now: SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30) }
        }

        /// Writes a file, and sets its time and the folder's to now.
        fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let times = FileTimes::new().set_modified(self.now);
            File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
            self.touch();
            path
        }

        fn touch(&self) {
            let times = FileTimes::new().set_modified(self.now);
            File::open(self.dir.path()).unwrap().set_times(times).unwrap();
        }

        fn after(&mut self, millis: u64) -> Vec<Change> {
            self.now += Duration::from_millis(millis);
            self.folder.look(self.now).unwrap()
        }
    }

    #[test]
    fn a_file_comes_when_nobody_writes_to_it_any_more() {
        let mut bench = Bench::new();
        let path = bench.write("a.torrent", b"half");
        bench.write("a.txt", b"");
        assert_eq!(bench.after(500), []);
        assert!(bench.folder.is_settling());
        bench.write("a.torrent", b"half and half");
        assert_eq!(bench.after(700), []);
        assert_eq!(bench.after(700), [Change::Came(path)]);
        assert!(!bench.folder.is_settling());
        assert_eq!(bench.after(1000), []);
    }

    #[test]
    fn what_is_there_already_comes_at_the_first_look() {
        let mut bench = Bench::new();
        let path = bench.write("a.torrent", b"");
        assert_eq!(bench.after(5_000), [Change::Came(path)]);
    }

    #[test]
    fn a_file_with_a_time_to_come_settles_too() {
        let mut bench = Bench::new();
        bench.now += Duration::from_secs(100_000);
        let path = bench.write("a.torrent", b"");
        bench.now -= Duration::from_secs(90_000);
        assert_eq!(bench.after(0), []);
        assert_eq!(bench.after(1_000), [Change::Came(path)]);
    }

    #[test]
    fn files_change_and_go() {
        let mut bench = Bench::new();
        let (kept, gone) = (bench.write("kept.torrent", b"1"), bench.write("gone.torrent", b"1"));
        assert_eq!(bench.after(2_000).len(), 2);
        std::fs::remove_file(&gone).unwrap();
        bench.write("kept.torrent", b"22");
        assert_eq!(bench.after(100), [Change::Went(gone)]);
        assert_eq!(bench.after(2_000), [Change::Changed(kept)]);
    }

    #[test]
    fn a_file_that_is_written_in_its_place_is_seen_in_the_end() {
        let mut bench = Bench::new();
        let path = bench.write("a.torrent", b"1");
        bench.after(2_000);
        assert_eq!(bench.after(2_000), [], "the folder is quiet from here");
        let long_ago = bench.now - Duration::from_secs(10);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(5).unwrap();
        file.set_times(FileTimes::new().set_modified(long_ago)).unwrap();
        let looks = (0..=LOOKS_SAVED).flat_map(|_| bench.after(1_000));
        assert_eq!(looks.collect::<Vec<_>>(), [Change::Changed(path)]);
    }

    #[test]
    fn a_folder_that_is_away_takes_nothing_along() {
        let mut bench = Bench::new();
        let path = bench.write("a.torrent", b"1");
        bench.after(2_000);
        let away = bench.dir.path().with_extension("away");
        std::fs::rename(bench.dir.path(), &away).unwrap();
        bench.folder.look(bench.now).unwrap_err();
        std::fs::rename(&away, bench.dir.path()).unwrap();
        assert_eq!(bench.after(1_000), []);
        std::fs::remove_file(&path).unwrap();
        bench.touch();
        assert_eq!(bench.after(1_000), [Change::Went(path)]);
    }
}

//! Where copies of a torrent's content may lie on this machine: in folders that the person names, and
//! where other torrents put theirs.
//!
//! Only names and lengths are looked at here. What a copy holds is judged piece by piece as it is taken
//! ([`super::reuse`]), so a wrong guess costs a read and nothing else. No copy is ever written to.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use proto::metainfo::Info;
use proto::{FileIndex, MerkleHash};
use rustix::fs::OFlags;
use walkdir::WalkDir;

use super::names::FOREIGN_SUFFIXES;
use crate::record::{COPY_LEN_MIN as LEN_MIN, Records};

/// Files that may hold content, for each file of the torrent that lacks some.
#[derive(Debug, Default)]
pub(super) struct Copies {
    by_file: BTreeMap<FileIndex, Vec<Candidate>>,
}

/// A file that may hold content of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) likeness: Likeness,
}

/// Why a file may hold content of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// It has the same length: if its first piece is wrong it is another file altogether.
    Length,
    /// It has the same path: an older version, of which any piece may be right.
    Path,
}

/// What is looked for, and where.
pub(super) struct Search<'a> {
    pub(super) info: &'a Info,
    /// Folders (or files) that the person names.
    pub(super) named: &'a [PathBuf],
    pub(super) records: &'a Records,
}

impl Candidate {
    /// Opens it to read; `None` when it is not there, or no regular file any more.
    pub(super) fn open(&self) -> Option<File> {
        // What was a file a moment ago may be a link or a pipe by now: do not follow, do not hang.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
        let file = File::options().read(true).custom_flags(flags).open(&self.path).ok()?;
        file.metadata().is_ok_and(|metadata| metadata.is_file()).then_some(file)
    }
}

impl Copies {
    /// The files that there are candidates for.
    pub(super) fn files(&self) -> impl Iterator<Item = FileIndex> {
        self.by_file.keys().copied()
    }

    /// The candidates for a file, the likeliest first.
    pub(super) fn of(&self, file: FileIndex) -> &[Candidate] {
        self.by_file.get(&file).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, file: FileIndex, path: PathBuf, likeness: Likeness) {
        let known = self.by_file.entry(file).or_default();
        if known.len() < CANDIDATES_MAX && !known.iter().any(|candidate| candidate.path == path) {
            known.push(Candidate { path, likeness });
        }
    }
}

impl Search<'_> {
    /// Looks for copies of these files. Folders that cannot be read have none.
    pub(super) fn run(&self, missing: &[FileIndex]) -> Copies {
        let mut copies = Copies::default();
        let mut gone = Vec::new();
        for &index in missing {
            self.recorded(index, &mut copies, &mut gone);
            self.at_its_path(index, &mut copies);
        }
        // Rows that stay are looked at once more, nothing else.
        let _ = self.records.forget_copies(gone);
        self.of_its_length(missing, &mut copies);
        copies
    }

    /// Files of other torrents with the same v2 root; `gone` takes those that are not there any more.
    fn recorded(
        &self,
        index: FileIndex,
        copies: &mut Copies,
        gone: &mut Vec<(MerkleHash, PathBuf)>,
    ) {
        let file = &self.info.files()[index.0 as usize];
        let Some(root) = file.root.as_ref().filter(|_| file.len >= LEN_MIN) else { return };
        let known = self.records.copies_of(root).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot look for copies in the record");
            Vec::new()
        });
        for path in known {
            match path.symlink_metadata() {
                Ok(found) if found.is_file() && found.len() == file.len => {
                    copies.add(index, path, Likeness::Length);
                }
                Ok(_) | Err(_) => gone.push((*root, path)),
            }
        }
    }

    /// An older version: what has the same path below a named folder, whole or half fetched.
    fn at_its_path(&self, index: FileIndex, copies: &mut Copies) {
        let file = &self.info.files()[index.0 as usize];
        let below: [PathBuf; 2] =
            [self.info.target_path(file).collect(), file.path.iter().collect()];
        for folder in self.named {
            if self.info.is_single_file() && is_content(folder) {
                copies.add(index, folder.clone(), Likeness::Path);
            }
            for path in below.iter().map(|below| folder.join(below)) {
                let partial = FOREIGN_SUFFIXES.map(|suffix| {
                    let mut name = path.clone().into_os_string();
                    name.push(suffix);
                    PathBuf::from(name)
                });
                for path in std::iter::once(path).chain(partial).filter(|path| is_content(path)) {
                    copies.add(index, path, Likeness::Path);
                }
            }
        }
    }

    /// Whatever has the same length, under any name.
    fn of_its_length(&self, missing: &[FileIndex], copies: &mut Copies) {
        if self.named.is_empty() {
            return;
        }
        let mut wanted: BTreeMap<u64, Vec<FileIndex>> = BTreeMap::new();
        for &index in missing {
            wanted.entry(self.info.files()[index.0 as usize].len).or_default().push(index);
        }
        for folder in self.named {
            // A folder may be named by way of a link; in it none is followed.
            for entry in WalkDir::new(folder).into_iter().take(ENTRIES_MAX).flatten() {
                if !entry.file_type().is_file() {
                    continue;
                }
                let Ok(metadata) = entry.metadata() else { continue };
                for &index in wanted.get(&metadata.len()).into_iter().flatten() {
                    copies.add(index, entry.path().to_owned(), Likeness::Length);
                }
            }
        }
    }
}

/// A regular file with something in it.
fn is_content(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_file() && found.len() > 0)
}

/// Files that are tried for one file: more of the same length are hardly copies.
const CANDIDATES_MAX: usize = 16;
/// Files and folders below a named folder that are looked at: a root folder given by mistake must not
/// hold a fetch up for hours.
const ENTRIES_MAX: usize = 1_000_000;

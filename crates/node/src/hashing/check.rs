//! Compares files with a torrent: which pieces are there, and what is wrong with the rest.
//!
//! Reads only; knows nothing of records or of what a node does with the torrent.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use proto::metainfo::{Info, PieceLayers};
use proto::{Bitfield, FileIndex, Geometry};
use rustix::fs::OFlags;

use super::Control;
use super::pipeline::{Fault, PieceHashes, Pipeline, Source, Wanted};

/// What was found.
#[derive(Debug)]
pub struct Checked {
    /// The pieces that are right.
    pub good: Bitfield,
    /// The files that are not, in the torrent's order.
    pub different: Vec<Difference>,
}

/// A file that is not what the torrent says.
#[derive(Debug)]
pub struct Difference {
    /// Which one.
    pub file: FileIndex,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It is not there.
    #[error("missing")]
    Missing,
    /// There is a folder, a link or something stranger in its place.
    #[error("not a regular file")]
    NotAFile,
    /// It is shorter or longer.
    #[error("{found} bytes long instead of {expected}")]
    Length {
        /// As it is.
        found: u64,
        /// As it should be.
        expected: u64,
    },
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// Some of its bytes are wrong.
    #[error("{bad} of {pieces} pieces differ")]
    Content {
        /// Pieces of the file that are wrong.
        bad: u32,
        /// Pieces of the file.
        pieces: u32,
    },
    /// The symbolic link is not there or points elsewhere.
    #[error("the link is missing or points elsewhere")]
    Link,
}

/// Why the check came to no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The caller ended it.
    #[error("cancelled")]
    Cancelled,
    /// The torrent's piece layers are not known, so some pieces cannot be judged.
    #[error("the piece layers are not known")]
    NoLayers,
}

/// Compares what is at `path` (the torrent's file or folder itself, whatever it is called) with the
/// torrent. Takes long; `control` shows how far it is and can end it.
pub fn check(
    info: &Info,
    layers: &PieceLayers,
    path: &Path,
    control: &Control,
) -> Result<Checked, CheckError> {
    let geometry = info.geometry();
    control.set_total(geometry.content_len());
    let content = Content { info, root: path, problems: Mutex::default() };
    content.look();
    let hashes = info.hashes();
    let wanted = Wanted { v1: hashes.v1().is_some(), v2: hashes.v2().is_some() };
    let known = HashMap::new();
    let pieces = Pipeline { geometry: &geometry, source: &content, wanted, known, control }.run();
    if control.is_cancelled() {
        return Err(CheckError::Cancelled);
    }
    let mut good = Bitfield::empty(geometry.piece_count());
    for hashes in &pieces {
        let expected = info.expected(hashes.piece, layers).ok_or(CheckError::NoLayers)?;
        let v2 = expected.v2.map(|expected| expected.hash);
        if (hashes.v1, hashes.v2) == (expected.v1, v2) {
            good.insert(hashes.piece);
        }
    }
    let mut problems = content.problems.into_inner();
    blame(&geometry, &pieces, &good, &mut problems);
    let different =
        problems.into_iter().map(|(file, problem)| Difference { file, problem }).collect();
    Ok(Checked { good, different })
}

/// Finds the files that wrong pieces lie in. A piece that could not be read is blamed on the file that
/// could not, not on its neighbours.
fn blame(
    geometry: &Geometry,
    pieces: &[PieceHashes],
    good: &Bitfield,
    problems: &mut BTreeMap<FileIndex, Problem>,
) {
    let mut bad_pieces: BTreeMap<FileIndex, u32> = BTreeMap::new();
    for piece in pieces.iter().map(|hashes| hashes.piece).filter(|piece| !good.has(*piece)) {
        let files = || geometry.spans(geometry.whole(piece)).map(|span| span.file);
        if !files().any(|file| problems.contains_key(&file)) {
            files().for_each(|file| *bad_pieces.entry(file).or_default() += 1);
        }
    }
    for (file, bad) in bad_pieces {
        let pieces = geometry.pieces_of(file).len() as u32;
        problems.insert(file, Problem::Content { bad, pieces });
    }
}

/// The files on disk.
struct Content<'a> {
    info: &'a Info,
    root: &'a Path,
    /// The first problem of each file. A bad piece is no problem yet.
    problems: Mutex<BTreeMap<FileIndex, Problem>>,
}

impl Content<'_> {
    fn path(&self, file: FileIndex) -> PathBuf {
        if self.info.is_single_file() {
            return self.root.to_owned();
        }
        let path = &self.info.files()[file.0 as usize].path;
        path.iter().fold(self.root.to_owned(), |path, name| path.join(name))
    }

    /// Looks at every file before any is read.
    fn look(&self) {
        let mut problems = self.problems.lock();
        for (index, file) in (0..).map(FileIndex).zip(self.info.files()) {
            let path = self.path(index);
            let problem = match &file.symlink {
                Some(target) => self.link_problem(&path, &file.path, target),
                None => self.file_problem(&path, file.len),
            };
            if let Some(problem) = problem {
                problems.insert(index, problem);
            }
        }
    }

    fn file_problem(&self, path: &Path, expected: u64) -> Option<Problem> {
        // A single file may be given by way of a link, like a folder.
        let metadata =
            if self.info.is_single_file() { path.metadata() } else { path.symlink_metadata() };
        match metadata {
            Ok(metadata) if !metadata.is_file() => Some(Problem::NotAFile),
            Ok(metadata) if metadata.len() != expected => {
                Some(Problem::Length { found: metadata.len(), expected })
            }
            Ok(_) => None,
            Err(error) => Some(refused(error)),
        }
    }

    fn link_problem(&self, path: &Path, inside: &[String], target: &[String]) -> Option<Problem> {
        let Ok(found) = std::fs::read_link(path) else { return Some(Problem::Link) };
        let right = super::walk::resolve(self.root, inside, &found);
        if right.as_deref() == Some(target) { None } else { Some(Problem::Link) }
    }
}

fn refused(error: io::Error) -> Problem {
    let missing = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
    if missing.contains(&error.kind()) { Problem::Missing } else { Problem::Unreadable(error) }
}

impl Source for Content<'_> {
    fn open(&self, file: FileIndex) -> Result<File, Fault> {
        let follow = if self.info.is_single_file() { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags = (follow | OFlags::NONBLOCK).bits() as i32;
        let opened = File::options().read(true).custom_flags(flags).open(self.path(file));
        opened.map_err(Fault::Io)
    }

    fn close(&self, _: FileIndex, _: &File) -> Result<(), Fault> {
        Ok(())
    }

    fn file_len(&self, file: FileIndex) -> u64 {
        self.info.files()[file.0 as usize].len
    }

    fn handle_fault(&self, file: FileIndex, fault: Fault) -> bool {
        let problem = match fault {
            Fault::Io(error) => refused(error),
            Fault::Short | Fault::Changed => {
                Problem::Unreadable(io::ErrorKind::UnexpectedEof.into())
            }
        };
        // What the first look found says more.
        self.problems.lock().entry(file).or_insert(problem);
        true
    }
}

#[cfg(test)]
mod tests;

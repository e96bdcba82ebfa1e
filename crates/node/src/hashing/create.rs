//! Makes a torrent of a file or folder (BEP 3, 47, 52).
//!
//! Invariant: the hashes belong to the files as they were found. A file that changes between the
//! first look and the last byte is an error, never a torrent that nobody can serve.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use proto::metainfo::{
    ContentHashes, Details, FileHashes, Format, Layout, Metainfo, MetainfoError, Shape,
    piece_len_for,
};
use proto::{FileIndex, PieceHash, merkle};
use rustix::fs::OFlags;

use super::Control;
use super::known::Known;
use super::pipeline::{Fault, PieceHashes, Pipeline, Source, Wanted};
use super::walk::{Walked, walk};
use crate::api::Fresh;
use crate::disk::FileIdentity;

/// What the torrent should be like.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The torrent's name: one path component.
    pub name: String,
    /// Which hashes it has.
    pub format: Format,
    /// Bytes in a piece; chosen by [`piece_len_for`] when `None`.
    pub piece_len: Option<u32>,
    /// What it says beside its content.
    pub details: Details,
}

/// A new torrent.
#[derive(Debug)]
pub struct Created {
    /// The torrent.
    pub metainfo: Metainfo,
    /// Its files as they were when they were hashed: with it they can be served at once.
    pub fresh: Fresh,
    /// Sockets, pipes and devices that were left out.
    pub skipped: Vec<PathBuf>,
}

/// Why no torrent was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The system refuses.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Somebody writes to the content.
    #[error("{path} changed while it was hashed; try again when nothing writes to it")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Torrents have names in UTF-8 only.
    #[error("the name of {path:?} is not UTF-8; rename it")]
    NotUnicode {
        /// The file, folder or link.
        path: PathBuf,
    },
    /// A link that would point to something else, or to nothing, on other machines.
    #[error(
        "the link {path} points to {target}, which is not inside what is shared; remove it or put \
         the file in its place"
    )]
    LinkOutside {
        /// The link.
        path: PathBuf,
        /// What it says.
        target: PathBuf,
    },
    /// Neither a file nor a folder.
    #[error("{path} is neither a file nor a folder")]
    NotContent {
        /// What was given.
        path: PathBuf,
    },
    /// There is nothing in the folder.
    #[error("{path} has no files")]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A name, a size or a count that no torrent can have.
    #[error(transparent)]
    Metainfo(#[from] MetainfoError),
    /// The caller ended it.
    #[error("cancelled")]
    Cancelled,
}

impl CreateError {
    pub(super) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }
}

/// Hashes what is at `path`. Takes long; `control` shows how far it is and can end it.
pub fn create(path: &Path, recipe: Recipe, control: &Control) -> Result<Created, CreateError> {
    create_after(path, recipe, None, control)
}

/// The same for the next version of something: what has not changed since is not read again.
pub fn create_after(
    path: &Path,
    recipe: Recipe,
    before: Option<Known<'_>>,
    control: &Control,
) -> Result<Created, CreateError> {
    let Plan { shape, root, layout, identities, skipped } = Plan::after(path, &recipe, before)?;
    let known = before.map(|before| before.pieces(&layout, &identities)).unwrap_or_default();
    control.set_total(layout.files().iter().map(|file| file.len).sum());
    let content = Content { root, shape, layout: &layout, identities, fault: Mutex::new(None) };
    let geometry = layout.geometry();
    let wanted = Wanted { v1: recipe.format.has_v1(), v2: recipe.format.has_v2() };
    let pipeline = Pipeline { geometry: &geometry, source: &content, wanted, known, control };
    let pieces = pipeline.run();
    if let Some(error) = content.fault.into_inner() {
        return Err(error);
    }
    if control.is_cancelled() {
        return Err(CreateError::Cancelled);
    }
    let fresh = Fresh(content.identities);
    let hashes = collect(&layout, &pieces);
    let metainfo = layout.build(hashes, recipe.details)?;
    Ok(Created { metainfo, fresh, skipped })
}

/// What is at a path, and the torrent that it will be.
pub(super) struct Plan {
    shape: Shape,
    root: PathBuf,
    pub(super) layout: Layout,
    /// One a file of the layout; `None` for links.
    pub(super) identities: Vec<Option<FileIdentity>>,
    pub(super) skipped: Vec<PathBuf>,
}

impl Plan {
    pub(super) fn of(path: &Path, recipe: &Recipe) -> Result<Self, CreateError> {
        Self::after(path, recipe, None)
    }

    fn after(path: &Path, recipe: &Recipe, before: Option<Known<'_>>) -> Result<Self, CreateError> {
        let Walked { shape, root, found, skipped } = walk(path)?;
        if found.is_empty() {
            return Err(CreateError::Empty { path: path.to_owned() });
        }
        let lens: Vec<u64> = found.iter().map(|found| found.file.len).collect();
        let piece_len = recipe.piece_len.unwrap_or_else(|| match before {
            Some(before) => before.piece_len(&lens, recipe.format),
            None => piece_len_for(&lens, recipe.format),
        });
        let (files, identities): (Vec<_>, Vec<_>) =
            found.into_iter().map(|found| (found.file, found.identity)).unzip();
        let layout = Layout::plan(&recipe.name, shape, files, piece_len, recipe.format)?;
        Ok(Self { shape, root, layout, identities, skipped })
    }
}

/// Sorts the pieces' hashes into what the torrent needs.
fn collect(layout: &Layout, pieces: &[PieceHashes]) -> ContentHashes {
    let v1_pieces: Vec<PieceHash> = pieces.iter().filter_map(|piece| piece.v1).collect();
    let piece_len = u64::from(layout.piece_len());
    let files = layout.files().iter().map(|file| {
        let shape = layout.tree(file)?;
        let first = (file.offset / piece_len) as usize;
        let nodes = pieces.get(first..first + shape.pieces() as usize)?.iter();
        let nodes: Arc<[_]> = nodes.map(|piece| piece.v2).collect::<Option<_>>()?;
        if !shape.has_layer() {
            return Some(FileHashes { root: *nodes.first()?, layer: Arc::default() });
        }
        Some(FileHashes { root: merkle::file_root(&shape, &nodes)?, layer: nodes })
    });
    let files = if layout.format().has_v2() { files.collect() } else { Vec::new() };
    ContentHashes { v1_pieces, files }
}

/// The files of a new torrent, which must stay as they were found.
struct Content<'a> {
    root: PathBuf,
    shape: Shape,
    layout: &'a Layout,
    identities: Vec<Option<FileIdentity>>,
    fault: Mutex<Option<CreateError>>,
}

impl Content<'_> {
    fn path(&self, file: FileIndex) -> PathBuf {
        match self.shape {
            Shape::File => self.root.clone(),
            Shape::Folder => {
                let path = &self.layout.files()[file.0 as usize].path;
                path.iter().fold(self.root.clone(), |path, name| path.join(name))
            }
        }
    }

    fn check_unchanged(&self, file: FileIndex, opened: &File) -> Result<(), Fault> {
        let now = FileIdentity::of(&opened.metadata().map_err(Fault::Io)?);
        let same = self.identities[file.0 as usize] == Some(now);
        if same { Ok(()) } else { Err(Fault::Changed) }
    }
}

impl Source for Content<'_> {
    fn open(&self, file: FileIndex) -> Result<File, Fault> {
        // What was a file a moment ago may be a link or a pipe by now: do not follow, do not hang.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
        let opened = File::options().read(true).custom_flags(flags).open(self.path(file));
        let opened = opened.map_err(Fault::Io)?;
        self.check_unchanged(file, &opened)?;
        Ok(opened)
    }

    fn close(&self, file: FileIndex, opened: &File) -> Result<(), Fault> {
        self.check_unchanged(file, opened)
    }

    fn file_len(&self, file: FileIndex) -> u64 {
        self.layout.files()[file.0 as usize].len
    }

    fn handle_fault(&self, file: FileIndex, fault: Fault) -> bool {
        let path = self.path(file);
        let error = match fault {
            Fault::Io(source) => CreateError::Io { what: "read", path, source },
            Fault::Short | Fault::Changed => CreateError::Changed { path },
        };
        self.fault.lock().get_or_insert(error);
        false
    }
}

#[cfg(test)]
mod tests;

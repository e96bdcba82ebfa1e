//! The files of the catalogue by name: `NAME` for a torrent, `NAME/path` for a file inside a folder.

use std::collections::BTreeSet;
use std::sync::Arc;

use proto::MerkleHash;
use proto::metainfo::{File, Metainfo, PieceLayers};
use proto::tracker::json::parts_of;

use super::store::Store;
use super::{Catalogue, CatalogueError, Entry, Which};

/// A file that the catalogue knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// Its torrent.
    pub entry: Entry,
    /// Bytes in it.
    pub size: u64,
    /// Pieces of it: each file counts its own from its first byte.
    pub parts: u32,
}

/// Hashes of a file's pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PieceHashes {
    /// The v2 piece layer (BEP 52), or the file's root if it has one piece only.
    Known(Vec<MerkleHash>),
    /// The torrent is v1 only, or the name is that of a folder.
    None,
}

impl Entry {
    /// Pieces of a file of `size` bytes in this torrent, counted from the file's first byte. A file
    /// without bytes counts as one.
    #[must_use]
    pub fn parts_of(&self, size: u64) -> u32 {
        parts_of(size, self.piece_len)
    }
}

impl Catalogue {
    /// What is known of each name, in their order. One operation at most, however many there are; names that
    /// are sorted read each folder's torrent file once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn files(
        &self,
        names: Vec<String>,
    ) -> Result<Vec<Option<Arc<NamedFile>>>, CatalogueError> {
        let epoch = match self.recent.find(&names) {
            Ok(known) => return Ok(known),
            Err(epoch) => epoch,
        };
        let recent = Arc::clone(&self.recent);
        self.read(move |store| {
            let mut lookup = Lookup::new(store);
            let known = names.iter().map(|name| Ok(lookup.file(name)?.map(Arc::new)));
            let known = known.collect::<Result<Vec<_>, CatalogueError>>()?;
            recent.note(epoch, names, &known);
            Ok(known)
        })
        .await
    }

    /// The hashes of a file's pieces; `None` when the catalogue does not know the name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn piece_hashes(&self, name: String) -> Result<Option<PieceHashes>, CatalogueError> {
        self.read(move |store| Lookup::new(store).hashes(&name)).await
    }
}

/// Looks names up; a folder's torrent file is read once for all its files.
struct Lookup<'a> {
    store: &'a Store,
    /// The one used last stands last.
    folders: Vec<Arc<Folder>>,
    /// Names that the catalogue does not have.
    absent: BTreeSet<String>,
}

/// What of a torrent file is needed here.
struct Folder {
    /// The name that it was asked for by, a version's perhaps.
    asked: String,
    entry: Entry,
    /// The torrent is one file of the entry's name.
    is_file: bool,
    /// In the order of their paths.
    files: Vec<File>,
    layers: PieceLayers,
}

impl<'a> Lookup<'a> {
    const fn new(store: &'a Store) -> Self {
        Self { store, folders: Vec::new(), absent: BTreeSet::new() }
    }

    fn file(&mut self, name: &str) -> Result<Option<NamedFile>, CatalogueError> {
        if let Some(entry) = self.store.find(&Which::Name(name.to_owned()))? {
            let parts = entry.parts_of(entry.size);
            return Ok(Some(NamedFile { size: entry.size, parts, entry }));
        }
        let found = self.inside(name)?.map(|(folder, at)| {
            let size = folder.files[at].len;
            let parts = folder.entry.parts_of(size);
            NamedFile { size, parts, entry: folder.entry.clone() }
        });
        Ok(found)
    }

    fn hashes(&mut self, name: &str) -> Result<Option<PieceHashes>, CatalogueError> {
        let (folder, at) = match self.folder(name)? {
            Some(whole) if whole.is_file => (whole, 0),
            Some(_) => return Ok(Some(PieceHashes::None)),
            None => match self.inside(name)? {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        let Some(root) = folder.files[at].root else { return Ok(Some(PieceHashes::None)) };
        let layer = folder.layers.layer(&root);
        Ok(Some(PieceHashes::Known(layer.map_or_else(|| vec![root], |layer| layer.to_vec()))))
    }

    /// The folder's torrent that a name of the form `NAME/path` means, and the file in it.
    fn inside(&mut self, name: &str) -> Result<Option<(Arc<Folder>, usize)>, CatalogueError> {
        for (at, _) in name.match_indices('/').take(DEPTH_TRIED_MAX) {
            let Some(folder) = self.folder(&name[..at])?.filter(|folder| !folder.is_file) else {
                continue;
            };
            let path: Vec<&str> = name[at + 1..].split('/').collect();
            let order =
                |file: &File| file.path.iter().map(String::as_str).cmp(path.iter().copied());
            if let Ok(at) = folder.files.binary_search_by(order) {
                return Ok(Some((folder, at)));
            }
        }
        Ok(None)
    }

    fn folder(&mut self, name: &str) -> Result<Option<Arc<Folder>>, CatalogueError> {
        if let Some(at) = self.folders.iter().position(|folder| folder.asked == name) {
            let folder = self.folders.remove(at);
            self.folders.push(Arc::clone(&folder));
            return Ok(Some(folder));
        }
        if self.absent.contains(name) {
            return Ok(None);
        }
        let Some(found) = self.store.fetch(&Which::Name(name.to_owned()))? else {
            if self.absent.len() >= ABSENT_KEPT {
                self.absent.clear();
            }
            self.absent.insert(name.to_owned());
            return Ok(None);
        };
        let folder = Arc::new(Folder::new(name, found.entry, &found.metainfo)?);
        if self.folders.len() >= DEPTH_TRIED_MAX {
            self.folders.remove(0);
        }
        self.folders.push(Arc::clone(&folder));
        Ok(Some(folder))
    }
}

impl Folder {
    fn new(asked: &str, entry: Entry, metainfo: &[u8]) -> Result<Self, CatalogueError> {
        let Metainfo { info, layers, .. } = Metainfo::decode(metainfo)?;
        let mut files = info.files().to_vec();
        files.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        let asked = asked.to_owned();
        Ok(Self { asked, entry, is_file: info.is_single_file(), files, layers })
    }
}

/// Beginnings of a name that are looked up as that of a folder. As many torrent files are kept decoded
/// during one lookup: fewer, and names so deep would make it decode one after the other for each name.
/// Each may take some tens of megabytes, if it is as large as a torrent file may be.
const DEPTH_TRIED_MAX: usize = 8;
/// Names kept that the catalogue does not have: one megabyte at most.
const ABSENT_KEPT: usize = 4_096;

//! The files of the catalogue by name: `NAME` for a torrent, `NAME/path` for a file inside a folder.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::MerkleHash;
use proto::metainfo::{File, Metainfo};

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

impl Catalogue {
    /// What is known of each name, in their order. Blocks nobody, however many there are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn files(
        &self,
        names: Vec<String>,
    ) -> Result<Vec<Option<NamedFile>>, CatalogueError> {
        self.run(move |store| {
            let mut lookup = Lookup { store, folders: BTreeMap::new() };
            names.iter().map(|name| lookup.file(name)).collect()
        })
        .await
    }

    /// The hashes of a file's pieces; `None` when the catalogue does not know the name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn piece_hashes(&self, name: String) -> Result<Option<PieceHashes>, CatalogueError> {
        self.run(move |store| Lookup { store, folders: BTreeMap::new() }.hashes(&name)).await
    }
}

/// Looks names up; a folder's torrent file is read once for all its files.
struct Lookup<'a> {
    store: &'a Store,
    folders: BTreeMap<String, Option<Arc<Folder>>>,
}

struct Folder {
    entry: Entry,
    metainfo: Metainfo,
}

impl Lookup<'_> {
    fn file(&mut self, name: &str) -> Result<Option<NamedFile>, CatalogueError> {
        if let Some(entry) = self.store.find(&Which::Name(name.to_owned()))? {
            let parts = parts(entry.size, entry.piece_len);
            return Ok(Some(NamedFile { size: entry.size, parts, entry }));
        }
        let found = self.inside(name)?.map(|(folder, index)| {
            let file = &folder.metainfo.info.files()[index];
            let parts = parts(file.len, folder.entry.piece_len);
            NamedFile { size: file.len, parts, entry: folder.entry.clone() }
        });
        Ok(found)
    }

    fn hashes(&mut self, name: &str) -> Result<Option<PieceHashes>, CatalogueError> {
        let (folder, index) = match self.inside(name)? {
            Some(found) => found,
            None => match self.folder(name)? {
                Some(whole) if whole.metainfo.info.is_single_file() => (whole, 0),
                Some(_) => return Ok(Some(PieceHashes::None)),
                None => return Ok(None),
            },
        };
        let file = &folder.metainfo.info.files()[index];
        let Some(root) = file.root else { return Ok(Some(PieceHashes::None)) };
        let layer = folder.metainfo.layers.layer(&root);
        Ok(Some(PieceHashes::Known(layer.map_or_else(|| vec![root], |layer| layer.to_vec()))))
    }

    /// The folder's torrent that a name of the form `NAME/path` means, and the file in it.
    fn inside(&mut self, name: &str) -> Result<Option<(Arc<Folder>, usize)>, CatalogueError> {
        for (at, _) in name.match_indices('/').take(DEPTH_TRIED_MAX) {
            let Some(folder) = self.folder(&name[..at])? else { continue };
            let path: Vec<&str> = name[at + 1..].split('/').collect();
            let is_it = |file: &File| file.path.iter().map(String::as_str).eq(path.iter().copied());
            if let Some(index) = folder.metainfo.info.files().iter().position(is_it) {
                return Ok(Some((folder, index)));
            }
        }
        Ok(None)
    }

    fn folder(&mut self, name: &str) -> Result<Option<Arc<Folder>>, CatalogueError> {
        if let Some(known) = self.folders.get(name) {
            return Ok(known.clone());
        }
        let found = self.store.fetch(&Which::Name(name.to_owned()))?;
        let folder = match found {
            Some(found) => {
                let metainfo = Metainfo::decode(&found.metainfo)?;
                Some(Arc::new(Folder { entry: found.entry, metainfo }))
            }
            None => None,
        };
        if self.folders.len() >= FOLDERS_KEPT {
            self.folders.clear();
        }
        self.folders.insert(name.to_owned(), folder.clone());
        Ok(folder)
    }
}

fn parts(size: u64, piece_len: u32) -> u32 {
    u32::try_from(size.div_ceil(u64::from(piece_len.max(1))).max(1)).unwrap_or(u32::MAX)
}

/// Beginnings of a name that are looked up as that of a folder.
const DEPTH_TRIED_MAX: usize = 8;
/// Torrent files kept decoded during one lookup: each may take some tens of megabytes.
const FOLDERS_KEPT: usize = 4;

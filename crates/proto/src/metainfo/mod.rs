//! Torrent files: what the content is and how to check it (BEP 3, 12, 27, 47, 52).
//!
//! Decoding leaves no illegal value: every path is safe to join to a folder, sizes add up, v1 and v2
//! of a hybrid describe the same bytes, and piece layers fold to their roots. The info hash is taken
//! over the bytes as they came, never over a re-encoding.

mod create;
mod decode;
mod encode;
mod error;
mod layout;
pub mod limits;
mod name;
mod open;
mod v1;
mod v2;
mod web_seed;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use create::{ContentHashes, Details, FileHashes};
pub use error::MetainfoError;
pub use layout::{Format, Layout, NewFile, Shape, piece_len_for};
pub use name::check_name;
pub(crate) use name::without_controls;
pub use open::OpenHash;
pub use web_seed::is_web_seed;

use crate::{FileIndex, Geometry, InfoHashes, MerkleHash, PieceHash, PieceIndex};

/// A torrent file: the info dictionary and what stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metainfo {
    /// What the info hash covers.
    pub info: Info,
    /// v2: the piece layer of each file longer than a piece. Complete and checked when it came from a
    /// torrent file; empty when only the info dictionary is known (magnet links).
    pub layers: PieceLayers,
    /// Tracker URLs in tiers (BEP 12); `announce` alone makes one tier of one.
    pub trackers: Vec<Vec<String>>,
    /// Web seeds (BEP 19): http and https URLs where the content lies, at most
    /// [`limits::WEB_SEED_COUNT_MAX`].
    pub web_seeds: Vec<String>,
    /// Free text.
    pub comment: Option<String>,
    /// The program that made the file.
    pub created_by: Option<String>,
    /// When it was made, in seconds since 1970.
    pub creation_date: Option<i64>,
}

/// The info dictionary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    pub(crate) raw: Arc<[u8]>,
    pub(crate) hashes: InfoHashes,
    pub(crate) name: String,
    pub(crate) single_file: bool,
    pub(crate) private: bool,
    pub(crate) piece_len: u32,
    /// End of the piece space, pads included.
    pub(crate) end: u64,
    /// Shared by clones, of which a torrent of 100,000 files has several.
    pub(crate) files: Arc<[File]>,
    /// Where each file stands in the list of its kind, pads counted; empty when there is none.
    pub(crate) link_numbers: Arc<[u32]>,
    pub(crate) v1_pieces: Option<Arc<[PieceHash]>>,
}

/// One file of a torrent. Pad files are not listed: they are gaps between the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Path components below the torrent's folder; for a single file, its name alone. Each is safe:
    /// not empty, no separator, no `..`, no NUL, no reserved name.
    pub path: Vec<String>,
    /// Length in bytes; 0 for symbolic links.
    pub len: u64,
    /// Where it starts in the piece space.
    pub offset: u64,
    /// May be run (BEP 47 `x`).
    pub executable: bool,
    /// Not shown by default (BEP 47 `h`).
    pub hidden: bool,
    /// The target of a symbolic link (BEP 47 `l`), as components below the torrent's folder.
    pub symlink: Option<Vec<String>>,
    /// v2: root of the file's merkle tree; `None` for empty files, links and v1.
    pub root: Option<MerkleHash>,
}

/// What a piece must hash to. At least one of the two is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// SHA-1 of the whole piece, pads as zeros.
    pub v1: Option<PieceHash>,
    /// The piece's node in its file's merkle tree.
    pub v2: Option<ExpectedV2>,
}

/// The v2 half of [`Expected`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedV2 {
    /// The node that covers the piece: an entry of the piece layer, or the file's root when the file
    /// is no longer than a piece.
    pub hash: MerkleHash,
    /// Bytes of the file in this piece; leaves cover these only, never pad.
    pub data_len: u32,
    /// Leaves under the node, missing ones (32 zero bytes) counted: a power of two.
    pub leaf_count: u32,
}

/// v2 piece layers by their file's root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PieceLayers(pub(crate) BTreeMap<MerkleHash, Arc<[MerkleHash]>>);

impl PieceLayers {
    /// The layer of the file with that root.
    #[must_use]
    pub fn layer(&self, root: &MerkleHash) -> Option<&Arc<[MerkleHash]>> {
        self.0.get(root)
    }

    /// Every layer, by root.
    pub fn iter(&self) -> impl Iterator<Item = (&MerkleHash, &Arc<[MerkleHash]>)> {
        self.0.iter()
    }

    /// Adds a layer that is known to fold to `root`.
    pub fn insert_verified(&mut self, root: MerkleHash, layer: Arc<[MerkleHash]>) {
        self.0.insert(root, layer);
    }
}

impl Info {
    /// The bytes that the info hash covers, as `ut_metadata` sends them (BEP 9).
    #[must_use]
    pub const fn raw(&self) -> &Arc<[u8]> {
        &self.raw
    }

    /// The info hashes.
    #[must_use]
    pub const fn hashes(&self) -> InfoHashes {
        self.hashes
    }

    /// The suggested name of the file or folder: one safe path component.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The torrent is one file rather than a folder.
    #[must_use]
    pub const fn is_single_file(&self) -> bool {
        self.single_file
    }

    /// Peers come from the trackers only (BEP 27).
    #[must_use]
    pub const fn is_private(&self) -> bool {
        self.private
    }

    /// Nominal bytes in a piece.
    #[must_use]
    pub const fn piece_len(&self) -> u32 {
        self.piece_len
    }

    /// The files, in the order of the piece space.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The number by which a magnet link means a file (BEP 53): its place in the torrent's list of files
    /// from 0, where pad files count as they do in other clients.
    #[must_use]
    pub fn link_number(&self, file: FileIndex) -> u32 {
        self.link_numbers.get(file.0 as usize).copied().unwrap_or(file.0)
    }

    /// SHA-1 of each piece (v1 and hybrid).
    #[must_use]
    pub fn v1_pieces(&self) -> Option<&[PieceHash]> {
        self.v1_pieces.as_deref()
    }

    /// Bytes of all files together, pads not counted.
    #[must_use]
    pub fn content_len(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }

    /// Where a file goes, as components below the folder that the user chose: the torrent's name
    /// first, then, inside a folder, the file's own path.
    pub fn target_path<'a>(&'a self, file: &'a File) -> impl Iterator<Item = &'a str> {
        let inside = if self.single_file { &[] } else { file.path.as_slice() };
        std::iter::once(self.name.as_str()).chain(inside.iter().map(String::as_str))
    }

    /// How the content is cut into pieces.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        let files = self.files.iter().enumerate();
        let file_aligned = self.hashes.v1().is_none();
        let extents = files.map(|(index, file)| (FileIndex(index as u32), file.offset, file.len));
        Geometry::new(self.piece_len, self.end, file_aligned, extents)
    }

    /// What `piece` must hash to; `None` while the layer that tells is not known, or when there is no
    /// such piece.
    #[must_use]
    pub fn expected(&self, piece: PieceIndex, layers: &PieceLayers) -> Option<Expected> {
        let v1 = match &self.v1_pieces {
            Some(hashes) => Some(*hashes.get(piece.as_usize())?),
            None => None,
        };
        let v2 = match self.hashes.v2() {
            Some(_) => Some(self.expected_v2(piece, layers)?),
            None => None,
        };
        Some(Expected { v1, v2 })
    }

    fn expected_v2(&self, piece: PieceIndex, layers: &PieceLayers) -> Option<ExpectedV2> {
        let piece_len = u64::from(self.piece_len);
        let start = u64::from(piece.0) * piece_len;
        // Files without bytes share their offset with the next one, so look for one that ends later.
        let file =
            &self.files[self.files.partition_point(|file| file.offset + file.len <= start)..];
        let file = file.first().filter(|file| file.offset <= start)?;
        let root = file.root?;
        let data_len = (file.offset + file.len - start).min(piece_len) as u32;
        let (hash, leaf_count) = if file.len <= piece_len {
            (root, data_len.div_ceil(crate::BLOCK_LEN).next_power_of_two())
        } else {
            let number = ((start - file.offset) / piece_len) as usize;
            (*layers.layer(&root)?.get(number)?, self.piece_len / crate::BLOCK_LEN)
        };
        Some(ExpectedV2 { hash, data_len, leaf_count })
    }
}

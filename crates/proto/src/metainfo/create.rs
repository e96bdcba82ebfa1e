//! From hashed content to a new torrent.

use std::sync::Arc;

use super::layout::{Layout, Shape};
use super::{File, Info, Metainfo, MetainfoError, PieceLayers};
use crate::bencode::{DictEncoder, ListEncoder};
use crate::{MerkleHash, PieceHash, merkle};

/// What hashing the content gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContentHashes {
    /// v1 and hybrid: SHA-1 of each piece of [`Layout::geometry`], gaps as zeros.
    pub v1_pieces: Vec<PieceHash>,
    /// v2 and hybrid: one entry a file, in the order of [`Layout::files`]; `None` for empty files and
    /// links.
    pub files: Vec<Option<FileHashes>>,
}

/// The v2 hashes of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHashes {
    /// The root of its tree.
    pub root: MerkleHash,
    /// What each of its pieces hashes to; empty when the file is no longer than a piece.
    pub layer: Arc<[MerkleHash]>,
}

/// What a torrent says beside its content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// Peers come from the trackers only (BEP 27). Part of the info hash.
    pub private: bool,
    /// Tracker URLs in tiers (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// Free text.
    pub comment: Option<String>,
    /// The program that makes the file.
    pub created_by: Option<String>,
    /// Now, in seconds since 1970.
    pub creation_date: Option<i64>,
}

impl Layout {
    /// Makes the torrent. What comes out has passed the same checks as one from outside.
    pub fn build(
        mut self,
        hashes: ContentHashes,
        details: Details,
    ) -> Result<Metainfo, MetainfoError> {
        let mut layers = PieceLayers::default();
        if self.format.has_v2() {
            if hashes.files.len() != self.files.len() {
                return Err(MetainfoError::invalid("file tree", "has not one entry for each file"));
            }
            for (index, hashes) in hashes.files.into_iter().enumerate() {
                self.add_file_hashes(index, hashes, &mut layers)?;
            }
        }
        let info = Info::decode(&self.encode_info(&hashes.v1_pieces, details.private))?;
        Ok(Metainfo {
            info,
            layers,
            trackers: details.trackers,
            web_seeds: Vec::new(),
            comment: details.comment,
            created_by: details.created_by,
            creation_date: details.creation_date,
        })
    }

    fn add_file_hashes(
        &mut self,
        index: usize,
        hashes: Option<FileHashes>,
        layers: &mut PieceLayers,
    ) -> Result<(), MetainfoError> {
        let piece_len = self.piece_len;
        let file = &mut self.files[index];
        let Some(FileHashes { root, layer }) = hashes.filter(|_| file.len > 0) else {
            return Ok(());
        };
        file.root = Some(root);
        if file.len <= u64::from(piece_len) {
            return Ok(());
        }
        if !merkle::verify_layer(&root, file.len, piece_len, &layer) {
            let reason = "has a piece layer that does not fold to its root";
            return Err(MetainfoError::file(&file.path, reason));
        }
        layers.insert_verified(root, layer);
        Ok(())
    }

    fn encode_info(&self, v1_pieces: &[PieceHash], private: bool) -> Vec<u8> {
        let mut info = DictEncoder::new();
        info.bytes(b"name", self.name.as_bytes());
        info.int(b"piece length", i64::from(self.piece_len));
        if private {
            info.int(b"private", 1);
        }
        if self.format.has_v1() {
            let pieces: Vec<u8> = v1_pieces.iter().flat_map(|hash| hash.0).collect();
            info.bytes(b"pieces", &pieces);
            match self.shape {
                Shape::Folder => {
                    info.list(b"files", self.encode_files());
                }
                Shape::File => encode_v1_file(&mut info, &self.files[0]),
            }
        }
        if self.format.has_v2() {
            info.int(b"meta version", 2);
            info.raw(b"file tree", encode_tree(&self.files));
        }
        info.finish()
    }

    fn encode_files(&self) -> ListEncoder {
        let mut list = ListEncoder::new();
        for file in &self.files {
            let mut entry = DictEncoder::new();
            encode_v1_file(&mut entry, file);
            entry.list(b"path", encode_path(&file.path));
            list.raw(&entry.finish());
            let pad = self.pad_behind(file);
            if pad > 0 {
                let mut entry = DictEncoder::new();
                entry.bytes(b"attr", b"p").int(b"length", pad as i64);
                entry.list(b"path", encode_path(&[".pad".to_owned(), pad.to_string()]));
                list.raw(&entry.finish());
            }
        }
        list
    }
}

fn encode_v1_file(entry: &mut DictEncoder, file: &File) {
    entry.int(b"length", file.len as i64);
    encode_attributes(entry, file);
}

fn encode_attributes(entry: &mut DictEncoder, file: &File) {
    let mut attr = Vec::new();
    if file.hidden {
        attr.push(b'h');
    }
    if file.executable {
        attr.push(b'x');
    }
    if let Some(target) = &file.symlink {
        attr.push(b'l');
        entry.list(b"symlink path", encode_path(target));
    }
    if !attr.is_empty() {
        entry.bytes(b"attr", &attr);
    }
}

fn encode_path(path: &[String]) -> ListEncoder {
    let mut list = ListEncoder::new();
    for name in path {
        list.bytes(name.as_bytes());
    }
    list
}

/// The `file tree` of files in tree order. Folders are open from their first file to their last.
fn encode_tree(files: &[File]) -> Vec<u8> {
    let mut open: Vec<(&[u8], DictEncoder)> = vec![(b"", DictEncoder::new())];
    for file in files {
        let Some((name, folders)) = file.path.split_last() else { continue };
        let same = open[1..].iter().zip(folders).take_while(|(dir, name)| dir.0 == name.as_bytes());
        let shared = same.count();
        while open.len() > shared + 1 {
            close_innermost(&mut open);
        }
        for folder in &folders[shared..] {
            open.push((folder.as_bytes(), DictEncoder::new()));
        }
        let mut properties = DictEncoder::new();
        encode_attributes(&mut properties, file);
        if file.symlink.is_none() {
            properties.int(b"length", file.len as i64);
        }
        if let Some(root) = &file.root {
            properties.bytes(b"pieces root", &root.0);
        }
        let mut entry = DictEncoder::new();
        entry.dict(b"", &properties);
        if let Some((_, innermost)) = open.last_mut() {
            innermost.dict(name.as_bytes(), &entry);
        }
    }
    while open.len() > 1 {
        close_innermost(&mut open);
    }
    open[0].1.finish()
}

fn close_innermost(open: &mut Vec<(&[u8], DictEncoder)>) {
    if let Some((name, folder)) = open.pop()
        && let Some((_, parent)) = open.last_mut()
    {
        parent.dict(name, &folder);
    }
}

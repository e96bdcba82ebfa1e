//! Content to share, and the torrent of it, hashed the plain way.

use std::path::Path;

use proto::metainfo::{
    ContentHashes, Details, FileHashes, Format, Layout, Metainfo, NewFile, Shape,
};
use proto::{PieceHash, PieceIndex, merkle};

/// Bytes that no compression or zero page resembles, the same for the same seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// Writes the files into `folder`/`name` and makes their torrent.
pub(crate) fn folder(
    folder: &Path,
    name: &str,
    files: &[(&str, Vec<u8>)],
    piece_len: u32,
    format: Format,
) -> Metainfo {
    for (path, bytes) in files {
        let path = folder.join(name).join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let new = files.iter().map(|(path, bytes)| NewFile {
        path: path.split('/').map(str::to_owned).collect(),
        len: bytes.len() as u64,
        ..NewFile::default()
    });
    let layout = Layout::plan(name, Shape::Folder, new.collect(), piece_len, format).unwrap();
    let bytes_of = |path: &[String]| {
        let path = path.join("/");
        &files.iter().find(|(name, _)| *name == path).unwrap().1
    };
    let geometry = layout.geometry();
    let mut hashes = ContentHashes::default();
    for piece in (0..geometry.piece_count()).map(PieceIndex) {
        let mut bytes = vec![0; geometry.piece_len(piece) as usize];
        for span in geometry.spans(geometry.whole(piece)) {
            let file = bytes_of(&layout.files()[span.file.0 as usize].path);
            let (from, to) = (span.file_offset as usize, span.begin as usize);
            let len = span.len as usize;
            bytes[to..to + len].copy_from_slice(&file[from..from + len]);
        }
        if format.has_v1() {
            hashes.v1_pieces.push(PieceHash(digest::sha1(&bytes)));
        }
    }
    for file in layout.files().iter().filter(|_| format.has_v2()) {
        hashes.files.push(layout.tree(file).map(|shape| {
            let bytes = bytes_of(&file.path);
            let width = u64::from(piece_len / proto::BLOCK_LEN);
            let pieces = bytes.chunks(piece_len as usize);
            let layer: Vec<_> =
                pieces.map(|piece| merkle::root(&merkle::leaves(piece), width)).collect();
            let root = merkle::root(&merkle::leaves(bytes), shape.width(0));
            FileHashes { root, layer: if shape.has_layer() { layer.into() } else { [].into() } }
        }));
    }
    layout.build(hashes, Details::default()).unwrap()
}

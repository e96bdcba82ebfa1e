//! Real torrents over small made-up content.

use proto::merkle::{self, TreeShape};
use proto::metainfo::{
    ContentHashes, Details, FileHashes, Format, Layout, Metainfo, NewFile, Shape,
};
use proto::{BLOCK_LEN, Block, Geometry, PieceHash, PieceIndex};

use chance::Chance;

/// What a torrent is made of.
#[derive(Debug, Clone)]
pub struct ContentSpec {
    /// v1, v2 or both.
    pub format: Format,
    /// Nominal bytes in a piece.
    pub piece_len: u32,
    /// Length of each file; one file makes a single-file torrent.
    pub files: Vec<u64>,
}

/// A torrent and the bytes that it is about.
#[derive(Debug)]
pub struct Content {
    pub(crate) metainfo: Metainfo,
    pub(crate) geometry: Geometry,
    /// The whole piece space, pads as zeros.
    space: Vec<u8>,
}

impl Content {
    /// Draws bytes from `seed` and makes the torrent.
    ///
    /// # Panics
    /// If the specification describes no valid torrent.
    #[must_use]
    pub fn new(seed: u64, spec: &ContentSpec) -> Self {
        let shape = if spec.files.len() == 1 { Shape::File } else { Shape::Folder };
        let files = spec.files.iter().enumerate().map(|(number, len)| NewFile {
            path: vec![format!("{number:03}")],
            len: *len,
            ..NewFile::default()
        });
        let layout = Layout::plan("content", shape, files.collect(), spec.piece_len, spec.format)
            .expect("a scenario's content has a valid layout");
        let geometry = layout.geometry();
        let space = draw(seed, &geometry);
        let hashes = hash(&layout, &geometry, &space);
        let metainfo = layout.build(hashes, Details::default()).expect("what was hashed fits");
        Self { metainfo, geometry, space }
    }

    /// Bytes of real files.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.geometry.content_len()
    }

    /// There is nothing to fetch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The true bytes of a run.
    pub(crate) fn read(&self, run: Block) -> &[u8] {
        let start = self.geometry.piece_range(run.piece).start as usize + run.begin as usize;
        &self.space[start..start + run.len as usize]
    }
}

fn draw(seed: u64, geometry: &Geometry) -> Vec<u8> {
    let mut chance = Chance::new(seed ^ 0xc0ff_ee00);
    let count = geometry.piece_count();
    let mut space = Vec::new();
    for piece in (0..count).map(PieceIndex) {
        let range = geometry.piece_range(piece);
        space.resize(range.end as usize, 0);
        for span in geometry.spans(geometry.whole(piece)) {
            let start = range.start as usize + span.begin as usize;
            chance.fill(&mut space[start..start + span.len as usize]);
        }
    }
    space
}

fn hash(layout: &Layout, geometry: &Geometry, space: &[u8]) -> ContentHashes {
    let format = layout.format();
    let pieces = (0..geometry.piece_count()).map(PieceIndex).filter(|_| format.has_v1());
    let v1_pieces = pieces.map(|piece| {
        let range = geometry.piece_range(piece);
        PieceHash(digest::sha1(&space[range.start as usize..range.end as usize]))
    });
    let files = layout.files().iter().map(|file| {
        let shape = layout.tree(file)?;
        let data = &space[file.offset as usize..(file.offset + file.len) as usize];
        Some(hash_file(&shape, data, layout.piece_len()))
    });
    ContentHashes {
        v1_pieces: v1_pieces.collect(),
        files: if format.has_v2() { files.collect() } else { Vec::new() },
    }
}

fn hash_file(shape: &TreeShape, data: &[u8], piece_len: u32) -> FileHashes {
    let leaves = merkle::leaves(data);
    let per_piece = (piece_len / BLOCK_LEN) as usize;
    if !shape.has_layer() {
        let root = merkle::file_root(shape, &leaves).expect("a leaf for each block");
        return FileHashes { root, layer: [].into() };
    }
    let layer: Vec<_> =
        leaves.chunks(per_piece).map(|leaves| merkle::root(leaves, per_piece as u64)).collect();
    let root = merkle::file_root(shape, &layer).expect("a node for each piece");
    FileHashes { root, layer: layer.into() }
}

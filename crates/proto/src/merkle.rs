//! The merkle trees of v2 torrents (BEP 52).
//!
//! A leaf is the SHA-256 of one 16 KiB block of a file, the last block at its real length. Leaves that
//! the file does not have are 32 zero bytes, up to a power of two. A node is the SHA-256 of its two
//! children. Layers are counted from the leaves: a node of layer `n` covers `2^n` leaves.

mod proof;
mod shape;

#[cfg(test)]
mod tests;

pub use proof::{Proved, Tree, prove, uncle_count, verify_hashes};
pub use shape::TreeShape;

use crate::{BLOCK_LEN, MerkleHash};

/// A leaf that the file does not have.
pub const MISSING: MerkleHash = MerkleHash([0; 32]);

/// Hash of one block: a leaf.
#[must_use]
pub fn leaf(block: &[u8]) -> MerkleHash {
    MerkleHash(digest::sha256(block))
}

/// Leaves of a whole file or piece, in order.
#[must_use]
pub fn leaves(data: &[u8]) -> Vec<MerkleHash> {
    let blocks: Vec<&[u8]> = data.chunks(BLOCK_LEN as usize).collect();
    let mut hashes = vec![[0; 32]; blocks.len()];
    digest::sha256_many(&blocks, &mut hashes);
    hashes.into_iter().map(MerkleHash).collect()
}

/// The node above two.
#[must_use]
pub fn parent(left: &MerkleHash, right: &MerkleHash) -> MerkleHash {
    let mut out = [[0; 32]];
    digest::sha256_pairs(&[left.0, right.0], &mut out);
    MerkleHash(out[0])
}

/// The node of `layer` with nothing but missing leaves below.
#[must_use]
pub fn pad_hash(layer: u32) -> MerkleHash {
    (0..layer).fold(MISSING, |below, _| parent(&below, &below))
}

/// The root over `nodes` of layer `base`, filled up on the right with [`pad_hash`] to `width` nodes.
///
/// # Panics
/// If `width` is no power of two or there are more nodes.
#[must_use]
pub fn root_above(nodes: &[MerkleHash], base: u32, width: u64) -> MerkleHash {
    assert!(width.is_power_of_two() && nodes.len() as u64 <= width, "no such tree");
    if nodes.is_empty() {
        return pad_hash(base + width.ilog2());
    }
    let mut pad = pad_hash(base);
    let mut layer: Vec<[u8; 32]> = nodes.iter().map(|node| node.0).collect();
    for _ in 0..width.ilog2() {
        layer = fold(layer, &pad);
        pad = parent(&pad, &pad);
    }
    MerkleHash(layer[0])
}

/// The root over `leaves`, filled up with missing ones to `width`.
///
/// # Panics
/// If `width` is no power of two or there are more leaves.
#[must_use]
pub fn root(leaves: &[MerkleHash], width: u64) -> MerkleHash {
    root_above(leaves, 0, width)
}

/// The root of a file, from its piece layer or, where a file is no longer than a piece, its leaves.
/// `None` for an empty file, or when there are too few or too many hashes.
#[must_use]
pub fn file_root(shape: &TreeShape, hashes: &[MerkleHash]) -> Option<MerkleHash> {
    let base = if shape.has_layer() { shape.piece_layer() } else { 0 };
    let fits = hashes.len() as u64 == shape.len(base);
    fits.then(|| root_above(hashes, base, shape.width(base)))
}

/// The layer above; `pad` stands in for a missing last node.
fn fold(mut nodes: Vec<[u8; 32]>, pad: &MerkleHash) -> Vec<[u8; 32]> {
    if !nodes.len().is_multiple_of(2) {
        nodes.push(pad.0);
    }
    let mut above = vec![[0; 32]; nodes.len() / 2];
    digest::sha256_pairs(&nodes, &mut above);
    above
}

/// Nodes in a file's piece layer: its pieces.
#[must_use]
pub const fn layer_len(file_len: u64, piece_len: u32) -> u64 {
    file_len.div_ceil(piece_len as u64)
}

/// Whether `layer` is the piece layer of a file of that length with that root. A file no longer than
/// a piece has no layer, so for one the answer is no; so it is for a `piece_len` that BEP 52 forbids.
#[must_use]
pub fn verify_layer(
    root: &MerkleHash,
    file_len: u64,
    piece_len: u32,
    layer: &[MerkleHash],
) -> bool {
    TreeShape::new(file_len, piece_len).is_some_and(|shape| {
        shape.has_layer() && !layer.contains(&MISSING) && file_root(&shape, layer) == Some(*root)
    })
}

//! The merkle trees of v2 torrents (BEP 52).
//!
//! A leaf is the SHA-256 of one 16 KiB block of a file, the last block at its real length. Leaves that
//! the file does not have are 32 zero bytes, up to a power of two. A node is the SHA-256 of its two
//! children. Layers are counted from the leaves: layer `n` has one node for every `2^n` leaves.

use crate::{BLOCK_LEN, MerkleHash};

/// A leaf that the file does not have.
pub const MISSING: MerkleHash = MerkleHash([0; 32]);

/// Most layers that a tree can have: a file of 2^53 bytes has 2^39 leaves.
pub const LAYERS_MAX: u32 = 40;

/// Hash of one block: a leaf.
#[must_use]
pub fn leaf(block: &[u8]) -> MerkleHash {
    MerkleHash(digest::sha256(block))
}

/// Leaves of a whole file or piece, in order.
#[must_use]
pub fn leaves(data: &[u8]) -> Vec<MerkleHash> {
    data.chunks(BLOCK_LEN as usize).map(leaf).collect()
}

/// The node above two.
#[must_use]
pub fn parent(left: &MerkleHash, right: &MerkleHash) -> MerkleHash {
    let mut pair = [0; 64];
    pair[..32].copy_from_slice(&left.0);
    pair[32..].copy_from_slice(&right.0);
    MerkleHash(digest::sha256(&pair))
}

/// The node of `layer` with nothing but missing leaves below.
#[must_use]
pub fn pad_hash(layer: u32) -> MerkleHash {
    (0..layer).fold(MISSING, |below, _| parent(&below, &below))
}

/// The root over `nodes` of layer `base`, filled up on the right to `width` nodes.
///
/// # Panics
/// If `width` is no power of two or there are more nodes.
#[must_use]
pub fn root_above(nodes: &[MerkleHash], base: u32, width: u64) -> MerkleHash {
    assert!(width.is_power_of_two() && nodes.len() as u64 <= width, "no such tree");
    let mut pad = pad_hash(base);
    let Some((first, _)) = nodes.split_first() else {
        return pad_hash(base + width.ilog2());
    };
    if width == 1 {
        return *first;
    }
    let mut layer = fold(nodes, &pad);
    for _ in 1..width.ilog2() {
        pad = parent(&pad, &pad);
        layer = fold(&layer, &pad);
    }
    layer[0]
}

/// The root over `leaves`, filled up with missing ones to `width`.
///
/// # Panics
/// If `width` is no power of two or there are more leaves.
#[must_use]
pub fn root(leaves: &[MerkleHash], width: u64) -> MerkleHash {
    root_above(leaves, 0, width)
}

/// The layer above `nodes`; `pad` stands in for a missing last one.
fn fold(nodes: &[MerkleHash], pad: &MerkleHash) -> Vec<MerkleHash> {
    nodes.chunks(2).map(|pair| parent(&pair[0], pair.get(1).unwrap_or(pad))).collect()
}

/// Nodes in a file's piece layer: its pieces.
#[must_use]
pub const fn layer_len(file_len: u64, piece_len: u32) -> u64 {
    file_len.div_ceil(piece_len as u64)
}

/// Whether `layer` is the piece layer of a file of that length with that root. Pieces have a power of
/// two of blocks; a file no longer than a piece has no layer, so for one the answer is no.
#[must_use]
pub fn verify_layer(
    root: &MerkleHash,
    file_len: u64,
    piece_len: u32,
    layer: &[MerkleHash],
) -> bool {
    let count = layer_len(file_len, piece_len);
    count > 1
        && layer.len() as u64 == count
        && !layer.contains(&MISSING)
        && root_above(layer, piece_layer(piece_len), count.next_power_of_two()) == *root
}

/// The layer whose nodes cover one piece each. `piece_len` is a power of two of at least a block.
#[must_use]
pub const fn piece_layer(piece_len: u32) -> u32 {
    (piece_len / BLOCK_LEN).ilog2()
}

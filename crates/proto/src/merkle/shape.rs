//! How large a file's tree is, and which hashes to ask for.

use crate::peer::HashRange;
use crate::peer::message::HASH_REQUEST_LEN_MAX;
use crate::{BLOCK_LEN, MerkleHash};

/// The measures of one file's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeShape {
    blocks: u64,
    pieces: u64,
    /// Layer whose nodes cover a piece each, were there that many leaves.
    nominal_piece_layer: u32,
}

impl TreeShape {
    /// The tree of a file of that length; `None` for an empty file, which has none, for a piece length
    /// that is no power of two of at least 16 KiB, and for a file of 2^56 bytes and more.
    #[must_use]
    pub const fn new(file_len: u64, piece_len: u32) -> Option<Self> {
        if file_len == 0 || file_len >> 56 != 0 {
            return None;
        }
        if piece_len < BLOCK_LEN || !piece_len.is_power_of_two() {
            return None;
        }
        Some(Self {
            blocks: file_len.div_ceil(BLOCK_LEN as u64),
            pieces: file_len.div_ceil(piece_len as u64),
            nominal_piece_layer: (piece_len / BLOCK_LEN).ilog2(),
        })
    }

    /// The layer of the root: layers below it. 0 for a file of one block, whose leaf is the root.
    #[must_use]
    pub const fn root_layer(&self) -> u32 {
        self.blocks.next_power_of_two().ilog2()
    }

    /// The layer whose nodes are what pieces hash to: the root's for a file of one piece.
    #[must_use]
    pub const fn piece_layer(&self) -> u32 {
        if self.has_layer() { self.nominal_piece_layer } else { self.root_layer() }
    }

    /// The file is longer than a piece, so torrent files carry its piece layer.
    #[must_use]
    pub const fn has_layer(&self) -> bool {
        self.pieces > 1
    }

    /// Pieces of the file.
    #[must_use]
    pub const fn pieces(&self) -> u64 {
        self.pieces
    }

    /// Nodes of a layer with at least one block below them.
    #[must_use]
    pub const fn len(&self, layer: u32) -> u64 {
        if layer >= 64 { 1 } else { self.blocks.div_ceil(1 << layer) }
    }

    /// Never: a tree has a root. Here because [`TreeShape::len`] is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// All nodes of a layer, padding counted: a power of two.
    #[must_use]
    pub const fn width(&self, layer: u32) -> u64 {
        1 << self.root_layer().saturating_sub(layer)
    }

    /// Proof layers to ask for above `base` so that the answer reaches the root.
    #[must_use]
    pub const fn full_proof(&self, base: u32) -> u32 {
        self.root_layer().saturating_sub(base + 1)
    }

    /// Whether the request asks for what this tree has (BEP 52): valid in itself, below the root, not
    /// past the padded end, proofs not above the layer under the root.
    #[must_use]
    pub const fn accepts(&self, range: &HashRange) -> bool {
        range.is_valid()
            && range.base < self.root_layer()
            && range.index as u64 + range.length as u64 <= self.width(range.base)
            && range.proof_layers <= self.full_proof(range.base)
    }

    /// The pieces of the file, by number, whose leaves are needed to answer; empty when the piece layer
    /// is enough. Pieces that lie in the padding are left out.
    #[must_use]
    pub fn pieces_below(&self, range: &HashRange) -> std::ops::Range<u64> {
        let height = self.piece_layer();
        if range.base >= height {
            return 0..0;
        }
        let shift = height - range.base;
        let first = u64::from(range.index) >> shift;
        let end = (u64::from(range.index) + u64::from(range.length)).div_ceil(1 << shift);
        first.min(self.pieces)..end.min(self.pieces)
    }

    /// Requests for the whole piece layer, each proved up to the root. None for a file of one piece.
    pub fn layer_requests(&self, root: MerkleHash) -> impl Iterator<Item = HashRange> + use<> {
        let base = self.piece_layer();
        let width = if self.has_layer() { self.width(base) } else { 0 };
        let length = width.clamp(2, u64::from(HASH_REQUEST_LEN_MAX)) as u32;
        let proof_layers = self.full_proof(base);
        let count = if self.has_layer() { self.len(base).div_ceil(u64::from(length)) } else { 0 };
        (0..count as u32).map(move |number| HashRange {
            root,
            base,
            index: number * length,
            length,
            proof_layers,
        })
    }

    /// Requests for the leaves of one piece of the file, each proved up to the piece's own node. None
    /// when the piece is one block: its node is the leaf.
    pub fn leaf_requests(
        &self,
        root: MerkleHash,
        piece: u32,
    ) -> impl Iterator<Item = HashRange> + use<> {
        let height = self.piece_layer();
        let leaves = 1_u32 << height;
        let length = leaves.clamp(2, HASH_REQUEST_LEN_MAX);
        let start = u64::from(piece) * u64::from(leaves);
        let here = self.blocks.saturating_sub(start).min(u64::from(leaves)) as u32;
        let count = if height == 0 { 0 } else { here.div_ceil(length) };
        let proof_layers = height.saturating_sub(1);
        (0..count).filter_map(move |number| {
            let index = u32::try_from(start).ok()?.checked_add(number * length)?;
            Some(HashRange { root, base: 0, index, length, proof_layers })
        })
    }
}

//! Answering hash requests, and checking the answers.
//!
//! An answer is `length` hashes of the base layer, then uncles: for each proof layer the sibling of
//! the node above the hashes. The first `log2(length) - 1` proof layers are counted but not sent: they
//! follow from the hashes.

use std::sync::Arc;

use super::{TreeShape, fold, pad_hash, parent, root_above};
use crate::MerkleHash;
use crate::peer::HashRange;

/// Uncles in an answer. The request must be valid in itself.
#[must_use]
pub const fn uncle_count(range: &HashRange) -> u32 {
    range.proof_layers.saturating_sub(range.length.ilog2().saturating_sub(1))
}

/// A node that an answer's hashes and uncles fold to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proved {
    /// Its layer.
    pub layer: u32,
    /// Its place in the layer.
    pub index: u64,
    /// What it must be, if the answer is true.
    pub hash: MerkleHash,
}

/// Folds an answer; compare the outcome with a node that is known. `None` when the tree has no such
/// range or the answer has not the right number of hashes.
#[must_use]
pub fn prove(shape: &TreeShape, range: &HashRange, hashes: &[MerkleHash]) -> Option<Proved> {
    if !shape.accepts(range) {
        return None;
    }
    let (nodes, uncles) = hashes.split_at_checked(range.length as usize)?;
    if uncles.len() != uncle_count(range) as usize {
        return None;
    }
    let layer = range.base + range.length.ilog2();
    let index = u64::from(range.index) >> range.length.ilog2();
    let hash = root_above(nodes, range.base, u64::from(range.length));
    let proved = uncles.iter().fold(Proved { layer, index, hash }, |below, uncle| {
        let hash = if below.index.is_multiple_of(2) {
            parent(&below.hash, uncle)
        } else {
            parent(uncle, &below.hash)
        };
        Proved { layer: below.layer + 1, index: below.index / 2, hash }
    });
    Some(proved)
}

/// Whether an answer is true, its proof reaching up to the root that the request names.
#[must_use]
pub fn verify_hashes(shape: &TreeShape, range: &HashRange, hashes: &[MerkleHash]) -> bool {
    prove(shape, range, hashes)
        .is_some_and(|proved| proved.layer == shape.root_layer() && proved.hash == range.root)
}

/// A file's tree from the piece layer up, kept so that proofs cost no hashing. Takes 32 bytes a piece
/// beside the layer itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    shape: TreeShape,
    /// The piece layer; the root alone for a file of one piece.
    layer: Arc<[MerkleHash]>,
    /// The layers above it, the root last.
    above: Vec<Vec<[u8; 32]>>,
}

impl Tree {
    /// The tree of a file with that root. `layer` is its piece layer, for a file of one piece not
    /// looked at. `None` when they do not belong together.
    #[must_use]
    pub fn new(shape: TreeShape, root: MerkleHash, layer: &Arc<[MerkleHash]>) -> Option<Self> {
        if !shape.has_layer() {
            return Some(Self { shape, layer: [root].into(), above: Vec::new() });
        }
        let base = shape.piece_layer();
        if layer.len() as u64 != shape.len(base) {
            return None;
        }
        let mut above: Vec<Vec<[u8; 32]>> = Vec::new();
        let mut pad = pad_hash(base);
        let mut nodes: Vec<[u8; 32]> = layer.iter().map(|node| node.0).collect();
        for _ in base..shape.root_layer() {
            nodes = fold(nodes, &pad);
            pad = parent(&pad, &pad);
            above.push(nodes.clone());
        }
        (nodes == [root.0]).then(|| Self { shape, layer: Arc::clone(layer), above })
    }

    /// The measures of the tree.
    #[must_use]
    pub const fn shape(&self) -> &TreeShape {
        &self.shape
    }

    /// What each piece hashes to: the piece layer, or the root alone.
    #[must_use]
    pub fn piece_nodes(&self) -> &[MerkleHash] {
        &self.layer
    }

    /// Answers a hash request. `leaves` are those of the pieces that [`TreeShape::pieces_below`] names,
    /// in order and without padding; they are checked against the pieces' nodes. `None` when the
    /// request is not acceptable or the leaves are not the right ones.
    #[must_use]
    pub fn answer(&self, range: &HashRange, leaves: &[MerkleHash]) -> Option<Vec<MerkleHash>> {
        if !self.shape.accepts(range) {
            return None;
        }
        let below = Below::new(self, range, leaves)?;
        let first = u64::from(range.index);
        let mut answer = Vec::with_capacity((range.length + uncle_count(range)) as usize);
        for index in first..first + u64::from(range.length) {
            answer.push(self.node(&below, range.base, index)?);
        }
        let omitted = range.length.ilog2() - 1;
        for proof_layer in omitted..range.proof_layers {
            let layer = range.base + 1 + proof_layer;
            let node = first >> (1 + proof_layer);
            answer.push(self.node(&below, layer, node ^ 1)?);
        }
        Some(answer)
    }

    fn node(&self, below: &Below, layer: u32, index: u64) -> Option<MerkleHash> {
        if index >= self.shape.len(layer) {
            return Some(pad_hash(layer));
        }
        let base = self.shape.piece_layer();
        match layer.checked_sub(base + 1) {
            Some(number) => {
                let nodes = self.above.get(number as usize)?;
                nodes.get(usize::try_from(index).ok()?).copied().map(MerkleHash)
            }
            None if layer == base => self.layer.get(usize::try_from(index).ok()?).copied(),
            None => below.node(layer, index),
        }
    }
}

/// The layers under the nodes of some neighbouring pieces.
struct Below {
    /// From the leaves up to the layer under the pieces' nodes.
    layers: Vec<Vec<[u8; 32]>>,
    first_piece: u64,
    height: u32,
}

impl Below {
    fn new(tree: &Tree, range: &HashRange, leaves: &[MerkleHash]) -> Option<Self> {
        let pieces = tree.shape.pieces_below(range);
        let height = tree.shape.piece_layer();
        let mut below = Self { layers: Vec::new(), first_piece: pieces.start, height };
        if pieces.is_empty() {
            return Some(below);
        }
        let start = pieces.start << height;
        let end = (pieces.end << height).min(tree.shape.len(0));
        if leaves.len() as u64 != end - start {
            return None;
        }
        let mut nodes: Vec<[u8; 32]> = leaves.iter().map(|leaf| leaf.0).collect();
        for layer in 0..height {
            let above = fold(nodes.clone(), &pad_hash(layer));
            below.layers.push(std::mem::replace(&mut nodes, above));
        }
        let known = tree.layer.get(pieces.start as usize..pieces.end as usize)?;
        nodes.iter().eq(known.iter().map(MerkleHash::as_bytes)).then_some(below)
    }

    fn node(&self, layer: u32, index: u64) -> Option<MerkleHash> {
        let offset = self.first_piece << (self.height - layer);
        let place = usize::try_from(index.checked_sub(offset)?).ok()?;
        self.layers.get(layer as usize)?.get(place).copied().map(MerkleHash)
    }
}

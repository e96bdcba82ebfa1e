//! Answers to hash requests, against a tree that is known: only the true answer is accepted.
//!
//! Input: blocks (2 bytes), log2 of blocks in a piece (1), then base, log2 of length, index and proof
//! layers (1, 1, 2, 1), then changes to the true answer: place (1) and byte (1) each.

use std::sync::Arc;

use proto::merkle::{Tree, TreeShape, file_root, leaf, prove, root, verify_hashes, verify_layer};
use proto::peer::HashRange;
use proto::{BLOCK_LEN, MerkleHash};

/// Asks, bends the answer, checks it.
pub fn run(data: &[u8]) {
    let Some((&[high, low, height, base, length, index_high, index_low, proof_layers], changes)) =
        data.split_first_chunk()
    else {
        return;
    };
    let blocks = u64::from(u16::from_be_bytes([high, low]) % 600) + 1;
    let (height, length) = (u32::from(height % 8), 1 << (length % 12));
    let leaves: Vec<MerkleHash> = (0..blocks).map(|n| leaf(&n.to_be_bytes())).collect();
    let shape = TreeShape::new(blocks * u64::from(BLOCK_LEN), BLOCK_LEN << height)
        .expect("neither empty nor huge");
    let (layer, top) = layer_and_root(&shape, &leaves);
    let tree = Tree::new(shape, top, &layer).expect("made from the same leaves");
    let index = u32::from(u16::from_be_bytes([index_high, index_low]));
    let (base, proof_layers) = (u32::from(base), u32::from(proof_layers));
    let range = HashRange { root: top, base, index, length, proof_layers };
    let pieces = shape.pieces_below(&range);
    let span = |piece: u64| ((piece << shape.piece_layer()) as usize).min(leaves.len());
    let Some(truth) = tree.answer(&range, &leaves[span(pieces.start)..span(pieces.end)]) else {
        assert!(!shape.accepts(&range), "what is acceptable is answered");
        return;
    };
    let mut answer = truth.clone();
    for change in changes.chunks_exact(2) {
        let place = usize::from(change[0]) % answer.len();
        answer[place].0[usize::from(change[0]) % 32] ^= change[1];
    }
    let proved = prove(&shape, &range, &answer).expect("as many hashes as asked for");
    let whole = proved.layer == shape.root_layer();
    assert_eq!(verify_hashes(&shape, &range, &answer), whole && answer == truth);
}

/// The piece layer, also checked bent, and the root.
fn layer_and_root(shape: &TreeShape, leaves: &[MerkleHash]) -> (Arc<[MerkleHash]>, MerkleHash) {
    if !shape.has_layer() {
        return (Arc::default(), file_root(shape, leaves).expect("one leaf a block"));
    }
    let width = 1_usize << shape.piece_layer();
    let layer: Arc<[_]> = leaves.chunks(width).map(|piece| root(piece, width as u64)).collect();
    let top = file_root(shape, &layer).expect("one node a piece");
    assert_eq!(top, root(leaves, shape.width(0)), "both ways lead to one root");
    let (file_len, piece_len) =
        (leaves.len() as u64 * u64::from(BLOCK_LEN), BLOCK_LEN << shape.piece_layer());
    assert!(verify_layer(&top, file_len, piece_len, &layer));
    assert!(!verify_layer(&top, file_len, piece_len, &layer[1..]));
    (layer, top)
}

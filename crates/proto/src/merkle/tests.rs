use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::peer::HashRange;

/// Every layer of a tree, padding included, the slow and obvious way.
fn naive(leaves: &[MerkleHash]) -> Vec<Vec<MerkleHash>> {
    let mut layer = leaves.to_vec();
    layer.resize(leaves.len().next_power_of_two(), MISSING);
    let mut layers = vec![layer];
    while layers[layers.len() - 1].len() > 1 {
        let below = &layers[layers.len() - 1];
        let above = below.chunks(2).map(|pair| {
            let joined = [pair[0].0, pair[1].0].concat();
            MerkleHash(digest::sha256(&joined))
        });
        layers.push(above.collect());
    }
    layers
}

fn numbered(count: u64) -> Vec<MerkleHash> {
    (0..count).map(|number| leaf(&number.to_be_bytes())).collect()
}

/// A tree of `blocks` leaves with `1 << height` leaves to a piece, and the slow one beside it.
fn sample(blocks: u64, height: u32) -> (Tree, Vec<MerkleHash>, Vec<Vec<MerkleHash>>) {
    let leaves = numbered(blocks);
    let layers = naive(&leaves);
    let shape = TreeShape::new(blocks * u64::from(BLOCK_LEN), BLOCK_LEN << height).unwrap();
    let root = layers[layers.len() - 1][0];
    let base = shape.piece_layer();
    let layer: Arc<[_]> = layers[base as usize][..shape.len(base) as usize].into();
    (Tree::new(shape, root, &layer).unwrap(), leaves, layers)
}

fn root_of(layers: &[Vec<MerkleHash>]) -> MerkleHash {
    layers[layers.len() - 1][0]
}

fn leaves_for<'a>(tree: &Tree, range: &HashRange, leaves: &'a [MerkleHash]) -> &'a [MerkleHash] {
    let pieces = tree.shape().pieces_below(range);
    let height = tree.shape().piece_layer();
    let end = ((pieces.end << height) as usize).min(leaves.len());
    &leaves[((pieces.start << height) as usize).min(end)..end]
}

#[test]
fn known_roots_come_out() {
    // Bytes 0, 1, … 250, 0, …; roots by another implementation (Python's hashlib).
    let cases = [
        (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (16_384, "4348e3b98e8a327b34ced39c1da9e67cdb4cd5e48e4d7960607a3ae403d35f0c"),
        (16_385, "9d7887c65d577a0237fb3c0998b87b3a62762d03796889a2caea01db914ccbb8"),
        (81_920, "ecc31c9c67d9c7b8c7f2540df72208ac59a0dc2f7b2477b26638db313a245ca4"),
    ];
    for (len, expected) in cases {
        let data: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        let leaves = leaves(&data);
        let width = (leaves.len() as u64).next_power_of_two();
        assert_eq!(root(&leaves, width).to_string(), expected, "{len} bytes");
    }
}

#[test]
fn a_single_leaf_is_its_own_root() {
    let only = leaf(b"x");
    assert_eq!(root(&[only], 1), only);
    let shape = TreeShape::new(1, BLOCK_LEN).unwrap();
    assert_eq!((shape.root_layer(), shape.piece_layer()), (0, 0));
    assert_eq!(file_root(&shape, &[only]), Some(only));
}

#[test]
fn padding_is_zero_leaves_not_hashes_of_zeros() {
    assert_eq!(pad_hash(0), MISSING);
    let one = digest::sha256(&[0; 64]);
    assert_eq!(pad_hash(1), MerkleHash(one));
    assert_eq!(pad_hash(2), MerkleHash(digest::sha256(&[one, one].concat())));
    assert_eq!(root(&[], 4), pad_hash(2));
}

#[test]
fn layers_fold_to_their_root_only_as_they_are() {
    let (tree, _, layers) = sample(11, 1);
    let (root, len, piece) = (root_of(&layers), 11 * u64::from(BLOCK_LEN), 2 * BLOCK_LEN);
    let layer = tree.piece_nodes().to_vec();
    assert_eq!(layer.len(), 6);
    assert!(verify_layer(&root, len, piece, &layer));
    assert!(!verify_layer(&MISSING, len, piece, &layer));
    assert!(!verify_layer(&root, len, piece, &layer[..5]));
    assert!(!verify_layer(&root, len, 2 * piece, &layer));
    assert!(!verify_layer(&root, len, piece + 1, &layer));
    assert!(!verify_layer(&root, 0, piece, &[]));
    let mut padded = layer.clone();
    padded.resize(8, pad_hash(1));
    assert!(!verify_layer(&root, len, piece, &padded));
    for index in 0..layer.len() {
        let mut wrong = layer.clone();
        wrong[index].0[31] ^= 1;
        assert!(!verify_layer(&root, len, piece, &wrong));
    }
}

#[test]
fn the_first_proof_layers_are_counted_but_not_sent() {
    let uncles = |length, proof_layers| {
        uncle_count(&HashRange { root: MISSING, base: 0, index: 0, length, proof_layers })
    };
    assert_eq!([uncles(2, 0), uncles(2, 1), uncles(2, 3)], [0, 1, 3]);
    assert_eq!([uncles(4, 0), uncles(4, 1), uncles(4, 2), uncles(4, 3)], [0, 0, 1, 2]);
    assert_eq!([uncles(512, 8), uncles(512, 9)], [0, 1]);
}

#[test]
fn an_answer_has_its_uncles_in_rising_order() {
    let (tree, leaves, layers) = sample(16, 2);
    let range = HashRange { root: root_of(&layers), base: 0, index: 4, length: 2, proof_layers: 3 };
    assert_eq!(tree.shape().pieces_below(&range), 1..2);
    let answer = tree.answer(&range, &leaves[4..8]).unwrap();
    let expected = [leaves[4], leaves[5], layers[1][3], layers[2][0], layers[3][1]];
    assert_eq!(answer, expected);
    let up_to_piece = HashRange { proof_layers: 1, ..range };
    let answer = tree.answer(&up_to_piece, &leaves[4..8]).unwrap();
    let proved = Proved { layer: 2, index: 1, hash: layers[2][1] };
    assert_eq!(prove(tree.shape(), &up_to_piece, &answer), Some(proved));
    assert!(!verify_hashes(tree.shape(), &up_to_piece, &answer));
}

#[test]
fn requests_outside_the_tree_are_not_accepted() {
    let (tree, leaves, layers) = sample(11, 1);
    let good = HashRange { root: root_of(&layers), base: 1, index: 4, length: 4, proof_layers: 2 };
    assert!(tree.answer(&good, &[]).is_some());
    let bad = [
        HashRange { length: 1, ..good },
        HashRange { length: 3, ..good },
        HashRange { length: 1024, index: 0, ..good },
        HashRange { index: 2, ..good },
        HashRange { index: 8, ..good },
        HashRange { index: u32::MAX - 3, ..good },
        HashRange { base: 4, ..good },
        HashRange { base: u32::MAX, ..good },
        HashRange { proof_layers: 3, ..good },
        HashRange { proof_layers: u32::MAX, ..good },
    ];
    for range in bad {
        assert_eq!(tree.answer(&range, &[]), None, "{range:?}");
        assert_eq!(prove(tree.shape(), &range, &leaves), None, "{range:?}");
    }
    let of_leaves = HashRange { base: 0, index: 8, length: 2, ..good };
    assert!(tree.answer(&of_leaves, &leaves[8..10]).is_some());
    assert_eq!(tree.answer(&of_leaves, &leaves[6..8]), None);
    assert_eq!(tree.answer(&of_leaves, &leaves[8..9]), None);
    assert_eq!(tree.answer(&of_leaves, &[]), None);
}

#[test]
fn a_tree_of_the_largest_file_is_measured_without_overflow() {
    let shape = TreeShape::new(1 << 53, BLOCK_LEN).unwrap();
    assert_eq!((shape.root_layer(), shape.width(0), shape.len(39)), (39, 1 << 39, 1));
    assert_eq!(TreeShape::new(u64::MAX, BLOCK_LEN), None);
    assert_eq!(TreeShape::new(1, 3 * BLOCK_LEN), None);
    assert_eq!(TreeShape::new(1, BLOCK_LEN / 2), None);
}

#[test]
fn layers_of_many_pieces_are_asked_for_in_parts() {
    let shape = TreeShape::new(1300 * u64::from(BLOCK_LEN), BLOCK_LEN).unwrap();
    let ranges: Vec<_> = shape.layer_requests(MISSING).collect();
    assert_eq!(ranges.iter().map(|range| range.index).collect::<Vec<_>>(), [0, 512, 1024]);
    assert!(ranges.iter().all(|range| shape.accepts(range) && range.proof_layers == 10));
    assert_eq!(TreeShape::new(5, BLOCK_LEN).unwrap().layer_requests(MISSING).count(), 0);
    let wide = TreeShape::new(1 << 30, 16 << 20).unwrap();
    let ranges: Vec<_> = wide.leaf_requests(MISSING, 3).collect();
    assert_eq!(ranges.iter().map(|range| range.index).collect::<Vec<_>>(), [3072, 3584]);
    assert!(ranges.iter().all(|range| wide.accepts(range)));
}

proptest! {
    #[test]
    fn every_answer_is_the_naive_tree_and_proves_itself(
        blocks in 1_u64..200,
        height in 0_u32..5,
        base in 0_u32..8,
        length in 1_u32..6,
        place in any::<proptest::sample::Index>(),
        proof_layers in 0_u32..9,
        flip in any::<proptest::sample::Index>(),
    ) {
        let (tree, leaves, layers) = sample(blocks, height);
        let length = 1_u32 << length;
        let width = tree.shape().width(base) as u32;
        let index = place.index(width.div_ceil(length) as usize) as u32 * length;
        let range = HashRange { root: root_of(&layers), base, index, length, proof_layers };
        let fits = (base as usize) < layers.len() - 1
            && (index + length) as usize <= layers[base as usize].len()
            && base + proof_layers + 1 < layers.len() as u32;
        let answer = tree.answer(&range, leaves_for(&tree, &range, &leaves));
        prop_assert_eq!(answer.is_some(), fits);
        let Some(mut answer) = answer else { return Ok(()) };
        let mut expected = layers[base as usize][index as usize..(index + length) as usize].to_vec();
        for layer in length.ilog2() - 1..proof_layers {
            let node = (index >> (layer + 1)) ^ 1;
            expected.push(layers[(base + 1 + layer) as usize][node as usize]);
        }
        prop_assert_eq!(&answer, &expected);
        let proved = prove(tree.shape(), &range, &answer).unwrap();
        prop_assert_eq!(proved.hash, layers[proved.layer as usize][proved.index as usize]);
        let whole = proved.layer == tree.shape().root_layer();
        prop_assert_eq!(verify_hashes(tree.shape(), &range, &answer), whole);
        let place = flip.index(answer.len());
        answer[place].0[place % 32] ^= 0x10;
        prop_assert!(!verify_hashes(tree.shape(), &range, &answer));
        answer.push(MISSING);
        prop_assert!(prove(tree.shape(), &range, &answer).is_none());
    }

    #[test]
    fn requests_fetch_a_whole_file(blocks in 1_u64..300, height in 0_u32..6) {
        let (tree, leaves, layers) = sample(blocks, height);
        let root = root_of(&layers);
        let mut fetched = Vec::new();
        for range in tree.shape().layer_requests(root) {
            let answer = tree.answer(&range, &[]).unwrap();
            prop_assert!(verify_hashes(tree.shape(), &range, &answer));
            fetched.extend_from_slice(&answer[..range.length as usize]);
        }
        if tree.shape().has_layer() {
            fetched.truncate(tree.shape().pieces() as usize);
            prop_assert_eq!(&fetched[..], tree.piece_nodes());
        }
        for piece in 0..tree.shape().pieces() as u32 {
            for range in tree.shape().leaf_requests(root, piece) {
                let answer = tree.answer(&range, leaves_for(&tree, &range, &leaves)).unwrap();
                let proved = prove(tree.shape(), &range, &answer).unwrap();
                prop_assert_eq!(proved.layer, tree.shape().piece_layer());
                prop_assert_eq!(proved.hash, tree.piece_nodes()[piece as usize]);
            }
        }
    }

    #[test]
    fn folding_is_the_naive_root(count in 1_u64..70, base in 0_u32..4) {
        let leaves = numbered(count);
        let layers = naive(&leaves);
        let base = base.min(layers.len() as u32 - 1);
        let nodes = &layers[base as usize][..count.div_ceil(1 << base) as usize];
        let width = layers[base as usize].len() as u64;
        prop_assert_eq!(root_above(nodes, base, width), root_of(&layers));
    }
}

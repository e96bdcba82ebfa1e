//! Merkle trees (BEP 52) from blocks, many hashes at once.

use proto::MerkleHash;

/// The node over `leaves`, filled up on the right with missing leaves (32 zero bytes) to
/// `leaf_count`, a power of two. `None` when there are more leaves than that, or none.
pub(super) fn node_over(leaves: &[MerkleHash], leaf_count: u32) -> Option<MerkleHash> {
    if leaves.is_empty() || leaves.len() as u64 > u64::from(leaf_count) {
        return None;
    }
    let mut layer: Vec<[u8; 32]> = leaves.iter().map(|leaf| leaf.0).collect();
    let mut pad = [0; 32];
    for _ in 0..leaf_count.ilog2() {
        if layer.len() % 2 == 1 {
            layer.push(pad);
        }
        let mut above = vec![[0; 32]; layer.len() / 2];
        digest::sha256_pairs(&layer, &mut above);
        digest::sha256_pairs(&[pad, pad], std::slice::from_mut(&mut pad));
        layer = above;
    }
    layer.first().copied().map(MerkleHash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_agree_with_the_plain_tree() {
        let leaves: Vec<_> = (0..64_u8).map(|i| proto::merkle::leaf(&[i])).collect();
        for count in 1..=leaves.len() {
            let leaves = &leaves[..count];
            for width in [count.next_power_of_two(), 64, 128] {
                let plain = proto::merkle::root(leaves, width as u64);
                assert_eq!(node_over(leaves, width as u32), Some(plain), "{count} of {width}");
            }
        }
        assert_eq!(node_over(&[], 4), None);
        assert_eq!(node_over(&leaves[..3], 2), None);
    }
}

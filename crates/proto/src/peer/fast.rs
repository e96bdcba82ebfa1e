//! The set of pieces that a peer may fetch while choked (BEP 6): both sides can compute it.

use std::net::Ipv4Addr;

use crate::{InfoHash, PieceIndex};

/// The first `count` pieces of the allowed-fast set of the peer at `ip`, or all pieces when there are
/// no more than that. Peers of one /24 network share a set.
#[must_use]
pub fn allowed_fast(
    ip: Ipv4Addr,
    info_hash: InfoHash,
    piece_count: u32,
    count: usize,
) -> Vec<PieceIndex> {
    if piece_count as usize <= count {
        return (0..piece_count).map(PieceIndex).collect();
    }
    let [a, b, c, _] = ip.octets();
    let mut seed = [0; 24];
    seed[..4].copy_from_slice(&[a, b, c, 0]);
    seed[4..].copy_from_slice(info_hash.as_bytes());
    let mut digest = digest::sha1(&seed);
    let mut set = Vec::with_capacity(count);
    loop {
        for word in digest.as_chunks::<4>().0 {
            let piece = PieceIndex(u32::from_be_bytes(*word) % piece_count);
            if set.len() == count {
                return set;
            }
            if !set.contains(&piece) {
                set.push(piece);
            }
        }
        digest = digest::sha1(&digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_of_bep_6_comes_out() {
        let set = allowed_fast(Ipv4Addr::new(80, 4, 4, 200), InfoHash([0xaa; 20]), 1313, 9);
        assert_eq!(indexes(set), [1059, 431, 808, 1217, 287, 376, 1188, 353, 508]);
    }

    #[test]
    fn a_small_torrent_is_allowed_whole() {
        let ip = Ipv4Addr::LOCALHOST;
        assert_eq!(indexes(allowed_fast(ip, InfoHash([0; 20]), 3, 5)), [0, 1, 2]);
        assert_eq!(allowed_fast(ip, InfoHash([0; 20]), 6, 5).len(), 5);
    }

    fn indexes(set: Vec<PieceIndex>) -> Vec<u32> {
        set.into_iter().map(|piece| piece.0).collect()
    }
}

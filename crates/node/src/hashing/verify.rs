//! Is a piece in memory what its hashes say?
//!
//! Pure: blocks and expected hashes in, a verdict out. Several pieces at once are faster than one
//! after another, since the SHA-1 of each piece is one long chain and only several of them fill the
//! lanes of wide registers. The leaves of v2 (BEP 52) fill them from one piece alone.

use digest::Part;
use proto::metainfo::{Expected, ExpectedV2};
use proto::{BLOCK_LEN, Geometry, MerkleHash, PieceHash, PieceIndex, merkle};
use swarm::BlockBuf;

/// A piece to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// How its torrent is cut into pieces: tells what in the piece is pad.
    pub geometry: &'a Geometry,
    /// Which piece.
    pub index: PieceIndex,
    /// Its blocks in order. `None` reads as zeros: a block that is all pad. Bytes of a block that
    /// belong to a pad read as zeros whatever they are.
    pub blocks: &'a [Option<BlockBuf>],
    /// What it must hash to.
    pub expected: Expected,
}

/// What hashing a piece said. `leaves` are the v2 hashes of its blocks, without missing ones; empty
/// when the torrent is v1 only. They tell which block was wrong once its right leaf is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has every hash that it must have.
    Good {
        /// Hashes of the blocks.
        leaves: Vec<MerkleHash>,
    },
    /// It has none of them.
    Bad {
        /// Hashes of the blocks.
        leaves: Vec<MerkleHash>,
    },
    /// It has its v1 hash but not its v2 hash, or the other way round: no bytes can satisfy the
    /// torrent, whoever sends them.
    Inconsistent {
        /// Hashes of the blocks.
        leaves: Vec<MerkleHash>,
    },
}

impl Verdict {
    /// The piece may be kept.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        matches!(self, Self::Good { .. })
    }

    /// Hashes of the blocks.
    #[must_use]
    pub fn leaves(&self) -> &[MerkleHash] {
        match self {
            Self::Good { leaves } | Self::Bad { leaves } | Self::Inconsistent { leaves } => leaves,
        }
    }
}

/// Judges one piece.
#[must_use]
pub fn verify(piece: &Piece<'_>) -> Verdict {
    let mut verdicts = verify_all(std::slice::from_ref(piece));
    verdicts.pop().expect("one piece makes one verdict")
}

/// Judges pieces, of one torrent or several; the verdicts come in the same order.
#[must_use]
pub fn verify_all(pieces: &[Piece<'_>]) -> Vec<Verdict> {
    let hashes_v1 = hash_v1(pieces);
    let leaves = hash_leaves(pieces);
    let hashes = hashes_v1.into_iter().zip(leaves);
    pieces.iter().zip(hashes).map(|(piece, (v1, leaves))| judge(piece, v1, leaves)).collect()
}

fn judge(piece: &Piece<'_>, v1: Option<PieceHash>, leaves: Vec<MerkleHash>) -> Verdict {
    let v1 = piece.expected.v1.map(|expected| v1 == Some(expected));
    let v2 = piece.expected.v2.map(|expected| {
        let width = u64::from(expected.leaf_count);
        leaves.len() as u64 <= width && merkle::root(&leaves, width) == expected.hash
    });
    match (v1, v2) {
        (Some(true), Some(true)) | (Some(true), None) | (None, Some(true)) => {
            Verdict::Good { leaves }
        }
        (Some(true), Some(false)) | (Some(false), Some(true)) => Verdict::Inconsistent { leaves },
        // A piece that nothing vouches for is not good either.
        (Some(false), Some(false) | None) | (None, Some(false) | None) => Verdict::Bad { leaves },
    }
}

/// The v1 hash of each piece that has one.
fn hash_v1(pieces: &[Piece<'_>]) -> Vec<Option<PieceHash>> {
    let wanted = || pieces.iter().filter(|piece| piece.expected.v1.is_some());
    let parts: Vec<Vec<Part<'_>>> = wanted().map(parts).collect();
    let messages: Vec<&[Part<'_>]> = parts.iter().map(Vec::as_slice).collect();
    let mut hashes = vec![[0; PieceHash::LEN]; messages.len()];
    digest::sha1_many(&messages, &mut hashes);
    let mut hashes = hashes.into_iter().map(PieceHash);
    pieces.iter().map(|piece| piece.expected.v1.and_then(|_| hashes.next())).collect()
}

/// A piece as v1 hashes it: the files' bytes, and zeros in between.
fn parts<'a>(piece: &Piece<'a>) -> Vec<Part<'a>> {
    let mut parts = Vec::with_capacity(piece.blocks.len() + 1);
    let mut at = 0;
    for span in piece.geometry.spans(piece.geometry.whole(piece.index)) {
        push_zeros(&mut parts, span.begin - at);
        at = span.begin;
        let end = span.begin + span.len;
        while at < end {
            let number = at / BLOCK_LEN;
            let from = at - number * BLOCK_LEN;
            let len = (BLOCK_LEN - from).min(end - at);
            let bytes = block_bytes(piece.blocks, number);
            let bytes = bytes.get(from as usize..).unwrap_or_default();
            let bytes = &bytes[..bytes.len().min(len as usize)];
            parts.push(Part::Bytes(bytes));
            push_zeros(&mut parts, len - bytes.len() as u32);
            at += len;
        }
    }
    push_zeros(&mut parts, piece.geometry.piece_len(piece.index) - at);
    parts
}

fn push_zeros(parts: &mut Vec<Part<'_>>, len: u32) {
    if len > 0 {
        parts.push(Part::Zeros(u64::from(len)));
    }
}

/// The leaves of each piece; none for pieces without a v2 hash.
fn hash_leaves(pieces: &[Piece<'_>]) -> Vec<Vec<MerkleHash>> {
    let mut blocks: Vec<&[u8]> = Vec::new();
    for piece in pieces {
        if let Some(expected) = &piece.expected.v2 {
            blocks.extend(data_of_blocks(piece.blocks, expected));
        }
    }
    let mut hashes = vec![[0; MerkleHash::LEN]; blocks.len()];
    digest::sha256_many(&blocks, &mut hashes);
    let mut hashes = hashes.into_iter().map(MerkleHash);
    let leaf_count = |piece: &Piece<'_>| {
        piece.expected.v2.map_or(0, |expected| expected.data_len.div_ceil(BLOCK_LEN) as usize)
    };
    pieces.iter().map(|piece| hashes.by_ref().take(leaf_count(piece)).collect()).collect()
}

/// What of each block belongs to the file.
fn data_of_blocks<'a>(
    blocks: &'a [Option<BlockBuf>],
    expected: &ExpectedV2,
) -> impl Iterator<Item = &'a [u8]> {
    let data_len = expected.data_len;
    (0..data_len.div_ceil(BLOCK_LEN)).map(move |number| {
        let len = (data_len - number * BLOCK_LEN).min(BLOCK_LEN) as usize;
        let bytes = block_bytes(blocks, number);
        match bytes.get(..len) {
            Some(data) => data,
            None if bytes.is_empty() => &ZEROS[..len],
            // Fewer bytes than the file has: no hash of it can be right.
            None => bytes,
        }
    })
}

/// The bytes of a block; none when it is not there.
fn block_bytes(blocks: &[Option<BlockBuf>], number: u32) -> &[u8] {
    match blocks.get(number as usize) {
        Some(Some(block)) => block.as_slice(),
        Some(None) | None => &[],
    }
}

/// What a missing block reads as.
static ZEROS: [u8; BLOCK_LEN as usize] = [0; BLOCK_LEN as usize];

#[cfg(test)]
mod tests {
    use proto::FileIndex;

    use super::*;

    const PIECE: u32 = 4 * BLOCK_LEN;
    /// One file of one and a half pieces and a bit.
    const LEN: u32 = 6 * BLOCK_LEN + 100;

    fn content() -> Vec<u8> {
        (0..LEN).map(|i| (i % 251) as u8 | 1).collect()
    }

    /// A hybrid whose last piece is padded, and what its pieces must hash to.
    fn hybrid(content: &[u8]) -> (Geometry, [Expected; 2]) {
        let geometry =
            Geometry::new(PIECE, u64::from(2 * PIECE), false, [(FileIndex(0), 0, LEN.into())]);
        let expected = [0, 1].map(|index| {
            let data = &content
                [(index * PIECE) as usize..content.len().min(((index + 1) * PIECE) as usize)];
            let mut padded = data.to_vec();
            padded.resize(PIECE as usize, 0);
            let hash = merkle::root(&merkle::leaves(data), 4);
            let v2 = ExpectedV2 { hash, data_len: data.len() as u32, leaf_count: 4 };
            Expected { v1: Some(PieceHash(digest::sha1(&padded))), v2: Some(v2) }
        });
        (geometry, expected)
    }

    /// The blocks of a piece as a peer sends them, `pad` in place of zeros.
    fn blocks(content: &[u8], index: u32, pad: u8) -> Vec<Option<BlockBuf>> {
        let from = (index * PIECE) as usize;
        let data = &content[from..content.len().min(from + PIECE as usize)];
        let mut blocks: Vec<_> = data
            .chunks(BLOCK_LEN as usize)
            .map(|block| {
                let mut block = block.to_vec();
                block.resize(BLOCK_LEN as usize, pad);
                Some(BlockBuf::copy_of(&block))
            })
            .collect();
        blocks.resize_with(4, || None);
        blocks
    }

    #[test]
    fn good_pieces_are_good_together_and_alone() {
        let content = content();
        let (geometry, expected) = hybrid(&content);
        let blocks = [blocks(&content, 0, 0), blocks(&content, 1, 0xee)];
        let pieces = [0, 1].map(|i| {
            let (index, blocks) = (PieceIndex(i as u32), blocks[i].as_slice());
            Piece { geometry: &geometry, index, blocks, expected: expected[i] }
        });
        let leaves = merkle::leaves(&content);
        let verdicts = verify_all(&pieces);
        assert_eq!(verdicts[0], Verdict::Good { leaves: leaves[..4].to_vec() });
        assert_eq!(verdicts[1], Verdict::Good { leaves: leaves[4..].to_vec() });
        for (piece, verdict) in pieces.iter().zip(&verdicts) {
            assert_eq!(verify(piece), *verdict);
            let v1 = Expected { v2: None, ..piece.expected };
            assert_eq!(verify(&Piece { expected: v1, ..*piece }), Verdict::Good { leaves: vec![] });
            let v2 = Expected { v1: None, ..piece.expected };
            assert_eq!(verify(&Piece { expected: v2, ..*piece }), *verdict);
        }
    }

    #[test]
    fn a_flipped_bit_is_bad_and_its_leaf_differs() {
        let content = content();
        let (geometry, expected) = hybrid(&content);
        let mut wrong = content.clone();
        wrong[(PIECE + BLOCK_LEN) as usize] ^= 2;
        let blocks = blocks(&wrong, 1, 0);
        let piece = Piece {
            geometry: &geometry,
            index: PieceIndex(1),
            blocks: &blocks,
            expected: expected[1],
        };
        let Verdict::Bad { leaves } = verify(&piece) else { panic!("a wrong piece was kept") };
        let right = merkle::leaves(&content);
        assert_eq!([0, 1, 2].map(|i| leaves[i] == right[4 + i]), [true, false, true]);
    }

    #[test]
    fn halves_that_disagree_are_inconsistent() {
        let content = content();
        let (geometry, mut expected) = hybrid(&content);
        let blocks = blocks(&content, 0, 0);
        expected[0].v1 = Some(PieceHash::default());
        let piece = Piece {
            geometry: &geometry,
            index: PieceIndex(0),
            blocks: &blocks,
            expected: expected[0],
        };
        assert!(matches!(verify(&piece), Verdict::Inconsistent { .. }));
        let nothing = Expected { v1: None, v2: None };
        assert!(!verify(&Piece { expected: nothing, ..piece }).is_good());
    }

    #[test]
    fn missing_and_short_blocks_are_bad() {
        let content = content();
        let (geometry, expected) = hybrid(&content);
        let check = |blocks: &[Option<BlockBuf>]| {
            let piece =
                Piece { geometry: &geometry, index: PieceIndex(0), blocks, expected: expected[0] };
            assert!(matches!(verify(&piece), Verdict::Bad { .. }));
        };
        let mut damaged = blocks(&content, 0, 0);
        damaged[2] = None;
        check(&damaged);
        damaged[2] = Some(BlockBuf::copy_of(&[1; 5]));
        check(&damaged);
        check(&[]);
    }

    #[test]
    fn pads_between_the_files_of_a_v1_piece_read_as_zeros() {
        let files = [(FileIndex(0), 0, 10), (FileIndex(2), 20_000, 30)];
        let geometry = Geometry::new(PIECE, 20_030, false, files);
        let mut whole = vec![0; 20_030];
        whole[..10].fill(3);
        whole[20_000..].fill(4);
        let expected = Expected { v1: Some(PieceHash(digest::sha1(&whole))), v2: None };
        whole[10..20_000].fill(9);
        let blocks: Vec<_> =
            whole.chunks(BLOCK_LEN as usize).map(|block| Some(BlockBuf::copy_of(block))).collect();
        let piece = Piece { geometry: &geometry, index: PieceIndex(0), blocks: &blocks, expected };
        assert!(verify(&piece).is_good());
    }
}

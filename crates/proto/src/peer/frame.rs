//! Where one message ends and the next begins (BEP 3), and how long each kind may be.
//!
//! Five bytes, the length and the id, are enough to judge a message, so no memory is taken for one
//! that is too long for its kind.

use super::message::{Id, MAX_HASHES};
use crate::{BLOCK_LEN, Block, DecodeError, PieceIndex};

/// Bytes of the length prefix.
pub const PREFIX_LEN: usize = 4;

/// Bytes before a block's data: length, id, piece, begin.
pub const BLOCK_HEADER_LEN: usize = 13;

/// The longest run of neighbouring blocks that one message carries between two peers that agreed on that
/// (`docs/protocols/runs.md`); all others send single blocks.
pub const RUN_LEN_MAX: u32 = 16 * BLOCK_LEN;

/// The longest payload of an extension message: room for 16 KiB of metadata or a full handshake.
pub const EXTENDED_LEN_MAX: u32 = 64 * 1024;

/// The longest bitfield accepted while the number of pieces is not known: eight million pieces.
pub const BITFIELD_LEN_UNKNOWN: u32 = 1024 * 1024;

/// The longest message of an unknown kind; it is skipped.
pub const UNKNOWN_LEN_MAX: u32 = 64 * 1024;

/// How a message starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// An empty message.
    KeepAlive,
    /// A message with that many bytes after its id.
    Message(Id, u32),
}

impl Head {
    /// Reads the start of a message; `None` when there are too few bytes to tell. `bitfield_len` is
    /// the longest bitfield that is acceptable.
    pub fn decode(bytes: &[u8], bitfield_len: u32) -> Result<Option<Self>, DecodeError> {
        let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_LEN>() else { return Ok(None) };
        let len = u32::from_be_bytes(*prefix);
        let Some(payload_len) = len.checked_sub(1) else { return Ok(Some(Self::KeepAlive)) };
        let Some(id) = rest.first() else {
            let limit = bitfield_len.max(EXTENDED_LEN_MAX + 1).max(8 + RUN_LEN_MAX);
            return check(payload_len, 0, limit).map(|()| None);
        };
        let id = Id::from(*id);
        let (min, max) = payload_bounds(id, bitfield_len);
        check(payload_len, min, max)?;
        Ok(Some(Self::Message(id, payload_len)))
    }
}

const fn check(len: u32, min: u32, max: u32) -> Result<(), DecodeError> {
    if len < min {
        Err(DecodeError::invalid("peer message", "too short for its kind"))
    } else if len > max {
        Err(DecodeError::TooLong { what: "peer message", limit: max as u64 })
    } else {
        Ok(())
    }
}

/// The fewest and most bytes that a message of that kind has after its id.
const fn payload_bounds(id: Id, bitfield_len: u32) -> (u32, u32) {
    match id {
        Id::Choke
        | Id::Unchoke
        | Id::Interested
        | Id::NotInterested
        | Id::HaveAll
        | Id::HaveNone => (0, 0),
        Id::Have | Id::Suggest | Id::AllowedFast => (4, 4),
        Id::Bitfield => (0, bitfield_len),
        Id::Request | Id::Cancel | Id::Reject => (12, 12),
        Id::Block => (8, 8 + RUN_LEN_MAX),
        Id::Port => (2, 2),
        Id::Extended => (1, 1 + EXTENDED_LEN_MAX),
        Id::HashRequest | Id::HashReject => (48, 48),
        Id::Hashes => (48, 48 + 32 * MAX_HASHES),
        Id::Unknown(_) => (0, UNKNOWN_LEN_MAX),
    }
}

/// The bytes that stand before a block's data.
#[must_use]
pub fn block_header(block: Block) -> [u8; BLOCK_HEADER_LEN] {
    let mut header = [0; BLOCK_HEADER_LEN];
    header[..4].copy_from_slice(&(9 + block.len).to_be_bytes());
    header[4] = Id::Block.into();
    header[5..9].copy_from_slice(&block.piece.0.to_be_bytes());
    header[9..].copy_from_slice(&block.begin.to_be_bytes());
    header
}

/// Reads the place and length of a block from the 13 bytes before its data; `None` when they start
/// another message or none that is acceptable ([`Head::decode`] tells which).
#[must_use]
pub fn decode_block_header(header: &[u8; BLOCK_HEADER_LEN]) -> Option<Block> {
    let word = |at: usize| {
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let len = word(0).checked_sub(9).filter(|len| *len <= RUN_LEN_MAX)?;
    let is_block = header[4] == u8::from(Id::Block);
    is_block.then(|| Block { piece: PieceIndex(word(5)), begin: word(9), len })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(len: u32, id: u8) -> Result<Option<Head>, DecodeError> {
        let mut bytes = len.to_be_bytes().to_vec();
        bytes.push(id);
        Head::decode(&bytes, 100)
    }

    #[test]
    fn lengths_are_judged_by_kind_before_the_payload() {
        assert_eq!(head(1, 0), Ok(Some(Head::Message(Id::Choke, 0))));
        for (len, id) in [(2, 0), (4, 4), (6, 4), (102, 5), (14, 6), (8, 7), (10 + RUN_LEN_MAX, 7)]
        {
            assert!(head(len, id).is_err(), "{len} {id}");
        }
        assert_eq!(head(9 + RUN_LEN_MAX, 7), Ok(Some(Head::Message(Id::Block, 8 + RUN_LEN_MAX))));
        assert_eq!(head(10, 99), Ok(Some(Head::Message(Id::Unknown(99), 9))));
        assert!(head(u32::MAX, 20).is_err());
    }

    #[test]
    fn an_absurd_length_is_refused_before_the_id() {
        assert!(Head::decode(&[0xff; 4], 100).is_err());
        assert_eq!(Head::decode(&[0, 0, 0, 1], 100), Ok(None));
        assert_eq!(Head::decode(&[0, 0, 0], 100), Ok(None));
        assert_eq!(Head::decode(&[0; 4], 100), Ok(Some(Head::KeepAlive)));
    }

    #[test]
    fn the_limit_without_an_id_lets_every_kind_pass() {
        let longest = [EXTENDED_LEN_MAX + 2, 49 + 32 * MAX_HASHES, 9 + RUN_LEN_MAX, 101];
        for len in longest {
            assert_eq!(Head::decode(&len.to_be_bytes(), 100), Ok(None));
        }
    }

    #[test]
    fn block_headers_round_trip() {
        let block = Block { piece: PieceIndex(7), begin: 3 * BLOCK_LEN, len: 5 };
        let header = block_header(block);
        assert_eq!(decode_block_header(&header), Some(block));
        let mut have = header;
        have[4] = 4;
        assert_eq!(decode_block_header(&have), None);
        assert_eq!(decode_block_header(&[0; 13]), None);
        assert_eq!(decode_block_header(&[0xff; 13]), None);
    }
}

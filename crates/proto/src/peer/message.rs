//! Every message that peers exchange after the handshake (BEP 3, 6, 10, 52).

use super::frame::{Head, PREFIX_LEN, block_header};
use crate::reader::Reader;
use crate::{Block, DecodeError, MerkleHash, PieceIndex};

/// Most hashes asked for at once (BEP 52 recommends this limit).
pub const HASH_REQUEST_LEN_MAX: u32 = 512;

/// Most layers of uncles that a request may ask for: more than any file has.
pub const PROOF_LAYERS_MAX: u32 = 64;

/// Most hashes in one message, uncles included.
pub const MAX_HASHES: u32 = HASH_REQUEST_LEN_MAX + PROOF_LAYERS_MAX;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        /// The number that tells a message's kind.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Id {
            $($(#[$doc])* $name,)*
            /// A kind that we do not know; such messages are skipped.
            Unknown(u8),
        }

        impl From<u8> for Id {
            fn from(value: u8) -> Self {
                match value {
                    $($value => Self::$name,)*
                    other => Self::Unknown(other),
                }
            }
        }

        impl From<Id> for u8 {
            fn from(id: Id) -> Self {
                match id {
                    $(Id::$name => $value,)*
                    Id::Unknown(value) => value,
                }
            }
        }
    };
}

ids! {
    /// Requests will not be answered (BEP 3).
    Choke = 0,
    /// Requests will be answered (BEP 3).
    Unchoke = 1,
    /// The sender wants something (BEP 3).
    Interested = 2,
    /// The sender wants nothing (BEP 3).
    NotInterested = 3,
    /// The sender has one more piece (BEP 3).
    Have = 4,
    /// All that the sender has (BEP 3).
    Bitfield = 5,
    /// Asks for a block (BEP 3).
    Request = 6,
    /// A block's data (BEP 3 calls it piece).
    Block = 7,
    /// Takes a request back (BEP 3).
    Cancel = 8,
    /// The port of the sender's DHT node (BEP 5).
    Port = 9,
    /// A piece that the receiver might fetch (BEP 6).
    Suggest = 13,
    /// The sender has everything (BEP 6).
    HaveAll = 14,
    /// The sender has nothing (BEP 6).
    HaveNone = 15,
    /// A request will not be answered (BEP 6).
    Reject = 16,
    /// A piece that may be fetched while choked (BEP 6).
    AllowedFast = 17,
    /// An extension's message (BEP 10).
    Extended = 20,
    /// Asks for hashes (BEP 52).
    HashRequest = 21,
    /// Hashes (BEP 52).
    Hashes = 22,
    /// A hash request will not be answered (BEP 52).
    HashReject = 23,
}

/// A range of hashes of one layer of a file's tree (BEP 52).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashRange {
    /// The file, by the root of its tree.
    pub root: MerkleHash,
    /// The layer: 0 is the leaves.
    pub base: u32,
    /// The first hash asked for; a multiple of `length`.
    pub index: u32,
    /// How many: a power of two, at least 2.
    pub length: u32,
    /// Layers of uncle hashes wanted above the base layer.
    pub proof_layers: u32,
}

impl HashRange {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            root: MerkleHash(reader.array()?),
            base: reader.u32()?,
            index: reader.u32()?,
            length: reader.u32()?,
            proof_layers: reader.u32()?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.root.as_bytes());
        for number in [self.base, self.index, self.length, self.proof_layers] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }

    /// Follows the rules of BEP 52 (a power of two, aligned) and our limits, so that it is worth
    /// looking up.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.length >= 2
            && self.length <= HASH_REQUEST_LEN_MAX
            && self.length.is_power_of_two()
            && self.index.is_multiple_of(self.length)
            && self.base < PROOF_LAYERS_MAX
            && self.proof_layers <= PROOF_LAYERS_MAX
    }
}

/// A message, its variable part borrowed from the bytes it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Nothing but a sign of life.
    KeepAlive,
    /// Requests will not be answered.
    Choke,
    /// Requests will be answered.
    Unchoke,
    /// The sender wants something.
    Interested,
    /// The sender wants nothing.
    NotInterested,
    /// The sender has one more piece.
    Have(PieceIndex),
    /// All that the sender has; see [`crate::Bitfield::decode`].
    Bitfield(&'a [u8]),
    /// Asks for a block, or for a run of them where that was agreed on.
    Request(Block),
    /// A block (or run) and its data, of the length that the block says.
    Block(Block, &'a [u8]),
    /// Takes a request back.
    Cancel(Block),
    /// The UDP port of the sender's DHT node.
    Port(u16),
    /// A piece that the receiver might fetch.
    Suggest(PieceIndex),
    /// The sender has everything.
    HaveAll,
    /// The sender has nothing.
    HaveNone,
    /// A request will not be answered.
    Reject(Block),
    /// A piece that may be fetched while choked.
    AllowedFast(PieceIndex),
    /// A message of the extension with that number (0 is the handshake); see [`super::extension`].
    Extended(u8, &'a [u8]),
    /// Asks for hashes.
    HashRequest(HashRange),
    /// Hashes, 32 bytes each; see [`hashes`].
    Hashes(HashRange, &'a [u8]),
    /// A hash request will not be answered.
    HashReject(HashRange),
    /// A kind that we do not know.
    Unknown(u8),
}

impl<'a> Message<'a> {
    /// Reads the payload (what follows the id) of a message whose [`Head`] was accepted.
    pub fn decode(id: Id, payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("peer message", payload);
        let message = match id {
            Id::Choke => Self::Choke,
            Id::Unchoke => Self::Unchoke,
            Id::Interested => Self::Interested,
            Id::NotInterested => Self::NotInterested,
            Id::Have => Self::Have(PieceIndex(reader.u32()?)),
            Id::Bitfield => Self::Bitfield(reader.rest()),
            Id::Request => Self::Request(decode_block(&mut reader)?),
            Id::Block => {
                let (piece, begin) = (PieceIndex(reader.u32()?), reader.u32()?);
                let data = reader.rest();
                Self::Block(Block { piece, begin, len: data.len() as u32 }, data)
            }
            Id::Cancel => Self::Cancel(decode_block(&mut reader)?),
            Id::Port => Self::Port(reader.u16()?),
            Id::Suggest => Self::Suggest(PieceIndex(reader.u32()?)),
            Id::HaveAll => Self::HaveAll,
            Id::HaveNone => Self::HaveNone,
            Id::Reject => Self::Reject(decode_block(&mut reader)?),
            Id::AllowedFast => Self::AllowedFast(PieceIndex(reader.u32()?)),
            Id::Extended => Self::Extended(reader.u8()?, reader.rest()),
            Id::HashRequest => Self::HashRequest(HashRange::decode(&mut reader)?),
            Id::Hashes => Self::Hashes(HashRange::decode(&mut reader)?, reader.rest()),
            Id::HashReject => Self::HashReject(HashRange::decode(&mut reader)?),
            Id::Unknown(id) => {
                reader.rest();
                Self::Unknown(id)
            }
        };
        reader.finish()?;
        Ok(message)
    }

    /// Reads one whole message off the front of `bytes`: it and the bytes it took, or `None` when it
    /// is not all there. `bitfield_len` is the longest bitfield that is acceptable.
    pub fn decode_prefix(
        bytes: &'a [u8],
        bitfield_len: u32,
    ) -> Result<Option<(Self, usize)>, DecodeError> {
        let Some(Head::Message(id, len)) = Head::decode(bytes, bitfield_len)? else {
            let keep_alive = bytes.starts_with(&[0; PREFIX_LEN]);
            return Ok(keep_alive.then_some((Self::KeepAlive, PREFIX_LEN)));
        };
        let start = PREFIX_LEN + 1;
        let end = start + len as usize;
        match bytes.get(start..end) {
            Some(payload) => Ok(Some((Self::decode(id, payload)?, end))),
            None => Ok(None),
        }
    }

    /// Appends the message as it travels.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; PREFIX_LEN]);
        self.encode_body(out);
        let len = (out.len() - start - PREFIX_LEN) as u32;
        out[start..start + PREFIX_LEN].copy_from_slice(&len.to_be_bytes());
    }

    fn encode_body(&self, out: &mut Vec<u8>) {
        let mut plain = |id: Id, payload: &[u8]| {
            out.push(id.into());
            out.extend_from_slice(payload);
        };
        match self {
            Self::KeepAlive => {}
            Self::Choke => plain(Id::Choke, &[]),
            Self::Unchoke => plain(Id::Unchoke, &[]),
            Self::Interested => plain(Id::Interested, &[]),
            Self::NotInterested => plain(Id::NotInterested, &[]),
            Self::Have(piece) => plain(Id::Have, &piece.0.to_be_bytes()),
            Self::Bitfield(bits) => plain(Id::Bitfield, bits),
            Self::Request(block) => plain(Id::Request, &encode_block(*block)),
            Self::Block(block, data) => {
                out.extend_from_slice(&block_header(*block)[PREFIX_LEN..]);
                out.extend_from_slice(data);
            }
            Self::Cancel(block) => plain(Id::Cancel, &encode_block(*block)),
            Self::Port(port) => plain(Id::Port, &port.to_be_bytes()),
            Self::Suggest(piece) => plain(Id::Suggest, &piece.0.to_be_bytes()),
            Self::HaveAll => plain(Id::HaveAll, &[]),
            Self::HaveNone => plain(Id::HaveNone, &[]),
            Self::Reject(block) => plain(Id::Reject, &encode_block(*block)),
            Self::AllowedFast(piece) => plain(Id::AllowedFast, &piece.0.to_be_bytes()),
            Self::Extended(id, payload) => {
                plain(Id::Extended, &[*id]);
                out.extend_from_slice(payload);
            }
            Self::HashRequest(range) => {
                plain(Id::HashRequest, &[]);
                range.encode(out);
            }
            Self::Hashes(range, hashes) => {
                plain(Id::Hashes, &[]);
                range.encode(out);
                out.extend_from_slice(hashes);
            }
            Self::HashReject(range) => {
                plain(Id::HashReject, &[]);
                range.encode(out);
            }
            Self::Unknown(id) => plain(Id::Unknown(*id), &[]),
        }
    }
}

/// Cuts the payload of [`Message::Hashes`] into hashes; refuses a broken last one.
pub fn hashes(bytes: &[u8]) -> Result<Vec<MerkleHash>, DecodeError> {
    let (hashes, rest) = bytes.as_chunks::<{ MerkleHash::LEN }>();
    if rest.is_empty() {
        Ok(hashes.iter().map(|hash| MerkleHash(*hash)).collect())
    } else {
        Err(DecodeError::invalid("hashes message", "not a whole number of hashes"))
    }
}

fn decode_block(reader: &mut Reader<'_>) -> Result<Block, DecodeError> {
    Ok(Block { piece: PieceIndex(reader.u32()?), begin: reader.u32()?, len: reader.u32()? })
}

fn encode_block(block: Block) -> [u8; 12] {
    let mut bytes = [0; 12];
    for (field, number) in bytes.chunks_exact_mut(4).zip([block.piece.0, block.begin, block.len]) {
        field.copy_from_slice(&number.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::BLOCK_LEN;

    fn arbitrary(kind: u8, numbers: [u32; 6], root: [u8; 32], data: &[u8]) -> Message<'_> {
        let piece = PieceIndex(numbers[0]);
        let block = Block { piece, begin: numbers[1], len: numbers[2] };
        let [base, index, length, proof_layers] = [numbers[0], numbers[1], numbers[2], numbers[3]];
        let range = HashRange { root: MerkleHash(root), base, index, length, proof_layers };
        match Id::from(kind) {
            Id::Choke => Message::Choke,
            Id::Unchoke => Message::Unchoke,
            Id::Interested => Message::Interested,
            Id::NotInterested => Message::NotInterested,
            Id::Have => Message::Have(piece),
            Id::Bitfield => Message::Bitfield(data),
            Id::Request => Message::Request(block),
            Id::Block => Message::Block(Block { len: data.len() as u32, ..block }, data),
            Id::Cancel => Message::Cancel(block),
            Id::Port => Message::Port(numbers[0] as u16),
            Id::Suggest => Message::Suggest(piece),
            Id::HaveAll => Message::HaveAll,
            Id::HaveNone => Message::HaveNone,
            Id::Reject => Message::Reject(block),
            Id::AllowedFast => Message::AllowedFast(piece),
            Id::Extended => Message::Extended(numbers[0] as u8, data),
            Id::HashRequest => Message::HashRequest(range),
            Id::Hashes => Message::Hashes(range, data),
            Id::HashReject => Message::HashReject(range),
            Id::Unknown(10) => Message::KeepAlive,
            Id::Unknown(id) => Message::Unknown(id),
        }
    }

    proptest! {
        #[test]
        fn messages_round_trip(
            kind in 0..24_u8,
            numbers: [u32; 6],
            root: [u8; 32],
            data in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let message = arbitrary(kind, numbers, root, &data);
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            let whole = bytes.len();
            for cut in 0..whole {
                prop_assert_eq!(Message::decode_prefix(&bytes[..cut], 100), Ok(None));
            }
            bytes.extend_from_slice(&data);
            prop_assert_eq!(Message::decode_prefix(&bytes, 100), Ok(Some((message, whole))));
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..200), id: u8) {
            let _ = Message::decode_prefix(&bytes, 100);
            let _ = Message::decode(Id::from(id), &bytes);
        }
    }

    #[test]
    fn a_request_travels_as_bep_3_says() {
        let mut bytes = Vec::new();
        let block = Block { piece: PieceIndex(1), begin: BLOCK_LEN, len: BLOCK_LEN };
        Message::Request(block).encode(&mut bytes);
        assert_eq!(bytes, [0, 0, 0, 13, 6, 0, 0, 0, 1, 0, 0, 0x40, 0, 0, 0, 0x40, 0]);
    }

    #[test]
    fn hash_ranges_must_be_aligned_powers_of_two() {
        let good =
            HashRange { root: MerkleHash([1; 32]), base: 0, index: 8, length: 8, proof_layers: 3 };
        assert!(good.is_valid());
        assert!(!HashRange { length: 1, ..good }.is_valid());
        assert!(!HashRange { length: 6, ..good }.is_valid());
        assert!(!HashRange { length: 16, ..good }.is_valid());
        assert!(!HashRange { length: 1024, index: 0, ..good }.is_valid());
        assert!(!HashRange { proof_layers: 65, ..good }.is_valid());
        assert!(!HashRange { base: 64, ..good }.is_valid());
    }

    #[test]
    fn broken_hashes_are_refused() {
        assert_eq!(hashes(&[7; 64]), Ok(vec![MerkleHash([7; 32]); 2]));
        assert!(hashes(&[7; 65]).is_err());
    }
}

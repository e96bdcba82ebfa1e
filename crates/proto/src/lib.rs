//! Ids, bencode, metainfo, merkle trees and every wire format.
//!
//! Knows no time, no state, no I/O: bytes in, values out, and back. After decoding, illegal values
//! do not exist; each limit is checked before memory is taken.
//!
//! | specification | module |
//! |---|---|
//! | RFC 1918, 4193 local addresses | [`address`] |
//! | BEP 3 bencode | [`bencode`] |
//! | BEP 3, 12, 27, 47, 52 torrent files | [`metainfo`] |
//! | BEP 52 merkle trees | [`merkle`] |
//! | BEP 9, 52, 53 magnet links | [`magnet`] |
//! | BEP 53 choice of files | [`choice`], [`glob`] |
//! | BEP 3, 6, 9, 10, 11, 21, 52, 54 peer messages | [`peer`] |
//! | BEP 3, 7, 15, 23, 24, 31, 48 trackers | [`tracker`] |
//! | BEP 5, 32, 42, 43 the distributed hash table | [`dht`] |
//! | BEP 14 local service discovery | [`lsd`] |
//! | BEP 29 uTP packets | [`utp`] |
#![forbid(unsafe_code)]

pub mod address;
pub mod bencode;
pub mod bitfield;
pub mod choice;
mod compact;
pub mod dht;
pub mod egress;
mod error;
pub mod glob;
pub mod id;
pub mod lsd;
pub mod magnet;
pub mod merkle;
pub mod metainfo;
pub mod peer;
pub mod piece;
pub mod reader;
pub mod tracker;
pub mod utp;

pub use bitfield::Bitfield;
pub use error::DecodeError;
pub use id::{
    Fingerprint, InfoHash, InfoHashV1, InfoHashV2, InfoHashes, MerkleHash, NodeId, PeerId,
    PieceHash,
};
pub use piece::{BLOCK_LEN, Block, FileIndex, Geometry, PieceIndex, Span};

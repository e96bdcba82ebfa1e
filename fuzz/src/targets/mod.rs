//! What each fuzz target does with its input: decode, then check what must hold of anything accepted.

pub mod bencode;
pub mod dht;
pub mod extension;
pub mod magnet;
pub mod merkle;
pub mod metainfo;
pub mod peer;
pub mod text;
pub mod tracker;
pub mod utp;

/// A target's name, which is also its corpus' folder, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const ALL: &[Target] = &[
    ("bencode", bencode::run),
    ("dht", dht::run),
    ("extension", extension::run),
    ("magnet", magnet::run),
    ("merkle", merkle::run),
    ("metainfo", metainfo::run),
    ("peer", peer::run),
    ("text", text::run),
    ("tracker", tracker::run),
    ("utp", utp::run),
];

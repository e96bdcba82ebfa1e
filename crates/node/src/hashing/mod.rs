//! Content and its hashes: checking pieces in memory, making torrents, checking files on disk.
//!
//! Everything here runs on the caller's threads or on scoped ones that end before the call returns.
//! The hash functions themselves, many messages at once, are in the `digest` crate.

mod tree;
pub mod verify;

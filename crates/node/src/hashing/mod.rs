//! Content and its hashes: checking pieces in memory, making torrents, checking files on disk.
//!
//! Everything here runs on the caller's threads or on scoped ones that end before the call returns.
//! The hash functions themselves, many messages at once, are in the `digest` crate; where files lie
//! in a torrent is decided by `proto::metainfo::Layout`.

pub mod check;
mod control;
pub mod create;
pub mod known;
mod pipeline;
mod recall;
pub mod verify;
mod walk;

pub use control::Control;
pub(crate) use recall::recall;

//! JSON over TCP: a tracker for clients of twenty lines (`docs/protocols/json.md`).
//!
//! Objects, not lines: a request may span lines, and [`Framer`] finds where it ends. Each reply is one
//! line. Peers are known by a name of their own choice and a token; files are known by name and by a
//! number of parts.

mod chunk;
mod frame;
mod reply;
mod request;

#[cfg(test)]
mod tests;

pub use chunk::{Beginning, ChunkRequest, UploadState};
pub use frame::{Framed, Framer};
pub use reply::{File, Peer, Reply, Stats};
pub use request::{FilePage, Request, Session};

/// Bounds of this protocol.
pub mod limits {
    /// Bytes in a request.
    pub const OBJECT_LEN_MAX: usize = 1 << 20;
    /// Objects and lists inside each other.
    pub const DEPTH_MAX: u32 = 8;
    /// Files in one `REGISTER`.
    pub const FILES_MAX: usize = 10_000;
    /// Bytes in a file's or a peer's name, in a token or a secret.
    pub const NAME_LEN_MAX: usize = 255;
    /// Parts of a file.
    pub const PARTS_MAX: u32 = i32::MAX as u32;
    /// Peers in a reply.
    pub const PEERS_MAX: usize = 200;
    /// Files in a page of `FILE_LIST`.
    pub const PAGE_MAX: usize = 1_000;
    /// Hashes in a reply of `CHUNK_HASHES`.
    pub const HASHES_MAX: usize = 10_000;
}

/// Parts of a file of `size` bytes, each of `part_len` but the last. A file without bytes has one.
#[must_use]
pub fn parts_of(size: u64, part_len: u32) -> u32 {
    u32::try_from(size.div_ceil(u64::from(part_len.max(1))).max(1)).unwrap_or(u32::MAX)
}

/// What is wrong with a request; the words go to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The first byte that is no white space does not begin an object.
    #[error("this is not JSON: a request is an object and begins with {{")]
    NotAnObject,
    /// The object goes on and on.
    #[error("the request is longer than {0} bytes")]
    TooLong(usize),
    /// Too many objects and lists inside each other.
    #[error("the request is nested deeper than {} levels", limits::DEPTH_MAX)]
    TooDeep,
    /// It is an object, but not one of ours.
    #[error("{0}")]
    Invalid(String),
}

impl JsonError {
    /// Where the next request begins is not known any more: nothing can follow on this connection.
    #[must_use]
    pub const fn ends_stream(&self) -> bool {
        match self {
            Self::NotAnObject | Self::TooLong(_) | Self::TooDeep => true,
            Self::Invalid(_) => false,
        }
    }
}

//! Text over UDP: a tracker of two words, and chunk lists over TCP (`docs/protocols/text.md`).
//!
//! Datagrams hold fields between semicolons; answers and chunk lists are Python literals. They are read
//! by a grammar of their own, which knows lists of strings and integers and nothing else: nothing that
//! comes from outside is ever evaluated.

mod list;
mod reply;
mod request;

#[cfg(test)]
mod tests;

pub use list::{ChunkList, Item, ListWriter, Scanner, hex_list_len};
pub use reply::{Listed, SeederList};
pub use request::{Register, Request, is_name};

/// Bounds of this protocol.
pub mod limits {
    /// Bytes in a datagram that asks for something.
    pub const DATAGRAM_LEN_MAX: usize = 512;
    /// Bytes in an answer: below every path's limit, so that it comes in one piece or not at all.
    pub const REPLY_LEN_MAX: usize = 1_200;
    /// Bytes in a seeder's name.
    pub const NAME_LEN_MAX: usize = 255;
    /// Bytes in a chunk list that a seeder delivers: hashes of some 15,000 chunks.
    pub const CHUNK_LIST_LEN_MAX: usize = 1 << 20;
    /// Digits of an integer: more than any hash has, and what Python reads without being told to.
    pub const DIGITS_MAX: usize = 4_300;
}

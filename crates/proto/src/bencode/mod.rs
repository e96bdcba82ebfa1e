//! Bencode (BEP 3): the notation of torrent files, tracker replies and extension messages.
//!
//! A document decodes into one flat table of spans over the input: no allocation for each value, no
//! recursion, neither in decoding nor in dropping, so depth costs nothing but its limit. Every value
//! knows its raw bytes, since info hashes are taken over bytes as they came. [`Form::Canonical`]
//! refuses what has a second spelling; [`Form::Lenient`] is for senders that are known to be sloppy.

mod decode;
mod encode;
mod value;

#[cfg(test)]
mod tests;

pub use decode::{decode, decode_prefix};
pub use encode::{DictEncoder, ListEncoder, encode_bytes, encode_int};
pub use value::{Dict, Document, Entries, Items, List, Value};

/// How much to accept, and how strictly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// What is being decoded; errors name it.
    pub what: &'static str,
    /// Longest document in bytes; above 4 GiB it has no effect.
    pub len_max: usize,
    /// Most lists and dictionaries open at one time.
    pub depth_max: usize,
    /// Most values in all: keys, numbers, strings, lists and dictionaries.
    pub values_max: usize,
    /// Which spellings are accepted.
    pub form: Form,
}

/// Which spellings of a value are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Only the canonical one: keys sorted and unique, numbers without leading zeros, no `-0`.
    Canonical,
    /// Also keys in any order (the first of equal ones counts), leading zeros and `-0`.
    Lenient,
}

impl Limits {
    /// One message of the extension protocol (BEP 10, 9, 11), after its length prefix was checked.
    pub const MESSAGE: Self = Self {
        what: "extension message",
        len_max: 1 << 20,
        depth_max: 64,
        values_max: 10_000,
        form: Form::Lenient,
    };

    /// The body of an HTTP tracker's reply: a thousand peers as dictionaries fit many times.
    pub const TRACKER_REPLY: Self = Self {
        what: "tracker reply",
        len_max: 2 << 20,
        depth_max: 64,
        values_max: 200_000,
        form: Form::Lenient,
    };

    /// A torrent file, the info dictionary apart. A `file tree` nests once for each folder, hence a
    /// depth above [`DEPTH_MAX`](crate::metainfo::limits::DEPTH_MAX).
    pub const TORRENT: Self = Self {
        what: "torrent file",
        len_max: 64 << 20,
        depth_max: 112,
        values_max: 4_000_000,
        form: Form::Lenient,
    };

    /// An info dictionary: one spelling only, so that all programs read the same content from it.
    pub const INFO: Self = Self { what: "info dictionary", form: Form::Canonical, ..Self::TORRENT };
}

//! What a torrent may ask for. Each bound holds before the memory it guards is taken.

/// Longest torrent file, in bytes. A million files with their roots fit.
pub const FILE_LEN_MAX: usize = crate::bencode::Limits::TORRENT.len_max;

/// Most pieces: bitfields stay below 256 KiB.
pub const PIECE_COUNT_MAX: u64 = 1 << 21;

/// Most bytes in the piece space: the largest number that JSON keeps exact.
pub const CONTENT_LEN_MAX: u64 = 1 << 53;

/// Shortest piece of v2 and hybrid torrents (BEP 52): one block.
pub const PIECE_LEN_MIN: u32 = crate::BLOCK_LEN;

/// Shortest piece of v1 torrents. BEP 3 has no bound; nobody goes below.
pub const V1_PIECE_LEN_MIN: u32 = 1024;

/// Longest piece: one must fit into memory while it is verified.
pub const PIECE_LEN_MAX: u32 = 512 << 20;

/// Most files, pads and links included.
pub const FILE_COUNT_MAX: usize = 1_000_000;

/// Most components in a path, the file's own name included.
pub const DEPTH_MAX: usize = 100;

/// Longest name of a file or folder in bytes: what file systems can hold.
pub const NAME_LEN_MAX: usize = 255;

/// Longest path in bytes, separators included: `PATH_MAX` of Linux.
pub const PATH_LEN_MAX: usize = 4096;

/// Most trackers that are kept; what comes after is ignored.
pub const TRACKER_COUNT_MAX: usize = 64;

/// Most web seeds that are kept; what comes after is ignored.
pub const WEB_SEED_COUNT_MAX: usize = 32;

/// Longest URL that is kept, in bytes; longer ones are ignored.
pub const URL_LEN_MAX: usize = 2048;

/// Longest comment or program name that is kept, in bytes; longer ones are cut.
pub const TEXT_LEN_MAX: usize = 16 * 1024;

const _: () = {
    // A `file tree` opens a dictionary for each folder and two around each file's entry; the info
    // dictionary and the torrent file are one each, and `symlink path` is a list.
    assert!(DEPTH_MAX + 5 <= crate::bencode::Limits::INFO.depth_max);
    assert!(CONTENT_LEN_MAX <= i64::MAX as u64);
    assert!(PIECE_COUNT_MAX < 1 << 31);
};

//! Magnet links (BEP 9, 52): a torrent by its hashes, without its metadata.

use std::net::SocketAddr;

use crate::InfoHashes;

/// A magnet link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Magnet {
    /// What is asked for (`xt`).
    pub hashes: InfoHashes,
    /// A name to show until the metadata is here (`dn`). Not checked: never use it as a path.
    pub name: Option<String>,
    /// Tracker URLs (`tr`), at most [`TRACKER_COUNT_MAX`].
    pub trackers: Vec<String>,
    /// Peers to try at once (`x.pe`), at most [`PEER_COUNT_MAX`].
    pub peers: Vec<SocketAddr>,
    /// Web seeds (`ws`), at most [`WEB_SEED_COUNT_MAX`].
    pub web_seeds: Vec<String>,
}

/// Most trackers that are kept.
pub const TRACKER_COUNT_MAX: usize = 64;
/// Most web seeds that are kept.
pub const WEB_SEED_COUNT_MAX: usize = 32;
/// Most peers that are kept.
pub const PEER_COUNT_MAX: usize = 64;

//! What peers and trackers say to each other: one vocabulary, one encoding a protocol.
//!
//! [`udp`] is BEP 15, [`http`] is BEP 3, 7, 23, 24, 31 and 48, both in both directions; [`json`] and
//! [`text`] are for clients of twenty lines. A tracker reuses one [`Announced`] for all its replies, so
//! that answering takes no memory.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use crate::{InfoHash, PeerId};

pub mod http;
pub mod json;
pub mod text;
pub mod udp;

/// A peer reports to a swarm and asks for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announce {
    /// The swarm.
    pub info_hash: InfoHash,
    /// The peer's name for itself.
    pub peer_id: PeerId,
    /// The port it listens on; 0 is no port at all, refused by whoever keeps peers.
    pub port: u16,
    /// Payload bytes sent since it started.
    pub uploaded: u64,
    /// Payload bytes received since it started.
    pub downloaded: u64,
    /// Content bytes that it still misses; 0 makes it a seeder. `u64::MAX` when it does not know (a
    /// magnet link without its metadata).
    pub left: u64,
    /// Why it reports.
    pub event: AnnounceEvent,
    /// Peers wanted; the tracker chooses when `None`.
    pub num_want: Option<u32>,
    /// A number that stays the same when the peer's address changes.
    pub key: Option<u32>,
    /// Addresses that the peer claims (`ip`, `ipv4`, `ipv6`). Anybody can claim anything: to be
    /// ignored unless the peer is trusted.
    pub claimed: ClaimedAddrs,
}

/// Addresses that a peer claims beside the one it comes from (BEP 3, 7, 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClaimedAddrs {
    /// `ip`: of any family.
    pub ip: Option<IpAddr>,
    /// `ipv4`, with its own port when one is given.
    pub v4: Option<SocketAddr>,
    /// `ipv6`, with its own port when one is given.
    pub v6: Option<SocketAddr>,
}

/// Why a peer reports (BEP 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnnounceEvent {
    /// Regular.
    #[default]
    None,
    /// First time.
    Started,
    /// All content came in since the start.
    Completed,
    /// The peer leaves.
    Stopped,
}

/// The reply to an [`Announce`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Announced {
    /// Seconds until the next regular announce.
    pub interval: u32,
    /// Seconds that must pass before any announce but an event (HTTP only).
    pub min_interval: Option<u32>,
    /// Peers with all content.
    pub seeders: u32,
    /// Peers without.
    pub leechers: u32,
    /// Peers to connect to.
    pub peers: Vec<TrackedPeer>,
    /// The peer's own address as the tracker sees it (BEP 24, HTTP only).
    pub external_ip: Option<IpAddr>,
    /// Words for people (HTTP only).
    pub warning: Option<Cow<'static, str>>,
}

/// A peer in a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackedPeer {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its name for itself; only in HTTP's non-compact form.
    pub peer_id: Option<PeerId>,
}

impl From<SocketAddr> for TrackedPeer {
    fn from(addr: SocketAddr) -> Self {
        Self { addr, peer_id: None }
    }
}

/// Asks for the counts of swarms (BEP 48, 15).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scrape {
    /// The swarms.
    pub info_hashes: Vec<InfoHash>,
}

/// The reply to a [`Scrape`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scraped {
    /// The counts, in the order of the request. HTTP leaves out swarms that the tracker does not
    /// know; they read as zeros.
    pub swarms: Vec<SwarmCounts>,
}

/// How many peers a swarm has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SwarmCounts {
    /// Peers with all content.
    pub seeders: u32,
    /// Times that a peer reported completion.
    pub completed: u32,
    /// Peers without all content.
    pub leechers: u32,
}

/// The tracker does not answer a request, and says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the tracker refused: {reason}")]
pub struct Refusal {
    /// Words for people.
    pub reason: Cow<'static, str>,
    /// When it is worth to try again (BEP 31, HTTP only).
    pub retry: Option<RetryIn>,
}

impl Refusal {
    /// A refusal that says nothing about later.
    #[must_use]
    pub const fn new(reason: &'static str) -> Self {
        Self { reason: Cow::Borrowed(reason), retry: None }
    }
}

/// When to try again after a refusal (BEP 31).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryIn {
    /// The refusal is for good.
    Never,
    /// Minutes to wait.
    Minutes(u32),
}

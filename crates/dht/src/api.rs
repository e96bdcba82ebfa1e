//! What a caller gives to a node of the table and gets from it.

use std::net::{IpAddr, SocketAddr};

use proto::InfoHash;

/// How a node behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where chance and secrets come from: nobody else may know or guess it.
    pub seed: [u8; 16],
    /// Takes part in the IPv4 network.
    pub v4: bool,
    /// Takes part in the IPv6 network.
    pub v6: bool,
    /// Asks and never answers (BEP 43).
    pub read_only: bool,
    /// Our program, as others see it: two letters and two numbers.
    pub version: [u8; 4],
    /// Addresses to start from.
    pub roots: Vec<SocketAddr>,
    /// What [`crate::Dht::save`] gave in an earlier run; what is damaged counts as nothing.
    pub saved: Vec<u8>,
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// Its payload.
    pub bytes: Vec<u8>,
    /// It answers the datagram that was handled last, and is to leave from where that one came in: whoever
    /// asked, and the NATs in between, take an answer from nowhere else.
    pub is_answer: bool,
}

/// Something that the caller wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A search found these; each is reported once.
    Peers {
        /// Which search.
        info_hash: InfoHash,
        /// Where there may be peers.
        peers: Vec<SocketAddr>,
    },
    /// A search has ended.
    Searched {
        /// Which one.
        info_hash: InfoHash,
        /// Peers that it found.
        peers: usize,
        /// Nodes that took our announce.
        announced: usize,
    },
    /// Most of those who were asked see us at this address.
    External(IpAddr),
}

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Good nodes of the IPv4 table.
    pub nodes_v4: usize,
    /// Good nodes of the IPv6 table.
    pub nodes_v6: usize,
    /// Peers kept for others.
    pub stored: usize,
    /// Searches under way or waiting.
    pub searches: usize,
    /// Datagrams that were no messages.
    pub malformed: u64,
    /// Questions left unanswered: their source or all together ask too much, or the answer would have been
    /// too long for somebody who has not proved their address.
    pub refused: u64,
}

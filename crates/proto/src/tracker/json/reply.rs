//! What clients are told.

use std::net::IpAddr;

use serde::Serialize;

use super::UploadState;

/// A reply. It is one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// To `AUTH`.
    Token {
        /// `OK`.
        status: &'static str,
        /// To be shown with every other request.
        token: String,
    },
    /// To `REGISTER`, and to what needs no more than an acknowledgement.
    Status {
        /// `REGISTERED` or `ACK`.
        status: &'static str,
    },
    /// Nothing was done.
    Error {
        /// `ERROR`.
        status: &'static str,
        /// Why.
        error: String,
    },
    /// To `PEER_LIST`.
    Peers {
        /// Who can be asked for the file.
        peers: Vec<Peer>,
        /// Its parts; 0 when nobody knows it.
        total_parts: u32,
    },
    /// To `FILE_LIST`.
    Files {
        /// In the order of their names.
        files: Vec<File>,
        /// Where the next page begins; `None` after the last one.
        next: Option<String>,
    },
    /// To `GET_COUNT`.
    ChunkCount {
        /// `CHUNK_COUNT`.
        #[serde(rename = "type")]
        kind: &'static str,
        /// The file.
        file_name: String,
        /// Parts of the file.
        count: u32,
        /// Bytes in each part but the last.
        chunk_size: Option<u32>,
        /// Bytes in the file.
        size: Option<u64>,
    },
    /// To `CHUNK_HASHES`.
    ChunkHashes {
        /// `CHUNK_HASHES`.
        #[serde(rename = "type")]
        kind: &'static str,
        /// In hex.
        hashes: Vec<String>,
    },
    /// To `STATS`.
    Stats(Stats),
    /// To `GET`: the bytes of the part follow the line.
    ChunkData {
        /// `CHUNK_DATA`.
        #[serde(rename = "type")]
        kind: &'static str,
        /// The part.
        index: u32,
        /// How many bytes follow.
        length: u32,
    },
    /// To `STATE`, and to a `GET` that waited too long.
    State {
        /// `STATE`.
        #[serde(rename = "type")]
        kind: &'static str,
        /// How busy the peer is.
        state: UploadState,
        /// Requests for parts that wait.
        queue: usize,
    },
}

/// A peer in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// Its name for itself.
    pub peer_id: String,
    /// Where it serves.
    pub ip: IpAddr,
    /// The port there.
    pub port: u16,
}

/// A file in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct File {
    /// Its name.
    pub file_name: String,
    /// Its bytes, when the catalogue knows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its parts.
    pub total_parts: u32,
    /// BitTorrent peers with all of it.
    pub seeders: u32,
    /// BitTorrent peers with less.
    pub leechers: u32,
    /// Peers that registered it by this protocol.
    pub simple_peers: u32,
}

/// Totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Stats {
    /// Peers that are registered by this protocol.
    pub peers: usize,
    /// Files that they have.
    pub files: usize,
    /// Requests answered since the start.
    pub requests: u64,
}

impl Reply {
    /// To `AUTH`.
    #[must_use]
    pub const fn token(token: String) -> Self {
        Self::Token { status: "OK", token }
    }

    /// To `REGISTER`.
    #[must_use]
    pub const fn registered() -> Self {
        Self::Status { status: "REGISTERED" }
    }

    /// To `KEEPALIVE`, `UNREGISTER` and `BECOME_SEEDER`.
    #[must_use]
    pub const fn ack() -> Self {
        Self::Status { status: "ACK" }
    }

    /// Nothing was done, and why.
    pub fn error(reason: impl ToString) -> Self {
        Self::Error { status: "ERROR", error: reason.to_string() }
    }

    /// What every request but `AUTH` gets without a good token.
    #[must_use]
    pub fn invalid_token() -> Self {
        Self::error("Invalid token")
    }

    /// To `GET_COUNT`.
    #[must_use]
    pub const fn chunk_count(
        file_name: String,
        count: u32,
        chunk_size: Option<u32>,
        size: Option<u64>,
    ) -> Self {
        Self::ChunkCount { kind: "CHUNK_COUNT", file_name, count, chunk_size, size }
    }

    /// To `CHUNK_HASHES`.
    #[must_use]
    pub const fn chunk_hashes(hashes: Vec<String>) -> Self {
        Self::ChunkHashes { kind: "CHUNK_HASHES", hashes }
    }

    /// To `GET`; the bytes follow.
    #[must_use]
    pub const fn chunk_data(index: u32, length: u32) -> Self {
        Self::ChunkData { kind: "CHUNK_DATA", index, length }
    }

    /// To `STATE`.
    #[must_use]
    pub const fn state(state: UploadState, queue: usize) -> Self {
        Self::State { kind: "STATE", state, queue }
    }

    /// Appends the reply and a newline.
    pub fn encode(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(&mut *out, self)
            .expect("strings and numbers can be written to memory");
        out.push(b'\n');
    }
}

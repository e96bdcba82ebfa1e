//! Connections: two ends, bytes in flight, order kept.
//!
//! A node's uplink and downlink each send one chunk after another; a chunk waits for both. What an end
//! may have in flight is bounded like a socket's buffer, so a slow reader holds its writer back.

use std::io::IoSlice;
use std::time::Duration;

use proto::Block;
use swarm::{Connected, PeerKey, Session};

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) key: Option<PeerKey>,
    /// Until it ends.
    pub(crate) session: Option<Session>,
    /// What the handshakes settle, as this end sees it.
    pub(crate) connected: Connected,
    /// Bytes handed to the link that have not left the uplink.
    pub(crate) in_flight: usize,
    /// When the last byte handed to the link leaves the uplink.
    pub(crate) last_departure: Duration,
    pub(crate) timer_at: Option<Duration>,
    /// Requests of this end that have not ended, for the oracle.
    pub(crate) owed: Vec<Block>,
}

impl End {
    pub(crate) const fn new(node: usize, connected: Connected) -> Self {
        Self {
            node,
            key: None,
            session: None,
            connected,
            in_flight: 0,
            last_departure: Duration::ZERO,
            timer_at: None,
            owed: Vec::new(),
        }
    }

    /// Takes the next bytes to send from the session, if the link has room.
    pub(crate) fn take_bytes(&mut self, now: std::time::Instant) -> Option<Vec<u8>> {
        let room = SOCKET_BUFFER.saturating_sub(self.in_flight).min(CHUNK);
        let session = self.session.as_mut().filter(|_| room > 0)?;
        let mut slices: Vec<IoSlice<'_>> = Vec::new();
        session.transmit(&mut slices);
        let mut bytes = Vec::with_capacity(room);
        for slice in slices {
            let taken = slice.len().min(room - bytes.len());
            bytes.extend_from_slice(&slice[..taken]);
        }
        if bytes.is_empty() {
            return None;
        }
        session.transmitted(now, bytes.len());
        self.in_flight += bytes.len();
        Some(bytes)
    }
}

/// A connection: the dialler's end, then the other.
#[derive(Debug)]
pub(crate) struct Connection(pub(crate) [End; 2]);

/// A node's access to the network.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) latency: Duration,
    pub(crate) up_free_at: Duration,
    pub(crate) down_free_at: Duration,
}

/// How long `len` bytes take at `rate` bytes a second.
pub(crate) fn airtime(len: usize, rate: u64) -> Duration {
    Duration::from_nanos((len as u128 * 1_000_000_000 / u128::from(rate.max(1))) as u64)
}

/// Bytes that one end may have waiting for its uplink.
const SOCKET_BUFFER: usize = 32 * 1024;
/// Bytes that travel together.
const CHUNK: usize = 16 * 1024 + 13;

//! Bounds of the handshake. All are the protocol's own, so that memory a connection is a few kilobytes.

use crate::keys::KEY_LEN;

/// Bytes of padding at most, in each of the four places.
pub const PAD_LEN_MAX: usize = 512;

/// Bytes of the caller's stream that may travel inside its handshake: a length has 16 bits, but what
/// fits there is a BitTorrent handshake and the first messages, and a peer that sends more can send it later.
pub(crate) const BEGINNING_LEN_MAX: usize = 4_096;

/// Where the mark behind key and padding begins at the latest.
pub(crate) const SYNC_LEN_MAX: usize = KEY_LEN + PAD_LEN_MAX;

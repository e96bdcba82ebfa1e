//! Whole nodes on loopback: real sockets, real files, no tracker.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod content;
mod dht;
mod encryption;
mod moving;
mod recalling;
mod selection;
mod two_nodes;
mod utp;

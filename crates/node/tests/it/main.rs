//! Whole nodes on loopback: real sockets, real files, no tracker.

mod content;
mod two_nodes;

//! The program as scripts see it: real processes, real sockets on loopback.

mod common;
mod torrent;
mod tracker;
mod transfer;
mod usage;

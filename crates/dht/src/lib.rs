//! A node of the distributed hash table (BEP 5, 32, 42, 43), without sockets, clocks or tasks.
//!
//! Datagrams, time and chance come in as arguments; what must happen goes out as values. The contract:
//!
//! 1. After any call that takes `now`, drain [`Dht::poll_transmit`] and [`Dht::poll_event`].
//! 2. `now` never goes back. No clock, no global random generator (the seed is in [`Config`]), no I/O,
//!    no tasks, no locks, no iteration over hash maps.
//! 3. Every queue and table has a bound in [`limits`], with its reason. Reaching it is a decision,
//!    never growth.
//! 4. Same seed and same inputs, same datagrams.
//! 5. Nothing from outside is believed: a node is one that answered from its own address; a stranger's
//!    word leads to no address of a local network; who has not proved their address gets at most
//!    [`limits::AMPLIFICATION_MAX`] times the bytes that they sent. Whoever asks us may be asked back, one
//!    every [`limits::ACQUAINT_EVERY`]; whom an answer names may be asked by that lookup, at most
//!    [`limits::LOOKUP_ASKED_MAX`] of them. Such a question is small, and more than that is in nobody's hand.
//!
//! IPv4 and IPv6 are two networks (BEP 32): each has its own id, table and searches.
#![forbid(unsafe_code)]

mod answers;
mod api;
mod budget;
mod external;
pub mod limits;
mod lookup;
mod network;
mod node;
mod proven;
mod requests;
mod searches;
mod space;
mod state;
mod store;
mod table;
mod tokens;
mod upkeep;

pub use api::{Config, Event, Stats, Transmit};
pub use node::Dht;

/// Some instant for tests: they never read the clock again.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need one instant to count from")]
fn test_now() -> std::time::Instant {
    std::time::Instant::now()
}

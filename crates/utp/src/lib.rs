//! Connections of the uTorrent transport protocol (BEP 29) with LEDBAT (RFC 6817), without sockets,
//! clocks or tasks.
//!
//! An [`Endpoint`] owns all connections of one UDP port. Datagrams, time and chance come in as arguments;
//! datagrams to send and news for the owners of streams go out as values. The contract:
//!
//! 1. After [`Endpoint::handle_datagram`] (of a batch), [`Endpoint::handle_timeout`], or any call for a
//!    stream, drain [`Endpoint::poll_transmit`], [`Endpoint::poll_ready`] and [`Endpoint::poll_accept`].
//! 2. `now` never goes back. No clock, no I/O, no tasks, no locks, no iteration over hash maps.
//! 3. Every queue and table has a bound in [`limits`], with its reason.
//! 4. Same seed and same inputs, same outputs.
//! 5. Each byte that was written arrives once, in order, or the stream ends with an error. The end of a
//!    stream is told after its last byte.
#![forbid(unsafe_code)]

mod ack;
mod connection;
mod delay;
mod endpoint;
mod half_open;
mod incoming;
mod ledbat;
pub mod limits;
mod mtu;
mod outgoing;
mod pace;
mod peak;
mod rtt;
mod slowdown;
mod transmit;

pub use connection::Ended;
pub use endpoint::{Config, ConnectError, Endpoint, Key, Stats};
pub use transmit::Transmit;

/// Some instant for tests: they never read the clock again.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need one instant to count from")]
fn test_now() -> std::time::Instant {
    std::time::Instant::now()
}

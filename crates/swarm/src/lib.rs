//! One peer's session and one torrent's swarm, without sockets, clocks or tasks.
//!
//! Bytes, time and chance come in as arguments; what must happen goes out as values. The contract:
//!
//! 1. After any `handle_*` (of a batch), drain every `poll_*`.
//! 2. `now` never goes back. No clock, no global random generator (the seed is in the config), no I/O,
//!    no tasks, no locks, no iteration over hash maps.
//! 3. Every queue and table has a bound in [`limits`], with its reason. Reaching it is a decision,
//!    never growth.
//! 4. Same seed and same inputs, same actions.
//! 5. A peer's fault ends that peer. A disk's fault pauses the torrent. A broken invariant panics in
//!    tests and in the simulator.
//! 6. Conservation: every request sent ends in exactly one of block, rejected, dropped. Choke and
//!    interest are latest-wins flags.
#![forbid(unsafe_code)]

mod buffer;
pub mod event;
pub mod limits;
mod session;
mod swarm;

pub use buffer::BlockBuf;
pub use event::*;
pub use session::*;
pub use swarm::*;

/// Some instant for tests: they never read the clock again.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need one instant to count from")]
fn test_now() -> std::time::Instant {
    std::time::Instant::now()
}

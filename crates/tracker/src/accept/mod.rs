//! Taking connections in: a bounded number at once, until the tracker stops.
//!
//! When there are as many as there may be, a newcomer gets the place of one that does nothing
//! ([`room`]): slow sockets, however many, do not lock others out.

mod room;
mod turns;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::sample::Sample;
use room::Room;
pub(crate) use room::Seat;
pub(crate) use turns::{Turn, Turns};

/// What a port has taken in.
#[derive(Debug, Default)]
pub struct ConnectionCounters {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections closed at once, since there were too many.
    pub turned_away: AtomicU64,
    /// Connections ended to make room for others.
    pub evicted: AtomicU64,
    open: Arc<AtomicU64>,
}

impl ConnectionCounters {
    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }
}

/// The connections of one kind.
#[derive(Debug)]
pub(crate) struct Gate {
    room: Arc<Room>,
    stop: CancellationToken,
}

impl Gate {
    /// At most `connections_max` at once.
    pub(crate) fn new(connections_max: usize, stop: CancellationToken) -> Self {
        Self { room: Room::new(connections_max), stop }
    }

    /// Cancelled when the tracker stops.
    pub(crate) const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Accepts connections until the tracker stops. `handle` keeps the seat as long as the connection,
    /// runs it by [`Seat::hold`], and tells the seat of each request that is complete.
    pub(crate) async fn accept(
        &self,
        listener: TcpListener,
        counters: &ConnectionCounters,
        mut handle: impl FnMut(TcpStream, SocketAddr, Seat),
    ) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stop.cancelled() => return,
            };
            let (stream, addr) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: one connection's end helps.
                    static SAMPLE: Sample = Sample::new();
                    if let Some(left_out) = SAMPLE.take_one() {
                        tracing::warn!(%error, left_out, "accepting a connection");
                    }
                    counters.evicted.fetch_add(u64::from(self.room.evict()), Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            counters.accepted.fetch_add(1, Ordering::Relaxed);
            let ip = addr.ip().to_canonical();
            match self.room.enter(ip, &counters.open) {
                Some((seat, made_room)) => {
                    counters.evicted.fetch_add(u64::from(made_room), Ordering::Relaxed);
                    handle(stream, SocketAddr::new(ip, addr.port()), seat);
                }
                None => {
                    static SAMPLE: Sample = Sample::new();
                    counters.turned_away.fetch_add(1, Ordering::Relaxed);
                    if let Some(left_out) = SAMPLE.take_one() {
                        tracing::warn!(left_out, "too many connections: one was turned away");
                    }
                }
            }
        }
    }
}

const PAUSE: Duration = Duration::from_millis(5);

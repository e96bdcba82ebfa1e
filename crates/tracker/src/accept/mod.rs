//! Taking connections in: a bounded number at once, until the tracker stops.
//!
//! When there are as many as there may be, a newcomer gets the place of one that does nothing
//! ([`room`]): slow sockets, however many, do not lock others out.

mod room;
mod turns;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sys::tcp::Listener;
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

/// A connection that was just accepted. It has no seat, and nobody watches what comes.
#[derive(Debug)]
pub(crate) struct Newcomer {
    /// Does not block.
    pub(crate) stream: std::net::TcpStream,
    /// The client's end, in canonical form.
    pub(crate) remote: SocketAddr,
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
        let handle = |newcomer: Newcomer| {
            let remote = newcomer.remote;
            if let Some((stream, seat)) = self.seat(newcomer, counters) {
                handle(stream, remote, seat);
            }
        };
        match watch(listener) {
            Ok(listener) => self.accept_newcomers(&listener, counters, handle).await,
            Err(error) => tracing::error!(%error, "listening for connections"),
        }
    }

    /// Accepts connections until the tracker stops; `handle` ends each at once or asks for a seat.
    pub(crate) async fn accept_newcomers(
        &self,
        listener: &Listener,
        counters: &ConnectionCounters,
        mut handle: impl FnMut(Newcomer),
    ) {
        let mut stopped = pin!(self.stop.cancelled());
        loop {
            let accepted = tokio::select! {
                biased;
                accepted = listener.accept() => accepted,
                () = &mut stopped => return,
            };
            match accepted {
                Ok((stream, addr)) => {
                    counters.accepted.fetch_add(1, Ordering::Relaxed);
                    let remote = SocketAddr::new(addr.ip().to_canonical(), addr.port());
                    handle(Newcomer { stream, remote });
                }
                Err(error) => {
                    // Out of descriptors, most likely: one connection's end helps.
                    static SAMPLE: Sample = Sample::new();
                    if let Some(left_out) = SAMPLE.take_one() {
                        tracing::warn!(%error, left_out, "accepting a connection");
                    }
                    counters.evicted.fetch_add(u64::from(self.room.evict()), Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// A seat for a connection that goes on, and its stream, watched from now on. `None` when there is no
    /// room; then the connection is closed.
    pub(crate) fn seat(
        &self,
        newcomer: Newcomer,
        counters: &ConnectionCounters,
    ) -> Option<(TcpStream, Seat)> {
        static SAMPLE: Sample = Sample::new();
        let Some((seat, made_room)) = self.room.enter(newcomer.remote.ip(), &counters.open) else {
            counters.turned_away.fetch_add(1, Ordering::Relaxed);
            if let Some(left_out) = SAMPLE.take_one() {
                tracing::warn!(left_out, "too many connections: one was turned away");
            }
            return None;
        };
        counters.evicted.fetch_add(u64::from(made_room), Ordering::Relaxed);
        match TcpStream::from_std(newcomer.stream) {
            Ok(stream) => Some((stream, seat)),
            Err(error) => {
                tracing::trace!(%error, "watching a connection");
                None
            }
        }
    }
}

/// The listener, of which the connections are not watched until somebody wants to.
pub(crate) fn watch(listener: TcpListener) -> io::Result<Listener> {
    Listener::new(listener.into_std()?)
}

const PAUSE: Duration = Duration::from_millis(5);

//! Taking connections in: a bounded number at once, until the tracker stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::sample::Sample;

/// What a port has taken in.
#[derive(Debug, Default)]
pub struct ConnectionCounters {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections closed at once, since there were too many.
    pub turned_away: AtomicU64,
    open: Arc<AtomicU64>,
}

impl ConnectionCounters {
    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }
}

/// The right to a connection; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    _permit: OwnedSemaphorePermit,
    open: Arc<AtomicU64>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connections of one kind.
#[derive(Debug)]
pub(crate) struct Gate {
    permits: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Gate {
    /// At most `connections_max` at once.
    pub(crate) fn new(connections_max: usize, stop: CancellationToken) -> Self {
        Self { permits: Arc::new(Semaphore::new(connections_max)), stop }
    }

    /// Cancelled when the tracker stops.
    pub(crate) const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Accepts connections until the tracker stops. `handle` keeps the permit as long as the connection.
    pub(crate) async fn accept(
        &self,
        listener: TcpListener,
        counters: &ConnectionCounters,
        mut handle: impl FnMut(TcpStream, SocketAddr, Permit),
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
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            counters.accepted.fetch_add(1, Ordering::Relaxed);
            match Arc::clone(&self.permits).try_acquire_owned() {
                Ok(permit) => {
                    let open = Arc::clone(&counters.open);
                    open.fetch_add(1, Ordering::Relaxed);
                    let permit = Permit { _permit: permit, open };
                    let ip = addr.ip().to_canonical();
                    handle(stream, SocketAddr::new(ip, addr.port()), permit);
                }
                Err(_) => {
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

const PAUSE: Duration = Duration::from_millis(50);

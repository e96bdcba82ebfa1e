//! The HTTP port: announces and scrapes (BEP 3, 7, 23, 24, 48) straight from the query, a health
//! check, and a router for everything else.
//!
//! Connections are kept alive and may be pipelined. Their number, their life, the time and the length
//! of a request's head are bounded; the router bounds the bodies that it reads.
//!
//! `plain` moves the bytes of plain requests, `dialogue` finds and answers them, `answer` decides what is
//! said, `patience` how long one is waited for; all other requests are `general`'s, which asks `answer` too.

mod answer;
mod date;
mod dialogue;
mod general;
mod patience;
mod plain;
mod rewound;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accept::{ConnectionCounters, Gate, Newcomer, Seat, watch};
use crate::access::Access;
use crate::latency::Latencies;
use crate::limits::HTTP_HEAD_TIMEOUT;
use crate::lists::Lists;
use crate::proxy::Proxies;
use crate::quota::Quotas;
use crate::server::Shared;
use crate::swarms::Swarms;
use crate::tls::{Begun, Tls};
use dialogue::Dialogue;
pub(crate) use general::{Deadlines, serve_stream};
use plain::converse;

/// What the HTTP port has done.
#[derive(Debug, Default)]
pub struct HttpCounters {
    /// Connections.
    pub connections: ConnectionCounters,
    /// Requests of any kind.
    pub requests: AtomicU64,
    /// Announces answered.
    pub announces: AtomicU64,
    /// Scrapes answered.
    pub scrapes: AtomicU64,
    /// Announces and scrapes refused.
    pub refused: AtomicU64,
    /// Announces and scrapes answered with nothing, since their network asks too often.
    pub limited: AtomicU64,
    /// Announces and scrapes answered with nothing, since a list does not let them in.
    pub denied: AtomicU64,
}

/// The ends of the connection that a request came over: an extension of every request that reaches
/// the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// The client's end, in canonical form.
    pub remote: SocketAddr,
    /// The tracker's end.
    pub local: SocketAddr,
    /// The client spoke TLS, to us or to its proxy.
    pub secure: bool,
    /// A proxy that is believed stands between; then `remote` is the client that it names.
    pub proxied: bool,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct HttpShared {
    pub(crate) swarms: Arc<Swarms>,
    pub(crate) access: Arc<Access>,
    pub(crate) lists: Arc<Lists>,
    pub(crate) quotas: Arc<Quotas>,
    pub(crate) counters: Arc<HttpCounters>,
    pub(crate) latencies: Arc<Latencies>,
    pub(crate) router: Router,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) gate: Gate,
    pub(crate) tasks: TaskTracker,
}

impl HttpShared {
    pub(crate) fn new(shared: &Shared, router: Router, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            swarms: Arc::clone(&shared.swarms),
            access: Arc::clone(&shared.access),
            lists: Arc::clone(&shared.lists),
            quotas: Arc::clone(&shared.quotas),
            counters: Arc::clone(&shared.http),
            latencies: Arc::clone(&shared.latencies),
            router,
            tls: shared.tls.clone(),
            gate: Gate::new(shared.connections_max, stop),
            tasks: TaskTracker::new(),
        })
    }
}

/// An address where HTTP is answered.
#[derive(Debug)]
struct Port {
    proxies: Proxies,
    shared: Arc<HttpShared>,
}

/// Accepts connections until the tracker stops.
pub(crate) async fn serve(listener: TcpListener, proxies: Proxies, shared: Arc<HttpShared>) {
    // Clients speak first: they are answered as soon as they are accepted then.
    let listener = watch(listener).and_then(|listener| {
        listener.wait_for_data()?;
        Ok(listener)
    });
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "listening for HTTP"),
    };
    let port = Arc::new(Port { proxies, shared: Arc::clone(&shared) });
    let counters = &shared.counters.connections;
    let handle = |newcomer: Newcomer| {
        let (mut dialogue, remote) = (Dialogue::default(), newcomer.remote);
        // Here, not in a task of its own: to wake another thread would cost more than to answer.
        if plain::answer_at_once(&newcomer, &mut dialogue, &port) {
            return;
        }
        if let Some((stream, seat)) = shared.gate.seat(newcomer, counters) {
            let port = Arc::clone(&port);
            shared.tasks.spawn(async move {
                let connection = handle_connection(stream, remote, dialogue, &seat, &port);
                if let Some(Err(error)) = seat.hold(Box::pin(connection)).await {
                    tracing::trace!(%error, "HTTP connection");
                }
            });
        }
    };
    shared.gate.accept_newcomers(&listener, counters, handle).await;
}

async fn handle_connection(
    stream: TcpStream,
    remote: SocketAddr,
    dialogue: Dialogue,
    seat: &Seat,
    port: &Port,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let ends = Connection { remote, local: stream.local_addr()?, secure: false, proxied: false };
    match &port.shared.tls {
        // Nothing was read of a connection that may begin with a handshake. Its state is large.
        Some(tls) if dialogue.is_new() => {
            Box::pin(begin_with_tls(stream, tls, ends, seat, port)).await
        }
        Some(_) | None => converse(stream, dialogue, ends, seat, port).await,
    }
}

async fn begin_with_tls(
    stream: TcpStream,
    tls: &Tls,
    ends: Connection,
    seat: &Seat,
    port: &Port,
) -> io::Result<()> {
    let stop = port.shared.gate.stop();
    let begun = tokio::select! {
        begun = tls.begin(stream, HTTP_HEAD_TIMEOUT) => begun?,
        () = stop.cancelled() => return Ok(()),
    };
    match begun {
        Begun::Plain(stream) => converse(stream, Dialogue::default(), ends, seat, port).await,
        Begun::Tls(stream) => {
            let ends = Connection { secure: true, ..ends };
            converse(stream, Dialogue::default(), ends, seat, port).await
        }
        Begun::PlainRefused(stream) => {
            let refuse = |_| async { Ok(general::tls_only()) };
            serve_stream(stream, seat, Deadlines::begin(), refuse, stop).await
        }
    }
}

#[cfg(test)]
mod tests;

//! The operator's port: HTTP with a router of its own, apart from what everybody may reach.
//!
//! It has connections of its own too, so that a crowd on the public port locks no operator out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::accept::{ConnectionCounters, Gate, Seat};
use crate::http::{self, Connection, Deadlines};
use crate::limits::ADMIN_CONNECTIONS_MAX;
use crate::server::Shared;

/// What the operator's port has done.
#[derive(Debug, Default)]
pub struct AdminCounters {
    /// Connections.
    pub connections: ConnectionCounters,
    /// Requests of any kind.
    pub requests: AtomicU64,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct AdminShared {
    shared: Arc<Shared>,
    router: Router,
    gate: Gate,
    pub(crate) tasks: TaskTracker,
}

impl AdminShared {
    pub(crate) fn new(shared: Arc<Shared>, router: Router, stop: CancellationToken) -> Arc<Self> {
        let gate = Gate::new(ADMIN_CONNECTIONS_MAX, stop);
        Arc::new(Self { shared, router, gate, tasks: TaskTracker::new() })
    }
}

/// Accepts connections until the tracker stops.
pub(crate) async fn serve(listener: TcpListener, admin: Arc<AdminShared>) {
    let handle = |stream, remote, seat: Seat| {
        let (task_admin, seat) = (Arc::clone(&admin), Arc::new(seat));
        admin.tasks.spawn(async move {
            let connection = handle_connection(stream, remote, Arc::clone(&seat), task_admin);
            if let Some(Err(error)) = seat.hold(Box::pin(connection)).await {
                tracing::trace!(%error, "connection of the operator");
            }
        });
    };
    admin.gate.accept(listener, &admin.shared.admin.connections, handle).await;
}

async fn handle_connection(
    stream: TcpStream,
    remote: SocketAddr,
    seat: Arc<Seat>,
    admin: Arc<AdminShared>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let ends = Connection { remote, local: stream.local_addr()?, secure: false, proxied: false };
    let stop = admin.gate.stop().clone();
    let respond = move |mut request: Request<Incoming>| {
        admin.shared.admin.requests.fetch_add(1, Ordering::Relaxed);
        request.extensions_mut().insert(ends);
        let router = admin.router.clone();
        async move { router.oneshot(request.map(Body::new)).await }
    };
    http::serve_stream(stream, &seat, Deadlines::begin(), respond, &stop).await
}

//! The HTTP port: announces and scrapes (BEP 3, 7, 23, 24, 48) straight from the query, a health
//! check, and a router for everything else.
//!
//! Connections are kept alive and may be pipelined. Their number, their life, the time and the length
//! of a request's head are bounded; the router bounds the bodies that it reads.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use proto::tracker::http::{
    AnnounceQuery, decode_announce, decode_scrape, encode_announced, encode_refused, encode_scraped,
};
use proto::tracker::{Announced, Refusal};
use registry::Families;
use registry::limits::NUMWANT_MAX;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::accept::{ConnectionCounters, Gate};
use crate::access::{Access, Passkey};
use crate::limits::{
    HTTP_CONNECTION_LIFE_MAX, HTTP_CONNECTIONS_MAX, HTTP_HEAD_LEN_MAX, HTTP_HEAD_TIMEOUT,
    HTTP_STOP_TIMEOUT,
};
use crate::quota::Quotas;
use crate::server::Shared;
use crate::swarms::{Asker, Swarms};

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
}

/// The ends of the connection that a request came over: an extension of every request that reaches
/// the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// The client's end, in canonical form.
    pub remote: SocketAddr,
    /// The tracker's end.
    pub local: SocketAddr,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct HttpShared {
    pub(crate) swarms: Arc<Swarms>,
    pub(crate) access: Arc<Access>,
    pub(crate) quotas: Arc<Quotas>,
    pub(crate) counters: Arc<HttpCounters>,
    pub(crate) router: Router,
    pub(crate) gate: Gate,
    pub(crate) tasks: TaskTracker,
}

impl HttpShared {
    pub(crate) fn new(shared: &Shared, router: Router, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            swarms: Arc::clone(&shared.swarms),
            access: Arc::clone(&shared.access),
            quotas: Arc::clone(&shared.quotas),
            counters: Arc::clone(&shared.http),
            router,
            gate: Gate::new(HTTP_CONNECTIONS_MAX, stop),
            tasks: TaskTracker::new(),
        })
    }
}

/// Accepts connections until the tracker stops.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<HttpShared>) {
    let handle = |stream, remote, permit| {
        let task_shared = Arc::clone(&shared);
        shared.tasks.spawn(async move {
            if let Err(error) = handle_connection(stream, remote, task_shared).await {
                tracing::trace!(%error, "HTTP connection");
            }
            drop(permit);
        });
    };
    shared.gate.accept(listener, &shared.counters.connections, handle).await;
}

async fn handle_connection(
    stream: TcpStream,
    remote: SocketAddr,
    shared: Arc<HttpShared>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let ends = Connection { remote, local: stream.local_addr()? };
    let stop = shared.gate.stop().clone();
    let service = service_fn(move |request| answer(request, ends, Arc::clone(&shared)));
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_HEAD_TIMEOUT)
        .max_buf_size(HTTP_HEAD_LEN_MAX)
        .pipeline_flush(true);
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => return ended.map_err(io::Error::other),
        () = tokio::time::sleep(HTTP_CONNECTION_LIFE_MAX) => {}
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    timeout(HTTP_STOP_TIMEOUT, connection).await?.map_err(io::Error::other)
}

async fn answer(
    mut request: Request<Incoming>,
    ends: Connection,
    shared: Arc<HttpShared>,
) -> Result<Response<Body>, Infallible> {
    shared.counters.requests.fetch_add(1, Ordering::Relaxed);
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let passkey = Passkey::in_path(path);
    let page = passkey.as_ref().map_or(path, |passkey| &path[1 + passkey.reveal().len()..]);
    let respond: fn(&str, Connection, &HttpShared) -> Response<Body> = match page {
        "/announce" => announce,
        "/scrape" => scrape,
        "/health" => |_, _, _| plain("ok\n"),
        _ => {
            request.extensions_mut().insert(ends);
            return shared.router.clone().oneshot(request.map(Body::new)).await;
        }
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = plain("only GET is answered here\n");
        *refusal.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refusal);
    }
    if page != "/health"
        && let Err(denied) = shared.access.announcer(passkey.as_ref())
    {
        return Ok(refuse(&shared, &denied.refusal()));
    }
    Ok(respond(query, ends, &shared))
}

fn announce(query: &str, ends: Connection, shared: &HttpShared) -> Response<Body> {
    let AnnounceQuery { announce, compact, no_peer_id } = match decode_announce(query) {
        Ok(query) => query,
        Err(error) => return refuse(shared, &said(error)),
    };
    if announce.port == 0 {
        return refuse(shared, &Refusal::new("port 0 cannot be connected to"));
    }
    let asker = Asker {
        // Whatever address the announce claims, it is the one it came from that counts.
        peer: SocketAddr::new(ends.remote.ip(), announce.port),
        families: Families::Both,
        peers_max: NUMWANT_MAX,
    };
    let mut reply = Announced::default();
    let now = shared.swarms.tick();
    if shared.quotas.allows(now, ends.remote.ip()) {
        shared.swarms.announce(&announce, &asker, &mut reply);
    } else {
        shared.counters.limited.fetch_add(1, Ordering::Relaxed);
        shared.swarms.put_off(&mut reply);
    }
    reply.external_ip = Some(ends.remote.ip());
    shared.counters.announces.fetch_add(1, Ordering::Relaxed);
    let mut body = Vec::with_capacity(160 + reply.peers.len() * if compact { 18 } else { 64 });
    encode_announced(&mut body, &reply, compact, no_peer_id);
    plain(body)
}

fn scrape(query: &str, ends: Connection, shared: &HttpShared) -> Response<Body> {
    let hashes = match decode_scrape(query) {
        Ok(hashes) => hashes,
        Err(error) => return refuse(shared, &said(error)),
    };
    let now = shared.swarms.tick();
    let allowed = shared.quotas.allows(now, ends.remote.ip());
    shared.counters.limited.fetch_add(u64::from(!allowed), Ordering::Relaxed);
    let known = |hash| Some((hash, shared.swarms.scrape(&hash)?));
    let mut swarms = hashes.into_iter().filter(|_| allowed).filter_map(known).collect();
    shared.counters.scrapes.fetch_add(1, Ordering::Relaxed);
    let mut body = Vec::new();
    encode_scraped(&mut body, &mut swarms);
    plain(body)
}

fn said(error: impl std::fmt::Display) -> Refusal {
    Refusal { reason: error.to_string().into(), retry: None }
}

/// Clients read refusals out of the body; many do not read it at all unless the status is 200.
fn refuse(shared: &HttpShared, refusal: &Refusal) -> Response<Body> {
    shared.counters.refused.fetch_add(1, Ordering::Relaxed);
    let mut body = Vec::new();
    encode_refused(&mut body, refusal);
    plain(body)
}

fn plain(body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

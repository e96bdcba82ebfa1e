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
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use proto::InfoHash;
use proto::tracker::http::{
    AnnounceQuery, decode_announce, decode_scrape, encode_announced, encode_refused, encode_scraped,
};
use proto::tracker::{Announced, Refusal};
use registry::Families;
use registry::limits::NUMWANT_MAX;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::accept::{ConnectionCounters, Gate, Seat};
use crate::access::{Access, Passkey};
use crate::latency::Latencies;
use crate::limits::{
    HTTP_CONNECTION_LIFE_MAX, HTTP_HEAD_LEN_MAX, HTTP_HEAD_TIMEOUT, HTTP_STOP_TIMEOUT,
};
use crate::lists::Lists;
use crate::proxy::{self, Proxies};
use crate::quota::Quotas;
use crate::sample::Sample;
use crate::server::Shared;
use crate::swarms::{Asker, Swarms};
use crate::tls::{Begun, Tls};

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

/// Accepts connections until the tracker stops.
pub(crate) async fn serve(listener: TcpListener, proxies: Proxies, shared: Arc<HttpShared>) {
    let proxies = Arc::new(proxies);
    let handle = |stream, remote, seat: Seat| {
        let (task_shared, proxies) = (Arc::clone(&shared), Arc::clone(&proxies));
        let seat = Arc::new(seat);
        shared.tasks.spawn(async move {
            let connection =
                handle_connection(stream, remote, Arc::clone(&seat), proxies, task_shared);
            if let Some(Err(error)) = seat.hold(Box::pin(connection)).await {
                tracing::trace!(%error, "HTTP connection");
            }
        });
    };
    shared.gate.accept(listener, &shared.counters.connections, handle).await;
}

async fn handle_connection(
    stream: TcpStream,
    remote: SocketAddr,
    seat: Arc<Seat>,
    proxies: Arc<Proxies>,
    shared: Arc<HttpShared>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let ends = Connection { remote, local, secure: false, proxied: false };
    let Some(tls) = &shared.tls else {
        return converse(stream, ends, &seat, proxies, shared).await;
    };
    let begun = tokio::select! {
        begun = tls.begin(stream, HTTP_HEAD_TIMEOUT) => begun?,
        () = shared.gate.stop().cancelled() => return Ok(()),
    };
    match begun {
        Begun::Plain(stream) => converse(stream, ends, &seat, proxies, shared).await,
        Begun::Tls(stream) => {
            converse(stream, Connection { secure: true, ..ends }, &seat, proxies, shared).await
        }
        Begun::PlainRefused(stream) => {
            let refuse = |_| async { Ok(tls_only()) };
            serve_stream(stream, &seat, refuse, shared.gate.stop()).await
        }
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    ends: Connection,
    seat: &Seat,
    proxies: Arc<Proxies>,
    shared: Arc<HttpShared>,
) -> io::Result<()> {
    let stop = shared.gate.stop().clone();
    let respond = move |request: Request<Incoming>| {
        let ends = ends.behind(&proxies, request.headers());
        answer(request, ends, Arc::clone(&shared))
    };
    serve_stream(stream, seat, respond, &stop).await
}

impl Connection {
    /// The same, seen past the proxies that are believed.
    fn behind(self, proxies: &Proxies, headers: &HeaderMap) -> Self {
        let nearest = self.remote.ip();
        if !proxies.trust(nearest) {
            return self;
        }
        let client = proxies.client(nearest, headers);
        // Which port the client has is not told.
        let remote = if client == nearest { self.remote } else { SocketAddr::new(client, 0) };
        let secure = proxy::is_secure(headers).unwrap_or(self.secure);
        Self { remote, secure, proxied: true, ..self }
    }
}

/// Answers requests with `respond` until the client, the time or the tracker ends.
pub(crate) async fn serve_stream<S, F, R>(
    stream: S,
    seat: &Seat,
    respond: F,
    stop: &CancellationToken,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(Request<Incoming>) -> R,
    R: Future<Output = Result<Response<Body>, Infallible>>,
{
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_HEAD_TIMEOUT)
        .max_buf_size(HTTP_HEAD_LEN_MAX)
        .pipeline_flush(true);
    let service = service_fn(async |request| {
        let response = respond(request).await;
        seat.on_completed();
        response
    });
    let connection = server.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
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
    let start = Instant::now();
    let response = respond(query, ends, &shared);
    shared.latencies.http_announce.since(start);
    Ok(response)
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
    let HttpShared { swarms, lists, counters, .. } = shared;
    if !shared.quotas.allows(now, ends.remote.ip()) {
        counters.limited.fetch_add(1, Ordering::Relaxed);
        swarms.put_off(&mut reply);
    } else if !lists.admits_announce(swarms, &announce.info_hash, &announce.peer_id) {
        counters.denied.fetch_add(1, Ordering::Relaxed);
        swarms.put_off(&mut reply);
    } else {
        swarms.announce(&announce, &asker, &mut reply);
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
    let admitted = |hash: &InfoHash| {
        let admitted = shared.lists.admits_hash(&shared.swarms, hash);
        shared.counters.denied.fetch_add(u64::from(!admitted), Ordering::Relaxed);
        admitted
    };
    let known = |hash| Some((hash, shared.swarms.scrape(&hash)?));
    let hashes = hashes.into_iter().filter(|_| allowed).filter(admitted);
    let mut swarms = hashes.filter_map(known).collect();
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
    static SAMPLE: Sample = Sample::new();
    shared.counters.refused.fetch_add(1, Ordering::Relaxed);
    if tracing::enabled!(tracing::Level::DEBUG)
        && let Some(left_out) = SAMPLE.take_one()
    {
        tracing::debug!(reason = &*refusal.reason, left_out, "HTTP announce or scrape refused");
    }
    let mut body = Vec::new();
    encode_refused(&mut body, refusal);
    plain(body)
}

/// What a plain request is told where only TLS is spoken.
fn tls_only() -> Response<Body> {
    let mut refusal = plain("this tracker speaks TLS only: use https:// instead of http://\n");
    *refusal.status_mut() = StatusCode::UPGRADE_REQUIRED;
    let headers = refusal.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("TLS/1.2, HTTP/1.1"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade, close"));
    refusal
}

fn plain(body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

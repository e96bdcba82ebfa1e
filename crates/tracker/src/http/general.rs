//! HTTP in general, by a whole server of it: whatever is not plain, and the router.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::answer::Asked;
use super::{Connection, Port};
use crate::accept::Seat;
use crate::limits::{
    HTTP_CONNECTION_LIFE_MAX, HTTP_HEAD_LEN_MAX, HTTP_HEAD_TIMEOUT, HTTP_STOP_TIMEOUT,
};
use crate::proxy::{self, Proxies};

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

/// When a connection ends unless it goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    /// The head of its next request is there by then.
    pub(super) head: Instant,
    /// No request begins later.
    pub(super) life: Instant,
}

impl Deadlines {
    /// Those of a connection that begins now.
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self { head: now + HTTP_HEAD_TIMEOUT, life: now + HTTP_CONNECTION_LIFE_MAX }
    }
}

/// Answers requests with `respond` until the client, the time or the tracker ends. A connection that goes
/// on from another server has its `deadlines`.
pub(crate) async fn serve_stream<S, F, R>(
    stream: S,
    seat: &Seat,
    deadlines: Deadlines,
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
    let has_begun = AtomicBool::new(false);
    let service = service_fn(async |request| {
        has_begun.store(true, Ordering::Relaxed);
        let response = respond(request).await;
        seat.on_completed();
        response
    });
    let connection = server.serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut timer = pin!(sleep_until(deadlines.head));
    let mut stopped = pin!(stop.cancelled());
    loop {
        tokio::select! {
            ended = connection.as_mut() => return ended.map_err(io::Error::other),
            () = &mut timer => {
                if !has_begun.load(Ordering::Relaxed) {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                if timer.deadline() >= deadlines.life {
                    break;
                }
                timer.as_mut().reset(deadlines.life);
            }
            () = &mut stopped => break,
        }
    }
    connection.as_mut().graceful_shutdown();
    timeout(HTTP_STOP_TIMEOUT, connection).await?.map_err(io::Error::other)
}

/// Answers a request on a connection with these ends.
pub(super) async fn answer(
    mut request: Request<Incoming>,
    ends: Connection,
    port: &Port,
) -> Result<Response<Body>, Infallible> {
    let Port { proxies, shared } = port;
    shared.counters.requests.fetch_add(1, Ordering::Relaxed);
    let ends = ends.behind(proxies, request.headers());
    let uri = request.uri();
    let Some(asked) = Asked::of(uri.path(), uri.query().unwrap_or_default()) else {
        request.extensions_mut().insert(ends);
        return shared.router.clone().oneshot(request.map(Body::new)).await;
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = plain("only GET is answered here\n");
        *refusal.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refusal);
    }
    Ok(plain(asked.answer(ends.remote.ip(), shared)))
}

/// What a plain request is told where only TLS is spoken.
pub(super) fn tls_only() -> Response<Body> {
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

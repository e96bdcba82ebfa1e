//! A reply whose body is taken as it comes: for what is too long for memory.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::{HttpError, Limits, build, connect, is_secure, redirect};

/// A reply, whatever its status, and the rest of its body.
#[derive(Debug)]
pub struct Streamed {
    /// The status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    body: Incoming,
    limits: Limits,
    _carrier: AbortOnDropHandle<()>,
}

impl Streamed {
    /// The next bytes; `None` at the end. A server that is silent for as long as a whole request may
    /// take has broken off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            let frame = timeout(self.limits.deadline, self.body.frame()).await;
            let frame = frame.map_err(|_| HttpError::Timeout(self.limits.deadline))?;
            let Some(frame) = frame else { return Ok(None) };
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

/// Asks for a URL, as far as the head of the reply. `headers` go along to wherever redirects lead.
pub async fn open(url: &Url, headers: &HeaderMap, limits: &Limits) -> Result<Streamed, HttpError> {
    match timeout(limits.deadline, follow(url.clone(), headers, limits)).await {
        Ok(result) => result,
        Err(_) => Err(HttpError::Timeout(limits.deadline)),
    }
}

async fn follow(mut url: Url, headers: &HeaderMap, limits: &Limits) -> Result<Streamed, HttpError> {
    let (mut addr, mut by) = (limits.addr, limits.by);
    for _ in 0..=limits.redirects_max {
        let secure = is_secure(&url)?;
        let (stream, near) = connect(&url, (addr.take(), by), limits).await?;
        let reply = if secure {
            ask(limits.trust.connect(&url, stream).await?, &url, headers, limits).await?
        } else {
            ask(stream, &url, headers, limits).await?
        };
        match redirect(&url, reply.status, &reply.headers)? {
            Some(next) => (url, by) = (next, by.min(near)),
            None => return Ok(reply),
        }
    }
    Err(HttpError::Redirects)
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &Url,
    headers: &HeaderMap,
    limits: &Limits,
) -> Result<Streamed, HttpError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let carrier = AbortOnDropHandle::new(tokio::spawn(async move {
        // Whoever waits for the reply hears of the error.
        let _ = connection.await;
    }));
    let mut request = build(&Method::GET, url, Bytes::new())?;
    request.headers_mut().extend(headers.clone());
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let (head, body) = sender.send_request(request).await?.into_parts();
    let limits = limits.clone();
    Ok(Streamed { status: head.status, headers: head.headers, body, limits, _carrier: carrier })
}

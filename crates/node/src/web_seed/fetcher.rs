//! Requests to one web seed: over a connection that is kept while it can be, through the gate, and on to
//! where redirects lead.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT_ENCODING, HeaderValue, RANGE};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use proto::FileIndex;
use proto::egress::Nearness;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;
use url::{Origin, Url};

use super::range::{Fault, Part};
use crate::http::{self, HttpError, Limits};

/// Where a request's body is, and what comes before the part in it.
pub(super) struct Reply {
    pub(super) body: Incoming,
    pub(super) skip: u64,
    /// How near the server is.
    pub(super) near: Nearness,
}

pub(super) struct Fetcher {
    limits: Limits,
    /// Bounds the connections of all torrents together.
    connections: Arc<Semaphore>,
    line: Option<Line>,
    moved: Option<Moved>,
}

/// A connection that more than one request may use.
struct Line {
    origin: Origin,
    /// How near who led us there is.
    by: Nearness,
    /// How near the server is.
    near: Nearness,
    sender: SendRequest<Full<Bytes>>,
    _carrier: AbortOnDropHandle<()>,
    _permit: OwnedSemaphorePermit,
}

/// Where redirects led for the file that was asked for last.
struct Moved {
    file: FileIndex,
    url: Url,
    by: Nearness,
}

impl Fetcher {
    /// `limits` say who named the web seed, and what it may cost to reach.
    pub(super) fn new(limits: Limits, connections: Arc<Semaphore>) -> Self {
        Self { limits, connections, line: None, moved: None }
    }

    /// Asks for a part of a file that is at `url`, as far as the head of the reply.
    pub(super) async fn get(
        &mut self,
        (file, url): (FileIndex, &Url),
        part: &Part,
    ) -> Result<Reply, Fault> {
        let deadline = self.limits.deadline;
        let asking = self.follow((file, url), part);
        let reply = match tokio::time::timeout(deadline, asking).await {
            Ok(reply) => reply?,
            Err(_) => {
                self.hang_up();
                return Err(Fault::Later("it does not answer".to_owned(), None));
            }
        };
        match part.judge(reply.status(), reply.headers()) {
            Ok(skip) => Ok(Reply { body: reply.into_body(), skip, near: self.near() }),
            Err(fault) => {
                self.hang_up();
                Err(fault)
            }
        }
    }

    /// The connection is of no more use: what was sent over it was not all taken.
    pub(super) fn hang_up(&mut self) {
        self.line = None;
    }

    /// How near the server that answered is.
    fn near(&self) -> Nearness {
        self.line.as_ref().map_or(Nearness::Internet, |line| line.near)
    }

    async fn follow(
        &mut self,
        (file, url): (FileIndex, &Url),
        part: &Part,
    ) -> Result<Response<Incoming>, Fault> {
        if let Some(moved) = self.moved.take().filter(|moved| moved.file == file) {
            let reply = self.ask(&moved.url, moved.by, part).await;
            if let Some(reply) = reply.ok().filter(|reply| reply.status().is_success()) {
                self.moved = Some(moved);
                return Ok(reply);
            }
            // Where redirects lead may be good for a while only: from the start.
        }
        let (mut url, mut by) = (url.clone(), self.limits.by);
        for hop in 0..=self.limits.redirects_max {
            let reply = self.ask(&url, by, part).await?;
            let next = http::redirect(&url, reply.status(), reply.headers()).map_err(blame)?;
            let Some(next) = next else {
                self.moved = (hop > 0).then_some(Moved { file, url, by });
                return Ok(reply);
            };
            // A redirect is named by the server that says it.
            (url, by) = (next, by.min(self.near()));
        }
        Err(blame(HttpError::Redirects))
    }

    /// One request, over the connection that is there if it leads to the right server.
    async fn ask(
        &mut self,
        url: &Url,
        by: Nearness,
        part: &Part,
    ) -> Result<Response<Incoming>, Fault> {
        let fits = |line: &Line| line.origin == url.origin() && line.by <= by;
        if let Some(mut line) = self.line.take().filter(fits)
            && line.sender.ready().await.is_ok()
            && let Ok(reply) = line.sender.send_request(request(url, part)?).await
        {
            self.line = Some(line);
            return Ok(reply);
        }
        // There was none, or the server has closed it meanwhile.
        let mut line = self.open(url, by).await?;
        let reply = line.sender.send_request(request(url, part)?).await;
        self.line = Some(line);
        reply.map_err(|error| blame(error.into()))
    }

    async fn open(&self, url: &Url, by: Nearness) -> Result<Line, Fault> {
        let permit = self.connections.clone().try_acquire_owned().map_err(|_| {
            Fault::Later("the process has as many connections as it may".to_owned(), None)
        })?;
        let secure = http::is_secure(url).map_err(blame)?;
        let (stream, near) = http::connect(url, (None, by), &self.limits).await.map_err(blame)?;
        let (sender, carrier) = if secure {
            speak(self.limits.trust.connect(url, stream).await.map_err(blame)?).await
        } else {
            speak(stream).await
        }
        .map_err(|error| blame(error.into()))?;
        Ok(Line { origin: url.origin(), by, near, sender, _carrier: carrier, _permit: permit })
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(SendRequest<Full<Bytes>>, AbortOnDropHandle<()>), hyper::Error> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER_LEN);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let carrier = tokio::spawn(async move {
        // Whoever waits for a reply hears of the error.
        let _ = connection.await;
    });
    Ok((sender, AbortOnDropHandle::new(carrier)))
}

fn request(url: &Url, part: &Part) -> Result<Request<Full<Bytes>>, Fault> {
    let impossible = |error: hyper::http::Error| blame(error.into());
    let mut request = http::build(&Method::GET, url, Bytes::new()).map_err(impossible)?;
    let range = HeaderValue::try_from(part.header()).map_err(|error| impossible(error.into()))?;
    request.headers_mut().insert(RANGE, range);
    request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Ok(request)
}

/// Whether what went wrong may be right later.
fn blame(error: HttpError) -> Fault {
    let why = error.to_string();
    if error.is_final() { Fault::Useless(why) } else { Fault::Later(why, None) }
}

/// Bytes that are read at once, and at most before they are taken.
const BUFFER_LEN: usize = 64 * 1024;

//! One HTTP/1.1 request, one connection, every wait and every byte bounded.
//!
//! Serves announces and scrapes and whatever else asks a server once in a while; nothing is pooled.

pub mod stream;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::header::{CONNECTION, HOST, HeaderValue, LOCATION, USER_AGENT};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use proto::egress::Nearness;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::{Host, Url};

use crate::egress::Gate;
use crate::tls::{CertificateFault, Trust};

/// What a request may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest body of a reply, in bytes.
    pub body_len_max: usize,
    /// Time for everything together, redirects included.
    pub deadline: Duration,
    /// Time for a connection to one address; a host may have more.
    pub connect_timeout: Duration,
    /// Most redirects followed; only GET follows any.
    pub redirects_max: usize,
    /// What the connection passes.
    pub gate: Gate,
    /// How near who named the URL is. A redirect is named by the server that says it.
    pub by: Nearness,
    /// Connect there instead of looking the first URL's host up.
    pub addr: Option<SocketAddr>,
    /// Whom to believe over TLS.
    pub trust: Trust,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_len_max: 1 << 20,
            deadline: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            redirects_max: 3,
            gate: Gate::default(),
            by: Nearness::Machine,
            addr: None,
            trust: Trust::default(),
        }
    }
}

impl Limits {
    /// The usual ones, through that gate, believing those.
    pub(crate) fn through(gate: Gate, trust: Trust) -> Self {
        Self { gate, trust, ..Self::default() }
    }
}

/// A reply, whatever its status.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// All of the body.
    pub body: Bytes,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL is none, or not one of `http` or `https`.
    #[error("{0} is not an http or https URL")]
    Url(String),
    /// A redirect leads from `https` to `http`.
    #[error("redirected from https to {0}")]
    Downgrade(String),
    /// The proxy does not bring us there.
    #[error("the host {host} cannot be reached: {source}")]
    Proxy {
        /// The name.
        host: String,
        /// The proxy's answer, or the system's.
        source: io::Error,
    },
    /// The name has no address.
    #[error("the host {host} was not found")]
    NotFound {
        /// The name.
        host: String,
    },
    /// No connection.
    #[error("cannot connect to {addr}: {source}")]
    Connect {
        /// The address.
        addr: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The server's certificate is not accepted.
    #[error("the certificate of {host} is not accepted: {fault}")]
    Certificate {
        /// The server.
        host: String,
        /// What is wrong with it.
        fault: CertificateFault,
    },
    /// The TLS handshake failed.
    #[error("no TLS with {host}: {source}")]
    Tls {
        /// The server.
        host: String,
        /// What went wrong.
        source: io::Error,
    },
    /// The server broke off or does not speak HTTP.
    #[error("the server's reply cannot be read: {0}")]
    Protocol(#[from] hyper::Error),
    /// The request has characters that cannot be sent.
    #[error("the request cannot be sent: {0}")]
    Request(#[from] hyper::http::Error),
    /// The body is too long.
    #[error("the server's reply is longer than {limit} bytes")]
    TooLong {
        /// The longest that is accepted.
        limit: usize,
    },
    /// Redirects lead on and on.
    #[error("too many redirects")]
    Redirects,
    /// It took too long.
    #[error("no reply in {} seconds", .0.as_secs())]
    Timeout(Duration),
}

impl HttpError {
    /// No other attempt will help.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Connect { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            Self::Url(_)
            | Self::Downgrade(_)
            | Self::Certificate { .. }
            | Self::Request(_)
            | Self::Redirects => true,
            Self::Proxy { .. }
            | Self::NotFound { .. }
            | Self::Tls { .. }
            | Self::Protocol(_)
            | Self::TooLong { .. }
            | Self::Timeout(_) => false,
        }
    }
}

/// Sends one request and reads the reply. A status that tells of an error is a reply like any other.
pub async fn request(
    method: Method,
    url: &Url,
    body: Bytes,
    limits: &Limits,
) -> Result<Response, HttpError> {
    request_with(method, url, HeaderMap::new(), body, limits).await
}

/// The same with headers of the caller's, which go to the first server only: no redirect takes them
/// elsewhere.
pub async fn request_with(
    method: Method,
    url: &Url,
    headers: HeaderMap,
    body: Bytes,
    limits: &Limits,
) -> Result<Response, HttpError> {
    let exchange = follow(method, url.clone(), (headers, body), limits);
    match timeout(limits.deadline, exchange).await {
        Ok(result) => result,
        Err(_) => Err(HttpError::Timeout(limits.deadline)),
    }
}

/// Fetches a URL.
pub async fn get(url: &Url, limits: &Limits) -> Result<Response, HttpError> {
    request(Method::GET, url, Bytes::new(), limits).await
}

/// The addresses of a URL's host, of the family of `bind` if that is given.
pub(crate) async fn resolve(
    url: &Url,
    default_port: u16,
    bind: Option<IpAddr>,
) -> Result<Vec<SocketAddr>, HttpError> {
    let port = url.port_or_known_default().unwrap_or(default_port);
    let host = url.host().ok_or_else(|| HttpError::Url(url.to_string()))?;
    let name = host.to_string();
    let found: Vec<SocketAddr> = match host {
        Host::Ipv4(ip) => vec![(ip, port).into()],
        Host::Ipv6(ip) => vec![(ip, port).into()],
        Host::Domain(name) => {
            let found = tokio::net::lookup_host((name, port)).await;
            found.map_or_else(|_| Vec::new(), Iterator::collect)
        }
    };
    let fits = |addr: &SocketAddr| bind.is_none_or(|bind| bind.is_ipv4() == addr.is_ipv4());
    let fitting: Vec<_> = found.into_iter().filter(fits).collect();
    if fitting.is_empty() { Err(HttpError::NotFound { host: name }) } else { Ok(fitting) }
}

async fn follow(
    method: Method,
    mut url: Url,
    (mut headers, body): (HeaderMap, Bytes),
    limits: &Limits,
) -> Result<Response, HttpError> {
    let (mut addr, mut by) = (limits.addr, limits.by);
    for _ in 0..=limits.redirects_max {
        let secure = is_secure(&url)?;
        let (stream, near) = connect(&url, (addr.take(), by), limits).await?;
        let mut request = build(&method, &url, body.clone())?;
        request.headers_mut().extend(std::mem::take(&mut headers));
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        let response = if secure {
            exchange(limits.trust.connect(&url, stream).await?, request, limits).await?
        } else {
            exchange(stream, request, limits).await?
        };
        match redirect(&url, response.status, &response.headers)? {
            Some(next) if method == Method::GET => (url, by) = (next, by.min(near)),
            _ => return Ok(response),
        }
    }
    Err(HttpError::Redirects)
}

/// Where a reply sends us on to, if it does.
pub(crate) fn redirect(
    from: &Url,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Option<Url>, HttpError> {
    let location = headers.get(LOCATION).filter(|_| status.is_redirection());
    let location = location.and_then(|value| value.to_str().ok());
    match location.and_then(|location| from.join(location).ok()) {
        Some(next) if from.scheme() == "https" && next.scheme() == "http" => {
            Err(HttpError::Downgrade(next.to_string()))
        }
        next => Ok(next),
    }
}

/// Whether TLS is spoken there.
pub(crate) fn is_secure(url: &Url) -> Result<bool, HttpError> {
    match url.scheme() {
        "http" => Ok(false),
        "https" => Ok(true),
        _ => Err(HttpError::Url(url.to_string())),
    }
}

/// Connects to the address given, or to the first of the host's that answers; tells how near that is.
pub(crate) async fn connect(
    url: &Url,
    (addr, by): (Option<SocketAddr>, Nearness),
    limits: &Limits,
) -> Result<(TcpStream, Nearness), HttpError> {
    if let (None, Some(Host::Domain(name)), Some(_)) = (addr, url.host(), &limits.gate.proxy) {
        let to = format!("{name}:{}", url.port_or_known_default().unwrap_or(80));
        let stream = in_time(limits.gate.tcp_by_name(&to), limits).await;
        let unreachable = |source| HttpError::Proxy { host: name.to_owned(), source };
        return Ok((stream.map_err(unreachable)?, Nearness::Internet));
    }
    let addrs = match addr {
        Some(addr) => vec![addr],
        None => resolve(url, 80, limits.gate.bind).await?,
    };
    let mut last = Err(HttpError::NotFound { host: url.to_string() });
    for addr in addrs {
        match in_time(limits.gate.tcp(addr, by), limits).await {
            Ok(stream) => return Ok((stream, Nearness::of(addr.ip()))),
            Err(source) => last = Err(HttpError::Connect { addr, source }),
        }
    }
    last
}

async fn in_time(
    connecting: impl Future<Output = io::Result<TcpStream>>,
    limits: &Limits,
) -> io::Result<TcpStream> {
    let connecting = timeout(limits.connect_timeout, connecting).await;
    let stream = connecting.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub(crate) fn build(
    method: &Method,
    url: &Url,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    Request::builder()
        .method(method)
        .uri(target)
        .header(HOST, host)
        .header(USER_AGENT, crate::CLIENT)
        .body(Full::new(body))
}

/// Sends the request; reads the reply.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
    limits: &Limits,
) -> Result<Response, HttpError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let limit = limits.body_len_max;
    let mut exchange = pin!(async move {
        let reply = sender.send_request(request).await?;
        let (head, body) = reply.into_parts();
        match Limited::new(body, limit).collect().await {
            Ok(body) => {
                Ok(Response { status: head.status, headers: head.headers, body: body.to_bytes() })
            }
            Err(error) if error.is::<LengthLimitError>() => Err(HttpError::TooLong { limit }),
            Err(error) => match error.downcast::<hyper::Error>() {
                Ok(error) => Err(HttpError::Protocol(*error)),
                Err(_) => Err(HttpError::TooLong { limit }),
            },
        }
    });
    tokio::select! {
        biased;
        result = &mut exchange => result,
        // The connection may end before its last bytes are taken out of it.
        _ = connection => exchange.await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each connection with the next of `replies`; returns what was asked.
    async fn serve(listener: TcpListener, replies: Vec<String>) -> Vec<String> {
        let mut asked = Vec::new();
        for reply in replies {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
                assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
            }
            asked.push(String::from_utf8(bytes).unwrap());
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
        asked
    }

    async fn fetch(
        path: &str,
        replies: Vec<String>,
        limits: Limits,
    ) -> (Result<Response, HttpError>, Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{path}", listener.local_addr().unwrap());
        let url = Url::parse(&url).unwrap();
        tokio::join!(get(&url, &limits), serve(listener, replies))
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    const MOVED: &str = "HTTP/1.1 302 Found\r\nLocation: /next?a=b\r\nContent-Length: 0\r\n\r\n";

    #[tokio::test]
    async fn the_query_travels_and_redirects_are_followed() {
        let replies = vec![MOVED.to_owned(), ok("body")];
        let (response, asked) = fetch("/x?info_hash=%00%ff", replies, Limits::default()).await;
        assert_eq!(response.unwrap().body, "body");
        assert!(asked[0].starts_with("GET /x?info_hash=%00%ff HTTP/1.1\r\n"), "{}", asked[0]);
        assert!(asked[1].starts_with("GET /next?a=b HTTP/1.1\r\n"), "{}", asked[1]);
    }

    #[tokio::test]
    async fn redirects_come_to_an_end() {
        let replies = vec![MOVED.to_owned(); 4];
        let (response, _) = fetch("/x", replies, Limits::default()).await;
        assert!(matches!(response, Err(HttpError::Redirects)), "{response:?}");
    }

    #[tokio::test]
    async fn a_body_is_not_longer_than_its_limit() {
        let limits = || Limits { body_len_max: 4, ..Limits::default() };
        let (response, _) = fetch("/x", vec![ok("12345")], limits()).await;
        assert!(matches!(response, Err(HttpError::TooLong { limit: 4 })), "{response:?}");
        let (response, _) = fetch("/x", vec![ok("1234")], limits()).await;
        assert_eq!(response.unwrap().body, "1234");
        let unsized_reply = "HTTP/1.1 200 OK\r\n\r\n1234".to_owned();
        let (response, _) = fetch("/x", vec![unsized_reply], limits()).await;
        assert_eq!(response.unwrap().body, "1234");
    }

    #[tokio::test]
    async fn a_silent_server_costs_no_more_than_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let limits = Limits { deadline: Duration::from_millis(50), ..Limits::default() };
        let response = get(&url, &limits).await;
        assert!(matches!(response, Err(HttpError::Timeout(_))), "{response:?}");
    }

    #[tokio::test]
    async fn only_http_is_spoken() {
        let url = Url::parse("gopher://localhost/").unwrap();
        let response = get(&url, &Limits::default()).await;
        assert!(matches!(response, Err(HttpError::Url(_))), "{response:?}");
    }

    #[tokio::test]
    async fn strangers_urls_do_not_lead_into_this_machine() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // However the address is written.
        for host in ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"] {
            let url = Url::parse(&format!("http://{host}:{port}/announce")).unwrap();
            for by in [Nearness::Internet, Nearness::Network, Nearness::Link] {
                let error = get(&url, &Limits { by, ..Limits::default() }).await.unwrap_err();
                let HttpError::Connect { source, .. } = error else { panic!("{error}") };
                assert_eq!(source.kind(), io::ErrorKind::PermissionDenied, "{host} by {by}");
            }
        }
        assert!(timeout(Duration::ZERO, listener.accept()).await.is_err(), "somebody connected");
    }
}

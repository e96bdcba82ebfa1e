//! The command line's side of the tracker's API, `/api/v1`.
//!
//! One connection a request, every wait and every reply bounded. What comes back is input from
//! outside: it is decoded with the DTOs that the router writes, and a torrent file is checked before
//! anybody uses it. Whether to ask again is the caller's decision.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use node::http::{self, HttpError, Limits, Response};
use node::tls::CertificateFault;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use proto::Fingerprint;
use serde::de::DeserializeOwned;
use tracker::About;
use url::Url;
use url::form_urlencoded;

use crate::credentials::Credentials;
use crate::exit::{Failure, Status};
use crate::known::Known;
use crate::locate::Endpoint;
use crate::tracker_api::dto;

/// Asks one tracker.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    endpoint: Endpoint,
    known: Known,
    credentials: Credentials,
    connect_timeout: Duration,
}

/// A torrent file from the catalogue and peers that have it.
#[derive(Debug)]
pub(crate) struct Torrent {
    /// The bytes of the torrent file.
    pub(crate) bytes: Bytes,
    /// Peers, so that a get needs no announce first.
    pub(crate) peers: Vec<SocketAddr>,
}

/// Why a tracker gave no answer to use.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// Nobody answers there, or too late. Asking again may help.
    Away(String),
    /// It, or a proxy before it, wants to know who asks, or whoever asks may not; with its words, if it
    /// has any.
    Unauthorised(Option<dto::Refusal>),
    /// It understood and says no.
    Refused(dto::Refusal),
    /// What answers is no Teem tracker, or one of another time.
    Foreign(String),
    /// It answers over TLS only.
    TlsOnly,
    /// Its certificate is not accepted.
    Untrusted {
        /// What is wrong.
        reason: String,
        /// The certificate that it showed.
        found: Option<Fingerprint>,
    },
    /// What is known of trackers cannot be read or kept.
    State(Failure),
}

impl Client {
    /// A client of the tracker at `endpoint`.
    pub(crate) fn new(endpoint: Endpoint, known: &Known) -> Self {
        let (known, credentials) = (known.clone(), Credentials::default());
        Self { endpoint, known, credentials, connect_timeout: CONNECT_TIMEOUT }
    }

    /// Shows these.
    #[must_use]
    pub(crate) fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Waits for a connection no longer than `timeout`.
    #[must_use]
    pub(crate) const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How the tracker stands; also tells that it is one.
    pub(crate) async fn status(&self) -> Result<dto::Status, ClientError> {
        let reply = self.send(Method::GET, "/api/v1/status", Bytes::new()).await?;
        json(&reply)
    }

    /// Puts a torrent file under a name.
    pub(crate) async fn publish(
        &self,
        name: &str,
        torrent: Bytes,
        about: &About,
    ) -> Result<dto::Published, ClientError> {
        let path = format!("/api/v1/catalogue/{}?{}", escape(name), query_of(about));
        json(&self.send(Method::PUT, &path, torrent).await?)
    }

    /// Takes a name back, or one version of it; `None` when the tracker knows no such.
    pub(crate) async fn unpublish(
        &self,
        name: &str,
    ) -> Result<Option<dto::Unpublished>, ClientError> {
        let path = format!("/api/v1/catalogue/{}", escape(name));
        match self.send(Method::DELETE, &path, Bytes::new()).await {
            Err(ClientError::Refused(refusal)) if refusal.code == dto::RefusalCode::NotFound => {
                Ok(None)
            }
            reply => json(&reply?).map(Some),
        }
    }

    /// The torrent file of a name or an info hash in hex; `None` when the tracker knows no such.
    pub(crate) async fn torrent(&self, name: &str) -> Result<Option<Torrent>, ClientError> {
        let path = format!("/api/v1/catalogue/{}/torrent", escape(name));
        let reply = match self.send(Method::GET, &path, Bytes::new()).await {
            Err(ClientError::Refused(refusal)) if refusal.code == dto::RefusalCode::NotFound => {
                return Ok(None);
            }
            // A name that the tracker would not even store is a name that it does not have.
            Err(ClientError::Refused(refusal)) if refusal.code == dto::RefusalCode::BadName => {
                return Ok(None);
            }
            reply => reply?,
        };
        let peers = reply.headers.get(dto::PEERS_HEADER);
        let peers = peers.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let peers = peers.split(',').filter_map(|addr| addr.trim().parse().ok());
        Ok(Some(Torrent { bytes: reply.body, peers: peers.take(dto::PEERS_MAX).collect() }))
    }

    /// A name as it stands; `None` when the tracker knows no such.
    pub(crate) async fn entry(
        &self,
        name: &str,
    ) -> Result<Option<dto::EntryWithPeers>, ClientError> {
        let path = format!("/api/v1/catalogue/{}", escape(name));
        let unknown = [dto::RefusalCode::NotFound, dto::RefusalCode::BadName];
        match self.send(Method::GET, &path, Bytes::new()).await {
            Err(ClientError::Refused(refusal)) if unknown.contains(&refusal.code) => Ok(None),
            reply => json(&reply?).map(Some),
        }
    }

    /// One page of what fits a search, after the name `after`.
    pub(crate) async fn page(
        &self,
        pattern: &str,
        after: Option<&str>,
    ) -> Result<dto::Page, ClientError> {
        let limit = dto::PAGE_LIMIT_MAX;
        let mut path = format!("/api/v1/catalogue?q={}&limit={limit}", escape(pattern));
        if let Some(after) = after {
            path = format!("{path}&after={}", escape(after));
        }
        json(&self.send(Method::GET, &path, Bytes::new()).await?)
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response, ClientError> {
        let url = Url::parse(&self.endpoint.page(path))
            .map_err(|error| ClientError::Foreign(error.to_string()))?;
        let limits = Limits {
            body_len_max: REPLY_LEN_MAX,
            deadline: REPLY_TIMEOUT,
            connect_timeout: self.connect_timeout,
            redirects_max: 0,
            trust: self.known.trust(),
            gate: self.known.gate(),
            ..Limits::default()
        };
        let reply = self.exchange(method, &url, body, &limits).await?;
        if reply.status.is_success() {
            return Ok(reply);
        }
        if matches!(reply.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let refusal: Option<dto::Refusal> = serde_json::from_slice(&reply.body).ok();
            // It calls a key of ours a token that is not valid; the person has shown none.
            let of_a_token = |refusal: &dto::Refusal| {
                self.credentials.passkey().is_some()
                    || refusal.code != dto::RefusalCode::Unauthorised
            };
            return Err(ClientError::Unauthorised(refusal.filter(of_a_token)));
        }
        if reply.status == StatusCode::UPGRADE_REQUIRED {
            return Err(ClientError::TlsOnly);
        }
        match serde_json::from_slice(&reply.body) {
            Ok(refusal) => Err(ClientError::Refused(refusal)),
            Err(_) => Err(ClientError::Foreign(format!("it answers {}", reply.status))),
        }
    }
}

impl Client {
    /// Sends a request. A tracker over TLS that shows itself for the first time is remembered.
    async fn exchange(
        &self,
        method: Method,
        url: &Url,
        body: Bytes,
        limits: &Limits,
    ) -> Result<Response, ClientError> {
        let mut headers = HeaderMap::new();
        if let Some(secret) = self.credentials.secret() {
            let value = HeaderValue::from_str(&format!("Bearer {}", secret.reveal()));
            let mut value = value.map_err(|error| ClientError::Foreign(error.to_string()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let send =
            || http::request_with(method.clone(), url, headers.clone(), body.clone(), limits);
        let reply = send().await;
        if !self.endpoint.is_secure() {
            return Ok(reply?);
        }
        let tracker = self.endpoint.authority();
        match reply {
            Err(HttpError::Certificate { fault: CertificateFault::Unknown { found }, host }) => {
                if !self.known.meet(&tracker, found).map_err(ClientError::State)? {
                    let reason =
                        format!("an authority vouched for {host} before, and none does now");
                    return Err(ClientError::Untrusted { reason, found: Some(found) });
                }
                Ok(send().await?)
            }
            Ok(reply) => {
                if !self.known.is_pinned(&tracker) {
                    self.known.vouched(&tracker).map_err(ClientError::State)?;
                }
                Ok(reply)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl ClientError {
    /// As an error of the whole command.
    pub(crate) fn at(self, endpoint: &Endpoint) -> Failure {
        match self {
            Self::Away(reason) => {
                Failure::new(Status::NoPeers, format!("tracker {endpoint} is away: {reason}"))
                    .hint("is it running? start one with `teem tracker`, or name another with --tracker HOST:PORT")
            }
            Self::Unauthorised(refusal) => {
                let words = refusal
                    .as_ref()
                    .map_or_else(|| "it lets in only who has a token".to_owned(), |known| known.error.clone());
                let message = format!("tracker {endpoint}: {words}");
                let failure = Failure::new(Status::Unauthorised, message);
                let forbidden =
                    refusal.is_some_and(|known| known.code == dto::RefusalCode::Forbidden);
                failure.hint(if forbidden {
                    "show the key or token that allows it: --data DIR of who published it, \
                     --token-file FILE, or TEEM_TOKEN"
                } else {
                    "show a token with --token-file FILE or TEEM_TOKEN; whoever runs the tracker \
                     makes them"
                })
            }
            Self::Refused(refusal) => {
                let status = if refusal.code == dto::RefusalCode::NameTaken {
                    Status::Unauthorised
                } else {
                    Status::Failed
                };
                let failure = Failure::new(status, format!("tracker {endpoint}: {}", refusal.error));
                match refusal.code {
                    dto::RefusalCode::NameTaken | dto::RefusalCode::BadName => {
                        failure.hint("choose another name with --name NAME")
                    }
                    dto::RefusalCode::BadAbout
                    | dto::RefusalCode::Busy
                    | dto::RefusalCode::BadTorrent
                    | dto::RefusalCode::BadRequest
                    | dto::RefusalCode::Unauthorised
                    | dto::RefusalCode::Forbidden
                    | dto::RefusalCode::NotFound
                    | dto::RefusalCode::BadMethod
                    | dto::RefusalCode::TooLarge
                    | dto::RefusalCode::Full
                    | dto::RefusalCode::Internal
                    | dto::RefusalCode::Other => failure,
                }
            }
            Self::TlsOnly => {
                Failure::new(Status::Failed, format!("tracker {endpoint} speaks TLS only"))
                    .hint(format!("name it with --tracker {}", endpoint.clone().secured()))
            }
            Self::Untrusted { reason, found } => {
                let failure =
                    Failure::new(Status::Failed, format!("tracker {endpoint}: {reason}"));
                match found {
                    Some(found) => failure.hint(format!(
                        "if whoever runs it says that this is right, accept it with \
                         --tracker-fingerprint {found}"
                    )),
                    None => failure,
                }
            }
            Self::State(failure) => failure,
            Self::Foreign(reason) => {
                Failure::new(Status::Failed, format!("{endpoint} is not a Teem tracker: {reason}"))
                    .hint("--tracker takes the HOST:PORT that `teem tracker` prints")
            }
        }
    }
}

/// Whether a failed exchange is the network's fault or the other program's.
impl From<HttpError> for ClientError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Connect { source, .. } => Self::Away(source.to_string()),
            HttpError::NotFound { .. } | HttpError::Timeout(_) | HttpError::Proxy { .. } => {
                Self::Away(error.to_string())
            }
            HttpError::Protocol(error) => {
                // A request that could not be sent any more carries why.
                let why = std::error::Error::source(&error)
                    .and_then(|why| why.downcast_ref::<hyper::Error>());
                let error = why.unwrap_or(&error);
                let broken =
                    error.is_incomplete_message() || error.is_canceled() || error.is_closed();
                let source = std::error::Error::source(error);
                if broken || source.is_some_and(|source| source.is::<std::io::Error>()) {
                    Self::Away(error.to_string())
                } else {
                    Self::Foreign("it does not speak HTTP".to_owned())
                }
            }
            HttpError::Certificate { fault, host } => {
                let found = match fault {
                    CertificateFault::Changed { found, .. }
                    | CertificateFault::Unknown { found } => Some(found),
                    CertificateFault::Invalid { .. } => None,
                };
                let reason = format!("the certificate of {host} is not accepted: {fault}");
                Self::Untrusted { reason, found }
            }
            HttpError::Tls { source, .. } if source.kind() == std::io::ErrorKind::InvalidData => {
                Self::Foreign("it does not speak TLS".to_owned())
            }
            HttpError::Tls { .. } => Self::Away(error.to_string()),
            HttpError::Url(_)
            | HttpError::Downgrade(_)
            | HttpError::Request(_)
            | HttpError::TooLong { .. }
            | HttpError::Redirects => Self::Foreign(error.to_string()),
        }
    }
}

fn json<T: DeserializeOwned>(reply: &Response) -> Result<T, ClientError> {
    serde_json::from_slice(&reply.body)
        .map_err(|error| ClientError::Foreign(format!("its reply cannot be read: {error}")))
}

fn query_of(about: &About) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(description) = about.description() {
        query.append_pair("description", description);
    }
    if let Some(tags) = about.tags() {
        query.extend_pairs(tags.iter().map(|tag| ("tag", tag)));
    }
    query.finish()
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// What RFC 3986 leaves unescaped in a path segment.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A tracker answers from memory; a torrent file of many megabytes may be on its way, though.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// No torrent file of a sane piece length is larger.
const REPLY_LEN_MAX: usize = 128 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_travel_as_one_path_segment() {
        assert_eq!(escape("a b/ü?.bin"), "a%20b%2F%C3%BC%3F.bin");
    }
}

//! The command line's side of the API.

use std::path::Path;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use node::http::{self, HttpError, Limits};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::Door;
use super::dto::{self, RefusalCode};
use crate::exit::{Failure, Status};
use crate::slots::Peers;

/// Asks the daemon of a state folder.
#[derive(Debug)]
pub(crate) struct Client {
    door: Door,
}

impl Client {
    /// A client of the daemon whose state is there.
    pub(crate) fn new(state: &Path) -> Result<Self, Failure> {
        match Door::find(state) {
            Some(door) => Ok(Self { door }),
            None => Err(no_daemon()),
        }
    }

    /// All its torrents.
    pub(crate) async fn transfers(&self) -> anyhow::Result<Vec<dto::Transfer>> {
        let all: dto::Transfers = self.ask(Method::GET, "transfers", &()).await?;
        Ok(all.transfers)
    }

    /// Who takes part in a torrent.
    pub(crate) async fn peers(&self, transfer: &dto::Transfer) -> anyhow::Result<Peers> {
        self.ask(Method::GET, &format!("transfers/{}/peers", transfer.id), &()).await
    }

    /// The torrent that somebody means: by its name, its info hash, or the beginning of that.
    pub(crate) async fn find(&self, meant: &str) -> anyhow::Result<dto::Transfer> {
        let all = self.transfers().await?;
        let is_id = meant.len() >= ID_LEN_MIN && meant.bytes().all(|byte| byte.is_ascii_hexdigit());
        let begins = |hash: &Option<String>| {
            is_id && hash.as_ref().is_some_and(|hash| hash.starts_with(&meant.to_ascii_lowercase()))
        };
        let fits = |transfer: &dto::Transfer| {
            transfer.name == meant
                || begins(&Some(transfer.id.clone()))
                || begins(&transfer.info_hash_v1)
                || begins(&transfer.info_hash_v2)
        };
        let mut found = all.into_iter().filter(fits);
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => {
                let message = format!("the daemon has no torrent \"{}\"", meant.escape_debug());
                let failure = Failure::new(Status::NotFound, message);
                Err(failure.hint("`teem transfers` lists what it has").into())
            }
            (Some(_), Some(_)) => {
                let message = format!("\"{}\" is more than one torrent", meant.escape_debug());
                let failure = Failure::new(Status::Usage, message);
                Err(failure.hint("say which by its id; `teem transfers` shows that").into())
            }
        }
    }

    /// Orders something of a torrent.
    pub(crate) async fn order(
        &self,
        transfer: &dto::Transfer,
        what: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<dto::Done> {
        self.ask(Method::POST, &format!("transfers/{}/{what}", transfer.id), body).await
    }

    /// Has a torrent go.
    pub(crate) async fn remove(
        &self,
        transfer: &dto::Transfer,
        with_data: bool,
    ) -> anyhow::Result<dto::Done> {
        let path = format!("transfers/{}?with_data={with_data}", transfer.id);
        self.ask(Method::DELETE, &path, &()).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let url: Url = format!("http://{}/api/v1/{path}", self.door.addr).parse()?;
        let mut headers = HeaderMap::new();
        if let Some(secret) = self.door.secret() {
            let bearer = HeaderValue::from_str(&format!("Bearer {}", secret.reveal()))?;
            headers.insert(AUTHORIZATION, bearer);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = match method {
            Method::POST => Bytes::from(serde_json::to_vec(body)?),
            _ => Bytes::new(),
        };
        let limits = Limits {
            body_len_max: REPLY_LEN_MAX,
            deadline: DEADLINE,
            connect_timeout: CONNECT_TIMEOUT,
            redirects_max: 0,
            ..Limits::default()
        };
        let reply = match http::request_with(method, &url, headers, body, &limits).await {
            Ok(reply) => reply,
            Err(HttpError::Connect { .. }) => return Err(no_daemon().into()),
            Err(error) => return Err(Failure::new(Status::Failed, error.to_string()).into()),
        };
        if reply.status.is_success() {
            return Ok(serde_json::from_slice(&reply.body)?);
        }
        Err(failure(reply.status, &reply.body).into())
    }
}

fn no_daemon() -> Failure {
    Failure::new(Status::NoPeers, "no daemon is running with this state folder")
        .hint("start one with `teem daemon`, or name its folder with --data DIR")
}

fn failure(status: StatusCode, body: &[u8]) -> Failure {
    let Ok(refusal) = serde_json::from_slice::<dto::Refusal>(body) else {
        return Failure::new(Status::Failed, format!("the daemon answers {status}"));
    };
    let status = match refusal.code {
        RefusalCode::NotFound => Status::NotFound,
        RefusalCode::Unauthorised | RefusalCode::Forbidden => Status::Unauthorised,
        RefusalCode::Full => Status::Disk,
        RefusalCode::BadRequest => Status::Usage,
        RefusalCode::BadMethod
        | RefusalCode::Conflict
        | RefusalCode::Busy
        | RefusalCode::Internal
        | RefusalCode::Other => Status::Failed,
    };
    Failure::new(status, refusal.error)
}

/// Shorter ones may be names.
const ID_LEN_MIN: usize = 6;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Moving to another disk takes as long as it takes; a person who waits no longer presses Ctrl-C.
const DEADLINE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Ten thousand torrents with long names.
const REPLY_LEN_MAX: usize = 64 << 20;

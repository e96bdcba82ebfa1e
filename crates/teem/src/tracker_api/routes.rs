//! The routes of the tracker's API.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use proto::InfoHash;
use proto::metainfo::Metainfo;
use serde::Deserialize;
use tracker::limits::PATTERN_LEN_MAX;
use tracker::{Connection, Shared, Which};
use utoipa::IntoParams;

use super::caller::Reader;
use super::dto::{self, RefusalCode};
use super::refusal::Refused;
use super::{convert, hosts};

/// Which part of the catalogue.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Words, each anywhere in the name, the description, the tags or the paths; or a pattern with `*`
    /// and `?` for whole names.
    #[serde(default)]
    q: String,
    /// The last name of the page before.
    after: Option<String>,
    /// Entries on the page, at most 1,000.
    limit: Option<u32>,
}

/// Search the names of the catalogue
#[utoipa::path(get, path = "/api/v1/catalogue", tag = "catalogue", params(ListQuery), responses(
    (status = 200, body = dto::Page), (status = "4XX", body = dto::Refusal)
))]
pub(super) async fn list(
    Reader { caller, .. }: Reader,
    State(shared): State<Arc<Shared>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<dto::Page>, Refused> {
    let Query(ListQuery { q, after, limit }) = query?;
    if q.len() > PATTERN_LEN_MAX {
        let error = format!("q has at most {PATTERN_LEN_MAX} bytes");
        return Err(Refused::new(StatusCode::BAD_REQUEST, RefusalCode::BadRequest, error));
    }
    let limit = limit.unwrap_or(dto::PAGE_LIMIT).clamp(1, dto::PAGE_LIMIT_MAX);
    let (hits, more) = shared.catalogue.search(&q, after, limit as usize).await?;
    let next = hits.last().filter(|_| more).map(|hit| hit.entry.name.clone());
    let entries = hits.into_iter().map(|hit| convert::hit(hit, &shared, &caller)).collect();
    Ok(Json(dto::Page { entries, next }))
}

/// One name with its versions, and some of its peers
#[utoipa::path(get, path = "/api/v1/catalogue/{name}", tag = "catalogue", params(
    ("name" = String, Path, description = "A name, a version of it (NAME@2), or an info hash in hex")
), responses(
    (status = 200, body = dto::EntryWithPeers), (status = "4XX", body = dto::Refusal)
))]
pub(super) async fn show(
    Reader { caller, .. }: Reader,
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Result<Json<dto::EntryWithPeers>, Refused> {
    let found = shared.catalogue.find(which(&name)).await?;
    let entry = found.ok_or_else(|| Refused::not_found(&name))?;
    let peers = convert::peers(&entry, &shared);
    let history = shared.catalogue.versions(entry.name.clone()).await?;
    let history = history.iter().map(|entry| convert::version(entry, &shared)).collect();
    let entry = convert::entry(&entry, &shared, Some(&caller));
    Ok(Json(dto::EntryWithPeers { entry, peers, history }))
}

/// The torrent file of a name
#[utoipa::path(get, path = "/api/v1/catalogue/{name}/torrent", tag = "catalogue", params(
    ("name" = String, Path, description = "A name, a version of it (NAME@2), or an info hash in hex")
), responses(
    (status = 200, body = Vec<u8>, content_type = "application/x-bittorrent", headers(
        ("teem-peers" = String, description = "Addresses of some of its peers, comma-separated")
    )),
    (status = "4XX", body = dto::Refusal)
))]
pub(super) async fn torrent(
    Reader { passkey, .. }: Reader,
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let (entry, metainfo) =
        load(&shared, &name, hosts::announce_urls(&headers, &connection, passkey.as_ref())).await?;
    let peers = shared.swarms.peers(&entry.hashes.primary(), None, dto::PEERS_MAX);
    let peers: Vec<String> = peers.into_iter().map(|peer| peer.addr.to_string()).collect();
    let mut response = metainfo.encode().into_response();
    let reply_headers = response.headers_mut();
    reply_headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-bittorrent"));
    reply_headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(peers) = HeaderValue::from_str(&peers.join(",")) {
        reply_headers.insert(dto::PEERS_HEADER, peers);
    }
    Ok(response)
}

/// The magnet link of a name
#[utoipa::path(get, path = "/api/v1/catalogue/{name}/magnet", tag = "catalogue", params(
    ("name" = String, Path, description = "A name, a version of it (NAME@2), or an info hash in hex")
), responses(
    (status = 200, body = String, content_type = "text/plain"), (status = "4XX", body = dto::Refusal)
))]
pub(super) async fn magnet(
    Reader { passkey, .. }: Reader,
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
) -> Result<String, Refused> {
    let (_, metainfo) =
        load(&shared, &name, hosts::announce_urls(&headers, &connection, passkey.as_ref())).await?;
    Ok(format!("{}\n", metainfo.magnet()))
}

/// An entry with its torrent, this tracker's URLs in front of its own. A private tracker's are the only
/// ones: others would tell strangers of the swarm, and might carry somebody else's passkey.
async fn load(
    shared: &Shared,
    name: &str,
    urls: [String; 2],
) -> Result<(tracker::Entry, Metainfo), Refused> {
    let found = shared.catalogue.fetch(which(name)).await?;
    let found = found.ok_or_else(|| Refused::not_found(name))?;
    let private = shared.access.is_private();
    let decoded = tokio::task::spawn_blocking(move || {
        let mut metainfo = Metainfo::decode(&found.metainfo)?;
        if private {
            metainfo.trackers.clear();
        }
        hosts::put_first(&mut metainfo, &urls);
        Ok::<_, proto::metainfo::MetainfoError>((found.entry, metainfo))
    });
    decoded.await.map_err(internal)?.map_err(internal)
}

fn internal(error: impl std::fmt::Display) -> Refused {
    tracing::error!(%error, "reading a stored torrent file");
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Refused::new(status, RefusalCode::Internal, "the tracker cannot read what it stored")
}

/// How the tracker stands
#[utoipa::path(get, path = "/api/v1/status", tag = "tracker", responses(
    (status = 200, body = dto::Status), (status = "4XX", body = dto::Refusal)
))]
pub(super) async fn status(
    Reader { caller, .. }: Reader,
    State(shared): State<Arc<Shared>>,
) -> Result<Json<dto::Status>, Refused> {
    let totals = shared.swarms.totals();
    Ok(Json(dto::Status {
        name: shared.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime: shared.uptime().as_secs(),
        private: shared.access.is_private(),
        scope: caller.scope.name().to_owned(),
        listeners: convert::listeners(&shared),
        torrents: shared.catalogue.count().await?,
        swarms: totals.swarms as u64,
        peers: totals.peers as u64,
    }))
}

/// A name, or an info hash in hex, which no name looks like.
fn which(name: &str) -> Which {
    let v1 = name.parse::<InfoHash>();
    let v2 = name.parse::<proto::InfoHashV2>().map(proto::InfoHashV2::truncated);
    v1.or(v2).map_or_else(|_| Which::Name(name.to_owned()), Which::Hash)
}

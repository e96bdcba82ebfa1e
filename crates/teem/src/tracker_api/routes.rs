//! The routes of the tracker's API.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, Limited};
use proto::InfoHash;
use proto::metainfo::Metainfo;
use serde::Deserialize;
use tracker::limits::{METAINFO_LEN_MAX, PATTERN_LEN_MAX};
use tracker::{Connection, Published, Shared, Which};
use utoipa::IntoParams;

use super::caller::{Publisher, Reader};
use super::dto::{self, RefusalCode};
use super::refusal::Refused;
use super::{convert, hosts};

/// A torrent file has to arrive within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Which part of the catalogue.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// What the names contain, or fit whole when it has `*` or `?`.
    #[serde(default)]
    q: String,
    /// The last name of the page before.
    after: Option<String>,
    /// Entries on the page, at most 1,000.
    limit: Option<u32>,
}

/// Names of the catalogue
#[utoipa::path(get, path = "/api/v1/catalogue", tag = "catalogue", params(ListQuery), responses(
    (status = 200, body = dto::Page), (status = "4XX", body = dto::Refusal)
))]
pub(super) async fn list(
    _: Reader,
    State(shared): State<Arc<Shared>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<dto::Page>, Refused> {
    let Query(ListQuery { q, after, limit }) = query?;
    if q.len() > PATTERN_LEN_MAX {
        let error = format!("q has at most {PATTERN_LEN_MAX} bytes");
        return Err(Refused::new(StatusCode::BAD_REQUEST, RefusalCode::BadRequest, error));
    }
    let limit = limit.unwrap_or(dto::PAGE_LIMIT).clamp(1, dto::PAGE_LIMIT_MAX);
    let (entries, more) = shared.catalogue.list(&q, after, limit as usize).await?;
    let next = entries.last().filter(|_| more).map(|entry| entry.name.clone());
    let entries = entries.iter().map(|entry| convert::entry(entry, &shared)).collect();
    Ok(Json(dto::Page { entries, next }))
}

/// One name, and some of its peers
#[utoipa::path(get, path = "/api/v1/catalogue/{name}", tag = "catalogue", params(
    ("name" = String, Path, description = "A name, or an info hash in hex")
), responses(
    (status = 200, body = dto::EntryWithPeers), (status = "4XX", body = dto::Refusal)
))]
pub(super) async fn show(
    _: Reader,
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Result<Json<dto::EntryWithPeers>, Refused> {
    let found = shared.catalogue.find(which(&name)).await?;
    let entry = found.ok_or_else(|| Refused::not_found(&name))?;
    let peers = convert::peers(&entry, &shared);
    Ok(Json(dto::EntryWithPeers { entry: convert::entry(&entry, &shared), peers }))
}

/// Gives a torrent a name
#[utoipa::path(put, path = "/api/v1/catalogue/{name}", tag = "catalogue", params(
    ("name" = String, Path, description = "The name")
), request_body(content = Vec<u8>, content_type = "application/x-bittorrent"), responses(
    (status = 200, description = "It had this content already", body = dto::Published),
    (status = 201, description = "The name is new", body = dto::Published),
    (status = "4XX", body = dto::Refusal), (status = 507, description = "Full", body = dto::Refusal)
))]
pub(super) async fn publish(
    Publisher { caller, passkey }: Publisher,
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let bytes = read(body, &headers).await?;
    let by = caller
        .owner
        .map_or_else(|| connection.remote.ip().to_string(), |owner| owner.as_str().to_owned());
    let published = shared.publish(&name, bytes.into(), &by).await?;
    let created = matches!(published, Published::Created(_));
    let reply = dto::Published {
        created,
        entry: convert::entry(published.entry(), &shared),
        trackers: hosts::announce_urls(&headers, &connection, passkey.as_ref()).to_vec(),
    };
    if created {
        tracing::info!(name, by, "published");
    }
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(reply)).into_response())
}

/// Reads a torrent file, refusing one that says it is too long before any of it comes.
async fn read(body: Body, headers: &HeaderMap) -> Result<Bytes, Refused> {
    let too_long = || Refused::from(tracker::CatalogueError::TooLong);
    let said = headers.get(CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|len| len > METAINFO_LEN_MAX as u64) {
        return Err(too_long());
    }
    let collected = Limited::new(body, METAINFO_LEN_MAX).collect();
    let refused = |status, error| Refused::new(status, RefusalCode::BadRequest, error);
    match tokio::time::timeout(BODY_TIMEOUT, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_long()),
        Ok(Err(_)) => Err(refused(StatusCode::BAD_REQUEST, "the body ends too early")),
        Err(_) => Err(refused(StatusCode::REQUEST_TIMEOUT, "the body comes too slowly")),
    }
}

/// The torrent file of a name
#[utoipa::path(get, path = "/api/v1/catalogue/{name}/torrent", tag = "catalogue", params(
    ("name" = String, Path, description = "A name, or an info hash in hex")
), responses(
    (status = 200, body = Vec<u8>, content_type = "application/x-bittorrent", headers(
        ("teem-peers" = String, description = "Addresses of some of its peers, comma-separated")
    )),
    (status = "4XX", body = dto::Refusal)
))]
pub(super) async fn torrent(
    Reader { passkey }: Reader,
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
    ("name" = String, Path, description = "A name, or an info hash in hex")
), responses(
    (status = 200, body = String, content_type = "text/plain"), (status = "4XX", body = dto::Refusal)
))]
pub(super) async fn magnet(
    Reader { passkey }: Reader,
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
    _: Reader,
    State(shared): State<Arc<Shared>>,
) -> Result<Json<dto::Status>, Refused> {
    let totals = shared.swarms.totals();
    Ok(Json(dto::Status {
        name: shared.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime: shared.uptime().as_secs(),
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

//! The routes of the tracker's API.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Extension, Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http_body_util::{BodyExt as _, Limited};
use proto::InfoHash;
use proto::metainfo::Metainfo;
use serde::Deserialize;
use tracker::limits::{METAINFO_LEN_MAX, PATTERN_LEN_MAX};
use tracker::{Connection, Published, Shared, Which};

use super::caller::{Publisher, Reader};
use super::dto::{self, RefusalCode};
use super::refusal::Refused;
use super::{convert, hosts, metrics};

/// A torrent file has to arrive within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Everything that the tracker's HTTP port answers beside announces.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/api/v1/catalogue", get(list))
        .route("/api/v1/catalogue/{name}", get(show).put(publish))
        .route("/api/v1/catalogue/{name}/torrent", get(torrent))
        .route("/api/v1/catalogue/{name}/magnet", get(magnet))
        .route("/api/v1/status", get(status))
        .route("/metrics", get(show_metrics))
        .fallback(no_such_page)
        .method_not_allowed_fallback(no_such_method)
        // `publish` has a bound of its own; nothing else reads a body.
        .layer(DefaultBodyLimit::disable())
        .with_state(shared)
}

#[derive(Debug, Deserialize)]
struct ListQuery {
    #[serde(default)]
    q: String,
    after: Option<String>,
    limit: Option<u32>,
}

async fn list(
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

async fn show(
    _: Reader,
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Result<Json<dto::EntryWithPeers>, Refused> {
    let found = shared.catalogue.find(which(&name)).await?;
    let entry = found.ok_or_else(|| Refused::not_found(&name))?;
    let peers = convert::peers(&entry, &shared);
    Ok(Json(dto::EntryWithPeers { entry: convert::entry(&entry, &shared), peers }))
}

async fn publish(
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

async fn torrent(
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

async fn magnet(
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

async fn status(
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

async fn show_metrics(_: Reader, State(shared): State<Arc<Shared>>) -> Result<Response, Refused> {
    let text = metrics::render(&shared).await?;
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4");
    Ok(([(CONTENT_TYPE, content_type)], text).into_response())
}

async fn no_such_page() -> Refused {
    let error = "there is no such page; the API begins at /api/v1/catalogue";
    Refused::new(StatusCode::NOT_FOUND, RefusalCode::NotFound, error)
}

async fn no_such_method() -> Refused {
    let error = "this page does not answer this method";
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, RefusalCode::BadMethod, error)
}

/// A name, or an info hash in hex, which no name looks like.
fn which(name: &str) -> Which {
    let v1 = name.parse::<InfoHash>();
    let v2 = name.parse::<proto::InfoHashV2>().map(proto::InfoHashV2::truncated);
    v1.or(v2).map_or_else(|_| Which::Name(name.to_owned()), Which::Hash)
}

//! The routes that change the catalogue, and how much of what they are sent is held at once.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracker::limits::METAINFO_LEN_MAX;
use tracker::{About, CatalogueError, Connection, Publication, Published, Publisher, Shared};

use super::caller;
use super::dto::{self, RefusalCode};
use super::refusal::Refused;
use super::{convert, hosts};

/// Give a torrent a name, or a name its next version
///
/// Other content under a name is its next version if the same token, or on an open tracker the same
/// secret of the caller's choice, published it first.
#[utoipa::path(put, path = "/api/v1/catalogue/{name}", tag = "catalogue", params(
    ("name" = String, Path, description = "The name"),
    ("description" = Option<String>, Query, description = "A few words; stays as it was if left out"),
    ("tag" = Option<Vec<String>>, Query, description = "Words to file it under, one parameter each; \
        they stay as they were if left out, and one empty one clears them")
), request_body(content = Vec<u8>, content_type = "application/x-bittorrent"), responses(
    (status = 200, description = "It had this content already", body = dto::Published),
    (status = 201, description = "The name or the version is new", body = dto::Published),
    (status = "4XX", body = dto::Refusal), (status = 503, description = "Busy", body = dto::Refusal),
    (status = 507, description = "Full", body = dto::Refusal)
))]
pub(super) async fn publish(
    caller::Publisher { caller, passkey }: caller::Publisher,
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let about = about(query.as_deref().unwrap_or_default())?;
    let metainfo = read(body, &headers).await?;
    let publisher = Publisher::new(&caller, connection.remote.ip());
    let Held { bytes, room } = metainfo;
    let publication = Publication { name, metainfo: bytes, about, publisher };
    let published = shared.publish(publication).await?;
    drop(room);
    let is_new = !matches!(published, Published::Same(_));
    let entry = published.entry();
    let reply = dto::Published {
        created: is_new,
        entry: convert::entry(entry, &shared, Some(&caller)),
        trackers: hosts::announce_urls(&headers, &connection, passkey.as_ref()).to_vec(),
    };
    if is_new {
        tracing::info!(name = entry.name, version = entry.version, "published");
    }
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(reply)).into_response())
}

/// Take a name back with all its versions, or one of them
#[utoipa::path(delete, path = "/api/v1/catalogue/{name}", tag = "catalogue", params(
    ("name" = String, Path, description = "A name, or a version of it (NAME@2)")
), responses(
    (status = 200, body = dto::Unpublished), (status = "4XX", body = dto::Refusal)
))]
pub(super) async fn unpublish(
    caller::Publisher { caller, .. }: caller::Publisher,
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Extension(connection): Extension<Connection>,
) -> Result<Json<dto::Unpublished>, Refused> {
    let publisher = Publisher::new(&caller, connection.remote.ip());
    let withdrawn = shared.withdraw(name.clone(), publisher).await?;
    let withdrawn = withdrawn.ok_or_else(|| Refused::not_found(&name))?;
    tracing::info!(name = withdrawn.name, versions = withdrawn.versions.len(), "unpublished");
    Ok(Json(dto::Unpublished { name: withdrawn.name, versions: withdrawn.versions }))
}

/// The description and the tags in a query: `description=…&tag=…&tag=…`.
fn about(query: &str) -> Result<About, Refused> {
    let (mut description, mut tags) = (None, None::<Vec<String>>);
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "description" => description = Some(value.into_owned()),
            "tag" => tags.get_or_insert_default().push(value.into_owned()),
            other => {
                let error =
                    format!("a publication has no {other:?}: description and tag are known");
                return Err(Refused::new(StatusCode::BAD_REQUEST, RefusalCode::BadRequest, error));
            }
        }
    }
    Ok(About::new(description, tags).map_err(CatalogueError::from)?)
}

/// A body and the room that it takes.
struct Held {
    bytes: Vec<u8>,
    room: Option<SemaphorePermit<'static>>,
}

/// Reads a torrent file, refusing one that says it is too long before any of it comes. Whoever sends
/// slowly holds only as much room as came.
async fn read(body: Body, headers: &HeaderMap) -> Result<Held, Refused> {
    let said = headers.get(CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|len| len > METAINFO_LEN_MAX as u64) {
        return Err(CatalogueError::TooLong.into());
    }
    let refused = |status, error: &str| Refused::new(status, RefusalCode::BadRequest, error);
    match tokio::time::timeout(BODY_TIMEOUT, collect(body)).await {
        Ok(held) => held,
        Err(_) => Err(refused(StatusCode::REQUEST_TIMEOUT, "the body comes too slowly")),
    }
}

async fn collect(mut body: Body) -> Result<Held, Refused> {
    let mut held = Held { bytes: Vec::new(), room: None };
    while let Some(frame) = body.frame().await {
        let early = "the body ends too early";
        let frame = frame
            .map_err(|_| Refused::new(StatusCode::BAD_REQUEST, RefusalCode::BadRequest, early))?;
        let Ok(data) = frame.into_data() else { continue };
        if held.bytes.len() + data.len() > METAINFO_LEN_MAX {
            return Err(CatalogueError::TooLong.into());
        }
        // Twice: a buffer that grows has up to as much again in reserve.
        let units = u32::try_from((2 * data.len()).div_ceil(UNIT)).unwrap_or(u32::MAX);
        let permit = ROOM.try_acquire_many(units).map_err(|_| {
            let busy = "too much is being published at this moment; try again soon";
            Refused::new(StatusCode::SERVICE_UNAVAILABLE, RefusalCode::Busy, busy)
        })?;
        match &mut held.room {
            Some(room) => room.merge(permit),
            None => held.room = Some(permit),
        }
        held.bytes.extend_from_slice(&data);
    }
    Ok(held)
}

/// A torrent file has to arrive within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Room is counted in these bytes.
const UNIT: usize = 256;

/// Memory for torrent files on their way: two of the longest, thousands of usual ones.
const ROOM_MAX: usize = 128 << 20;

static ROOM: Semaphore = Semaphore::const_new(ROOM_MAX / UNIT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_and_tags_stand_in_the_query() {
        let read = about("tag=b&description=two%20words+more&tag=A%26").expect("fine");
        assert_eq!(read.description(), Some("two words more"));
        assert_eq!(read.tags(), Some(&["a&".to_owned(), "b".to_owned()][..]));
        let nothing = about("").expect("fine");
        assert_eq!((nothing.description(), nothing.tags()), (None, None));
        assert!(about("tags=x").is_err());
        assert!(about("tag=two+words").is_err());
    }
}

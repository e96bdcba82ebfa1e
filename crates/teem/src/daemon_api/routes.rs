//! The routes: each asks the daemon's task, and waits for it.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use node::{Data, Force, MoveError, OrderError, Outcome};
use proto::{FileIndex, InfoHash};
use serde::Deserialize;
use tokio::sync::oneshot;
use utoipa::IntoParams;

use super::dto::{self, RefusalCode};
use super::table::Shared;
use crate::daemon::{Answer, Asked, Deed, DeskError, Transfer, Wish};
use crate::slots::Peers;

type Reply<T> = Result<Json<T>, Refused>;

/// All torrents and how they stand
#[utoipa::path(get, path = "/api/v1/transfers", tag = "transfers", responses(
    (status = 200, body = dto::Transfers), (status = "4XX", body = dto::Refusal)
))]
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Reply<dto::Transfers> {
    let transfers = list_of(&shared).await?.into_iter().map(Into::into).collect();
    Ok(Json(dto::Transfers { transfers }))
}

/// All torrents, as the daemon has them.
pub(super) async fn list_of(shared: &Shared) -> Result<Vec<Transfer>, Refused> {
    match ask(shared, Wish::List).await? {
        Answer::Transfers(transfers) => Ok(transfers),
        Answer::Done(_) => Ok(Vec::new()),
    }
}

/// One torrent and how it stands
#[utoipa::path(get, path = "/api/v1/transfers/{id}", tag = "transfers", params(
    ("id" = String, Path, description = "Its id, as the list has it")
), responses((status = 200, body = dto::Transfer), (status = "4XX", body = dto::Refusal)))]
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Reply<dto::Transfer> {
    Ok(Json(one(&shared, &id).await?.into()))
}

/// Who takes part in a torrent, who waits for an upload slot, and who gives us something
#[utoipa::path(get, path = "/api/v1/transfers/{id}/peers", tag = "transfers", params(
    ("id" = String, Path, description = "Its id")
), responses((status = 200, body = Peers), (status = "4XX", body = dto::Refusal)))]
pub(super) async fn peers(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Reply<Peers> {
    let snapshot: &node::Snapshot = &one(&shared, &id).await?.snapshot;
    Ok(Json(snapshot.into()))
}

async fn one(shared: &Shared, id: &str) -> Result<Transfer, Refused> {
    match ask(shared, Wish::Show(key(id)?)).await? {
        Answer::Transfers(found) => Ok(found.into_iter().next().ok_or(DeskError::NotFound)?),
        Answer::Done(_) => Err(DeskError::NotFound.into()),
    }
}

/// Stop fetching and serving, until it is resumed
#[utoipa::path(post, path = "/api/v1/transfers/{id}/hold", tag = "transfers", params(
    ("id" = String, Path, description = "Its id")
), responses((status = 200, body = dto::Done), (status = "4XX", body = dto::Refusal)))]
pub(super) async fn hold(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Reply<dto::Done> {
    done(ask(&shared, Wish::Do(key(&id)?, Deed::Hold)).await?)
}

/// Go on
#[utoipa::path(post, path = "/api/v1/transfers/{id}/resume", tag = "transfers", params(
    ("id" = String, Path, description = "Its id")
), request_body = dto::Resume,
    responses((status = 200, body = dto::Done), (status = "4XX", body = dto::Refusal)))]
pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    body: Result<Json<dto::Resume>, JsonRejection>,
) -> Reply<dto::Done> {
    let Json(dto::Resume { force }) = body?;
    let force = if force { Force::Yes } else { Force::No };
    done(ask(&shared, Wish::Do(key(&id)?, Deed::Resume(force))).await?)
}

/// Read all of its content again
///
/// It is checked when this answers, and one that runs goes on.
#[utoipa::path(post, path = "/api/v1/transfers/{id}/recheck", tag = "transfers", params(
    ("id" = String, Path, description = "Its id")
), responses((status = 200, body = dto::Done), (status = "4XX", body = dto::Refusal)))]
pub(super) async fn recheck(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Reply<dto::Done> {
    done(ask(&shared, Wish::Do(key(&id)?, Deed::Recheck)).await?)
}

/// Move its content to another folder; answers when it is there
#[utoipa::path(post, path = "/api/v1/transfers/{id}/move", tag = "transfers", params(
    ("id" = String, Path, description = "Its id")
), request_body = dto::Move, responses(
    (status = 200, body = dto::Done), (status = "4XX", body = dto::Refusal),
    (status = "5XX", body = dto::Refusal)
))]
pub(super) async fn relocate(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    body: Result<Json<dto::Move>, JsonRejection>,
) -> Reply<dto::Done> {
    let folder = PathBuf::from(body?.0.folder);
    if !folder.is_absolute() {
        return Err(Refused::bad("folder is an absolute path"));
    }
    done(ask(&shared, Wish::Do(key(&id)?, Deed::Move(folder))).await?)
}

/// Call its content something else on this machine
#[utoipa::path(post, path = "/api/v1/transfers/{id}/rename", tag = "transfers", params(
    ("id" = String, Path, description = "Its id")
), request_body = dto::Rename, responses(
    (status = 200, body = dto::Done), (status = "4XX", body = dto::Refusal),
    (status = "5XX", body = dto::Refusal)
))]
pub(super) async fn rename(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    body: Result<Json<dto::Rename>, JsonRejection>,
) -> Reply<dto::Done> {
    let Json(dto::Rename { name, file }) = body?;
    let number = |file: u32| file.checked_sub(1).map(FileIndex);
    let file = match file {
        Some(file) => Some(number(file).ok_or_else(|| Refused::bad("files are counted from 1"))?),
        None => None,
    };
    done(ask(&shared, Wish::Do(key(&id)?, Deed::Rename(file, name))).await?)
}

/// Give it another place in the queue
#[utoipa::path(post, path = "/api/v1/transfers/{id}/place", tag = "transfers", params(
    ("id" = String, Path, description = "Its id")
), request_body = dto::Place,
    responses((status = 200, body = dto::Done), (status = "4XX", body = dto::Refusal)))]
pub(super) async fn place(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    body: Result<Json<dto::Place>, JsonRejection>,
) -> Reply<dto::Done> {
    done(ask(&shared, Wish::Place(key(&id)?, body?.0.place)).await?)
}

/// Whether the content goes too.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoveQuery {
    /// `true`: files go that we made and that nobody has changed.
    #[serde(default)]
    with_data: bool,
}

/// Forget it; the content stays unless it is said to go
#[utoipa::path(delete, path = "/api/v1/transfers/{id}", tag = "transfers", params(
    ("id" = String, Path, description = "Its id"), RemoveQuery
), responses((status = 200, body = dto::Done), (status = "4XX", body = dto::Refusal)))]
pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    query: Result<Query<RemoveQuery>, QueryRejection>,
) -> Reply<dto::Done> {
    let data = if query?.0.with_data { Data::Delete } else { Data::Keep };
    done(ask(&shared, Wish::Do(key(&id)?, Deed::Remove(data))).await?)
}

async fn ask(shared: &Shared, wish: Wish) -> Result<Answer, Refused> {
    let (answer, answered) = oneshot::channel();
    let sent = shared.daemon.send(Asked { wish, answer }).await;
    sent.map_err(|_| DeskError::Closed)?;
    Ok(answered.await.map_err(|_| DeskError::Closed)??)
}

fn key(id: &str) -> Result<InfoHash, Refused> {
    id.parse().map_err(|_| DeskError::NotFound.into())
}

fn done(answer: Answer) -> Reply<dto::Done> {
    let Outcome { left, wrong } = match answer {
        Answer::Done(outcome) => outcome,
        Answer::Transfers(_) => Outcome::default(),
    };
    let left = left.iter().map(|path| path.display().to_string()).collect();
    Ok(Json(dto::Done { left, wrong }))
}

/// What a route answers instead.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    body: dto::Refusal,
}

impl Refused {
    pub(super) fn new(status: StatusCode, code: RefusalCode, error: impl Into<String>) -> Self {
        Self { status, body: dto::Refusal { error: error.into(), code } }
    }

    fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, RefusalCode::BadRequest, error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

impl From<JsonRejection> for Refused {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), RefusalCode::BadRequest, rejection.body_text())
    }
}

impl From<QueryRejection> for Refused {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad(rejection.body_text())
    }
}

impl From<DeskError> for Refused {
    fn from(error: DeskError) -> Self {
        use OrderError as E;
        let (status, code) = match &error {
            DeskError::NotFound => (StatusCode::NOT_FOUND, RefusalCode::NotFound),
            DeskError::Order(E::Rename(_)) => (StatusCode::BAD_REQUEST, RefusalCode::BadRequest),
            DeskError::Order(E::Move(MoveError::Full(_))) => {
                (StatusCode::INSUFFICIENT_STORAGE, RefusalCode::Full)
            }
            DeskError::Watched(_)
            | DeskError::Leaving
            | DeskError::Order(
                E::Unknown
                | E::NotOurs(_)
                | E::Ended
                | E::Closing
                | E::Check(_)
                | E::Move(
                    MoveError::Taken(_)
                    | MoveError::Changed(_)
                    | MoveError::UnderWay { .. }
                    | MoveError::Cancelled,
                ),
            ) => (StatusCode::CONFLICT, RefusalCode::Conflict),
            DeskError::Order(
                E::Move(MoveError::Io { .. } | MoveError::Record(_)) | E::Remove(_) | E::Record(_),
            )
            | DeskError::Stays(..)
            | DeskError::Closed => (StatusCode::INTERNAL_SERVER_ERROR, RefusalCode::Internal),
        };
        Self::new(status, code, error.to_string())
    }
}

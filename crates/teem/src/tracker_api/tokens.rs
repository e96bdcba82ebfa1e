//! Tokens of a private tracker, for its operator.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse as _, Response};
use tracker::{Access, NewToken, Shared, TokenId, TokenStore, TokenStoreError};

use super::caller::Admin;
use super::dto::{self, RefusalCode};
use super::refusal::Refused;

/// The tokens, revoked and expired ones too
#[utoipa::path(get, path = "/api/v1/tokens", tag = "operator", responses(
    (status = 200, body = dto::Tokens), (status = "4XX", body = dto::Refusal)
))]
pub(super) async fn list(
    _: Admin,
    State(shared): State<Arc<Shared>>,
) -> Result<Json<dto::Tokens>, Refused> {
    let tokens = work(&shared, TokenStore::list).await?;
    Ok(Json(dto::Tokens { tokens: tokens.iter().map(dto::Token::of).collect() }))
}

/// Make a token; the reply alone tells its secret
#[utoipa::path(post, path = "/api/v1/tokens", tag = "operator", request_body = dto::NewToken, responses(
    (status = 201, body = dto::MadeToken), (status = "4XX", body = dto::Refusal)
))]
pub(super) async fn create(
    _: Admin,
    State(shared): State<Arc<Shared>>,
    body: Result<Json<dto::NewToken>, JsonRejection>,
) -> Result<Response, Refused> {
    let Json(dto::NewToken { name, note, scope, life }) = body?;
    let new = NewToken { name, note, scope: scope.into(), life_secs: life };
    let (token, secret) = work(&shared, move |store| store.create(&new, unix_now())).await?;
    tracing::info!(id = token.id.0, name = token.name, scope = token.scope.name(), "token made");
    let made = dto::MadeToken {
        token: dto::Token::of(&token),
        secret: secret.reveal().to_owned(),
        passkey: secret.passkey().reveal().to_owned(),
    };
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(made)).into_response())
}

/// Take a token back
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "operator", params(
    ("id" = i64, Path, description = "Its number")
), responses((status = 200, body = dto::Token), (status = "4XX", body = dto::Refusal)))]
pub(super) async fn revoke(
    _: Admin,
    State(shared): State<Arc<Shared>>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Json<dto::Token>, Refused> {
    let Path(id) = id?;
    let revoked = work(&shared, move |store| store.revoke(TokenId(id))).await?;
    let token = revoked.ok_or_else(|| {
        let error = format!("there is no token {id}");
        Refused::new(StatusCode::NOT_FOUND, RefusalCode::NotFound, error)
    })?;
    tracing::info!(id, name = token.name, "token revoked");
    Ok(Json(dto::Token::of(&token)))
}

/// Works on the tokens, away from the runtime's threads, and lets the change hold at once.
async fn work<T: Send + 'static>(
    shared: &Arc<Shared>,
    operation: impl FnOnce(&TokenStore) -> Result<T, TokenStoreError> + Send + 'static,
) -> Result<T, Refused> {
    let access = Arc::clone(&shared.access);
    let done = tokio::task::spawn_blocking(move || {
        let store = Access::tokens(&access).ok_or_else(open_tracker)?;
        let result = operation(store).map_err(refused)?;
        access.refresh().map_err(refused)?;
        Ok(result)
    });
    done.await.map_err(|error| internal(&error))?
}

fn open_tracker() -> Refused {
    let error = "this tracker is open: it has no tokens; `teem tracker --private` has";
    Refused::new(StatusCode::CONFLICT, RefusalCode::BadRequest, error)
}

fn refused(error: TokenStoreError) -> Refused {
    let (status, code) = match &error {
        TokenStoreError::Token(_) => (StatusCode::BAD_REQUEST, RefusalCode::BadRequest),
        TokenStoreError::Full => (StatusCode::INSUFFICIENT_STORAGE, RefusalCode::Full),
        TokenStoreError::Database(_) => return internal(&error),
    };
    Refused::new(status, code, error.to_string())
}

fn internal(error: &dyn std::fmt::Display) -> Refused {
    tracing::error!(%error, "tokens");
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Refused::new(status, RefusalCode::Internal, "the tracker cannot reach its tokens")
}

impl From<JsonRejection> for Refused {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), RefusalCode::BadRequest, rejection.body_text())
    }
}

impl From<PathRejection> for Refused {
    fn from(rejection: PathRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, RefusalCode::BadRequest, rejection.body_text())
    }
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

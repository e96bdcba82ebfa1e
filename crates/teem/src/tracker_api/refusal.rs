//! Refusals: a status, a code for programs and words for people.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tracker::CatalogueError;

use super::dto::{Refusal, RefusalCode};

/// What a route answers instead.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    body: Refusal,
    /// A browser is to ask its person for a token.
    asks_browsers: bool,
}

impl Refused {
    pub(super) fn new(status: StatusCode, code: RefusalCode, error: impl Into<String>) -> Self {
        Self { status, body: Refusal { error: error.into(), code }, asks_browsers: false }
    }

    /// Makes a browser ask for a token, if that is what is missing.
    pub(super) fn asking_browsers(self) -> Self {
        Self { asks_browsers: self.status == StatusCode::UNAUTHORIZED, ..self }
    }

    pub(super) fn not_found(name: &str) -> Self {
        let error = format!("nothing here is named \"{}\"; `teem ls` shows the names", shown(name));
        Self::new(StatusCode::NOT_FOUND, RefusalCode::NotFound, error)
    }
}

/// A text from a request, fit for a message.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(255).collect();
    short.escape_debug().to_string()
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if self.asks_browsers {
            let scheme = "Basic realm=\"any user, a token for administration as password\"";
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        response
    }
}

impl From<CatalogueError> for Refused {
    fn from(error: CatalogueError) -> Self {
        use CatalogueError as E;
        let (status, code) = match &error {
            E::Name(_) => (StatusCode::BAD_REQUEST, RefusalCode::BadName),
            E::Metainfo(_) => (StatusCode::BAD_REQUEST, RefusalCode::BadTorrent),
            E::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, RefusalCode::TooLarge),
            E::NameTaken(_) => (StatusCode::CONFLICT, RefusalCode::NameTaken),
            E::About(_) => (StatusCode::BAD_REQUEST, RefusalCode::BadAbout),
            E::NotOwner(_) | E::NotAdmitted => (StatusCode::FORBIDDEN, RefusalCode::Forbidden),
            E::Full(_) => (StatusCode::INSUFFICIENT_STORAGE, RefusalCode::Full),
            E::Database(_) if error.is_disk_full() => {
                (StatusCode::INSUFFICIENT_STORAGE, RefusalCode::Full)
            }
            E::Locked(_) | E::Unusable { .. } | E::Database(_) | E::Disk { .. } | E::Closed => {
                tracing::error!(%error, "catalogue");
                (StatusCode::INTERNAL_SERVER_ERROR, RefusalCode::Internal)
            }
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<QueryRejection> for Refused {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, RefusalCode::BadRequest, rejection.body_text())
    }
}

//! Every route of the daemon: its method and path, and whether the token is asked for. The router is made
//! from this table and nothing else.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, delete, get, post};
use tokio::sync::mpsc;
use tracker::Secret;

use super::dto::RefusalCode;
use super::events::{self, Followers};
use super::openapi;
use super::routes::{self, Refused};
use crate::daemon::Asked;
use crate::own_hosts::OwnHosts;

/// One route.
pub(super) struct Route {
    /// With which method; GET answers HEAD too.
    #[cfg_attr(not(test), expect(dead_code, reason = "the handlers hold it; the tests compare"))]
    pub(super) method: &'static str,
    /// Its path, parts by name in braces.
    pub(super) path: &'static str,
    /// Whether whoever asks needs the token.
    pub(super) needs: Needs,
    handler: fn() -> MethodRouter<Arc<Shared>>,
}

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Everybody on this machine.
    Nothing,
    /// Who has the token.
    Token,
}

/// What the handlers work with.
pub(super) struct Shared {
    pub(super) daemon: mpsc::Sender<Asked>,
    /// The SHA-256 of the token.
    pub(super) token: [u8; 32],
    pub(super) followers: Followers,
}

/// All of them.
pub(super) const ROUTES: &[Route] = {
    use Needs::{Nothing, Token};
    const fn route(
        method: &'static str,
        path: &'static str,
        needs: Needs,
        handler: fn() -> MethodRouter<Arc<Shared>>,
    ) -> Route {
        Route { method, path, needs, handler }
    }
    &[
        route("GET", "/api/v1/openapi.json", Nothing, || get(openapi::show)),
        route("GET", "/api/v1/events", Token, || get(events::follow)),
        route("GET", "/api/v1/transfers", Token, || get(routes::list)),
        route("GET", "/api/v1/transfers/{id}", Token, || get(routes::show)),
        route("GET", "/api/v1/transfers/{id}/peers", Token, || get(routes::peers)),
        route("DELETE", "/api/v1/transfers/{id}", Token, || delete(routes::remove)),
        route("POST", "/api/v1/transfers/{id}/hold", Token, || post(routes::hold)),
        route("POST", "/api/v1/transfers/{id}/resume", Token, || post(routes::resume)),
        route("POST", "/api/v1/transfers/{id}/recheck", Token, || post(routes::recheck)),
        route("POST", "/api/v1/transfers/{id}/move", Token, || post(routes::relocate)),
        route("POST", "/api/v1/transfers/{id}/rename", Token, || post(routes::rename)),
        route("POST", "/api/v1/transfers/{id}/place", Token, || post(routes::place)),
    ]
};

/// Everything that the daemon answers.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    let routed = ROUTES.iter().map(|route| {
        let handler = (route.handler)();
        let handler = match route.needs {
            Needs::Nothing => handler,
            Needs::Token => {
                handler.route_layer(middleware::from_fn_with_state(shared.clone(), require_token))
            }
        };
        (route.path, handler)
    });
    routed
        .fold(Router::new(), |router, (path, handler)| router.route(path, handler))
        .fallback(no_such_page)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
        .with_state(shared)
        .layer(middleware::from_fn_with_state(OwnHosts::new(std::iter::empty()), refuse_strangers))
}

async fn require_token(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let header = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok());
    let secret = header.and_then(|header| {
        let (scheme, secret) = header.split_once(' ')?;
        Secret::parse(secret.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer"))
    });
    // Digests are compared: how long that takes tells nothing of the token.
    if secret.is_some_and(|secret| secret.digest() == shared.token) {
        return next.run(request).await;
    }
    let error = "the token is missing or wrong; it stands in api.json in the state folder";
    Refused::new(StatusCode::UNAUTHORIZED, RefusalCode::Unauthorised, error).into_response()
}

async fn refuse_strangers(State(hosts): State<OwnHosts>, request: Request, next: Next) -> Response {
    if hosts.accept(request.headers()) {
        return next.run(request).await;
    }
    let error = "only requests to this machine's address or to localhost are answered";
    Refused::new(StatusCode::FORBIDDEN, RefusalCode::Forbidden, error).into_response()
}

async fn no_such_page() -> Refused {
    let error = "there is no such page; /api/v1/transfers is one";
    Refused::new(StatusCode::NOT_FOUND, RefusalCode::NotFound, error)
}

async fn no_such_method() -> Refused {
    let error = "this page does not answer this method";
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, RefusalCode::BadMethod, error)
}

/// Paths are the longest that is sent.
const BODY_LEN_MAX: usize = 64 << 10;

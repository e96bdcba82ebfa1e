//! Every HTTP route: where it answers, with which method, and who may ask.
//!
//! Both routers are made from this table and nothing else, so a route without a row does not exist.
//! The tests ask every row without a token, with bad ones and with good ones, and hold the table
//! against the OpenAPI document.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use axum::{Extension, Router};
use tracker::{Routers, Shared};

use super::dto::RefusalCode;
use super::refusal::Refused;
use super::statistics::{self, LastOverview};
use super::{admin, openapi, page, publishing, routes, tokens};
use crate::own_hosts::OwnHosts;

/// One route.
#[cfg_attr(not(test), expect(dead_code, reason = "the handlers hold it; the tests compare"))]
pub(super) struct Route {
    /// At which addresses.
    pub(super) at: At,
    /// With which method; GET answers HEAD too.
    pub(super) method: &'static str,
    /// Its path, parts by name in braces.
    pub(super) path: &'static str,
    /// Who may ask.
    pub(super) needs: Needs,
    /// What answers.
    answer: Answer,
}

/// At which addresses a route is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// Where everybody may reach it.
    Public,
    /// Where the operator does.
    Admin,
    /// Both.
    Both,
}

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Everybody, even of a private tracker.
    Nothing,
    /// Who may announce: whoever may read; on a private tracker the path has a passkey.
    Announce,
    /// Who may read.
    Read,
    /// Who may publish.
    Publish,
    /// Who may administer.
    Admin,
}

enum Answer {
    /// The HTTP server itself, before any router (`tracker::http`).
    Server,
    /// A handler.
    Handler(fn() -> MethodRouter<Arc<Shared>>),
}

impl Answer {
    const fn handler(&self) -> Option<fn() -> MethodRouter<Arc<Shared>>> {
        match self {
            Self::Server => None,
            Self::Handler(handler) => Some(*handler),
        }
    }
}

impl Route {
    const fn new(
        at: At,
        method: &'static str,
        path: &'static str,
        needs: Needs,
        handler: fn() -> MethodRouter<Arc<Shared>>,
    ) -> Self {
        Self { at, method, path, needs, answer: Answer::Handler(handler) }
    }

    const fn of_server(path: &'static str, needs: Needs) -> Self {
        Self { at: At::Public, method: "GET", path, needs, answer: Answer::Server }
    }

    /// A router of this crate answers it.
    #[cfg(test)]
    pub(super) const fn is_routed(&self) -> bool {
        self.answer.handler().is_some()
    }
}

/// All of them.
pub(super) const ROUTES: &[Route] = {
    use At::{Admin, Both, Public};
    &[
        Route::of_server("/announce", Needs::Announce),
        Route::of_server("/scrape", Needs::Announce),
        Route::of_server("/health", Needs::Nothing),
        Route::new(Public, "GET", "/api/v1/catalogue", Needs::Read, || get(routes::list)),
        Route::new(Public, "GET", "/api/v1/catalogue/{name}", Needs::Read, || get(routes::show)),
        Route::new(Public, "PUT", "/api/v1/catalogue/{name}", Needs::Publish, || {
            put(publishing::publish)
        }),
        Route::new(Public, "DELETE", "/api/v1/catalogue/{name}", Needs::Publish, || {
            delete(publishing::unpublish)
        }),
        Route::new(Public, "GET", "/api/v1/catalogue/{name}/torrent", Needs::Read, || {
            get(routes::torrent)
        }),
        Route::new(Public, "GET", "/api/v1/catalogue/{name}/magnet", Needs::Read, || {
            get(routes::magnet)
        }),
        Route::new(Public, "GET", "/api/v1/status", Needs::Read, || get(routes::status)),
        Route::new(Both, "GET", "/api/v1/openapi.json", Needs::Nothing, || get(openapi::show)),
        Route::new(Admin, "GET", "/", Needs::Admin, || get(page::show)),
        Route::new(Admin, "GET", "/style.css", Needs::Nothing, || get(page::style)),
        Route::new(Admin, "GET", "/api/v1/statistics", Needs::Admin, || get(statistics::overall)),
        Route::new(Admin, "GET", "/api/v1/statistics/torrents", Needs::Admin, || {
            get(statistics::torrents)
        }),
        Route::new(Admin, "GET", "/api/v1/statistics/torrents/{hash}", Needs::Admin, || {
            get(statistics::one_torrent)
        }),
        Route::new(Admin, "GET", "/health", Needs::Nothing, || get(admin::health)),
        Route::new(Admin, "GET", "/metrics", Needs::Admin, || get(admin::show_metrics)),
        Route::new(Admin, "GET", "/api/v1/tokens", Needs::Admin, || get(tokens::list)),
        Route::new(Admin, "POST", "/api/v1/tokens", Needs::Admin, || post(tokens::create)),
        Route::new(Admin, "DELETE", "/api/v1/tokens/{id}", Needs::Admin, || delete(tokens::revoke)),
    ]
};

/// Everything that the tracker answers over HTTP beside announces.
pub(crate) fn routers(shared: Arc<Shared>, hosts: OwnHosts) -> Routers {
    let public = router(At::Public).with_state(Arc::clone(&shared));
    let admin = router(At::Admin)
        .with_state(shared)
        .layer(Extension(Arc::<LastOverview>::default()))
        .layer(middleware::from_fn_with_state(hosts, refuse_strangers));
    Routers { public, admin }
}

fn router(at: At) -> Router<Arc<Shared>> {
    let here = ROUTES.iter().filter(|route| route.at == at || route.at == At::Both);
    let routed = here.filter_map(|route| Some((route.path, route.answer.handler()?)));
    routed
        .fold(Router::new(), |router, (path, handler)| router.route(path, handler()))
        .fallback(no_such_page)
        .method_not_allowed_fallback(no_such_method)
        // What reads a body has a bound of its own.
        .layer(DefaultBodyLimit::disable())
}

async fn refuse_strangers(State(hosts): State<OwnHosts>, request: Request, next: Next) -> Response {
    if hosts.accept(request.headers()) {
        return next.run(request).await;
    }
    let error = "this port answers under addresses and this machine's own name only; \
                 --admin-host NAME adds another";
    Refused::new(StatusCode::FORBIDDEN, RefusalCode::Forbidden, error).into_response()
}

async fn no_such_page() -> Refused {
    let error = "there is no such page; the API begins at /api/v1/catalogue";
    Refused::new(StatusCode::NOT_FOUND, RefusalCode::NotFound, error)
}

async fn no_such_method() -> Refused {
    let error = "this page does not answer this method";
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, RefusalCode::BadMethod, error)
}

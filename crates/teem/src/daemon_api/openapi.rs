//! The API for programs: an OpenAPI document, made from the handlers and the types of the JSON.

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use utoipa::OpenApi;

use super::{events, routes};
use crate::openapi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Teem daemon",
        description = "The torrents of a daemon. Requests carry the token that stands in `api.json` in its \
                       state folder: `Authorization: Bearer TOKEN`.",
        license(name = "MIT OR Apache-2.0")
    ),
    servers((url = "/", description = "The address that this was read from")),
    tags((name = "transfers", description = "Torrents, what they do and what they should do")),
    paths(
        show, events::follow, routes::list, routes::show, routes::peers, routes::remove, routes::hold, routes::resume, routes::recheck,
        routes::relocate, routes::rename, routes::place,
    )
)]
struct Document;

/// This document
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "transfers", responses(
    (status = 200, content_type = "application/json", body = Object)
))]
pub(super) async fn show() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], document())
}

/// The document as text; the same in every run.
pub(super) fn document() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| openapi::text(Document::openapi()));
    &TEXT
}

#[cfg(test)]
mod tests {
    use super::super::table::ROUTES;
    use super::*;

    #[test]
    fn every_route_has_its_row_and_its_description() {
        let routes = ROUTES.iter().map(|route| (route.method, route.path));
        openapi::assert_describes(document(), routes);
    }

    #[test]
    fn the_document_is_as_it_was() {
        openapi::assert_as_kept(document(), "openapi-daemon.json");
    }
}

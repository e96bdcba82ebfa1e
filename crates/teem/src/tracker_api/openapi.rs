//! The API for programs: an OpenAPI document, made from the handlers and the types of the JSON.

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use utoipa::OpenApi;

use super::{admin, page, publishing, routes, statistics, tokens};
use crate::openapi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Teem tracker",
        description = "The catalogue of names, and what the operator asks. On a private tracker \
                       requests carry a token: `Authorization: Bearer TOKEN`.",
        license(name = "MIT OR Apache-2.0")
    ),
    servers((url = "/", description = "The address that this was read from")),
    tags(
        (name = "catalogue", description = "Torrents by name; on the public port"),
        (name = "tracker", description = "The tracker itself; on the public port"),
        (name = "operator", description = "On the operator's port (--admin-listen) only")
    ),
    paths(
        routes::list, routes::show, publishing::publish, publishing::unpublish, routes::torrent,
        routes::magnet, routes::status, show, page::show, page::style, statistics::overall,
        statistics::torrents, statistics::one_torrent, admin::health, admin::show_metrics, tokens::list,
        tokens::create, tokens::revoke,
    )
)]
struct Document;

/// This document
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "tracker", responses(
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
        let routed = ROUTES.iter().filter(|route| route.is_routed());
        openapi::assert_describes(document(), routed.map(|route| (route.method, route.path)));
    }

    #[test]
    fn the_document_is_as_it_was() {
        openapi::assert_as_kept(document(), "openapi.json");
    }
}

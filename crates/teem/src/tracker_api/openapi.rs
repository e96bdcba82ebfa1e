//! The API for programs: an OpenAPI document, made from the handlers and the types of the JSON.

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use utoipa::OpenApi;

use super::{admin, page, publishing, routes, statistics, tokens};

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
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut document = Document::openapi();
        // The snapshot in the source tree does not change with every release.
        document.info.version = "1".to_owned();
        let text = document.to_pretty_json().expect("it has string keys and plain values only");
        format!("{text}\n")
    });
    &TEXT
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::super::table::ROUTES;
    use super::*;

    #[test]
    fn every_route_has_its_row_and_its_description() {
        let document: serde_json::Value = serde_json::from_str(document()).expect("JSON");
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for method in item.as_object().expect("operations").keys() {
                described.insert((method.to_uppercase(), path.clone()));
            }
        }
        let routed = ROUTES.iter().filter(|route| route.is_routed());
        let rows = routed.map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
        assert_eq!(
            described, rows,
            "`openapi` describes the left ones, `table` has the right ones"
        );
    }

    #[test]
    fn the_document_is_as_it_was() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
        if std::env::var_os("TEEM_UPDATE").is_some() {
            std::fs::write(&path, document()).expect("the snapshot can be written");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == document(),
            "the API changed. If that is meant: TEEM_UPDATE=1 cargo test -p teem openapi"
        );
    }
}

//! The routes of the operator's port.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use tracker::Shared;

use super::caller::Admin;
use super::dto;
use super::metrics;
use super::refusal::Refused;

/// Whether the tracker can do its work: its catalogue answers
#[utoipa::path(get, path = "/health", tag = "operator", responses(
    (status = 200, body = String, content_type = "text/plain"), (status = 500, body = dto::Refusal)
))]
pub(super) async fn health(State(shared): State<Arc<Shared>>) -> Result<&'static str, Refused> {
    shared.catalogue.count().await?;
    Ok("ok\n")
}

/// Counters, gauges and histograms for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "operator", responses(
    (status = 200, body = String, content_type = "text/plain"), (status = "4XX", body = dto::Refusal)
))]
pub(super) async fn show_metrics(
    _: Admin,
    State(shared): State<Arc<Shared>>,
) -> Result<Response, Refused> {
    let text = metrics::render(&shared).await?;
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(CONTENT_TYPE, content_type)], text).into_response())
}

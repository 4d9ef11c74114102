//! Whether the server is ready, and its figures.

use crate::app::App;
use crate::error::{ApiError, ErrorBody};
use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::atomic::Ordering::SeqCst;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(metrics))
}

/// That requests are answered.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `ok`.
    status: &'static str,
}

/// Whether requests are answered: 503 while the first model is loaded, and from when the server
/// is asked to stop.
#[utoipa::path(get, path = "/health", responses((status = OK, body = Health), (status = SERVICE_UNAVAILABLE, body = ErrorBody)))]
async fn health(State(app): State<App>) -> Result<Json<Health>, ApiError> {
    if app.stopping.load(SeqCst) {
        return Err(ApiError::stopping());
    }
    match app.ready.load(SeqCst) {
        true => Ok(Json(Health { status: "ok" })),
        false => Err(ApiError::unavailable("the model is being loaded").code("loading")),
    }
}

/// Figures for Prometheus.
#[utoipa::path(get, path = "/metrics", responses((status = OK, body = String, content_type = "application/openmetrics-text")))]
async fn metrics(State(app): State<App>) -> Result<Response, ApiError> {
    let (figures, loaded) = (app.scheduler.figures(), app.models.loaded());
    app.metrics.observe(&figures, loaded.len(), app.models.weight_bytes());
    let text = app.metrics.text().map_err(|error| ApiError::server(error.to_string()))?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

//! `/v1/models`, and what this server does not do.

use crate::app::App;
use crate::error::{ApiError, ErrorBody};
use crate::models::Medium;
use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

/// The models.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelList {
    /// `list`.
    object: &'static str,
    data: Vec<ModelEntry>,
}

/// One model.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelEntry {
    /// The name that requests use.
    id: String,
    /// `model`.
    object: &'static str,
    /// When it was loaded; 0 where it is not loaded yet.
    created: u64,
    /// `aquatint`.
    owned_by: &'static str,
    /// Figures, where it is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<ModelMeta>,
}

/// Figures of a model.
#[derive(Debug, Serialize, ToSchema)]
struct ModelMeta {
    parameters: u64,
    context_length: usize,
    vocabulary_size: usize,
    /// What it reads and makes beside text.
    media: Vec<Medium>,
    /// The scheme of the mark that its texts have: `gumbel`, `green`, `order`.
    #[serde(skip_serializing_if = "Option::is_none")]
    watermark: Option<&'static str>,
    /// Whether guards judge what is given and what is written; only where they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    guarded: Option<bool>,
}

fn entry(app: &App, name: &str) -> Result<ModelEntry, ApiError> {
    let loaded = app.models.peek(name)?;
    Ok(ModelEntry {
        id: loaded.as_ref().map_or_else(|| name.to_owned(), |loaded| loaded.name.clone()),
        object: "model",
        created: loaded.as_ref().map_or(0, |loaded| loaded.created),
        owned_by: "aquatint",
        meta: loaded.map(|loaded| ModelMeta {
            parameters: loaded.parameters,
            context_length: loaded.context_length(),
            vocabulary_size: loaded.checkpoint().spec.vocabulary_size,
            media: loaded.media.clone(),
            watermark: loaded.model.watermark().map(|key| key.kind().name()),
            guarded: loaded.model.guards().map(|_| true),
        }),
    })
}

/// The models that requests can name.
#[utoipa::path(get, path = "/v1/models", responses((status = OK, body = ModelList)))]
pub(super) async fn list(State(app): State<App>) -> Result<Json<ModelList>, ApiError> {
    let mut data = Vec::new();
    for name in app.models.names() {
        data.push(entry(&app, name)?);
    }
    Ok(Json(ModelList { object: "list", data }))
}

/// One model.
#[utoipa::path(
    get,
    path = "/v1/models/{model}",
    params(("model" = String, Path, description = "A name of `/v1/models`")),
    responses((status = OK, body = ModelEntry), (status = NOT_FOUND, body = ErrorBody))
)]
pub(super) async fn show(State(app): State<App>, Path(model): Path<String>) -> Result<Json<ModelEntry>, ApiError> {
    entry(&app, &model).map(Json)
}

/// Refused: these models write text and give no vectors of it.
#[utoipa::path(post, path = "/v1/embeddings", responses((status = BAD_REQUEST, body = ErrorBody)))]
pub(super) async fn embed() -> ApiError {
    ApiError::invalid("embeddings are not supported; these models write text and give no vectors of it")
        .code("unsupported_endpoint")
}

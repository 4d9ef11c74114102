//! Ollama's protocol: conversations and texts as newline-delimited JSON, and the models.

mod answer;
mod chat;
mod generate;
mod listing;
mod options;

use crate::app::App;
use crate::error::ApiError;
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use chat::OllamaChatRequest;
pub(crate) use generate::GenerateRequest;
pub(crate) use listing::ShowRequest;
pub(crate) use options::Options;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(generate::generate))
        .routes(routes!(chat::chat))
        .routes(routes!(listing::tags))
        .routes(routes!(listing::running))
        .routes(routes!(listing::show))
        .routes(routes!(listing::version))
        .routes(routes!(listing::embed))
        .routes(routes!(listing::embeddings))
}

/// Ollama's form of an error.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct OllamaError {
    /// What is wrong, the value, what is allowed, and what helps.
    error: String,
}

impl OllamaError {
    fn of(error: &ApiError) -> Self {
        Self { error: error.message().to_owned() }
    }
}

/// An answer whose error, where it is one, is in Ollama's form.
pub(crate) fn with_ollama_error(mut response: Response) -> Response {
    let Some(error) = response.extensions_mut().remove::<ApiError>() else { return response };
    let (mut parts, _) = response.into_parts();
    let (rewritten, body) = Json(OllamaError::of(&error)).into_response().into_parts();
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    parts.headers.extend(rewritten.headers);
    Response::from_parts(parts, body)
}

//! The models as Ollama lists them, and what this server does not do.

use super::OllamaError;
use crate::app::App;
use crate::body::Plain;
use crate::error::ApiError;
use crate::models::Loaded;
use aquatint::vocabulary::MediaKind;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// The models.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tags {
    models: Vec<Tag>,
}

/// One model; only of one that is in memory more is known than its name.
#[derive(Debug, Serialize, ToSchema)]
struct Tag {
    /// The name that requests use, with Ollama's tag.
    name: String,
    model: String,
    /// When it was loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    modified_at: Option<String>,
    /// Bytes that its weights take in memory, about.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
    /// Positions that it reads at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<usize>,
}

/// What a model is.
#[derive(Debug, Serialize, ToSchema)]
struct Details {
    /// `safetensors`.
    format: &'static str,
    family: String,
    families: Vec<String>,
    /// Such as `3.0M`.
    parameter_size: String,
    /// The number format of its weights in its files.
    quantization_level: String,
}

impl Tag {
    fn of(name: &str, loaded: Option<&Loaded>) -> Self {
        let name = format!("{name}:latest");
        let (modified_at, size) =
            (loaded.and_then(|loaded| loaded_at(loaded.created)), loaded.map(|loaded| loaded.bytes));
        let (details, context_length) = (loaded.map(Details::of), loaded.map(Loaded::context_length));
        Self { model: name.clone(), name, modified_at, size, details, context_length }
    }
}

impl Details {
    fn of(loaded: &Loaded) -> Self {
        let checkpoint = loaded.checkpoint();
        let family = checkpoint.family.facts().model_type.to_owned();
        let stored = checkpoint.storage().unwrap_or_else(|| "integers".to_owned());
        Self {
            format: "safetensors",
            families: vec![family.clone()],
            family,
            parameter_size: parameters(loaded.parameters),
            quantization_level: stored,
        }
    }
}

fn parameters(count: u64) -> String {
    match count {
        1_000_000_000.. => format!("{:.1}B", count as f64 / 1e9),
        1_000_000.. => format!("{:.1}M", count as f64 / 1e6),
        _ => format!("{:.1}K", count as f64 / 1e3),
    }
}

fn loaded_at(seconds: u64) -> Option<String> {
    let time = DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// The models that requests can name.
#[utoipa::path(get, path = "/api/tags", responses((status = OK, body = Tags)))]
pub(super) async fn tags(State(app): State<App>) -> Result<Json<Tags>, ApiError> {
    let mut models = Vec::new();
    for name in app.models.names() {
        models.push(Tag::of(name, app.models.peek(name)?.as_deref()));
    }
    Ok(Json(Tags { models }))
}

/// The models that are in memory.
#[utoipa::path(get, path = "/api/ps", responses((status = OK, body = Tags)))]
pub(super) async fn running(State(app): State<App>) -> Json<Tags> {
    let models = app.models.loaded();
    Json(Tags { models: models.iter().map(|loaded| Tag::of(&loaded.name, Some(loaded))).collect() })
}

/// A model to describe.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShowRequest {
    /// A model of `/api/tags`, with or without `:latest`.
    model: String,
    /// Accepted, and without effect: the tokens and merges of a vocabulary are not listed.
    #[serde(rename = "verbose")]
    _verbose: Option<bool>,
}

/// What a model is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Shown {
    /// `completion`, `insert` where it fills holes before given text, and `vision` where it has pictures.
    capabilities: Vec<&'static str>,
    details: Details,
    #[schema(value_type = Object)]
    model_info: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified_at: Option<String>,
}

/// What a model is; it is loaded where it is not yet.
#[utoipa::path(
    post,
    path = "/api/show",
    request_body = ShowRequest,
    responses((status = OK, body = Shown), (status = NOT_FOUND, body = OllamaError))
)]
pub(super) async fn show(State(app): State<App>, Plain(request): Plain<ShowRequest>) -> Result<Json<Shown>, ApiError> {
    let loaded = app.models.get(Some(&request.model)).await?;
    let details = Details::of(&loaded);
    let spec = &loaded.checkpoint().spec;
    let own = |name: &str| format!("{}.{name}", details.family);
    let info = [
        ("general.architecture".to_owned(), json!(details.family)),
        ("general.parameter_count".to_owned(), json!(loaded.parameters)),
        (own("context_length"), json!(loaded.context_length())),
        (own("vocab_size"), json!(spec.vocabulary_size)),
    ];
    let infills = (!loaded.is_causal()).then_some("insert");
    let sees = loaded.medium(MediaKind::Picture).is_ok().then_some("vision");
    Ok(Json(Shown {
        capabilities: ["completion"].into_iter().chain(infills).chain(sees).collect(),
        model_info: info.into_iter().collect(),
        modified_at: loaded_at(loaded.created),
        details,
    }))
}

/// The version of this program.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Version {
    version: &'static str,
}

/// The version of this program.
#[utoipa::path(get, path = "/api/version", responses((status = OK, body = Version)))]
pub(super) async fn version() -> Json<Version> {
    Json(Version { version: env!("CARGO_PKG_VERSION") })
}

/// Refused: these models write text and give no vectors of it.
#[utoipa::path(post, path = "/api/embed", responses((status = BAD_REQUEST, body = OllamaError)))]
pub(super) async fn embed() -> ApiError {
    no_vectors()
}

/// Refused: these models write text and give no vectors of it.
#[utoipa::path(post, path = "/api/embeddings", responses((status = BAD_REQUEST, body = OllamaError)))]
pub(super) async fn embeddings() -> ApiError {
    no_vectors()
}

fn no_vectors() -> ApiError {
    ApiError::invalid("embeddings are not supported; these models write text and give no vectors of it")
        .code("unsupported_endpoint")
}

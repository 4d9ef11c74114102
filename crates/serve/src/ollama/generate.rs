//! `/api/generate`: a text continued, or a text between two others.

use super::OllamaError;
use super::answer::{CommonFields, Format, KeepAlive, Line, OllamaFigures, Requested, now, refuse};
use super::chat::insert_images;
use crate::app::App;
use crate::body::Plain;
use crate::conversation::Conversation;
use crate::error::ApiError;
use crate::models::Loaded;
use crate::scheduler::Client;
use aquatint::vocabulary::{Message, Template};
use aquatint::{Prepared, SamplingOptions};
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Instant;
use utoipa::ToSchema;

/// A text to continue.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GenerateRequest {
    /// A model of `/api/tags`, with or without `:latest`; the first one where it is left out.
    model: Option<String>,
    /// What is given. A model with a template of conversations answers it, unless `raw` is set; without one the text is
    /// continued. Where it is left out, the model is loaded and nothing is written.
    prompt: Option<String>,
    /// What stands behind the text: it is filled in between.
    suffix: Option<String>,
    /// What comes before the conversation, or before the text.
    system: Option<String>,
    /// Whether the prompt is read as it is, without the model's template.
    #[serde(default)]
    raw: bool,
    /// Lines as the text becomes final, or one object.
    #[serde(default = "yes")]
    stream: bool,
    /// How the canvas is filled: Ollama's options, and ours by their own names.
    #[schema(value_type = Option<Object>)]
    pub(crate) options: Option<Map<String, Value>>,
    /// Accepted, with a warning: a model stays as long as there is memory.
    keep_alive: Option<KeepAlive>,
    /// Pictures in base64, which stand before the prompt.
    #[serde(default)]
    images: Vec<String>,
    /// Refused but for an empty one.
    #[serde(default)]
    template: String,
    /// Refused but for an empty list.
    #[serde(default)]
    context: Vec<u32>,
    /// Refused but for `false`.
    think: Option<bool>,
    /// What the text is kept within: `json`, any JSON object, or a JSON schema.
    format: Option<Format>,
}

pub(super) fn yes() -> bool {
    true
}

/// A text, or a line of a stream of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Generated {
    model: String,
    created_at: String,
    response: String,
    /// Whether nothing more comes; the figures are there then.
    done: bool,
    #[serde(flatten)]
    figures: Option<OllamaFigures>,
}

fn line(model: &str, response: String, figures: Option<OllamaFigures>) -> Value {
    json!(Generated { model: model.to_owned(), created_at: now(), response, done: figures.is_some(), figures })
}

/// Continues a text, or fills one in between `prompt` and `suffix`.
#[utoipa::path(
    post,
    path = "/api/generate",
    request_body = GenerateRequest,
    responses(
        (status = OK, body = Generated, description = "One object, or lines as the text becomes final"),
        (status = NOT_FOUND, body = OllamaError),
        (status = TOO_MANY_REQUESTS, body = OllamaError),
    )
)]
pub(super) async fn generate(
    State(app): State<App>,
    client: Client,
    Plain(request): Plain<GenerateRequest>,
) -> Result<Response, ApiError> {
    let begun = Instant::now();
    request.check()?;
    let fields = CommonFields {
        model: request.model.clone(),
        options: request.options.clone(),
        keep_alive: request.keep_alive.clone(),
        format: request.format.clone(),
        stream: request.stream,
    };
    let requested = Requested::new(&app, client, begun, fields).await?;
    let line: Line = line;
    if request.prompt.as_deref().unwrap_or_default().is_empty() && request.suffix.is_none() {
        return Ok(requested.nothing(line));
    }
    requested.answer(move |loaded, options| request.prepare(loaded, options), line).await
}

impl GenerateRequest {
    /// Refuses what is known and not done.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        let fills = self.suffix.as_deref().is_some_and(|suffix| !suffix.is_empty());
        refuse(
            !self.images.is_empty() && (fills || self.raw),
            "images",
            "leave out `suffix` and `raw`, or send text only",
        )?;
        refuse(!self.template.is_empty(), "template", "the model's own is used; `raw` leaves it out")?;
        refuse(!self.context.is_empty(), "context", "send the conversation to /api/chat")?;
        refuse(self.think == Some(true), "think", "leave it out")?;
        refuse(self.raw && self.system.is_some(), "system", "with `raw` it belongs into the prompt")
    }

    fn prepare(&self, loaded: &Loaded, options: &SamplingOptions) -> Result<Prepared, ApiError> {
        let (model, prompt) = (&loaded.model, self.prompt.as_deref().unwrap_or_default());
        let system = self.system.as_deref().filter(|system| !system.is_empty());
        if let Some(suffix) = self.suffix.as_deref().filter(|suffix| !suffix.is_empty()) {
            let before = system.map_or_else(|| prompt.to_owned(), |system| format!("{system}\n\n{prompt}"));
            return Ok(model.prepare_infill(&before, suffix, options)?);
        }
        if self.raw {
            return Ok(model.prepare_template(Template::text(prompt), options)?);
        }
        let mut conversation =
            Conversation::of(system.map(|system| Message::new("system", system)).into_iter().collect());
        conversation.turn(Message::new("user", ""));
        insert_images(&mut conversation, "images", self.images.iter())?;
        conversation.speak(prompt);
        conversation.prepare(loaded, &[], &[], options)
    }
}

//! `/api/chat`: a conversation continued.

use super::OllamaError;
use super::answer::{CommonFields, Format, KeepAlive, Line, OllamaFigures, Requested, now, refuse};
use super::generate::yes;
use crate::app::App;
use crate::body::Plain;
use crate::conversation::Conversation;
use crate::error::ApiError;
use crate::given_media::GivenMedia;
use crate::scheduler::Client;
use aquatint::vocabulary::{MediaKind, Message};
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Instant;
use utoipa::ToSchema;

/// A conversation to continue.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OllamaChatRequest {
    /// A model of `/api/tags`, with or without `:latest`; the first one where it is left out.
    model: Option<String>,
    /// The conversation so far. Where it is empty, the model is loaded and nothing is written.
    #[serde(default)]
    messages: Vec<OllamaMessage>,
    /// Lines as the text becomes final, or one object.
    #[serde(default = "yes")]
    stream: bool,
    /// How the canvas is filled: Ollama's options, and ours by their own names.
    #[schema(value_type = Option<Object>)]
    pub(crate) options: Option<Map<String, Value>>,
    /// Accepted, with a warning: a model stays as long as there is memory.
    keep_alive: Option<KeepAlive>,
    /// Refused but for an empty list.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    tools: Vec<Value>,
    /// Refused but for `false`.
    think: Option<bool>,
    /// What the text is kept within: `json`, any JSON object, or a JSON schema.
    format: Option<Format>,
}

/// One turn.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OllamaMessage {
    /// `system`, `user`, `assistant`, or what else the model's template knows.
    role: String,
    #[serde(default)]
    content: String,
    /// Pictures in base64, which stand before the text.
    images: Option<Vec<String>>,
    /// Refused but for an empty list.
    #[schema(value_type = Option<Vec<Object>>)]
    tool_calls: Option<Vec<Value>>,
    /// Refused but for an empty one.
    thinking: Option<String>,
}

/// A turn of the model, or a line of a stream of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OllamaChat {
    model: String,
    created_at: String,
    message: OllamaAnswer,
    /// Whether nothing more comes; the figures are there then.
    done: bool,
    #[serde(flatten)]
    figures: Option<OllamaFigures>,
}

#[derive(Debug, Serialize, ToSchema)]
struct OllamaAnswer {
    /// `assistant`.
    role: &'static str,
    content: String,
}

fn line(model: &str, content: String, figures: Option<OllamaFigures>) -> Value {
    let message = OllamaAnswer { role: "assistant", content };
    json!(OllamaChat { model: model.to_owned(), created_at: now(), message, done: figures.is_some(), figures })
}

/// Continues a conversation.
#[utoipa::path(
    post,
    path = "/api/chat",
    request_body = OllamaChatRequest,
    responses(
        (status = OK, body = OllamaChat, description = "One object, or lines as the text becomes final"),
        (status = NOT_FOUND, body = OllamaError),
        (status = TOO_MANY_REQUESTS, body = OllamaError),
    )
)]
pub(super) async fn chat(
    State(app): State<App>,
    client: Client,
    Plain(request): Plain<OllamaChatRequest>,
) -> Result<Response, ApiError> {
    let begun = Instant::now();
    let conversation = request.conversation()?;
    let OllamaChatRequest { model, options, keep_alive, format, stream, .. } = request;
    let requested =
        Requested::new(&app, client, begun, CommonFields { model, options, keep_alive, format, stream }).await?;
    let line: Line = line;
    if conversation.turns.is_empty() {
        return Ok(requested.nothing(line));
    }
    requested.answer(move |loaded, options| conversation.prepare(loaded, &[], &[], options), line).await
}

impl OllamaChatRequest {
    /// The turns; what is known and not done is refused.
    pub(crate) fn conversation(&self) -> Result<Conversation, ApiError> {
        refuse(!self.tools.is_empty(), "tools", "leave them out")?;
        refuse(self.think == Some(true), "think", "leave it out")?;
        let mut conversation = Conversation::default();
        for (index, message) in self.messages.iter().enumerate() {
            let place = |field: &str| format!("messages[{index}].{field}");
            let calls = message.tool_calls.as_deref();
            refuse(calls.is_some_and(|calls| !calls.is_empty()), &place("tool_calls"), "leave them out")?;
            let thinks = message.thinking.as_deref().is_some_and(|thinking| !thinking.is_empty());
            refuse(thinks, &place("thinking"), "leave it out")?;
            conversation.turn(Message::new(&message.role, ""));
            insert_images(&mut conversation, &place("images"), message.images.iter().flatten())?;
            conversation.speak(&message.content);
        }
        Ok(conversation)
    }
}

/// Adds pictures in base64 to the last turn.
pub(super) fn insert_images<'a>(
    conversation: &mut Conversation,
    place: &str,
    images: impl Iterator<Item = &'a String>,
) -> Result<(), ApiError> {
    for (index, image) in images.enumerate() {
        let place = format!("{place}[{index}]");
        let given = GivenMedia::of_base64(&place, MediaKind::Picture, image)?;
        conversation.insert_media(place, given)?;
    }
    Ok(())
}

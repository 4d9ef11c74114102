//! `/v1/chat/completions`: a conversation continued.

use super::fields::{Several, Started, Stop, StreamOptions, Timings, refuse, results, stops};
use super::logprobs::ChatLogprobs;
use super::stream::{self, Chunks, data};
use crate::app::App;
use crate::body::Body;
use crate::conversation::{self, Content};
use crate::error::{ApiError, ErrorBody};
use crate::identity::{Peer, client, identifier, now};
use crate::models::Loaded;
use crate::sampling::SamplingFields;
use crate::text::{Completed, Usage};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Alternatives of a token at most.
const MOST_ALTERNATIVES: usize = 20;

/// One turn.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Turn {
    /// `system`, `user`, `assistant`, or what else the model's template knows.
    role: String,
    /// What is said.
    content: Option<Content>,
    /// Accepted, and not used.
    #[serde(rename = "name")]
    _name: Option<String>,
}

/// A conversation to continue.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChatRequest {
    /// A model of `/v1/models`; the first one where it is left out.
    model: Option<String>,
    /// The conversation so far. A last turn of the assistant is continued.
    #[schema(min_items = 1)]
    messages: Vec<Turn>,
    /// Tokens of the answer at most.
    #[schema(minimum = 1)]
    max_tokens: Option<usize>,
    /// The same by its newer name.
    #[schema(minimum = 1)]
    max_completion_tokens: Option<usize>,
    /// Strings at which the answer ends; they are no part of it.
    stop: Option<Stop>,
    /// Results, with the seeds from `seed` on.
    #[schema(minimum = 1, maximum = 16)]
    n: Option<usize>,
    /// Server-sent events as the text becomes final.
    #[serde(default)]
    stream: bool,
    stream_options: Option<StreamOptions>,
    /// Whether the log-probabilities of the tokens are returned.
    #[serde(default)]
    logprobs: bool,
    /// The likeliest tokens of each position.
    #[schema(maximum = 20)]
    top_logprobs: Option<usize>,
    /// Accepted, and not used.
    #[serde(rename = "user")]
    _user: Option<String>,
    /// Accepted, and not used.
    #[serde(rename = "metadata")]
    #[schema(value_type = Object)]
    _metadata: Option<serde_json::Value>,
    /// Nothing is stored: only `false`.
    store: Option<bool>,
    /// Only `["text"]`.
    modalities: Option<Vec<String>>,
}

/// The whole body.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body; the fields are read apart")]
struct ChatBody {
    #[serde(flatten)]
    request: ChatRequest,
    #[serde(flatten)]
    sampling: SamplingFields,
}

/// What is answered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Chat {
    id: String,
    /// `chat.completion`.
    object: &'static str,
    created: u64,
    model: String,
    system_fingerprint: String,
    choices: Vec<Choice>,
    usage: Usage,
    /// The seed of the first result; the others count on from it.
    seed: u64,
    timings: Timings,
    /// What was requested and changes nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// One result.
#[derive(Debug, Serialize, ToSchema)]
struct Choice {
    index: usize,
    message: Answer,
    #[schema(required)]
    logprobs: Option<ChatLogprobs>,
    /// `stop`: an end token or a stop string; `length`: all tokens are used; `cancelled`: the time limit.
    finish_reason: &'static str,
}

/// What the model says.
#[derive(Debug, Serialize, ToSchema)]
struct Answer {
    /// `assistant`.
    role: &'static str,
    content: String,
    /// Never: nothing is refused in words.
    #[schema(required, value_type = Option<String>)]
    refusal: Option<()>,
}

/// A part of a streamed answer.
#[derive(Debug, Serialize, ToSchema)]
struct ChatChunk {
    id: String,
    /// `chat.completion.chunk`.
    object: &'static str,
    created: u64,
    model: String,
    system_fingerprint: String,
    choices: Vec<ChunkChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    seed: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ChunkChoice {
    index: usize,
    delta: Delta,
    #[schema(required)]
    logprobs: Option<ChatLogprobs>,
    #[schema(required)]
    finish_reason: Option<&'static str>,
}

#[derive(Debug, Default, Serialize, ToSchema)]
struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

/// Continues a conversation.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    request_body = ChatBody,
    responses(
        (status = OK, body = Chat, description = "The answers; with `stream`, chunks of them as server-sent events"),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody),
        (status = TOO_MANY_REQUESTS, body = ErrorBody),
    )
)]
pub(super) async fn complete(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body<ChatRequest>,
) -> Result<Response, ApiError> {
    let client = client(&app, &headers, peer.map(|Extension(peer)| peer))?;
    let Body { own: request, sampling } = body;
    let count = results(request.n)?;
    refuse("store", request.store.as_ref(), &[false], "nothing is stored")?;
    refuse("modalities", request.modalities.as_ref(), &[vec!["text".to_owned()]], "the answer is text")?;
    if let Some(count) = request.top_logprobs {
        if count > MOST_ALTERNATIVES {
            return Err(ApiError::field("top_logprobs", count, &format!("at most {MOST_ALTERNATIVES}")));
        }
        if !request.logprobs {
            return Err(ApiError::invalid("`top_logprobs` needs `logprobs`: true").of("top_logprobs"));
        }
    }
    let max_tokens = match (request.max_tokens, request.max_completion_tokens) {
        (Some(one), Some(other)) if one != other => {
            return Err(ApiError::invalid("`max_tokens` and `max_completion_tokens` differ; give one").of("max_tokens"));
        }
        (one, other) => one.or(other),
    };
    let mut turns = Vec::with_capacity(request.messages.len());
    for (index, turn) in request.messages.iter().enumerate() {
        let content = turn.content.as_ref().map(|content| content.text(&format!("messages[{index}].content")));
        turns.push(aquatint::vocabulary::Message::new(&turn.role, content.transpose()?.unwrap_or_default()));
    }
    let loaded = app.models.get(request.model.as_deref()).await?;
    let stop = stops(request.stop.clone())?;
    let alternatives = request.top_logprobs.unwrap_or(0);
    let watched = request.stream && request.stream_options.unwrap_or_default().denoising;
    let several =
        Several { loaded: loaded.clone(), client, sampling: &sampling, max_tokens, stop, count, alternatives, watched };
    let Started { runs, seed, warnings } =
        several.start(&app, |loaded, options| conversation::prepare(loaded, &turns, options))?;
    let head = Head { id: identifier("chatcmpl-"), created: now(), loaded: loaded.clone(), seed };
    if request.stream {
        let options = request.stream_options.unwrap_or_default();
        return Ok(stream::respond(runs, Stream { head, options, logprobs: request.logprobs, warnings }));
    }
    let (mut choices, mut usages, mut timings) = (Vec::new(), Vec::new(), Timings::default());
    for (index, run) in runs.into_iter().enumerate() {
        let completed = *run.finish().await?;
        timings.add(&completed);
        usages.push(completed.usage);
        choices.push(Choice {
            index,
            logprobs: request.logprobs.then(|| ChatLogprobs::new(&loaded, &completed.tokens)),
            finish_reason: completed.finish.name(),
            message: Answer { role: "assistant", content: completed.text, refusal: None },
        });
    }
    let answer = Chat {
        id: head.id,
        object: "chat.completion",
        created: head.created,
        model: loaded.name.clone(),
        system_fingerprint: loaded.fingerprint(),
        choices,
        usage: Usage::sum(usages),
        seed,
        timings,
        warnings,
    };
    Ok(Json(answer).into_response())
}

/// What all chunks of an answer share.
struct Head {
    id: String,
    created: u64,
    loaded: Arc<Loaded>,
    seed: u64,
}

struct Stream {
    head: Head,
    options: StreamOptions,
    logprobs: bool,
    warnings: Vec<String>,
}

impl Stream {
    fn chunk(&self, choices: Vec<ChunkChoice>) -> ChatChunk {
        ChatChunk {
            id: self.head.id.clone(),
            object: "chat.completion.chunk",
            created: self.head.created,
            model: self.head.loaded.name.clone(),
            system_fingerprint: self.head.loaded.fingerprint(),
            choices,
            usage: None,
            seed: self.head.seed,
            warnings: Vec::new(),
        }
    }
}

impl Chunks for Stream {
    fn first(&self, index: usize) -> Option<Event> {
        let delta = Delta { role: Some("assistant"), content: Some(String::new()) };
        Some(data(&self.chunk(vec![ChunkChoice { index, delta, logprobs: None, finish_reason: None }])))
    }

    fn text(&self, index: usize, text: String) -> Event {
        let delta = Delta { role: None, content: Some(text) };
        data(&self.chunk(vec![ChunkChoice { index, delta, logprobs: None, finish_reason: None }]))
    }

    fn end(&self, index: usize, completed: &Completed) -> Event {
        let logprobs = self.logprobs.then(|| ChatLogprobs::new(&self.head.loaded, &completed.tokens));
        let (delta, finish_reason) = (Delta::default(), Some(completed.finish.name()));
        let chunk = self.chunk(vec![ChunkChoice { index, delta, logprobs, finish_reason }]);
        data(&ChatChunk { warnings: self.warnings.clone(), ..chunk })
    }

    fn last(&self, completed: &[Completed]) -> Option<Event> {
        let usage = Some(Usage::sum(completed.iter().map(|completed| completed.usage)));
        self.options.include_usage.then(|| data(&ChatChunk { usage, ..self.chunk(Vec::new()) }))
    }
}

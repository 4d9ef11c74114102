//! `/v1/chat/completions`: a conversation continued.

use super::fields::{Several, Started, Stop, StreamOptions, Timings, refuse, results, stops};
use super::logprobs::ChatLogprobs;
use super::response_format::ResponseFormat;
use super::stream::{self, Chunks, data};
use super::tools::{Beginning, Tool, ToolCall, ToolChoice, Tools, numbered};
use crate::app::App;
use crate::body::Body;
use crate::conversation::{Content, Conversation};
use crate::error::{ApiError, FillErrors};
use crate::identity::{identifier, now};
use crate::models::Loaded;
use crate::sampling::SamplingFields;
use crate::scheduler::Client;
use crate::text::{Completed, TextRun, Usage};
use aquatint::constraint::ConstraintSpec;
use aquatint::vocabulary::{MediaKind, Message};
use aquatint::{MediaFile, SamplingOptions};
use axum::Json;
use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use utoipa::ToSchema;

/// Alternatives of a token at most.
const MOST_ALTERNATIVES: usize = 20;

/// One turn.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Turn {
    /// `system`, `user`, `assistant`, or what else the model's template knows.
    role: String,
    /// What is said. It may be left out beside `tool_calls`.
    content: Option<Content>,
    /// Calls that the assistant wrote.
    #[schema(value_type = Option<Vec<Object>>)]
    tool_calls: Option<Vec<serde_json::Value>>,
    /// Which call a turn of the role `tool` answers.
    tool_call_id: Option<String>,
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
    /// What the answer is kept within.
    response_format: Option<ResponseFormat>,
    /// What the model may call.
    tools: Option<Vec<Tool>>,
    /// Whether it does.
    tool_choice: Option<ToolChoice>,
    /// Accepted: a required call is one call, and a free answer may hold several.
    #[serde(rename = "parallel_tool_calls")]
    _parallel_tool_calls: Option<bool>,
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
    /// `["text"]`, or `["text", "image"]` for a picture that is made beside the text.
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
    /// Null where tools are called.
    #[schema(required)]
    content: Option<String>,
    /// The picture that was made, where `modalities` has `image`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<ImagePart>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall>,
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<ImagePart>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall>,
}

/// A picture of an answer, in the form of a picture of a request.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct ImagePart {
    /// `image_url`.
    #[serde(rename = "type")]
    kind: &'static str,
    image_url: MadeUrl,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct MadeUrl {
    /// The whole file: `data:image/png;base64,…`.
    url: String,
}

fn images(completed: &Completed) -> Vec<ImagePart> {
    let part = |file: &MediaFile| ImagePart { kind: "image_url", image_url: MadeUrl { url: file.data_url() } };
    completed.media.iter().map(part).collect()
}

impl ChatRequest {
    /// The conversation.
    ///
    /// # Errors
    /// When a turn says nothing, or something that cannot be read.
    pub(crate) fn conversation(&self) -> Result<Conversation, ApiError> {
        let mut conversation = Conversation::default();
        for (index, turn) in self.messages.iter().enumerate() {
            let place = format!("messages[{index}].content");
            let mut message = Message::new(&turn.role, "");
            let calls = turn.tool_calls.clone().map(|calls| ("tool_calls".to_owned(), calls.into()));
            let answered = turn.tool_call_id.clone().map(|id| ("tool_call_id".to_owned(), id.into()));
            message.extra.extend(calls.into_iter().chain(answered));
            match &turn.content {
                Some(content) => conversation.say(message, content, &place)?,
                None if turn.tool_calls.as_ref().is_none_or(Vec::is_empty) => {
                    let message = format!("`{place}` is missing; only a turn with `tool_calls` says nothing");
                    return Err(ApiError::invalid(message).of(place).code("missing_required_parameter"));
                }
                None => conversation.turn(message),
            }
        }
        Ok(conversation)
    }

    /// What is made beside the text.
    fn made(&self) -> Result<Vec<MediaKind>, ApiError> {
        let mut named: Vec<&str> = self.modalities.iter().flatten().map(String::as_str).collect();
        named.sort_unstable();
        match named.as_slice() {
            [] | ["text"] => Ok(Vec::new()),
            ["image", "text"] => Ok(vec![MediaKind::Picture]),
            _ => {
                let given = format!("`{}`", named.join("`, `"));
                Err(ApiError::field("modalities", given, "`text`, or `text` and `image`"))
            }
        }
    }
}

/// Continues a conversation.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    request_body = ChatBody,
    responses(
        (status = OK, body = Chat, description = "The answers; with `stream`, chunks of them as server-sent events"),
        FillErrors,
    )
)]
pub(super) async fn complete(
    State(app): State<App>,
    client: Client,
    body: Body<ChatRequest>,
) -> Result<Response, ApiError> {
    let Body { own: request, sampling } = body;
    let count = results(request.n)?;
    refuse("store", request.store.as_ref(), &[false], "nothing is stored")?;
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
    let mut conversation = request.conversation()?;
    let made = request.made()?;
    let tools = Tools::read(request.tools.clone(), request.tool_choice.clone())?;
    let format = request.response_format.clone().map(ResponseFormat::spec).transpose()?.flatten();
    let constraint = match tools.as_ref().and_then(Tools::schema) {
        Some(_) if format.is_some() => {
            return Err(
                ApiError::invalid("`response_format` and a required tool exclude each other").of("response_format")
            );
        }
        Some(schema) => Some(ConstraintSpec::JsonSchema(schema)),
        None => format,
    };
    let loaded = app.models.get(request.model.as_deref()).await?;
    for kind in &made {
        loaded.medium(*kind).map_err(|error| error.of("modalities"))?;
    }
    let stop = stops(request.stop.clone())?;
    let introduced =
        tools.as_ref().map(|tools| tools.introduce(loaded.chat.as_ref(), &mut conversation.turns)).unwrap_or_default();
    let alternatives = request.top_logprobs.unwrap_or(0);
    let stream_options = StreamOptions::of(request.stream, request.stream_options)?;
    let several = Several {
        loaded: loaded.clone(),
        client,
        sampling,
        max_tokens,
        stop,
        count,
        constraint,
        alternatives,
        watched: stream_options.denoising,
    };
    let forced = tools.as_ref().is_some_and(Tools::is_required);
    let prepare = move |loaded: &Loaded, options: &SamplingOptions| {
        let prepared = conversation.prepare(loaded, &introduced, &made, options);
        // The schema is that of the tools.
        prepared.map_err(|error| if forced { error.renamed("response_format", "tools") } else { error })
    };
    let started = several.start(&app, prepare).await;
    // The prompt is that of the conversation.
    let Started { runs, seed, warnings } = started.map_err(|error| error.renamed("prompt", "messages"))?;
    let head = Head { id: identifier("chatcmpl-"), created: now(), loaded: loaded.clone(), seed };
    if request.stream {
        let held = (0..count).map(|_| Mutex::default()).collect();
        return Ok(stream::respond(
            runs,
            Stream { head, options: stream_options, logprobs: request.logprobs, warnings, tools, held },
        ));
    }
    let (mut choices, mut usages, mut timings) = (Vec::new(), Vec::new(), Timings::default());
    for (index, completed) in TextRun::finish_all(runs).await?.into_iter().enumerate() {
        timings.add(&completed);
        usages.push(completed.usage);
        let calls = tools.as_ref().and_then(|tools| tools.calls(&completed.text));
        choices.push(Choice {
            index,
            logprobs: request.logprobs.then(|| ChatLogprobs::new(&loaded, &completed.tokens)),
            finish_reason: finish_reason(&completed, calls.is_some()),
            message: Answer {
                role: "assistant",
                images: images(&completed),
                content: calls.is_none().then_some(completed.text),
                tool_calls: calls.unwrap_or_default(),
                refusal: None,
            },
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
    tools: Option<Tools>,
    /// The text of each result that may become a call of a tool, and is not sent until that is known.
    held: Vec<Mutex<Beginning>>,
}

/// Why an answer ends, in OpenAI's words.
fn finish_reason(completed: &Completed, calls: bool) -> &'static str {
    if calls { "tool_calls" } else { completed.finish.name() }
}

impl Stream {
    fn delta(&self, index: usize, delta: Delta) -> Event {
        data(&self.chunk(vec![ChunkChoice { index, delta, logprobs: None, finish_reason: None }]))
    }

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
        let content = self.tools.is_none().then(String::new);
        Some(self.delta(index, Delta { role: Some("assistant"), content, ..Delta::default() }))
    }

    fn text(&self, index: usize, text: String) -> Option<Event> {
        let text = match &self.tools {
            None => text,
            Some(tools) => self.held[index].lock().unwrap_or_else(PoisonError::into_inner).push(text, tools)?,
        };
        Some(self.delta(index, Delta { content: Some(text), ..Delta::default() }))
    }

    fn end(&self, index: usize, completed: &Completed) -> Vec<Event> {
        let calls = self.tools.as_ref().and_then(|tools| tools.calls(&completed.text));
        let finish_reason = Some(finish_reason(completed, calls.is_some()));
        let held = self.held[index].lock().unwrap_or_else(PoisonError::into_inner).take();
        let rest = match calls {
            Some(calls) => Some(Delta { tool_calls: numbered(calls), ..Delta::default() }),
            None => (!held.is_empty()).then(|| Delta { content: Some(held), ..Delta::default() }),
        };
        let logprobs = self.logprobs.then(|| ChatLogprobs::new(&self.head.loaded, &completed.tokens));
        let last = self.chunk(vec![ChunkChoice { index, delta: Delta::default(), logprobs, finish_reason }]);
        let last = data(&ChatChunk { warnings: self.warnings.clone(), ..last });
        let images = images(completed);
        let images = (!images.is_empty()).then(|| Delta { images, ..Delta::default() });
        rest.into_iter().chain(images).map(|delta| self.delta(index, delta)).chain([last]).collect()
    }

    fn last(&self, completed: &[Completed]) -> Option<Event> {
        let usage = Some(Usage::sum(completed.iter().map(|completed| completed.usage)));
        self.options.include_usage.then(|| data(&ChatChunk { usage, ..self.chunk(Vec::new()) }))
    }
}

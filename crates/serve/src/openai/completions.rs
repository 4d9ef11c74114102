//! `/v1/completions`: a text continued, or a text between two others.

use super::fields::{Several, Started, Stop, StreamOptions, Timings, refuse, results, stops};
use super::logprobs::CompletionLogprobs;
use super::response_format::ResponseFormat;
use super::stream::{self, Chunks, data};
use crate::app::App;
use crate::body::Body;
use crate::conversation::{Content, Conversation, Part};
use crate::error::{ApiError, FillErrors};
use crate::identity::{identifier, now};
use crate::models::Loaded;
use crate::sampling::SamplingFields;
use crate::scheduler::Client;
use crate::text::{Completed, TextRun, Usage};
use crate::tokens::check_tokens;
use aquatint::SamplingOptions;
use aquatint::vocabulary::{Template, TokenId};
use axum::Json;
use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Log-probabilities of how many tokens at most.
const MOST_LOGPROBS: usize = 20;

/// A text, tokens, or a text with pictures and sounds in it.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a text, an array of tokens, an array of one text or an array of parts")]
enum Prompt {
    Text(String),
    Tokens(Vec<TokenId>),
    /// Exactly one text; several requests are several requests here.
    Texts(Vec<String>),
    /// Parts with a `type`, as in a conversation.
    Parts(Vec<Part>),
}

/// A text to continue.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompletionRequest {
    /// A model of `/v1/models`; the first one where it is left out.
    model: Option<String>,
    /// What is given. Empty text begins a text.
    #[serde(default = "nothing")]
    prompt: Prompt,
    /// What stands behind the completion: it is filled in between.
    suffix: Option<String>,
    /// Tokens at most.
    #[schema(minimum = 1)]
    max_tokens: Option<usize>,
    /// Strings at which the text ends; they are no part of it.
    stop: Option<Stop>,
    /// Results, with the seeds from `seed` on.
    #[schema(minimum = 1, maximum = 16)]
    n: Option<usize>,
    /// Server-sent events as the text becomes final.
    #[serde(default)]
    stream: bool,
    stream_options: Option<StreamOptions>,
    /// What the text is kept within.
    response_format: Option<ResponseFormat>,
    /// Log-probabilities of the tokens.
    #[schema(maximum = 20)]
    logprobs: Option<usize>,
    /// Whether the prompt is part of the text.
    #[serde(default)]
    echo: bool,
    /// Refused but for the value of `n`.
    best_of: Option<usize>,
    /// Accepted, and not used.
    #[serde(rename = "user")]
    _user: Option<String>,
}

fn nothing() -> Prompt {
    Prompt::Text(String::new())
}

/// The whole body.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body; the fields are read apart")]
struct CompletionBody {
    #[serde(flatten)]
    request: CompletionRequest,
    #[serde(flatten)]
    sampling: SamplingFields,
}

/// What is answered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Completion {
    id: String,
    /// `text_completion`.
    object: &'static str,
    created: u64,
    model: String,
    system_fingerprint: String,
    choices: Vec<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    /// The seed of the first result; the others count on from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timings: Option<Timings>,
    /// What was requested and changes nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// One result.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CompletionChoice)]
struct Choice {
    index: usize,
    text: String,
    #[schema(required)]
    logprobs: Option<CompletionLogprobs>,
    /// `stop`: an end token or a stop string; `length`: all tokens are used; `cancelled`: the time limit.
    #[schema(required)]
    finish_reason: Option<&'static str>,
}

/// Continues a text, or fills one in between `prompt` and `suffix`.
#[utoipa::path(
    post,
    path = "/v1/completions",
    request_body = CompletionBody,
    responses(
        (status = OK, body = Completion, description = "The texts; with `stream`, chunks of them as server-sent events"),
        FillErrors,
    )
)]
pub(super) async fn complete(
    State(app): State<App>,
    client: Client,
    body: Body<CompletionRequest>,
) -> Result<Response, ApiError> {
    let Body { own: request, sampling } = body;
    let count = results(request.n)?;
    refuse("best_of", request.best_of.as_ref(), &[count], "take the best of `n` results yourself")?;
    if request.logprobs.is_some_and(|count| count > MOST_LOGPROBS) {
        return Err(ApiError::field("logprobs", request.logprobs.unwrap_or(0), &format!("at most {MOST_LOGPROBS}")));
    }
    let stream_options = StreamOptions::of(request.stream, request.stream_options)?;
    let loaded = app.models.get(request.model.as_deref()).await?;
    let several = Several {
        loaded: loaded.clone(),
        client,
        sampling,
        max_tokens: request.max_tokens,
        stop: stops(request.stop.clone())?,
        count,
        alternatives: request.logprobs.unwrap_or(0),
        constraint: request.response_format.clone().map(ResponseFormat::spec).transpose()?.flatten(),
        watched: stream_options.denoising,
    };
    let given = request.clone();
    let Started { runs, seed, warnings } =
        several.start(&app, move |loaded, options| prepare(loaded, &given, options)).await?;
    let head = Head { id: identifier("cmpl-"), created: now(), loaded: loaded.clone(), seed };
    let echo = if request.echo { text_of(&loaded, &request.prompt)? } else { String::new() };
    if request.stream {
        let (options, logprobs) = (stream_options, request.logprobs.is_some());
        return Ok(stream::respond(runs, Stream { head, options, echo, logprobs, warnings }));
    }
    let (mut choices, mut usages, mut timings) = (Vec::new(), Vec::new(), Timings::default());
    for (index, completed) in TextRun::finish_all(runs).await?.into_iter().enumerate() {
        timings.add(&completed);
        usages.push(completed.usage);
        choices.push(Choice {
            index,
            text: format!("{echo}{}", completed.text),
            logprobs: request
                .logprobs
                .map(|_| CompletionLogprobs::new(&loaded, &completed.tokens, echo.chars().count())),
            finish_reason: Some(completed.finish.name()),
        });
    }
    let (usage, timings) = (Some(Usage::sum(usages)), Some(timings));
    Ok(Json(Completion { usage, timings, warnings, ..head.completion(choices) }).into_response())
}

fn text_of(loaded: &Loaded, prompt: &Prompt) -> Result<String, ApiError> {
    match prompt {
        Prompt::Text(text) => Ok(text.clone()),
        Prompt::Tokens(tokens) => {
            check_tokens(tokens, loaded.vocabulary(), |index| format!("prompt[{index}]"))?;
            Ok(loaded.vocabulary().decode(tokens))
        }
        Prompt::Texts(texts) => match texts.as_slice() {
            [text] => Ok(text.clone()),
            _ => Err(ApiError::field("prompt", format!("{} texts", texts.len()), "one text; send a request for each")),
        },
        Prompt::Parts(_) => {
            let allowed = "a text or tokens, where there is `suffix` or `echo`";
            Err(ApiError::field("prompt", "a list of parts", allowed))
        }
    }
}

fn prepare(
    loaded: &Loaded,
    request: &CompletionRequest,
    options: &SamplingOptions,
) -> Result<aquatint::Prepared, ApiError> {
    let model = &loaded.model;
    if let Some(suffix) = request.suffix.as_deref().filter(|suffix| !suffix.is_empty()) {
        return Ok(model.prepare_infill(&text_of(loaded, &request.prompt)?, suffix, options)?);
    }
    Ok(match &request.prompt {
        Prompt::Tokens(tokens) => {
            check_tokens(tokens, loaded.vocabulary(), |index| format!("prompt[{index}]"))?;
            model.prepare_tokens(tokens, options)?
        }
        Prompt::Parts(parts) => {
            let content = Content::Parts(parts.clone());
            Conversation::of_content(&content, "prompt")?.prepare_plain(loaded, &[], options)?
        }
        prompt => model.prepare_template(Template::text(text_of(loaded, prompt)?), options)?,
    })
}

/// What all chunks of an answer share.
struct Head {
    id: String,
    created: u64,
    loaded: Arc<Loaded>,
    seed: u64,
}

impl Head {
    fn completion(&self, choices: Vec<Choice>) -> Completion {
        Completion {
            id: self.id.clone(),
            object: "text_completion",
            created: self.created,
            model: self.loaded.name.clone(),
            system_fingerprint: self.loaded.fingerprint(),
            choices,
            usage: None,
            seed: Some(self.seed),
            timings: None,
            warnings: Vec::new(),
        }
    }
}

struct Stream {
    head: Head,
    options: StreamOptions,
    echo: String,
    logprobs: bool,
    warnings: Vec<String>,
}

impl Chunks for Stream {
    fn first(&self, choice: usize) -> Option<Event> {
        if self.echo.is_empty() { None } else { self.text(choice, self.echo.clone()) }
    }

    fn text(&self, index: usize, text: String) -> Option<Event> {
        Some(data(&self.head.completion(vec![Choice { index, text, logprobs: None, finish_reason: None }])))
    }

    fn end(&self, index: usize, completed: &Completed) -> Vec<Event> {
        let echoed = self.echo.chars().count();
        let logprobs = self.logprobs.then(|| CompletionLogprobs::new(&self.head.loaded, &completed.tokens, echoed));
        let finish_reason = Some(completed.finish.name());
        let chunk = self.head.completion(vec![Choice { index, text: String::new(), logprobs, finish_reason }]);
        vec![data(&Completion { warnings: self.warnings.clone(), ..chunk })]
    }

    fn last(&self, completed: &[Completed]) -> Option<Event> {
        let usage = Some(Usage::sum(completed.iter().map(|completed| completed.usage)));
        self.options.include_usage.then(|| data(&Completion { usage, ..self.head.completion(Vec::new()) }))
    }
}

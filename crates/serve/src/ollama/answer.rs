//! What `/api/generate` and `/api/chat` have in common: the model's parts of a text as lines, and the figures of its end.

use super::{OllamaError, Options};
use crate::app::App;
use crate::error::ApiError;
use crate::models::Loaded;
use crate::scheduler::Client;
use crate::text::{Completed, StopStrings, Submission, TextEvent, TextRun, Usage};
use aquatint::{ConstraintSpec, Prepared, SamplingOptions};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use utoipa::ToSchema;

/// What a request is, whichever of the two it came by.
pub(super) struct Requested<'a> {
    pub(super) app: &'a App,
    pub(super) client: Client,
    /// The model as the request calls it.
    pub(super) name: String,
    pub(super) loaded: Arc<Loaded>,
    pub(super) options: Options,
    /// What its text is kept within.
    pub(super) constraint: Option<ConstraintSpec>,
    pub(super) stream: bool,
    /// When the request came.
    pub(super) begun: Instant,
    /// How long its model took to be there.
    pub(super) load: Duration,
}

/// The figures of a finished answer; durations are in nanoseconds.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct OllamaFigures {
    /// `stop`: an end token or a stop string; `length`: all tokens are used; `cancelled`: the time limit or the server's
    /// end; `load`: there was nothing to write.
    done_reason: &'static str,
    total_duration: u64,
    load_duration: u64,
    /// Tokens that were given.
    prompt_eval_count: usize,
    /// 0: what is given is read together with what is written.
    prompt_eval_duration: u64,
    /// Tokens that were written.
    eval_count: usize,
    eval_duration: u64,
    /// The seed, with which the same request gives the same text.
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    /// What was requested and changes nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// How one of the two writes a part of the text, and the end with its figures.
pub(super) type Line = fn(&str, String, Option<OllamaFigures>) -> Value;

/// What the figures need that is known before the end.
struct Before {
    begun: Instant,
    load: Duration,
    seed: u64,
    warnings: Vec<String>,
}

impl Before {
    fn figures(&self, completed: &Completed) -> OllamaFigures {
        OllamaFigures {
            done_reason: completed.finish.name(),
            total_duration: nanoseconds(self.begun.elapsed()),
            load_duration: nanoseconds(self.load),
            prompt_eval_count: completed.usage.prompt_tokens,
            prompt_eval_duration: 0,
            eval_count: completed.usage.completion_tokens,
            eval_duration: nanoseconds(completed.took),
            seed: Some(self.seed),
            usage: Some(completed.usage),
            warnings: self.warnings.clone(),
        }
    }
}

/// What both paths are asked beside their texts.
pub(super) struct CommonFields {
    pub(super) model: Option<String>,
    pub(super) options: Option<Map<String, Value>>,
    pub(super) keep_alive: Option<KeepAlive>,
    pub(super) format: Option<Format>,
    pub(super) stream: bool,
}

impl<'a> Requested<'a> {
    /// Reads what both have in common, and has the model at hand.
    ///
    /// # Errors
    /// When an option or the format cannot be, or there is no such model.
    pub(super) async fn new(
        app: &'a App,
        client: Client,
        begun: Instant,
        fields: CommonFields,
    ) -> Result<Self, ApiError> {
        let CommonFields { model, options, keep_alive, format, stream } = fields;
        let mut options = Options::parse(options.unwrap_or_default())?;
        options.warnings.extend(keep_alive.as_ref().map(KeepAlive::warning).transpose()?);
        let constraint = format.as_ref().map(Format::constraint).transpose()?.flatten();
        let loaded = app.models.get(model.as_deref()).await?;
        let name = model.unwrap_or_else(|| loaded.name.clone());
        Ok(Self { app, client, name, loaded, options, constraint, stream, begun, load: begun.elapsed() })
    }

    /// Fills the canvas that `prepare` lays out, and answers with lines or with one object.
    ///
    /// # Errors
    /// When an option has a value that it cannot have, or too much waits already.
    pub(super) async fn answer(
        self,
        prepare: impl FnOnce(&Loaded, &SamplingOptions) -> Result<Prepared, ApiError> + Send + 'static,
        line: Line,
    ) -> Result<Response, ApiError> {
        let Self { app, client, name, loaded, options, constraint, stream, begun, load } = self;
        let Options { sampling, max_tokens, stop, mut warnings } = options;
        let sampling = sampling.constrained_options(max_tokens, constraint)?;
        let model = loaded.clone();
        let prepared = app.blocking.run(client, move || prepare(&model, &sampling)).await?;
        warnings.extend(prepared.ineffective.iter().map(ToString::to_string));
        let before = Before { begun, load, seed: prepared.settings.seed(), warnings };
        let stop = StopStrings::checked(stop, "options.stop")?;
        let run =
            TextRun::start(app, 0, Submission { loaded, prepared, client, stop, watched: false, alternatives: 0 })?;
        if stream {
            return Ok(lines(run, before, name, line));
        }
        let completed = run.finish().await?;
        let figures = before.figures(&completed);
        Ok(Json(line(&name, completed.text, Some(figures))).into_response())
    }

    /// The answer to a request with nothing to write, by which clients load a model.
    pub(super) fn nothing(self, line: Line) -> Response {
        let figures = OllamaFigures {
            done_reason: "load",
            total_duration: nanoseconds(self.begun.elapsed()),
            load_duration: nanoseconds(self.load),
            warnings: self.options.warnings,
            ..OllamaFigures::default()
        };
        let value = line(&self.name, String::new(), Some(figures));
        if self.stream { ndjson(Body::from(as_line(&value))) } else { Json(value).into_response() }
    }
}

/// A response whose lines come as the text becomes final.
fn lines(run: TextRun, before: Before, name: String, line: Line) -> Response {
    // Dropping the stream, as happens when the client is gone, drops the run and so cancels it.
    let lines = stream::unfold(Some((run, before)), move |state| {
        let name = name.clone();
        async move {
            let (mut run, before) = state?;
            loop {
                let (value, more) = match run.next().await {
                    Some(TextEvent::Text(text)) => (line(&name, text, None), true),
                    Some(TextEvent::Ended(Ok(completed))) => {
                        (line(&name, String::new(), Some(before.figures(&completed))), false)
                    }
                    Some(TextEvent::Ended(Err(error))) => (failed(&error), false),
                    Some(_) => continue,
                    None => (failed(&ApiError::stopping()), false),
                };
                return Some((Ok::<_, Infallible>(as_line(&value)), more.then_some((run, before))));
            }
        }
    });
    ndjson(Body::from_stream(lines))
}

fn failed(error: &ApiError) -> Value {
    serde_json::to_value(OllamaError::of(error)).unwrap_or_default()
}

fn as_line(value: &Value) -> Bytes {
    format!("{value}\n").into()
}

fn ndjson(body: Body) -> Response {
    ([(CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// This moment, as Ollama writes it.
pub(super) fn now() -> String {
    DateTime::<Utc>::from(SystemTime::now()).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// Refuses what is known and not done; what requests nothing is accepted.
pub(super) fn refuse(given: bool, param: &str, hint: &str) -> Result<(), ApiError> {
    if given { Err(ApiError::unsupported(param, hint)) } else { Ok(()) }
}

/// How long a model is to stay: seconds, or a duration such as `5m`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected seconds or a duration such as `5m`")]
pub(crate) enum KeepAlive {
    Seconds(f64),
    Duration(String),
}

impl KeepAlive {
    /// What is said of it: a model stays as long as there is memory.
    ///
    /// # Errors
    /// When it is no duration.
    pub(super) fn warning(&self) -> Result<String, ApiError> {
        if let Self::Duration(text) = self
            && text.parse::<f64>().is_err()
            && !(text.ends_with(['s', 'm', 'h']) && text.contains(|letter: char| letter.is_ascii_digit()))
        {
            return Err(ApiError::field("keep_alive", format!("`{text}`"), "seconds, or a duration such as `5m`"));
        }
        let given = match self {
            Self::Seconds(seconds) => seconds.to_string(),
            Self::Duration(text) => text.clone(),
        };
        Ok(format!("`keep_alive` {given} has no effect: a model stays until the memory is needed for another one"))
    }
}

/// What a text is kept within: `json`, any JSON object, or a JSON schema.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected `json` or a JSON schema")]
pub(crate) enum Format {
    Name(String),
    #[schema(value_type = Object)]
    Schema(Map<String, Value>),
}

impl Format {
    /// The constraint; none for an empty name.
    ///
    /// # Errors
    /// When the name is unknown.
    pub(super) fn constraint(&self) -> Result<Option<ConstraintSpec>, ApiError> {
        match self {
            Self::Name(name) if name.is_empty() => Ok(None),
            Self::Name(name) if name == "json" => Ok(Some(ConstraintSpec::JsonObject)),
            Self::Name(name) => Err(ApiError::field("format", format!("`{name}`"), "`json` or a JSON schema")),
            Self::Schema(schema) => Ok(Some(ConstraintSpec::JsonSchema(Value::Object(schema.clone())))),
        }
    }
}

//! Fields that completions and conversations share.

use crate::app::App;
use crate::error::ApiError;
use crate::models::Loaded;
use crate::sampling::SamplingFields;
use crate::scheduler::Client;
use crate::text::{StopStrings, Submission, TextRun};
use aquatint::constraint::ConstraintSpec;
use aquatint::{Prepared, SamplingOptions, random_seed};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Results of one request at most.
const MOST_RESULTS: usize = 16;

/// One string or several.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a string or an array of strings")]
pub(super) enum Stop {
    One(String),
    Several(Vec<String>),
}

/// What a stream has beside its text.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StreamOptions {
    /// A last chunk with the usage.
    pub(super) include_usage: bool,
    /// `denoising` events, from which the canvas can be drawn as it is filled.
    pub(super) denoising: bool,
}

impl StreamOptions {
    /// Those of a request.
    ///
    /// # Errors
    /// When they are given and nothing is streamed.
    pub(super) fn of(stream: bool, given: Option<Self>) -> Result<Self, ApiError> {
        match given {
            Some(_) if !stream => Err(ApiError::invalid("`stream_options` needs `stream`: true").of("stream_options")),
            given => Ok(given.unwrap_or_default()),
        }
    }
}

/// What a result and a usage say of themselves beside OpenAI's fields.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(super) struct Timings {
    /// Seconds that the request waited.
    pub(super) queue_seconds: f64,
    /// Seconds from its first step to its last.
    pub(super) seconds: f64,
    /// Tokens written in each of them.
    pub(super) tokens_per_second: f64,
}

/// The stop strings of a request.
pub(super) fn stops(given: Option<Stop>) -> Result<StopStrings, ApiError> {
    let strings = match given {
        None => Vec::new(),
        Some(Stop::One(one)) => vec![one],
        Some(Stop::Several(several)) => several,
    };
    StopStrings::checked(strings, "stop")
}

/// How many results are wanted.
pub(super) fn results(n: Option<usize>) -> Result<usize, ApiError> {
    match n.unwrap_or(1) {
        n @ 1..=MOST_RESULTS => Ok(n),
        n => Err(ApiError::field("n", n, &format!("1 to {MOST_RESULTS}"))),
    }
}

/// Refuses a field that this server does not do; a value that requests nothing is accepted.
pub(super) fn refuse<T: PartialEq>(name: &str, given: Option<&T>, neutral: &[T], hint: &str) -> Result<(), ApiError> {
    match given {
        Some(value) if !neutral.contains(value) => Err(ApiError::unsupported(name, hint)),
        _ => Ok(()),
    }
}

/// Refuses a name that is none of those that this server has.
pub(super) fn allow(name: &str, given: Option<&str>, allowed: &[&str]) -> Result<(), ApiError> {
    match given {
        Some(given) if !allowed.contains(&given) => {
            let allowed: Vec<String> = allowed.iter().map(|allowed| format!("`{allowed}`")).collect();
            Err(ApiError::field(name, format!("`{given}`"), &allowed.join(", ")))
        }
        _ => Ok(()),
    }
}

/// A request that is to be filled several times with different seeds.
pub(super) struct Several {
    pub(super) loaded: Arc<Loaded>,
    pub(super) client: Client,
    pub(super) sampling: SamplingFields,
    pub(super) max_tokens: Option<usize>,
    pub(super) stop: StopStrings,
    pub(super) count: usize,
    /// What the text is kept within, beside what the sampling fields say.
    pub(super) constraint: Option<ConstraintSpec>,
    /// How many of the likeliest tokens are reported of each token.
    pub(super) alternatives: usize,
    /// Whether the canvases are watched.
    pub(super) watched: bool,
}

/// Requests under way for the results of one request.
pub(super) struct Started {
    pub(super) runs: Vec<TextRun>,
    /// The first seed; the others count on from it.
    pub(super) seed: u64,
    /// What was requested and changes nothing.
    pub(super) warnings: Vec<String>,
}

impl Several {
    /// Makes each ready and hands it to the scheduler.
    ///
    /// # Errors
    /// When a field has a value that it cannot have, or too much waits already.
    pub(super) async fn start(
        self,
        app: &App,
        prepare: impl Fn(&Loaded, &SamplingOptions) -> Result<Prepared, ApiError> + Send + 'static,
    ) -> Result<Started, ApiError> {
        let Self { loaded, client, sampling, max_tokens, stop, count, constraint, alternatives, watched } = self;
        let seed = sampling.seed().unwrap_or_else(random_seed);
        let model = loaded.clone();
        let prepared = app.blocking.run(client, move || {
            let one = |index: u64| {
                let sampling = sampling.with_seed(seed.wrapping_add(index));
                prepare(&model, &sampling.constrained_options(max_tokens, constraint.clone())?)
            };
            (0..count as u64).map(one).collect::<Result<Vec<Prepared>, ApiError>>()
        });
        let prepared = prepared.await?;
        let ineffective = prepared.first().map(|prepared| prepared.ineffective.as_slice()).unwrap_or_default();
        let warnings = ineffective.iter().map(ToString::to_string).collect();
        let mut runs = Vec::with_capacity(count);
        for (index, prepared) in prepared.into_iter().enumerate() {
            let (loaded, stop) = (loaded.clone(), stop.clone());
            let submission = Submission { loaded, prepared, client, stop, watched, alternatives };
            runs.push(TextRun::start(app, index, submission)?);
        }
        Ok(Started { runs, seed, warnings })
    }
}

impl Timings {
    /// Takes a result in: the results of one request run at once.
    pub(super) fn add(&mut self, completed: &crate::text::Completed) {
        let tokens = self.tokens_per_second * self.seconds + completed.usage.completion_tokens as f64;
        self.queue_seconds = self.queue_seconds.max(completed.queued.as_secs_f64());
        self.seconds = self.seconds.max(completed.took.as_secs_f64());
        self.tokens_per_second = if self.seconds > 0.0 { tokens / self.seconds } else { 0.0 };
    }
}

//! Figures for Prometheus. Names and meanings stand here only.
//!
//! Figures of vLLM's diffusion engine stand beside ours under its names and with its meanings, so that its dashboards
//! show this server too: denoising steps of all requests, canvas positions evaluated in them (those of the block that a
//! step works on), and committed tokens, which are those that are final.

use crate::scheduler::Figures;
use crate::text::Usage;
use aquatint::generate::ChangeKind;
use aquatint::{DenoisingEvent, FinishReason, Outcome};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};
use std::time::Duration;

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ending {
    ending: EndingKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
enum EndingKind {
    Completed,
    Cancelled,
    Failed,
}

/// An answer by HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    /// The path as the router has it, such as `/v1/models/{model}`; `other` for paths that do not exist.
    path: String,
    status: u16,
}

/// All figures of a server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    answers: Family<Answered, Counter>,
    requests: Family<Ending, Counter>,
    running: Gauge,
    waiting: Gauge,
    rows_in_flight: Gauge,
    models_loaded: Gauge,
    model_bytes: Gauge,
    request_seconds: Histogram,
    queue_seconds: Histogram,
    first_text_seconds: Histogram,
    step_seconds: Histogram,
    tokens_per_forward: Histogram,
    steps_per_request: Histogram,
    steps: Counter,
    tokens: Counter,
    forward_passes: Counter,
    rows: Counter,
    committed: Counter,
    renoised: Counter,
    edited: Counter,
    positions: Counter,
}

/// A registry that hands back what it registers.
struct Names(Registry);

impl Names {
    fn add<T: Metric + Clone>(&mut self, name: &str, help: &str, metric: T) -> T {
        self.0.register(name, help, metric.clone());
        metric
    }

    fn counter(&mut self, name: &str, help: &str) -> Counter {
        self.add(name, help, Counter::default())
    }

    fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        self.add(name, help, Gauge::default())
    }

    /// From a millisecond to two minutes.
    fn seconds(&mut self, name: &str, help: &str) -> Histogram {
        self.add(name, help, Histogram::new(exponential_buckets(0.001, 2.0, 18)))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut names = Names(Registry::default());
        let steps = names.counter("aquatint_denoising_steps", "Denoising steps over all requests");
        let tokens = names.counter("aquatint_tokens_generated", "Tokens written that are part of a result");
        let positions =
            names.counter("aquatint_canvas_positions", "Positions of the blocks that denoising steps worked on");
        names.add("vllm:diffusion_num_denoising_steps", "Number of denoising steps", steps.clone());
        names.add("vllm:diffusion_num_canvas_positions", "Number of canvas positions evaluated", positions.clone());
        names.add("vllm:diffusion_num_committed_tokens", "Number of committed (final) tokens", tokens.clone());
        Self {
            answers: names.add("aquatint_http_requests", "Answers by path and HTTP status", Family::default()),
            requests: names.add("aquatint_requests", "Canvases whose work ended, by how it ended", Family::default()),
            running: names.gauge("aquatint_requests_running", "Canvases that are being filled"),
            waiting: names.gauge("aquatint_requests_waiting", "Canvases that wait for their turn"),
            rows_in_flight: names.gauge("aquatint_rows_in_flight", "Rows of a forward pass that running canvases take"),
            models_loaded: names.gauge("aquatint_models_loaded", "Models in memory"),
            model_bytes: names
                .gauge("aquatint_model_bytes", "Bytes that the weights of the models in memory take, about"),
            request_seconds: names.seconds("aquatint_request_seconds", "Seconds that a canvas took, its wait included"),
            queue_seconds: names.seconds("aquatint_queue_seconds", "Seconds that canvases waited for their turn"),
            first_text_seconds: names
                .seconds("aquatint_first_text_seconds", "Seconds until the first text of a result was final"),
            step_seconds: names.seconds("aquatint_step_seconds", "Seconds of one step of all running canvases"),
            tokens_per_forward: names.add(
                "aquatint_tokens_per_forward",
                "Tokens of a result for each forward pass that it took",
                Histogram::new(exponential_buckets(0.125, 2.0, 12)),
            ),
            steps_per_request: names.add(
                "aquatint_steps_per_request",
                "Denoising steps that a canvas took",
                Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            ),
            forward_passes: names.counter("aquatint_forward_passes", "Times that a canvas was read"),
            rows: names.counter("aquatint_rows_read", "Rows computed in all forward passes"),
            committed: names.counter("aquatint_tokens_committed", "Positions that were committed"),
            renoised: names.counter("aquatint_tokens_renoised", "Positions that were opened again"),
            edited: names.counter("aquatint_tokens_edited", "Tokens that replaced committed ones"),
            steps,
            tokens,
            positions,
            registry: names.0,
        }
    }
}

impl Metrics {
    /// A request was answered; `path` is one of the router's.
    pub(crate) fn answered(&self, path: &str, status: u16) {
        self.answers.get_or_create(&Answered { path: path.to_owned(), status }).inc();
    }

    /// Work left the queue after that time.
    pub(crate) fn admitted(&self, waited: Duration) {
        self.queue_seconds.observe(waited.as_secs_f64());
    }

    /// One step of an engine was taken.
    pub(crate) fn stepped(&self, took: Duration) {
        self.step_seconds.observe(took.as_secs_f64());
    }

    /// Something happened to work; its block has so many positions.
    pub(crate) fn event(&self, event: &DenoisingEvent<'_>, block_positions: usize) {
        if let DenoisingEvent::Step { changes, .. } = event {
            let count = |kind: ChangeKind| changes.iter().filter(|change| change.kind == kind).count() as u64;
            self.steps.inc();
            self.positions.inc_by(block_positions as u64);
            self.committed.inc_by(count(ChangeKind::Committed));
            self.renoised.inc_by(count(ChangeKind::Renoised));
            self.edited.inc_by(count(ChangeKind::Edited));
        }
    }

    /// The first text of a result is final.
    pub(crate) fn first_text(&self, took: Duration) {
        self.first_text_seconds.observe(took.as_secs_f64());
    }

    /// Work ended, after that time in all; without an outcome it failed. Where its text is whole, what a stop string
    /// spares is nothing that a client misses.
    pub(crate) fn ended(&self, outcome: Option<&Outcome>, is_whole: bool, took: Duration) {
        let ending = match outcome.map(|outcome| outcome.reason) {
            None => EndingKind::Failed,
            Some(FinishReason::Cancelled) if !is_whole => EndingKind::Cancelled,
            Some(_) => EndingKind::Completed,
        };
        self.requests.get_or_create(&Ending { ending }).inc();
        self.request_seconds.observe(took.as_secs_f64());
        let Some(Outcome { statistics, .. }) = outcome else { return };
        self.forward_passes.inc_by(statistics.forward_passes as u64);
        self.rows.inc_by(statistics.rows_read as u64);
        if statistics.forward_passes > 0 {
            self.steps_per_request.observe(statistics.steps as f64);
        }
    }

    /// A result is ready for its client.
    pub(crate) fn result(&self, usage: &Usage) {
        self.tokens.inc_by(usage.completion_tokens as u64);
        if usage.forward_passes > 0 {
            self.tokens_per_forward.observe(usage.tokens_per_forward);
        }
    }

    /// Takes over what is there at this moment.
    pub(crate) fn observe(&self, figures: &Figures, models: usize, model_bytes: u64) {
        self.running.set(gauged(figures.running));
        self.waiting.set(gauged(figures.waiting));
        self.rows_in_flight.set(gauged(figures.rows));
        self.models_loaded.set(gauged(models));
        self.model_bytes.set(gauged(model_bytes));
    }

    /// All of it in OpenMetrics' text form.
    ///
    /// # Errors
    /// When it cannot be written, which a string always can.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn gauged(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

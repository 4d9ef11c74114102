//! Figures for Prometheus. Names and meanings stand here only.

use aquatint::generate::{ChangeKind, GenerateError};
use aquatint::{DenoisingEvent, Outcome};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
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

/// All figures of a server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Ending, Counter>,
    running: Gauge,
    queue_seconds: Histogram,
    step_seconds: Histogram,
    steps: Counter,
    tokens: Counter,
    forward_passes: Counter,
    rows: Counter,
    committed: Counter,
    renoised: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 18));
        let mut registry = Registry::default();
        let (requests, running) = (Family::<Ending, Counter>::default(), Gauge::default());
        let (queue_seconds, step_seconds) = (seconds(), seconds());
        let [steps, tokens, forward_passes, rows, committed, renoised] = std::array::from_fn(|_| Counter::default());
        registry.register("aquatint_requests", "Requests that ended, by how they ended", requests.clone());
        registry.register("aquatint_requests_running", "Requests whose canvases are being filled", running.clone());
        registry.register(
            "aquatint_queue_seconds",
            "Seconds that requests waited for their first step",
            queue_seconds.clone(),
        );
        registry.register("aquatint_step_seconds", "Seconds of one step of all running requests", step_seconds.clone());
        registry.register("aquatint_denoising_steps", "Denoising steps over all requests", steps.clone());
        registry.register("aquatint_tokens_generated", "Tokens written that are part of a result", tokens.clone());
        registry.register("aquatint_forward_passes", "Times that a canvas was read", forward_passes.clone());
        registry.register("aquatint_rows_read", "Rows computed in all forward passes", rows.clone());
        registry.register("aquatint_tokens_committed", "Positions that were committed", committed.clone());
        registry.register("aquatint_tokens_renoised", "Positions that were opened again", renoised.clone());
        Self {
            registry,
            requests,
            running,
            queue_seconds,
            step_seconds,
            steps,
            tokens,
            forward_passes,
            rows,
            committed,
            renoised,
        }
    }
}

impl Metrics {
    /// A request left the queue after that time.
    pub(crate) fn admitted(&self, waited: Duration) {
        self.queue_seconds.observe(waited.as_secs_f64());
    }

    /// One step of an engine was taken.
    pub(crate) fn stepped(&self, took: Duration, running: usize) {
        self.step_seconds.observe(took.as_secs_f64());
        self.running.set(i64::try_from(running).unwrap_or(i64::MAX));
    }

    /// Something happened to a request.
    pub(crate) fn event(&self, event: &DenoisingEvent<'_>) {
        if let DenoisingEvent::Step { changes, .. } = event {
            let count = |kind: ChangeKind| changes.iter().filter(|change| change.kind == kind).count() as u64;
            self.steps.inc();
            self.committed.inc_by(count(ChangeKind::Committed));
            self.renoised.inc_by(count(ChangeKind::Renoised));
        }
    }

    /// A request ended.
    pub(crate) fn ended(&self, outcome: &Result<Outcome, GenerateError>) {
        let ending = match outcome {
            Ok(outcome) if outcome.reason == aquatint::FinishReason::Cancelled => EndingKind::Cancelled,
            Ok(_) => EndingKind::Completed,
            Err(_) => EndingKind::Failed,
        };
        self.requests.get_or_create(&Ending { ending }).inc();
        if let Ok(outcome) = outcome {
            self.tokens.inc_by(outcome.statistics.tokens as u64);
            self.forward_passes.inc_by(outcome.statistics.forward_passes as u64);
            self.rows.inc_by(outcome.statistics.rows_read as u64);
        }
    }

    /// All of it in Prometheus's text form.
    ///
    /// # Errors
    /// When it cannot be written, which a string always can.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

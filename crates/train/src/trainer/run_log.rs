//! What a run reports: figures over some steps, events, `metrics.jsonl`, the plot, the clock.

use super::Measured;
use super::step::StepOutcome;
use crate::TrainError;
use crate::counters::Counters;
use crate::event::{CorpusFigures, Ending, StepFigures, Summary, TrainingEvent};
use crate::metrics::Metrics;
use crate::objective::{Figure, PER_TOKEN};
use crate::plot::{Plot, PlotLabels};
use std::path::Path;
use std::time::Instant;

/// Everything that a run reports.
pub(crate) struct RunLog<'a> {
    events: &'a mut (dyn FnMut(TrainingEvent<'_>) + 'a),
    /// Rank 0 keeps figures.
    metrics: Option<Metrics>,
    /// Of the recipe's texts, where the objective learns from them.
    corpus: Option<CorpusFigures>,
    /// Canvases that a step learns, over all ranks.
    batch: usize,
    /// When this process began to train, and seconds of training before it.
    begun: Instant,
    before: f64,
    since: SinceReport,
}

/// Figures gathered since the last report.
#[derive(Debug, Default)]
struct SinceReport {
    nats: f64,
    tokens: u64,
    /// Tokens that the loss is a mean over.
    learned: u64,
    bytes: Option<u64>,
    steps: u64,
    seconds: f64,
    norm: f64,
    learning_rate: f64,
    imbalance: Option<f64>,
}

impl<'a> RunLog<'a> {
    pub(crate) fn new(
        counters: &Counters,
        metrics: Option<Metrics>,
        (corpus, batch): (Option<CorpusFigures>, usize),
        events: &'a mut (dyn FnMut(TrainingEvent<'_>) + 'a),
    ) -> Self {
        Self {
            events,
            metrics,
            corpus,
            batch,
            begun: Instant::now(),
            before: counters.seconds(),
            since: SinceReport::default(),
        }
    }

    pub(super) fn event(&mut self, event: TrainingEvent<'_>) {
        (self.events)(event);
    }

    /// Seconds of training over all the run's processes.
    pub(super) fn seconds(&self) -> f64 {
        self.before + self.begun.elapsed().as_secs_f64()
    }

    /// Minutes of this process.
    pub(super) fn minutes(&self) -> f64 {
        self.begun.elapsed().as_secs_f64() / 60.0
    }

    /// Counts a step in.
    pub(super) fn add(&mut self, step: &StepOutcome) {
        let since = &mut self.since;
        since.seconds += step.seconds;
        if step.finite {
            since.nats += step.nats * step.learned as f64;
            since.tokens += step.tokens;
            since.learned += step.learned;
            since.bytes = step.bytes.map(|bytes| bytes + since.bytes.unwrap_or(0));
            since.steps += 1;
            (since.norm, since.learning_rate) = (step.norm, step.learning_rate);
            since.imbalance = step.imbalance;
        }
    }

    /// Reports the figures of the steps since the last report, if there were any, and `own` ones of what is trained.
    pub(super) fn report(&mut self, counters: &Counters, steps: u64, own: Vec<Figure>) -> Result<(), TrainError> {
        let since = std::mem::take(&mut self.since);
        if since.tokens == 0 {
            return Ok(());
        }
        let left = steps.saturating_sub(counters.step) as f64;
        // Canvases are counted: what fills them up is among the tokens of a step, and not among those of the texts.
        let learned = (counters.step * self.batch as u64) as f64;
        let figures = StepFigures {
            step: counters.step,
            loss: since.nats / since.learned.max(1) as f64,
            bits_per_byte: since.bytes.map(|bytes| since.nats / std::f64::consts::LN_2 / bytes.max(1) as f64),
            gradient_norm: since.norm,
            learning_rate: since.learning_rate,
            expert_imbalance: since.imbalance,
            own,
            tokens_per_second: since.tokens as f64 / since.seconds,
            tokens: counters.tokens,
            epochs: self.corpus.map(|corpus| learned / corpus.train_canvases.max(1) as f64),
            seconds: self.seconds(),
            seconds_left: left * since.seconds / since.steps as f64,
        };
        if let Some(metrics) = &mut self.metrics {
            metrics.step(&figures)?;
        }
        self.event(TrainingEvent::Step(figures));
        Ok(())
    }

    pub(super) fn validated(&mut self, step: u64, measured: &dyn Measured, best: bool) -> Result<(), TrainError> {
        let seconds = self.seconds();
        if let Some(metrics) = &mut self.metrics {
            metrics.validation(step, measured, seconds)?;
        }
        self.event(measured.event(step, best));
        Ok(())
    }

    /// Draws the plot and reports that everything is on the disk.
    pub(super) fn saved(&mut self, step: u64, folder: &Path, labels: PlotLabels) -> Result<(), TrainError> {
        if let Some(metrics) = &self.metrics {
            let Metrics { training, validation, .. } = metrics;
            let of_text = |corpus: CorpusFigures| (labels.unit == PER_TOKEN).then_some(corpus.unigram_entropy);
            let unigram_entropy = self.corpus.and_then(of_text);
            let plot = Plot { training, validation, labels, unigram_entropy };
            plot.draw(&folder.join("loss.svg"))?;
        }
        self.event(TrainingEvent::Saved { step, folder });
        Ok(())
    }

    pub(super) fn finish(mut self, counters: &Counters, ending: Ending) -> Result<Summary, TrainError> {
        let seconds = self.seconds();
        if let Some(metrics) = &mut self.metrics {
            metrics.ending(counters.step, ending, seconds)?;
        }
        let summary = counters.summary(ending, seconds);
        self.event(TrainingEvent::Finished(&summary));
        Ok(summary)
    }
}

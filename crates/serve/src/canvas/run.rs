//! One canvas on its way, as a client follows it.

use super::layout::Ready;
use crate::app::App;
use crate::error::ApiError;
use crate::filling::Filling;
use crate::metrics::Metrics;
use crate::models::Loaded;
use crate::scheduler::{Cancelled, Client, Ended, Update};
use crate::sheet::Sheet;
use crate::text::{Finish, Usage};
use crate::wire;
use aquatint::{Prepared, TemplateCanvas};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// What came of a canvas.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct CanvasResult {
    /// Which result.
    pub(super) index: usize,
    pub(super) seed: u64,
    /// `stop`: an end token closed the last hole; `length`: every open position is filled; `cancelled`.
    pub(super) finish_reason: &'static str,
    pub(super) text: String,
    /// The text of each hole.
    pub(super) holes: Vec<String>,
    pub(super) canvas: wire::Canvas,
    pub(super) usage: Usage,
    /// Seconds that it waited.
    pub(super) queue_seconds: f64,
    /// Seconds from its first step to its last.
    pub(super) seconds: f64,
}

/// Something that happened on the way.
#[derive(Debug)]
pub(super) enum CanvasEvent {
    Started(wire::Started),
    Block(wire::Block),
    Step(wire::Step),
    Finished(Box<CanvasResult>),
}

/// A canvas under way. Dropping it cancels the request.
#[derive(Debug)]
pub(super) struct CanvasRun {
    loaded: Arc<Loaded>,
    template_canvas: TemplateCanvas,
    filling: Filling,
    sheet: Sheet,
    metrics: Arc<Metrics>,
    index: usize,
    seed: u64,
}

impl CanvasRun {
    /// Hands result `index` to the scheduler.
    ///
    /// # Errors
    /// When the canvas is longer than allowed, or too much waits already.
    pub(super) fn start(
        app: &App,
        index: usize,
        loaded: Arc<Loaded>,
        ready: Ready,
        client: Client,
        alternatives: usize,
    ) -> Result<Self, ApiError> {
        let Ready { prepared, spans, extent } = ready;
        let filling = Filling::start(app, &loaded, &prepared, client, alternatives);
        let filling = filling.map_err(|error| extent.blame(error))?;
        let Prepared { template_canvas, settings, .. } = prepared;
        let sheet = Sheet::new(index, loaded.clone(), template_canvas.clone(), spans);
        let (metrics, seed) = (app.metrics.clone(), settings.seed());
        Ok(Self { loaded, template_canvas, filling, sheet, metrics, index, seed })
    }

    /// What happens next.
    ///
    /// # Errors
    /// When the canvas cannot be filled, or the server ends.
    pub(super) async fn next(&mut self) -> Result<CanvasEvent, ApiError> {
        loop {
            let update = self.filling.next().await.ok_or_else(ApiError::stopping)?;
            return Ok(match update {
                Update::Started { forward_passes } => {
                    CanvasEvent::Started(self.sheet.started(self.seed, forward_passes))
                }
                Update::Block { block, of, positions, steps } => {
                    CanvasEvent::Block(self.sheet.block(block, of, positions, steps))
                }
                Update::Step(step) => CanvasEvent::Step(self.sheet.step(&step)),
                Update::BlockCommitted => continue,
                Update::Ended(ended) => CanvasEvent::Finished(Box::new(self.result(*ended)?)),
            });
        }
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// As [`CanvasRun::next`].
    pub(super) async fn finish(mut self) -> Result<CanvasResult, ApiError> {
        loop {
            if let CanvasEvent::Finished(result) = self.next().await? {
                return Ok(*result);
            }
        }
    }

    /// Ends it at the next step; its result still comes.
    pub(super) fn cancel(&self) {
        self.filling.cancel(Cancelled::Unwanted);
    }

    fn result(&self, ended: Ended) -> Result<CanvasResult, ApiError> {
        let Ended { outcome, queued, took } = ended;
        let outcome = outcome?;
        let read = self.template_canvas.read(self.loaded.vocabulary(), &outcome.canvas);
        let usage = Usage::new(self.template_canvas.canvas(), &outcome.statistics);
        self.metrics.result(&usage);
        Ok(CanvasResult {
            index: self.index,
            seed: self.seed,
            finish_reason: Finish::of(outcome.reason).name(),
            text: read.text,
            holes: read.holes,
            canvas: self.sheet.canvas(),
            usage,
            queue_seconds: queued.as_secs_f64(),
            seconds: took.as_secs_f64(),
        })
    }
}

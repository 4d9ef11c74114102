//! One canvas on its way, as a client follows it.

use super::layout::Ready;
use crate::app::App;
use crate::blocking::BlockingPool;
use crate::error::ApiError;
use crate::filling::Filling;
use crate::metrics::Metrics;
use crate::models::Loaded;
use crate::scheduler::{Cancel, Client, Ended, StepUpdate, Update};
use crate::sheet::Sheet;
use crate::text::{Finish, Usage};
use crate::wire;
use aquatint::{Canvas, Prepared, TemplateCanvas};
use serde::Serialize;
use std::collections::BTreeMap;
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
    /// Text, pictures and sounds in their order, where there are pictures or sounds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) pieces: Vec<wire::Piece>,
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
    blocking: BlockingPool,
    client: Client,
    index: usize,
    seed: u64,
    /// Whether pictures are drawn while they settle.
    previews: bool,
}

/// How a canvas is followed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Following {
    pub(super) client: Client,
    /// How many of the likeliest tokens are reported of each position that is written.
    pub(super) alternatives: usize,
    /// Whether pictures are drawn while they settle.
    pub(super) previews: bool,
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
        following: Following,
    ) -> Result<Self, ApiError> {
        let Following { client, alternatives, previews } = following;
        let Ready { prepared, sent, extent } = ready;
        let filling = Filling::start(app, &loaded, &prepared, client, alternatives);
        let filling = filling.map_err(|error| extent.blame(error))?;
        let Prepared { template_canvas, settings, .. } = prepared;
        let sheet = Sheet::new(index, loaded.clone(), template_canvas.clone(), sent);
        let (metrics, blocking, seed) = (app.metrics.clone(), app.blocking.clone(), settings.seed());
        Ok(Self { loaded, template_canvas, filling, sheet, metrics, blocking, client, index, seed, previews })
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
                    let pictures = self.pictures(None).await?;
                    CanvasEvent::Started(wire::Started { pictures, ..self.sheet.started(self.seed, forward_passes) })
                }
                Update::Block(block) => CanvasEvent::Block(self.sheet.block(block)),
                Update::Step(update) => {
                    let step = self.sheet.step(&update);
                    CanvasEvent::Step(wire::Step { pictures: self.pictures(Some(&update)).await?, ..step })
                }
                Update::BlockCommitted { .. } => continue,
                Update::Ended(ended) => CanvasEvent::Finished(Box::new(self.result(*ended).await?)),
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

    /// What ends it at the next step; its result still comes.
    pub(super) fn canceller(&self) -> Cancel {
        self.filling.canceller()
    }

    /// The pictures that are known in part or that a step changed, as they stand; none where nobody looks at them.
    async fn pictures(&self, step: Option<&StepUpdate>) -> Result<BTreeMap<usize, String>, ApiError> {
        let pictures = if self.previews { self.sheet.pictures(step) } else { Vec::new() };
        if pictures.is_empty() {
            return Ok(BTreeMap::new());
        }
        let loaded = self.loaded.clone();
        let draw = move || pictures.iter().map(|picture| Ok((picture.start, picture.url(&loaded)?))).collect();
        self.blocking.run(self.client, draw).await
    }

    /// What the canvas says, in pieces where there is more than text.
    async fn pieces(&self, canvas: &Canvas) -> Result<Vec<wire::Piece>, ApiError> {
        let loaded = self.loaded.clone();
        if self.template_canvas.media().next().is_some() {
            let (template_canvas, canvas) = (self.template_canvas.clone(), canvas.clone());
            let output = move || Ok(loaded.model.output(&template_canvas, &canvas)?);
            let pieces = self.blocking.run(self.client, output).await?;
            return Ok(pieces.into_iter().map(Into::into).collect());
        }
        // A canvas that was sent says itself where its pictures and sounds lie.
        let pieces = self.sheet.pieces();
        if pieces.is_empty() {
            return Ok(Vec::new());
        }
        let send = move || pieces.into_iter().map(|piece| piece.sent(&loaded)).collect();
        self.blocking.run(self.client, send).await
    }

    async fn result(&self, ended: Ended) -> Result<CanvasResult, ApiError> {
        let Ended { outcome, queued, took } = ended;
        let outcome = outcome?;
        let pieces = self.pieces(&outcome.canvas).await?;
        let read = self.template_canvas.read(self.loaded.vocabulary(), &outcome.canvas);
        let usage = Usage::new(self.template_canvas.canvas(), &outcome.statistics);
        self.metrics.result(&usage);
        Ok(CanvasResult {
            index: self.index,
            seed: self.seed,
            finish_reason: Finish::of(outcome.reason).name(),
            text: read.text,
            pieces,
            holes: read.holes,
            canvas: self.sheet.canvas(),
            usage,
            queue_seconds: queued.as_secs_f64(),
            seconds: took.as_secs_f64(),
        })
    }
}

//! A canvas on its way through the scheduler.

use crate::ServeSettings;
use crate::app::App;
use crate::error::ApiError;
use crate::event::ServeEvent;
use crate::models::Loaded;
use crate::scheduler::{Cancel, Cancelled, Client, Ended, Update, Updates, Work, updates};
use aquatint::diffusion::Kind;
use aquatint::vocabulary::Vocabulary;
use aquatint::{Canvas, Prepared};
use std::sync::Arc;
use std::time::Instant;

/// A canvas that is being filled. Dropping it cancels the request.
#[derive(Debug)]
pub(crate) struct Filling {
    updates: Updates,
    cancel: Cancel,
}

impl Filling {
    /// Hands a canvas to the scheduler; so many `alternatives` are reported of each position that is written.
    ///
    /// # Errors
    /// When the canvas is longer than allowed, or too much waits already.
    pub(crate) fn start(
        app: &App,
        loaded: &Arc<Loaded>,
        prepared: &Prepared,
        client: Client,
        alternatives: usize,
    ) -> Result<Self, ApiError> {
        check_length(&app.settings, prepared.template_canvas.canvas())?;
        let request = loaded.model.request_of(prepared)?.with_alternatives(alternatives);
        let (sender, updates) = updates();
        let (cancel, deadline) = (Cancel::default(), Instant::now() + app.settings.time_limit);
        let work = Work { loaded: loaded.clone(), request, client, updates: sender, cancel: cancel.clone(), deadline };
        if app.settings.log_prompts {
            let text = given_text(loaded.vocabulary(), prepared.template_canvas.canvas());
            (app.events)(ServeEvent::Prompt { text });
        }
        app.scheduler.submit(work)?;
        Ok(Self { updates, cancel })
    }

    /// What happens next; `None` where the server ends.
    pub(crate) async fn next(&mut self) -> Option<Update> {
        self.updates.next().await
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When the server ends first.
    pub(crate) async fn finish(mut self) -> Result<Ended, ApiError> {
        while let Some(update) = self.next().await {
            if let Update::Ended(ended) = update {
                return Ok(*ended);
            }
        }
        Err(ApiError::stopping())
    }

    /// What ends it at the next step.
    pub(crate) fn canceller(&self) -> Cancel {
        self.cancel.clone()
    }

    /// Ends it at the next step; its outcome still comes.
    pub(crate) fn cancel(&self, reason: Cancelled) {
        self.cancel.cancel(reason);
    }
}

/// Whether a canvas is no longer than the server allows.
///
/// # Errors
/// When it is longer.
pub(crate) fn check_length(settings: &ServeSettings, canvas: &Canvas) -> Result<(), ApiError> {
    let (length, limit) = (canvas.len(), settings.canvas_limit);
    if length <= limit {
        return Ok(());
    }
    Err(ApiError::too_long(length, length - canvas.open_positions().len(), limit))
}

/// What is given on a canvas, with `[[N]]` where something is to be filled in.
fn given_text(vocabulary: &Vocabulary, canvas: &Canvas) -> String {
    let is_given = |position: &usize| canvas.kind(*position) == Some(Kind::Given);
    let positions: Vec<usize> = (0..canvas.len()).collect();
    let run = |run: &[usize]| match run {
        [first, ..] if is_given(first) => vocabulary.decode(&canvas.tokens()[*first..first + run.len()]),
        run => format!("[[{}]]", run.len()),
    };
    positions.chunk_by(|one, next| is_given(one) == is_given(next)).map(run).collect()
}

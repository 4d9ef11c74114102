//! A canvas on its way through the scheduler.

use crate::app::App;
use crate::error::ApiError;
use crate::models::Loaded;
use crate::scheduler::{Cancel, Client, Update, Work};
use aquatint::Prepared;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A canvas that is being filled. Dropping it cancels the request.
#[derive(Debug)]
pub(crate) struct Filling {
    updates: UnboundedReceiver<Update>,
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
        let (length, limit) = (prepared.template_canvas.canvas().len(), app.settings.canvas_limit);
        if length > limit {
            let message = format!("the canvas has {length} positions; allowed: {limit}");
            return Err(ApiError::invalid(message).of("max_tokens").code("context_length_exceeded"));
        }
        let request =
            loaded.model.request(&prepared.template_canvas, prepared.settings.clone()).with_alternatives(alternatives);
        let (sender, updates) = unbounded_channel();
        let (cancel, deadline) = (Cancel::default(), Instant::now() + app.settings.time_limit);
        let work = Work { loaded: loaded.clone(), request, client, updates: sender, cancel: cancel.clone(), deadline };
        app.scheduler.submit(work)?;
        Ok(Self { updates, cancel })
    }

    /// What happens next; `None` where the server ends.
    pub(crate) async fn next(&mut self) -> Option<Update> {
        self.updates.recv().await
    }

    /// Ends it at the next step; its outcome still comes.
    pub(crate) fn cancel(&self) {
        self.cancel.cancel();
    }
}

//! Work, and what the scheduler remembers of it while it is done.

use super::{Cause, Client, Ended, Update};
use crate::models::Loaded;
use aquatint::Outcome;
use aquatint::generate::Request;
use aquatint::{DenoisingEvent, Error};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// A canvas to be filled for a client.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) request: Request,
    pub(crate) client: Client,
    /// Takes the updates. A request has only so many steps, so that a slow reader costs memory and nobody's time.
    pub(crate) updates: UnboundedSender<Update>,
    pub(crate) cancel: Cancel,
    /// When it is cancelled.
    pub(crate) deadline: Instant,
}

/// Cancels work; its outcome still comes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// At the next step.
    pub(crate) fn cancel(&self) {
        self.0.store(true, SeqCst);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.0.load(SeqCst)
    }
}

/// Work under way.
pub(super) struct Job {
    loaded: Arc<Loaded>,
    pub(super) client: Client,
    updates: UnboundedSender<Update>,
    cancel: Cancel,
    deadline: Instant,
    submitted: Instant,
    started: Option<Instant>,
    cause: Option<Cause>,
    /// Rows that it takes of a forward pass, at most.
    pub(super) rows: usize,
}

impl Job {
    /// Work that was submitted at a time, without its request.
    pub(super) fn new(work: Work, submitted: Instant, rows: usize) -> (aquatint::generate::Request, Self) {
        let Work { loaded, request, client, updates, cancel, deadline } = work;
        let (started, cause) = (None, None);
        (request, Self { loaded, client, updates, cancel, deadline, submitted, started, cause, rows })
    }

    /// The number of its model.
    pub(super) fn model(&self) -> usize {
        self.loaded.id
    }

    /// Why it is to be cancelled now, if it is.
    pub(super) fn cancelled(&self, now: Instant, stop: Option<Instant>) -> Option<Cause> {
        if self.updates.is_closed() || self.cancel.is_cancelled() {
            Some(Cause::Client)
        } else if now >= self.deadline {
            Some(Cause::TimeLimit)
        } else if stop.is_some_and(|stop| now >= stop) {
            Some(Cause::Shutdown)
        } else {
            None
        }
    }

    /// Passes an event on.
    pub(super) fn deliver(
        &mut self,
        event: DenoisingEvent<'_>,
        now: Instant,
        stop: Option<Instant>,
    ) -> ControlFlow<()> {
        self.started.get_or_insert(now);
        if let Some(update) = Update::of(event) {
            // A receiver that is gone is noticed below.
            let _ = self.updates.send(update);
        }
        if self.cause.is_none() {
            self.cause = self.cancelled(now, stop);
        }
        if self.cause.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Passes the outcome on; returns the whole time that it took.
    pub(super) fn end(self, outcome: Result<Outcome, Error>, cause: Option<Cause>) -> std::time::Duration {
        let (now, started) = (Instant::now(), self.started);
        let queued = started.unwrap_or(now) - self.submitted;
        let took = started.map_or_else(Default::default, |started| now - started);
        let cause = cause.or(self.cause);
        let _ = self.updates.send(Update::Ended(Box::new(Ended { outcome, cause, queued, took })));
        queued + took
    }
}

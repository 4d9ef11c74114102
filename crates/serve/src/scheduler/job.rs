//! Work, and what the scheduler remembers of it while it is done.

use super::{Client, Ended, Update, UpdateSender};
use crate::models::Loaded;
use aquatint::Outcome;
use aquatint::generate::Request;
use aquatint::{DenoisingEvent, Error};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A canvas to be filled for a client.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) request: Request,
    pub(crate) client: Client,
    /// Takes the updates.
    pub(crate) updates: UpdateSender,
    pub(crate) cancel: Cancel,
    /// When it is cancelled.
    pub(crate) deadline: Instant,
}

/// Why its client ends work early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancelled {
    /// It is not wanted any more.
    Unwanted,
    /// A stop string ended its text, which is whole.
    Whole,
}

/// Cancels work; its outcome still comes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancel(Arc<OnceLock<Cancelled>>);

impl Cancel {
    /// At the next step. The first reason counts.
    pub(crate) fn cancel(&self, reason: Cancelled) {
        self.0.get_or_init(|| reason);
    }
}

/// Work under way.
pub(super) struct Job {
    /// Its model, which is not given up meanwhile.
    pub(super) loaded: Arc<Loaded>,
    pub(super) client: Client,
    updates: UpdateSender,
    cancel: Cancel,
    deadline: Instant,
    submitted: Instant,
    started: Option<Instant>,
    /// Positions of the block that each part works on.
    block_positions: BTreeMap<usize, usize>,
    /// Rows that it takes of a forward pass, at most.
    pub(super) rows: usize,
}

impl Job {
    /// Work that is submitted now, without its request.
    pub(super) fn new(work: Work) -> (Request, Self) {
        let Work { loaded, request, client, updates, cancel, deadline } = work;
        let (submitted, started, block_positions, rows) = (Instant::now(), None, BTreeMap::new(), 0);
        (request, Self { loaded, client, updates, cancel, deadline, submitted, started, block_positions, rows })
    }

    /// How long ago it was submitted.
    pub(super) fn age(&self) -> Duration {
        self.submitted.elapsed()
    }

    /// Positions of the block that the part of a step works on; 0 of another event.
    pub(super) fn block_positions(&self, event: &DenoisingEvent<'_>) -> usize {
        let DenoisingEvent::Step { part, .. } = event else { return 0 };
        self.block_positions.get(part).copied().unwrap_or(0)
    }

    /// Whether it is to be cancelled now: its client is gone or wants no more of it, its time is up, or the server ends.
    pub(super) fn is_cancelled(&self, now: Instant, stop: Option<Instant>) -> bool {
        self.updates.is_lost()
            || self.cancel.0.get().is_some()
            || now >= self.deadline
            || stop.is_some_and(|stop| now >= stop)
    }

    /// Whether its text is whole, though not all of its canvas may be filled.
    pub(super) fn is_whole(&self) -> bool {
        self.cancel.0.get() == Some(&Cancelled::Whole)
    }

    /// Passes an event on.
    pub(super) fn deliver(
        &mut self,
        event: DenoisingEvent<'_>,
        now: Instant,
        stop: Option<Instant>,
    ) -> ControlFlow<()> {
        self.started.get_or_insert(now);
        if let DenoisingEvent::BlockStarted { part, positions, .. } = &event {
            self.block_positions.insert(*part, positions.len());
        }
        if let Some(update) = Update::of(event) {
            self.updates.send(update);
        }
        if self.is_cancelled(now, stop) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Passes the outcome on; returns the whole time that it took.
    pub(super) fn end(self, outcome: Result<Outcome, Error>) -> Duration {
        let (now, started) = (Instant::now(), self.started);
        let queued = started.unwrap_or(now) - self.submitted;
        let took = started.map_or_else(Default::default, |started| now - started);
        self.updates.send(Update::Ended(Box::new(Ended { outcome, queued, took })));
        queued + took
    }
}

//! The scheduler: one thread that owns the engines of all models and steps each that has work.
//!
//! Work waits in a bounded queue in front of the engines. From it the client with the least work in flight is served
//! first, so that one who sends a thousand requests does not hold up one who sends a single one. Requests join and leave
//! between two steps; what each gets does not depend on the others.

mod backlog;
mod fair_queue;
mod job;
mod update;
mod worker;

pub(crate) use backlog::{UpdateSender, Updates, updates};
pub(crate) use fair_queue::Client;
pub(crate) use job::{Cancel, Work};
pub(crate) use update::{Cause, Ended, StepUpdate, Update};

use crate::metrics::Metrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the thread is to do.
enum Command {
    /// Fill a canvas.
    Submit(Box<Work>),
    /// Answer a query about a model between two steps, on the thread that owns the device.
    Ask(Box<dyn FnOnce() + Send>),
    /// Drop the engine of a model as soon as it is idle, so that its memory is free.
    Unload(usize),
    /// Finish what is there until then, cancel the rest, and end.
    Stop(Instant),
}

/// Why work is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// The queue is full.
    Busy {
        /// How many requests may wait.
        limit: usize,
        /// When to try again, in seconds.
        retry_after: u64,
    },
    /// The server ends.
    Stopping,
}

/// Numbers that handlers and the thread share.
#[derive(Debug, Default)]
struct Shared {
    waiting: AtomicUsize,
    /// Milliseconds that requests took lately.
    typical: AtomicU64,
    /// Requests whose canvases are being filled.
    running: AtomicUsize,
    /// Rows of a forward pass that they take.
    rows: AtomicUsize,
}

/// What is there at one moment, over all models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Requests that wait for their turn.
    pub(crate) waiting: usize,
    /// Requests whose canvases are being filled.
    pub(crate) running: usize,
    /// Rows of a forward pass that those take.
    pub(crate) rows: usize,
}

/// The way to the scheduler's thread.
#[derive(Debug, Clone)]
pub(crate) struct Scheduler {
    commands: Sender<Command>,
    shared: Arc<Shared>,
    queue: usize,
}

impl Scheduler {
    /// Starts the thread; `queue` is how many requests may wait.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(queue: usize, metrics: Arc<Metrics>) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (commands, receiver) = channel();
        let shared = Arc::new(Shared::default());
        let worker = worker::Worker::new(receiver, shared.clone(), metrics);
        let thread = std::thread::Builder::new().name("scheduler".to_owned()).spawn(move || worker.run())?;
        Ok((Self { commands, shared, queue }, thread))
    }

    /// Hands work over.
    ///
    /// # Errors
    /// When too much waits already, or the server ends.
    pub(crate) fn submit(&self, work: Work) -> Result<(), Rejected> {
        self.send(Command::Submit(Box::new(work)))
    }

    /// Runs a query between two steps; it waits in the same queue as work.
    ///
    /// # Errors
    /// When too much waits already, or the server ends.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        query: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Rejected> {
        let (sender, answer) = tokio::sync::oneshot::channel();
        let query = Box::new(move || {
            // Whoever asked may be gone.
            let _ = sender.send(query());
        });
        self.send(Command::Ask(query))?;
        answer.await.map_err(|_| Rejected::Stopping)
    }

    fn send(&self, command: Command) -> Result<(), Rejected> {
        let admitted = self.shared.waiting.try_update(SeqCst, SeqCst, |now| (now < self.queue).then_some(now + 1));
        if admitted.is_err() {
            return Err(Rejected::Busy { limit: self.queue, retry_after: self.retry_after() });
        }
        self.commands.send(command).map_err(|_| {
            self.shared.waiting.fetch_sub(1, SeqCst);
            Rejected::Stopping
        })
    }

    /// Frees the engine of a model, once it is idle.
    pub(crate) fn unload(&self, model: usize) {
        // A thread that has ended holds no engine.
        let _ = self.commands.send(Command::Unload(model));
    }

    /// Ends the thread after `grace` at the latest.
    pub(crate) fn stop(&self, grace: Duration) {
        let _ = self.commands.send(Command::Stop(Instant::now() + grace));
    }

    /// What is there now.
    pub(crate) fn figures(&self) -> Figures {
        let Shared { waiting, running, rows, .. } = &*self.shared;
        Figures { waiting: waiting.load(SeqCst), running: running.load(SeqCst), rows: rows.load(SeqCst) }
    }

    /// Seconds until about half of the queue is gone.
    fn retry_after(&self) -> u64 {
        let (typical, running) = (self.shared.typical.load(SeqCst), self.shared.running.load(SeqCst).max(1) as u64);
        (typical * (self.queue as u64 / 2) / running).div_ceil(1000).clamp(1, 60)
    }
}

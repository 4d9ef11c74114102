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
pub(crate) use fair_queue::{Client, FairQueue};
pub(crate) use job::{Cancel, Cancelled, Work};
pub(crate) use update::{BlockUpdate, Ended, StepUpdate, Update};

use crate::metrics::Metrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is asked of a model between two steps, on the thread that owns the device.
type Query = Box<dyn FnOnce() + Send>;

/// What the thread is to do.
enum Command {
    /// Fill a canvas.
    Submit(Box<Work>),
    /// Answer a client's query.
    Ask(Client, Query),
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

    /// Runs a client's query between two steps, one at a time. It counts as work that waits, and clients take turns.
    ///
    /// # Errors
    /// When too much waits already, or the server ends.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        client: Client,
        query: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Rejected> {
        let (sender, answer) = tokio::sync::oneshot::channel();
        let query = Box::new(move || {
            // The client may be gone, now or when the answer is there.
            if !sender.is_closed() {
                let _ = sender.send(query());
            }
        });
        self.send(Command::Ask(client, query))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::{join_all, join3};
    use std::sync::Mutex;

    #[test]
    fn queries_of_one_client_do_not_hold_up_those_of_another() {
        let (scheduler, thread) = Scheduler::start(64, Arc::default()).unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let query = |client, number: usize| {
            let order = order.clone();
            scheduler.ask(Client::Key(client), move || order.lock().unwrap().push(number))
        };
        // The first one keeps the thread until all others wait.
        let (all_wait, begin) = channel();
        let first = scheduler.ask(Client::Key(0), move || begin.recv());
        let others = (0..20).map(|number| query(0, number)).chain([query(1, 100)]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (first, others, ()) =
            runtime.block_on(join3(first, join_all(others), async { all_wait.send(()).unwrap() }));
        assert!(first.is_ok() && others.iter().all(Result::is_ok));
        let order = order.lock().unwrap();
        assert_eq!(order.len(), 21);
        assert!(order[..2].contains(&100), "{order:?}");
        assert_eq!(scheduler.figures().waiting, 0);
        scheduler.stop(Duration::ZERO);
        thread.join().unwrap();
    }
}

//! The scheduler's thread.

use super::fair_queue::FairQueue;
use super::job::Job;
use super::{Command, Query, Shared, Work};
use crate::metrics::Metrics;
use crate::models::Loaded;
use aquatint::generate::{Admitted, Demand, Engine, Limits, RequestId};
use aquatint::{Error, FinishReason, Outcome, Statistics};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

/// Work in the queue, with its plan.
struct Queued {
    admitted: Admitted,
    job: Job,
}

/// The engine of one model.
struct Serving {
    engine: Engine<'static>,
    limits: Limits,
    jobs: HashMap<RequestId, Job>,
    /// Whether it is dropped once it is idle.
    unload: bool,
}

/// All that the thread holds.
pub(super) struct Worker {
    commands: Receiver<Command>,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    queue: FairQueue<Queued>,
    queries: FairQueue<Query>,
    engines: BTreeMap<usize, Serving>,
    stop: Option<Instant>,
}

impl Worker {
    pub(super) fn new(commands: Receiver<Command>, shared: Arc<Shared>, metrics: Arc<Metrics>) -> Self {
        let (queue, queries) = (FairQueue::default(), FairQueue::default());
        Self { commands, shared, metrics, queue, queries, engines: BTreeMap::new(), stop: None }
    }

    /// Works until it is stopped or nobody can send commands any more.
    pub(super) fn run(mut self) {
        loop {
            if !self.listen() || self.stop.is_some() && self.is_idle() {
                return;
            }
            self.drop_cancelled();
            self.admit();
            self.count();
            self.step();
            self.count();
            self.answer();
            self.engines.retain(|_, serving| !(serving.unload && serving.jobs.is_empty()));
        }
    }

    fn is_idle(&self) -> bool {
        let runs = self.engines.values().any(|serving| !serving.jobs.is_empty());
        !runs && self.queue.is_empty() && self.queries.is_empty()
    }

    /// Takes the commands that are there, and waits for one where there is nothing else to do. Returns whether more can
    /// come.
    fn listen(&mut self) -> bool {
        if self.is_idle() && self.stop.is_none() {
            match self.commands.recv() {
                Ok(command) => self.obey(command),
                Err(_) => return false,
            }
        }
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command),
                Err(TryRecvError::Empty) => return true,
                // What is under way is finished.
                Err(TryRecvError::Disconnected) => return !self.is_idle(),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Submit(work) => self.enqueue(*work),
            Command::Ask(client, query) => self.queries.push(client, query),
            Command::Unload(model) => {
                let wanted = self.queue.any(|queued| queued.job.loaded.id == model);
                if let Some(serving) = self.engines.get_mut(&model).filter(|_| !wanted) {
                    serving.unload = true;
                }
            }
            Command::Stop(when) => self.stop = Some(when),
        }
    }

    fn enqueue(&mut self, work: Work) {
        let (request, mut job) = Job::new(work);
        match self.engine(&job.loaded).and_then(|serving| Ok(serving.engine.admit(request)?)) {
            Ok(admitted) => {
                job.rows = admitted.demand().rows;
                self.queue.push(job.client, Queued { admitted, job });
            }
            Err(error) => {
                self.shared.waiting.fetch_sub(1, SeqCst);
                self.metrics.ended(None, false, job.age());
                job.end(Err(error));
            }
        }
    }

    /// The engine of a model; it begins with its first work.
    fn engine(&mut self, loaded: &Loaded) -> Result<&mut Serving, Error> {
        use std::collections::btree_map::Entry;
        match self.engines.entry(loaded.id) {
            Entry::Occupied(entry) => {
                let serving = entry.into_mut();
                serving.unload = false;
                Ok(serving)
            }
            Entry::Vacant(entry) => {
                let limits = loaded.limits;
                let engine = loaded.engine()?;
                Ok(entry.insert(Serving { engine, limits, jobs: HashMap::new(), unload: false }))
            }
        }
    }

    /// Ends what waits and is not wanted any more.
    fn drop_cancelled(&mut self) {
        let (now, stop) = (Instant::now(), self.stop);
        for Queued { admitted, job } in self.queue.extract(|queued| queued.job.is_cancelled(now, stop)) {
            self.shared.waiting.fetch_sub(1, SeqCst);
            let (canvas, tokens) = (admitted.request().canvas.clone(), Vec::new());
            let (reason, statistics) = (FinishReason::Cancelled, Statistics::default());
            let outcome = Outcome { canvas, tokens, reason, statistics };
            self.metrics.ended(Some(&outcome), false, job.age());
            job.end(Ok(outcome));
        }
        if stop.is_some_and(|stop| now >= stop) {
            let queries = self.queries.extract(|_| true);
            self.shared.waiting.fetch_sub(queries.len(), SeqCst);
        }
    }

    /// Lets work begin, in its turn, as long as there is room.
    fn admit(&mut self) {
        let mut in_flight = self.engines.values().fold(Demand::default(), |sum, s| sum.plus(s.engine.in_flight()));
        // The engine lets them in at its next step, and only then counts them itself.
        while let Some((client, next)) = self.queue.next() {
            let (model, with) = (next.job.loaded.id, in_flight.plus(next.admitted.demand()));
            let Some(serving) = self.engines.get_mut(&model) else { break };
            if !serving.limits.allow(with) {
                break;
            }
            let Some(Queued { admitted, job }) = self.queue.take(client) else { break };
            self.shared.waiting.fetch_sub(1, SeqCst);
            self.metrics.admitted(job.age());
            in_flight = with;
            self.queue.began(client, job.rows);
            serving.jobs.insert(serving.engine.enter(admitted), job);
        }
    }

    /// Answers the query whose turn it is, one between two steps.
    fn answer(&mut self) {
        let Some((client, _)) = self.queries.next() else { return };
        // It has no rows in flight: clients take turns.
        self.queries.began(client, 0);
        if let Some(query) = self.queries.take(client) {
            self.shared.waiting.fetch_sub(1, SeqCst);
            query();
        }
    }

    /// Tells the handlers what is there now.
    fn count(&self) {
        let jobs = || self.engines.values().flat_map(|serving| serving.jobs.values());
        self.shared.running.store(jobs().count(), SeqCst);
        self.shared.rows.store(jobs().map(|job| job.rows).sum(), SeqCst);
    }

    /// Takes one step of each engine that has work.
    fn step(&mut self) {
        let stop = self.stop;
        for serving in self.engines.values_mut().filter(|serving| !serving.jobs.is_empty()) {
            let begun = Instant::now();
            let jobs = &mut serving.jobs;
            let metrics = &self.metrics;
            let ended = serving.engine.step(&mut |id, event| {
                // Whatever has no job was submitted by nobody.
                let Some(job) = jobs.get_mut(&id) else { return std::ops::ControlFlow::Break(()) };
                metrics.event(&event, job.block_positions(&event));
                job.deliver(event, Instant::now(), stop)
            });
            self.metrics.stepped(begun.elapsed());
            for ended in ended {
                let Some(job) = serving.jobs.remove(&ended.id) else { continue };
                self.queue.ended(job.client, job.rows);
                self.metrics.ended(ended.outcome.as_ref().ok(), job.is_whole(), job.age());
                let took = job.end(ended.outcome.map_err(Into::into)).as_millis() as u64;
                // A moving average, so that one long request does not send everybody away for a minute.
                let _ = self.shared.typical.try_update(SeqCst, SeqCst, |typical| Some((typical * 7 + took) / 8));
            }
        }
    }
}

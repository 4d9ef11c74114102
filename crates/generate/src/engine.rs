//! The engine: any number of unlike requests, which join and leave between two steps.

use crate::admission::Admission;
use crate::cache::{visible_from, whole_blocks};
use crate::event::{DenoisingEvent, FinishReason, Statistics};
use crate::forward_batch::{Answer, ForwardBatch};
use crate::limits::{Demand, Limits};
use crate::model::Model;
use crate::request_state::RequestState;
use crate::reuse::{ReusableRows, common};
use crate::{GenerateError, Outcome, Request};
use aquatint_diffusion::{Process, SettingError, WordVectors};
use aquatint_network::{Denoiser, KvCache, KvRows, Query};
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::ops::{ControlFlow, Deref};
use std::sync::Arc;

/// The number of a request in its engine; it rises with every one that is submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A request that can be served, with its plan; see [`Engine::admit`].
pub struct Admitted(Admission);

impl Admitted {
    /// What it takes at most, as it is counted against the limits.
    pub fn demand(&self) -> Demand {
        self.0.demand
    }

    /// The request.
    pub fn request(&self) -> &Request {
        &self.0.request
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted").field("demand", &self.0.demand).finish_non_exhaustive()
    }
}

/// A request that ended, with its own outcome.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its number.
    pub id: RequestId,
    /// The canvas, filled or cancelled on the way, or why it could not be filled.
    pub outcome: Result<Outcome, GenerateError>,
}

/// Hears the events of all requests; breaks to cancel the request that an event is of.
type Listener<'a> = dyn FnMut(RequestId, DenoisingEvent<'_>) -> ControlFlow<()> + 'a;

/// Fills the canvases of requests that come and go, step by step.
///
/// Each step reads the canvases of all running requests in one forward pass. What a request gets is what it would have got
/// alone, as every draw depends on the request's own seed, the position and the step only. Requests that do not fit
/// beside the running ones wait; they are admitted in the order in which they came, and none overtakes another.
///
/// An engine owns its network and process, and then it can be moved into the thread of a scheduler; or it borrows them.
pub struct Engine<'a> {
    denoiser: Held<'a, dyn Denoiser + 'a>,
    process: Held<'a, dyn Process + 'a>,
    word_vectors: WordVectors,
    limits: Limits,
    next: u64,
    waiting: VecDeque<(RequestId, Admission)>,
    running: Vec<(RequestId, RequestState)>,
    cancelled: BTreeSet<RequestId>,
    reusable: ReusableRows,
}

impl Engine<'static> {
    /// An engine that owns its network and its process.
    ///
    /// # Errors
    /// When the network cannot hand out its word vectors.
    pub fn new(denoiser: Arc<dyn Denoiser>, process: Arc<dyn Process>, limits: Limits) -> Result<Self, GenerateError> {
        Self::holding(Held::Shared(denoiser), Held::Shared(process), limits)
    }
}

impl<'a> Engine<'a> {
    /// An engine that borrows its network and its process.
    ///
    /// # Errors
    /// When the network cannot hand out its word vectors.
    pub fn borrowing(
        denoiser: &'a dyn Denoiser,
        process: &'a dyn Process,
        limits: Limits,
    ) -> Result<Self, GenerateError> {
        Self::holding(Held::Borrowed(denoiser), Held::Borrowed(process), limits)
    }

    fn holding(
        denoiser: Held<'a, dyn Denoiser + 'a>,
        process: Held<'a, dyn Process + 'a>,
        limits: Limits,
    ) -> Result<Self, GenerateError> {
        let word_vectors = denoiser.word_vectors()?;
        let (waiting, running, cancelled) = (VecDeque::new(), Vec::new(), BTreeSet::new());
        let reusable = ReusableRows::new(limits.reuse_bytes);
        Ok(Self { denoiser, process, word_vectors, limits, next: 0, waiting, running, cancelled, reusable })
    }

    /// Takes a request in, which waits until [`Engine::step`] lets it begin.
    ///
    /// # Errors
    /// When it can never be served: a setting or the canvas does not fit the model, or it takes more than the limits.
    pub fn submit(&mut self, request: Request) -> Result<RequestId, GenerateError> {
        let admitted = self.admit(request)?;
        Ok(self.enter(admitted))
    }

    /// Checks and plans a request without taking it in, for a caller with a queue of its own.
    ///
    /// # Errors
    /// As [`Engine::submit`].
    pub fn admit(&self, request: Request) -> Result<Admitted, GenerateError> {
        let admission = Admission::new(request, &self.model())?;
        if !self.limits.allow(admission.demand) {
            return Err(GenerateError::BeyondLimits { demand: admission.demand, limits: self.limits });
        }
        let (steps, most) = (admission.planned.total_forwards(), self.limits.steps);
        if steps > most {
            let (given, allowed) = (format!("{steps} over all blocks"), format!("up to {most} over all blocks"));
            let hint = Some("ask for fewer steps, or for longer blocks".to_owned());
            return Err(GenerateError::Setting(SettingError { parameter: "steps", given, allowed, hint }));
        }
        Ok(Admitted(admission))
    }

    /// Takes in a request that this engine, or one of the same model, has admitted.
    pub fn enter(&mut self, admitted: Admitted) -> RequestId {
        let id = RequestId(self.next);
        self.next += 1;
        self.waiting.push_back((id, admitted.0));
        id
    }

    /// Ends a request at the beginning of the next step, whether it runs or waits. Returns whether there is such a request.
    pub fn cancel(&mut self, id: RequestId) -> bool {
        // Both are in the order of their numbers.
        let is_here = self.waiting.binary_search_by_key(&id, |(id, _)| *id).is_ok()
            || self.running.binary_search_by_key(&id, |(id, _)| *id).is_ok();
        if is_here {
            self.cancelled.insert(id);
        }
        is_here
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// How many requests are being filled.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What the running requests take together.
    pub fn in_flight(&self) -> Demand {
        self.running.iter().fold(Demand::default(), |sum, (_, state)| sum.plus(state.demand()))
    }

    /// Bytes of the rows that are kept of requests that ended; no more than [`Limits::reuse_bytes`].
    pub fn reusable_bytes(&self) -> usize {
        self.reusable.bytes()
    }

    /// Takes one step of every running request: ends those that were cancelled, admits those that wait and fit, reads all
    /// canvases in one forward pass, and moves each. Returns the requests that ended.
    ///
    /// `events` hears everything as it happens; when it breaks, the request of that event is cancelled at once and the
    /// others go on. A request that fails ends alone, with its own error. Where the forward pass itself fails, all whose
    /// canvases it read end with that error; waiting requests go on waiting.
    pub fn step(&mut self, events: &mut Listener<'_>) -> Vec<Ended> {
        let mut ended = Vec::new();
        self.end_cancelled(events, &mut ended);
        self.let_in(events);
        self.take_finished(&mut ended);
        let read = self.read();
        let mut failed = Vec::new();
        match read {
            Ok((mut answers, mut kv_caches)) => {
                let model = model(&self.denoiser, &self.process, &self.word_vectors);
                for (id, state) in &mut self.running {
                    state.take_caches(&mut kv_caches);
                    if let Err(error) = state.advance(&mut answers, &model, &mut |event| events(*id, event)) {
                        failed.push((*id, error));
                    }
                }
            }
            Err(error) => {
                let read = self.running.iter().filter(|(_, state)| state.is_read());
                failed.extend(read.map(|(id, _)| (*id, error.clone())));
            }
        }
        self.running.retain(|(id, _)| failed.iter().all(|(failed, _)| failed != id));
        ended.extend(failed.into_iter().map(|(id, error)| Ended { id, outcome: Err(error) }));
        self.take_finished(&mut ended);
        ended
    }

    fn model(&self) -> Model<'_> {
        model(&self.denoiser, &self.process, &self.word_vectors)
    }

    /// Ends the requests that were cancelled since the last step.
    fn end_cancelled(&mut self, events: &mut Listener<'_>, ended: &mut Vec<Ended>) {
        let cancelled = std::mem::take(&mut self.cancelled);
        if cancelled.is_empty() {
            return;
        }
        for (id, state) in self.running.iter_mut().filter(|(id, _)| cancelled.contains(id)) {
            state.cancel(&mut |event| events(*id, event));
        }
        let (gone, waiting): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(id, _)| cancelled.contains(id));
        self.waiting = waiting;
        for (id, admission) in gone {
            let (reason, statistics) = (FinishReason::Cancelled, Statistics::default());
            // It ends anyway.
            let _ = events(id, DenoisingEvent::Finished { reason, statistics });
            let request = admission.request;
            ended.push(Ended { id, outcome: Ok(Outcome::new(request.canvas, &request.ends, reason, statistics)) });
        }
        self.take_finished(ended);
    }

    /// Lets waiting requests begin, in their order, as long as the next one fits.
    fn let_in(&mut self, events: &mut Listener<'_>) {
        let mut in_flight = self.in_flight();
        let model = model(&self.denoiser, &self.process, &self.word_vectors);
        while let Some((_, next)) = self.waiting.front() {
            let with = in_flight.plus(next.demand);
            if !self.limits.allow(with) {
                break;
            }
            let Some((id, admission)) = self.waiting.pop_front() else { break };
            let mut state = RequestState::new(admission, &model);
            state.start(&mut |event| events(id, event));
            take_over(&mut state, &model, &mut self.reusable, &self.running);
            self.running.push((id, state));
            in_flight = with;
        }
    }

    /// Reads the canvases of all running requests in one forward pass.
    fn read(&mut self) -> Result<(Vec<Answer>, Vec<KvCache>), GenerateError> {
        let model = model(&self.denoiser, &self.process, &self.word_vectors);
        let mut batch = ForwardBatch::default();
        for (_, state) in &mut self.running {
            state.read(&mut batch, &model);
        }
        // Where all blocks are full and only remasking is left to do, there is nothing to read.
        if batch.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let queries: Vec<Query<'_>> = self.running.iter().flat_map(|(_, state)| state.queries(&model)).collect();
        Ok(batch.run(model.denoiser, &queries)?)
    }

    /// Takes out the requests that are done.
    fn take_finished(&mut self, ended: &mut Vec<Ended>) {
        let model = model(&self.denoiser, &self.process, &self.word_vectors);
        for (id, state) in self.running.extract_if(.., |(_, state)| !state.is_running()) {
            keep(&state, &model, &mut self.reusable);
            ended.push(Ended { id, outcome: Ok(state.into_outcome()) });
        }
    }
}

/// Lets a request begin with the rows of another one, running or ended, that has the same first tokens. What cannot be
/// copied is computed.
fn take_over(
    state: &mut RequestState,
    model: &Model<'_>,
    reusable: &mut ReusableRows,
    running: &[(RequestId, RequestState)],
) {
    if !reusable.is_on() {
        return;
    }
    let spec = model.spec();
    // The rows of whole blocks, with all that the rows behind them see.
    let begun = |rows: &KvRows, shared: usize, length: usize| {
        let end = whole_blocks(shared, spec);
        let start = visible_from(end, spec);
        let kv_cache = if start < end { rows.to_cache(start, end, length).ok().flatten() } else { None };
        kv_cache.map(|kv_cache| (kv_cache, end))
    };
    state.take_over(model, |tokens, length| {
        let ended = reusable.find(tokens).and_then(|(rows, shared)| begun(rows, shared, length));
        let others = running.iter().filter_map(|(_, other)| other.final_rows(model));
        let other = others.map(|(own, kv_cache)| (whole_blocks(common(&own, tokens), spec), kv_cache));
        let other = other
            .max_by_key(|(shared, _)| *shared)
            .filter(|(shared, _)| *shared > ended.as_ref().map_or(0, |(_, rows)| *rows));
        let other = other.and_then(|(shared, kv_cache)| begun(&kv_cache.rows_before(shared).ok()??, shared, length));
        other.or(ended)
    });
}

/// Keeps the rows of a request that ended, for others. What cannot be copied is not kept.
fn keep(state: &RequestState, model: &Model<'_>, reusable: &mut ReusableRows) {
    if !reusable.is_on() {
        return;
    }
    if let Some((tokens, kv_cache)) = state.final_rows(model)
        && !reusable.has(&tokens, kv_cache.cached_from(tokens.len()))
        && let Ok(Some(rows)) = kv_cache.rows_before(tokens.len())
    {
        reusable.keep(tokens, rows);
    }
}

impl fmt::Debug for Engine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("limits", &self.limits)
            .field("running", &self.running.len())
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

/// Borrows all that requests share, and nothing else of an engine.
fn model<'s>(
    denoiser: &'s Held<'_, dyn Denoiser + '_>,
    process: &'s Held<'_, dyn Process + '_>,
    word_vectors: &'s WordVectors,
) -> Model<'s> {
    Model { denoiser: &**denoiser, process: &**process, vectors: word_vectors.view() }
}

/// Something that is borrowed, or owned together with others.
enum Held<'a, T: ?Sized> {
    Borrowed(&'a T),
    Shared(Arc<T>),
}

impl<T: ?Sized> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Borrowed(value) => value,
            Self::Shared(value) => value,
        }
    }
}

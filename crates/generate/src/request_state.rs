//! The state of one request while its canvas is filled. Everything that a request needs is here; policies, processes
//! and networks hold nothing of it, so any number of unlike requests share them.
//!
//! The canvas and what is known of it are in [`filling`]; a [`track`] fills its positions by a plan of its own, a [`step`]
//! at a time, and has what offends written anew ([`repair`]). Each step reads the canvas once for all tracks.

mod filling;
mod repair;
mod step;
mod track;

use crate::admission::{Admission, RequestPlan};
use crate::branch::{Branch, StepView};
use crate::event::{DenoisingEvent, FinishReason, Listener, Statistics};
use crate::forward_batch::{Answer, ForwardBatch};
use crate::guidance::readings;
use crate::limits::Demand;
use crate::model::Model;
use crate::request::{Outcome, result_positions};
use crate::{Cache, GenerateError};
use aquatint_diffusion::{Key, PlannedStep, Span, Time, TokenId};
use aquatint_network::{KvCache, Query};
use filling::Filling;
use std::ops::ControlFlow;
use track::{Track, TrackStep};

/// The purpose of the first noise among a request's draws.
const BEGIN: u64 = 0x0062_6567_696e;

/// What one request needs between two steps.
pub(crate) struct RequestState {
    filling: Filling,
    tracks: Vec<Track>,
    branches: Vec<Branch>,
    shared: Shared,
    demand: Demand,
    reason: Option<FinishReason>,
}

/// How the canvas is read, whatever the track.
#[derive(Debug, Clone, Copy)]
struct Shared {
    key: Key,
    cache: Cache,
    /// By how many positions the first block of the text is shorter than the others.
    lead: usize,
}

/// What the tracks that run are about at a step, together.
struct TrackSteps {
    /// The current block of each track.
    blocks: Vec<usize>,
    /// The positions of these blocks, ascending.
    positions: Vec<usize>,
    /// Of each track that runs, what it is about.
    running: Vec<Running>,
    is_causal: bool,
}

/// What a track that runs is about at a step.
struct Running {
    part: usize,
    planned: PlannedStep,
    /// The positions that it predicts.
    predicted: Vec<usize>,
}

impl TrackSteps {
    fn new(tracks: &[Track], filling: &Filling) -> Self {
        let (mut positions, mut running, mut is_causal) = (Vec::new(), Vec::new(), false);
        for track in tracks.iter().filter(|track| track.is_running()) {
            let TrackStep { positions: own, predicted, is_causal: causal } = track.next_step(filling);
            positions.extend(own);
            running.push(Running { part: track.part, planned: track.planned(filling), predicted });
            is_causal |= causal;
        }
        positions.sort_unstable();
        Self { blocks: tracks.iter().map(Track::block).collect(), positions, running, is_causal }
    }

    /// The positions that the tracks of these parts predict, ascending.
    fn predicted(&self, has_part: impl Fn(usize) -> bool) -> Vec<usize> {
        let running = self.running.iter().filter(|running| has_part(running.part));
        let mut predicted: Vec<usize> = running.flat_map(|running| &running.predicted).copied().collect();
        predicted.sort_unstable();
        predicted
    }

    /// The canvas as it stands at the step, for a reading that predicts these positions.
    fn view<'s>(&'s self, filling: &'s Filling, predicted: &'s [usize], shared: Shared) -> StepView<'s> {
        let Shared { key, cache, lead } = shared;
        // Where several run, neither the network nor the process reads a time.
        let first = self.running.first();
        let (number, from) = first.map_or((0, Time::NOISE), |first| (first.planned.number, first.planned.from));
        let settings = filling.settings(0);
        StepView {
            canvas: &filling.canvas,
            ends: &filling.request.ends,
            key,
            blocks: &self.blocks,
            positions: &self.positions,
            predicted,
            number,
            from,
            is_causal: self.is_causal,
            cache,
            block_length: settings.block_length,
            lead,
            cache_refresh: settings.cache_refresh,
        }
    }
}

impl RequestState {
    /// The canvas in pure noise.
    pub(crate) fn new(admission: Admission, model: &Model<'_>) -> Self {
        let Admission { request, planned: RequestPlan { tracks, cache, lead }, demand } = admission;
        let key = Key::new(request.part(0).settings().seed);
        let mut canvas = request.canvas.clone();
        model.process.begin(&mut canvas, key.fold(BEGIN));
        let (readings, guided_by) = readings(&request);
        let parts = request.each_part().zip(tracks).zip(guided_by);
        let tracks = parts.map(|((part, plan), guided_by)| Track::new(plan, part, guided_by, model)).collect();
        let branches = readings.into_iter().map(Branch::new).collect();
        let certainty = vec![0.0; canvas.len()];
        let filling = Filling { request, canvas, certainty, statistics: Statistics::default() };
        Self { filling, tracks, branches, shared: Shared { key, cache, lead }, demand, reason: None }
    }

    /// What it takes at most.
    pub(crate) fn demand(&self) -> Demand {
        self.demand
    }

    /// Whether there is more to do.
    pub(crate) fn is_running(&self) -> bool {
        self.reason.is_none()
    }

    /// Whether the forward pass of this step reads its canvas: not where its blocks are full and only remasking is left.
    pub(crate) fn is_read(&self) -> bool {
        self.branches.iter().any(Branch::is_read)
    }

    /// Reports that the work begins and enters the first blocks.
    pub(crate) fn start(&mut self, report: &mut Listener<'_>) {
        let forward_passes = self.forward_passes();
        let Self { filling, tracks, .. } = self;
        let mut flow = report(DenoisingEvent::Started { canvas: &filling.canvas, forward_passes });
        for track in tracks.iter_mut().filter(|track| track.waits_for().is_none()) {
            if flow.is_continue() {
                flow = track.enter(filling, report);
            }
        }
        self.go_on(flow, report);
    }

    /// Forward passes over all parts, at most: those of the parts that take longest one after another, for each unconditional
    /// reading those of the parts that it guides, and the canvases that classifiers read.
    fn forward_passes(&self) -> usize {
        let own = |track: &Track| track.forward_passes(self.filling.settings(track.part));
        // A part that waits begins when the other one is done.
        let until = |track: &Track| {
            let before = std::iter::successors(Some(track), |track| self.tracks.get(track.waits_for()?));
            before.map(own).sum::<usize>()
        };
        let longest = self.tracks.iter().map(until).max().unwrap_or(0);
        let guided = |branch: usize| self.tracks.iter().filter(|track| track.reads(branch)).map(own).sum::<usize>();
        let classified: usize = self.tracks.iter().map(|track| track.classifier_passes).sum();
        longest + (1..self.branches.len()).map(|branch| guided(branch).min(longest)).sum::<usize>() + classified
    }

    /// Ends the request as it stands.
    pub(crate) fn cancel(&mut self, report: &mut Listener<'_>) {
        self.finish(FinishReason::Cancelled, report);
    }

    /// Before its first step: takes over the rows that `find` has of the tokens with which the canvas begins, where that
    /// is exact; see [`Branch::take_over`].
    pub(crate) fn take_over(
        &mut self,
        model: &Model<'_>,
        find: impl FnOnce(&[TokenId], usize) -> Option<(KvCache, usize)>,
    ) {
        if !self.is_running() || !self.shares_rows(model) {
            return;
        }
        let Self { filling, tracks, branches, shared, .. } = self;
        let steps = TrackSteps::new(tracks, filling);
        let predicted = steps.predicted(|_| true);
        let rows = branches[0].take_over(&steps.view(filling, &predicted, *shared), model, find);
        filling.statistics.rows_reused = rows;
    }

    /// The tokens of the rows that are cached and follow from these tokens alone, whole blocks, and the KV cache that has
    /// them; `None` where its rows are no other request's.
    pub(crate) fn final_rows(&self, model: &Model<'_>) -> Option<(Vec<TokenId>, &KvCache)> {
        let rows = self.shares_rows(model).then(|| self.branches[0].final_rows(model.spec()));
        rows.filter(|(tokens, kv_cache)| !tokens.is_empty() && !kv_cache.is_empty())
    }

    /// Whether the keys and values of a whole block follow from the tokens up to its end and from nothing else.
    fn shares_rows(&self, model: &Model<'_>) -> bool {
        let spec = model.spec();
        // A prediction is read in the current block alone where that is told apart.
        let reads_predictions = spec.self_conditioning.is_some() && !spec.tells_current();
        let reads_tokens = !spec.reads_time() && !reads_predictions && !model.process.reads_points();
        // Where blocks are counted from the hole, the same tokens are divided differently.
        let is_counted_alike = self.shared.cache == Cache::Exact && self.shared.lead == 0;
        // Nor do the same tokens lie alike in a grid and in a line.
        let has_grid = || self.filling.canvas.spans().iter().any(|span| span.domain.is_grid());
        let lies_alike = spec.position_axes() == 1 || !has_grid();
        is_counted_alike && lies_alike && self.branches.len() == 1 && reads_tokens
    }

    /// Adds what the network is to read for this step. A step that predicts nothing in its blocks reads nothing.
    pub(crate) fn read(&mut self, batch: &mut ForwardBatch, model: &Model<'_>) {
        let Self { filling, tracks, branches, shared, .. } = self;
        let steps = TrackSteps::new(tracks, filling);
        tracks.iter_mut().filter(|track| track.is_running()).for_each(|track| track.begin_step(filling));
        for (number, branch) in branches.iter_mut().enumerate() {
            let predicted = steps.predicted(|part| tracks[part].reads(number));
            if predicted.is_empty() {
                branch.skip();
                continue;
            }
            let rows = branch.read(&steps.view(filling, &predicted, *shared), batch, model);
            filling.statistics.rows_read += rows;
            filling.statistics.forward_passes += 1;
        }
    }

    /// The queries for the rows that were added, in their order.
    pub(crate) fn queries<'s>(&'s self, model: &'s Model<'s>) -> impl Iterator<Item = Query<'s>> {
        let running: Vec<(&Track, PlannedStep)> =
            self.running().map(|track| (track, track.planned(&self.filling))).collect();
        let positions = self.branches.iter().flat_map(|branch| branch.requested().iter().copied());
        positions.map(move |position| {
            let own = running.iter().find(|(track, _)| track.has(position));
            // What is fed back of positions that nobody fills in this step is the whole row.
            own.map_or(Query::WholeRow, |(track, planned)| track.query(&self.filling, position, planned, model))
        })
    }

    /// Takes the KV cache back after a forward pass.
    pub(crate) fn take_caches(&mut self, kv_caches: &mut [KvCache]) {
        self.branches.iter_mut().for_each(|branch| branch.take_cache(kv_caches));
    }

    /// Takes the answers of the whole forward pass, takes a step back in time with each track that runs, and goes on to the
    /// next one.
    pub(crate) fn advance(
        &mut self,
        answers: &mut [Answer],
        model: &Model<'_>,
        report: &mut Listener<'_>,
    ) -> Result<(), GenerateError> {
        let temperature = self.fed_back_temperature(model);
        let Self { filling, tracks, branches, .. } = self;
        let mut flow = ControlFlow::Continue(());
        for track in tracks.iter_mut().filter(|track| track.is_running()) {
            if flow.is_continue() {
                flow = track.advance(filling, (branches, answers), model, report)?;
            }
        }
        if model.spec().self_conditioning.is_some() {
            let vocabulary_size = model.spec().vocabulary_size;
            branches.iter_mut().for_each(|branch| branch.feed_back(answers, vocabulary_size, temperature));
        }
        self.go_on(flow, report);
        Ok(())
    }

    /// The temperature at which a prediction is fed back.
    fn fed_back_temperature(&self, model: &Model<'_>) -> f64 {
        let is_sharpened = model.spec().self_conditioning.is_some_and(|conditioning| conditioning.is_sharpened());
        let drawn = self
            .running()
            .next()
            .filter(|_| is_sharpened)
            .map(|track| self.filling.settings(track.part).shaping.temperature_at(&track.planned(&self.filling)));
        // At temperature 0 the draw has no prediction of its own: the network's is fed back.
        drawn.filter(|temperature| *temperature > 0.0).unwrap_or(1.0)
    }

    /// The filled canvas.
    pub(crate) fn into_outcome(self) -> Outcome {
        let reason = self.reason.unwrap_or(FinishReason::Cancelled);
        let Filling { request, canvas, statistics, .. } = self.filling;
        Outcome::new(canvas, &request.ends, reason, statistics)
    }

    /// The tracks that run.
    fn running(&self) -> impl Iterator<Item = &Track> {
        self.tracks.iter().filter(|track| track.is_running())
    }

    /// Lets each part begin that waited for one that is filled now.
    fn begin_due(&mut self, report: &mut Listener<'_>) -> ControlFlow<()> {
        let is_due = |tracks: &[Track], track: &Track| track.waits_for().is_some_and(|other| tracks[other].is_done());
        while let Some(due) = self.tracks.iter().position(|track| is_due(&self.tracks, track)) {
            self.tracks[due].enter(&self.filling, report)?;
        }
        ControlFlow::Continue(())
    }

    /// Cancels the request where the listener breaks, and ends it where nothing is left to fill.
    fn go_on(&mut self, flow: ControlFlow<()>, report: &mut Listener<'_>) {
        if flow.is_break() {
            return self.cancel(report);
        }
        if self.begin_due(report).is_break() {
            return self.cancel(report);
        }
        if self.running().next().is_some() {
            return;
        }
        let closes_last = |span: &Span| span.positions.clone().any(|position| self.filling.is_end(position));
        let reason = match self.filling.canvas.spans().last() {
            Some(span) if closes_last(span) => FinishReason::End,
            _ => FinishReason::Filled,
        };
        self.finish(reason, report);
    }

    fn finish(&mut self, reason: FinishReason, report: &mut Listener<'_>) {
        let Filling { request, canvas, statistics, .. } = &mut self.filling;
        // What was committed before counts for the request that wrote it.
        let written = |position: &&usize| request.canvas.is_open(**position);
        statistics.tokens = result_positions(canvas, &request.ends).iter().filter(written).count();
        self.reason = Some(reason);
        // Nothing is left to stop.
        let _ = report(DenoisingEvent::Finished { reason, statistics: *statistics });
    }
}

//! The state of one request while its canvas is filled. Everything that a request needs is here; policies, processes
//! and networks hold nothing of it, so any number of unlike requests share them.

mod step;

use crate::admission::Admission;
use crate::branch::{Branch, StepView};
use crate::confidence::Confidence;
use crate::event::{DenoisingEvent, FinishReason, Listener, Statistics};
use crate::forward_batch::{Answer, ForwardBatch};
use crate::guidance::branches;
use crate::limits::Demand;
use crate::model::Model;
use crate::proposal::Proposer;
use crate::request::{Outcome, result_positions};
use crate::speculation::Speculation;
use crate::visible::{is_end, visible};
use crate::{Cache, GenerateError, StopAt};
use aquatint_diffusion::{Canvas, Key, LengthEdits, PlannedStep, Stability, Time, TokenId, closed_by_end};
use aquatint_network::{KvCache, Query};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use step::Taken;

/// The purpose of the first noise among a request's draws.
const BEGIN: u64 = 0x0062_6567_696e;

/// The likeliest tokens of positions, with their probabilities.
type Likeliest = BTreeMap<usize, Vec<(TokenId, f64)>>;

/// What a step is about: its block, the positions of a draft in it, those that are predicted, and whether by a causal pass.
struct StepPlace {
    block: usize,
    draft: Option<Vec<usize>>,
    predicted: Vec<usize>,
    is_causal: bool,
}

/// A canvas as it stands at a step.
fn view<'s>(
    admission: &'s Admission,
    (canvas, key): (&'s Canvas, Key),
    place: &'s StepPlace,
    planned: &'s PlannedStep,
) -> StepView<'s> {
    let Admission { request, planned: plan, .. } = admission;
    StepView {
        canvas,
        end: request.end,
        key,
        block: place.block,
        positions: place.draft.as_deref().unwrap_or(&plan.blocks[place.block]),
        predicted: &place.predicted,
        planned,
        is_causal: place.is_causal,
        cache: plan.cache,
        lead: plan.lead,
        block_length: request.settings.block_length,
        cache_refresh: request.settings.cache_refresh,
    }
}

/// What one request needs between two steps.
pub(crate) struct RequestState {
    admission: Admission,
    key: Key,
    canvas: Canvas,
    /// Current block and step within it; a block past the last means done.
    block: usize,
    step: usize,
    /// Steps of the block that were reported.
    reported: usize,
    /// Whether the next step is the one in which the row before the block answers for its first position.
    opening: bool,
    /// Where its drafts stand, if it speculates.
    speculation: Option<Speculation>,
    /// Probability of each position's token when it was committed.
    certainty: Vec<f64>,
    stability: Option<Stability>,
    /// The insertions and deletions of the current block, where there may be any.
    lengths: Option<LengthEdits>,
    branches: Vec<Branch>,
    proposer: Proposer,
    /// How confidence is measured, where not as the device answers.
    confidence: Option<Confidence>,
    /// Whether whole rows are needed: for a second reading, for the next step, for joint draws, or for confidence.
    keeps_logits: bool,
    statistics: Statistics,
    reason: Option<FinishReason>,
}

impl RequestState {
    /// The canvas in pure noise.
    pub(crate) fn new(admission: Admission, model: &Model<'_>) -> Self {
        let (request, spec) = (&admission.request, model.spec());
        let key = Key::new(request.settings.seed);
        let mut canvas = request.canvas.clone();
        model.process.begin(&mut canvas, key.fold(BEGIN));
        let guided = request.settings.is_guided();
        let confidence = Confidence::of(&request.settings);
        Self {
            key,
            certainty: vec![0.0; canvas.len()],
            canvas,
            block: 0,
            step: 0,
            reported: 0,
            opening: false,
            speculation: Speculation::of(request, spec),
            stability: None,
            lengths: None,
            branches: branches(request),
            proposer: Proposer::new(request, model, key),
            keeps_logits: guided
                || spec.self_conditioning.is_some()
                || !request.constraints.is_empty()
                || confidence.is_some(),
            confidence,
            statistics: Statistics::default(),
            reason: None,
            admission,
        }
    }

    /// What it takes at most.
    pub(crate) fn demand(&self) -> Demand {
        self.admission.demand
    }

    /// Whether there is more to do.
    pub(crate) fn is_running(&self) -> bool {
        self.reason.is_none()
    }

    /// Whether the forward pass of this step reads its canvas: not where its block is full and only remasking is left.
    pub(crate) fn is_read(&self) -> bool {
        self.branches.iter().any(Branch::is_read)
    }

    /// Reports that the work begins and enters the first block.
    pub(crate) fn start(&mut self, report: &mut Listener<'_>) {
        let Admission { request, planned, .. } = &self.admission;
        let passes = (0..planned.blocks.len()).map(|block| planned.forward_passes_of(block, request));
        let forward_passes = passes.sum::<usize>() * self.branches.len();
        let flow = report(DenoisingEvent::Started { canvas: &self.canvas, forward_passes });
        let flow = if flow.is_continue() { self.enter(report) } else { flow };
        if flow.is_break() {
            self.cancel(report);
        }
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
        let (place, planned) = (self.place(), self.planned());
        let view = view(&self.admission, (&self.canvas, self.key), &place, &planned);
        self.statistics.rows_reused = self.branches[0].take_over(&view, model, find);
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
        let planned = &self.admission.planned;
        // Where blocks are counted from the hole, the same tokens are divided differently.
        planned.cache == Cache::Exact && planned.lead == 0 && self.branches.len() == 1 && reads_tokens
    }

    /// Adds what the network is to read for this step. A step that predicts nothing in its block reads nothing.
    pub(crate) fn read(&mut self, batch: &mut ForwardBatch, model: &Model<'_>) {
        let (place, planned) = (self.place(), self.planned());
        let likeliest = self.lengths.as_ref().map_or(0, LengthEdits::likeliest);
        self.proposer.begin_step(&self.canvas, &self.admission.request, likeliest);
        let view = view(&self.admission, (&self.canvas, self.key), &place, &planned);
        for branch in &mut self.branches {
            if place.predicted.is_empty() {
                branch.skip();
            } else {
                self.statistics.rows_read += branch.read(&view, batch, model);
                self.statistics.forward_passes += 1;
            }
        }
    }

    /// The queries for the rows that were added, in their order.
    pub(crate) fn queries<'s>(&'s self, model: &'s Model<'s>) -> impl Iterator<Item = Query<'s>> {
        let planned = self.planned();
        let positions = self.branches.iter().flat_map(|branch| branch.requested().iter().copied());
        positions.map(move |position| match self.keeps_logits {
            true => Query::WholeRow,
            false => self.proposer.query(&self.canvas, position, &planned, model),
        })
    }

    /// Takes the KV cache back after a forward pass.
    pub(crate) fn take_caches(&mut self, kv_caches: &mut [KvCache]) {
        self.branches.iter_mut().for_each(|branch| branch.take_cache(kv_caches));
    }

    /// Takes the answers of the whole forward pass, takes a step back in time, and goes on to the next one.
    pub(crate) fn advance(
        &mut self,
        answers: &mut [Answer],
        model: &Model<'_>,
        report: &mut Listener<'_>,
    ) -> Result<(), GenerateError> {
        let (block, index, planned) = (self.block, self.reported, self.planned());
        let mut predictions = self.propose(answers, &planned, model)?;
        let Taken { changes, alternatives, unedited } = self.take(&mut predictions, planned, model)?;
        let entropy = predictions.proposal.mean_entropy();
        let end = self.admission.request.end;
        let counts = usize::from(!self.opening && self.speculation.is_none());
        self.step += counts;
        self.reported += counts;
        self.opening = false;
        let is_full =
            self.admission.planned.ends_block[block] && self.block_open().is_empty() && self.is_edited(unedited);
        let at_once = self.speculation.is_some() || self.admission.request.settings.stepping.stop_at == StopAt::Step;
        let stops = at_once || is_full;
        let closed = end.filter(|_| stops).map_or_else(Vec::new, |end| closed_by_end(&self.canvas, end));
        for &position in &closed {
            self.canvas.close(position)?;
        }
        let vocabulary_size = model.spec().vocabulary_size;
        if let Some(conditioning) = model.spec().self_conditioning {
            let shaping = &self.admission.request.settings.shaping;
            let drawn = conditioning.is_sharpened().then(|| shaping.temperature_at(&planned));
            // At temperature 0 the draw has no prediction of its own: the network's is fed back.
            let temperature = drawn.filter(|temperature| *temperature > 0.0).unwrap_or(1.0);
            self.branches.iter_mut().for_each(|branch| branch.feed_back(answers, vocabulary_size, temperature));
        }

        let still_open = if self.speculation.is_some() { self.block_open().len() } else { 0 };
        self.speculation.iter_mut().for_each(|speculation| speculation.go_on(still_open));
        self.statistics.steps += 1;
        let open = self.canvas.open_positions().len();
        let mut flow = report(DenoisingEvent::Step {
            block,
            step: index,
            of: self.block_steps(),
            changes: &changes,
            alternatives: &alternatives,
            entropy,
            closed: &closed,
            open,
            forward_passes: self.statistics.forward_passes,
        });
        if flow.is_continue() && self.is_block_filled() {
            if self.is_edited(unedited) {
                flow = report(DenoisingEvent::BlockCommitted { block, of: self.admission.planned.blocks.len() });
                self.block += 1;
                if flow.is_continue() {
                    flow = self.enter(report);
                }
            } else {
                // A block that is full before its time goes on with the steps that only edit.
                self.step = self.step.max(self.fill_steps());
            }
        }
        if flow.is_break() && self.is_running() {
            self.cancel(report);
        }
        Ok(())
    }

    /// The filled canvas.
    pub(crate) fn into_outcome(self) -> Outcome {
        let reason = self.reason.unwrap_or(FinishReason::Cancelled);
        Outcome::new(self.canvas, self.admission.request.end, reason, self.statistics)
    }

    /// The step that comes next.
    fn planned(&self) -> PlannedStep {
        let plan = &self.admission.planned.plan.blocks()[self.block];
        let steps = plan.steps();
        let (number, from) = steps.first().map_or((0, Time::NOISE), |step| (step.number, step.from));
        let (index, of, open_after) = match self.speculation {
            Some(_) => {
                let of = self.admission.planned.forward_passes_of(self.block, &self.admission.request);
                (self.statistics.steps.min(of.saturating_sub(1)), of, 0)
            }
            // All that is proposed is committed: the one position that has an answer.
            None if self.opening => (0, 1, steps.len()),
            None => {
                return steps.get(self.step).copied().unwrap_or_else(|| plan.edits()[self.step - steps.len()]);
            }
        };
        PlannedStep {
            number,
            index,
            of,
            from,
            to: from,
            open_after,
            share: 1,
            staying: 1.0,
            sigma: 0.0,
            churn: None,
            leads: false,
        }
    }

    /// Enters the next block that has something open, or finishes.
    fn enter(&mut self, report: &mut Listener<'_>) -> ControlFlow<()> {
        let of = self.admission.planned.blocks.len();
        while self.block < of && self.block_open().is_empty() {
            self.block += 1;
        }
        if self.block == of {
            let closes_last = |span: &aquatint_diffusion::Span| span.positions.clone().any(|p| self.is_end(p));
            let reason = match self.canvas.spans().last() {
                Some(span) if closes_last(span) => FinishReason::End,
                _ => FinishReason::Filled,
            };
            self.finish(reason, report);
            return ControlFlow::Continue(());
        }
        (self.step, self.reported) = (0, 0);
        let open = self.block_open();
        let planned = &self.admission.planned;
        self.opening = planned.openings[self.block] && open.first() == planned.blocks[self.block].first();
        self.stability.clone_from(&self.admission.request.settings.stability);
        let positions = self.block_open();
        self.lengths = self.admission.planned.lengths.map(|_| LengthEdits::new(&positions));
        let (block, steps) = (self.block, self.block_steps());
        report(DenoisingEvent::BlockStarted { block, of, positions: &positions, steps })
    }

    fn finish(&mut self, reason: FinishReason, report: &mut Listener<'_>) {
        // What was committed before counts for the request that wrote it.
        let written = |position: &&usize| self.admission.request.canvas.is_open(**position);
        self.statistics.tokens =
            result_positions(&self.canvas, self.admission.request.end).iter().filter(written).count();
        self.reason = Some(reason);
        // Nothing is left to stop.
        let _ = report(DenoisingEvent::Finished { reason, statistics: self.statistics });
    }

    /// Steps of the current block that fill it, at most.
    fn fill_steps(&self) -> usize {
        self.admission.planned.plan.blocks()[self.block].steps().len()
    }

    /// Steps that the plan gives to the current block, at most.
    fn block_steps(&self) -> usize {
        match self.speculation {
            Some(_) => self.admission.planned.forward_passes_of(self.block, &self.admission.request),
            None => self.admission.planned.plan.blocks()[self.block].forwards(),
        }
    }

    /// Steps of the current block to come that only edit, at most.
    fn edits_left(&self) -> usize {
        let plan = &self.admission.planned.plan.blocks()[self.block];
        plan.edits().len() - self.step.saturating_sub(plan.steps().len())
    }

    /// Whether nothing of the current block is open and no later step would take anything back.
    fn is_block_filled(&self) -> bool {
        let steps = self.admission.planned.plan.blocks()[self.block].steps();
        let left = steps.get(self.step..).unwrap_or_default();
        let is_full = match &self.lengths {
            Some(lengths) => lengths.is_filled(&self.canvas),
            None => self.block_open().is_empty(),
        };
        left.is_empty() || is_full && left.iter().all(|step| step.sigma == 0.0)
    }

    /// Whether nothing of a full block is edited any more: the last step has shown it (`unedited`, see [`Taken`]), or no
    /// step is left, or no token may be replaced.
    fn is_edited(&self, unedited: bool) -> bool {
        unedited || self.edits_left() == 0 || self.editable().is_empty() && self.block_open().is_empty()
    }

    /// What this step is about.
    fn place(&self) -> StepPlace {
        let (block, predicted) = (self.block, self.predicted());
        let draft = self.speculation.map(|speculation| speculation.positions(&self.canvas, &self.block_open()));
        let is_causal = self.speculation.map_or(self.opening, Speculation::verifies);
        StepPlace { block, draft, predicted, is_causal }
    }

    /// The open positions that this step is about: of a step that leads or opens the block, the first one.
    fn step_open(&self) -> Vec<usize> {
        let mut open = self.block_open();
        if let Some(speculation) = self.speculation {
            return speculation.answered(&open).to_vec();
        }
        if self.opening || self.planned().leads {
            open.truncate(1);
        }
        open
    }

    /// The positions that this step predicts, ascending: those that are open, and those whose token may be edited.
    fn predicted(&self) -> Vec<usize> {
        let mut predicted = self.step_open();
        predicted.extend(self.editable());
        predicted.sort_unstable();
        predicted
    }

    /// The committed positions of the block whose token this step may replace: not those of constrained spans, and no end
    /// token that ended its span.
    fn editable(&self) -> Vec<usize> {
        let planned = &self.admission.planned;
        if self.admission.request.settings.editing.is_none() || self.opening || self.planned().leads {
            return Vec::new();
        }
        let end = self.admission.request.end;
        let is_read = |position: &usize| visible(&self.canvas, end).binary_search(position).is_ok();
        let has_ended =
            |position: usize| self.is_end(position) && (self.canvas.is_closed(position + 1) || !is_read(&position));
        let may = |position: &usize| {
            self.canvas.is_committed(*position) && !has_ended(*position) && !self.is_constrained(*position)
        };
        planned.blocks[self.block].iter().copied().filter(may).collect()
    }

    /// Whether a position is held to a constraint.
    fn is_constrained(&self, position: usize) -> bool {
        self.admission.planned.constrained.iter().any(|span| span.contains(position))
    }

    fn block_open(&self) -> Vec<usize> {
        let positions = self.admission.planned.blocks[self.block].iter().copied();
        positions.filter(|position| self.canvas.is_open(*position)).collect()
    }

    /// Whether a committed end token closes a span here.
    fn is_end(&self, position: usize) -> bool {
        is_end(&self.canvas, self.admission.request.end, position)
    }
}

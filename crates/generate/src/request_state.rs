//! The state of one request while its canvas is filled. Everything that a request needs is here; policies, processes
//! and networks hold nothing of it, so any number of unlike requests share them.

use crate::admission::Admission;
use crate::branch::{Branch, StepView};
use crate::confidence::Confidence;
use crate::constrained::ConstrainedRow;
use crate::event::{Change, ChangeKind, DenoisingEvent, FinishReason, Listener, Statistics};
use crate::forward_batch::{Answer, ForwardBatch};
use crate::guidance::{branches, guided};
use crate::limits::Demand;
use crate::model::Model;
use crate::proposal::{Proposed, Proposer, proposed};
use crate::request::{Outcome, result_positions};
use crate::speculation::Speculation;
use crate::visible::is_end;
use crate::{Cache, GenerateError, StopAt};
use aquatint_diffusion::{
    Canvas, Key, PlannedStep, Proposal, ReverseStep, Stability, StepChanges, Time, TokenId, closed_by_end,
};
use aquatint_network::{KvCache, Query, answer_row};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// The purpose of the first noise among a request's draws.
const BEGIN: u64 = 0x0062_6567_696e;

/// The likeliest tokens of positions, with their probabilities.
type Likeliest = BTreeMap<usize, Vec<(TokenId, f64)>>;

/// What a step is about: its block, the positions of a draft in it, those that are answered, and whether by a causal pass.
struct StepPlace {
    block: usize,
    draft: Option<Vec<usize>>,
    open: Vec<usize>,
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
        open: &place.open,
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
    /// Whether the next step is the one in which the row before the block answers for its first position.
    opening: bool,
    /// Where its drafts stand, if it speculates.
    speculation: Option<Speculation>,
    /// Probability of each position's token when it was committed.
    certainty: Vec<f64>,
    stability: Option<Stability>,
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
            opening: false,
            speculation: Speculation::of(request, spec),
            stability: None,
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

    /// Adds what the network is to read for this step. A step without an open position in its block reads nothing.
    pub(crate) fn read(&mut self, batch: &mut ForwardBatch, model: &Model<'_>) {
        let (place, planned) = (self.place(), self.planned());
        self.proposer.begin_step(&self.canvas, &self.admission.request);
        let view = view(&self.admission, (&self.canvas, self.key), &place, &planned);
        for branch in &mut self.branches {
            if place.open.is_empty() {
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
        let (block, index, planned) = (self.block, self.step, self.planned());
        let (proposal, mut likeliest) = self.propose(answers, &planned, model)?;
        let certain: Vec<(usize, f64)> = self.admission.planned.blocks[block]
            .iter()
            .filter(|position| self.canvas.is_committed(**position) && !self.is_end(**position))
            .map(|position| (*position, self.certainty[*position]))
            .collect();
        let settings = &self.admission.request.settings;
        let step = ReverseStep {
            process: model.process,
            policy: self.admission.planned.policy.as_ref(),
            remasking: &settings.remasking,
            vectors: model.vectors,
            planned,
            key: self.key,
            settled: self.stability.as_mut().is_some_and(|stability| stability.settled(&proposal)),
            revise: settings.revise,
            // Tokens that a constraint draws together are written together.
            commit_likeliest: settings.commit_likeliest && self.admission.planned.constrained.is_empty(),
        };
        let changed = match self.speculation {
            None => step.take(&mut self.canvas, &proposal, &certain)?,
            Some(speculation) => speculation.take(&mut self.canvas, &proposal, model.process, self.key)?,
        };
        let changes = self.changes(&changed, &proposal);
        let alternatives = match self.admission.request.alternatives {
            0 => Vec::new(),
            _ => changes.iter().map(|change| likeliest.remove(&change.position).unwrap_or_default()).collect(),
        };
        let entropy = proposal.mean_entropy();
        let end = self.admission.request.end;
        let is_full = self.admission.planned.ends_block[block] && self.block_open().is_empty();
        let at_once = self.speculation.is_some() || self.admission.request.settings.stepping.stop_at == StopAt::Step;
        let stops = at_once || is_full;
        let closed = end.filter(|_| stops).map_or_else(Vec::new, |end| closed_by_end(&self.canvas, end));
        for &position in &closed {
            self.canvas.close(position)?;
        }
        let vocabulary_size = model.spec().vocabulary_size;
        if let Some(conditioning) = model.spec().self_conditioning {
            let temperature = match conditioning.is_sharpened() {
                true => Some(self.admission.request.settings.shaping.temperature_at(&planned))
                    .filter(|temperature| *temperature > 0.0),
                false => None,
            };
            let temperature = temperature.unwrap_or(1.0);
            self.branches.iter_mut().for_each(|branch| branch.feed_back(answers, vocabulary_size, temperature));
        }

        let speculates = self.speculation.is_some();
        let still_open = if speculates { self.block_open().len() } else { 0 };
        self.speculation.iter_mut().for_each(|speculation| speculation.go_on(still_open));
        self.step += usize::from(!self.opening && !speculates);
        self.opening = false;
        self.statistics.steps += 1;
        let open = self.canvas.open_positions().len();
        let mut flow = report(DenoisingEvent::Step {
            block,
            step: index,
            of: planned.of,
            changes: &changes,
            alternatives: &alternatives,
            entropy,
            closed: &closed,
            open,
            forward_passes: self.statistics.forward_passes,
        });
        if flow.is_continue() && self.is_block_done() {
            flow = report(DenoisingEvent::BlockCommitted { block, of: self.admission.planned.blocks.len() });
            self.block += 1;
            if flow.is_continue() {
                flow = self.enter(report);
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
        let steps = self.admission.planned.plan.blocks()[self.block].steps();
        let (number, from) = steps.first().map_or((0, Time::NOISE), |step| (step.number, step.from));
        let (index, of, open_after) = match self.speculation {
            Some(_) => {
                let of = self.admission.planned.forward_passes_of(self.block, &self.admission.request);
                (self.statistics.steps.min(of.saturating_sub(1)), of, 0)
            }
            // All that is proposed is committed: the one position that has an answer.
            None if self.opening => (0, 1, steps.len()),
            None => return steps[self.step],
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
        self.step = 0;
        let open = self.block_open();
        let planned = &self.admission.planned;
        self.opening = planned.openings[self.block] && open.first() == planned.blocks[self.block].first();
        self.stability.clone_from(&self.admission.request.settings.stability);
        let positions = self.block_open();
        let planned = &self.admission.planned;
        let (block, steps) = match self.speculation {
            Some(_) => (self.block, planned.forward_passes_of(self.block, &self.admission.request)),
            None => (self.block, planned.plan.blocks()[self.block].steps().len()),
        };
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

    /// A block is done when nothing of it is open and no later step would take anything back.
    fn is_block_done(&self) -> bool {
        let left = &self.admission.planned.plan.blocks()[self.block].steps()[self.step..];
        left.is_empty() || self.block_open().is_empty() && left.iter().all(|step| step.sigma == 0.0)
    }

    /// What this step is about.
    fn place(&self) -> StepPlace {
        let (block, open) = (self.block, self.step_open());
        let draft = self.speculation.map(|speculation| speculation.positions(&self.canvas, &self.block_open()));
        let is_causal = self.speculation.map_or(self.opening, Speculation::verifies);
        StepPlace { block, draft, open, is_causal }
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

    fn block_open(&self) -> Vec<usize> {
        let positions = self.admission.planned.blocks[self.block].iter().copied();
        positions.filter(|position| self.canvas.is_open(*position)).collect()
    }

    /// Whether a committed end token closes a span here.
    fn is_end(&self, position: usize) -> bool {
        is_end(&self.canvas, self.admission.request.end, position)
    }

    /// A candidate for each open position of the block, and the likeliest tokens of each where the request reports them.
    fn propose(
        &mut self,
        answers: &[Answer],
        planned: &PlannedStep,
        model: &Model<'_>,
    ) -> Result<(Proposal, Likeliest), GenerateError> {
        let (mut proposal, mut rows, mut likeliest) = (Proposal::new(), Vec::new(), Likeliest::new());
        let mut whole: BTreeMap<usize, Vec<f32>> = BTreeMap::new();
        let is_constrained = |position| self.admission.planned.constrained.iter().any(|span| span.contains(position));
        for position in self.step_open() {
            let mut of = self.branches.iter().map(|branch| branch.answer(answers, position));
            let answer = match (of.next().flatten(), of.next().flatten()) {
                (Some(Answer::Row(answer)), _) => answer.clone(),
                (Some(Answer::Logits(conditional)), unconditional) => {
                    let scale = self.admission.request.settings.guidance_scale;
                    let unconditional = unconditional.and_then(Answer::logits);
                    let mut logits = guided(conditional, unconditional, scale);
                    if self.confidence.is_some() {
                        whole.insert(position, logits.clone());
                    }
                    if is_constrained(position) {
                        let draw = self.proposer.row_draw(&self.canvas, position, planned, model);
                        rows.push(ConstrainedRow::new(position, logits.clone(), &draw, model.process)?);
                    }
                    let query = self.proposer.query(&self.canvas, position, planned, model);
                    answer_row(query, &mut logits, model.vectors)
                }
                (None, _) => return Err(GenerateError::OtherAnswer { position }),
            };
            let Proposed { mut candidate, expected, alternatives } = proposed(position, answer, model.process)?;
            if let (Some(confidence), Some(row)) = (&self.confidence, whole.get(&position)) {
                let draw = self.proposer.row_draw(&self.canvas, position, planned, model);
                candidate = confidence.measure(candidate, &mut row.clone(), &draw);
            }
            proposal.insert_expecting(position, candidate, expected);
            if !alternatives.is_empty() {
                likeliest.insert(position, alternatives);
            }
        }
        for span in &mut self.admission.planned.constrained {
            for (position, mut candidate) in span.draw(&self.canvas, &rows)? {
                if let (Some(confidence), Some(row)) = (&self.confidence, whole.get_mut(&position)) {
                    let draw = self.proposer.row_draw(&self.canvas, position, planned, model);
                    candidate = confidence.measure(candidate, row, &draw);
                }
                let expected = proposal.expected(position).to_vec();
                proposal.insert_expecting(position, candidate, expected);
            }
        }
        Ok((proposal, likeliest))
    }

    /// What a step changed, by ascending position, and stores how certain the committed tokens are.
    fn changes(&mut self, changed: &StepChanges, proposal: &Proposal) -> Vec<Change> {
        let confidence = |position: usize| proposal.candidate(position).map_or(0.0, |candidate| candidate.probability);
        for &position in &changed.committed {
            self.certainty[position] = confidence(position);
        }
        let change = |position: usize, kind: ChangeKind, confidence: f64| Change {
            position,
            token: self.canvas.tokens()[position],
            confidence,
            kind,
        };
        let committed = changed.committed.iter().map(|&p| change(p, ChangeKind::Committed, confidence(p)));
        let refined = changed.refined.iter().map(|&p| change(p, ChangeKind::Refined, confidence(p)));
        let renoised = changed.renoised.iter().map(|&p| change(p, ChangeKind::Renoised, self.certainty[p]));
        let mut changes: Vec<Change> = committed.chain(refined).chain(renoised).collect();
        changes.sort_by_key(|change| change.position);
        changes
    }
}

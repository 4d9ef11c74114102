//! The state of one request while its canvas is filled. Everything that a request needs is here; policies, processes
//! and networks hold nothing of it, so any number of unlike requests share them.

use crate::cache::{CacheQuery, CacheState};
use crate::event::{Change, ChangeKind, DenoisingEvent, FinishReason, Statistics};
use crate::forward_batch::{ForwardBatch, SequenceInput};
use crate::request::{Outcome, Request, may_end};
use crate::{Cache, GenerateError, previous_prediction::PreviousPrediction};
use aquatint_compute::{RowSummary, softmax_row, summarise};
use aquatint_diffusion::{
    Candidate, Canvas, CommitPolicy, Key, Kind, Layout, PlanSettings, Process, Proposal, ProposalError, ReverseStep,
    SettingError, Stability, StepPlan, TokenId, Vectors, closed_by_end, guide, propose_from_summary,
};
use aquatint_network::{KvCache, NetworkSpec};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// Purposes of a request's draws, so that no two of them share their bits.
const BEGIN: u64 = 0x0062_6567_696e;
const PROPOSE: u64 = 0x7072_6f70;
const HIDE: u64 = 0x6869_6465;

/// What one request needs between two steps.
pub(crate) struct DecodeState<'r> {
    request: &'r Request,
    key: Key,
    canvas: Canvas,
    /// Tokens never proposed: in exact spans, and in those that an end token may close.
    forbidden: [Vec<TokenId>; 2],
    /// The positions of each block.
    blocks: Vec<Vec<usize>>,
    plan: StepPlan,
    policy: Arc<dyn CommitPolicy>,
    /// Current block and step within it; a block past the last means done.
    block: usize,
    step: usize,
    /// Probability of each position's token when it was committed.
    certainty: Vec<f64>,
    stability: Option<Stability>,
    /// The conditional branch, and the unconditional one where the request is guided.
    branches: Vec<Branch>,
    vocabulary_size: usize,
    cache: Cache,
    /// Whether a row's logits are needed again after they were looked at.
    keeps_logits: bool,
    /// Tokens that the repetition penalty is for in this step.
    repeated: Vec<TokenId>,
    statistics: Statistics,
    reason: Option<FinishReason>,
}

/// What was seen of one row's logits.
pub(crate) enum RowResult {
    /// What is proposed for its position, and the word vector expected there.
    Candidate(Result<Candidate, ProposalError>, Vec<f32>),
    /// The logits themselves, where a second reading or the next step needs them.
    Logits(Vec<f32>),
}

/// One reading of the canvas at each step: as it is, or with what is given hidden.
#[derive(Default)]
struct Branch {
    hides_given: bool,
    /// The last belief, for networks with self-conditioning.
    belief: Option<PreviousPrediction>,
    /// Canvas positions whose logits were asked for in this step, ascending.
    asked: Vec<usize>,
    /// What is remembered of the canvas, where something is, and its number in the forward pass of this step.
    remembered: CacheState,
    sequence: Option<usize>,
    /// Where the branch's logits lie among those of the whole forward pass, in rows.
    rows: Range<usize>,
}

impl<'r> DecodeState<'r> {
    /// Checks a request against the network and plans its steps.
    pub(crate) fn new(request: &'r Request, spec: &NetworkSpec, process: &dyn Process) -> Result<Self, GenerateError> {
        let settings = &request.settings;
        let mut canvas = request.canvas.clone();
        check(&canvas, spec)?;
        let cache = settings.cache.unwrap_or_else(|| Cache::of(spec));
        cache.check(spec)?;
        let key = Key::new(settings.seed);
        process.begin(&mut canvas, key.fold(BEGIN));
        let open = canvas.open_positions();
        let blocks = divide(&open, settings.block_length, spec.attention)?;
        let sizes: Vec<usize> = blocks.iter().map(Vec::len).collect();
        if !process.revises() && (settings.correctors > 0 || settings.revise || settings.churn.is_some()) {
            return Err(GenerateError::Setting(SettingError {
                parameter: "churn, correctors and revise",
                given: "set".to_owned(),
                allowed: format!("nothing, since the process {} leaves open positions as they are", process.name()),
                hint: Some("remasking takes back what is committed".to_owned()),
            }));
        }
        let policy = match &settings.policy {
            Some(policy) => Arc::clone(policy),
            None => process.policy(),
        };
        let pace = PlanSettings {
            steps: settings.steps,
            schedule: process.schedule(),
            policy: policy.as_ref(),
            remasking: &settings.remasking,
            grid: &settings.grid,
            correctors: settings.correctors,
            churn: settings.churn,
        };
        let plan = StepPlan::with_settings(&sizes, &pace)?;
        let mut closable: Vec<TokenId> = process.noise_tokens().to_vec();
        closable.extend(request.forbidden.iter().copied().filter(|token| Some(*token) != request.end));
        let mut exact = closable.clone();
        exact.extend(request.end);
        let guided = Branch { hides_given: true, ..Branch::default() };
        let branches = std::iter::once(Branch::default()).chain(settings.is_guided().then_some(guided)).collect();
        Ok(Self {
            request,
            key,
            certainty: vec![0.0; canvas.len()],
            canvas,
            forbidden: [exact, closable],
            blocks,
            plan,
            policy,
            block: 0,
            step: 0,
            stability: None,
            branches,
            vocabulary_size: spec.vocabulary_size,
            cache,
            keeps_logits: settings.is_guided() || spec.self_conditioning,
            repeated: Vec::new(),
            statistics: Statistics::default(),
            reason: None,
        })
    }

    /// Whether there is more to do.
    pub(crate) fn is_running(&self) -> bool {
        self.reason.is_none()
    }

    /// Tells that the work begins and enters the first block.
    pub(crate) fn start(&mut self, tell: &mut dyn FnMut(DenoisingEvent<'_>) -> ControlFlow<()>) {
        let forward_passes = self.plan.total_forwards() * self.branches.len();
        let flow = tell(DenoisingEvent::Started { canvas: &self.canvas, forward_passes });
        let flow = if flow.is_continue() { self.enter(tell) } else { flow };
        if flow.is_break() {
            self.finish(FinishReason::Cancelled, tell);
        }
    }

    /// Adds what the network is to read for this step. A step without an open position in its block reads nothing.
    pub(crate) fn read(&mut self, batch: &mut ForwardBatch, spec: &NetworkSpec, process: &dyn Process) {
        let block_open = self.block_open();
        let planned = self.plan.blocks()[self.block].steps()[self.step];
        if self.request.settings.shaping.repetition_penalty != 1.0 {
            let known = |position: &usize| !self.canvas.is_open(*position);
            let known = visible(&self.canvas, self.request.end).into_iter().filter(known);
            self.repeated = known.map(|position| self.canvas.tokens()[position]).collect();
        }
        for branch in &mut self.branches {
            branch.rows = batch.asked()..batch.asked();
            branch.sequence = None;
            branch.asked.clear();
            if block_open.is_empty() {
                continue;
            }
            let shown = process.network_input(&self.canvas, branch.hides_given, planned.number, self.key.fold(HIDE));
            let points = &shown.points;
            let shown = &shown.tokens;
            let visible = window(visible(&self.canvas, self.request.end), &self.blocks[self.block], spec);
            let is_noise = |position: usize| {
                self.canvas.is_open(position) || branch.hides_given && self.canvas.kind(position) == Some(Kind::Given)
            };
            // The belief that is fed back covers every noisy position that the current block sees, not only those that
            // this step may fill.
            branch.asked = if spec.self_conditioning {
                let end = match spec.attention {
                    Layout::Block { .. } => self.blocks[self.block].last().map_or(0, |last| last + 1),
                    _ => self.canvas.len(),
                };
                let is_asked = |position: &usize| *position < end && is_noise(*position);
                visible.iter().copied().filter(is_asked).collect()
            } else {
                block_open.clone()
            };
            let noisy = visible.iter().filter(|position| is_noise(**position)).count();
            let tokens: Vec<TokenId> = visible.iter().map(|position| shown[*position]).collect();
            let is_asked = |(_, position): &(u32, &usize)| branch.asked.binary_search(position).is_ok();
            let asked: Vec<u32> = (0..).zip(&visible).filter(is_asked).map(|(row, _)| row).collect();
            let known = |position: usize| (!is_noise(position)).then(|| shown[position]);
            let belief = branch.belief.as_ref().map(|belief| belief.rows(&visible, known, spec.is_sure_of_known()));
            let time = process.network_time(planned.from, noisy, visible.len());
            let points = points.as_ref().map(|points| points.of(&visible));
            let rows_to_compute = (self.cache != Cache::None).then(|| {
                let (block, positions, asked) =
                    (self.block, self.blocks[self.block].as_slice(), branch.asked.as_slice());
                let is_final: Vec<bool> = visible.iter().map(|position| !is_noise(*position)).collect();
                let look =
                    CacheQuery { visible: &visible, tokens: &tokens, is_final: &is_final, block, positions, asked };
                branch.remembered.rows_to_compute(
                    self.cache,
                    self.request.settings.cache_refresh,
                    spec.attention,
                    &look,
                )
            });
            let page = SequenceInput {
                tokens: &tokens,
                points: points.as_ref(),
                time,
                self_conditioning: belief.as_deref(),
                asked: &asked,
                rows_to_compute: rows_to_compute.as_deref(),
            };
            branch.sequence = Some(batch.push(&page, std::mem::take(&mut branch.remembered.kv_cache), spec));
            branch.rows.end = batch.asked();
            self.statistics.rows_read += rows_to_compute.as_ref().map_or(visible.len(), Vec::len);
            self.statistics.forward_passes += 1;
        }
    }

    /// Takes back what is remembered after a forward pass.
    pub(crate) fn remember(&mut self, kv_caches: &mut [KvCache]) {
        for branch in self.branches.iter_mut().filter(|_| self.cache != Cache::None) {
            if let Some(kv_cache) = branch.sequence.and_then(|sequence| kv_caches.get_mut(sequence)) {
                branch.remembered.kv_cache = std::mem::take(kv_cache);
            }
        }
    }

    /// Looks at the logits of a row of the whole forward pass while they are there, if the row is this request's.
    pub(crate) fn process_row(
        &self,
        row: usize,
        logits: &mut [f32],
        process: &dyn Process,
        vectors: Vectors<'_>,
    ) -> Option<RowResult> {
        // A row of another length is no answer.
        let fits = self.is_running() && logits.len() == self.vocabulary_size;
        let branch = self.branches.iter().find(|branch| fits && branch.rows.contains(&row))?;
        if self.keeps_logits {
            return Some(RowResult::Logits(logits.to_vec()));
        }
        let position = branch.asked[row - branch.rows.start];
        let (candidate, expected) = self.candidate(position, logits, process, vectors);
        Some(RowResult::Candidate(candidate, expected))
    }

    /// Takes what was seen of the whole forward pass, commits what the policy chooses, and goes on to the next step.
    pub(crate) fn advance(
        &mut self,
        seen: &mut [Option<RowResult>],
        spec: &NetworkSpec,
        process: &dyn Process,
        vectors: Vectors<'_>,
        tell: &mut dyn FnMut(DenoisingEvent<'_>) -> ControlFlow<()>,
    ) -> Result<(), GenerateError> {
        let (block, index) = (self.block, self.step);
        let planned = self.plan.blocks()[block].steps()[index];
        let open = self.block_open();
        let proposal = self.propose(seen, &open, process, vectors)?;
        let committed: Vec<(usize, f64)> = self.blocks[block]
            .iter()
            .filter(|position| self.canvas.is_committed(**position) && !self.is_end(**position))
            .map(|position| (*position, self.certainty[*position]))
            .collect();
        let settings = &self.request.settings;
        let step = ReverseStep {
            process,
            policy: self.policy.as_ref(),
            remasking: &settings.remasking,
            vectors,
            planned,
            key: self.key,
            settled: self.stability.as_mut().is_some_and(|stability| stability.settled(&proposal)),
            revise: settings.revise,
        };
        let changed = step.take(&mut self.canvas, &proposal, &committed)?;
        let certainty = |position: usize| proposal.candidate(position).map_or(0.0, |candidate| candidate.probability);
        for &position in &changed.committed {
            self.certainty[position] = certainty(position);
        }
        let change = |position: usize, kind: ChangeKind, confidence: f64| Change {
            position,
            token: self.canvas.tokens()[position],
            confidence,
            kind,
        };
        let (committed, refined) = (changed.committed.into_iter(), changed.refined.into_iter());
        let mut changes: Vec<Change> = committed
            .map(|position| change(position, ChangeKind::Committed, certainty(position)))
            .chain(refined.map(|position| change(position, ChangeKind::Refined, certainty(position))))
            .collect();
        let renoised = changed.renoised.into_iter();
        changes.extend(renoised.map(|position| change(position, ChangeKind::Renoised, self.certainty[position])));
        changes.sort_by_key(|change| change.position);
        let closed = self.request.end.map_or_else(Vec::new, |end| closed_by_end(&self.canvas, end));
        for &position in &closed {
            self.canvas.close(position)?;
        }
        self.feed_back(seen, spec);

        self.step += 1;
        self.statistics.steps += 1;
        let open = self.canvas.open_positions().len();
        let of = planned.of;
        let mut flow = tell(DenoisingEvent::Step { block, step: index, of, changes: &changes, closed: &closed, open });
        if flow.is_continue() && self.is_block_done() {
            flow = tell(DenoisingEvent::BlockCommitted { block, of: self.blocks.len() });
            self.block += 1;
            if flow.is_continue() {
                flow = self.enter(tell);
            }
        }
        if flow.is_break() && self.is_running() {
            self.finish(FinishReason::Cancelled, tell);
        }
        Ok(())
    }

    /// The filled canvas.
    pub(crate) fn into_outcome(self) -> Outcome {
        let reason = self.reason.unwrap_or(FinishReason::Cancelled);
        Outcome::new(self.canvas, self.request.end, reason, self.statistics)
    }

    /// Enters the next block that has something open, or finishes.
    fn enter(&mut self, tell: &mut dyn FnMut(DenoisingEvent<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        while self.block < self.blocks.len() && self.block_open().is_empty() {
            self.block += 1;
        }
        if self.block == self.blocks.len() {
            let closes_last = |span: &aquatint_diffusion::Span| span.positions.clone().any(|p| self.is_end(p));
            let reason = match self.canvas.spans().last() {
                Some(span) if closes_last(span) => FinishReason::End,
                _ => FinishReason::Filled,
            };
            self.finish(reason, tell);
            return ControlFlow::Continue(());
        }
        self.step = 0;
        self.stability.clone_from(&self.request.settings.stability);
        let positions = self.block_open();
        let steps = self.plan.blocks()[self.block].steps().len();
        let (block, of) = (self.block, self.blocks.len());
        tell(DenoisingEvent::BlockStarted { block, of, positions: &positions, steps })
    }

    fn finish(&mut self, reason: FinishReason, tell: &mut dyn FnMut(DenoisingEvent<'_>) -> ControlFlow<()>) {
        let written = |position: &&usize| self.canvas.kind(**position) == Some(Kind::Open);
        self.statistics.tokens = crate::request::kept(&self.canvas, self.request.end).iter().filter(written).count();
        self.reason = Some(reason);
        // Nothing is left to stop.
        let _ = tell(DenoisingEvent::Finished { reason, statistics: self.statistics });
    }

    /// A block is done when nothing of it is open and no later step would take anything back.
    fn is_block_done(&self) -> bool {
        let left = &self.plan.blocks()[self.block].steps()[self.step..];
        left.is_empty() || self.block_open().is_empty() && left.iter().all(|step| step.sigma == 0.0)
    }

    fn block_open(&self) -> Vec<usize> {
        self.blocks[self.block].iter().copied().filter(|position| self.canvas.is_open(*position)).collect()
    }

    /// Whether a committed end token closes a span here.
    fn is_end(&self, position: usize) -> bool {
        is_end(&self.canvas, self.request.end, position)
    }

    fn propose(
        &self,
        seen: &[Option<RowResult>],
        open: &[usize],
        process: &dyn Process,
        vectors: Vectors<'_>,
    ) -> Result<Proposal, GenerateError> {
        let mut proposal = Proposal::new();
        let given = seen.iter().filter(|seen| seen.is_some()).count();
        let missing = || GenerateError::Logits { given, expected: seen.len() };
        let look = |branch: &Branch, position: usize| {
            let row = branch.rows.start + branch.asked.binary_search(&position).ok()?;
            seen.get(row)?.as_ref()
        };
        for &position in open {
            let (candidate, expected) = match look(&self.branches[0], position).ok_or_else(missing)? {
                RowResult::Candidate(candidate, expected) => (*candidate, expected.clone()),
                RowResult::Logits(conditional) => {
                    let mut logits = conditional.clone();
                    if let Some(branch) = self.branches.get(1) {
                        let Some(RowResult::Logits(unconditional)) = look(branch, position) else {
                            return Err(missing());
                        };
                        guide(conditional, unconditional, self.request.settings.guidance_scale, &mut logits);
                    }
                    self.candidate(position, &mut logits, process, vectors)
                }
            };
            let candidate = candidate.map_err(|source| GenerateError::Proposal { position, source })?;
            proposal.insert_expecting(position, candidate, expected);
        }
        Ok(proposal)
    }

    /// What is proposed for a position, and the word vector that is expected there, where there are word vectors.
    fn candidate(
        &self,
        position: usize,
        logits: &mut [f32],
        process: &dyn Process,
        vectors: Vectors<'_>,
    ) -> (Result<Candidate, ProposalError>, Vec<f32>) {
        let planned = self.plan.blocks()[self.block].steps()[self.step];
        process.posterior_logits(self.canvas.tokens()[position], planned.from, logits);
        let candidate = self.drawn(position, logits);
        let mut expected = Vec::new();
        if let (Ok(candidate), true) = (&candidate, vectors.size > 0) {
            // A field is sharpened by the same temperature as a draw.
            let temperature = self.request.settings.shaping.temperature as f32;
            if temperature == 0.0 {
                expected = vectors.of(candidate.likeliest).to_vec();
            } else {
                logits.iter_mut().for_each(|logit| *logit /= temperature);
                softmax_row(logits);
                expected = vectors.expected(logits);
            }
        }
        (candidate, expected)
    }

    /// Proposes a token for a position; tokens that are not allowed there lose their logits.
    fn drawn(&self, position: usize, logits: &mut [f32]) -> Result<Candidate, ProposalError> {
        for &token in &self.forbidden[usize::from(may_end(&self.canvas, position))] {
            if let Some(logit) = logits.get_mut(token as usize) {
                // What is not allowed may be anything that a sound network says.
                if logit.is_nan() || *logit == f32::INFINITY {
                    return Err(ProposalError::NotANumber { token });
                }
                *logit = f32::NEG_INFINITY;
            }
        }
        let summary = summarise(logits);
        if let Some(token) = summary.broken {
            return Err(ProposalError::NotANumber { token: token as TokenId });
        }
        let likeliest = summary.likeliest.ok_or(ProposalError::NothingAllowed)?;
        let RowSummary { log_sum_exp, entropy, margin, .. } = summary;
        let belief = aquatint_diffusion::LogitsSummary { likeliest, log_sum_exp, entropy, margin };
        let number = self.plan.blocks()[self.block].steps()[self.step].number;
        let mut draws = self.key.fold(PROPOSE).at(position as u64, number);
        propose_from_summary(&belief, logits, &self.request.settings.shaping, &self.repeated, &mut draws)
    }

    /// Keeps each branch's belief for the next step, where the network wants it.
    fn feed_back(&mut self, seen: &mut [Option<RowResult>], spec: &NetworkSpec) {
        if !spec.self_conditioning {
            return;
        }
        for branch in self.branches.iter_mut().filter(|branch| !branch.asked.is_empty()) {
            let rows = seen[branch.rows.clone()].iter_mut().map(Option::take);
            let kept = rows.flat_map(|seen| match seen {
                Some(RowResult::Logits(logits)) => logits,
                _ => Vec::new(),
            });
            branch.belief = Some(PreviousPrediction::new(branch.asked.clone(), kept.collect(), spec.vocabulary_size));
        }
    }
}

/// Whether the network can take this canvas.
fn check(canvas: &Canvas, spec: &NetworkSpec) -> Result<(), GenerateError> {
    if spec.attention == Layout::Causal {
        return Err(GenerateError::Causal);
    }
    let length = (0..canvas.len()).filter(|p| canvas.kind(*p) != Some(Kind::Padding)).count();
    let given: Vec<usize> = (0..canvas.len()).filter(|p| canvas.kind(*p) == Some(Kind::Given)).collect();
    // Blocks see only what came before them, so that the network may look at the last of it alone.
    let slides = matches!(spec.attention, Layout::Block { length } if length <= spec.context_length);
    if length > spec.context_length && !slides {
        let context_length = spec.context_length;
        return Err(GenerateError::TooLong { length, given: given.len(), context_length });
    }
    if canvas.open_positions().is_empty() {
        return Err(GenerateError::NothingOpen);
    }
    match given.into_iter().find(|position| canvas.tokens()[*position] as usize >= spec.vocabulary_size) {
        Some(position) => Err(GenerateError::ForeignToken {
            position,
            token: canvas.tokens()[position],
            vocabulary_size: spec.vocabulary_size,
        }),
        None => Ok(()),
    }
}

/// The open positions of each block: those of the settings where every position sees all others, those of the layout
/// where blocks are what the network was trained on.
fn divide(open: &[usize], block_length: Option<usize>, layout: Layout) -> Result<Vec<Vec<usize>>, GenerateError> {
    let Layout::Block { length } = layout else {
        return Ok(StepPlan::divide(open, block_length)?.into_iter().map(<[usize]>::to_vec).collect());
    };
    if let Some(given) = block_length.filter(|given| *given != length) {
        return Err(GenerateError::Setting(SettingError {
            parameter: "block_length",
            given: given.to_string(),
            allowed: length.to_string(),
            hint: Some("the network was trained on blocks of this length; leave it out".to_owned()),
        }));
    }
    Ok(open.chunk_by(|a, b| a / length.max(1) == b / length.max(1)).map(<[usize]>::to_vec).collect())
}

/// The positions that the network reads, ascending: all but padding, what fell away behind an end token, and an end
/// token that has text after it, which no network has seen in the middle of a text.
fn visible(canvas: &Canvas, end: Option<TokenId>) -> Vec<usize> {
    let mut counts: Vec<usize> = (0..canvas.len())
        .filter(|position| canvas.kind(*position) != Some(Kind::Padding) && !canvas.is_closed(*position))
        .collect();
    let last = counts.last().copied();
    let followed = |position: usize| {
        // Only an end that has closed its span is sure to stay one; before that it may stand between open positions.
        let span = canvas.spans().iter().find(|span| span.positions.contains(&position));
        span.is_some_and(|span| (position + 1..span.positions.end).all(|p| canvas.is_closed(p)))
            && Some(position) != last
    };
    counts.retain(|position| !(is_end(canvas, end, *position) && followed(*position)));
    counts
}

/// The part of the visible positions that the network can read, around the last of a block: all of them where they fit, else
/// a stretch that begins at the beginning of a block. It moves by half of what the network can read, so that what is
/// remembered of it serves many blocks.
fn window(visible: Vec<usize>, block: &[usize], spec: &NetworkSpec) -> Vec<usize> {
    let Layout::Block { length } = spec.attention else { return visible };
    if visible.len() <= spec.context_length {
        return visible;
    }
    let last = block.last().copied().unwrap_or(0);
    // Of the block in which the last position lies, all.
    let end = visible.partition_point(|position| *position <= last).next_multiple_of(length);
    let hop = (spec.context_length / 2 / length).max(1) * length;
    let start = end.saturating_sub(spec.context_length).next_multiple_of(hop).min(end.saturating_sub(length));
    let stop = (start + spec.context_length).min(visible.len());
    visible[start..stop].to_vec()
}

fn is_end(canvas: &Canvas, end: Option<TokenId>, position: usize) -> bool {
    canvas.is_committed(position) && Some(canvas.tokens()[position]) == end && may_end(canvas, position)
}

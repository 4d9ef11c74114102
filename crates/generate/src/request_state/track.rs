//! A track: the positions of a request that are filled by one plan, and how far it has come.

use super::filling::Filling;
use super::step::Taken;
use crate::admission::TrackPlan;
use crate::branch::Branch;
use crate::confidence::Confidence;
use crate::event::{DenoisingEvent, Listener};
use crate::forward_batch::Answer;
use crate::model::Model;
use crate::part::PartOf;
use crate::proposal::Proposer;
use crate::speculation::Speculation;
use crate::visible::visible;
use crate::{GenerateError, Settings, StopAt};
use aquatint_diffusion::{Key, LengthEdits, PlannedStep, Stability, Time, closed_by_end};
use aquatint_network::Query;
use std::ops::{ControlFlow, Range};

/// What a step of a track is about: the positions of its block or of a draft in it, those that are predicted, and whether by
/// a causal pass.
pub(super) struct TrackStep {
    pub(super) positions: Vec<usize>,
    pub(super) predicted: Vec<usize>,
    pub(super) is_causal: bool,
}

/// What a track needs between two steps.
pub(super) struct Track {
    /// The number of the part that it fills, and the positions of its spans.
    pub(super) part: usize,
    ranges: Vec<Range<usize>>,
    /// The part that it waits for, before it begins.
    waits_for: Option<usize>,
    /// The number of the unconditional reading by which it is guided.
    pub(super) guided_by: Option<usize>,
    pub(super) plan: TrackPlan,
    pub(super) key: Key,
    /// Current block and step within it; a block past the last means done.
    block: usize,
    pub(super) step: usize,
    /// Steps of the block that were reported.
    reported: usize,
    /// Steps taken in all blocks.
    taken: usize,
    /// Times that the current block was repaired.
    pub(super) repairs: usize,
    /// Whether the next step is the one in which the row before the block answers for its first position.
    pub(super) opening: bool,
    /// Where its drafts stand, if it speculates.
    pub(super) speculation: Option<Speculation>,
    pub(super) stability: Option<Stability>,
    /// The insertions and deletions of the current block, where there may be any.
    pub(super) lengths: Option<LengthEdits>,
    pub(super) proposer: Proposer,
    /// Canvases that a classifier reads over all blocks, at most.
    pub(super) classifier_passes: usize,
    /// How confidence is measured, where not as the device answers.
    pub(super) confidence: Option<Confidence>,
    /// Whether whole rows are needed: for a second reading, for the next step, for joint draws, for a mark on
    /// draws, for a classifier, or for confidence.
    keeps_logits: bool,
}

impl Track {
    pub(super) fn new(plan: TrackPlan, part: PartOf<'_>, guided_by: Option<usize>, model: &Model<'_>) -> Self {
        let (spec, settings) = (model.spec(), part.settings());
        let key = Key::new(settings.seed);
        let confidence = Confidence::of(settings);
        Self {
            part: part.number,
            ranges: part.ranges(),
            waits_for: part.part().after,
            guided_by,
            key,
            block: 0,
            step: 0,
            reported: 0,
            taken: 0,
            repairs: 0,
            opening: false,
            speculation: Speculation::of(part, spec),
            stability: None,
            lengths: None,
            proposer: Proposer::new(part, model, key),
            classifier_passes: plan.classifier_passes(settings, model),
            keeps_logits: guided_by.is_some()
                || spec.self_conditioning.is_some()
                || !plan.constrained.is_empty()
                || settings.marks_draws()
                || settings.classifier.is_some()
                || confidence.is_some(),
            confidence,
            plan,
        }
    }

    /// The number of the current block.
    pub(super) fn block(&self) -> usize {
        self.block
    }

    /// Whether a position is one of its spans'.
    pub(super) fn has(&self, position: usize) -> bool {
        self.ranges.iter().any(|range| range.contains(&position))
    }

    /// Whether a branch reads the canvas for it.
    pub(super) fn reads(&self, branch: usize) -> bool {
        branch == 0 || self.guided_by == Some(branch)
    }

    /// Whether it has begun, and a block is left.
    pub(super) fn is_running(&self) -> bool {
        self.waits_for.is_none() && !self.is_done()
    }

    /// Whether nothing is left to fill.
    pub(super) fn is_done(&self) -> bool {
        self.block == self.plan.blocks.len()
    }

    /// The part that it waits for.
    pub(super) fn waits_for(&self) -> Option<usize> {
        self.waits_for
    }

    /// Forward passes of all blocks, at most, of which a guided one counts twice on top of that.
    pub(super) fn forward_passes(&self, settings: &Settings) -> usize {
        (0..self.plan.blocks.len()).map(|block| self.plan.forward_passes_of(block, settings)).sum()
    }

    /// Looks at the canvas before a step.
    pub(super) fn begin_step(&mut self, filling: &Filling) {
        let likeliest = self.lengths.as_ref().map_or(0, LengthEdits::likeliest);
        self.proposer.begin_step(&filling.canvas, filling.request.part(self.part), likeliest);
    }

    /// The query for the row of a position.
    pub(super) fn query<'s>(
        &'s self,
        filling: &'s Filling,
        position: usize,
        planned: &PlannedStep,
        model: &'s Model<'s>,
    ) -> Query<'s> {
        match self.keeps_logits {
            true => Query::WholeRow,
            false => self.proposer.query(&filling.canvas, position, planned, model),
        }
    }

    /// Takes the answers about its positions, takes a step back in time, and goes on to the next one.
    pub(super) fn advance(
        &mut self,
        filling: &mut Filling,
        (branches, answers): (&[Branch], &[Answer]),
        model: &Model<'_>,
        report: &mut Listener<'_>,
    ) -> Result<ControlFlow<()>, GenerateError> {
        let (block, index, planned) = (self.block, self.reported, self.planned(filling));
        let mut predictions = self.propose(filling, (branches, answers), &planned, model)?;
        filling.statistics.forward_passes += predictions.classified.passes;
        filling.statistics.rows_read += predictions.classified.rows;
        let mut taken = self.take(filling, &mut predictions, planned, model)?;
        let unedited = taken.unedited;
        let entropy = predictions.proposal.mean_entropy();
        let counts = usize::from(!self.opening && self.speculation.is_none());
        self.step += counts;
        self.reported += counts;
        self.taken += 1;
        self.opening = false;
        let is_full =
            self.plan.ends_block[block] && self.block_open(filling).is_empty() && self.is_edited(filling, unedited);
        let at_once = self.speculation.is_some() || filling.settings(self.part).stepping.stop_at == StopAt::Step;
        let stops = at_once || is_full;
        let mut closed = if stops { closed_by_end(&filling.canvas, &filling.request.ends) } else { Vec::new() };
        // When a span of another part is closed is for that part to say.
        closed.retain(|position| self.has(*position));
        for &position in &closed {
            filling.canvas.close(position)?;
        }

        let is_due = |track: &Self| track.is_block_filled(filling) && track.is_edited(filling, unedited);
        let is_repaired = is_due(self) && self.repair(filling, &mut taken, model)?;
        let Taken { changes, alternatives, .. } = taken;
        let still_open = if self.speculation.is_some() { self.block_open(filling).len() } else { 0 };
        self.speculation.iter_mut().for_each(|speculation| speculation.go_on(still_open));
        filling.statistics.steps += 1;
        let open = filling.canvas.open_positions().len();
        let part = self.part;
        let mut flow = report(DenoisingEvent::Step {
            part,
            block,
            step: index,
            of: self.block_steps(filling.settings(self.part)),
            changes: &changes,
            alternatives: &alternatives,
            entropy,
            closed: &closed,
            open,
            forward_passes: filling.statistics.forward_passes,
        });
        if flow.is_continue() && !is_repaired && self.is_block_filled(filling) {
            if self.is_edited(filling, unedited) {
                flow = report(DenoisingEvent::BlockCommitted { part, block, of: self.plan.blocks.len() });
                self.block += 1;
                if flow.is_continue() {
                    flow = self.enter(filling, report);
                }
            } else {
                // A block that is full before its time goes on with the steps that only edit.
                self.step = self.step.max(self.fill_steps());
            }
        }
        Ok(flow)
    }

    /// The step that comes next.
    pub(super) fn planned(&self, filling: &Filling) -> PlannedStep {
        let plan = &self.plan.plan.blocks()[self.block];
        let steps = plan.steps();
        let (number, from) = steps.first().map_or((0, Time::NOISE), |step| (step.number, step.from));
        let (index, of, open_after) = match self.speculation {
            Some(_) => {
                let of = self.plan.forward_passes_of(self.block, filling.settings(self.part));
                (self.taken.min(of.saturating_sub(1)), of, 0)
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
            open_before: plan.open(),
            open_after,
            share: 1,
            staying: 1.0,
            sigma: 0.0,
            churn: None,
            leads: false,
        }
    }

    /// Enters the next block that has something open, if there is one; it waits for nothing any more.
    pub(super) fn enter(&mut self, filling: &Filling, report: &mut Listener<'_>) -> ControlFlow<()> {
        self.waits_for = None;
        let of = self.plan.blocks.len();
        while self.block < of && self.block_open(filling).is_empty() {
            self.block += 1;
        }
        if self.block == of {
            return ControlFlow::Continue(());
        }
        (self.step, self.reported, self.repairs) = (0, 0, 0);
        let positions = self.block_open(filling);
        self.opening = self.plan.openings[self.block] && positions.first() == self.plan.blocks[self.block].first();
        self.stability.clone_from(&filling.settings(self.part).stability);
        self.lengths = self.plan.lengths.map(|_| LengthEdits::new(&positions));
        let (part, block, steps) = (self.part, self.block, self.block_steps(filling.settings(self.part)));
        report(DenoisingEvent::BlockStarted { part, block, of, positions: &positions, steps })
    }

    /// Has the block go on with these positions open again, of which none was before: by the steps of its plan that are left when
    /// as many are open, and by all of them where an open position is written at every step.
    pub(super) fn go_back(&mut self, filling: &Filling, positions: &[usize], revises: bool) {
        self.opening = self.plan.openings[self.block] && positions.first() == self.plan.blocks[self.block].first();
        let open = positions.len() - usize::from(self.opening);
        let steps = self.plan.plan.blocks()[self.block].steps();
        let from = steps.iter().position(|step| step.open_after < open);
        self.step = if revises { 0 } else { from.unwrap_or(steps.len().saturating_sub(1)) };
        self.reported = self.step;
        self.stability.clone_from(&filling.settings(self.part).stability);
    }

    /// Steps of the current block that fill it, at most.
    pub(super) fn fill_steps(&self) -> usize {
        self.plan.plan.blocks()[self.block].steps().len()
    }

    /// Steps that the plan gives to the current block, at most.
    pub(super) fn block_steps(&self, settings: &Settings) -> usize {
        match self.speculation {
            Some(_) => self.plan.forward_passes_of(self.block, settings),
            None => self.plan.plan.blocks()[self.block].forwards(),
        }
    }

    /// Steps of the current block to come that only edit, at most.
    fn edits_left(&self) -> usize {
        let plan = &self.plan.plan.blocks()[self.block];
        plan.edits().len() - self.step.saturating_sub(plan.steps().len())
    }

    /// Whether nothing of the current block is open and no later step would take anything back.
    fn is_block_filled(&self, filling: &Filling) -> bool {
        let steps = self.plan.plan.blocks()[self.block].steps();
        let left = steps.get(self.step..).unwrap_or_default();
        let is_full = match &self.lengths {
            Some(lengths) => lengths.is_filled(&filling.canvas),
            None => self.block_open(filling).is_empty(),
        };
        left.is_empty() || is_full && left.iter().all(|step| step.sigma == 0.0)
    }

    /// Whether nothing of a full block is edited any more: the last step has shown it (`unedited`, see [`Taken`]), or no
    /// step is left, or no token may be replaced.
    fn is_edited(&self, filling: &Filling, unedited: bool) -> bool {
        unedited || self.edits_left() == 0 || self.editable(filling).is_empty() && self.block_open(filling).is_empty()
    }

    /// What this step is about.
    pub(super) fn next_step(&self, filling: &Filling) -> TrackStep {
        let positions = match self.speculation {
            Some(speculation) => speculation.positions(&filling.canvas, &self.block_open(filling)),
            None => self.plan.blocks[self.block].clone(),
        };
        let is_causal = self.speculation.map_or(self.opening, Speculation::verifies);
        TrackStep { positions, predicted: self.predicted(filling), is_causal }
    }

    /// The open positions that this step is about: of a step that leads or opens the block, the first one.
    fn step_open(&self, filling: &Filling) -> Vec<usize> {
        let mut open = self.block_open(filling);
        if let Some(speculation) = self.speculation {
            return speculation.answered(&open).to_vec();
        }
        if self.opening || self.planned(filling).leads {
            open.truncate(1);
        }
        open
    }

    /// The positions that this step predicts, ascending: those that are open, and those whose token may be edited.
    pub(super) fn predicted(&self, filling: &Filling) -> Vec<usize> {
        let mut predicted = self.step_open(filling);
        predicted.extend(self.editable(filling));
        predicted.sort_unstable();
        predicted
    }

    /// The committed positions of the block whose token this step may replace: not those of constrained spans, and no end
    /// token that ended its span.
    fn editable(&self, filling: &Filling) -> Vec<usize> {
        let Filling { request, canvas, .. } = filling;
        if filling.settings(self.part).editing.is_none() || self.opening || self.planned(filling).leads {
            return Vec::new();
        }
        let is_read = |position: &usize| visible(canvas, &request.ends).binary_search(position).is_ok();
        let has_ended =
            |position: usize| filling.is_end(position) && (canvas.is_closed(position + 1) || !is_read(&position));
        let may = |position: &usize| {
            canvas.is_committed(*position) && !has_ended(*position) && !self.is_constrained(*position)
        };
        self.plan.blocks[self.block].iter().copied().filter(may).collect()
    }

    /// Whether a position is held to a constraint.
    pub(super) fn is_constrained(&self, position: usize) -> bool {
        self.plan.constrained.iter().any(|span| span.contains(position))
    }

    pub(super) fn block_open(&self, filling: &Filling) -> Vec<usize> {
        let positions = self.plan.blocks[self.block].iter().copied();
        positions.filter(|position| filling.canvas.is_open(*position)).collect()
    }
}

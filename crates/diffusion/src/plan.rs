//! Step plans: into which blocks and steps the filling of a canvas is divided, and how many positions each step leaves.
//!
//! A step leads from an earlier α to a later one; [`Counting`] says how many positions it leaves open. None is left after
//! the last step.

use crate::counting::Counted;
use crate::{CommitPolicy, Counting, NoiseSchedule, Remasking, SettingError, Time, TimeGrid};

/// The share of the noise that a corrector draws again where nothing is said. The smaller it is the better the law of
/// the time is kept, since positions that change together do not see each other change.
const CORRECTION: f64 = 0.2;

/// The most steps of a plan, over all blocks. More would take days, and their plan more memory than a model.
const MOST_STEPS: usize = 1_000_000;

/// The steps of all blocks of one canvas.
#[derive(Debug, Clone, PartialEq)]
pub struct StepPlan {
    blocks: Vec<BlockPlan>,
}

/// The steps of one block.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockPlan {
    open: usize,
    steps: Vec<PlannedStep>,
    edits: Vec<PlannedStep>,
}

/// One step as it was planned, before it is known how many positions are open by then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlannedStep {
    /// Number of the step on the whole canvas, from 0: what its random draws hang on.
    pub number: u64,
    /// Number of the step in its block, from 0.
    pub index: usize,
    /// Steps that fill the block; those that only edit come behind them.
    pub of: usize,
    /// Time at which the step begins.
    pub from: Time,
    /// Time at which it ends, earlier (cleaner), or the same where remasking holds the noise for a while.
    pub to: Time,
    /// Positions of the block that are open before its first step.
    pub open_before: usize,
    /// Positions of the block to be left open after it.
    pub open_after: usize,
    /// Positions that it commits by the plan, however many the steps before it have committed.
    pub share: usize,
    /// Probability that a noisy position is still noisy after the step.
    pub staying: f64,
    /// Probability that remasking takes a committed position back during the step.
    pub sigma: f64,
    /// How much of the noise of positions that stay open is drawn again, from 0 to 1; the process's own way where
    /// `None`.
    pub churn: Option<f64>,
    /// Whether only the first open position of the block becomes final, whatever the policy says; see
    /// [`PlanSettings::leads`].
    pub leads: bool,
}

/// One step as a policy sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The plan's part.
    pub planned: PlannedStep,
    /// How many of the open positions to commit, for policies that count; never more than are open.
    pub commits: usize,
}

impl Step {
    /// Whether nothing may be left open after this step.
    pub fn is_last(&self) -> bool {
        self.planned.index + 1 >= self.planned.of
    }
}

impl PlannedStep {
    /// The step with `open` positions open at its beginning, `remasked` of the committed ones being taken back in it.
    pub fn with(self, open: usize, remasked: usize) -> Step {
        Step { planned: self, commits: (open + remasked).saturating_sub(self.open_after).min(open) }
    }
}

impl BlockPlan {
    /// Positions of the block that are open at its beginning.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Its steps in order; nothing is left open after the last of them.
    pub fn steps(&self) -> &[PlannedStep] {
        &self.steps
    }

    /// The steps behind them that only edit what is committed, at most; see [`Editing`](crate::Editing).
    pub fn edits(&self) -> &[PlannedStep] {
        &self.edits
    }

    /// Forward passes of the network, at most: those of its steps and of those that only edit.
    pub fn forwards(&self) -> usize {
        self.steps.len() + self.edits.len()
    }
}

/// How fast a canvas is to be filled, and on which way.
#[derive(Debug, Clone, Copy)]
pub struct PlanSettings<'a> {
    /// Steps for each block, at most.
    pub steps: usize,
    /// How fast positions become final.
    pub schedule: &'a dyn NoiseSchedule,
    /// What becomes final.
    pub policy: &'a dyn CommitPolicy,
    /// What is taken back.
    pub remasking: &'a Remasking,
    /// The times that the steps lead to.
    pub grid: &'a TimeGrid,
    /// Steps after each but the last that stay at its time and draw some of the noise of what is open again
    /// (predictor-corrector).
    pub correctors: usize,
    /// See [`PlannedStep::churn`].
    pub churn: Option<f64>,
    /// How many positions each step leaves open.
    pub counting: Counting,
    /// The time to which the steps of a block are spread evenly, from 0 to below 1; the last one goes on to 0.
    pub end_time: f64,
    /// For each block whether its first step makes its first open position final and no other. Under a logit shift the row
    /// before a block answers about that position, and later steps may read rows of the block only (Fast-dLLM's block
    /// samplers of Dream and of Fast-dLLM v2). A block that is not listed has no such step.
    pub leads: &'a [bool],
    /// For each block its positions, open or not: an even counting divides all of them, and what is not open falls to the
    /// last steps, which are not planned then (SDAR, LLaDA2.0). A block that is not listed has as many as are open.
    pub lengths: &'a [usize],
    /// Whether each block has the steps that are asked for, whatever the policy would have: where positions stay open up to
    /// the last step and a block may end early, a block of few positions may take many.
    pub all_steps: bool,
    /// Steps behind those of each block that only edit, at most.
    pub edits: usize,
}

impl<'a> PlanSettings<'a> {
    /// So many steps for each block, evenly over time, which count as the schedule says.
    pub fn new(
        steps: usize,
        schedule: &'a dyn NoiseSchedule,
        policy: &'a dyn CommitPolicy,
        remasking: &'a Remasking,
        grid: &'a TimeGrid,
    ) -> Self {
        let counting = Counting::Scheduled;
        Self {
            steps,
            schedule,
            policy,
            remasking,
            grid,
            correctors: 0,
            churn: None,
            counting,
            end_time: 0.0,
            leads: &[],
            lengths: &[],
            all_steps: false,
            edits: 0,
        }
    }
}

impl StepPlan {
    /// Plans at most `steps` steps for each block, evenly over time.
    ///
    /// # Errors
    /// When `steps` is 0.
    pub fn new(
        blocks: &[usize],
        steps: usize,
        schedule: &dyn NoiseSchedule,
        policy: &dyn CommitPolicy,
        remasking: &Remasking,
    ) -> Result<Self, SettingError> {
        Self::with_settings(blocks, &PlanSettings::new(steps, schedule, policy, remasking, &TimeGrid::default()))
    }

    /// Plans the steps for each block; `blocks` are the blocks' numbers of open positions.
    ///
    /// The policy may ask for another number of steps (see [`CommitPolicy::steps`]); under remasking it is what was
    /// asked, since positions that are taken back need steps of their own.
    ///
    /// # Errors
    /// When `steps` is 0, `end_time` is none, or there are more than a million steps over all blocks, correctors included.
    pub fn with_settings(blocks: &[usize], settings: &PlanSettings<'_>) -> Result<Self, SettingError> {
        let PlanSettings { steps, policy, remasking, .. } = *settings;
        if steps == 0 {
            return Err(SettingError::new("steps", steps, "1 or more").with_hint("`steps` is per block"));
        }
        if !(0.0..1.0).contains(&settings.end_time) {
            return Err(SettingError::new("end_time", settings.end_time, "from 0 to below 1")
                .with_hint("at 0 the steps are spread over all times"));
        }
        let count = |open: usize| match (open, remasking.is_none()) {
            (0, _) => 0,
            (_, true) if !settings.all_steps => policy.steps(open, steps).max(1),
            _ => steps,
        };
        let even = settings.counting == Counting::Even && remasking.is_none();
        let sized = |(index, &open): (usize, &usize)| {
            let length = settings.lengths.get(index).copied().filter(|length| even && open > 0 && *length > open);
            let length = length.unwrap_or(open);
            Size { open, length, steps: count(length) }
        };
        let sizes: Vec<Size> = blocks.iter().enumerate().map(sized).collect();
        check_total(sizes.iter().map(|size| size.taken()), settings)?;
        check_edits(sizes.iter().filter(|size| size.open > 0).count(), settings)?;
        let mut number = 0;
        let blocks = sizes
            .into_iter()
            .enumerate()
            .map(|(index, size)| {
                let leads = settings.leads.get(index).copied().unwrap_or(false);
                let block = BlockPlan::new(size, (number, leads), settings);
                number += block.forwards() as u64;
                block
            })
            .collect();
        Ok(Self { blocks })
    }

    /// Divides open positions into blocks of `block_length` in reading order, all in one block where it is `None`. The
    /// last block is shorter where the length does not divide their number; LLaDA refuses that.
    ///
    /// # Errors
    /// When `block_length` is 0.
    pub fn divide(open: &[usize], block_length: Option<usize>) -> Result<Vec<&[usize]>, SettingError> {
        match block_length {
            Some(0) => Err(SettingError::new("block_length", 0, "1 or more")),
            Some(length) => Ok(open.chunks(length).collect()),
            None => Ok(open.chunks(open.len().max(1)).collect()),
        }
    }

    /// The blocks in order.
    pub fn blocks(&self) -> &[BlockPlan] {
        &self.blocks
    }

    /// Forward passes of the network over all blocks, at most; a guided step counts twice on top of that.
    pub fn total_forwards(&self) -> usize {
        self.blocks.iter().map(BlockPlan::forwards).sum()
    }
}

/// Refuses more steps than a plan may have, with the most that each block may have.
fn check_total(counts: impl Iterator<Item = usize>, settings: &PlanSettings<'_>) -> Result<(), SettingError> {
    let each = settings.correctors.saturating_add(1);
    let (mut total, mut blocks) = (0usize, 0);
    for count in counts.filter(|count| *count > 0) {
        total = total.saturating_add(count.saturating_mul(each));
        blocks += 1;
    }
    if total <= MOST_STEPS {
        return Ok(());
    }
    let most = (MOST_STEPS / blocks).max(1);
    let allowed = |least, most| format!("{least} to {most} on this canvas");
    Err(match most / each {
        0 => SettingError::new("correctors", settings.correctors, allowed(0, most - 1)),
        steps => SettingError::new("steps", settings.steps, allowed(1, steps)),
    }
    .with_hint(format!("a canvas is filled in at most {MOST_STEPS} steps over all blocks, correctors included")))
}

/// Refuses more steps that only edit than a plan may have.
fn check_edits(blocks: usize, settings: &PlanSettings<'_>) -> Result<(), SettingError> {
    let most = MOST_STEPS / blocks.max(1);
    match settings.edits > most {
        true => Err(SettingError::new("edit_steps", settings.edits, format!("0 to {most} on this canvas"))
            .with_hint(format!("a canvas is edited in at most {MOST_STEPS} steps over all blocks"))),
        false => Ok(()),
    }
}

/// A block as it is counted.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// Its open positions.
    open: usize,
    /// The positions that are counted, no fewer.
    length: usize,
    /// The steps in which all that are counted would become final.
    steps: usize,
}

impl Size {
    /// The steps after which nothing is open.
    fn taken(self) -> usize {
        let mut left = self.length;
        let more = |index: &usize| {
            let more = left > self.length - self.open;
            left -= left.div_ceil(self.steps - index);
            more
        };
        if self.length == self.open { self.steps } else { (0..self.steps).take_while(more).count() }
    }
}

impl BlockPlan {
    /// The plan of a block whose first step has this number, and leads or does not.
    fn new(size: Size, (first, leads): (u64, bool), settings: &PlanSettings<'_>) -> Self {
        let PlanSettings { schedule, remasking, grid, correctors, churn, counting, end_time, .. } = *settings;
        let (open, of, fixed) = (size.open, size.taken(), size.length - size.open);
        let clock = |index: usize| match index == of {
            true => grid.time(0.0),
            false => grid.time(1.0 - index as f64 * (1.0 - end_time) / of as f64),
        };
        let alpha = |clock: Time| remasking.alpha(schedule, clock);
        let mut left = size.length;
        let steps: Vec<PlannedStep> = (0..of)
            .map(|index| {
                let (start, end) = (clock(index), clock(index + 1));
                let (from, to) = (alpha(start), alpha(end));
                let sigma = remasking.sigma(start, from, to);
                let leads = leads && index == 0 && of > 1;
                let before = left;
                left = if index + 1 == of {
                    fixed
                } else if leads {
                    // Of several steps there are no more than open positions.
                    size.length.saturating_sub(1)
                } else {
                    let planned =
                        counting.left(&Counted { open, left, of: size.steps, to_come: size.steps - index, from, to });
                    // A forward pass that commits nothing would be for nothing.
                    let wasteful = counting == Counting::Scheduled && remasking.is_none() && of <= open;
                    if wasteful { planned.min(left - 1).max(of - index - 1) } else { planned.min(size.length) }
                };
                let staying = if index + 1 == of { 0.0 } else { remasking.staying(from, to, sigma) };
                PlannedStep {
                    number: first + index as u64,
                    index,
                    of,
                    from: schedule.time_at_alpha(from),
                    to: schedule.time_at_alpha(to),
                    open_before: open,
                    open_after: left - fixed,
                    share: before.saturating_sub(left),
                    staying,
                    sigma,
                    churn,
                    leads,
                }
            })
            .collect();
        let steps = if correctors == 0 { steps } else { corrected(&steps, correctors, churn, first) };
        let edits = steps.last().map_or_else(Vec::new, |last| editing(last, settings.edits));
        Self { open, steps, edits }
    }
}

/// So many steps behind the last one of a block, which commit nothing.
fn editing(last: &PlannedStep, count: usize) -> Vec<PlannedStep> {
    let edit = |index: usize| PlannedStep {
        number: last.number + 1 + index as u64,
        index: last.of + index,
        from: last.to,
        share: 0,
        sigma: 0.0,
        leads: false,
        ..*last
    };
    (0..count).map(edit).collect()
}

/// The steps with so many correctors after each but the last.
fn corrected(steps: &[PlannedStep], correctors: usize, churn: Option<f64>, first: u64) -> Vec<PlannedStep> {
    let Some((last, walked)) = steps.split_last() else { return Vec::new() };
    let churned = churn.filter(|churn| *churn > 0.0).unwrap_or(CORRECTION);
    let with = |step: &PlannedStep| {
        let held = PlannedStep {
            from: step.to,
            staying: 1.0,
            sigma: 0.0,
            churn: Some(churned),
            share: 0,
            leads: false,
            ..*step
        };
        std::iter::once(*step).chain(std::iter::repeat_n(held, correctors)).collect::<Vec<_>>()
    };
    let mut all: Vec<PlannedStep> = walked.iter().flat_map(with).collect();
    all.push(*last);
    let of = all.len();
    for (index, step) in all.iter_mut().enumerate() {
        (step.index, step.of, step.number) = (index, of, first + index as u64);
    }
    all
}

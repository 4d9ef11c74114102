//! Commit at random: the planned number of positions, every set equally likely. The order of the training objective,
//! and the baseline that every other policy has to beat.

use super::{CommitPolicy, PlanPart, count, highest, one_at_least, uniform};
use crate::{Commit, Key, Proposal, Step};

/// Commits the planned number of positions, whatever their predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Random;

impl Random {
    /// What it commits where the positions have these numbers, the highest first: uniform ones, from whatever source.
    pub fn select_by(&self, step: &Step, proposal: &Proposal, uniform: impl Fn(usize) -> f64) -> Commit {
        highest(proposal, count(step, proposal), |position, _| uniform(position))
    }
}

impl CommitPolicy for Random {
    fn name(&self) -> String {
        "random".to_owned()
    }

    fn select(&self, step: &Step, proposal: &Proposal, key: Key) -> Commit {
        self.select_by(step, proposal, |position| uniform(key, position, step))
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        one_at_least(open, requested)
    }

    fn reads(&self) -> PlanPart {
        PlanPart::Counts
    }
}

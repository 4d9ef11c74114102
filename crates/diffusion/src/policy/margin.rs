//! Commit by margin: the likeliest token against the second (2502.06768). Deviations: none.

use super::{CommitPolicy, PlanPart, count, highest, one_at_least};
use crate::{Commit, Key, Proposal, Step};

/// Commits the planned number of positions of the largest margins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Margin;

impl CommitPolicy for Margin {
    fn name(&self) -> String {
        "margin".to_owned()
    }

    fn select(&self, step: &Step, proposal: &Proposal, _: Key) -> Commit {
        highest(proposal, count(step, proposal), |_, candidate| candidate.margin)
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        one_at_least(open, requested)
    }

    fn reads(&self) -> PlanPart {
        PlanPart::Counts
    }
}

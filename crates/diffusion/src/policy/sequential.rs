//! Commit from left to right: the planned number of positions in reading order (SDAR's `sequential`, 2510.06303).
//! Deviations: none.

use super::{CommitPolicy, PlanPart, count, one_at_least};
use crate::{Commit, Key, Proposal, Step};

/// Commits the planned number of positions, the first ones of the block that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sequential;

impl CommitPolicy for Sequential {
    fn name(&self) -> String {
        "sequential".to_owned()
    }

    fn select(&self, step: &Step, proposal: &Proposal, _: Key) -> Commit {
        Commit { positions: proposal.positions().iter().copied().take(count(step, proposal)).collect() }
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        one_at_least(open, requested)
    }

    fn reads(&self) -> PlanPart {
        PlanPart::Counts
    }
}

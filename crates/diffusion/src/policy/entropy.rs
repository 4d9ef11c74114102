//! Commit by entropy, the lowest first (Dream, 2508.15487). Deviations: none.

use super::{CommitPolicy, PlanPart, count, highest, one_at_least};
use crate::{Commit, Key, Proposal, Step};

/// Commits the planned number of positions whose predictions have the lowest entropies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entropy;

impl CommitPolicy for Entropy {
    fn name(&self) -> String {
        "entropy".to_owned()
    }

    fn select(&self, step: &Step, proposal: &Proposal, _: Key) -> Commit {
        highest(proposal, count(step, proposal), |_, candidate| -candidate.entropy)
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        one_at_least(open, requested)
    }

    fn reads(&self) -> PlanPart {
        PlanPart::Counts
    }
}

//! Commit by confidence (MaskGIT, 2202.04200; LLaDA, 2502.09992, calls it low-confidence remasking, though nothing
//! is ever taken back). Deviation: confidence is always that of the prediction itself, before temperature and cuts.

use super::{CommitPolicy, PlanPart, count, highest, one_at_least};
use crate::{Commit, Key, Proposal, Step};

/// Commits the planned number of positions whose drawn tokens are the most probable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Confidence;

impl CommitPolicy for Confidence {
    fn name(&self) -> String {
        "confidence".to_owned()
    }

    fn select(&self, step: &Step, proposal: &Proposal, _: Key) -> Commit {
        highest(proposal, count(step, proposal), |_, candidate| candidate.probability)
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        one_at_least(open, requested)
    }

    fn reads(&self) -> PlanPart {
        PlanPart::Counts
    }
}

//! Commit at the end: nothing is final before the last step, which is how a process whose open positions change at every
//! step is walked back (UDLM, 2412.10193; Plaid, 2305.18619). Deviations: none.

use super::{CommitPolicy, PlanPart, everything};
use crate::{Commit, Key, Proposal, Step};

/// Commits everything at the last step and nothing before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Last;

impl CommitPolicy for Last {
    fn name(&self) -> String {
        "last".to_owned()
    }

    fn select(&self, step: &Step, proposal: &Proposal, _: Key) -> Commit {
        if step.is_last() { everything(proposal) } else { Commit::default() }
    }

    fn steps(&self, _: usize, requested: usize) -> usize {
        requested
    }

    fn reads(&self) -> PlanPart {
        PlanPart::Nothing
    }
}

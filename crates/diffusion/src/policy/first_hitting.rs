//! First-hitting sampling: one position for each step, at the very times at which the reverse process in continuous
//! time would unmask one (2409.02908; BD3-LM, 2503.09573, uses it). The law is that of ancestral sampling with
//! infinitely many steps, at one forward pass per token.
//!
//! Deviation: the plan's times are handed to the network, not the hitting times; the exact prediction of a masked
//! process does not depend on the time (RADD, 2406.03736).

use super::{CommitPolicy, PlanPart, everything, highest, uniform};
use crate::{Commit, Key, Proposal, Step};

/// Commits one position at each step, all equally likely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FirstHitting;

impl CommitPolicy for FirstHitting {
    fn name(&self) -> String {
        "first-hitting".to_owned()
    }

    fn select(&self, step: &Step, proposal: &Proposal, key: Key) -> Commit {
        if step.is_last() {
            return everything(proposal);
        }
        highest(proposal, 1, |position, _| uniform(key, position, step))
    }

    fn steps(&self, open: usize, _: usize) -> usize {
        open
    }

    fn reads(&self) -> PlanPart {
        PlanPart::Nothing
    }
}

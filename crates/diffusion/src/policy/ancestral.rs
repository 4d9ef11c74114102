//! Ancestral sampling: each position becomes final with the probability that the reverse process gives it, whatever its
//! prediction (MDLM, 2406.07524, equation 7; with remasking ReMDM, 2503.00307). Deviations: none.

use super::{CommitPolicy, ascending, everything, uniform};
use crate::{Commit, Key, Proposal, Step};

/// Commits each position with probability `1 − staying`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ancestral;

impl CommitPolicy for Ancestral {
    fn name(&self) -> String {
        "ancestral".to_owned()
    }

    fn select(&self, step: &Step, proposal: &Proposal, key: Key) -> Commit {
        if step.is_last() {
            return everything(proposal);
        }
        let positions = proposal.positions().iter().copied();
        ascending(positions.filter(|p| uniform(key, *p, step) >= step.planned.staying))
    }

    fn steps(&self, _: usize, requested: usize) -> usize {
        // More steps than positions are no waste here: they keep two positions from falling into one step.
        requested
    }
}

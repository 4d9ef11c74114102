//! Ancestral sampling: each position becomes final with the probability that the reverse process gives it, whatever its
//! prediction (MDLM, 2406.07524, equation 7; with remasking ReMDM, 2503.00307). Deviations: none. Under a process of
//! ratios the probability is [`Process::mass`](crate::Process::mass) times that (SEDD, 2310.16834).

use super::{CommitPolicy, PlanPart, ascending, everything, uniform};
use crate::{Candidate, Commit, Key, Proposal, Step};

/// Commits each position with probability `1 − staying`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ancestral;

impl Ancestral {
    /// The probability that the position of a candidate stays as it is in a step.
    pub fn staying(step: &Step, candidate: &Candidate) -> f64 {
        let staying = step.planned.staying;
        if candidate.mass == 1.0 { staying } else { (1.0 - candidate.mass * (1.0 - staying)).max(0.0) }
    }

    /// The choice by a number in (0, 1) for each position.
    pub fn select_by(self, step: &Step, proposal: &Proposal, uniform: impl Fn(usize) -> f64) -> Commit {
        if step.is_last() {
            return everything(proposal);
        }
        let goes = |(position, candidate): &(usize, &Candidate)| uniform(*position) >= Self::staying(step, candidate);
        ascending(proposal.iter().filter(goes).map(|(position, _)| position))
    }
}

impl CommitPolicy for Ancestral {
    fn name(&self) -> String {
        "ancestral".to_owned()
    }

    fn select(&self, step: &Step, proposal: &Proposal, key: Key) -> Commit {
        self.select_by(step, proposal, |position| uniform(key, position, step))
    }

    fn steps(&self, _: usize, requested: usize) -> usize {
        // More steps than positions are no waste here: they keep two positions from falling into one step.
        requested
    }

    fn reads(&self) -> PlanPart {
        PlanPart::Staying
    }
}

//! Commit above a threshold: everything that is sure enough at once (Fast-dLLM, 2505.22618).
//!
//! Its theorem: where n positions all have a probability above 1 − ε and (n + 1) ε ≤ 1, committing the likeliest token
//! of each at once gives what committing them one by one gives. Deviations: none; at least one position is committed.

use super::{CommitPolicy, PlanPart, ascending, everything, highest, one_at_least};
use crate::{Commit, Key, Proposal, SettingError, Step};

/// Commits every position whose drawn token is more probable than τ, and the most probable one in any case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    probability: f64,
}

impl Threshold {
    /// The policy of a threshold in `[0, 1]`.
    ///
    /// # Errors
    /// When it lies outside.
    pub fn new(probability: f64) -> Result<Self, SettingError> {
        if Self::allows(probability) {
            Ok(Self { probability })
        } else {
            Err(SettingError::new("threshold", probability, "0 to 1"))
        }
    }

    pub(super) fn allows(probability: f64) -> bool {
        (0.0..=1.0).contains(&probability)
    }
}

impl CommitPolicy for Threshold {
    fn name(&self) -> String {
        format!("threshold:{}", self.probability)
    }

    fn select(&self, step: &Step, proposal: &Proposal, _: Key) -> Commit {
        if step.is_last() {
            return everything(proposal);
        }
        let sure = proposal.iter().filter(|(_, c)| c.probability > self.probability).map(|(position, _)| position);
        let commit = ascending(sure);
        if commit.positions.is_empty() { highest(proposal, 1, |_, c| c.probability) } else { commit }
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        one_at_least(open, requested)
    }

    fn reads(&self) -> PlanPart {
        PlanPart::Nothing
    }
}

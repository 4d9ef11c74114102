//! Commit above a threshold, and no less than is planned (SDAR's `low_confidence_dynamic`, 2510.06303; LLaDA2.0,
//! 2512.15745). A step commits its share by the plan also where the steps before it have committed more than theirs.
//! Deviations: none.

use super::{CommitPolicy, PlanPart, count, highest, one_at_least};
use crate::{Commit, Key, Proposal, SettingError, Step};

/// Commits every position whose drawn token is more probable than τ, and at least the planned number of positions, the
/// most probable ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dynamic {
    probability: f64,
}

impl Dynamic {
    /// The policy of a threshold in `[0, 1]`.
    ///
    /// # Errors
    /// When it lies outside.
    pub fn new(probability: f64) -> Result<Self, SettingError> {
        if Self::allows(probability) {
            Ok(Self { probability })
        } else {
            Err(SettingError::new("dynamic", probability, "0 to 1"))
        }
    }

    pub(super) fn allows(probability: f64) -> bool {
        (0.0..=1.0).contains(&probability)
    }
}

impl CommitPolicy for Dynamic {
    fn name(&self) -> String {
        format!("dynamic:{}", self.probability)
    }

    fn select(&self, step: &Step, proposal: &Proposal, _: Key) -> Commit {
        let sure = proposal.candidates().iter().filter(|candidate| candidate.probability > self.probability).count();
        let least = count(step, proposal).max(step.planned.share);
        highest(proposal, least.max(sure), |_, candidate| candidate.probability)
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        one_at_least(open, requested)
    }

    fn reads(&self) -> PlanPart {
        PlanPart::Counts
    }
}

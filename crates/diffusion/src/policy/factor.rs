//! Commit by factor: as many positions as the theorem of confidence thresholds allows together (Fast-dLLM, 2505.22618,
//! section 3.2).
//!
//! With the confidences in falling order, the largest n with `(n + 1) (1 − c_n) < f` is committed: the more positions at
//! once, the surer each has to be. Deviations: none; at least one position is committed.

use super::{CommitPolicy, PlanPart, everything, highest, one_at_least};
use crate::{Commit, Key, Proposal, SettingError, Step};

/// Commits the n most probable positions, n the largest number with `(n + 1) (1 − c_n) < f`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factor {
    factor: f64,
}

impl Factor {
    /// The policy of a factor above 0; at 1 it is the theorem's own bound.
    ///
    /// # Errors
    /// When it is not above 0.
    pub fn new(factor: f64) -> Result<Self, SettingError> {
        if Self::allows(factor) { Ok(Self { factor }) } else { Err(SettingError::new("factor", factor, "above 0")) }
    }

    pub(super) fn allows(factor: f64) -> bool {
        factor > 0.0
    }
}

impl CommitPolicy for Factor {
    fn name(&self) -> String {
        format!("factor:{}", self.factor)
    }

    fn select(&self, step: &Step, proposal: &Proposal, _: Key) -> Commit {
        if step.is_last() {
            return everything(proposal);
        }
        let mut falling: Vec<f64> = proposal.candidates().iter().map(|candidate| candidate.probability).collect();
        falling.sort_unstable_by(|a, b| b.total_cmp(a));
        let allows = |(n, confidence): &(usize, f64)| (*n as f64 + 1.0) * (1.0 - confidence) < self.factor;
        let together = (1..).zip(falling).filter(allows).map(|(n, _)| n).last().unwrap_or(0);
        highest(proposal, together.max(1), |_, candidate| candidate.probability)
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        one_at_least(open, requested)
    }

    fn reads(&self) -> PlanPart {
        PlanPart::Nothing
    }
}

//! Commit under an entropy bound: as many positions as can be written at once with little dependence between them
//! (EB-sampler, 2505.24857; DiffusionGemma uses it).
//!
//! Positions are taken by rising entropy while `Σ H − max H ≤ γ`, which bounds the mutual information that writing them
//! together loses. γ = 0 commits one position, and those of entropy 0; γ = ∞ all at once. Deviations: none (entropy is
//! the only error proxy here).

use super::{CommitPolicy, ascending, everything, one_at_least};
use crate::{Commit, Key, Proposal, SettingError, Step};

/// Commits the surest positions whose entropies without the largest sum up to γ nats at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EntropyBound {
    bound: f64,
}

impl EntropyBound {
    /// The policy of a bound of 0 nats or more; infinity is allowed.
    ///
    /// # Errors
    /// When it is negative or no number.
    pub fn new(bound: f64) -> Result<Self, SettingError> {
        if Self::allows(bound) {
            Ok(Self { bound })
        } else {
            Err(SettingError::new("entropy_bound", bound, "0 or more"))
        }
    }

    pub(super) fn allows(bound: f64) -> bool {
        bound >= 0.0
    }
}

impl CommitPolicy for EntropyBound {
    fn name(&self) -> String {
        format!("entropy-bound:{}", self.bound)
    }

    fn select(&self, step: &Step, proposal: &Proposal, _: Key) -> Commit {
        if step.is_last() {
            return everything(proposal);
        }
        let mut sorted: Vec<(f64, usize)> = proposal.iter().map(|(position, c)| (c.entropy, position)).collect();
        sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        // In rising order the largest entropy is the newest, so the sum without it is the sum of those before.
        let mut before = 0.0;
        let within = sorted.into_iter().take_while(|(entropy, _)| {
            let fits = before <= self.bound;
            before += entropy;
            fits
        });
        ascending(within.map(|(_, position)| position))
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        one_at_least(open, requested)
    }
}

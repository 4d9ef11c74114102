//! Commit under an entropy bound: as many positions as can be written at once with little dependence between them
//! (EB-sampler, 2505.24857; DiffusionGemma and RND1 use it).
//!
//! Positions are taken in the order of an [`ErrorProxy`] while `Σ H − max H ≤ γ`, which bounds the mutual information that
//! writing them together loses. γ = 0 commits one position, and those of entropy 0 that come with it; γ = ∞ all at once.
//! Deviations: none (the paper's third proxy, the margin, is not there).

use super::{CommitPolicy, PlanPart, ascending, everything, one_at_least};
use crate::{Candidate, Commit, Key, Proposal, SettingError, Step};

/// In which order an entropy bound takes positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorProxy {
    /// By rising entropy (DiffusionGemma, 2608.00146).
    #[default]
    Entropy,
    /// By falling confidence (RND1's `eb_gamma`).
    Confidence,
}

/// Commits the surest positions whose entropies without the largest sum up to γ nats at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EntropyBound {
    bound: f64,
    proxy: ErrorProxy,
}

impl EntropyBound {
    /// The policy of a bound of 0 nats or more, by rising entropy; infinity is allowed.
    ///
    /// # Errors
    /// When it is negative or no number.
    pub fn new(bound: f64) -> Result<Self, SettingError> {
        if Self::allows(bound) {
            Ok(Self { bound, proxy: ErrorProxy::Entropy })
        } else {
            Err(SettingError::new("entropy_bound", bound, "0 or more"))
        }
    }

    /// The same bound with another order.
    #[must_use]
    pub fn by(self, proxy: ErrorProxy) -> Self {
        Self { proxy, ..self }
    }

    pub(super) fn allows(bound: f64) -> bool {
        bound >= 0.0
    }
}

impl ErrorProxy {
    /// What stands at the front is the lowest.
    fn error(self, candidate: &Candidate) -> f64 {
        match self {
            Self::Entropy => candidate.entropy,
            Self::Confidence => -candidate.probability,
        }
    }
}

impl CommitPolicy for EntropyBound {
    fn name(&self) -> String {
        match self.proxy {
            ErrorProxy::Entropy => format!("entropy-bound:{}", self.bound),
            ErrorProxy::Confidence => format!("entropy-bound-by-confidence:{}", self.bound),
        }
    }

    fn select(&self, step: &Step, proposal: &Proposal, _: Key) -> Commit {
        if step.is_last() {
            return everything(proposal);
        }
        let mut sorted: Vec<(f64, usize, f64)> =
            proposal.iter().map(|(position, c)| (self.proxy.error(c), position, c.entropy)).collect();
        sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (mut sum, mut largest) = (0.0, 0.0f64);
        let within = sorted.into_iter().take_while(|(_, _, entropy)| {
            // With the newest as the largest, the sum without it is the sum of those before.
            let fits = if *entropy >= largest { sum <= self.bound } else { sum + entropy - largest <= self.bound };
            (sum, largest) = (sum + entropy, largest.max(*entropy));
            fits
        });
        ascending(within.map(|(_, position, _)| position))
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        one_at_least(open, requested)
    }

    fn reads(&self) -> PlanPart {
        PlanPart::Nothing
    }
}

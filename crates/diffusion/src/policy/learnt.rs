//! Commit by an order that was learned from rewards (2512.09106; see [`OrderNetwork`]).
//!
//! Deviation from the paper, which draws in use as in training: in use a position is committed where its probability of being
//! committed is above a threshold, so that the same canvas gets the same tokens under every seed at temperature 0, and the
//! threshold trades passes for care without another training.

use super::{CommitPolicy, PlanPart, ascending, count, everything, one_at_least};
use crate::{Commit, Key, OrderChoice, OrderFeatures, OrderNetwork, Proposal, SettingError, Step};
use std::sync::Arc;

/// Commits every position that the network commits with a probability above a threshold, and no fewer than the plan has left
/// for the step, one at least: those of the highest logits.
#[derive(Debug, Clone, PartialEq)]
pub struct Learnt {
    network: Arc<OrderNetwork>,
    probability: f64,
}

impl Learnt {
    /// Its name without the threshold.
    pub const NAME: &str = "learnt";
    /// The threshold where none is given: what is committed more often than not.
    pub const PROBABILITY: f64 = 0.5;

    /// The policy of a network and a threshold in `[0, 1]`.
    ///
    /// # Errors
    /// When it lies outside.
    pub fn new(network: Arc<OrderNetwork>, probability: f64) -> Result<Self, SettingError> {
        if Self::allows(probability) {
            Ok(Self { network, probability })
        } else {
            Err(SettingError::new(Self::NAME, probability, "0 to 1"))
        }
    }

    pub(super) fn allows(probability: f64) -> bool {
        (0.0..=1.0).contains(&probability)
    }

    /// The choice of a network that learns: each position by its probability.
    ///
    /// What the plan has left for the step is drawn in any case, and one position at least.
    pub fn draw(network: &OrderNetwork, step: &Step, proposal: &Proposal, key: Key) -> Drawn {
        let features = OrderFeatures::new(step, proposal);
        let logits = network.logits(&features);
        let least = count(step, proposal).max(1);
        let choice = OrderChoice::draw(&logits, proposal.positions(), least, (key, step.planned.number));
        let commit = ascending(choice.places().into_iter().map(|place| proposal.positions()[place]));
        Drawn { features, logits, choice, commit }
    }
}

/// What a network drew at a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// What it read.
    pub features: OrderFeatures,
    /// What it made of that.
    pub logits: Vec<f64>,
    /// The draw.
    pub choice: OrderChoice,
    /// The positions that it committed.
    pub commit: Commit,
}

impl CommitPolicy for Learnt {
    fn name(&self) -> String {
        format!("{}:{}", Self::NAME, self.probability)
    }

    fn select(&self, step: &Step, proposal: &Proposal, _: Key) -> Commit {
        if step.is_last() {
            return everything(proposal);
        }
        let logits = self.network.logits(&OrderFeatures::new(step, proposal));
        let mut falling: Vec<(f64, usize)> = logits.into_iter().zip(proposal.positions().iter().copied()).collect();
        falling.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        // The logit of the threshold: infinite at its ends.
        let threshold = self.probability.ln() - (-self.probability).ln_1p();
        let above = falling.iter().take_while(|(logit, _)| *logit > threshold).count();
        let least = count(step, proposal).max(1);
        ascending(falling.into_iter().take(above.max(least)).map(|(_, position)| position))
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        one_at_least(open, requested)
    }

    fn reads(&self) -> PlanPart {
        PlanPart::Counts
    }
}

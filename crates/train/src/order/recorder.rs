//! A policy that draws as the order says, and sums up what is to be known of its draws when their worth is known.

use aquatint_diffusion::policy::{Drawn, Learnt};
use aquatint_diffusion::{Commit, CommitPolicy, Key, OrderNetwork, OrderNumbers, PlanPart, Proposal, Step};
use std::sync::{Arc, Mutex, PoisonError};

/// The draws of one completion.
#[derive(Debug)]
pub(super) struct Recorder {
    network: Arc<OrderNetwork>,
    sums: Mutex<Sums>,
}

/// What is known of the draws of a completion.
#[derive(Debug, Clone)]
pub(super) struct Sums {
    /// The logarithm of their probability, in nats.
    pub(super) log_probability: f64,
    /// Its derivatives with respect to the weights.
    pub(super) gradient: OrderNumbers,
}

impl Recorder {
    pub(super) fn new(network: Arc<OrderNetwork>) -> Self {
        let gradient = network.weights().clone().map(|values| vec![0.0; values.len()]);
        Self { network, sums: Mutex::new(Sums { log_probability: 0.0, gradient }) }
    }

    /// The sums over all draws so far.
    pub(super) fn sums(&self) -> Sums {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl CommitPolicy for Recorder {
    fn name(&self) -> String {
        Learnt::NAME.to_owned()
    }

    fn select(&self, step: &Step, proposal: &Proposal, key: Key) -> Commit {
        if step.is_last() {
            // Nothing is chosen.
            return Commit { positions: proposal.positions().to_vec() };
        }
        let Drawn { features, logits, choice, commit } = Learnt::draw(&self.network, step, proposal, key);
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.log_probability += choice.log_probability(&logits);
        self.network.backward(&features, &choice.slopes(&logits), &mut sums.gradient);
        commit
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        requested.min(open)
    }

    fn reads(&self) -> PlanPart {
        PlanPart::Counts
    }
}

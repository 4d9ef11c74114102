//! What a run that learns from rewards says of its steps.

use crate::objective::Figure;

/// What the completions of a step were worth.
#[derive(Debug, Clone, Copy)]
pub(super) struct RewardFigures {
    /// The mean reward.
    pub(super) reward: f64,
    /// The standard deviation of the rewards of a rollout.
    pub(super) reward_spread: f64,
    /// The share of completions each of whose rewards is 1 or more.
    pub(super) solved: f64,
    /// The share of groups whose completions are all worth the same; nothing is learned from them.
    pub(super) flat_groups: f64,
    /// Tokens of a completion.
    pub(super) completion_length: f64,
    /// The share of estimates whose ratio went so far that nothing followed from it.
    pub(super) clipped: f64,
    /// The divergence from the model of `initial`, in nats per estimate; `None` where it is not measured.
    pub(super) kl: Option<f64>,
}

impl RewardFigures {
    /// The means over some steps by name, none where there are no steps.
    pub(super) fn means(steps: &[Self]) -> Vec<Figure> {
        let Some(last) = steps.last() else { return Vec::new() };
        let mean = |of: &dyn Fn(&Self) -> f64| steps.iter().map(of).sum::<f64>() / steps.len() as f64;
        let mut means = vec![
            ("reward", mean(&|step| step.reward)),
            ("reward_spread", mean(&|step| step.reward_spread)),
            ("solved", mean(&|step| step.solved)),
            ("flat_groups", mean(&|step| step.flat_groups)),
            ("completion_length", mean(&|step| step.completion_length)),
            ("clipped", mean(&|step| step.clipped)),
        ];
        means.extend(last.kl.map(|_| ("kl", mean(&|step| step.kl.unwrap_or(0.0)))));
        means
    }
}

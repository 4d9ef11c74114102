//! One step: its parts are learned, ranks add their gradients, the optimiser updates.

use super::collective::{add_gradients, all_reduce_costs, all_reduce_loads};
use super::{Plan, StepCost, StepPart, Trainee};
use crate::TrainError;
use crate::lr_schedule::learning_rate_factor;
use crate::optimiser::Update;
use std::time::Instant;

/// What a step was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepOutcome {
    /// Whether the gradient was finite; the step changed nothing where it was not.
    pub(crate) finite: bool,
    /// The loss, in nats per token.
    pub(crate) nats: f64,
    pub(crate) tokens: u64,
    /// Those that the loss is a mean over.
    pub(crate) learned: u64,
    pub(crate) bytes: Option<u64>,
    /// The gradient's, before clipping.
    pub(crate) norm: f64,
    pub(crate) learning_rate: f64,
    /// How uneven the loads of experts were, where there are any.
    pub(crate) imbalance: Option<f64>,
    pub(crate) seconds: f64,
}

/// Takes a step; `None` where it was given up before it changed anything, because the run is to stop.
pub(super) fn take<T: Trainee>(
    trainee: &mut T,
    plan: Plan<'_>,
    part: StepPart<'_>,
) -> Result<Option<StepOutcome>, TrainError> {
    let begun = Instant::now();
    let StepPart { number, ranks, .. } = part;
    trainee.learner().0.clear_gradients();
    let Some(StepCost { nats, observed, loads, tokens, learned, bytes }) = trainee.learn(part)? else {
        return Ok(None);
    };
    // Figures first: the ring says so where a rank is gone, and connected devices would wait for it.
    let (nats, observed) = all_reduce_costs(ranks, nats, observed)?;
    let loads = all_reduce_loads(ranks, loads)?;
    let (weights, optimiser) = trainee.learner();
    let norm = add_gradients(ranks, weights, optimiser)?;
    let learning_rate = plan.optimiser.learning_rate * learning_rate_factor(plan.optimiser, number, plan.run.steps);
    let finite = norm.is_finite() && nats.is_finite();
    if finite {
        trainee.observe(&observed, &loads);
        let (weights, optimiser) = trainee.learner();
        optimiser.update(weights, ranks, Update { step: number + 1, learning_rate, norm })?;
    }
    let (imbalance, seconds) = (loads.imbalance(), begun.elapsed().as_secs_f64());
    Ok(Some(StepOutcome { finite, nats, tokens, learned, bytes, norm, learning_rate, imbalance, seconds }))
}

//! One step: its canvases go through the network pass by pass, ranks add their gradients, the optimiser updates.

use super::collective::{all_reduce_costs, all_reduce_gradients, all_reduce_loads};
use crate::TrainError;
use crate::lr_schedule::learning_rate_factor;
use crate::model::Model;
use crate::objective::{Objective, Pass, Step};
use crate::parallel::Ranks;
use crate::recipe::Resolved;
use aquatint_batch::PackedBatch;
use aquatint_compute::Device;
use aquatint_network::{Denoiser, Learner};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What all steps of a run have in common.
pub(super) struct StepSettings<'a> {
    pub(super) ranks: &'a dyn Ranks,
    /// The canvases of each step that this rank learns.
    pub(super) own: Range<usize>,
    pub(super) recipe: &'a Resolved,
    pub(super) stop: &'a AtomicBool,
}

/// What a step was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepOutcome {
    /// Whether the gradient was finite; the step changed nothing where it was not.
    pub(crate) finite: bool,
    /// The loss, in nats per token.
    pub(crate) nats: f64,
    pub(crate) tokens: u64,
    pub(crate) bytes: u64,
    /// The gradient's, before clipping.
    pub(crate) norm: f64,
    pub(crate) learning_rate: f64,
    /// How uneven the loads of experts were, where there are any.
    pub(crate) imbalance: Option<f64>,
    pub(crate) seconds: f64,
}

impl StepSettings<'_> {
    /// Takes step `number`, counted from 0; `None` where it was given up before it changed anything, because the run is
    /// to stop. Ranks that share the step finish it.
    pub(super) fn take<D: Device>(
        &self,
        objective: &mut dyn Objective,
        model: &mut Model<'_, D>,
        number: u64,
    ) -> Result<Option<StepOutcome>, TrainError> {
        let begun = Instant::now();
        let batch = self.recipe.optimiser.batch;
        let canvases = objective.batch(Step { number, canvases: batch, ranks: self.ranks }, model)?;
        let tokens = canvases.filled();
        model.network.clear_gradients();
        // A step that was given up counts for nothing.
        drop(model.network.take_expert_loads());
        let (mut nats, mut observed) = (0.0, Vec::new());
        let per_pass = self.recipe.canvases_per_pass();
        let mut first = self.own.start;
        while first < self.own.end {
            if self.ranks.size() == 1 && self.stop.load(Ordering::SeqCst) {
                return Ok(None);
            }
            // Passes end where they do on one rank, since some draws are one for each pass.
            let count = (per_pass - first % per_pass).min(self.own.end - first);
            let rows = PackedBatch::new(&canvases.select(first..first + count), model.network.spec().attention)?;
            let pass = Pass { step: number, first, canvases: batch, tokens, rows: &rows };
            // The cost of a step is the mean of those of its passes.
            let share = count as f64 / batch as f64;
            let balance = self.recipe.objective.balance;
            model.network.balance_experts(balance.map_or(0.0, |weight| weight * share));
            let cost = objective.forward_backward(&pass, &mut model.network)?;
            nats += cost.nats;
            observed.extend(cost.observed);
            first += count;
        }
        all_reduce_gradients(self.ranks, &mut model.network)?;
        let (nats, observed) = all_reduce_costs(self.ranks, nats, observed)?;
        let loads = all_reduce_loads(self.ranks, model.network.take_expert_loads())?;
        let norm = model.network.gradient_norm();
        let optimiser = &self.recipe.optimiser;
        let learning_rate = optimiser.learning_rate * learning_rate_factor(optimiser, number, self.recipe.run.steps);
        let finite = norm.is_finite() && nats.is_finite();
        if finite {
            objective.observe(&observed);
            if let Some(rate) = self.recipe.objective.balance {
                model.network.shift_router_biases(&loads, rate);
            }
            model.optimiser.update(&mut model.network, number + 1, learning_rate, norm);
        }
        let bytes = canvases.text_bytes.iter().map(|&bytes| u64::from(bytes)).sum();
        let seconds = begun.elapsed().as_secs_f64();
        let (tokens, imbalance) = (tokens as u64, loads.imbalance());
        Ok(Some(StepOutcome { finite, nats, tokens, bytes, norm, learning_rate, imbalance, seconds }))
    }
}

//! A language model as what a run trains: its objective says what a step learns from and what it costs.

use crate::model::Model;
use crate::objective::{Figure, HeldOutCost, Objective, ObjectiveState, PER_TOKEN, Pass, Step};
use crate::optimiser::Optimiser;
use crate::plot::PlotLabels;
use crate::recipe::Resolved;
use crate::trainer::{Held, HeldOutFigures, HeldOutText, StepCost, StepPart, Trainee};
use crate::{TrainError, sample};
use aquatint_batch::PackedBatch;
use aquatint_compute::Device;
use aquatint_evaluate::EvaluateError;
use aquatint_network::{Activations, Denoiser, ExpertLoads, Learner, Weights};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A step that is finished in any case.
static NEVER: AtomicBool = AtomicBool::new(false);

/// A language model that is trained.
pub(crate) struct LanguageTrainee<'a, D: Device> {
    pub(crate) recipe: &'a Resolved,
    pub(crate) objective: Box<dyn Objective>,
    pub(crate) model: Model<'a, D>,
}

impl<D: Device> LanguageTrainee<'_, D> {
    /// Of how many layers the activations are recomputed, so that a pass stays within its memory.
    fn recomputed(&self) -> usize {
        let recipe = self.recipe;
        let (spec, canvases) = (self.model.network.spec(), recipe.canvases_per_pass());
        let budget = match recipe.run.activation_memory {
            _ if recipe.optimiser.recompute => return spec.layers.len(),
            None => return 0,
            Some(budget) => budget.0,
        };
        let rows = canvases * recipe.data.canvas_length;
        Activations::new(spec, rows, canvases, size_of::<D::Element>()).recomputed_within(budget)
    }
}

impl<D: Device> Trainee for LanguageTrainee<'_, D> {
    type Device = D;

    fn weights(&self) -> &Weights<D> {
        self.model.network.weights()
    }

    fn learner(&mut self) -> (&mut Weights<D>, &mut Optimiser<D>) {
        (self.model.network.weights_mut(), &mut self.model.optimiser)
    }

    fn plot_labels(&self) -> PlotLabels {
        let unit = self.objective.unit();
        PlotLabels { unit, held_out: if unit == PER_TOKEN { "text" } else { "data" } }
    }

    fn limit_memory(&mut self) -> (usize, usize) {
        let recomputed = self.recomputed();
        self.model.network.recompute_activations(recomputed);
        (recomputed, self.model.network.spec().layers.len())
    }

    fn learn(&mut self, part: StepPart<'_>) -> Result<Option<StepCost>, TrainError> {
        let StepPart { number, own, ranks, stop } = part;
        let batch = self.recipe.optimiser.batch;
        // Ranks that share a step finish it.
        let given_up = if ranks.size() == 1 { stop } else { &NEVER };
        let step = Step { number, canvases: batch, ranks, stop: given_up };
        let canvases = match self.objective.batch(step, &mut self.model) {
            Err(TrainError::Stopped) if given_up.load(Ordering::SeqCst) => return Ok(None),
            canvases => canvases?,
        };
        let (filled, learned) = (canvases.filled(), canvases.learned());
        // A step that was given up counts for nothing.
        drop(self.model.network.take_expert_loads());
        let (mut nats, mut observed) = (0.0, Vec::new());
        let per_pass = self.recipe.canvases_per_pass();
        let mut first = own.start;
        while first < own.end {
            if given_up.load(Ordering::SeqCst) {
                return Ok(None);
            }
            // Passes end where they do on one rank, since some draws are one for each pass.
            let count = (per_pass - first % per_pass).min(own.end - first);
            let rows = PackedBatch::new(&canvases.select(first..first + count), self.model.network.spec().attention)?;
            let pass = Pass { step: number, first, canvases: batch, tokens: learned, rows: &rows };
            // The cost of a step is the mean of those of its passes.
            let share = count as f64 / batch as f64;
            let balance = self.recipe.objective.balance;
            self.model.network.balance_experts(balance.map_or(0.0, |weight| weight * share));
            let dropout =
                self.recipe.adapter.as_ref().map(|adapter| adapter.dropout_at(self.recipe.seed, number, first));
            self.model.network.drop_adapter_inputs(dropout);
            let cost = self.objective.forward_backward(&pass, &mut self.model.network)?;
            nats += cost.nats;
            observed.extend(cost.observed);
            first += count;
        }
        let is_per_token = self.objective.unit() == PER_TOKEN;
        // What is no cost of text has none in bits of it.
        let bytes = is_per_token.then(|| canvases.text_bytes.iter().map(|&bytes| u64::from(bytes)).sum());
        let loads = self.model.network.take_expert_loads();
        let (tokens, learned) = (filled as u64, learned as u64);
        Ok(Some(StepCost { nats, observed, loads, tokens, learned, bytes }))
    }

    fn observe(&mut self, observed: &[f64], loads: &ExpertLoads) {
        self.objective.observe(observed);
        if let Some(rate) = self.recipe.objective.balance {
            self.model.network.shift_router_biases(loads, rate);
        }
    }

    fn means(&mut self) -> Vec<Figure> {
        self.objective.means()
    }

    fn validate(&self, go_on: &mut dyn FnMut() -> bool) -> Result<Held, TrainError> {
        match self.objective.validate(&self.model.network, &mut |_| go_on()) {
            Ok(Some(HeldOutCost::Other { cost, figures })) => {
                Ok(Held::Measured(Box::new(HeldOutFigures { cost, figures })))
            }
            Ok(Some(HeldOutCost::Text(likelihood))) => {
                let codes = self.model.format.code_figures(&likelihood);
                Ok(Held::Measured(Box::new(HeldOutText { likelihood, codes })))
            }
            Ok(None) => Ok(Held::Nothing),
            Err(TrainError::Evaluate(EvaluateError::Stopped)) => Ok(Held::Stopped),
            Err(error) => Err(error),
        }
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        self.model.save(folder, self.objective.as_ref())
    }

    /// Fills a canvas. A model without a process to walk back fills none.
    fn sample(&self, step: u64, stop: &AtomicBool) -> Result<Option<String>, TrainError> {
        let Some(process) = self.objective.process() else { return Ok(None) };
        let Model { network, vocabulary, .. } = &self.model;
        sample::fill(network, process, self.recipe, vocabulary, step, stop).map(Some)
    }

    fn state(&self) -> Result<ObjectiveState, TrainError> {
        self.objective.state()
    }
}

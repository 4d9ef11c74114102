//! A learnt order as what a run trains.

use super::recorder::{Recorder, Sums};
use super::{Counted, OrderObjective};
use crate::TrainError;
use crate::mean_figures::MeanFigures;
use crate::objective::{Figure, ObjectiveState, Step};
use crate::objectives::reward::prompts::Prompt;
use crate::objectives::reward::rollout::{Completion, Drawer, Policies};
use crate::objectives::reward::surrogate;
use crate::optimiser::Optimiser;
use crate::plot::PlotLabels;
use crate::recipe::Resolved;
use crate::trainer::{Held, HeldOutFigures, StepCost, StepPart, Trainee};
use aquatint_checkpoint::save_order;
use aquatint_compute::Device;
use aquatint_diffusion::policy::Learnt;
use aquatint_diffusion::{CommitPolicy, Key, OrderNetwork};
use aquatint_network::{Denoiser, ExpertLoads, Weights};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Streams of randomness under the run's seed.
const ROLLOUTS: u64 = 8;
const HELD_OUT: u64 = 9;

/// After so many steps in a row whose groups all have one reward each, and not all there is, the run has nothing to learn from.
const HOPELESS: u64 = 100;

/// A step that is finished in any case.
static NEVER: AtomicBool = AtomicBool::new(false);

/// What is observed of a completion: its reward, whether it is solved, what it is worth less its passes, these, and its length.
const OBSERVED: usize = 5;

/// An order that is trained.
pub(super) struct OrderTrainee<'a, D: Device> {
    recipe: &'a Resolved,
    objective: OrderObjective,
    denoiser: Box<dyn Denoiser>,
    weights: Weights<D>,
    optimiser: Optimiser<D>,
    counted: Counted,
    /// Figures since the last report.
    since: MeanFigures,
}

impl<'a, D: Device> OrderTrainee<'a, D> {
    pub(super) fn new(
        recipe: &'a Resolved,
        objective: OrderObjective,
        denoiser: Box<dyn Denoiser>,
        (weights, optimiser): (Weights<D>, Optimiser<D>),
    ) -> Self {
        let counted = objective.counted;
        Self { recipe, objective, denoiser, weights, optimiser, counted, since: MeanFigures::default() }
    }

    /// The order with the weights of the moment.
    fn network(&self) -> Result<OrderNetwork, TrainError> {
        let read = |name: &str| self.weights.read_parameter(name);
        let network = OrderNetwork::new(self.objective.order.width, &mut |tensor| read(tensor.name).ok());
        // The numbers are no finite ones where the run diverged, which is found out first.
        network.map_err(|error| TrainError::ObjectiveState { reason: error.to_string() })
    }

    /// What draws completions, so many of each prompt.
    fn drawer<'b>(&'b self, policy: Policies<'b>, completions: usize, purpose: u64) -> Drawer<'b> {
        let OrderObjective { reward, rewards, process, vocabulary, suppressed, .. } = &self.objective;
        let key = Key::new(self.recipe.seed).fold(purpose);
        let process = process.as_ref();
        Drawer { recipe: reward, rewards, vocabulary, process, policy, suppressed, completions, key }
    }

    /// What a completion of a prompt is worth, less the price of its passes.
    fn worth(&self, completion: &Completion, prompt: &Prompt<'_>) -> f64 {
        completion.reward.0 - self.objective.order.price * completion.passes as f64 / prompt.length.max(1) as f64
    }

    fn observed(&self, completion: &Completion, prompt: &Prompt<'_>) -> [f64; OBSERVED] {
        let solved = f64::from(u8::from(completion.solved));
        let length = completion.positions.len() as f64;
        [completion.reward.0, solved, self.worth(completion, prompt), completion.passes as f64, length]
    }
}

/// The figures of completions, from what was observed of each.
fn figures(observed: &[f64]) -> Vec<Figure> {
    let all = observed.chunks_exact(OBSERVED);
    let count = all.len().max(1) as f64;
    let mean = |place: usize| all.clone().map(|of| of[place]).sum::<f64>() / count;
    vec![
        ("reward", mean(0)),
        ("solved", mean(1)),
        ("worth", mean(2)),
        ("passes", mean(3)),
        ("completion_length", mean(4)),
    ]
}

impl<D: Device> Trainee for OrderTrainee<'_, D> {
    type Device = D;

    fn weights(&self) -> &Weights<D> {
        &self.weights
    }

    fn learner(&mut self) -> (&mut Weights<D>, &mut Optimiser<D>) {
        (&mut self.weights, &mut self.optimiser)
    }

    fn plot_labels(&self) -> PlotLabels {
        PlotLabels { unit: "surrogate", held_out: "prompts" }
    }

    fn limit_memory(&mut self) -> (usize, usize) {
        (0, self.denoiser.spec().layers.len())
    }

    fn learn(&mut self, part: StepPart<'_>) -> Result<Option<StepCost>, TrainError> {
        let StepPart { number, own, ranks, stop } = part;
        let Counted { flat } = self.counted;
        if flat >= HOPELESS {
            return Err(TrainError::FlatRewards { rollouts: flat, step: number.saturating_sub(1) });
        }
        let batch = self.recipe.optimiser.batch;
        // Ranks that share a step finish it.
        let given_up = if ranks.size() == 1 { stop } else { &NEVER };
        let step = Step { number, canvases: batch, ranks, stop: given_up };
        let each = self.objective.reward.completions;
        let prompts = self.objective.prompts.of_rollout(number, self.objective.reward.prompts(batch));
        let tokens: u64 = prompts.iter().map(|prompt| (prompt.length * each) as u64).sum();
        let groups = own.start / each..own.end / each;
        let network = Arc::new(self.network()?);
        let recorders: Vec<Arc<Recorder>> =
            own.clone().map(|_| Arc::new(Recorder::new(Arc::clone(&network)))).collect();
        let policies: Vec<Arc<dyn CommitPolicy>> = recorders.iter().map(|recorder| Arc::clone(recorder) as _).collect();
        let drawer = self.drawer(Policies::Each(&policies), each, ROLLOUTS);
        let drawn = drawer.draw(self.denoiser.as_ref(), step, &prompts[groups.clone()], groups.start);
        let completions = match drawn {
            Err(TrainError::Stopped) if given_up.load(Ordering::SeqCst) => return Ok(None),
            completions => completions?,
        };
        let mut gradient = network.weights().clone().map(|values| vec![0.0; values.len()]);
        let (mut nats, mut observed) = (0.0, Vec::with_capacity(completions.len() * OBSERVED));
        for (group, prompt) in completions.chunks(each).zip(&prompts[groups]) {
            let worths: Vec<f64> = group.iter().map(|completion| self.worth(completion, prompt)).collect();
            let advantages = surrogate::advantages(&worths, self.objective.reward.scale);
            let first = observed.len() / OBSERVED;
            for (index, (completion, advantage)) in group.iter().zip(advantages).enumerate() {
                let Sums { log_probability, gradient: own } = recorders[first + index].sums();
                let factor = -advantage / batch as f64;
                nats += factor * log_probability;
                for (sums, own) in gradient.iter_mut().zip(own) {
                    sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += factor * own);
                }
                observed.extend(self.observed(completion, prompt));
            }
        }
        let tensors = OrderNetwork::tensors(network.width())
            .map_err(|error| TrainError::ObjectiveState { reason: error.to_string() })?;
        for (tensor, values) in tensors.iter().zip(&gradient) {
            self.weights.add_gradient(tensor.name, values)?;
        }
        let loads = ExpertLoads::default();
        Ok(Some(StepCost { nats, observed, loads, tokens, learned: tokens, bytes: None }))
    }

    fn observe(&mut self, observed: &[f64], _: &ExpertLoads) {
        let groups = observed.chunks(OBSERVED * self.objective.reward.completions);
        let rewards = |group: &[f64]| group.chunks_exact(OBSERVED).map(|of| of[0]).collect::<Vec<f64>>();
        let flat = groups.clone().filter(|group| surrogate::is_flat(&rewards(group))).count();
        // Where all is solved, passes are left to be saved.
        let is_solved = groups.clone().any(|group| group.chunks_exact(OBSERVED).all(|of| of[1] > 0.0));
        self.counted.flat = if flat < groups.len() || is_solved { 0 } else { self.counted.flat + 1 };
        let mut all = figures(observed);
        all.push(("flat_groups", flat as f64 / groups.len().max(1) as f64));
        self.since.add(all);
    }

    fn means(&mut self) -> Vec<Figure> {
        self.since.take()
    }

    /// One completion of each held-out prompt, as it is filled in use; what is to become small is what they are worth, with the
    /// other sign.
    fn validate(&self, go_on: &mut dyn FnMut() -> bool) -> Result<Held, TrainError> {
        let Some(held_out) = &self.objective.held_out else { return Ok(Held::Nothing) };
        let prompts = held_out.spread(self.recipe.run.validate_canvases);
        let learnt = Learnt::new(Arc::new(self.network()?), Learnt::PROBABILITY).map_err(crate::RecipeError::Policy)?;
        let learnt: Arc<dyn CommitPolicy> = Arc::new(learnt);
        let drawer = self.drawer(Policies::Same(&learnt), 1, HELD_OUT);
        let together = self.recipe.optimiser.batch;
        let drawn = drawer.held_out(self.denoiser.as_ref(), &prompts, together, &mut |_| go_on())?;
        let Some(completions) = drawn else { return Ok(Held::Stopped) };
        let observed =
            completions.iter().zip(&prompts).flat_map(|(completion, prompt)| self.observed(completion, prompt));
        let observed: Vec<f64> = observed.collect();
        let figures = figures(&observed);
        let cost = figures.iter().find(|(name, _)| *name == "worth").map_or(0.0, |(_, worth)| -worth);
        Ok(Held::Measured(Box::new(HeldOutFigures { cost, figures })))
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        Ok(save_order(folder, &self.network()?)?)
    }

    fn sample(&self, _: u64, _: &AtomicBool) -> Result<Option<String>, TrainError> {
        Ok(None)
    }

    fn state(&self) -> Result<ObjectiveState, TrainError> {
        ObjectiveState::new(&self.counted)
    }
}

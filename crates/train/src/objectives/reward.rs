//! Reinforcement learning from rewards that a program checks: completions are drawn, compared within their groups, and made
//! more or less probable.
//!
//! A step learns from the completions of a rollout, `reward.completions` of each prompt, which the engine fills under the
//! present weights. A completion's advantage is its reward without the mean of its group (GRPO, 2402.03300, section 4.1).
//! No diffusion model states the probability of a completion; an [`Estimator`](estimator::Estimator) estimates its logarithm, token by token or as a whole,
//! and a [surrogate](surrogate) of that is minimised. Several updates may follow a rollout. Each has masks of its own, by which the
//! estimates of the model that drew the completions were made too, before the first update.
//!
//! Every draw is a function of the seed and the step. What a rollout gave is saved with the run where updates are left.

mod estimator;
mod estimators;
pub(crate) mod prompts;
mod reader;
pub(crate) mod rollout;
pub(crate) mod surrogate;

use super::Registered;
use super::reference::Reference;
use crate::mean_figures::MeanFigures;
use crate::objective::{Figure, HeldOutCost, Objective, ObjectiveState, Pass, PassCost, Setting, Step, TrainedModel};
use crate::recipe::{ObjectiveKind, RewardRecipe, SurrogateKind};
use crate::{RecipeError, TrainError};
use aquatint_batch::PackedBatch;
use aquatint_checkpoint::GenerationDefaults;
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::{CommitPolicy, Key, Process, ProcessKind, TokenId};
use aquatint_evaluate::EvaluateError;
use aquatint_generate::process_of;
use aquatint_network::{Denoiser, Learner, NetworkSpec};
use aquatint_reward::Rewards;
use aquatint_vocabulary::{Role, Vocabulary};
use estimator::{Drawn, Estimator, Plan};
use prompts::Prompts;
use reader::{Reader, never_written, readings};
use rollout::{Completion, Drawer, Exact, Policies, Rollout};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// Streams of randomness under the run's seed.
const ROLLOUTS: u64 = 6;
const READINGS: u64 = 7;
const HELD_OUT: u64 = 10;

/// After so many rollouts in a row whose groups all have one reward each, the run has nothing to learn from.
const HOPELESS: u64 = 100;

pub(super) const REGISTERED: Registered = Registered {
    is_requested: |recipe| recipe.objective.kind == ObjectiveKind::Reward,
    check: |_| Ok(()),
    canvases_together: |_| 1,
    begin: |setting| Ok(Box::new(RewardObjective::begin(setting)?)),
};

/// Completions that are drawn and learned from.
struct RewardObjective {
    recipe: RewardRecipe,
    rewards: Rewards,
    policy: Arc<dyn CommitPolicy>,
    prompts: Prompts,
    held_out: Option<Prompts>,
    /// Held-out prompts that are measured, at most.
    most_held_out: usize,
    estimator: Box<dyn Estimator>,
    reader: Reader,
    vocabulary: Vocabulary,
    /// What rollouts never write, by the model's advice.
    suppressed: Vec<TokenId>,
    key: Key,
    canvas_length: usize,
    canvases_per_pass: usize,
    /// Where the divergence from it counts.
    reference: Option<Reference>,
    rollout: Option<Rollout>,
    /// Rollouts in a row without a group whose rewards differ.
    flat: u64,
    /// What entropy weighs beside the advantages while it is below its floor.
    entropy_weight: f64,
    /// Figures since the last report.
    since: MeanFigures,
}

/// What the run's state keeps.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counted {
    rollout: Option<Rollout>,
    flat: u64,
    #[serde(default)]
    entropy_weight: Option<Exact>,
}

/// What the weight of entropy changes by with each rollout.
const ENTROPY_STEP: f64 = 0.01;
/// The most that it weighs: a nat of a completion as much as a deviation of the rewards.
const ENTROPY_MOST: f64 = 1.0;

impl RewardObjective {
    fn begin(setting: &mut Setting<'_>) -> Result<Self, TrainError> {
        let recipe = setting.recipe;
        let Some(reward) = recipe.reward.clone() else {
            return Err(RecipeError::value("reward", "unset", "a table with `terms`").into());
        };
        let needed = reward.prompts(recipe.optimiser.batch);
        let prompts = Prompts::read(setting, reward.completion_length, needed)?;
        let (suppressed, mask) = (setting.suppressed().to_vec(), setting.vocabulary.required(Role::Mask)?);
        let never = never_written(&reward, setting.vocabulary, (mask, setting.spec.vocabulary_size), &suppressed);
        let saved = setting.saved::<Counted>()?;
        let reference = if reward.kl > 0.0 { Some(Reference::begin(setting)?) } else { None };
        let (rollout, flat, entropy_weight) =
            saved.map_or((None, 0, None), |saved| (saved.rollout, saved.flat, saved.entropy_weight));
        Ok(Self {
            rewards: reward.rewards()?,
            policy: reward.policy(setting.initial)?,
            estimator: estimators::of(&reward),
            prompts,
            held_out: Prompts::read_held_out(setting, reward.completion_length)?,
            most_held_out: recipe.run.validate_canvases,
            reader: Reader { process: process_of(setting.spec, None)?, mask, never },
            vocabulary: setting.vocabulary.clone(),
            suppressed,
            key: Key::new(recipe.seed),
            canvas_length: recipe.data.canvas_length,
            canvases_per_pass: recipe.canvases_per_pass(),
            reference,
            rollout,
            flat,
            entropy_weight: entropy_weight.map_or(0.0, |weight| weight.0),
            since: MeanFigures::default(),
            recipe: reward,
        })
    }

    /// What draws the completions of rollouts.
    fn drawer(&self) -> Drawer<'_> {
        Drawer {
            recipe: &self.recipe,
            rewards: &self.rewards,
            vocabulary: &self.vocabulary,
            process: self.reader.process.as_ref(),
            policy: Policies::Same(&self.policy),
            suppressed: &self.suppressed,
            completions: self.recipe.completions,
            key: self.key.fold(ROLLOUTS),
        }
    }

    /// Draws the completions of the updates that follow, each rank its share of the prompts.
    fn draw(&mut self, step: Step<'_>, denoiser: &dyn Denoiser) -> Result<Rollout, TrainError> {
        let count = self.recipe.prompts(step.canvases);
        let prompts = self.prompts.of_rollout(step.number / self.recipe.updates, count);
        let (rank, size) = (step.ranks.rank(), step.ranks.size());
        let own = count * rank / size..count * (rank + 1) / size;
        let completions = self.drawer().draw(denoiser, step, &prompts[own.clone()], own.start)?;
        let mine = serde_json::to_vec(&completions).map_err(not_saved)?;
        let mut completions: Vec<Completion> = Vec::with_capacity(step.canvases);
        for bytes in step.ranks.all_gather(mine)? {
            completions.extend(serde_json::from_slice::<Vec<Completion>>(&bytes).map_err(not_saved)?);
        }
        for group in completions.chunks_mut(self.recipe.completions) {
            let rewards: Vec<f64> = group.iter().map(|completion| completion.reward.0).collect();
            let advantages = surrogate::advantages(&rewards, self.recipe.scale);
            group
                .iter_mut()
                .zip(advantages)
                .for_each(|(completion, advantage)| completion.advantage = Exact(advantage));
        }
        let mut rollout = Rollout { step: step.number, completions, entropy: None };
        if self.recipe.entropy_floor > 0.0 {
            self.regard_entropy(denoiser, &mut rollout)?;
        }
        for update in 1..self.recipe.updates {
            let estimates = self.estimates(denoiser, &rollout, step.number + update)?;
            for (completion, estimates) in rollout.completions.iter_mut().zip(estimates) {
                completion.before.push(estimates.into_iter().map(Exact).collect());
            }
        }
        Ok(rollout)
    }

    /// Adds to the advantages what raises the model's entropy, as long as that is below its floor. The weight grows by a
    /// fixed amount with each rollout below the floor and falls with each above it (after Skywork-OR1, 2505.22312).
    fn regard_entropy(&mut self, denoiser: &dyn Denoiser, rollout: &mut Rollout) -> Result<(), TrainError> {
        let mean = |estimates: Vec<f64>| estimates.iter().sum::<f64>() / estimates.len().max(1) as f64;
        let per_token: Vec<f64> = self.estimates(denoiser, rollout, rollout.step)?.into_iter().map(mean).collect();
        let entropy = -per_token.iter().sum::<f64>() / per_token.len().max(1) as f64;
        let is_below = entropy < self.recipe.entropy_floor;
        let by = if is_below { ENTROPY_STEP } else { -ENTROPY_STEP };
        self.entropy_weight = (self.entropy_weight + by).clamp(0.0, ENTROPY_MOST);
        rollout.entropy = Some(Exact(entropy));
        if is_below {
            let size = self.recipe.completions;
            for (group, per_token) in rollout.completions.chunks_mut(size).zip(per_token.chunks(size)) {
                let sums = group.iter().zip(per_token).map(|(one, mean)| mean * one.positions.len() as f64);
                let bonuses = surrogate::entropy_bonuses(&sums.collect::<Vec<f64>>());
                for (completion, bonus) in group.iter_mut().zip(bonuses) {
                    completion.advantage.0 += self.entropy_weight * bonus;
                }
            }
        }
        Ok(())
    }

    /// The estimates of a model about all completions, by the readings of a step.
    fn estimates(&self, model: &dyn Denoiser, rollout: &Rollout, step: u64) -> Result<Vec<Vec<f64>>, TrainError> {
        let canvases = rollout.canvases(self.canvas_length);
        let mut all = Vec::with_capacity(rollout.completions.len());
        while all.len() < rollout.completions.len() {
            let some = all.len()..(all.len() + self.canvases_per_pass).min(rollout.completions.len());
            let rows = PackedBatch::new(&canvases.select(some.clone()), model.spec().attention)?;
            let plans = self.plans(rollout, some, step);
            let read = self.reader.log_probabilities(model, &rows, &plans)?;
            all.extend(plans.iter().zip(read).map(|(plan, read)| plan.estimates(&read)));
        }
        Ok(all)
    }

    /// What is read of some completions in a step.
    fn plans(&self, rollout: &Rollout, some: Range<usize>, step: u64) -> Vec<Plan> {
        let plan = |(number, completion): (usize, &Completion)| {
            let Completion { positions, committed, behind, advantage, .. } = completion;
            let (positions, behind) = (positions.clone(), behind.committed.as_slice());
            let drawn = Drawn { positions, committed, behind, advantage: advantage.0 };
            self.estimator.plan(&drawn, &mut self.key.fold(READINGS).at(number as u64, step))
        };
        some.clone().zip(&rollout.completions[some]).map(plan).collect()
    }

    /// The rollout of the present step, and which of its updates that is.
    fn present(&self, step: u64) -> Result<(&Rollout, usize), TrainError> {
        let fits = |rollout: &&Rollout| (rollout.step..rollout.step + self.recipe.updates).contains(&step);
        let Some(rollout) = self.rollout.as_ref().filter(fits) else {
            return Err(TrainError::ObjectiveState { reason: format!("there is no rollout for step {step}") });
        };
        Ok((rollout, (step - rollout.step) as usize))
    }

    /// The share of groups whose completions are all worth the same.
    fn flat_groups(&self, rollout: &Rollout) -> f64 {
        let groups = rollout.completions.chunks(self.recipe.completions);
        let count = groups.len().max(1) as f64;
        let rewards = |group: &[Completion]| group.iter().map(|completion| completion.reward.0).collect::<Vec<f64>>();
        groups.filter(|group| surrogate::is_flat(&rewards(group))).count() as f64 / count
    }
}

/// The figures of completions.
fn figures_of(completions: &[Completion]) -> Vec<Figure> {
    let count = completions.len().max(1) as f64;
    let mean = |of: &dyn Fn(&Completion) -> f64| completions.iter().map(of).sum::<f64>() / count;
    let reward = mean(&|completion| completion.reward.0);
    vec![
        ("reward", reward),
        ("reward_spread", mean(&|completion| (completion.reward.0 - reward).powi(2)).sqrt()),
        ("solved", mean(&|completion| f64::from(u8::from(completion.solved)))),
        ("passes", mean(&|completion| completion.passes as f64)),
        ("completion_length", mean(&|completion| completion.positions.len() as f64)),
    ]
}

/// Refuses a network of another process, and one whose readings depend on more than its canvas.
pub(crate) fn require_masks(spec: &NetworkSpec) -> Result<(), TrainError> {
    if spec.process.kind != ProcessKind::Masked || spec.mask_token.is_none() {
        let allowed = "\"masked\" where `objective.kind` is \"reward\" or \"order\"";
        return Err(RecipeError::value("objective.process", format!("\"{}\"", spec.process.kind), allowed).into());
    }
    if spec.self_conditioning.is_some() {
        let allowed = "false where `objective.kind` is \"reward\" or \"order\"";
        return Err(RecipeError::value("network.self_conditioning", "true", allowed).into());
    }
    Ok(())
}

fn not_saved(error: serde_json::Error) -> TrainError {
    TrainError::ObjectiveState { reason: error.to_string() }
}

impl Objective for RewardObjective {
    fn process(&self) -> Option<&dyn Process> {
        Some(self.reader.process.as_ref())
    }

    /// Draws a rollout where updates on the last one are done.
    fn batch(&mut self, step: Step<'_>, model: &mut dyn TrainedModel) -> Result<CanvasBatch, TrainError> {
        if step.number.is_multiple_of(self.recipe.updates) {
            let rollout = self.draw(step, model.denoiser())?;
            let is_raised = rollout.entropy.is_some_and(|entropy| entropy.0 < self.recipe.entropy_floor);
            self.flat = if self.flat_groups(&rollout) < 1.0 || is_raised { 0 } else { self.flat + 1 };
            if self.flat >= HOPELESS {
                return Err(TrainError::FlatRewards { rollouts: self.flat, step: step.number });
            }
            self.rollout = Some(rollout);
        }
        let rollout = self.present(step.number)?.0;
        Ok(rollout.canvases(self.canvas_length))
    }

    /// The surrogate of the pass's completions, divided by the completions of the step, and what their divergence weighs.
    fn forward_backward(&mut self, pass: &Pass<'_>, model: &mut dyn Learner) -> Result<PassCost, TrainError> {
        let (rollout, update) = self.present(pass.step)?;
        let (rows, recipe) = (pass.rows, &self.recipe);
        let own = pass.first..pass.first + rows.canvases.len();
        let plans = self.plans(rollout, own.clone(), pass.step);
        let is_curved = plans.iter().any(Plan::is_curved);
        // At the first update the model is the one that drew: what does not depend on the estimates needs none.
        let needs_estimates = update > 0 || is_curved || self.reference.is_some();
        let now = match needs_estimates {
            true => Some(self.reader.log_probabilities(&*model, rows, &plans)?),
            false => None,
        };
        let there = match &self.reference {
            Some(reference) => {
                Some(reference.read(&*model, |reference| self.reader.log_probabilities(reference, rows, &plans))?)
            }
            None => None,
        };
        let mut weights: Vec<Vec<Vec<f64>>> = Vec::with_capacity(plans.len());
        let (mut value, mut kl, mut clipped, mut estimates) = (0.0, 0.0, 0.0, 0.0);
        for (index, plan) in plans.iter().enumerate() {
            let number = pass.first + index;
            let group = number - number % recipe.completions;
            let advantages = rollout.completions[group..group + recipe.completions].iter();
            let advantages: Vec<f64> = advantages.map(|completion| completion.advantage.0).collect();
            let factor = surrogate::factors(&advantages, recipe.surrogate)[number - group];
            let read = now.as_ref().map(|now| now[index].as_slice());
            let new = read.map_or_else(|| vec![0.0; plan.estimates], |read| plan.estimates(read));
            let old = match update.checked_sub(1) {
                None => new.clone(),
                Some(before) => rollout.completions[number].before[before].iter().map(|exact| exact.0).collect(),
            };
            let reference = there.as_ref().map(|there| plan.estimates(&there[index]));
            let share = 1.0 / (pass.canvases * plan.estimates.max(1)) as f64;
            let mut slopes = Vec::with_capacity(plan.estimates);
            for (estimate, (&new, &old)) in new.iter().zip(&old).enumerate() {
                let cost = surrogate::cost(recipe, factor, new, old);
                let mut slope = cost.slope;
                value += share * cost.value;
                clipped += f64::from(u8::from(cost.is_clipped));
                if let Some(reference) = &reference {
                    let (divergence, by) = surrogate::divergence(recipe.kl_estimator, new, reference[estimate]);
                    value += share * recipe.kl * divergence;
                    slope += recipe.kl * by;
                    kl += divergence;
                }
                slopes.push(share * slope);
                estimates += 1.0;
            }
            // A row costs −ln p, so that its weight has the other sign.
            let of_terms = plan.readings.iter().zip(plan.slopes(read)).map(|(reading, by)| {
                reading.terms.iter().zip(by).map(|(term, by)| -slopes[term.estimate] * by).collect()
            });
            weights.push(of_terms.collect());
        }
        let mut paid = 0.0;
        for reading in 0..readings(&plans) {
            let of = |number: usize, term: usize| Some(*weights[number].get(reading)?.get(term)?);
            let weight = |number: usize, term: usize| of(number, term).filter(|by| *by != 0.0);
            let noisy = self.reader.reading(rows, &plans, reading, &weight);
            if noisy.terms.is_empty() {
                continue;
            }
            paid += self.reader.learn(&mut *model, rows, &noisy)?;
        }
        // A surrogate that is a log-probability is what its rows cost, where nothing else was needed.
        let is_paid = !needs_estimates && !matches!(recipe.surrogate, SurrogateKind::Clipped);
        let nats = if is_paid { paid } else { value };
        Ok(PassCost { nats, observed: vec![kl, clipped, estimates] })
    }

    fn observe(&mut self, observed: &[f64]) {
        let sums = observed.chunks_exact(3).fold([0.0; 3], |sums, part| [0, 1, 2].map(|i| sums[i] + part[i]));
        let [kl, clipped, estimates] = sums;
        let estimates = f64::max(estimates, 1.0);
        let Some(rollout) = &self.rollout else { return };
        let mut figures = figures_of(&rollout.completions);
        figures.push(("flat_groups", self.flat_groups(rollout)));
        figures.push(("clipped", clipped / estimates));
        figures.extend(self.reference.is_some().then_some(("kl", kl / estimates)));
        figures.extend(rollout.entropy.map(|entropy| ("entropy", entropy.0)));
        self.since.add(figures);
    }

    /// One completion of each held-out prompt, drawn as those of a rollout are, by numbers that stay the same; what is to
    /// become small is their mean reward with the other sign.
    fn validate(
        &self,
        model: &dyn Learner,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<HeldOutCost>, TrainError> {
        let Some(held_out) = &self.held_out else { return Ok(None) };
        let prompts = held_out.spread(self.most_held_out);
        let drawer = Drawer { completions: 1, key: self.key.fold(HELD_OUT), ..self.drawer() };
        let drawn = drawer.held_out(model, &prompts, self.canvases_per_pass, progress)?;
        let Some(completions) = drawn else { return Err(EvaluateError::Stopped.into()) };
        let figures: Vec<Figure> =
            figures_of(&completions).into_iter().filter(|(name, _)| *name != "reward_spread").collect();
        let cost = figures.iter().find(|(name, _)| *name == "reward").map_or(0.0, |(_, reward)| -reward);
        Ok(Some(HeldOutCost::Other { cost, figures }))
    }

    fn unit(&self) -> &'static str {
        "surrogate"
    }

    fn means(&mut self) -> Vec<Figure> {
        self.since.take()
    }

    fn describe_generation(&self, defaults: &mut GenerationDefaults) {
        // The model that the run began with may advise another.
        defaults.policy.get_or_insert_with(|| self.reader.process.policy().name());
    }

    fn state(&self) -> Result<ObjectiveState, TrainError> {
        // The rollout of a single update is done with when that is.
        let rollout = self.rollout.clone().filter(|_| self.recipe.updates > 1);
        let entropy_weight = Some(Exact(self.entropy_weight)).filter(|weight| weight.0 > 0.0);
        ObjectiveState::new(&Counted { rollout, flat: self.flat, entropy_weight })
    }
}

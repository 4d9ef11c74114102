//! Runs of learnt orders: the model stays as it is, and what learns is when it commits which position (Jazbec et al., 2512.09106).
//!
//! A step draws `reward.completions` completions of each prompt by the engine, each position committed with the probability that
//! the order gives it. What a completion is worth is its reward less the price of its passes, and its advantage that without
//! the mean of its group (GRPO, 2402.03300). The probability of what was committed is known exactly, so that nothing is
//! estimated: the gradient is that of the log-probability of all commits of a completion, times its advantage. One update
//! follows a rollout.
//!
//! Deviations: the paper multiplies the reward with a power of the share of passes that were saved; here a price is taken
//! from it, so that what is maximised is the mean reward at a price of passes. And see [`OrderNetwork`](aquatint_diffusion::OrderNetwork)
//! and [`OrderChoice`](aquatint_diffusion::OrderChoice).

mod recorder;
mod trainee;

use crate::language::{Beginning, Prepared};
use crate::objective::Setting;
use crate::objectives::reward::prompts::Prompts;
use crate::optimiser::Optimiser;
use crate::recipe::{ObjectiveKind, OrderRecipe, RewardRecipe};
use crate::training::{Start, Training};
use crate::{RecipeError, Summary, TrainError, TrainingEvent};
use aquatint_compute::{Device, WeightFormat};
use aquatint_diffusion::{Process, TokenId};
use aquatint_generate::process_of;
use aquatint_reward::Rewards;
use aquatint_vocabulary::Vocabulary;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use trainee::OrderTrainee;

/// What an order learns from: prompts, what completions of them are worth, and what they are drawn by.
struct OrderObjective {
    order: OrderRecipe,
    reward: RewardRecipe,
    rewards: Rewards,
    prompts: Prompts,
    held_out: Option<Prompts>,
    process: Arc<dyn Process>,
    vocabulary: Vocabulary,
    /// What the model's advice says never to write.
    suppressed: Vec<TokenId>,
    counted: Counted,
}

/// What the run's state keeps beside weights and moments.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counted {
    /// Steps in a row without a group whose rewards differ, or that is solved.
    flat: u64,
}

impl OrderObjective {
    fn begin(setting: &mut Setting<'_>) -> Result<Self, TrainError> {
        let recipe = setting.recipe;
        let (Some(order), Some(reward)) = (recipe.order, recipe.reward.clone()) else {
            let kind = format!("\"{}\"", ObjectiveKind::Order.name());
            return Err(RecipeError::value("objective.kind", kind, "a recipe with the table `reward`").into());
        };
        Ok(Self {
            order,
            rewards: reward.rewards()?,
            prompts: Prompts::read(setting, reward.completion_length, reward.prompts(recipe.optimiser.batch))?,
            held_out: Prompts::read_held_out(setting, reward.completion_length)?,
            process: process_of(setting.spec, None)?,
            vocabulary: setting.vocabulary.clone(),
            suppressed: setting.suppressed().to_vec(),
            counted: setting.saved::<Counted>()?.unwrap_or_default(),
            reward,
        })
    }
}

/// Takes the steps of a recipe that are left.
pub(crate) fn train<D: Device>(
    training: Training<'_>,
    device: D,
    events: &mut dyn FnMut(TrainingEvent<'_>),
) -> Result<Summary, TrainError> {
    let recipe = training.recipe;
    let own = training.share()?;
    let Prepared { folder, initial, state, objective, counters, .. } =
        match training.begin(&device, events, &OrderObjective::begin)? {
            Beginning::Ready(prepared) => *prepared,
            Beginning::Finished(summary) => {
                events(TrainingEvent::Finished(&summary));
                return Ok(summary);
            }
        };
    let Some(initial) = initial else {
        return Err(RecipeError::value("initial", "unset", "a model whose order is learned").into());
    };
    let denoiser = Box::new(initial.inference_network(device.clone(), WeightFormat::F32)?);
    let mut weights = objective.order.weights(device, recipe.seed)?;
    let optimiser = Optimiser::new(&mut weights, &recipe.optimiser, training.ranks)?;
    let start = Start { folder: folder.as_ref(), state, counters, own, corpus: None };
    training.take_steps(OrderTrainee::new(recipe, objective, denoiser, (weights, optimiser)), start, events)
}

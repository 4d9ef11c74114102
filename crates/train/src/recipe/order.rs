//! A learnt order: what learns in place of a model that stays as it is.

use super::{NetworkPlan, ObjectiveKind, Resolved, RewardRecipe};
use crate::{RecipeError, TrainError};
use aquatint_compute::Device;
use aquatint_diffusion::OrderNetwork;
use aquatint_network::{TensorSpec, Weights};
use serde::{Deserialize, Serialize};

/// What chooses the positions that a step commits, and what a pass costs it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrderRecipe {
    /// What is taken from the reward of a completion that has a pass of its own for each position; fewer passes cost their
    /// share of it.
    pub price: f64,
    /// Where learning begins: half the positions of this probability are committed, more of surer ones.
    pub threshold: f64,
    /// Rows of the inner layers.
    pub width: usize,
}

impl Default for OrderRecipe {
    fn default() -> Self {
        Self { price: 0.3, threshold: 0.9, width: 32 }
    }
}

impl OrderRecipe {
    /// The weights with which learning begins.
    pub(crate) fn weights<D: Device>(&self, device: D, seed: u64) -> Result<Weights<D>, TrainError> {
        let network = OrderNetwork::fresh(self.width, self.threshold, seed).map_err(RecipeError::Order)?;
        let tensors = OrderNetwork::tensors(self.width).map_err(RecipeError::Order)?;
        let tensors = tensors.iter().zip(network.weights()).map(|(tensor, values)| {
            (tensor.name.to_owned(), tensor.shape(), values.iter().map(|value| *value as f32).collect())
        });
        Ok(Weights::of_tensors(device, tensors.collect())?)
    }

    /// What learns.
    pub(crate) fn tensors(&self) -> Result<Vec<TensorSpec>, TrainError> {
        let tensors = OrderNetwork::tensors(self.width).map_err(RecipeError::Order)?;
        Ok(tensors.iter().map(|tensor| TensorSpec::apart(tensor.name, &tensor.shape())).collect())
    }
}

/// Refuses a recipe that has the table without the objective, or keys that have no meaning where the model stays as it is.
pub(super) fn check(recipe: &Resolved) -> Result<(), RecipeError> {
    let wrong = |key, given: &str, allowed: &'static str| Err(RecipeError::value(key, given, allowed));
    if recipe.objective.kind != ObjectiveKind::Order {
        return match recipe.order {
            Some(_) => wrong("order", "a table", "nothing but where `objective.kind` is \"order\""),
            None => Ok(()),
        };
    }
    const STAYS: &str = "nothing where `objective.kind` is \"order\": the model stays as it is";
    if recipe.adapter.is_some() {
        return wrong("adapter", "a table", STAYS);
    }
    let NetworkPlan::Initial(network) = &recipe.network else { return wrong("size", "set", STAYS) };
    if *network != Default::default() {
        return wrong("network", "a table", STAYS);
    }
    let objective = &recipe.objective;
    let stated = [
        ("objective.process", objective.process.is_some()),
        ("objective.schedule", objective.schedule.is_some()),
        ("objective.balance", objective.balance.is_some()),
    ];
    if let Some((key, _)) = stated.into_iter().find(|(_, is_stated)| *is_stated) {
        return wrong(key, "set", STAYS);
    }
    let Some(reward) = &recipe.reward else { return Ok(()) };
    let usual = RewardRecipe::usual();
    let of_models = [
        ("reward.updates", reward.updates != usual.updates),
        ("reward.estimator", reward.estimator != usual.estimator),
        ("reward.readings", reward.readings != usual.readings),
        ("reward.hidden_prompt", reward.hidden_prompt != usual.hidden_prompt),
        ("reward.entropy_floor", reward.entropy_floor != usual.entropy_floor),
        ("reward.surrogate", reward.surrogate != usual.surrogate),
        ("reward.clip", reward.clip != usual.clip),
        ("reward.kl", reward.kl != usual.kl),
        ("reward.kl_estimator", reward.kl_estimator != usual.kl_estimator),
        ("reward.policy", reward.policy != usual.policy),
    ];
    match of_models.into_iter().find(|(_, is_stated)| *is_stated) {
        Some((key, _)) => wrong(
            key,
            "set",
            "nothing where `objective.kind` is \"order\", which states the probability of what it commits",
        ),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_compute::Cpu;

    #[test]
    fn what_learns_is_known_without_its_weights() {
        let order = OrderRecipe { width: 5, ..OrderRecipe::default() };
        let weights = order.weights(Cpu::<f32>::scalar(), 1).unwrap();
        assert_eq!(order.tensors().unwrap(), weights.tensors());
        let wrong = OrderRecipe { width: 300, ..order }.tensors().unwrap_err().to_string();
        assert_eq!(wrong, "the recipe cannot be understood: `order`: `width` is 300; allowed: 1 to 256");
    }
}

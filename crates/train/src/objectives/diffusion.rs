//! What the objectives of diffusion share: a process, the recipe's canvases, the held-out bound.

use super::self_conditioning::SelfConditioning;
use crate::TrainError;
use crate::objective::{HeldOutCost, Setting, Step};
use crate::recipe::{Masking, ObjectiveRecipe, Resolved, Times};
use crate::train_data::TrainData;
use aquatint_checkpoint::GenerationDefaults;
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::{Key, Process, TimeDensity};
use aquatint_evaluate::DiffusionBound;
use aquatint_generate::process_of;
use aquatint_network::Denoiser;
use std::sync::Arc;

/// Two where each canvas comes twice, with masks that complement each other.
pub(super) fn canvases_together(recipe: &Resolved) -> usize {
    if recipe.objective.masking == Masking::Complementary { 2 } else { 1 }
}

/// A process and its training cost.
#[derive(Debug)]
pub(super) struct Diffusion {
    pub(super) process: Arc<dyn Process>,
    pub(super) recipe: ObjectiveRecipe,
    /// The run's randomness.
    pub(super) key: Key,
    pub(super) self_conditioning: SelfConditioning,
    data: Arc<TrainData>,
    validate_times: usize,
}

impl Diffusion {
    pub(super) fn begin(setting: &mut Setting<'_>) -> Result<Self, TrainError> {
        let recipe = setting.recipe;
        Ok(Self {
            process: process_of(setting.spec, None)?,
            recipe: recipe.objective.clone(),
            key: Key::new(recipe.seed),
            self_conditioning: SelfConditioning::new(recipe),
            data: setting.train_data()?,
            validate_times: recipe.run.validate_times,
        })
    }

    /// Whether each canvas is there twice, with masks that complement each other.
    pub(super) fn pairs(&self) -> bool {
        self.recipe.masking == Masking::Complementary && self.process.has_fixed_count()
    }

    /// Whether times are drawn where the cost rises.
    pub(super) fn follows_cost(&self) -> bool {
        self.recipe.time_sampling == Times::Adaptive
    }

    /// The canvases of a step.
    pub(super) fn batch(&self, step: Step<'_>) -> Result<CanvasBatch, TrainError> {
        match self.pairs() {
            true => {
                let each = self.data.batch(step.number, step.canvases / 2)?;
                Ok(each.select((0..each.canvases()).flat_map(|canvas| [canvas; 2])))
            }
            false => self.data.batch(step.number, step.canvases),
        }
    }

    /// The held-out bound.
    pub(super) fn validate(
        &self,
        model: &dyn Denoiser,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<HeldOutCost>, TrainError> {
        let (process, times) = (self.process.as_ref(), self.validate_times);
        let rule = DiffusionBound { process, times, prompt: self.recipe.prompt };
        self.data.likelihood(model, &rule, progress).map(|likelihood| Some(likelihood.into()))
    }

    /// The process's own policy, and the times that training found.
    pub(super) fn describe_generation(&self, defaults: &mut GenerationDefaults, density: &TimeDensity) {
        // The model that the run began with may advise another.
        defaults.policy.get_or_insert_with(|| self.process.policy().name());
        if self.follows_cost() {
            defaults.time_grid = Some(density.grid().ranks().to_vec());
        }
    }
}

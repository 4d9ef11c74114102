//! Which passes give a network with self-conditioning its own prediction.

use crate::TrainError;
use crate::objective::Pass;
use crate::recipe::Resolved;
use aquatint_batch::NoisyBatch;
use aquatint_diffusion::Key;
use aquatint_network::Learner;

/// Stream of randomness under the run's seed.
const SELF_CONDITIONING: u64 = 3;

/// In a share of the passes, a network with self-conditioning first predicts without, and gets that as an input from which
/// no gradient flows back (Chen et al., 2208.04202, section 3).
#[derive(Debug)]
pub(super) struct SelfConditioning {
    key: Key,
    probability: f64,
    canvases_per_pass: usize,
}

impl SelfConditioning {
    pub(super) fn new(recipe: &Resolved) -> Self {
        Self {
            key: Key::new(recipe.seed).fold(SELF_CONDITIONING),
            probability: recipe.objective.self_conditioning_probability,
            canvases_per_pass: recipe.canvases_per_pass(),
        }
    }

    /// The prediction that this pass reads, `[T, V]`; `None` for other passes and other networks.
    pub(super) fn predict(
        &self,
        model: &dyn Learner,
        pass: &Pass<'_>,
        noisy: &NoisyBatch,
    ) -> Result<Option<Vec<f32>>, TrainError> {
        // One draw for a pass of the recipe, whichever part of it this rank learns.
        let first = pass.first - pass.first % self.canvases_per_pass;
        if model.spec().self_conditioning.is_none()
            || self.key.at(first as u64, pass.step).uniform() >= self.probability
        {
            return Ok(None);
        }
        Ok(noisy.self_conditioning(model, pass.rows)?)
    }
}

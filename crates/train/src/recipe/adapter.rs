//! An adapter: low-rank additions that learn beside a model that does not.

use super::{GroupRecipe, OptimiserKind, OptimiserOverrides};
use crate::RecipeError;
use aquatint_checkpoint::AdapterConfig;
use aquatint_diffusion::Key;
use aquatint_network::{AdapterSpec, Dropout, LowRankSpec, NetworkError, NetworkSpec};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The name that the adapter of a run has within its network.
const NAME: &str = "learned";
/// What draws of dropped inputs are for.
const DROPOUT: u64 = 0x6472_6f70;
/// The parameters of adapters.
const ADDITIONS: &str = "role:adapter";

/// What learns in place of the model (LoRA: Hu et al., 2106.09685; over integers QLoRA: Dettmers et al., 2305.14314).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdapterRecipe {
    /// Rows of the first matrix of each addition and columns of the second.
    pub rank: usize,
    /// What additions are multiplied by, times their rank.
    pub alpha: f64,
    /// Multiplies them by `alpha / √rank` instead (rsLoRA: Kalajdzievski, 2312.03732).
    pub rank_stabilised: bool,
    /// The share of its inputs that each addition drops, others in each pass.
    #[serde(skip_serializing_if = "is_zero")]
    pub dropout: f64,
    /// The matrices that are added to: names of modules, or their last parts (`q_proj`), or `all-linear`.
    pub targets: Vec<String>,
    /// The numbers in which the matrices of the model are kept meanwhile, as in a group: `bf16`, `int8`, `int4` or
    /// `int4:GROUP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
}

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

impl Default for AdapterRecipe {
    fn default() -> Self {
        let targets = vec!["all-linear".to_owned()];
        Self { rank: 16, alpha: 32.0, rank_stabilised: false, dropout: 0.0, targets, precision: None }
    }
}

impl AdapterRecipe {
    /// What an optimiser is of which nothing else is said: AdamW without decay, since both halves are small and begin where
    /// they add nothing; ten times the rate at which the model itself would be tuned. Only the additions learn.
    ///
    /// # Errors
    /// When the recipe has groups of its own.
    pub(super) fn optimiser(
        &self,
        optimiser: OptimiserOverrides,
        rate: f64,
    ) -> Result<OptimiserOverrides, RecipeError> {
        if !optimiser.groups.is_empty() {
            let allowed =
                "nothing where an adapter learns: `adapter.precision` says in which numbers the model is kept";
            let groups = format!("{} groups", optimiser.groups.len());
            return Err(RecipeError::value("optimiser.groups", groups, allowed));
        }
        let group = |parameters: &str, trainable, precision| GroupRecipe {
            parameters: parameters.to_owned(),
            trainable,
            rate: None,
            precision,
        };
        let groups = vec![group(ADDITIONS, true, None), group("*", false, self.precision.clone())];
        Ok(OptimiserOverrides {
            kind: Some(optimiser.kind.unwrap_or(OptimiserKind::Adamw)),
            learning_rate: Some(optimiser.learning_rate.unwrap_or(10.0 * rate)),
            weight_decay: Some(optimiser.weight_decay.unwrap_or(0.0)),
            groups,
            ..optimiser
        })
    }

    /// The adapter for a network.
    pub(crate) fn spec(&self, network: &NetworkSpec) -> Result<AdapterSpec, NetworkError> {
        let factor = self.config(None).factor("", self.rank);
        AdapterSpec::new(NAME, network, &self.targets, LowRankSpec { rank: self.rank, factor })
    }

    /// What is dropped in the pass of a step that begins with a canvas.
    pub(crate) fn dropout_at(&self, seed: u64, step: u64, canvas: usize) -> Dropout {
        let seed = Key::new(seed).fold(DROPOUT).at(canvas as u64, step).next_u64();
        Dropout { rate: self.dropout, seed }
    }

    /// What is written beside its weights.
    pub(crate) fn config(&self, base: Option<&Path>) -> AdapterConfig {
        let base = base.map(|base| base.display().to_string());
        let mut config = AdapterConfig::new(base, self.rank, self.alpha);
        (config.rank_stabilised, config.dropout) = (self.rank_stabilised, self.dropout);
        config
    }
}

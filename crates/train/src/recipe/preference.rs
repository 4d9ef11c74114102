//! How a model learns from preferences.

use serde::{Deserialize, Serialize};

/// What two networks, or two answers, have in common when their bounds are sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SharedNoise {
    /// Nothing: each bound has noise of its own.
    None,
    /// The model and its reference read the same noisy versions of each answer (VRPO, 2505.19223).
    #[default]
    Networks,
    /// The same, and both answers of a pair have the same times and draw their masks from the same numbers.
    Answers,
}

/// How a model learns from pairs of answers, one of which is better: by the loss of DPO (2305.18290, equation 7) on sampled
/// bounds (VRPO: 2505.19223).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PreferenceRecipe {
    /// What a nat of margin weighs: small lets the model go far from its reference.
    pub beta: f64,
    /// Noisy versions of each answer from which its bound is estimated.
    pub samples: usize,
    /// What bounds have in common.
    pub shared: SharedNoise,
    /// Whether each second version hides what the one before it shows; its time mirrors the other's.
    pub antithetic: bool,
    /// What the bound of the better answer weighs, in nats per token, beside the loss of the pair (Pang et al., 2404.19733, equation 1);
    /// it keeps that answer likely.
    pub chosen_weight: f64,
}

impl Default for PreferenceRecipe {
    fn default() -> Self {
        Self { beta: 0.1, samples: 8, shared: SharedNoise::Networks, antithetic: false, chosen_weight: 0.0 }
    }
}

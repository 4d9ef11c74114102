//! Reading the last prediction.

use super::GatedSpec;
use crate::NetworkError;

/// How the last prediction, a mixture of word vectors for each row, joins what rows are read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelfConditioningSpec {
    /// `x + norm(mixture)`.
    Added,
    /// `rms(x + gated(norm(mixture)))`, where `rms` has no weight, and only for rows of the current block behind a causal
    /// prefix (DiffusionGemma, 2608.00146). Without a prediction the mixture is zero, and the sum is normed all the same.
    Gated(GatedSpec),
}

impl SelfConditioningSpec {
    /// Whether the prediction is that of the draw, at its temperature, and not the network's own.
    pub fn is_sharpened(&self) -> bool {
        matches!(self, Self::Gated(_))
    }

    pub(super) fn validate(&self) -> Result<(), NetworkError> {
        match self {
            Self::Added => Ok(()),
            Self::Gated(gated) => gated.validate(),
        }
    }
}

//! The last prediction as a mixture of word vectors, and how it joins what rows are read as.
//!
//! `model.self_conditioning_norm.weight` and `model.self_conditioning.*` have no name in Llama checkpoints.

use super::Declaration;
use super::feed_forward::GatedWeights;
use crate::tensor::Init;
use crate::{NetworkSpec, NormSpec, SelfConditioningSpec};
use aquatint_compute::{Device, DeviceError, Tape, Value, WeightId};

/// The weights that read a prediction.
#[derive(Debug)]
pub(super) struct SelfConditioningWeights {
    norm: WeightId,
    gated: Option<GatedWeights>,
}

impl SelfConditioningSpec {
    pub(super) fn declare<D: Device>(
        &self,
        declaration: &mut Declaration<'_, D>,
        spec: &NetworkSpec,
    ) -> Result<SelfConditioningWeights, DeviceError> {
        let width = spec.width;
        match self {
            Self::Added => {
                let norm = spec.norm.declare(declaration, "model.self_conditioning_norm", width, 0.0)?;
                Ok(SelfConditioningWeights { norm, gated: None })
            }
            Self::Gated(gated) => {
                let norm = spec.norm.declare(declaration, "model.self_conditioning.pre_norm", width, 1.0)?;
                let gated = gated.declare(declaration, "model.self_conditioning", width, Init::MATRIX)?;
                Ok(SelfConditioningWeights { norm, gated: Some(gated) })
            }
        }
    }

    /// The rows `x` with a mixture of word vectors for each of them, where there is a prediction.
    pub(super) fn forward<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        (norm, weights): (NormSpec, &SelfConditioningWeights),
        x: Value<D>,
        mixture: Option<Value<D>>,
    ) -> Result<Value<D>, DeviceError> {
        let normed = mixture.map(|mixture| norm.forward(tape, &mixture, weights.norm)).transpose()?;
        match (self, &weights.gated, normed) {
            (Self::Added, _, None) => Ok(x),
            (Self::Added, _, Some(normed)) => tape.add(x, &normed),
            (Self::Gated(gated), Some(weights), Some(normed)) => {
                let inner = gated.forward(tape, weights, &normed)?;
                let sum = tape.linear_add(&inner, weights.down, None, x)?;
                tape.rms_norm(&sum, None, norm.epsilon())
            }
            // What is made of nothing is nothing.
            (Self::Gated(_), ..) => tape.rms_norm(&x, None, norm.epsilon()),
        }
    }
}

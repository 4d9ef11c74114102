//! The feed-forward part: two products with the normed rows, a gate between them, and the way back.

use super::Declaration;
use crate::tensor::Init;
use crate::{Activation, FeedForwardSpec};
use aquatint_compute::{Device, DeviceError, Tape, Value, WeightId};

/// The weights of one feed-forward part.
#[derive(Debug)]
pub(crate) struct FeedForwardWeights {
    pub(super) norm: WeightId,
    /// The gate and what it is for, stacked.
    gate_up: WeightId,
    gate: WeightId,
    up: WeightId,
    pub(super) down: WeightId,
}

impl FeedForwardSpec {
    /// `residual` is what the matrix begins as that writes into the residual stream.
    pub(super) fn declare<D: Device>(
        &self,
        declaration: &mut Declaration<'_, D>,
        width: usize,
        residual: Init,
    ) -> Result<FeedForwardWeights, DeviceError> {
        let norm = self.norm.declare(declaration, "post_attention_layernorm", width, 1.0)?;
        let gate = declaration.matrix("mlp.gate_proj", [self.width, width], Init::MATRIX)?;
        let up = declaration.matrix("mlp.up_proj", [self.width, width], Init::MATRIX)?;
        let down = declaration.matrix("mlp.down_proj", [width, self.width], residual)?;
        Ok(FeedForwardWeights {
            norm,
            gate_up: declaration.stack(&[gate, up]),
            gate: declaration.apart(&[gate]),
            up: declaration.apart(&[up]),
            down: declaration.product(&[down]),
        })
    }

    /// What comes of normed rows between its matrices; the way back into the stream is the layer's.
    pub(super) fn forward<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        weights: &FeedForwardWeights,
        h: &Value<D>,
    ) -> Result<Value<D>, DeviceError> {
        match self.activation {
            Activation::Swiglu => tape.linear_swiglu(h, weights.gate_up, (weights.gate, weights.up)),
        }
    }

    /// Elements that a row keeps for the backward: gate and value side by side, and their product.
    pub(super) fn retained(&self, width: usize) -> usize {
        self.norm.retained(width) + 3 * self.width
    }

    /// Operations of `rows` rows.
    pub(super) fn operations(&self, width: usize, rows: u64) -> u64 {
        2 * rows * (3 * width * self.width) as u64
    }
}

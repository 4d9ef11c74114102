//! Two products with the normed rows, a gate between them, and the way back.

use crate::layers::Declaration;
use crate::tensor::Init;
use crate::{Activation, GatedSpec};
use aquatint_compute::{Device, DeviceError, Tape, Value, WeightId};

/// The weights of a gated part.
#[derive(Debug)]
pub(super) struct GatedWeights {
    /// The gate and what it is for, stacked.
    pub(super) gate_up: WeightId,
    pub(super) gate: WeightId,
    pub(super) up: WeightId,
    pub(super) down: WeightId,
}

impl GatedSpec {
    /// The matrices of a module; `residual` is what the matrix begins as that writes into the residual stream.
    pub(super) fn declare<D: Device>(
        &self,
        declaration: &mut Declaration<'_, D>,
        module: &str,
        width: usize,
        residual: Init,
    ) -> Result<GatedWeights, DeviceError> {
        let gate = declaration.matrix(&format!("{module}.gate_proj"), [self.width, width], Init::MATRIX)?;
        let up = declaration.matrix(&format!("{module}.up_proj"), [self.width, width], Init::MATRIX)?;
        let down = declaration.matrix(&format!("{module}.down_proj"), [width, self.width], residual)?;
        Ok(GatedWeights {
            gate_up: declaration.stack(&[gate, up]),
            gate: declaration.apart(&[gate]),
            up: declaration.apart(&[up]),
            down: declaration.product(&[down]),
        })
    }

    /// What comes of normed rows between its matrices; the way back into the stream is the caller's.
    pub(super) fn forward<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        weights: &GatedWeights,
        h: &Value<D>,
    ) -> Result<Value<D>, DeviceError> {
        match self.activation {
            Activation::Swiglu => tape.linear_swiglu(h, weights.gate_up, (weights.gate, weights.up)),
        }
    }

    /// Operations of `rows` rows.
    pub(super) fn operations(&self, width: usize, rows: u64) -> u64 {
        2 * rows * (3 * width * self.width) as u64
    }
}

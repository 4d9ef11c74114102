//! Two products with the normed rows, a gate between them, and the way back.

use crate::GatedSpec;
use crate::layers::Declaration;
use crate::tensor::Init;
use aquatint_compute::{Device, DeviceError, Tape, Value, WeightId};

/// The weights of a gated part.
#[derive(Debug)]
pub(in crate::layers) struct GatedWeights {
    /// The gate and what it is for, stacked.
    pub(in crate::layers) gate_up: WeightId,
    pub(in crate::layers) gate: WeightId,
    pub(in crate::layers) up: WeightId,
    pub(in crate::layers) down: WeightId,
}

impl GatedSpec {
    /// The matrices of a module; `residual` is what the matrix begins as that writes into the residual stream.
    pub(in crate::layers) fn declare<D: Device>(
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
    pub(in crate::layers) fn forward<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        weights: &GatedWeights,
        h: &Value<D>,
    ) -> Result<Value<D>, DeviceError> {
        tape.linear_glu(self.activation, h, weights.gate_up, (weights.gate, weights.up))
    }

    /// Operations of `rows` rows.
    pub(super) fn operations(&self, width: usize, rows: u64) -> u64 {
        2 * rows * (3 * width * self.width) as u64
    }
}

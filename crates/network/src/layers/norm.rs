//! Norms.

use super::Declaration;
use crate::NormSpec;
use aquatint_compute::{Device, DeviceError, Tape, Value, WeightId};

impl NormSpec {
    /// `MODULE.weight`, all of whose values begin as `value`.
    pub(crate) fn declare<D: Device>(
        &self,
        declaration: &mut Declaration<'_, D>,
        module: &str,
        width: usize,
        value: f64,
    ) -> Result<WeightId, DeviceError> {
        match self {
            Self::Rms { .. } | Self::Layer { .. } => {
                let weight = declaration.vector(&format!("{module}.weight"), width, value)?;
                Ok(declaration.weight(&[weight]))
            }
        }
    }

    /// The norm of each row.
    pub(crate) fn forward<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        x: &Value<D>,
        weight: WeightId,
    ) -> Result<Value<D>, DeviceError> {
        match *self {
            Self::Rms { epsilon } => tape.rms_norm(x, Some(weight), epsilon),
            Self::Layer { epsilon } => tape.layer_norm(x, weight, epsilon),
        }
    }

    /// Elements that a row keeps for the backward: what came in, its inverse root mean square or its mean and inverse
    /// deviation, and what goes out.
    pub(super) fn retained(&self, width: usize) -> usize {
        match self {
            Self::Rms { .. } => width + 1 + width,
            Self::Layer { .. } => width + 2 + width,
        }
    }
}

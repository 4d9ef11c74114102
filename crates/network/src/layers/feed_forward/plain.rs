//! A product with the normed rows, GELU, and the way back.

use crate::PlainSpec;
use crate::layers::Declaration;
use crate::tensor::Init;
use aquatint_compute::{Device, DeviceError, Tape, Value, WeightId};

/// The weights of a plain part.
#[derive(Debug)]
pub(super) struct PlainWeights {
    up: WeightId,
    up_bias: Option<WeightId>,
    pub(super) down: WeightId,
    pub(super) down_bias: Option<WeightId>,
}

impl PlainSpec {
    /// The matrices of a module; `residual` is what the matrix begins as that writes into the residual stream.
    pub(super) fn declare<D: Device>(
        &self,
        declaration: &mut Declaration<'_, D>,
        module: &str,
        width: usize,
        residual: Init,
    ) -> Result<PlainWeights, DeviceError> {
        let mut affine = |name: &str, shape: [usize; 2], init| -> Result<(WeightId, Option<WeightId>), DeviceError> {
            let module = format!("{module}.{name}");
            if self.bias {
                let (matrix, bias) = declaration.affine(&module, shape, init)?;
                return Ok((matrix, Some(bias)));
            }
            let matrix = declaration.matrix(&module, shape, init)?;
            Ok((declaration.product(&[matrix]), None))
        };
        let (up, up_bias) = affine("fc1", [self.width, width], Init::MATRIX)?;
        let (down, down_bias) = affine("fc2", [width, self.width], residual)?;
        Ok(PlainWeights { up, up_bias, down, down_bias })
    }

    /// What comes of normed rows between its matrices; the way back into the stream is the caller's.
    pub(super) fn forward<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        weights: &PlainWeights,
        h: &Value<D>,
    ) -> Result<Value<D>, DeviceError> {
        let inner = tape.linear(h, weights.up, weights.up_bias)?;
        tape.gelu(&inner)
    }

    /// Operations of `rows` rows.
    pub(super) fn operations(&self, width: usize, rows: u64) -> u64 {
        2 * rows * (2 * width * self.width) as u64
    }
}

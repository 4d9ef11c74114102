//! Behind the layers: the last norm, modulated by the time, and the head.
//!
//! `model.norm_modulation.*` has no name in Llama checkpoints.

use super::modulation::{self, Half};
use super::{Affine, Declaration};
use crate::tensor::Init;
use crate::{NetworkSpec, Role};
use aquatint_compute::{Device, DeviceError, Tape, Value, WeightId};

/// Parts of the last norm's modulation: shift and scale.
const PARTS: usize = 2;

/// The weights behind the layers.
#[derive(Debug)]
pub(crate) struct HeadWeights {
    modulation: Option<Affine>,
    norm: WeightId,
    /// `[V, D]`.
    pub(crate) matrix: WeightId,
    /// `[V]`.
    pub(crate) bias: Option<WeightId>,
}

impl HeadWeights {
    /// `table` is the embedding table, which a tied head is.
    pub(crate) fn declare<D: Device>(
        declaration: &mut Declaration<'_, D>,
        spec: &NetworkSpec,
        table: WeightId,
    ) -> Result<Self, DeviceError> {
        let width = spec.width;
        let modulation = match spec.time_conditioning {
            Some(_) => {
                let shape = [PARTS * width, spec.condition_width()];
                Some(declaration.affine("model.norm_modulation", shape, Init::Constant(0.0))?)
            }
            None => None,
        };
        let norm = spec.norm.declare(declaration, "model.norm", width, 1.0)?;
        let matrix = if spec.head.tied {
            declaration.multiplied(table);
            table
        } else {
            let shape = [spec.vocabulary_size, width];
            let head = declaration.tensor("lm_head.weight", &shape, Role::Head, Init::MATRIX)?;
            declaration.product(&[head])
        };
        let bias = match spec.head.bias {
            true => {
                let bias = declaration.vector("lm_head.bias", spec.vocabulary_size, 0.0)?;
                Some(declaration.weight(&[bias]))
            }
            false => None,
        };
        Ok(Self { modulation, norm, matrix, bias })
    }

    /// Hidden rows, ready for the head; `groups` is the sequence of each.
    pub(crate) fn forward<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        spec: &NetworkSpec,
        x: &Value<D>,
        groups: &'p D::Indices,
        condition: Option<&Value<D>>,
    ) -> Result<Value<D>, DeviceError> {
        let hidden = spec.norm.forward(tape, x, self.norm)?;
        let modulation = modulation::forward(tape, self.modulation, condition)?;
        Half { modulation: modulation.as_ref(), groups, part: 0, width: spec.width }.modulate(tape, hidden)
    }

    /// Operations of `requested` rows in `sequences` sequences.
    pub(crate) fn operations(spec: &NetworkSpec, sequences: u64, requested: u64) -> u64 {
        let weights = PARTS * spec.width * spec.condition_width();
        let modulation = spec.time_conditioning.map_or(0, |_| 2 * sequences * weights as u64);
        modulation + 2 * requested * (spec.width * spec.vocabulary_size) as u64
    }
}

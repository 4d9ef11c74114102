//! One half of an autoencoder: the rows of places through a transformer to other rows.
//!
//! `x = W_in rows + b + row_table[row] + column_table[column]`, the layers, a norm, `W_out x + b`. Positions of a grid are
//! learned, a table for each side; besides, the attention of the layers turns by the place in reading order. Lines have
//! the latter only.

use super::Places;
use crate::layers::{Affine, Declaration, LayerPass, LayerWeights, Stack};
use crate::tensor::Init;
use crate::{LayerSpec, NormSpec, Role};
use aquatint_compute::{AttentionShape, Device, DeviceError, Tape, Value, WeightId};

/// The weights of a half.
#[derive(Debug)]
pub(super) struct HalfWeights {
    input: Affine,
    /// A vector for each row and each column of a grid; none for lines.
    sides: Vec<WeightId>,
    layers: Vec<LayerWeights>,
    norm: WeightId,
    output: Affine,
}

/// What a half is.
pub(super) struct HalfSpec<'a> {
    /// What its tensors' names begin with, and those of its layers.
    pub(super) names: [&'static str; 2],
    pub(super) places: Places,
    pub(super) inputs: usize,
    pub(super) width: usize,
    pub(super) outputs: usize,
    pub(super) norm: NormSpec,
    pub(super) layers: &'a [LayerSpec],
}

/// The lists of a pass on the device.
pub(super) struct PassIndices<D: Device> {
    /// The row and the column of each place of a grid; none for lines.
    pub(super) sides: Vec<D::Indices>,
    /// The place in reading order.
    pub(super) positions: D::Indices,
    /// The sample of each place.
    pub(super) groups: D::Indices,
    pub(super) visible: D::Visible,
    /// The number of levels of each column of a code.
    pub(super) levels: D::Indices,
}

impl HalfSpec<'_> {
    pub(super) fn declare<D: Device>(&self, declaration: &mut Declaration<'_, D>) -> Result<HalfWeights, DeviceError> {
        let &Self { names: [name, layers], places, inputs, width, outputs, norm, .. } = self;
        let unit = |columns: usize| Init::Normal(1.0 / (columns as f64).sqrt());
        let input = declaration.affine(&format!("{name}.input"), [width, inputs], unit(inputs))?;
        let mut table = |side: &str, length: usize| -> Result<WeightId, DeviceError> {
            let name = format!("{name}.{side}.weight");
            let table = declaration.tensor(&name, &[length, width], Role::Embedding, Init::MATRIX)?;
            Ok(declaration.weight(&[table]))
        };
        let sides = match places {
            Places::Grid([rows, columns]) => vec![table("rows", rows)?, table("columns", columns)?],
            Places::Line { .. } => Vec::new(),
        };
        let stack = Stack { width, layers: self.layers.len(), condition: None };
        let declare = |(index, layer): (usize, &LayerSpec)| {
            declaration.within((layers, index), |declaration| layer.declare(declaration, stack))
        };
        let layers = self.layers.iter().enumerate().map(declare).collect::<Result<_, _>>()?;
        let norm = norm.declare(declaration, &format!("{name}.norm"), width, 1.0)?;
        let output = declaration.affine(&format!("{name}.output"), [outputs, width], unit(width))?;
        Ok(HalfWeights { input, sides, layers, norm, output })
    }

    /// `[T, inputs]` to `[T, outputs]`.
    pub(super) fn forward<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        weights: &'p HalfWeights,
        indices: &'p PassIndices<D>,
        rows: &Value<D>,
    ) -> Result<Value<D>, DeviceError>
    where
        Self: 'p,
    {
        let mut x = tape.linear(rows, weights.input.0, Some(weights.input.1))?;
        for (&table, ids) in weights.sides.iter().zip(&indices.sides) {
            let side = tape.gather(table, ids)?;
            x = tape.add(x, &side)?;
        }
        let (places, groups) = (&indices.positions, &indices.groups);
        let pass = LayerPass { places, groups, blocks: None, currents: None, requested: None };
        let visible = &indices.visible;
        for (&layer, weights) in self.layers.iter().zip(&weights.layers) {
            x = tape.segment(vec![x], move |tape, inputs| {
                let mut attend = |tape: &mut Tape<'p, D>, shape: AttentionShape, packed: &Value<D>| {
                    tape.attention(shape, visible, packed)
                };
                layer.forward(tape, weights, pass, inputs, &mut attend)
            })?;
        }
        let x = self.norm.forward(tape, &x, weights.norm)?;
        tape.linear(&x, weights.output.0, Some(weights.output.1))
    }
}

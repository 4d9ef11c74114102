//! A layer: `x += gate₁ ⊙ out(attention(modulate₁(norm(x))))`, then `x += gate₂ ⊙
//! down(activation(modulate₂(norm(x))))`.
//!
//! With a second norm, `x += gate ⊙ norm(…)`; a scaled layer multiplies `x` in the end. `modulation.*`, `self_attn.post_norm`,
//! `post_feedforward_layernorm`, `layer_scalar` and `prefix_scalar` have no name in Llama checkpoints.

use super::attention::AttentionWeights;
use super::feed_forward::FeedForwardWeights;
use super::modulation::{self, Half, PARTS, PARTS_OF_HALF};
use super::{Affine, Attend, Declaration};
use crate::tensor::Init;
use crate::{LayerSpec, NetworkSpec};
use aquatint_compute::{Device, DeviceError, RowGroups, Tape, Value, WeightId};

/// The weights of one layer.
#[derive(Debug)]
pub(crate) struct LayerWeights {
    modulation: Option<Affine>,
    attention: AttentionWeights,
    pub(crate) feed_forward: FeedForwardWeights,
    /// What rows before the current block are multiplied by, and those of it.
    factors: Option<WeightId>,
}

/// What layers share with those beside them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stack {
    /// Columns of the residual stream.
    pub(crate) width: usize,
    /// How many layers write into it.
    pub(crate) layers: usize,
    /// Columns of what layers are conditioned on, where they are.
    pub(crate) condition: Option<usize>,
}

impl Stack {
    /// The layers of a network.
    pub(crate) fn of(network: &NetworkSpec) -> Self {
        let condition = network.time_conditioning.map(|_| network.condition_width());
        Self { width: network.width, layers: network.layers.len(), condition }
    }
}

/// What a pass through a layer reads besides weights and the stream.
pub(crate) struct LayerPass<'p, D: Device> {
    /// The place of each row, `[T, A]`.
    pub(crate) places: &'p D::Indices,
    /// The sequence of each row.
    pub(crate) groups: &'p D::Indices,
    /// The first row of each block that chooses its experts together, and the number of rows, where the network has such.
    pub(crate) blocks: Option<&'p D::Indices>,
    /// Of each row whether it is of the current block, 0 or 1, where the network tells these apart.
    pub(crate) currents: Option<&'p D::Indices>,
    /// In the last layer, the requested rows. The output of that layer at other rows is never read: after its attention,
    /// only the requested rows go on, unless rows choose their experts together.
    pub(crate) requested: Option<RequestedRows<'p, D>>,
}

/// The rows whose hidden state is wanted, the sequence of each, and whether it is of the current block.
pub(crate) struct RequestedRows<'p, D: Device> {
    pub(crate) rows: &'p D::Indices,
    pub(crate) groups: &'p D::Indices,
    pub(crate) currents: Option<&'p D::Indices>,
}

impl<D: Device> Clone for RequestedRows<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<D: Device> Copy for RequestedRows<'_, D> {}

impl<D: Device> Clone for LayerPass<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<D: Device> Copy for LayerPass<'_, D> {}

impl LayerSpec {
    pub(crate) fn declare<D: Device>(
        &self,
        declaration: &mut Declaration<'_, D>,
        stack: Stack,
    ) -> Result<LayerWeights, DeviceError> {
        let (width, residual) = (stack.width, Init::residual(stack.layers));
        let modulation = match stack.condition {
            Some(condition) => {
                let shape = [PARTS * width, condition];
                Some(declaration.affine("modulation", shape, Init::Constant(0.0))?)
            }
            None => None,
        };
        let attention = self.attention.declare(declaration, width, residual)?;
        let feed_forward = self.feed_forward.declare(declaration, width, residual)?;
        let factors = match self.scaled {
            true => {
                let prefix = declaration.vector("prefix_scalar", 1, 1.0)?;
                let current = declaration.vector("layer_scalar", 1, 1.0)?;
                Some(declaration.weight(&[prefix, current]))
            }
            false => None,
        };
        Ok(LayerWeights { modulation, attention, feed_forward, factors })
    }

    /// `inputs` are the residual stream and, with time conditioning, the condition.
    pub(crate) fn forward<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        weights: &LayerWeights,
        pass: LayerPass<'p, D>,
        inputs: &[Value<D>],
        attend: &mut Attend<'_, 'p, D>,
    ) -> Result<Value<D>, DeviceError> {
        let modulation = modulation::forward(tape, weights.modulation, inputs.get(1))?;
        let mut x = inputs[0].clone();
        let mut half = Half { modulation: modulation.as_ref(), groups: pass.groups, part: 0, width: x.columns() };
        let h = self.attention.norm.forward(tape, &x, weights.attention.norm)?;
        let h = half.modulate(tape, h)?;
        let mut attended = self.attention.forward(tape, &weights.attention, h, pass.places, attend)?;
        let mut currents = pass.currents;
        let together = self.feed_forward.block_routing().is_some();
        let (early, late) = if together { (None, pass.requested) } else { (pass.requested, None) };
        if let Some(requested) = early {
            x = tape.rows(&x, requested.rows)?;
            attended = tape.rows(&attended, requested.rows)?;
            half.groups = requested.groups;
            currents = requested.currents;
        }
        let x = match self.attention.post_norm.zip(weights.attention.post_norm) {
            Some((norm, weight)) => {
                let given = tape.linear(&attended, weights.attention.out, None)?;
                let given = norm.forward(tape, &given, weight)?;
                half.add_value(tape, &given, x)?
            }
            None => half.add(tape, &attended, (weights.attention.out, None), x)?,
        };
        drop(attended);

        half.part = PARTS_OF_HALF;
        let h = self.feed_forward.norm.forward(tape, &x, weights.feed_forward.norm)?;
        let h = half.modulate(tape, h)?;
        let x = self.feed_forward.forward(tape, &weights.feed_forward, &half, (h, x), pass.blocks)?;
        let x = match (weights.factors, currents) {
            (None, _) => x,
            (Some(factors), Some(currents)) => tape.scale_rows(&x, factors, RowGroups::Given(currents))?,
            (Some(_), None) => unreachable!("the input of a network with layer factors says which rows are current"),
        };
        match late {
            Some(requested) => tape.rows(&x, requested.rows),
            None => Ok(x),
        }
    }

    /// Elements that learning keeps of each row, and of each sequence: with time, each half is also kept modulated and
    /// before its gate, and a sequence has a row of modulations.
    pub(crate) fn retained(&self, stack: Stack) -> (usize, usize) {
        let width = stack.width;
        let factors = if self.scaled { width } else { 0 };
        let row = self.attention.retained(width) + self.feed_forward.retained(width) + factors;
        match stack.condition {
            Some(_) => (row + 4 * width, PARTS * width),
            None => (row, 0),
        }
    }

    /// Operations of `rows` rows in `sequences` sequences that see `pairs` rows in all, of which `requested` go on
    /// after attention.
    pub(crate) fn operations(
        &self,
        network: &NetworkSpec,
        (rows, sequences, pairs): (u64, u64, u64),
        requested: u64,
    ) -> u64 {
        let width = network.width;
        // Rows that choose their experts together all go on.
        let requested = if self.feed_forward.block_routing().is_some() { rows } else { requested };
        let weights = PARTS * width * network.condition_width();
        let modulation = network.time_conditioning.map_or(0, |_| 2 * sequences * weights as u64);
        modulation
            + self.attention.operations(width, rows, pairs)
            + self.attention.operations_out(width, requested)
            + self.feed_forward.operations(width, requested)
    }
}

//! The one interpreter of a [`NetworkSpec`]: from rows to normed hidden rows, on a tape.
//!
//! ```text
//! x = embedding(rows)
//! layer:  x += gate₁ ⊙ out(attention(rope(qkv(modulate₁(norm(x))))))
//!         x += gate₂ ⊙ down(swiglu(gate_up(modulate₂(norm(x)))))
//! hidden = modulate(norm(x))       modulate(h) = h ⊙ (1 + scale) + shift
//! ```
//! The condition is the time, or a constant. Without time conditioning modulations are the identity and gates are 1. The parts are in [`crate::layers`].

use crate::layer_visibility::LayerVisible;
use crate::layers::{LayerPass, RequestedRows};
use crate::weight_index::WeightIndex;
use crate::{NetworkInput, NetworkSpec};
use aquatint_compute::{AttentionShape, Device, DeviceError, Tape, Value};

/// The lists of a pass on the device: uploaded once for all layers.
#[derive(Debug)]
pub(crate) struct PassIndices<D: Device> {
    tokens: D::Indices,
    /// `[T, A]`: by what queries and keys turn.
    places: D::Indices,
    /// The sequence of each row.
    groups: D::Indices,
    /// The rows whose hidden state is wanted.
    requested: D::Indices,
    /// The sequence of each requested row.
    requested_groups: D::Indices,
    /// The first row of each block that chooses its experts together, and the number of rows, where rows do.
    blocks: Option<D::Indices>,
    /// The rows of current blocks, where the network tells them apart.
    current: Option<CurrentRows<D>>,
}

/// Which rows are of current blocks.
#[derive(Debug)]
struct CurrentRows<D: Device> {
    rows: D::Indices,
    /// Of each row whether it is one of them, 0 or 1.
    flags: D::Indices,
    /// The same of each requested row.
    requested: D::Indices,
}

impl<D: Device> CurrentRows<D> {
    fn new(device: &D, current: &[bool], requested: &[u32]) -> Result<Self, DeviceError> {
        let rows = (0u32..).zip(current).filter(|(_, current)| **current).map(|(row, _)| row);
        let flags: Vec<u32> = current.iter().map(|&current| u32::from(current)).collect();
        let of_requested: Vec<u32> = requested.iter().map(|&row| flags[row as usize]).collect();
        Ok(Self {
            rows: device.upload_indices(&rows.collect::<Vec<u32>>())?,
            flags: device.upload_indices(&flags)?,
            requested: device.upload_indices(&of_requested)?,
        })
    }
}

impl<D: Device> PassIndices<D> {
    /// `groups` is the sequence of each row, `requested` are the rows whose hidden state is wanted, `blocks` the first rows
    /// of those that choose their experts together.
    pub(crate) fn new(
        device: &D,
        spec: &NetworkSpec,
        input: &NetworkInput<'_>,
        (groups, blocks): (&[u32], Option<&[u32]>),
        requested: &[u32],
    ) -> Result<Self, DeviceError> {
        let requested_groups: Vec<u32> = requested.iter().map(|&row| groups[row as usize]).collect();
        Ok(Self {
            tokens: device.upload_indices(input.tokens)?,
            places: device.upload_indices(&input.on_axes(spec.position_axes()))?,
            groups: device.upload_indices(groups)?,
            requested: device.upload_indices(requested)?,
            requested_groups: device.upload_indices(&requested_groups)?,
            blocks: blocks.map(|blocks| device.upload_indices(blocks)).transpose()?,
            current: input.current.map(|current| CurrentRows::new(device, current, requested)).transpose()?,
        })
    }
}

/// What one pass reads besides weights. Lives as long as the tape.
#[derive(Debug)]
pub(crate) struct Pass<'p, D: Device> {
    pub(crate) spec: &'p NetworkSpec,
    pub(crate) weight_index: &'p WeightIndex,
    pub(crate) input: NetworkInput<'p>,
    pub(crate) indices: &'p PassIndices<D>,
    /// The rows whose hidden state is wanted.
    pub(crate) requested: &'p [u32],
}

/// An attention that takes the index of its layer.
type AttendIn<'a, 'p, D> =
    dyn FnMut(&mut Tape<'p, D>, usize, AttentionShape, &Value<D>) -> Result<Value<D>, DeviceError> + 'a;

impl<'p, D: Device> Pass<'p, D> {
    /// The hidden state of the requested rows, ready for the head.
    pub(crate) fn hidden(&self, tape: &mut Tape<'p, D>, visible: &'p LayerVisible<D>) -> Result<Value<D>, DeviceError> {
        let vectors = self.embedded(tape)?;
        self.hidden_of(tape, vectors, visible)
    }

    /// The same from the vectors of rows, [`Pass::embedded`] or others.
    pub(crate) fn hidden_of(
        &self,
        tape: &mut Tape<'p, D>,
        vectors: Value<D>,
        visible: &'p LayerVisible<D>,
    ) -> Result<Value<D>, DeviceError> {
        let Self { spec, weight_index, indices, .. } = *self;
        let mut x = self.conditioned(tape, vectors)?;
        let condition = self.condition(tape)?;
        for (index, (layer, weights)) in spec.layers.iter().zip(&weight_index.layers).enumerate() {
            let (pass, visible) = (self.layer(index), visible.of(index));
            let inputs = std::iter::once(x).chain(condition.clone()).collect();
            x = tape.segment(inputs, move |tape, inputs| {
                let mut attend = |tape: &mut Tape<'p, D>, shape, packed: &_| tape.attention(shape, visible, packed);
                layer.forward(tape, weights, pass, inputs, &mut attend)
            })?;
        }
        weight_index.head.forward(tape, spec, &x, &indices.requested_groups, condition.as_ref())
    }

    /// The same with another attention, which takes the index of its layer; for inference.
    pub(crate) fn hidden_with(
        &self,
        tape: &mut Tape<'p, D>,
        attend: &mut AttendIn<'_, 'p, D>,
    ) -> Result<Value<D>, DeviceError> {
        let Self { spec, weight_index, indices, .. } = *self;
        let vectors = self.embedded(tape)?;
        let mut x = self.conditioned(tape, vectors)?;
        let condition = self.condition(tape)?;
        for (index, (layer, weights)) in spec.layers.iter().zip(&weight_index.layers).enumerate() {
            let inputs: Vec<Value<D>> = std::iter::once(x).chain(condition.clone()).collect();
            let mut attend = |tape: &mut Tape<'p, D>, shape, packed: &_| attend(tape, index, shape, packed);
            x = layer.forward(tape, weights, self.layer(index), &inputs, &mut attend)?;
        }
        weight_index.head.forward(tape, spec, &x, &indices.requested_groups, condition.as_ref())
    }

    /// The vectors of the rows.
    pub(crate) fn embedded(&self, tape: &mut Tape<'p, D>) -> Result<Value<D>, DeviceError> {
        self.weight_index.embedding.forward(tape, self.spec, &self.input, &self.indices.tokens)
    }

    /// The rows as the first layer reads them.
    fn conditioned(&self, tape: &mut Tape<'p, D>, vectors: Value<D>) -> Result<Value<D>, DeviceError> {
        let current = self.indices.current.as_ref().map(|current| &current.rows);
        self.weight_index.embedding.conditioned(tape, self.spec, &self.input, vectors, current)
    }

    fn layer(&self, index: usize) -> LayerPass<'p, D> {
        let PassIndices { places, groups, requested, requested_groups, blocks, current, .. } = self.indices;
        let (currents, of_requested) = match current {
            Some(current) => (Some(&current.flags), Some(&current.requested)),
            None => (None, None),
        };
        let requested = RequestedRows { rows: requested, groups: requested_groups, currents: of_requested };
        let requested = (index + 1 == self.spec.layers.len()).then_some(requested);
        LayerPass { places, groups, blocks: blocks.as_ref(), currents, requested }
    }

    /// What each sequence is conditioned on.
    fn condition(&self, tape: &mut Tape<'p, D>) -> Result<Option<Value<D>>, DeviceError> {
        let Some(time) = &self.weight_index.time else { return Ok(None) };
        match self.input.times {
            Some(times) => time.forward(tape, times).map(Some),
            // A network that reads no time has the same condition always.
            None => time.forward(tape, &vec![0.0; self.input.visibility.sequences().len()]).map(Some),
        }
    }
}

//! The one interpreter of a [`NetworkSpec`]: from rows to normed hidden rows, on a tape.
//!
//! ```text
//! x = embedding(rows)
//! layer:  x += gate₁ ⊙ out(attention(rope(qkv(modulate₁(norm(x))))))
//!         x += gate₂ ⊙ down(swiglu(gate_up(modulate₂(norm(x)))))
//! hidden = modulate(norm(x))       modulate(h) = h ⊙ (1 + scale) + shift
//! ```
//! Without time conditioning modulations are the identity and gates are 1. The parts are in [`crate::layers`].

use crate::layers::LayerPass;
use crate::weight_index::WeightIndex;
use crate::{NetworkInput, NetworkSpec};
use aquatint_compute::{AttentionShape, Device, DeviceError, Tape, Value, Visibility};

/// What one pass reads besides weights. Lives as long as the tape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass<'p> {
    pub(crate) spec: &'p NetworkSpec,
    pub(crate) weight_index: &'p WeightIndex,
    pub(crate) input: NetworkInput<'p>,
    /// The sequence of each row.
    pub(crate) groups: &'p [u32],
    /// The sequence of each asked row.
    pub(crate) asked_groups: &'p [u32],
    /// The rows whose hidden state is wanted.
    pub(crate) asked: &'p [u32],
}

/// An attention that is told which layer it is in.
type AttendIn<'a, 'p, D> =
    dyn FnMut(&mut Tape<'p, D>, usize, AttentionShape, &Value<D>) -> Result<Value<D>, DeviceError> + 'a;

impl<'p> Pass<'p> {
    /// The hidden state of the asked rows, ready for the head.
    pub(crate) fn hidden<D: Device>(&self, tape: &mut Tape<'p, D>) -> Result<Value<D>, DeviceError> {
        let Self { spec, weight_index, .. } = *self;
        let mut x = weight_index.embedding.forward(tape, spec, &self.input)?;
        let condition = self.condition(tape)?;
        let visibility: &'p Visibility = self.input.visibility;
        for (index, (layer, weights)) in spec.layers.iter().zip(&weight_index.layers).enumerate() {
            let pass = self.layer(index);
            let inputs = std::iter::once(x).chain(condition.clone()).collect();
            x = tape.segment(inputs, move |tape, inputs| {
                let mut attend = |tape: &mut Tape<'p, D>, shape, packed: &_| tape.attention(shape, visibility, packed);
                layer.forward(tape, weights, pass, inputs, &mut attend)
            })?;
        }
        weight_index.head.forward(tape, spec, &x, self.asked_groups, condition.as_ref())
    }

    /// The same with another attention, which is told the layer; for inference.
    pub(crate) fn hidden_with<D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        attend: &mut AttendIn<'_, 'p, D>,
    ) -> Result<Value<D>, DeviceError> {
        let Self { spec, weight_index, .. } = *self;
        let mut x = weight_index.embedding.forward(tape, spec, &self.input)?;
        let condition = self.condition(tape)?;
        for (index, (layer, weights)) in spec.layers.iter().zip(&weight_index.layers).enumerate() {
            let inputs: Vec<Value<D>> = std::iter::once(x).chain(condition.clone()).collect();
            let mut attend = |tape: &mut Tape<'p, D>, shape, packed: &_| attend(tape, index, shape, packed);
            x = layer.forward(tape, weights, self.layer(index), &inputs, &mut attend)?;
        }
        weight_index.head.forward(tape, spec, &x, self.asked_groups, condition.as_ref())
    }

    fn layer(&self, index: usize) -> LayerPass<'p> {
        let asked = (index + 1 == self.spec.layers.len()).then_some((self.asked, self.asked_groups));
        LayerPass { positions: self.input.positions, groups: self.groups, asked }
    }

    /// What each sequence is conditioned on.
    fn condition<D: Device>(&self, tape: &mut Tape<'p, D>) -> Result<Option<Value<D>>, DeviceError> {
        match (&self.weight_index.time, self.input.times) {
            (Some(time), Some(times)) => Ok(Some(time.forward(tape, times)?)),
            _ => Ok(None),
        }
    }
}

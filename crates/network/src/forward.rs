//! The one interpreter of a [`NetworkSpec`]: from rows to normed hidden rows, on a tape.
//!
//! ```text
//! x = table[token]  |  point · table  |  norm(W (signal · vectors[token] + rest))      (+ norm(belief · table))
//! block:  x += gate₁ ⊙ out(attention(rope(qkv(modulate₁(norm(x))))))
//!         x += gate₂ ⊙ down(swiglu(gate_up(modulate₂(norm(x)))))
//! hidden = modulate(norm(x))       modulate(h) = h ⊙ (1 + scale) + shift
//! ```
//! Without time conditioning modulations are the identity and gates are 1. The condition of a sequence is
//! `silu(W₂ silu(W₁ features(time) + b₁) + b₂)`; each block's modulation is one product with it (DiT, 2212.09748, figure
//! 3, adaLN-Zero; the order of the six parts is shift, scale, gate of attention, then of the feed-forward layer).

use crate::time::features;
use crate::weight_index::{LayerWeights, WeightIndex};
use crate::{NetworkInput, NetworkSpec};
use aquatint_compute::{AttentionShape, Device, DeviceError, Element, RopeShape, Tape, Value, Visibility, WeightId};

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

impl<'p> Pass<'p> {
    /// The hidden state of the asked rows, ready for the head.
    pub(crate) fn hidden<D: Device>(&self, tape: &mut Tape<'p, D>) -> Result<Value<D>, DeviceError> {
        let mut x = self.embed(tape)?;
        let condition = self.condition(tape)?;
        let visibility: &'p Visibility = self.input.visibility;
        for layer in self.layers() {
            let inputs = std::iter::once(x).chain(condition.clone()).collect();
            x = tape.segment(inputs, move |tape, inputs| {
                layer.run(tape, inputs, &mut |tape, shape, packed| tape.attention(shape, visibility, packed))
            })?;
        }
        self.finish(tape, &x, condition)
    }

    /// The same with another attention, which is told the layer; for inference.
    pub(crate) fn hidden_with<D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        attend: &mut AttendIn<'_, 'p, D>,
    ) -> Result<Value<D>, DeviceError> {
        let mut x = self.embed(tape)?;
        let condition = self.condition(tape)?;
        for (index, layer) in self.layers().enumerate() {
            let inputs: Vec<Value<D>> = std::iter::once(x).chain(condition.clone()).collect();
            x = layer.run(tape, &inputs, &mut |tape, shape, packed| attend(tape, index, shape, packed))?;
        }
        self.finish(tape, &x, condition)
    }

    fn layers(&self) -> impl Iterator<Item = Layer<'p>> + use<'p> {
        let pass = *self;
        let last = pass.spec.layers - 1;
        let layers = pass.weight_index.layers.iter().enumerate();
        layers.map(move |(index, weights)| Layer { pass, weights, last: index == last })
    }

    fn finish<D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        x: &Value<D>,
        condition: Option<Value<D>>,
    ) -> Result<Value<D>, DeviceError> {
        let spec = self.spec;
        let hidden = tape.rms_norm(x, self.weight_index.norm, spec.norm_epsilon)?;
        match (&self.weight_index.time, condition) {
            (Some(time), Some(condition)) => {
                let modulation = tape.linear(&condition, time.norm_modulation.0, Some(time.norm_modulation.1))?;
                tape.modulate(&hidden, &modulation, self.asked_groups, (0, spec.width))
            }
            _ => Ok(hidden),
        }
    }

    fn embed<D: Device>(&self, tape: &mut Tape<'p, D>) -> Result<Value<D>, DeviceError> {
        let weight_index = self.weight_index;
        let x = match (self.input.points, &weight_index.field) {
            (None, _) => tape.gather(weight_index.table, self.input.tokens)?,
            (Some(points), None) => {
                let mut mixtures = points.offset.clone();
                for (row, (&token, &signal)) in self.input.tokens.iter().zip(&points.clean_weight).enumerate() {
                    mixtures[row * points.size + token as usize] += signal;
                }
                self.mixture(tape, &mixtures)?
            }
            (Some(points), Some(field)) => {
                // A row of one vector each: the only way in which the gradient reaches the vectors.
                let size = self.spec.vocabulary_size;
                let mut signals = vec![D::Element::default(); points.len() * size];
                for (row, (&token, &signal)) in self.input.tokens.iter().zip(&points.clean_weight).enumerate() {
                    signals[row * size + token as usize] = D::Element::from_f64(f64::from(signal));
                }
                let signals = tape.constant(points.len(), &signals)?;
                let own = tape.mixture(field.vectors, signals)?;
                let rest: Vec<D::Element> = points.offset.iter().map(|&r| D::Element::from_f64(f64::from(r))).collect();
                let rest = tape.constant(points.len(), &rest)?;
                let point = tape.add(own, &rest)?;
                let projected = tape.linear(&point, field.projection, None)?;
                tape.rms_norm(&projected, field.norm, self.spec.norm_epsilon)?
            }
        };
        match (weight_index.belief_norm, self.input.self_conditioning) {
            (Some(norm), Some(belief)) => {
                let mixture = self.mixture(tape, belief)?;
                let believed = tape.rms_norm(&mixture, norm, self.spec.norm_epsilon)?;
                tape.add(x, &believed)
            }
            _ => Ok(x),
        }
    }

    fn mixture<D: Device>(&self, tape: &mut Tape<'p, D>, probabilities: &[f32]) -> Result<Value<D>, DeviceError> {
        let rows: Vec<D::Element> = probabilities.iter().map(|&p| D::Element::from_f64(f64::from(p))).collect();
        let rows = tape.constant(self.input.positions.len(), &rows)?;
        tape.mixture(self.weight_index.table, rows)
    }

    /// What each sequence is conditioned on.
    fn condition<D: Device>(&self, tape: &mut Tape<'p, D>) -> Result<Option<Value<D>>, DeviceError> {
        let (Some(weights), Some(size), Some(times)) =
            (&self.weight_index.time, self.spec.time_conditioning, self.input.times)
        else {
            return Ok(None);
        };
        let time = tape.constant(times.len(), &features::<D::Element>(times, size))?;
        let inner = tape.linear(&time, weights.input.0, Some(weights.input.1))?;
        let inner = tape.silu(&inner)?;
        let outer = tape.linear(&inner, weights.output.0, Some(weights.output.1))?;
        Ok(Some(tape.silu(&outer)?))
    }
}

/// An attention that is told which layer it is in.
type AttendIn<'a, 'p, D> =
    dyn FnMut(&mut Tape<'p, D>, usize, AttentionShape, &Value<D>) -> Result<Value<D>, DeviceError> + 'a;

/// Attention over packed queries, keys and values.
type Attend<'a, 'p, D> = dyn FnMut(&mut Tape<'p, D>, AttentionShape, &Value<D>) -> Result<Value<D>, DeviceError> + 'a;

/// One block. What the last one adds to rows that nobody asks for is never read: after its attention, only the asked
/// rows go on.
#[derive(Debug, Clone, Copy)]
struct Layer<'p> {
    pass: Pass<'p>,
    weights: &'p LayerWeights,
    last: bool,
}

impl<'p> Layer<'p> {
    /// `inputs` are the residual stream and, with time conditioning, the condition.
    fn run<D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        inputs: &[Value<D>],
        attend: &mut Attend<'_, 'p, D>,
    ) -> Result<Value<D>, DeviceError> {
        let weights = self.weights;
        let modulation = match (weights.modulation, inputs.get(1)) {
            (Some((weight, bias)), Some(condition)) => Some(tape.linear(condition, weight, Some(bias))?),
            _ => None,
        };
        let mut x = inputs[0].clone();
        let mut sub_block = SubBlock { pass: self.pass, modulation, groups: self.pass.groups, part: 0 };
        let h = sub_block.enter(tape, &x, weights.attention_norm)?;
        let mut attended = self.attention(tape, h, attend)?;
        if self.last {
            x = tape.rows(&x, self.pass.asked)?;
            attended = tape.rows(&attended, self.pass.asked)?;
            sub_block.groups = self.pass.asked_groups;
        }
        let x = sub_block.leave(tape, &attended, weights.out, x)?;
        drop(attended);

        sub_block.part = 3;
        let h = sub_block.enter(tape, &x, weights.feed_forward_norm)?;
        let inner = tape.linear_swiglu(&h, weights.gate_up, (weights.gate, weights.up))?;
        drop(h);
        sub_block.leave(tape, &inner, weights.down, x)
    }

    fn attention<D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        h: Value<D>,
        attend: &mut Attend<'_, 'p, D>,
    ) -> Result<Value<D>, DeviceError> {
        let spec = self.pass.spec;
        let shape =
            AttentionShape { heads: spec.heads, key_value_heads: spec.key_value_heads, head_size: spec.head_size };
        let packed = tape.linear(&h, self.weights.query_key_value, None)?;
        drop(h);
        let rope = RopeShape { attention: shape, theta: spec.rope_theta, epsilon: spec.norm_epsilon };
        let turned = tape.rope(rope, self.pass.input.positions, &packed, self.weights.head_norms)?;
        drop(packed);
        attend(tape, shape, &turned)
    }
}

/// What surrounds attention and the feed-forward layer alike.
struct SubBlock<'p, D: Device> {
    pass: Pass<'p>,
    modulation: Option<Value<D>>,
    /// The row of the modulation for each row of the stream.
    groups: &'p [u32],
    /// The first of the three parts of the modulation that are this sub-block's: shift, scale, gate.
    part: usize,
}

impl<'p, D: Device> SubBlock<'p, D> {
    /// Norm and modulation.
    fn enter(&self, tape: &mut Tape<'p, D>, x: &Value<D>, norm: WeightId) -> Result<Value<D>, DeviceError> {
        let NetworkSpec { width, norm_epsilon, .. } = *self.pass.spec;
        let h = tape.rms_norm(x, norm, norm_epsilon)?;
        match &self.modulation {
            Some(modulation) => {
                tape.modulate(&h, modulation, self.groups, (self.part * width, (self.part + 1) * width))
            }
            None => Ok(h),
        }
    }

    /// Projects back and adds to the residual stream, through the gate where there is one.
    fn leave(
        &self,
        tape: &mut Tape<'p, D>,
        h: &Value<D>,
        weight: WeightId,
        residual: Value<D>,
    ) -> Result<Value<D>, DeviceError> {
        match &self.modulation {
            Some(modulation) => {
                let projected = tape.linear(h, weight, None)?;
                let offset = (self.part + 2) * self.pass.spec.width;
                tape.gated_add(&projected, modulation, self.groups, offset, residual)
            }
            None => tape.linear_add(h, weight, residual),
        }
    }
}

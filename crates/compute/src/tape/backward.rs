//! The backward of the tape: records in reverse, each the chain rule of one operation.

use super::{Record, Segment, Tape, Value};
use crate::{Device, DeviceError, Gradients, LinearShape, ReadRow, WeightId};

/// What each row of a cross-entropy is scored against.
#[derive(Debug, Clone, Copy)]
pub struct Targets<'a> {
    /// The true id of each row.
    pub ids: &'a [u32],
    /// What each row's cost weighs in the gradient.
    pub weights: &'a [f64],
    /// An id whose logit is −∞.
    pub forbidden: Option<u32>,
}

/// Gradients of values by slot, while the backward runs.
type Slots<D> = Vec<Option<<D as Device>::Buffer>>;

impl<'p, D: Device> Tape<'p, D> {
    /// Softmax cross-entropy of `hidden headᵀ`: the negative log-likelihood of each row, in nats.
    pub fn cross_entropy(
        &self,
        hidden: &Value<D>,
        head: WeightId,
        targets: Targets<'_>,
    ) -> Result<Vec<f64>, DeviceError> {
        let Targets { ids, weights, forbidden } = targets;
        let (shape, head) = (self.loss_shape(hidden, head), self.parameters.get(head)?);
        self.device().linear_cross_entropy(shape, &hidden.buffer, head, ids, weights, forbidden, None)
    }

    /// The same, and the gradient of the weighted sum of the costs, added to `gradients`; uses the tape up.
    pub fn learn_cross_entropy(
        self,
        hidden: Value<D>,
        head: WeightId,
        targets: Targets<'_>,
        gradients: &mut Gradients<D>,
    ) -> Result<Vec<f64>, DeviceError> {
        let Targets { ids, weights, forbidden } = targets;
        let shape = self.loss_shape(&hidden, head);
        let (device, parameters) = (self.device(), self.parameters);
        let values = parameters.get(head)?;
        let mut d_hidden = device.uninitialised(shape.rows * shape.inputs)?;
        let mut costs = Ok(Vec::new());
        gradients.accumulate(parameters, head, |device, d_head| {
            let wanted = Some((&mut d_hidden, d_head));
            costs = device.linear_cross_entropy(shape, &hidden.buffer, values, ids, weights, forbidden, wanted);
        })?;
        let costs = costs?;
        self.backward(hidden, d_hidden, gradients)?;
        Ok(costs)
    }

    /// The gradient of any cost of `hidden headᵀ`, added to `gradients`: `read` is handed each row of logits and turns it into
    /// its gradient. Uses the tape up.
    pub fn learn_rows(
        self,
        hidden: Value<D>,
        head: WeightId,
        read: &ReadRow<'_>,
        gradients: &mut Gradients<D>,
    ) -> Result<(), DeviceError> {
        let shape = self.loss_shape(&hidden, head);
        let (device, parameters) = (self.device(), self.parameters);
        let values = parameters.get(head)?;
        let mut d_hidden = device.uninitialised(shape.rows * shape.inputs)?;
        gradients.accumulate(parameters, head, |device, d_head| {
            device.linear_learn_rows(shape, &hidden.buffer, values, read, (&mut d_hidden, d_head));
        })?;
        self.backward(hidden, d_hidden, gradients)
    }

    fn loss_shape(&self, hidden: &Value<D>, head: WeightId) -> LinearShape {
        LinearShape { rows: hidden.rows, inputs: hidden.columns, outputs: self.parameters.shape(head).0 }
    }

    /// Adds to `gradients` those of a scalar whose gradient with respect to `output` is `d_output`; uses the tape up.
    pub fn backward(
        self,
        output: Value<D>,
        d_output: D::Buffer,
        gradients: &mut Gradients<D>,
    ) -> Result<(), DeviceError> {
        let mut slots: Slots<D> = (0..self.slots).map(|_| None).collect();
        if let Some(slot) = output.slot {
            slots[slot] = Some(d_output);
        }
        drop(output);
        self.unwind(&mut slots, gradients)
    }

    /// Runs the records in reverse. Whatever a record holds is freed as soon as it is done.
    fn unwind(mut self, slots: &mut Slots<D>, gradients: &mut Gradients<D>) -> Result<(), DeviceError> {
        let records = self.records.take().unwrap_or_default();
        for record in records.into_iter().rev() {
            let Some(d_out) = slots[record.out()].take() else { continue };
            self.step(record, d_out, slots, gradients)?;
        }
        Ok(())
    }

    fn step(
        &self,
        record: Record<'p, D>,
        d_out: D::Buffer,
        slots: &mut Slots<D>,
        gradients: &mut Gradients<D>,
    ) -> Result<(), DeviceError> {
        let (device, parameters) = (self.device(), self.parameters);
        match record {
            Record::Gather { table, ids, .. } => {
                let (_, columns) = parameters.shape(table);
                gradients.accumulate(parameters, table, |device, d_table| {
                    device.scatter_add(columns, &d_out, ids, d_table);
                })?;
            }
            Record::Mixture { table, shape, probabilities, .. } => {
                gradients.accumulate(parameters, table, |device, d_table| {
                    device.linear_backward_weight(shape, &probabilities.buffer, &d_out, d_table, None);
                })?;
            }
            Record::Rows { x, ids, rows, columns, .. } => {
                let mut d_x = match slots[x].take() {
                    Some(d_x) => d_x,
                    None => device.zeros(rows * columns)?,
                };
                device.scatter_add(columns, &d_out, ids, &mut d_x);
                slots[x] = Some(d_x);
            }
            Record::Linear { x, weight, bias, shape, residual, .. } => {
                gradients.accumulate_linear(parameters, shape, (weight, bias), &d_out, &x.buffer)?;
                if let Some(slot) = x.slot {
                    let (mut d_x, accumulate) = self.slot(slots, slot, shape.rows * shape.inputs)?;
                    device.linear_backward_input(shape, &d_out, parameters.get(weight)?, accumulate, &mut d_x);
                    slots[slot] = Some(d_x);
                }
                self.give(slots, residual, d_out);
            }
            Record::RmsNorm { x, weight, inverse_rms, .. } => {
                let w = parameters.get(weight)?;
                // A norm of a constant still has a weight to learn; the gradient of its input goes nowhere.
                let (mut d_x, accumulate) = match x.slot {
                    Some(slot) => self.slot(slots, slot, x.rows * x.columns)?,
                    None => (device.uninitialised(x.rows * x.columns)?, false),
                };
                gradients.accumulate(parameters, weight, |device, d_w| {
                    device.rms_norm_backward(
                        x.columns,
                        &x.buffer,
                        Some(w),
                        &inverse_rms,
                        &d_out,
                        accumulate,
                        &mut d_x,
                        Some(d_w),
                    );
                })?;
                if let Some(slot) = x.slot {
                    slots[slot] = Some(d_x);
                }
            }
            Record::Rope { shape, positions, packed, norms, .. } => {
                let mut d_packed = device.uninitialised(packed.rows * packed.columns)?;
                let x = &packed.buffer;
                match norms {
                    Some((query, key)) => {
                        let weights = Some((parameters.get(query)?, parameters.get(key)?));
                        let [d_query, d_key] = gradients.pair(parameters, query, key);
                        let d_norms = Some((d_query, d_key));
                        device.rope_backward(shape, positions, x, weights, &d_out, &mut d_packed, d_norms);
                    }
                    None => device.rope_backward(shape, positions, x, None, &d_out, &mut d_packed, None),
                }
                self.give(slots, packed.slot, d_packed);
            }
            Record::Attention { shape, visibility, packed, output, log_sum_exp } => {
                let mut d_packed = device.uninitialised(packed.rows * packed.columns)?;
                device.attention_backward(
                    shape,
                    visibility,
                    &packed.buffer,
                    &output.buffer,
                    &log_sum_exp,
                    &d_out,
                    &mut d_packed,
                );
                self.give(slots, packed.slot, d_packed);
            }
            Record::Swiglu { gate_up, .. } => {
                let mut d_gate_up = device.uninitialised(gate_up.rows * gate_up.columns)?;
                device.swiglu_backward(gate_up.columns / 2, &gate_up.buffer, &d_out, &mut d_gate_up);
                self.give(slots, gate_up.slot, d_gate_up);
            }
            Record::Silu { x, .. } => {
                let mut d_x = device.uninitialised(x.rows * x.columns)?;
                device.silu_backward(&x.buffer, &d_out, &mut d_x);
                self.give(slots, x.slot, d_x);
            }
            Record::Modulate { x, modulation, groups, offsets, .. } => {
                let mut d_x = device.uninitialised(x.rows * x.columns)?;
                let mut d_modulation = self.sum(slots, &modulation)?;
                device.modulate_backward(
                    x.columns,
                    groups,
                    modulation.columns,
                    offsets,
                    &x.buffer,
                    &modulation.buffer,
                    &d_out,
                    &mut d_x,
                    &mut d_modulation,
                );
                self.keep(slots, &modulation, d_modulation);
                self.give(slots, x.slot, d_x);
            }
            Record::GatedAdd { x, modulation, groups, offset, residual, .. } => {
                let mut d_x = device.uninitialised(x.rows * x.columns)?;
                let mut d_modulation = self.sum(slots, &modulation)?;
                device.gated_add_backward(
                    x.columns,
                    groups,
                    modulation.columns,
                    offset,
                    &x.buffer,
                    &modulation.buffer,
                    &d_out,
                    &mut d_x,
                    &mut d_modulation,
                );
                self.keep(slots, &modulation, d_modulation);
                self.give(slots, x.slot, d_x);
                self.give(slots, residual, d_out);
            }
            Record::Add { x, y, length, .. } => {
                if let Some(y) = y {
                    let (mut d_y, accumulate) = self.slot(slots, y, length)?;
                    device.scale_add(1.0, &d_out, if accumulate { 1.0 } else { 0.0 }, &mut d_y);
                    slots[y] = Some(d_y);
                }
                self.give(slots, x, d_out);
            }
            Record::Segment { inputs, run, .. } => self.rerun(inputs, &run, d_out, slots, gradients)?,
        }
        Ok(())
    }

    /// Runs a segment again, recorded, and then backward.
    fn rerun(
        &self,
        inputs: Vec<Value<D>>,
        run: &Segment<'p, D>,
        d_out: D::Buffer,
        slots: &mut Slots<D>,
        gradients: &mut Gradients<D>,
    ) -> Result<(), DeviceError> {
        let mut tape = Tape::recording(self.parameters, 0);
        // The slots of the inputs outside; the place in this list is the slot inside. One that is given twice stands
        // here once.
        let mut outside: Vec<usize> = Vec::new();
        let mut leaf = |input: Value<D>| {
            let slot = input.slot.map(|slot| {
                outside.iter().position(|&known| known == slot).unwrap_or_else(|| {
                    outside.push(slot);
                    outside.len() - 1
                })
            });
            Value { slot, ..input }
        };
        let leaves: Vec<Value<D>> = inputs.into_iter().map(&mut leaf).collect();
        tape.slots = outside.len();
        let output = run(&mut tape, &leaves)?;
        drop(leaves);
        let mut inside: Slots<D> = (0..tape.slots).map(|_| None).collect();
        // What the inputs have collected so far goes on collecting inside, in the order in which it would without a
        // segment, so that not even the rounding differs.
        for (place, &slot) in inside.iter_mut().zip(&outside) {
            *place = slots[slot].take();
        }
        self.give(&mut inside, output.slot, d_out);
        drop(output);
        tape.unwind(&mut inside, gradients)?;
        for (place, slot) in inside.into_iter().zip(outside) {
            slots[slot] = place;
        }
        Ok(())
    }

    /// The buffer of a slot, and whether something has been collected in it.
    fn slot(&self, slots: &mut Slots<D>, slot: usize, length: usize) -> Result<(D::Buffer, bool), DeviceError> {
        match slots[slot].take() {
            Some(buffer) => Ok((buffer, true)),
            None => Ok((self.device().uninitialised(length)?, false)),
        }
    }

    /// Adds a gradient to what a slot has collected.
    fn give(&self, slots: &mut Slots<D>, slot: Option<usize>, gradient: D::Buffer) {
        let Some(slot) = slot else { return };
        match &mut slots[slot] {
            Some(collected) => self.device().scale_add(1.0, &gradient, 1.0, collected),
            empty => *empty = Some(gradient),
        }
    }

    /// The buffer into which the gradient of a modulation is summed: what was collected, or zeros.
    fn sum(&self, slots: &mut Slots<D>, modulation: &Value<D>) -> Result<D::Buffer, DeviceError> {
        match modulation.slot.and_then(|slot| slots[slot].take()) {
            Some(collected) => Ok(collected),
            None => self.device().zeros(modulation.rows * modulation.columns),
        }
    }

    fn keep(&self, slots: &mut Slots<D>, modulation: &Value<D>, gradient: D::Buffer) {
        if let Some(slot) = modulation.slot {
            slots[slot] = Some(gradient);
        }
    }
}

impl<D: Device> Record<'_, D> {
    /// The slot of the operation's output.
    fn out(&self) -> usize {
        match self {
            Self::Gather { out, .. }
            | Self::Mixture { out, .. }
            | Self::Rows { out, .. }
            | Self::Linear { out, .. }
            | Self::RmsNorm { out, .. }
            | Self::Rope { out, .. }
            | Self::Swiglu { out, .. }
            | Self::Silu { out, .. }
            | Self::Modulate { out, .. }
            | Self::GatedAdd { out, .. }
            | Self::Add { out, .. }
            | Self::Segment { out, .. } => *out,
            // Only outputs with a slot are noted.
            Self::Attention { output, .. } => output.slot.unwrap_or_default(),
        }
    }
}

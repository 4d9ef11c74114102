//! The backward of the tape: records in reverse, each the chain rule of one operation.

use super::{Record, Segment, Slots, Tape, Value};
use crate::{
    AddColumns, AttentionBackward, AttentionOperands, BackwardInput, BackwardWeight, Columns, Device, DeviceError,
    Evidence, Gradients, Head, HeadNormGradients, LayerNormBackward, LinearShape, LossGradients, LossRows,
    PreparedBackwardInput, ReadRow, RmsNormBackward, Rope, RowCost, RowLoss, RowScale, Targets, TokenVectors, WeightId,
    WriteRows,
};

/// How logits are made of hidden rows.
#[derive(Debug)]
pub struct LogitHead<'a, B> {
    /// The head.
    pub weight: WeightId,
    /// What is added to each token's logit.
    pub bias: Option<WeightId>,
    /// The bound that logits approach, where there is one.
    pub soft_cap: Option<f64>,
    /// A token whose logit is −∞: the mask.
    pub forbidden: Option<u32>,
    /// What is added beside the head.
    pub evidence: Option<Evidence<'a, B>>,
}

impl<'p, D: Device> Tape<'p, D> {
    /// Softmax cross-entropy of each row, in nats.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn cross_entropy(
        &self,
        hidden: &Value<D>,
        head: LogitHead<'_, D::Buffer>,
        targets: Targets<'_>,
    ) -> Result<Vec<f64>, DeviceError> {
        Ok(self.device().linear_cross_entropy(self.loss_rows(hidden, head)?, targets, None)?.get())
    }

    /// The same, and the gradient of the weighted sum of the costs, added to `gradients`; uses the tape up.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn learn_cross_entropy(
        self,
        hidden: Value<D>,
        head: LogitHead<'_, D::Buffer>,
        targets: Targets<'_>,
        gradients: &mut Gradients<D>,
    ) -> Result<Vec<f64>, DeviceError> {
        // Waited for behind the backward.
        let costs = self.learn(hidden, head, gradients, |device, rows, wanted| {
            device.linear_cross_entropy(rows, targets, Some(wanted))
        })?;
        Ok(costs.get())
    }

    /// What each row costs, each in its own way, and the negative log-likelihood of its target; `vectors` where one is a
    /// distance.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn costs(
        &self,
        hidden: &Value<D>,
        head: LogitHead<'_, D::Buffer>,
        costs: &[RowCost],
        vectors: Option<TokenVectors<'_, D::Buffer>>,
    ) -> Result<Vec<RowLoss>, DeviceError> {
        Ok(self.device().linear_cost_rows(self.loss_rows(hidden, head)?, costs, vectors, None)?.get())
    }

    /// The same, and the gradient of the weighted sum of the costs, added to `gradients`; uses the tape up.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn learn_costs(
        self,
        hidden: Value<D>,
        head: LogitHead<'_, D::Buffer>,
        costs: &[RowCost],
        vectors: Option<TokenVectors<'_, D::Buffer>>,
        gradients: &mut Gradients<D>,
    ) -> Result<Vec<RowLoss>, DeviceError> {
        let paid = self.learn(hidden, head, gradients, |device, rows, wanted| {
            device.linear_cost_rows(rows, costs, vectors, Some(wanted))
        })?;
        Ok(paid.get())
    }

    /// The gradient of any cost, added to `gradients`: `read` is handed each row of logits and turns it into its gradient.
    /// Uses the tape up.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn learn_rows(
        self,
        hidden: Value<D>,
        head: LogitHead<'_, D::Buffer>,
        read: &ReadRow<'_>,
        gradients: &mut Gradients<D>,
    ) -> Result<(), DeviceError> {
        self.learn(hidden, head, gradients, |device, rows, wanted| device.linear_learn_rows(rows, read, wanted))
    }

    /// The gradient of the weighted sum of the costs with respect to the tape's [leaf](Tape::leaf), of its length; uses the
    /// tape up. `None` where the costs do not depend on it, or the tape keeps nothing.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn leaf_gradient(
        self,
        hidden: Value<D>,
        head: LogitHead<'_, D::Buffer>,
        targets: Targets<'_>,
    ) -> Result<Option<D::Buffer>, DeviceError> {
        let mut gradients = Gradients::zeros(self.parameters)?;
        let loss = |device: &D, rows: LossRows<'_, _, _>, wanted: LossGradients<'_, _>| {
            device.linear_cross_entropy(rows, targets, Some(wanted))
        };
        Ok(self.learn_to_leaf(hidden, head, &mut gradients, loss)?.1)
    }

    /// Learns a loss, and then all that led to it.
    fn learn<R>(
        self,
        hidden: Value<D>,
        head: LogitHead<'_, D::Buffer>,
        gradients: &mut Gradients<D>,
        loss: impl FnOnce(&D, LossRows<'_, D::Buffer, D::Prepared>, LossGradients<'_, D::Buffer>) -> Result<R, DeviceError>,
    ) -> Result<R, DeviceError> {
        Ok(self.learn_to_leaf(hidden, head, gradients, loss)?.0)
    }

    /// The same, and the gradient of the leaf.
    fn learn_to_leaf<R>(
        self,
        hidden: Value<D>,
        head: LogitHead<'_, D::Buffer>,
        gradients: &mut Gradients<D>,
        loss: impl FnOnce(&D, LossRows<'_, D::Buffer, D::Prepared>, LossGradients<'_, D::Buffer>) -> Result<R, DeviceError>,
    ) -> Result<(R, Option<D::Buffer>), DeviceError> {
        let (device, parameters) = (self.device(), self.parameters);
        let learned = |id: &WeightId| parameters.trains(*id);
        let (weight, bias) = (Some(head.weight).filter(learned), head.bias.filter(learned));
        let rows = self.loss_rows(&hidden, head)?;
        let mut d_hidden = device.uninitialised(rows.shape.rows * rows.shape.inputs)?;
        let mut d_head = weight.map(|weight| gradients.lend(parameters, weight)).transpose()?;
        let mut d_bias = bias.map(|bias| gradients.lend(parameters, bias)).transpose()?;
        let wanted = LossGradients { hidden: &mut d_hidden, head: d_head.as_mut(), bias: d_bias.as_mut() };
        let result = loss(device, rows, wanted);
        for (id, gradient) in [(weight, d_head), (bias, d_bias)] {
            if let (Some(id), Some(gradient)) = (id, gradient) {
                gradients.take_back(parameters, id, gradient)?;
            }
        }
        let result = result?;
        let gradient = self.backward_to_leaf(hidden, d_hidden, gradients)?;
        Ok((result, gradient))
    }

    fn loss_rows<'a>(
        &'a self,
        hidden: &'a Value<D>,
        head: LogitHead<'a, D::Buffer>,
    ) -> Result<LossRows<'a, D::Buffer, D::Prepared>, DeviceError> {
        let LogitHead { weight, bias, soft_cap, forbidden, evidence } = head;
        let bias = bias.map(|bias| self.parameters.get(bias)).transpose()?;
        let shape = LinearShape { rows: hidden.rows, inputs: hidden.columns, outputs: self.parameters.shape(weight).0 };
        let head = match self.parameters.trains(weight) {
            true => Head::Values(self.parameters.get(weight)?),
            false => Head::Prepared(self.parameters.prepared(weight)?),
        };
        Ok(LossRows { shape, hidden: &hidden.buffer, head, bias, soft_cap, forbidden, evidence })
    }

    /// Adds to `gradients` those of a scalar whose gradient with respect to `output` is `d_output`; uses the tape up.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn backward(
        self,
        output: Value<D>,
        d_output: D::Buffer,
        gradients: &mut Gradients<D>,
    ) -> Result<(), DeviceError> {
        self.backward_to_leaf(output, d_output, gradients).map(drop)
    }

    fn backward_to_leaf(
        self,
        output: Value<D>,
        d_output: D::Buffer,
        gradients: &mut Gradients<D>,
    ) -> Result<Option<D::Buffer>, DeviceError> {
        let mut slots: Slots<D> = (0..self.slots).map(|_| None).collect();
        if let Some(slot) = output.slot {
            slots[slot] = Some(d_output);
        }
        drop(output);
        let leaf = self.leaf;
        self.unwind(&mut slots, gradients)?;
        Ok(leaf.and_then(|slot| slots[slot].take()))
    }

    /// Runs the records in reverse. A record frees what it holds as soon as it is done.
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
                    let operands = BackwardWeight { shape, d_out: &*probabilities.buffer, x: &d_out };
                    device.linear_backward_weight(operands, d_table, None);
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
            Record::Dropout { x, dropout, length, .. } => {
                let mut d_x = device.uninitialised(length)?;
                device.dropout(dropout, &d_out, &mut d_x);
                self.give(slots, x, d_x);
            }
            Record::AddColumns { to, added, rows, columns, factor, stride, first, .. } => {
                if let Some(slot) = added {
                    let (mut d_added, accumulate) = self.slot(slots, slot, rows * columns)?;
                    let from = Columns { buffer: &d_out, stride, first };
                    let operands = AddColumns { rows, columns, factor, from, stride: columns, first: 0, accumulate };
                    device.add_columns(operands, &mut d_added);
                    slots[slot] = Some(d_added);
                }
                self.give(slots, to, d_out);
            }
            Record::Linear { x, weight, bias, shape, residual, .. } => {
                let operands = BackwardWeight { shape, d_out: &d_out, x: &*x.buffer };
                gradients.accumulate_linear(parameters, (weight, bias), operands)?;
                if let Some(slot) = x.slot {
                    let (mut d_x, accumulate) = self.slot(slots, slot, shape.rows * shape.inputs)?;
                    let d_out = &d_out;
                    if parameters.trains(weight) {
                        let weight = parameters.get(weight)?;
                        device.linear_backward_input(BackwardInput { shape, d_out, weight, accumulate }, &mut d_x);
                    } else {
                        let (rows, weight) = (shape.rows, parameters.prepared(weight)?);
                        let operands = PreparedBackwardInput { rows, d_out, weight, accumulate };
                        device.linear_prepared_backward_input(operands, &mut d_x);
                    }
                    slots[slot] = Some(d_x);
                }
                self.give(slots, residual, d_out);
            }
            Record::RmsNorm { x, weight, inverse_rms, .. } => {
                let w = weight.map(|weight| parameters.get(weight)).transpose()?;
                // A norm of a constant still has a weight to learn; the gradient of its input goes nowhere.
                let (mut d_x, accumulate) = match x.slot {
                    Some(slot) => self.slot(slots, slot, x.rows * x.columns)?,
                    None => (device.uninitialised(x.rows * x.columns)?, false),
                };
                let operands = RmsNormBackward {
                    columns: x.columns,
                    x: &*x.buffer,
                    weight: w,
                    inverse_rms: &inverse_rms,
                    d_out: &d_out,
                    accumulate,
                };
                match weight.filter(|weight| parameters.trains(*weight)) {
                    Some(weight) => gradients.accumulate(parameters, weight, |device, d_w| {
                        device.rms_norm_backward(operands, &mut d_x, Some(d_w));
                    })?,
                    None => device.rms_norm_backward(operands, &mut d_x, None),
                }
                if let Some(slot) = x.slot {
                    slots[slot] = Some(d_x);
                }
            }
            Record::LayerNorm { x, weight, moments, .. } => {
                let w = parameters.get(weight)?;
                let (mut d_x, accumulate) = match x.slot {
                    Some(slot) => self.slot(slots, slot, x.rows * x.columns)?,
                    None => (device.uninitialised(x.rows * x.columns)?, false),
                };
                let operands = LayerNormBackward {
                    columns: x.columns,
                    x: &*x.buffer,
                    weight: w,
                    moments: &moments,
                    d_out: &d_out,
                    accumulate,
                };
                if parameters.trains(weight) {
                    gradients.accumulate(parameters, weight, |device, d_w| {
                        device.layer_norm_backward(operands, &mut d_x, Some(d_w));
                    })?;
                } else {
                    device.layer_norm_backward(operands, &mut d_x, None);
                }
                if let Some(slot) = x.slot {
                    slots[slot] = Some(d_x);
                }
            }
            Record::Rope { shape, positions, packed, norms, .. } => {
                let mut d_packed = device.uninitialised(packed.rows * packed.columns)?;
                let weights = parameters.head_norms(norms)?;
                let operands = Rope { shape, positions, packed: &*packed.buffer, norms: weights };
                match norms.filter(|(query, key)| parameters.trains(*query) || parameters.trains(*key)) {
                    Some((query, key)) => {
                        gradients.accumulate_pair(parameters, (query, key), |device, query, key| {
                            let d_norms = Some(HeadNormGradients { query, key });
                            device.rope_backward(operands, &d_out, &mut d_packed, d_norms);
                        })?
                    }
                    None => device.rope_backward(operands, &d_out, &mut d_packed, None),
                }
                self.give(slots, packed.slot, d_packed);
            }
            Record::Attention { shape, visible, packed, output, log_sum_exp } => {
                let mut d_packed = device.uninitialised(packed.rows * packed.columns)?;
                let forward = AttentionOperands { shape, visible, packed: &*packed.buffer };
                let operands =
                    AttentionBackward { forward, out: &output.buffer, log_sum_exp: &log_sum_exp, d_out: &d_out };
                device.attention_backward(operands, &mut d_packed);
                self.give(slots, packed.slot, d_packed);
            }
            Record::Glu { activation, gate_up, .. } => {
                let mut d_gate_up = device.uninitialised(gate_up.rows * gate_up.columns)?;
                device.glu_backward(activation, gate_up.columns / 2, &gate_up.buffer, &d_out, &mut d_gate_up);
                self.give(slots, gate_up.slot, d_gate_up);
            }
            Record::ScaleRows { x, factors, groups, .. } => {
                let mut d_x = device.uninitialised(x.rows * x.columns)?;
                let operands = self.row_scale(&x, factors, &groups)?;
                if parameters.trains(factors) {
                    gradients.accumulate(parameters, factors, |device, d_factors| {
                        device.scale_rows_backward(operands, &d_out, &mut d_x, d_factors);
                    })?;
                } else {
                    device.scale_rows(RowScale { x: &d_out, ..operands }, &mut d_x);
                }
                self.give(slots, x.slot, d_x);
            }
            Record::Scaled { x, factor, length, .. } => {
                let (mut d_x, accumulate) = self.slot(slots, x, length)?;
                device.scale_add(factor, &d_out, if accumulate { 1.0 } else { 0.0 }, &mut d_x);
                slots[x] = Some(d_x);
            }
            Record::Replace { x, rows, ids, columns, .. } => {
                let length = device.count(ids) * columns;
                if rows.is_some() {
                    let mut d_rows = device.uninitialised(length)?;
                    device.gather(columns, &d_out, ids, &mut d_rows);
                    self.give(slots, rows, d_rows);
                }
                let (mut d_x, none) = (d_out, device.zeros(length)?);
                let replaced = Columns { buffer: &none, stride: columns, first: 0 };
                device.write_rows(WriteRows { columns, rows: replaced, ids }, &mut d_x);
                self.give(slots, x, d_x);
            }
            Record::Silu { x, .. } => {
                let mut d_x = device.uninitialised(x.rows * x.columns)?;
                device.silu_backward(&x.buffer, &d_out, &mut d_x);
                self.give(slots, x.slot, d_x);
            }
            Record::Gelu { x, .. } => {
                let mut d_x = device.uninitialised(x.rows * x.columns)?;
                device.gelu_backward(&x.buffer, &d_out, &mut d_x);
                self.give(slots, x.slot, d_x);
            }
            Record::RoundToLevels { x, .. } => {
                let mut d_x = device.uninitialised(x.rows * x.columns)?;
                device.round_to_levels_backward(&x.buffer, &d_out, &mut d_x);
                self.give(slots, x.slot, d_x);
            }
            Record::Modulate { x, modulation, groups, at, .. } => {
                let mut d_x = device.uninitialised(x.rows * x.columns)?;
                let mut d_modulation = self.sum(slots, &modulation)?;
                let operands = Self::modulation(&x, &modulation, groups);
                device.modulate_backward(operands, at, &d_out, &mut d_x, &mut d_modulation);
                self.keep(slots, &modulation, d_modulation);
                self.give(slots, x.slot, d_x);
            }
            Record::GatedAdd { x, modulation, groups, gate, residual, .. } => {
                let mut d_x = device.uninitialised(x.rows * x.columns)?;
                let mut d_modulation = self.sum(slots, &modulation)?;
                let operands = Self::modulation(&x, &modulation, groups);
                device.gated_add_backward(operands, gate, &d_out, &mut d_x, &mut d_modulation);
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
            Record::Route { logits, routes, balance, .. } => {
                self.route_backward((&logits, &routes), &d_out, slots)?;
                if let Some(weight) = balance {
                    self.balance_backward((&logits, &routes), weight, slots)?;
                }
            }
            Record::Dispatch { x, routes, rows, columns, .. } => {
                let mut d_x = match slots[x].take() {
                    Some(d_x) => d_x,
                    None => device.zeros(rows * columns)?,
                };
                self.dispatch_backward(&routes, (columns, &d_out), &mut d_x);
                slots[x] = Some(d_x);
            }
            Record::GroupedLinear(record) => self.grouped_linear_backward(record, d_out, (slots, gradients))?,
            Record::Combine(record) => self.combine_backward(record, &d_out, slots)?,
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
        let mut tape = Tape::recording(self.parameters, 0).balancing(self.balance).adding(self.low_rank);
        tape = tape.dropping(self.dropout);
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
    pub(super) fn give(&self, slots: &mut Slots<D>, slot: Option<usize>, gradient: D::Buffer) {
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
            | Self::Dropout { out, .. }
            | Self::AddColumns { out, .. }
            | Self::Linear { out, .. }
            | Self::RmsNorm { out, .. }
            | Self::LayerNorm { out, .. }
            | Self::Rope { out, .. }
            | Self::Glu { out, .. }
            | Self::ScaleRows { out, .. }
            | Self::Scaled { out, .. }
            | Self::Replace { out, .. }
            | Self::Silu { out, .. }
            | Self::Gelu { out, .. }
            | Self::RoundToLevels { out, .. }
            | Self::Modulate { out, .. }
            | Self::GatedAdd { out, .. }
            | Self::Add { out, .. }
            | Self::Route { out, .. }
            | Self::Dispatch { out, .. }
            | Self::Segment { out, .. } => *out,
            Self::GroupedLinear(record) => record.out,
            Self::Combine(record) => record.out,
            // Only outputs with a slot are noted.
            Self::Attention { output, .. } => output.slot.unwrap_or_default(),
        }
    }
}

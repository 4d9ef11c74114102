//! A tape over the operations of [`Device`]: each method runs one of them and, when recording, notes what its backward
//! needs; nothing else is kept.
//!
//! A [`Value`] is a counted handle. When inferring, the last handle that goes out of scope frees the memory, so that
//! ownership in the caller is the plan of memory; when recording, the notes hold handles of exactly what the backward
//! reads. An operation that adds to a value works in place when it holds the only reference.
//!
//! Reverse accumulation as in Griewank & Walther, "Evaluating derivatives", chapter 3; recomputed segments as in
//! Chen et al., 1604.06174: only the inputs of a segment are kept, and the segment runs again, recorded, when the
//! backward reaches it. The same operations run in the same order, so the gradients are the same to the bit.

mod backward;
mod elementwise;
mod experts;
mod low_rank;

pub use backward::LogitHead;
pub use elementwise::RowGroups;
pub use experts::Routes;

use experts::{Combined, GroupedLinear};

use crate::{
    Activation, AttentionOperands, AttentionRows, AttentionShape, BackwardInput, Device, DeviceError, Dropout, Element,
    GluOperands, LayerNorm, LinearOperands, LinearShape, Parameters, PreparedOperands, RmsNorm, Rope, RopeShape,
    ShiftScale, WeightId,
};
use std::rc::Rc;

/// A row-major matrix on the device.
#[derive(Debug)]
pub struct Value<D: Device> {
    buffer: Rc<D::Buffer>,
    rows: usize,
    columns: usize,
    /// Where the backward collects this value's gradient; `None` if none is wanted.
    slot: Option<usize>,
}

impl<D: Device> Clone for Value<D> {
    fn clone(&self) -> Self {
        Self { buffer: Rc::clone(&self.buffer), ..*self }
    }
}

impl<D: Device> Value<D> {
    /// The elements.
    pub fn buffer(&self) -> &D::Buffer {
        &self.buffer
    }
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }
}

/// A piece of network that can be run again: inputs to one output.
type Segment<'p, D> = Rc<dyn Fn(&mut Tape<'p, D>, &[Value<D>]) -> Result<Value<D>, DeviceError> + 'p>;

/// What the backward of one operation needs.
enum Record<'p, D: Device> {
    Gather {
        table: WeightId,
        ids: &'p D::Indices,
        out: usize,
    },
    Mixture {
        table: WeightId,
        shape: LinearShape,
        probabilities: Value<D>,
        out: usize,
    },
    Rows {
        x: usize,
        ids: &'p D::Indices,
        rows: usize,
        columns: usize,
        out: usize,
    },
    Dropout {
        x: Option<usize>,
        dropout: Dropout,
        length: usize,
        out: usize,
    },
    AddColumns {
        /// Where the gradient of the matrix goes that was added to.
        to: Option<usize>,
        added: Option<usize>,
        rows: usize,
        columns: usize,
        factor: f64,
        stride: usize,
        first: usize,
        out: usize,
    },
    Linear {
        x: Value<D>,
        weight: WeightId,
        bias: Option<WeightId>,
        shape: LinearShape,
        residual: Option<usize>,
        out: usize,
    },
    RmsNorm {
        x: Value<D>,
        weight: Option<WeightId>,
        inverse_rms: D::Buffer,
        out: usize,
    },
    LayerNorm {
        x: Value<D>,
        weight: WeightId,
        moments: D::Buffer,
        out: usize,
    },
    Rope {
        shape: RopeShape,
        positions: &'p D::Indices,
        packed: Value<D>,
        norms: Option<(WeightId, WeightId)>,
        out: usize,
    },
    Attention {
        shape: AttentionShape,
        visible: &'p D::Visible,
        packed: Value<D>,
        output: Value<D>,
        log_sum_exp: D::Buffer,
    },
    Glu {
        activation: Activation,
        gate_up: Value<D>,
        out: usize,
    },
    ScaleRows {
        x: Value<D>,
        factors: WeightId,
        groups: RowGroups<'p, D>,
        out: usize,
    },
    Scaled {
        x: usize,
        factor: f64,
        length: usize,
        out: usize,
    },
    Replace {
        x: Option<usize>,
        rows: Option<usize>,
        ids: &'p D::Indices,
        columns: usize,
        out: usize,
    },
    Silu {
        x: Value<D>,
        out: usize,
    },
    Gelu {
        x: Value<D>,
        out: usize,
    },
    RoundToLevels {
        x: Value<D>,
        out: usize,
    },
    Modulate {
        x: Value<D>,
        modulation: Value<D>,
        groups: &'p D::Indices,
        at: ShiftScale,
        out: usize,
    },
    GatedAdd {
        x: Value<D>,
        modulation: Value<D>,
        groups: &'p D::Indices,
        gate: usize,
        residual: Option<usize>,
        out: usize,
    },
    Add {
        x: Option<usize>,
        y: Option<usize>,
        length: usize,
        out: usize,
    },
    Route {
        logits: Value<D>,
        routes: Rc<Routes<D>>,
        /// What the balancing cost weighs; `None` where there is none.
        balance: Option<f64>,
        out: usize,
    },
    Dispatch {
        x: usize,
        routes: Rc<Routes<D>>,
        rows: usize,
        columns: usize,
        out: usize,
    },
    GroupedLinear(GroupedLinear<D>),
    Combine(Combined<D>),
    Segment {
        inputs: Vec<Value<D>>,
        run: Segment<'p, D>,
        out: usize,
    },
}

/// Gradients of values by slot, while the backward runs.
type Slots<D> = Vec<Option<<D as crate::Memory>::Buffer>>;

/// Runs operations, and records them for a backward pass if it is to.
pub struct Tape<'p, D: Device> {
    parameters: &'p Parameters<D>,
    records: Option<Vec<Record<'p, D>>>,
    slots: usize,
    /// How many of the segments to come keep their inputs only.
    recomputed: usize,
    /// Whether a backward will follow, here or in a segment that runs again: its operations are then those of learning.
    learning: bool,
    /// What the balancing cost of routers weighs; 0 for none.
    balance: f64,
    /// The set of low-rank additions that products apply.
    low_rank: Option<usize>,
    /// What they drop of their inputs in learning.
    dropout: Option<Dropout>,
    /// How many rows went to each expert, router by router; of a tape that learns.
    loads: Vec<Vec<u32>>,
    /// The slot of the value whose gradient is asked for.
    leaf: Option<usize>,
}

impl<'p, D: Device> Tape<'p, D> {
    /// A tape that keeps nothing.
    pub fn inferring(parameters: &'p Parameters<D>) -> Self {
        Self {
            parameters,
            records: None,
            slots: 0,
            recomputed: 0,
            learning: false,
            balance: 0.0,
            low_rank: None,
            dropout: None,
            loads: Vec::new(),
            leaf: None,
        }
    }

    /// A tape that can be run backward. The first `recomputed` segments keep their inputs only: the backward reaches
    /// them last, when what the others kept is free again.
    pub fn recording(parameters: &'p Parameters<D>, recomputed: usize) -> Self {
        Self { records: Some(Vec::new()), recomputed, learning: true, ..Self::inferring(parameters) }
    }

    /// The same with a cost of routers whose experts get unlike numbers of rows (see [`Tape::route`]), which weighs so much;
    /// 0 for none.
    #[must_use]
    pub fn balancing(self, weight: f64) -> Self {
        Self { balance: weight, ..self }
    }

    /// The same with products that apply a set of low-rank additions ([`Parameters::add_low_rank`]); `None` for none.
    #[must_use]
    pub fn adding(self, low_rank: Option<usize>) -> Self {
        Self { low_rank, ..self }
    }

    /// The same with low-rank additions that drop some of their inputs, each addition others; `None` for none.
    #[must_use]
    pub fn dropping(self, dropout: Option<Dropout>) -> Self {
        Self { dropout: dropout.filter(|dropout| dropout.rate > 0.0), ..self }
    }

    /// How many rows went to each expert so far, router by router; empty on a tape that cannot be run backward.
    pub fn loads(&self) -> &[Vec<u32>] {
        &self.loads
    }

    fn device(&self) -> &'p D {
        self.parameters.device()
    }

    /// A constant of `rows` rows.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn constant(&mut self, rows: usize, values: &[D::Element]) -> Result<Value<D>, DeviceError> {
        let columns = values.len().checked_div(rows).unwrap_or(0);
        Ok(Value { buffer: Rc::new(self.device().upload(values)?), rows, columns, slot: None })
    }

    /// A value that was computed elsewhere: a constant to the backward.
    pub fn adopt(&mut self, buffer: D::Buffer, rows: usize, columns: usize) -> Value<D> {
        Value { buffer: Rc::new(buffer), rows, columns, slot: None }
    }

    /// The same value as an input of the tape whose gradient [`Tape::leaf_gradient`] gives; what led to it gets none.
    /// There is one such value at a time.
    pub fn leaf(&mut self, value: Value<D>) -> Value<D> {
        let value = Value { slot: None, ..value };
        if self.records.is_none() {
            return value;
        }
        self.leaf = Some(self.slots);
        self.slots += 1;
        Value { slot: self.leaf, ..value }
    }

    /// A table of fewer bits in the device's own numbers, which products read; `None` where it is in them.
    fn widened(&self, table: &D::Buffer) -> Result<Option<D::Buffer>, DeviceError> {
        let device = self.device();
        if device.dtype(table) == D::Element::DTYPE {
            return Ok(None);
        }
        let mut wide = device.uninitialised(device.len(table))?;
        device.convert(table, &mut wide);
        Ok(Some(wide))
    }

    /// A fresh output of a differentiable operation.
    fn value(&mut self, buffer: D::Buffer, rows: usize, columns: usize, differentiable: bool) -> Value<D> {
        let slot = (self.records.is_some() && differentiable).then(|| {
            self.slots += 1;
            self.slots - 1
        });
        Value { buffer: Rc::new(buffer), rows, columns, slot }
    }

    /// Notes an operation whose output has a slot.
    fn note(&mut self, out: &Value<D>, record: impl FnOnce(usize) -> Record<'p, D>) {
        if let (Some(records), Some(slot)) = (&mut self.records, out.slot) {
            records.push(record(slot));
        }
    }

    /// The memory of a value to add to: its own if this is the only reference, else a copy.
    fn own(&self, value: Value<D>) -> Result<D::Buffer, DeviceError> {
        match Rc::try_unwrap(value.buffer) {
            Ok(buffer) => Ok(buffer),
            Err(shared) => {
                let mut copy = self.device().uninitialised(value.rows * value.columns)?;
                self.device().scale_add(1.0, &shared, 0.0, &mut copy);
                Ok(copy)
            }
        }
    }

    /// Mixtures of a table's rows: probabilities `[T, V]` (constant: no gradient flows to them) times table `[V, D]`.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn mixture(&mut self, table: WeightId, probabilities: Value<D>) -> Result<Value<D>, DeviceError> {
        let (outputs, inputs) = self.parameters.shape(table);
        let shape = LinearShape { rows: probabilities.rows, inputs, outputs };
        let mut out = self.device().uninitialised(shape.rows * inputs)?;
        let (d_out, weight) = (&*probabilities.buffer, self.parameters.get(table)?);
        let widened = self.widened(weight)?;
        let weight = widened.as_ref().unwrap_or(weight);
        self.device().linear_backward_input(BackwardInput { shape, d_out, weight, accumulate: false }, &mut out);
        let out = self.value(out, shape.rows, inputs, self.parameters.trains(table));
        self.note(&out, |out| Record::Mixture { table, shape, probabilities, out });
        Ok(out)
    }

    /// `x wᵀ (+ bias)`, and what the set of low-rank additions adds.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn linear(&mut self, x: &Value<D>, weight: WeightId, bias: Option<WeightId>) -> Result<Value<D>, DeviceError> {
        let out = self.product(x, weight, bias)?;
        self.add_low_rank(x, weight, out)
    }

    /// `x wᵀ (+ bias)` alone.
    fn product(&mut self, x: &Value<D>, weight: WeightId, bias: Option<WeightId>) -> Result<Value<D>, DeviceError> {
        let shape = self.linear_shape(x, weight);
        let mut out = self.device().uninitialised(x.rows * shape.outputs)?;
        self.multiply(shape, x, (weight, bias), false, &mut out)?;
        let trains = self.parameters.trains(weight) || bias.is_some_and(|bias| self.parameters.trains(bias));
        let out = self.value(out, x.rows, shape.outputs, x.slot.is_some() || trains);
        self.note(&out, |out| Record::Linear { x: x.clone(), weight, bias, shape, residual: None, out });
        Ok(out)
    }

    /// `residual + x wᵀ (+ bias)`, and what the set of low-rank additions adds.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn linear_add(
        &mut self,
        x: &Value<D>,
        weight: WeightId,
        bias: Option<WeightId>,
        residual: Value<D>,
    ) -> Result<Value<D>, DeviceError> {
        let shape = self.linear_shape(x, weight);
        let slot = residual.slot;
        let is_shared = Rc::strong_count(&residual.buffer) > 1;
        let out = if is_shared && self.records.is_some() && self.parameters.trains(weight) {
            // Somebody reads the residual later: the product writes the sum elsewhere.
            let mut out = self.device().uninitialised(x.rows * shape.outputs)?;
            let bias = bias.map(|bias| self.parameters.get(bias)).transpose()?;
            let (x, weight) = (&*x.buffer, self.parameters.get(weight)?);
            let operands = LinearOperands { shape, x, weight, bias, accumulate: false };
            self.device().linear_onto(operands, &residual.buffer, &mut out);
            out
        } else {
            let mut out = self.own(residual)?;
            self.multiply(shape, x, (weight, bias), true, &mut out)?;
            out
        };
        let trains = self.parameters.trains(weight) || bias.is_some_and(|bias| self.parameters.trains(bias));
        let out = self.value(out, x.rows, shape.outputs, x.slot.is_some() || slot.is_some() || trains);
        self.note(&out, |out| Record::Linear { x: x.clone(), weight, bias, shape, residual: slot, out });
        self.add_low_rank(x, weight, out)
    }

    /// `f(x gateᵀ) · (x upᵀ)`. `stacked` is the gate above what it is for, and `apart` the two on their own: one
    /// product is what a backward wants, and a fused one needs no memory for what is in between. Where either is kept in its
    /// prepared form only, there is no other.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn linear_glu(
        &mut self,
        activation: Activation,
        x: &Value<D>,
        stacked: WeightId,
        apart: (WeightId, WeightId),
    ) -> Result<Value<D>, DeviceError> {
        let is_recorded = self.records.is_some();
        let is_apart = self.parameters.is_prepared_only(apart.0);
        if (is_recorded && !is_apart) || self.parameters.is_prepared_only(stacked) {
            let gate_up = self.linear(x, stacked, None)?;
            return self.glu(activation, &gate_up);
        }
        let (width, _) = self.parameters.shape(apart.0);
        if is_recorded || self.low_rank.is_some_and(|set| !self.parameters.low_rank(set, stacked).is_empty()) {
            let (gate, up) = (self.linear(x, apart.0, None)?, self.linear(x, apart.1, None)?);
            let gate_up = self.beside(&gate, &up)?;
            return self.glu(activation, &gate_up);
        }
        let (gate, up) = (self.parameters.prepared(apart.0)?, self.parameters.prepared(apart.1)?);
        let mut out = self.device().uninitialised(x.rows * width)?;
        self.device().linear_glu(GluOperands { activation, rows: x.rows, x: &*x.buffer, gate, up }, &mut out);
        Ok(self.value(out, x.rows, width, false))
    }

    fn linear_shape(&self, x: &Value<D>, weight: WeightId) -> LinearShape {
        let (outputs, inputs) = self.parameters.shape(weight);
        LinearShape { rows: x.rows, inputs, outputs }
    }

    /// A product with a weight: as it is where it is learned, else as it was prepared once.
    fn multiply(
        &self,
        shape: LinearShape,
        x: &Value<D>,
        (weight, bias): (WeightId, Option<WeightId>),
        accumulate: bool,
        out: &mut D::Buffer,
    ) -> Result<(), DeviceError> {
        let bias = bias.map(|bias| self.parameters.get(bias)).transpose()?;
        let x = &*x.buffer;
        if self.records.is_some() && self.parameters.trains(weight) {
            let weight = self.parameters.get(weight)?;
            self.device().linear(LinearOperands { shape, x, weight, bias, accumulate }, out);
        } else {
            let weight = self.parameters.prepared(weight)?;
            self.device().linear_prepared(PreparedOperands { rows: shape.rows, x, weight, bias, accumulate }, out);
        }
        Ok(())
    }

    /// RMS norm of each row, with a weight or without one.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn rms_norm(&mut self, x: &Value<D>, weight: Option<WeightId>, epsilon: f64) -> Result<Value<D>, DeviceError> {
        let mut out = self.device().uninitialised(x.rows * x.columns)?;
        let mut inverse_rms = self.device().uninitialised(x.rows)?;
        let scale = weight.map(|weight| self.parameters.get(weight)).transpose()?;
        let operands = RmsNorm { columns: x.columns, epsilon, x: &*x.buffer, weight: scale };
        self.device().rms_norm(operands, &mut out, &mut inverse_rms);
        let out = self.value(
            out,
            x.rows,
            x.columns,
            x.slot.is_some() || weight.is_some_and(|weight| self.parameters.trains(weight)),
        );
        self.note(&out, |out| Record::RmsNorm { x: x.clone(), weight, inverse_rms, out });
        Ok(out)
    }

    /// Layer norm of each row, with a weight.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn layer_norm(&mut self, x: &Value<D>, weight: WeightId, epsilon: f64) -> Result<Value<D>, DeviceError> {
        let mut out = self.device().uninitialised(x.rows * x.columns)?;
        let mut moments = self.device().uninitialised(2 * x.rows)?;
        let operands = LayerNorm { columns: x.columns, epsilon, x: &*x.buffer, weight: self.parameters.get(weight)? };
        self.device().layer_norm(operands, &mut out, &mut moments);
        let out = self.value(out, x.rows, x.columns, x.slot.is_some() || self.parameters.trains(weight));
        self.note(&out, |out| Record::LayerNorm { x: x.clone(), weight, moments, out });
        Ok(out)
    }

    /// Per-head norm (where weights are given) and rotation of packed queries and keys; `positions` are `[T, A]`, as in
    /// [`Rope`].
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn rope(
        &mut self,
        shape: RopeShape,
        positions: &'p D::Indices,
        packed: &Value<D>,
        norms: Option<(WeightId, WeightId)>,
    ) -> Result<Value<D>, DeviceError> {
        let mut out = self.device().uninitialised(packed.rows * packed.columns)?;
        let weights = self.parameters.head_norms(norms)?;
        self.device().rope(Rope { shape, positions, packed: &*packed.buffer, norms: weights }, &mut out);
        let trains = norms.is_some_and(|(query, key)| self.parameters.trains(query) || self.parameters.trains(key));
        let out = self.value(out, packed.rows, packed.columns, packed.slot.is_some() || trains);
        self.note(&out, |out| Record::Rope { shape, positions, packed: packed.clone(), norms, out });
        Ok(out)
    }

    /// Attention over packed queries, keys and values.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn attention(
        &mut self,
        shape: AttentionShape,
        visible: &'p D::Visible,
        packed: &Value<D>,
    ) -> Result<Value<D>, DeviceError> {
        let mut out = self.device().uninitialised(packed.rows * shape.output_columns())?;
        if !self.learning {
            self.device().attention_rows(AttentionRows::packed(shape, visible, &packed.buffer), &mut out);
            return Ok(self.value(out, packed.rows, shape.output_columns(), false));
        }
        let mut log_sum_exp = self.device().uninitialised(packed.rows * shape.heads)?;
        let operands = AttentionOperands { shape, visible, packed: &*packed.buffer };
        self.device().attention(operands, &mut out, &mut log_sum_exp);
        let out = self.value(out, packed.rows, shape.output_columns(), packed.slot.is_some());
        self.note(&out, |_| Record::Attention {
            shape,
            visible,
            packed: packed.clone(),
            output: out.clone(),
            log_sum_exp,
        });
        Ok(out)
    }

    /// Runs a piece of network. When recording and it is one of those to be recomputed, only `inputs` are kept and
    /// `run` is called again in the backward; so it may depend on nothing else that changes.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn segment(
        &mut self,
        inputs: Vec<Value<D>>,
        run: impl Fn(&mut Self, &[Value<D>]) -> Result<Value<D>, DeviceError> + 'p,
    ) -> Result<Value<D>, DeviceError> {
        if self.records.is_none() || self.recomputed == 0 {
            return run(self, &inputs);
        }
        self.recomputed -= 1;
        let mut unrecorded =
            Self { learning: true, ..Self::inferring(self.parameters).adding(self.low_rank).dropping(self.dropout) };
        let out = run(&mut unrecorded, &inputs)?;
        self.loads.append(&mut unrecorded.loads);
        self.slots += 1;
        let out = Value { slot: Some(self.slots - 1), ..out };
        self.note(&out, |out| Record::Segment { inputs, run: Rc::new(run), out });
        Ok(out)
    }
}

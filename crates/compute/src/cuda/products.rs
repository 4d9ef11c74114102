//! Products by matrices, and those whose result no one keeps whole: losses and beliefs, some rows at a time.

use super::driver::{Argument, Factor, Number, Product};
use super::integers::Integers;
use super::{Cuda, GpuBuffer, Memory, THREADS};
use crate::{DeviceError, LinearShape, Precision, Quantised, ReadRow, WeightFormat};
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Bytes of logits that are there at one time.
const LOGITS: usize = 256 << 20;
/// Parts into which a sum over rows is cut.
const PARTS: usize = 64;

/// A matrix `[N, K]` on a GPU, in the numbers in which it multiplies.
#[derive(Debug)]
pub struct GpuMatrix(Kept);

#[derive(Debug)]
enum Kept {
    Real { memory: Memory, shape: (usize, usize), numbers: Number },
    Integers(Integers),
}

impl GpuMatrix {
    /// Rows and columns: `(N, K)`.
    pub(super) fn shape(&self) -> (usize, usize) {
        match &self.0 {
            Kept::Real { shape, .. } => *shape,
            Kept::Integers(matrix) => matrix.shape(),
        }
    }
}

impl Precision {
    fn number(self) -> Number {
        match self {
            Self::F32 => Number::F32,
            Self::Bf16 => Number::Bf16,
        }
    }
}

/// Rows and columns of a result, the inner length, and what becomes of the result.
struct Shape {
    rows: usize,
    columns: usize,
    depth: usize,
    accumulate: bool,
    bias: Option<u64>,
}

/// What a product reads: f32 as they are or rounded, and whether transposed.
struct Operand {
    at: u64,
    transposed: bool,
    /// Rounded already.
    ready: bool,
}

impl Cuda {
    /// Elements as a factor: rounded to bf16 where that is the precision, in memory that is then lent.
    fn factor(&self, at: u64, count: usize, numbers: Number) -> (u64, Option<Memory>) {
        match numbers {
            Number::F32 => (at, None),
            Number::Bf16 => {
                let rounded = self.scratch(2 * count);
                self.each("round_to_bf16", count, &[Argument::Pointer(at), Argument::Pointer(rounded.at())]);
                (rounded.at(), Some(rounded))
            }
        }
    }

    fn multiply(&self, shape: Shape, numbers: Number, left: Operand, right: Operand, out: u64) {
        let Shape { rows, columns, depth, accumulate, bias } = shape;
        if rows * columns * depth == 0 {
            return;
        }
        let ready = |operand: &Operand, count| match operand.ready {
            true => (operand.at, None),
            false => self.factor(operand.at, count, numbers),
        };
        let (left_at, _left) = ready(&left, rows * depth);
        let (right_at, _right) = ready(&right, depth * columns);
        self.must(self.driver.multiply(&Product {
            numbers,
            rows,
            columns,
            depth,
            left: Factor { at: left_at, transposed: left.transposed },
            right: Factor { at: right_at, transposed: right.transposed },
            out,
            bias,
            accumulate,
        }));
    }

    /// `out = x wᵀ`, from and to addresses; bias and whether to add to what is there.
    fn forward(
        &self,
        LinearShape { rows, inputs, outputs }: LinearShape,
        numbers: Number,
        (x, w): (u64, Operand),
        (bias, accumulate): (Option<u64>, bool),
        out: u64,
    ) {
        let x = Operand { at: x, transposed: false, ready: false };
        self.multiply(Shape { rows, columns: outputs, depth: inputs, accumulate, bias }, numbers, x, w, out);
    }

    /// See [`crate::Device::linear`].
    pub(super) fn multiply_linear(
        &self,
        shape: LinearShape,
        (x, w): (u64, u64),
        bias: Option<u64>,
        accumulate: bool,
        out: u64,
    ) {
        let w = Operand { at: w, transposed: true, ready: false };
        self.forward(shape, self.precision.number(), (x, w), (bias, accumulate), out);
    }

    /// See [`crate::Device::linear_backward_input`].
    pub(super) fn multiply_back(&self, shape: LinearShape, d_out: u64, w: u64, accumulate: bool, d_x: u64) {
        let LinearShape { rows, inputs, outputs } = shape;
        let operand = |at| Operand { at, transposed: false, ready: false };
        let shape = Shape { rows, columns: inputs, depth: outputs, accumulate, bias: None };
        self.multiply(shape, self.precision.number(), operand(d_out), operand(w), d_x);
    }

    /// `d_w += d_outᵀ x`.
    pub(super) fn multiply_for_weight(&self, shape: LinearShape, d_out: u64, x: u64, d_w: u64) {
        let LinearShape { rows, inputs, outputs } = shape;
        let d_out = Operand { at: d_out, transposed: true, ready: false };
        let x = Operand { at: x, transposed: false, ready: false };
        let shape = Shape { rows: outputs, columns: inputs, depth: rows, accumulate: true, bias: None };
        self.multiply(shape, self.precision.number(), d_out, x, d_w);
    }

    /// `out[c] += Σ_rows x[r, c]`: parts of the rows first, then the parts, in an order that never changes.
    pub(super) fn add_rows(&self, rows: usize, columns: usize, x: u64, out: u64) {
        self.add_parts(rows, columns, out, |partial, blocks| {
            let arguments = [int(rows), int(columns), Argument::Pointer(x), Argument::Pointer(partial)];
            self.launch("sum_rows", blocks, THREADS, 0, &arguments);
        });
    }

    /// Sums of parts of the rows by `sum`, which is told where to put them and its blocks, added to `out`.
    pub(super) fn add_parts(&self, rows: usize, columns: usize, out: u64, sum: impl Fn(u64, (u32, u32))) {
        let parts = rows.min(PARTS);
        let partial = self.scratch(parts * columns * size_of::<f32>());
        let across = columns.div_ceil(THREADS as usize) as u32;
        sum(partial.at(), (across, parts as u32));
        self.add_partial(parts, columns, partial.at(), out);
    }

    /// `out[c] += Σ_p partial[p, c]`.
    pub(super) fn add_partial(&self, parts: usize, columns: usize, partial: u64, out: u64) {
        let across = columns.div_ceil(THREADS as usize) as u32;
        let arguments = [int(parts), int(columns), Argument::Pointer(partial), Argument::Pointer(out)];
        self.launch("add_partial", (across, 1), THREADS, 0, &arguments);
    }

    /// See [`crate::Device::prepare`].
    pub(super) fn prepare_matrix(
        &self,
        shape: (usize, usize),
        w: &GpuBuffer,
        format: WeightFormat,
    ) -> Result<GpuMatrix, DeviceError> {
        let quantise = |bits, group| -> Result<GpuMatrix, DeviceError> {
            let values: Vec<f32> = self.fetch(w.at(), w.len);
            self.prepare_integers(&Quantised::of(&values, shape, bits, group)?)
        };
        let numbers = match format {
            WeightFormat::Int8 => return quantise(crate::Bits::Eight, None),
            WeightFormat::Int4 { group } => return quantise(crate::Bits::Four, Some(group)),
            WeightFormat::F32 => Number::F32,
            WeightFormat::Bf16 => Number::Bf16,
        };
        let memory = self.take(w.len * if numbers == Number::F32 { 4 } else { 2 })?;
        let places = [Argument::Pointer(w.at()), Argument::Pointer(memory.at())];
        match numbers {
            Number::Bf16 => self.each("round_to_bf16", w.len, &places),
            Number::F32 => self.scale_into(1.0, w.at(), 0.0, memory.at(), w.len),
        }
        Ok(GpuMatrix(Kept::Real { memory, shape, numbers }))
    }

    /// `y = a x + b y`.
    pub(super) fn scale_into(&self, a: f64, x: u64, b: f64, y: u64, count: usize) {
        let factors = (Argument::Float(a as f32), Argument::Float(b as f32));
        self.each("scale_add", count, &[factors.0, Argument::Pointer(x), factors.1, Argument::Pointer(y)]);
    }

    /// See [`crate::Device::prepare_quantised`].
    pub(super) fn prepare_integers(&self, matrix: &Quantised) -> Result<GpuMatrix, DeviceError> {
        Ok(GpuMatrix(Kept::Integers(Integers::new(self, matrix)?)))
    }

    /// See [`crate::Device::linear_prepared`].
    pub(super) fn multiply_prepared(
        &self,
        rows: usize,
        x: u64,
        w: &GpuMatrix,
        bias: Option<u64>,
        accumulate: bool,
        out: u64,
    ) {
        match &w.0 {
            Kept::Real { memory, shape: (outputs, inputs), numbers } => {
                let shape = LinearShape { rows, inputs: *inputs, outputs: *outputs };
                let w = Operand { at: memory.at(), transposed: true, ready: true };
                self.forward(shape, *numbers, (x, w), (bias, accumulate), out);
            }
            Kept::Integers(matrix) => self.multiply_integers(rows, x, matrix, bias, accumulate, out),
        }
    }

    /// Rows of logits that are there at one time: a multiple of 64, so that each part begins at an aligned place.
    fn rows_at_once(&self, columns: usize) -> usize {
        (LOGITS / (columns.max(1) * size_of::<f32>()) / 64).max(1) * 64
    }

    /// See [`crate::Device::linear_rows`].
    pub(super) fn read_rows(
        &self,
        rows: usize,
        hidden: &GpuBuffer,
        head: &GpuMatrix,
        read: &ReadRow<'_>,
    ) -> Result<(), DeviceError> {
        let (outputs, inputs) = head.shape();
        let most = self.rows_at_once(outputs).min(rows);
        let logits = self.take(most * outputs * size_of::<f32>())?;
        for first in (0..rows).step_by(most.max(1)) {
            let count = most.min(rows - first);
            let x = hidden.at() + (first * inputs * size_of::<f32>()) as u64;
            self.multiply_prepared(count, x, head, None, false, logits.at());
            let mut numbers: Vec<f32> = self.fetch(logits.at(), count * outputs);
            read_all(first, outputs, &mut numbers, read);
        }
        Ok(())
    }

    /// The logits of some rows at a time, turned by `learn` into their gradient in place, which is then multiplied back:
    /// overwrites `d_hidden`, accumulates `d_head`. `learn` is told the first row, how many, and where they lie.
    pub(super) fn through_logits(
        &self,
        shape: LinearShape,
        (hidden, head): (&GpuBuffer, &GpuBuffer),
        gradients: Option<(&mut GpuBuffer, &mut GpuBuffer)>,
        mut learn: impl FnMut(usize, usize, u64),
    ) -> Result<(), DeviceError> {
        let LinearShape { rows, inputs, outputs } = shape;
        let most = self.rows_at_once(outputs).min(rows);
        let logits = self.take(most * outputs * size_of::<f32>())?;
        // The head is rounded once for all parts.
        let numbers = self.precision.number();
        let (head_at, _head) = self.factor(head.at(), head.len, numbers);
        for first in (0..rows).step_by(most.max(1)) {
            let shape = LinearShape { rows: most.min(rows - first), inputs, outputs };
            let offset = (first * inputs * size_of::<f32>()) as u64;
            let head = |transposed| Operand { at: head_at, transposed, ready: true };
            self.forward(shape, numbers, (hidden.at() + offset, head(true)), (None, false), logits.at());
            learn(first, shape.rows, logits.at());
            let Some((d_hidden, d_head)) = &gradients else { continue };
            let d_logits = Operand { at: logits.at(), transposed: false, ready: false };
            let back = Shape { rows: shape.rows, columns: inputs, depth: outputs, accumulate: false, bias: None };
            self.multiply(back, numbers, d_logits, head(false), d_hidden.at() + offset);
            self.multiply_for_weight(shape, logits.at(), hidden.at() + offset, d_head.at());
        }
        Ok(())
    }

    /// Reads rows of logits on the host and writes what they became.
    pub(super) fn learn_on_host(&self, first: usize, count: usize, columns: usize, logits: u64, read: &ReadRow<'_>) {
        let mut numbers: Vec<f32> = self.fetch(logits, count * columns);
        read_all(first, columns, &mut numbers, read);
        self.copy(logits, &numbers);
    }
}

/// A count as a kernel takes it.
pub(super) fn int(count: usize) -> Argument {
    Argument::Int(count as i32)
}

/// Hands out rows to as many threads as there are processors.
fn read_all(first: usize, columns: usize, numbers: &mut [f32], read: &ReadRow<'_>) {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let lines = Mutex::new(numbers.chunks_mut(columns.max(1)).enumerate());
    let next = || lines.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((index, line)) = next() {
                    read(first + index, line);
                }
            });
        }
    });
}

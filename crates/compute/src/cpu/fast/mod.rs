//! The fast paths: f32 with vector instructions and threads.
//!
//! Sums over what several tasks hold are taken in the order of the tasks, and tasks are cut by the shape alone wherever
//! the cut shows in the result: whatever the number of threads, the bits are the same.

mod attention;
mod elementwise;
mod experts;
mod integer;
mod kernel;
mod layer_norm;
mod loss;
mod norm;
mod optimiser;
mod pack;
mod pool;
mod prepared;
mod product;
mod rope;
mod rows;
mod summary;
#[cfg(target_arch = "x86_64")]
pub(in crate::cpu) mod tiles;
mod vector;

use super::memory::Arena;
use super::{Buffer, CpuPath, Precision};
use crate::{BackwardInput, BackwardWeight, Element, LinearOperands, LinearShape};
use kernel::Kernel;
use pack::{Matrix, Packing};
use pool::Pool;
use rope::SavedRotations;
use std::any::TypeId;
use std::sync::Arc;

pub(super) use elementwise::{cap, cap_slopes};
pub(super) use loss::Paid;
pub(super) use prepared::Prepared;
pub use summary::{softmax_row, summarise};

/// What the fast paths need to run.
#[derive(Debug, Clone)]
pub(super) struct Fast {
    pool: Pool,
    arena: Arc<Arena<f32>>,
    path: CpuPath,
    precision: Precision,
    kernel: Kernel,
    packing: Packing,
    rotations: SavedRotations,
}

impl Fast {
    /// For a path that is available and not scalar.
    pub(super) fn new(path: CpuPath, precision: Precision, threads: usize, arena: Arc<Arena<f32>>) -> Self {
        let (kernel, packing) = product::choose(path, precision);
        Self { pool: Pool::new(threads), arena, path, precision, kernel, packing, rotations: SavedRotations::default() }
    }

    /// The same with another precision of products.
    pub(super) fn with_precision(mut self, precision: Precision) -> Self {
        (self.kernel, self.packing) = product::choose(self.path, precision);
        self.precision = precision;
        self
    }

    /// The number of threads that take part.
    pub(super) fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Memory for the time of one operation; any values.
    fn scratch(&self, len: usize) -> Buffer<f32> {
        match self.arena.take(len) {
            Ok(buffer) => buffer,
            // Operations return no error; a system that cannot give this little more is about to end the process.
            Err(error) => panic!("{error}"),
        }
    }

    /// See [`crate::Linear::linear`].
    pub(super) fn linear(&self, operands: LinearOperands<'_, [f32]>, out: &mut [f32]) {
        let LinearOperands { shape, x, weight, bias, accumulate } = operands;
        let LinearShape { rows, inputs, outputs } = shape;
        let accumulate = self.begin(shape, bias, accumulate, out);
        let (a, b) = (Matrix::rows(x, inputs), Matrix::columns(weight, inputs));
        self.product((rows, outputs, inputs), a, b, accumulate, out);
    }

    /// Writes (or adds) what a product is added to; returns whether there is anything to add to.
    fn begin(&self, shape: LinearShape, bias: Option<&[f32]>, accumulate: bool, out: &mut [f32]) -> bool {
        let rows = out.chunks_exact_mut(shape.outputs.max(1)).take(shape.rows);
        match bias {
            Some(bias) => {
                for row in rows {
                    for (out, &bias) in row.iter_mut().zip(bias) {
                        *out = if accumulate { *out + bias } else { bias };
                    }
                }
                true
            }
            None if shape.inputs == 0 && !accumulate => {
                rows.for_each(|row| row.fill(0.0));
                true
            }
            None => accumulate,
        }
    }

    /// See [`crate::Linear::linear_backward_input`].
    pub(super) fn linear_backward_input(&self, operands: BackwardInput<'_, [f32]>, d_x: &mut [f32]) {
        let BackwardInput { shape: LinearShape { rows, inputs, outputs }, d_out, weight, accumulate } = operands;
        let (a, b) = (Matrix::rows(d_out, outputs), Matrix::rows(weight, inputs));
        self.product((rows, inputs, outputs), a, b, accumulate, d_x);
    }

    /// See [`crate::Linear::linear_backward_weight`].
    pub(super) fn linear_backward_weight(
        &self,
        operands: BackwardWeight<'_, [f32]>,
        d_w: &mut [f32],
        d_bias: Option<&mut [f32]>,
    ) {
        let BackwardWeight { shape: LinearShape { rows, inputs, outputs }, d_out, x } = operands;
        if let Some(d_bias) = d_bias {
            for row in d_out.chunks_exact(outputs).take(rows) {
                for (sum, &d) in d_bias.iter_mut().zip(row) {
                    *sum += d;
                }
            }
        }
        let (a, b) = (Matrix::columns(d_out, outputs), Matrix::rows(x, inputs));
        self.product((outputs, inputs, rows), a, b, true, d_w);
    }
}

/// Slices of the element type as f32, which they are wherever there is a fast path.
pub(super) fn f32s<E: Element>(values: &[E]) -> &[f32] {
    assert_eq!(TypeId::of::<E>(), TypeId::of::<f32>(), "only f32 has fast paths");
    // SAFETY: `E` is f32.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) }
}

/// As [`f32s`], to be changed.
pub(super) fn f32s_mut<E: Element>(values: &mut [E]) -> &mut [f32] {
    assert_eq!(TypeId::of::<E>(), TypeId::of::<f32>(), "only f32 has fast paths");
    // SAFETY: `E` is f32.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), values.len()) }
}

//! Right factors that are packed once and multiplied many times.

use super::Fast;
use super::elementwise::gate;
use super::integer::{IntegerRows, Integers};
use super::kernel::Output;
use super::pack::Matrix;
use super::product::{Cut, Packed, Shared, choose};
use crate::cpu::finish::Finish;
use crate::cpu::{Buffer, Precision};
use crate::{
    DeviceError, GluOperands, LinearShape, LogitRows, PreparedBackwardInput, PreparedOperands, PreparedValues,
    Quantised, ReadRow,
};

/// A matrix `[N, K]` packed for the kernels.
#[derive(Debug)]
pub(in crate::cpu) enum Prepared {
    /// Of real numbers.
    Real(Packed),
    /// Of integers with scales.
    Integer(Integers),
}

/// A left factor as the right one wants it.
pub(super) enum Left<'a> {
    Real(Matrix<'a>),
    Integer(IntegerRows),
}

impl Prepared {
    /// Rows and columns of the matrix: `(N, K)`.
    pub(in crate::cpu) fn shape(&self) -> (usize, usize) {
        match self {
            Self::Real(packed) => (packed.columns(), packed.range().1),
            Self::Integer(packed) => (packed.outputs(), packed.inputs()),
        }
    }

    /// Bytes that it takes.
    pub(in crate::cpu) fn bytes(&self) -> usize {
        match self {
            Self::Real(packed) => packed.bytes(),
            Self::Integer(packed) => packed.bytes(),
        }
    }

    /// What was packed.
    pub(in crate::cpu) fn unpack(&self) -> Result<PreparedValues<f32>, DeviceError> {
        match self {
            Self::Real(packed) => {
                let (outputs, inputs) = self.shape();
                let mut values = vec![0.0; outputs * inputs];
                let panels = values.chunks_mut((packed.panel_width() * inputs).max(1));
                panels.enumerate().for_each(|(panel, lines)| packed.unpack_panel(panel, lines));
                Ok(PreparedValues::Real(values))
            }
            Self::Integer(packed) => Ok(PreparedValues::Quantised(packed.unpack()?)),
        }
    }

    /// Whether matrices have one shape, one format and one layout, so that one left factor serves them all.
    pub(in crate::cpu) fn are_alike<'a>(mut matrices: impl Iterator<Item = &'a Self>) -> bool {
        let Some(first) = matrices.next() else { return true };
        matrices.all(|other| match (first, other) {
            (Self::Real(first), Self::Real(other)) => {
                (first.range(), first.columns(), first.chosen()) == (other.range(), other.columns(), other.chosen())
            }
            (Self::Integer(first), Self::Integer(other)) => first.outputs() == other.outputs() && first.reads_as(other),
            _ => false,
        })
    }

    pub(super) fn panel_width(&self) -> usize {
        match self {
            Self::Real(packed) => packed.panel_width(),
            Self::Integer(packed) => packed.panel_width(),
        }
    }

    /// See [`Packed::block`] and [`Integers::block`].
    ///
    /// # Safety
    /// `output` is writable at all these rows and columns, and no other thread writes there.
    pub(super) unsafe fn block(
        &self,
        left: &Left<'_>,
        (rows, columns): ((usize, usize), (usize, usize)),
        strip: &mut [f32],
        output: Output,
    ) {
        // SAFETY: the caller vouches for the output.
        unsafe {
            match (self, left) {
                (Self::Real(packed), Left::Real(a)) => packed.block(*a, rows, columns, strip, output),
                (Self::Integer(packed), Left::Integer(a)) => packed.block(a, (rows, columns), strip, output),
                _ => unreachable!("the left factor is made for the right one"),
            }
        }
    }
}

impl Fast {
    /// Packs a matrix of real numbers `[N, K]` in a precision.
    pub(in crate::cpu) fn prepare(
        &self,
        (outputs, inputs): (usize, usize),
        w: &[f32],
        precision: Precision,
    ) -> Result<Prepared, DeviceError> {
        let chosen = choose(self.path, precision);
        Ok(Prepared::Real(self.pack(chosen, Matrix::columns(w, inputs), (0, inputs), outputs)?))
    }

    /// Packs a matrix of integers.
    pub(in crate::cpu) fn prepare_quantised(&self, matrix: &Quantised) -> Result<Prepared, DeviceError> {
        Ok(Prepared::Integer(self.pack_integers(matrix)?))
    }

    pub(super) fn left<'a>(&self, rows: usize, x: &'a [f32], w: &Prepared) -> Left<'a> {
        match w {
            Prepared::Real(packed) => Left::Real(Matrix::rows(x, packed.range().1)),
            Prepared::Integer(packed) => Left::Integer(self.quantise_rows(rows, x, packed)),
        }
    }

    /// Scratch of a task: for the left factor where it is packed, or for a panel of the right one.
    pub(super) fn strip(&self, left: &Left<'_>, w: &Prepared, tall: usize) -> Buffer<f32> {
        self.scratch(match (left, w) {
            (Left::Real(a), Prepared::Real(packed)) => packed.strip_len(*a, tall),
            (Left::Integer(_), Prepared::Integer(packed)) => packed.scratch_len(tall),
            _ => 0,
        })
    }

    /// Packs a task's rows of the left factor, where they are.
    pub(super) fn pack_left(&self, left: &Left<'_>, w: &Prepared, rows: (usize, usize), strip: &mut [f32]) {
        if let (Left::Real(a), Prepared::Real(packed)) = (left, w) {
            packed.pack_left(self, *a, rows, strip);
        }
    }

    /// See [`crate::Linear::linear_prepared`].
    pub(in crate::cpu) fn linear_prepared(&self, operands: PreparedOperands<'_, [f32], Prepared>, out: &mut [f32]) {
        let PreparedOperands { rows, x, weight: w, bias, accumulate } = operands;
        let (outputs, inputs) = w.shape();
        let out = &mut out[..rows * outputs];
        let accumulate = self.begin(LinearShape { rows, inputs, outputs }, bias, accumulate, out);
        if rows == 0 || outputs == 0 || inputs == 0 {
            return;
        }
        let left = self.left(rows, x, w);
        let cut = Cut::new(rows, outputs, w.panel_width(), self.pool.threads());
        let shared = Shared(out.as_mut_ptr());
        let scratch = || self.strip(&left, w, cut.tall);
        self.pool.run(cut.tasks(), rows * outputs * inputs / 8, scratch, |strip, task| {
            let part = cut.part(task);
            self.pack_left(&left, w, part.0, strip.as_mut_slice());
            let start = shared.address().wrapping_add(part.0.0 * outputs + part.1.0);
            let output = Output { start, row_stride: outputs, accumulate };
            // SAFETY: no other task has these rows and columns of `out`, which is borrowed for as long as tasks run.
            unsafe { w.block(&left, part, strip.as_mut_slice(), output) };
        });
    }

    /// See [`crate::Linear::linear_prepared_backward_input`]: some outputs at a time are brought back into rows, which
    /// are then a right factor as any other.
    pub(in crate::cpu) fn linear_prepared_backward_input(
        &self,
        operands: PreparedBackwardInput<'_, [f32], Prepared>,
        d_x: &mut [f32],
    ) {
        let PreparedBackwardInput { rows, d_out, weight, accumulate } = operands;
        let (outputs, inputs) = weight.shape();
        let d_x = &mut d_x[..rows * inputs];
        if outputs == 0 && !accumulate {
            d_x.fill(0.0);
        }
        let chosen = match weight {
            Prepared::Real(packed) => packed.chosen(),
            Prepared::Integer(_) => (self.kernel, self.packing),
        };
        // Whole panels, so that what is unpacked begins with one.
        let width = weight.panel_width();
        let at_a_time = (UNPACKED_AT_A_TIME / inputs.max(1) / width).max(1) * width;
        let mut values = self.scratch(at_a_time.min(outputs) * inputs);
        for start in (0..outputs).step_by(at_a_time) {
            let count = at_a_time.min(outputs - start);
            let values = &mut values.as_mut_slice()[..count * inputs];
            let lines = values.chunks_mut((width * inputs).max(1)).enumerate().collect();
            self.pool.each(count * inputs, lines, |(i, lines): (usize, &mut [f32])| match weight {
                Prepared::Real(packed) => packed.unpack_panel(start / width + i, lines),
                Prepared::Integer(packed) => packed.unpack_panel(start / width + i, lines),
            });
            let packed = match self.pack(chosen, Matrix::rows(values, inputs), (0, count), inputs) {
                Ok(packed) => packed,
                // As for all scratch.
                Err(error) => panic!("{error}"),
            };
            let left = Matrix { data: &d_out[start..], stride: outputs, transposed: false };
            self.multiply(rows, left, &packed, accumulate || start > 0, d_x);
        }
    }

    /// See [`crate::Logits::linear_rows`].
    pub(in crate::cpu) fn linear_rows(
        &self,
        logits: LogitRows<'_, [f32], Prepared>,
        read: &ReadRow<'_>,
    ) -> Result<(), DeviceError> {
        let LogitRows { rows, hidden, head, bias, soft_cap, forbidden, evidence } = logits;
        let finish = Finish { bias, soft_cap: soft_cap.map(|bound| (bound, self.path)), forbidden, evidence };
        let (outputs, inputs) = head.shape();
        let at_a_time = (NUMBERS_AT_A_TIME / outputs.max(1)).clamp(ROWS_AT_A_TIME.0, ROWS_AT_A_TIME.1);
        let mut numbers = self.arena.take(at_a_time.min(rows) * outputs)?;
        for start in (0..rows).step_by(at_a_time) {
            let count = at_a_time.min(rows - start);
            let numbers = &mut numbers.as_mut_slice()[..count * outputs];
            let x = &hidden[start * inputs..][..count * inputs];
            let operands = PreparedOperands { rows: count, x, weight: head, bias: None, accumulate: false };
            self.linear_prepared(operands, numbers);
            let lines = numbers.chunks_exact_mut(outputs.max(1)).enumerate().collect();
            self.pool.each(8 * count * outputs, lines, |(i, line): (usize, &mut [f32])| {
                finish.row(start + i, line);
                read(start + i, line);
            });
        }
        Ok(())
    }

    /// See [`crate::Linear::linear_glu`]: each task makes its columns of both products in the cache and multiplies
    /// them there.
    pub(in crate::cpu) fn linear_glu(&self, operands: GluOperands<'_, [f32], Prepared>, out: &mut [f32]) {
        let GluOperands { activation, rows, x, gate: gate_weight, up: up_weight } = operands;
        let (outputs, inputs) = gate_weight.shape();
        assert_eq!(up_weight.shape(), (outputs, inputs), "the gate and what it is for have one shape");
        let out = &mut out[..rows * outputs];
        if rows == 0 || outputs == 0 {
            return;
        }
        let left = self.left(rows, x, gate_weight);
        let width = gate_weight.panel_width();
        let cut = Cut::new(rows, outputs, width, self.pool.threads());
        let shared = Shared(out.as_mut_ptr());
        let scratch = || {
            let tiles = self.scratch(2 * cut.tall * FUSED);
            (self.strip(&left, gate_weight, cut.tall), tiles)
        };
        self.pool.run(cut.tasks(), rows * outputs * inputs / 4, scratch, |(strip, tiles), task| {
            let (rows, columns) = cut.part(task);
            // One strip serves both: they have one shape and one format.
            self.pack_left(&left, gate_weight, rows, strip.as_mut_slice());
            let (gates, ups) = tiles.as_mut_slice().split_at_mut(cut.tall * FUSED);
            for start in (columns.0..columns.1).step_by(FUSED) {
                let part = (rows, (start, columns.1.min(start + FUSED)));
                let filled = part.1.1 - start;
                for (weight, tile) in [(gate_weight, &mut *gates), (up_weight, &mut *ups)] {
                    let output = Output { start: tile.as_mut_ptr(), row_stride: FUSED, accumulate: false };
                    // SAFETY: the tile is this task's own and holds its rows of `FUSED` columns.
                    unsafe { weight.block(&left, part, strip.as_mut_slice(), output) };
                }
                for i in 0..rows.1 - rows.0 {
                    let place = (rows.0 + i) * outputs + start;
                    // SAFETY: no other task has these rows and columns of `out`, borrowed while the tasks run.
                    let out = unsafe { std::slice::from_raw_parts_mut(shared.address().add(place), filled) };
                    let halves = (&gates[i * FUSED..][..filled], &ups[i * FUSED..][..filled]);
                    gate(self.path, activation, halves, out);
                }
            }
        });
    }
}

/// Numbers of a matrix that are brought back into rows at a time: 8 MiB.
const UNPACKED_AT_A_TIME: usize = 2 << 20;

/// Numbers that are there at a time when rows are read one by one: 8 MiB, a part of the third cache.
const NUMBERS_AT_A_TIME: usize = 2 << 20;
/// Fewer rows at a time than this make the product slow, more are of no use.
const ROWS_AT_A_TIME: (usize, usize) = (48, 1024);

/// Columns that are multiplied and gated at a time: a multiple of every panel's width, so that two tiles of 96 rows
/// take a tenth of the second cache.
pub(super) const FUSED: usize = 128;

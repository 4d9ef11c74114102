//! Gates, activations and modulation.

use super::Fast;
use super::vector::{sigmoid, vectorised};
use crate::cpu::path::CpuPath;
use crate::{Activation, AddColumns, Dropout, Modulation, RowScale, ShiftScale};

/// Elements of a task where there are no rows.
pub(super) const PART: usize = 16_384;

vectorised! {
    /// `out = silu(gate) · up`.
    fn swiglu_part(gates: &[f32], ups: &[f32], out: &mut [f32]) {
        for ((out, &gate), &up) in out.iter_mut().zip(gates).zip(ups) {
            *out = gate * sigmoid(gate) * up;
        }
    }
}

vectorised! {
    /// `out = gelu(gate) · up`.
    fn geglu_part(gates: &[f32], ups: &[f32], out: &mut [f32]) {
        for ((out, &gate), &up) in out.iter_mut().zip(gates).zip(ups) {
            *out = gate * gelu_gate(gate) * up;
        }
    }
}

/// `out = f(gate) · up`.
#[inline]
pub(super) fn gate(path: CpuPath, activation: Activation, (gates, ups): (&[f32], &[f32]), out: &mut [f32]) {
    match activation {
        Activation::Swiglu => swiglu_part(path, gates, ups, out),
        Activation::Geglu => geglu_part(path, gates, ups, out),
    }
}

vectorised! {
    fn swiglu_rows_backward(width: usize, gate_up: &[f32], d_out: &[f32], d_gate_up: &mut [f32]) {
        let rows = gate_up.chunks_exact(2 * width).zip(d_out.chunks_exact(width));
        for ((row, d_out), d_row) in rows.zip(d_gate_up.chunks_exact_mut(2 * width)) {
            let ((gate, up), (d_gate, d_up)) = (row.split_at(width), row_halves(d_row, width));
            let outs = d_gate.iter_mut().zip(d_up);
            for (((&gate, &up), &d), (d_gate, d_up)) in gate.iter().zip(up).zip(d_out).zip(outs) {
                let s = sigmoid(gate);
                *d_gate = d * up * (s * (1.0 + gate * (1.0 - s)));
                *d_up = d * gate * s;
            }
        }
    }
}

vectorised! {
    fn geglu_rows_backward(width: usize, gate_up: &[f32], d_out: &[f32], d_gate_up: &mut [f32]) {
        let rows = gate_up.chunks_exact(2 * width).zip(d_out.chunks_exact(width));
        for ((row, d_out), d_row) in rows.zip(d_gate_up.chunks_exact_mut(2 * width)) {
            let ((gate, up), (d_gate, d_up)) = (row.split_at(width), row_halves(d_row, width));
            let outs = d_gate.iter_mut().zip(d_up);
            for (((&gate, &up), &d), (d_gate, d_up)) in gate.iter().zip(up).zip(d_out).zip(outs) {
                *d_gate = d * up * gelu_slope(gate);
                *d_up = d * gate * gelu_gate(gate);
            }
        }
    }
}

#[inline(always)]
fn row_halves(row: &mut [f32], width: usize) -> (&mut [f32], &mut [f32]) {
    row.split_at_mut(width)
}

vectorised! {
    fn silu_part(x: &[f32], out: &mut [f32]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = x * sigmoid(x);
        }
    }
}

vectorised! {
    fn silu_part_backward(x: &[f32], d_out: &[f32], d_x: &mut [f32]) {
        for ((d_x, &x), &d) in d_x.iter_mut().zip(x).zip(d_out) {
            let s = sigmoid(x);
            *d_x = d * (s * (1.0 + x * (1.0 - s)));
        }
    }
}

/// `σ(2 √(2/π) (x + 0.044715 x³))`, which is `(1 + tanh(√(2/π) (x + 0.044715 x³))) / 2`.
#[inline(always)]
fn gelu_gate(x: f32) -> f32 {
    sigmoid(GELU_SLOPE * (x + GELU_CUBE * x * x * x))
}

/// The derivative of GELU.
#[inline(always)]
fn gelu_slope(x: f32) -> f32 {
    let gate = gelu_gate(x);
    let slope = GELU_SLOPE * (1.0 + 3.0 * GELU_CUBE * x * x);
    gate + x * gate * (1.0 - gate) * slope
}

/// `2 √(2/π)`.
const GELU_SLOPE: f32 = 1.595_769;
/// What the cube counts.
const GELU_CUBE: f32 = 0.044_715;

vectorised! {
    fn gelu_part(x: &[f32], out: &mut [f32]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = x * gelu_gate(x);
        }
    }
}

vectorised! {
    fn gelu_part_backward(x: &[f32], d_out: &[f32], d_x: &mut [f32]) {
        for ((d_x, &x), &d) in d_x.iter_mut().zip(x).zip(d_out) {
            *d_x = d * gelu_slope(x);
        }
    }
}

vectorised! {
    /// `x = bound · tanh(x / bound)`, by `tanh(u) = 2σ(2u) − 1`.
    pub(in crate::cpu) fn cap(x: &mut [f32], bound: f32) {
        let twice = 2.0 / bound;
        for x in x {
            *x = bound * (2.0 * sigmoid(twice * *x) - 1.0);
        }
    }
}

vectorised! {
    /// The slopes of [`cap`] where it gave these: `x = 1 − (x / bound)²`.
    pub(in crate::cpu) fn cap_slopes(x: &mut [f32], bound: f32) {
        for x in x {
            let share = *x / bound;
            *x = 1.0 - share * share;
        }
    }
}

vectorised! {
    fn scaled_row(x: &[f32], factor: f32, out: &mut [f32]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = factor * x;
        }
    }
}

vectorised! {
    fn modulate_row(x: &[f32], shift: &[f32], scale: &[f32], out: &mut [f32]) {
        for (((out, &x), &shift), &scale) in out.iter_mut().zip(x).zip(shift).zip(scale) {
            *out = x * (1.0 + scale) + shift;
        }
    }
}

vectorised! {
    /// `out = d · (base + factor)`.
    fn times_row(d: &[f32], factor: &[f32], base: f32, out: &mut [f32]) {
        for ((out, &d), &factor) in out.iter_mut().zip(d).zip(factor) {
            *out = d * (base + factor);
        }
    }
}

vectorised! {
    /// `sum += a b`.
    fn add_products(a: &[f32], b: &[f32], sum: &mut [f32]) {
        for ((sum, &a), &b) in sum.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
}

vectorised! {
    /// `y = a x + b y`, without reading `y` if `b` is zero.
    fn scale_add_part(a: f32, x: &[f32], b: f32, y: &mut [f32]) {
        if b == 0.0 {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = a * x;
            }
        } else {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = a * x + b * *y;
            }
        }
    }
}

impl Fast {
    /// See [`crate::Elementwise::glu`].
    pub(in crate::cpu) fn glu(&self, activation: Activation, width: usize, gate_up: &[f32], out: &mut [f32]) {
        let part = Self::rows_of_task(width) * width;
        let work = 8 * out.len();
        let items = gate_up.chunks(2 * part).zip(out.chunks_mut(part)).collect();
        self.pool.each(work, items, |(gate_up, out): (&[f32], &mut [f32])| {
            for (row, out) in gate_up.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
                let (gates, ups) = row.split_at(width);
                gate(self.path, activation, (gates, ups), out);
            }
        });
    }

    /// See [`crate::Elementwise::glu_backward`].
    pub(in crate::cpu) fn glu_backward(
        &self,
        activation: Activation,
        width: usize,
        gate_up: &[f32],
        d_out: &[f32],
        d_gate_up: &mut [f32],
    ) {
        let part = Self::rows_of_task(width) * width;
        let items = gate_up.chunks(2 * part).zip(d_out.chunks(part)).zip(d_gate_up.chunks_mut(2 * part)).collect();
        self.pool.each(10 * d_out.len(), items, |((gate_up, d_out), d_gate_up)| match activation {
            Activation::Swiglu => swiglu_rows_backward(self.path, width, gate_up, d_out, d_gate_up),
            Activation::Geglu => geglu_rows_backward(self.path, width, gate_up, d_out, d_gate_up),
        });
    }

    /// See [`crate::Elementwise::silu`].
    pub(in crate::cpu) fn silu(&self, x: &[f32], out: &mut [f32]) {
        let items = x.chunks(PART).zip(out.chunks_mut(PART)).collect();
        self.pool.each(8 * x.len(), items, |(x, out)| silu_part(self.path, x, out));
    }

    /// See [`crate::Elementwise::gelu`].
    pub(in crate::cpu) fn gelu(&self, x: &[f32], out: &mut [f32]) {
        let items = x.chunks(PART).zip(out.chunks_mut(PART)).collect();
        self.pool.each(8 * x.len(), items, |(x, out)| gelu_part(self.path, x, out));
    }

    /// See [`crate::Elementwise::gelu_backward`].
    pub(in crate::cpu) fn gelu_backward(&self, x: &[f32], d_out: &[f32], d_x: &mut [f32]) {
        let items = x.chunks(PART).zip(d_out.chunks(PART)).zip(d_x.chunks_mut(PART)).collect();
        self.pool.each(10 * x.len(), items, |((x, d_out), d_x)| gelu_part_backward(self.path, x, d_out, d_x));
    }

    /// See [`crate::Elementwise::silu_backward`].
    pub(in crate::cpu) fn silu_backward(&self, x: &[f32], d_out: &[f32], d_x: &mut [f32]) {
        let items = x.chunks(PART).zip(d_out.chunks(PART)).zip(d_x.chunks_mut(PART)).collect();
        self.pool.each(8 * x.len(), items, |((x, d_out), d_x)| silu_part_backward(self.path, x, d_out, d_x));
    }

    /// See [`crate::Elementwise::scale_rows`].
    pub(in crate::cpu) fn scale_rows(&self, operands: RowScale<'_, [f32], [u32]>, out: &mut [f32]) {
        let RowScale { columns, groups, factors, x } = operands;
        self.each_row(columns, out, |row, out| {
            scaled_row(self.path, &x[row * columns..][..columns], factors[groups[row] as usize], out);
        });
    }

    /// See [`crate::Elementwise::modulate`].
    pub(in crate::cpu) fn modulate(&self, operands: Modulation<'_, [f32], [u32]>, at: ShiftScale, out: &mut [f32]) {
        let Modulation { columns, x, modulation, .. } = operands;
        self.each_row(columns, out, |row, out| {
            let (shift, scale) = (operands.at(row, at.shift), operands.at(row, at.scale));
            let (shift, scale) = (&modulation[shift..][..columns], &modulation[scale..][..columns]);
            modulate_row(self.path, &x[row * columns..][..columns], shift, scale, out);
        });
    }

    /// See [`crate::Elementwise::modulate_backward`].
    pub(in crate::cpu) fn modulate_backward(
        &self,
        operands: Modulation<'_, [f32], [u32]>,
        at: ShiftScale,
        d_out: &[f32],
        d_x: &mut [f32],
        d_modulation: &mut [f32],
    ) {
        let Modulation { columns, x, modulation, .. } = operands;
        self.each_row(columns, d_x, |row, d_x| {
            let scale = &modulation[operands.at(row, at.scale)..][..columns];
            times_row(self.path, &d_out[row * columns..][..columns], scale, 1.0, d_x);
        });
        self.each_group(&operands, d_modulation, |row, sums| {
            let (x, d_out) = (&x[row * columns..][..columns], &d_out[row * columns..][..columns]);
            for (sum, &d) in sums[at.shift..][..columns].iter_mut().zip(d_out) {
                *sum += d;
            }
            add_products(self.path, d_out, x, &mut sums[at.scale..][..columns]);
        });
    }

    /// See [`crate::Elementwise::gated_add`].
    pub(in crate::cpu) fn gated_add(&self, operands: Modulation<'_, [f32], [u32]>, gate: usize, residual: &mut [f32]) {
        let Modulation { columns, x, modulation, .. } = operands;
        self.each_row(columns, residual, |row, residual| {
            let gate = &modulation[operands.at(row, gate)..][..columns];
            add_products(self.path, &x[row * columns..][..columns], gate, residual);
        });
    }

    /// See [`crate::Elementwise::gated_add_backward`].
    pub(in crate::cpu) fn gated_add_backward(
        &self,
        operands: Modulation<'_, [f32], [u32]>,
        gate: usize,
        d_out: &[f32],
        d_x: &mut [f32],
        d_modulation: &mut [f32],
    ) {
        let Modulation { columns, x, modulation, .. } = operands;
        self.each_row(columns, d_x, |row, d_x| {
            let gate = &modulation[operands.at(row, gate)..][..columns];
            times_row(self.path, &d_out[row * columns..][..columns], gate, 0.0, d_x);
        });
        self.each_group(&operands, d_modulation, |row, sums| {
            let (x, d_out) = (&x[row * columns..][..columns], &d_out[row * columns..][..columns]);
            add_products(self.path, d_out, x, &mut sums[gate..][..columns]);
        });
    }

    /// See [`crate::Elementwise::scale_add`].
    pub(in crate::cpu) fn scale_add(&self, a: f64, x: &[f32], b: f64, y: &mut [f32]) {
        let items = x.chunks(PART).zip(y.chunks_mut(PART)).collect();
        self.pool.each(x.len(), items, |(x, y)| scale_add_part(self.path, a as f32, x, b as f32, y));
    }

    /// See [`crate::Elementwise::dropout`].
    pub(in crate::cpu) fn dropout(&self, dropout: Dropout, x: &[f32], out: &mut [f32]) {
        let factor = dropout.factor() as f32;
        let items = x.chunks(PART).zip(out.chunks_mut(PART)).enumerate().collect();
        self.pool.each(4 * x.len(), items, |(part, (x, out)): (usize, (&[f32], &mut [f32]))| {
            for (place, (out, &x)) in out.iter_mut().zip(x).enumerate() {
                *out = if dropout.keeps(part * PART + place) { factor * x } else { 0.0 };
            }
        });
    }

    /// See [`crate::Elementwise::add_columns`].
    pub(in crate::cpu) fn add_columns(&self, operands: AddColumns<'_, [f32]>, out: &mut [f32]) {
        let AddColumns { rows, columns, factor, from, stride, first, accumulate } = operands;
        let (factor, old) = (factor as f32, if accumulate { 1.0 } else { 0.0 });
        let lines = from.buffer.chunks(from.stride).zip(out.chunks_mut(stride)).take(rows).collect();
        self.pool.each(rows * columns, lines, |(from_row, row): (&[f32], &mut [f32])| {
            let from_row = &from_row[from.first..][..columns];
            scale_add_part(self.path, factor, from_row, old, &mut row[first..][..columns]);
        });
    }

    /// Runs a task for each row of an output, several rows to a thread.
    fn each_row(&self, columns: usize, out: &mut [f32], task: impl Fn(usize, &mut [f32]) + Sync) {
        let rows = Self::rows_of_task(columns);
        let work = 2 * out.len();
        let items = out.chunks_mut(rows * columns).enumerate().collect();
        self.pool.each(work, items, |(part, out): (usize, &mut [f32])| {
            for (i, out) in out.chunks_exact_mut(columns).enumerate() {
                task(part * rows + i, out);
            }
        });
    }

    /// Runs a task for each row, in order, with the row of the modulation's gradient that it adds to.
    fn each_group(
        &self,
        operands: &Modulation<'_, [f32], [u32]>,
        sums: &mut [f32],
        task: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let items = sums.chunks_exact_mut(operands.stride).enumerate().collect();
        let work = 2 * operands.groups.len() * operands.columns;
        self.pool.each(work, items, |(group, sums): (usize, &mut [f32])| {
            for (row, &of_row) in operands.groups.iter().enumerate() {
                if of_row as usize == group {
                    task(row, sums);
                }
            }
        });
    }
}

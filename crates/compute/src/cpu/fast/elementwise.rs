//! Gates, activations, modulation and the row softmax.

use super::Fast;
use super::vector::{exponentials, largest, sigmoid, vectorised};
use crate::cpu::scalar::Modulation;

/// Elements of a task where there are no rows.
pub(super) const PART: usize = 16_384;

vectorised! {
    /// `out = silu(gate) · up`.
    pub(super) fn gate(gates: &[f32], ups: &[f32], out: &mut [f32]) {
        for ((out, &gate), &up) in out.iter_mut().zip(gates).zip(ups) {
            *out = gate * sigmoid(gate) * up;
        }
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

vectorised! {
    fn softmax_rows(columns: usize, x: &mut [f32]) {
        for row in x.chunks_exact_mut(columns) {
            let shift = largest(row, f32::NEG_INFINITY);
            let inverse = 1.0 / exponentials(row, 1.0, shift);
            for x in row {
                *x *= inverse;
            }
        }
    }
}

impl Fast {
    /// See [`crate::Device::swiglu`].
    pub(in crate::cpu) fn swiglu(&self, width: usize, gate_up: &[f32], out: &mut [f32]) {
        let part = Self::rows_of_task(width) * width;
        let work = 8 * out.len();
        let items = gate_up.chunks(2 * part).zip(out.chunks_mut(part)).collect();
        self.pool.each(work, items, |(gate_up, out): (&[f32], &mut [f32])| {
            for (row, out) in gate_up.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
                let (gates, ups) = row.split_at(width);
                gate(self.path, gates, ups, out);
            }
        });
    }

    /// See [`crate::Device::swiglu_backward`].
    pub(in crate::cpu) fn swiglu_backward(&self, width: usize, gate_up: &[f32], d_out: &[f32], d_gate_up: &mut [f32]) {
        let part = Self::rows_of_task(width) * width;
        let items = gate_up.chunks(2 * part).zip(d_out.chunks(part)).zip(d_gate_up.chunks_mut(2 * part)).collect();
        self.pool.each(10 * d_out.len(), items, |((gate_up, d_out), d_gate_up)| {
            swiglu_rows_backward(self.path, width, gate_up, d_out, d_gate_up);
        });
    }

    /// See [`crate::Device::silu`].
    pub(in crate::cpu) fn silu(&self, x: &[f32], out: &mut [f32]) {
        let items = x.chunks(PART).zip(out.chunks_mut(PART)).collect();
        self.pool.each(8 * x.len(), items, |(x, out)| silu_part(self.path, x, out));
    }

    /// See [`crate::Device::silu_backward`].
    pub(in crate::cpu) fn silu_backward(&self, x: &[f32], d_out: &[f32], d_x: &mut [f32]) {
        let items = x.chunks(PART).zip(d_out.chunks(PART)).zip(d_x.chunks_mut(PART)).collect();
        self.pool.each(8 * x.len(), items, |((x, d_out), d_x)| silu_part_backward(self.path, x, d_out, d_x));
    }

    /// See [`crate::Device::modulate`].
    pub(in crate::cpu) fn modulate(
        &self,
        shape: Modulation<'_>,
        offsets: (usize, usize),
        x: &[f32],
        modulation: &[f32],
        out: &mut [f32],
    ) {
        self.each_row(shape, out, |row, out| {
            let (shift, scale) = (shape.at(row, offsets.0), shape.at(row, offsets.1));
            let (shift, scale) = (&modulation[shift..][..shape.columns], &modulation[scale..][..shape.columns]);
            modulate_row(self.path, &x[row * shape.columns..][..shape.columns], shift, scale, out);
        });
    }

    /// See [`crate::Device::modulate_backward`].
    #[expect(clippy::too_many_arguments, reason = "the operands of one fused operation")]
    pub(in crate::cpu) fn modulate_backward(
        &self,
        shape: Modulation<'_>,
        offsets: (usize, usize),
        x: &[f32],
        modulation: &[f32],
        d_out: &[f32],
        d_x: &mut [f32],
        d_modulation: &mut [f32],
    ) {
        let columns = shape.columns;
        self.each_row(shape, d_x, |row, d_x| {
            let scale = &modulation[shape.at(row, offsets.1)..][..columns];
            times_row(self.path, &d_out[row * columns..][..columns], scale, 1.0, d_x);
        });
        self.each_group(shape, d_modulation, |row, sums| {
            let (x, d_out) = (&x[row * columns..][..columns], &d_out[row * columns..][..columns]);
            for (sum, &d) in sums[offsets.0..][..columns].iter_mut().zip(d_out) {
                *sum += d;
            }
            add_products(self.path, d_out, x, &mut sums[offsets.1..][..columns]);
        });
    }

    /// See [`crate::Device::gated_add`].
    pub(in crate::cpu) fn gated_add(
        &self,
        shape: Modulation<'_>,
        offset: usize,
        x: &[f32],
        modulation: &[f32],
        residual: &mut [f32],
    ) {
        self.each_row(shape, residual, |row, residual| {
            let gate = &modulation[shape.at(row, offset)..][..shape.columns];
            add_products(self.path, &x[row * shape.columns..][..shape.columns], gate, residual);
        });
    }

    /// See [`crate::Device::gated_add_backward`].
    #[expect(clippy::too_many_arguments, reason = "the operands of one fused operation")]
    pub(in crate::cpu) fn gated_add_backward(
        &self,
        shape: Modulation<'_>,
        offset: usize,
        x: &[f32],
        modulation: &[f32],
        d_out: &[f32],
        d_x: &mut [f32],
        d_modulation: &mut [f32],
    ) {
        let columns = shape.columns;
        self.each_row(shape, d_x, |row, d_x| {
            let gate = &modulation[shape.at(row, offset)..][..columns];
            times_row(self.path, &d_out[row * columns..][..columns], gate, 0.0, d_x);
        });
        self.each_group(shape, d_modulation, |row, sums| {
            let (x, d_out) = (&x[row * columns..][..columns], &d_out[row * columns..][..columns]);
            add_products(self.path, d_out, x, &mut sums[offset..][..columns]);
        });
    }

    /// See [`crate::Device::scale_add`].
    pub(in crate::cpu) fn scale_add(&self, a: f64, x: &[f32], b: f64, y: &mut [f32]) {
        let items = x.chunks(PART).zip(y.chunks_mut(PART)).collect();
        self.pool.each(x.len(), items, |(x, y)| scale_add_part(self.path, a as f32, x, b as f32, y));
    }

    /// See [`crate::Device::softmax`].
    pub(in crate::cpu) fn softmax(&self, columns: usize, x: &mut [f32]) {
        let work = 6 * x.len();
        let items = x.chunks_mut(Self::rows_of_task(columns) * columns).collect();
        self.pool.each(work, items, |x| softmax_rows(self.path, columns, x));
    }

    /// Runs a task for each row of an output, several rows to a thread.
    fn each_row(&self, shape: Modulation<'_>, out: &mut [f32], task: impl Fn(usize, &mut [f32]) + Sync) {
        let (columns, rows) = (shape.columns, Self::rows_of_task(shape.columns));
        let work = 2 * out.len();
        let items = out.chunks_mut(rows * columns).enumerate().collect();
        self.pool.each(work, items, |(part, out): (usize, &mut [f32])| {
            for (i, out) in out.chunks_exact_mut(columns).enumerate() {
                task(part * rows + i, out);
            }
        });
    }

    /// Runs a task for each row, in order, with the row of the modulation's gradient that it adds to.
    fn each_group(&self, shape: Modulation<'_>, sums: &mut [f32], task: impl Fn(usize, &mut [f32]) + Sync) {
        let items = sums.chunks_exact_mut(shape.stride).enumerate().collect();
        let work = 2 * shape.group_of_row.len() * shape.columns;
        self.pool.each(work, items, |(group, sums): (usize, &mut [f32])| {
            for (row, &of_row) in shape.group_of_row.iter().enumerate() {
                if of_row as usize == group {
                    task(row, sums);
                }
            }
        });
    }
}

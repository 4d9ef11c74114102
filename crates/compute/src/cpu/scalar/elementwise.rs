//! Gates, activations, modulation and the row softmax.
//!
//! SwiGLU: Shazeer, 2002.05202, eq. 5. Modulation and gates of time conditioning: adaLN-Zero of Peebles & Xie,
//! 2212.09748, section 3.2. `silu'(x) = σ(x) (1 + x (1 − σ(x)))`.

use super::sigmoid;
use crate::Element;

/// `out = silu(gate) · up`.
pub(in crate::cpu) fn swiglu<E: Element>(width: usize, gate_up: &[E], out: &mut [E]) {
    for (row, out) in gate_up.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
        let (gate, up) = row.split_at(width);
        for f in 0..width {
            out[f] = gate[f] * sigmoid(gate[f]) * up[f];
        }
    }
}

/// Gradient of [`swiglu`].
pub(in crate::cpu) fn swiglu_backward<E: Element>(width: usize, gate_up: &[E], d_out: &[E], d_gate_up: &mut [E]) {
    let rows = gate_up.chunks_exact(2 * width).zip(d_out.chunks_exact(width));
    for ((row, d_out), d_row) in rows.zip(d_gate_up.chunks_exact_mut(2 * width)) {
        let (gate, up) = row.split_at(width);
        let (d_gate, d_up) = d_row.split_at_mut(width);
        for f in 0..width {
            d_gate[f] = d_out[f] * up[f] * silu_slope(gate[f]);
            d_up[f] = d_out[f] * gate[f] * sigmoid(gate[f]);
        }
    }
}

/// `out = x σ(x)`.
pub(in crate::cpu) fn silu<E: Element>(x: &[E], out: &mut [E]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = x * sigmoid(x);
    }
}

/// Gradient of [`silu`].
pub(in crate::cpu) fn silu_backward<E: Element>(x: &[E], d_out: &[E], d_x: &mut [E]) {
    for ((d_x, &x), &d_out) in d_x.iter_mut().zip(x).zip(d_out) {
        *d_x = d_out * silu_slope(x);
    }
}

fn silu_slope<E: Element>(x: E) -> E {
    let (one, s) = (E::from_f64(1.0), sigmoid(x));
    s * (one + x * (one - s))
}

/// Which columns of which row of the modulation matrix belong to a row of the activations.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Modulation<'a> {
    /// `D`.
    pub(in crate::cpu) columns: usize,
    /// Row of the modulation matrix for each row of the activations.
    pub(in crate::cpu) group_of_row: &'a [u32],
    /// Columns of the modulation matrix.
    pub(in crate::cpu) stride: usize,
}

impl Modulation<'_> {
    /// Where the `columns` values that belong to `row` begin, for the column range that begins at `offset`.
    pub(in crate::cpu) fn at(&self, row: usize, offset: usize) -> usize {
        self.group_of_row[row] as usize * self.stride + offset
    }
}

/// `out = x · (1 + scale[g]) + shift[g]`; `offsets` are those of shift and scale.
pub(in crate::cpu) fn modulate<E: Element>(
    shape: Modulation<'_>,
    offsets: (usize, usize),
    x: &[E],
    modulation: &[E],
    out: &mut [E],
) {
    for row in 0..shape.group_of_row.len() {
        let (shift, scale) = (shape.at(row, offsets.0), shape.at(row, offsets.1));
        for c in 0..shape.columns {
            let i = row * shape.columns + c;
            out[i] = x[i] * (E::from_f64(1.0) + modulation[scale + c]) + modulation[shift + c];
        }
    }
}

/// Gradients of [`modulate`]: overwrites `d_x`, accumulates `d_modulation`.
pub(in crate::cpu) fn modulate_backward<E: Element>(
    shape: Modulation<'_>,
    offsets: (usize, usize),
    x: &[E],
    modulation: &[E],
    d_out: &[E],
    d_x: &mut [E],
    d_modulation: &mut [E],
) {
    for row in 0..shape.group_of_row.len() {
        let (shift, scale) = (shape.at(row, offsets.0), shape.at(row, offsets.1));
        for c in 0..shape.columns {
            let i = row * shape.columns + c;
            d_x[i] = d_out[i] * (E::from_f64(1.0) + modulation[scale + c]);
            d_modulation[shift + c] += d_out[i];
            d_modulation[scale + c] += d_out[i] * x[i];
        }
    }
}

/// `residual += gate[g] · x`.
pub(in crate::cpu) fn gated_add<E: Element>(
    shape: Modulation<'_>,
    offset: usize,
    x: &[E],
    modulation: &[E],
    residual: &mut [E],
) {
    for row in 0..shape.group_of_row.len() {
        let gate = shape.at(row, offset);
        for c in 0..shape.columns {
            let i = row * shape.columns + c;
            residual[i] += modulation[gate + c] * x[i];
        }
    }
}

/// Gradients of [`gated_add`]: overwrites `d_x`, accumulates `d_modulation`.
pub(in crate::cpu) fn gated_add_backward<E: Element>(
    shape: Modulation<'_>,
    offset: usize,
    x: &[E],
    modulation: &[E],
    d_out: &[E],
    d_x: &mut [E],
    d_modulation: &mut [E],
) {
    for row in 0..shape.group_of_row.len() {
        let gate = shape.at(row, offset);
        for c in 0..shape.columns {
            let i = row * shape.columns + c;
            d_x[i] = d_out[i] * modulation[gate + c];
            d_modulation[gate + c] += d_out[i] * x[i];
        }
    }
}

/// `y = a x + b y`; with `b = 0` the old `y` is not read, so that it may be uninitialised.
pub(in crate::cpu) fn scale_add<E: Element>(a: f64, x: &[E], b: f64, y: &mut [E]) {
    let (a, zero, b) = (E::from_f64(a), b == 0.0, E::from_f64(b));
    for (y, &x) in y.iter_mut().zip(x) {
        *y = if zero { a * x } else { a * x + b * *y };
    }
}

/// Softmax of each row, in place; the largest element is subtracted first.
pub(in crate::cpu) fn softmax<E: Element>(columns: usize, x: &mut [E]) {
    for row in x.chunks_exact_mut(columns) {
        let largest = row.iter().copied().fold(row[0], |a, b| if b > a { b } else { a });
        let mut sum = E::default();
        for x in row.iter_mut() {
            *x = (*x - largest).exp();
            sum += *x;
        }
        for x in row {
            *x = *x / sum;
        }
    }
}

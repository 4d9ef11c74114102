//! Gates, activations and modulation.
//!
//! SwiGLU and GEGLU: Shazeer, 2002.05202, eq. 5. Modulation and gates of time conditioning: adaLN-Zero of Peebles & Xie,
//! 2212.09748, section 3.2. `silu'(x) = σ(x) (1 + x (1 − σ(x)))`. GELU: Hendrycks & Gimpel, 1606.08415, section 2, in its
//! tanh form, which is `x σ(2u)` with `u = √(2/π) (x + 0.044715 x³)`.

use super::{dot, sigmoid};
use crate::{Activation, AddColumns, Dropout, Element, Modulation, RowScale, ShiftScale};

/// `out = f(gate) · up`.
pub(in crate::cpu) fn glu<E: Element>(activation: Activation, width: usize, gate_up: &[E], out: &mut [E]) {
    for (row, out) in gate_up.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
        let (gate, up) = row.split_at(width);
        for f in 0..width {
            out[f] = gate[f] * share(activation, gate[f]) * up[f];
        }
    }
}

/// Gradient of [`glu`].
pub(in crate::cpu) fn glu_backward<E: Element>(
    activation: Activation,
    width: usize,
    gate_up: &[E],
    d_out: &[E],
    d_gate_up: &mut [E],
) {
    let rows = gate_up.chunks_exact(2 * width).zip(d_out.chunks_exact(width));
    for ((row, d_out), d_row) in rows.zip(d_gate_up.chunks_exact_mut(2 * width)) {
        let (gate, up) = row.split_at(width);
        let (d_gate, d_up) = d_row.split_at_mut(width);
        for f in 0..width {
            let slope = match activation {
                Activation::Swiglu => silu_slope(gate[f]),
                Activation::Geglu => gelu_slope(gate[f]),
            };
            d_gate[f] = d_out[f] * up[f] * slope;
            d_up[f] = d_out[f] * gate[f] * share(activation, gate[f]);
        }
    }
}

/// What an activation multiplies its input by.
fn share<E: Element>(activation: Activation, x: E) -> E {
    match activation {
        Activation::Swiglu => sigmoid(x),
        Activation::Geglu => sigmoid(twice_u(x)),
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

/// `out = x σ(2u)`.
pub(in crate::cpu) fn gelu<E: Element>(x: &[E], out: &mut [E]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = x * sigmoid(twice_u(x));
    }
}

/// Gradient of [`gelu`].
pub(in crate::cpu) fn gelu_backward<E: Element>(x: &[E], d_out: &[E], d_x: &mut [E]) {
    for ((d_x, &x), &d_out) in d_x.iter_mut().zip(x).zip(d_out) {
        *d_x = d_out * gelu_slope(x);
    }
}

fn gelu_slope<E: Element>(x: E) -> E {
    let (one, gate) = (E::from_f64(1.0), sigmoid(twice_u(x)));
    let slope = E::from_f64(GELU_SLOPE) * (one + E::from_f64(3.0 * GELU_CUBE) * x * x);
    gate + x * gate * (one - gate) * slope
}

/// Each column at the nearest of its levels, which lie evenly in `[−1, 1]`. `(tanh(x) + 1)/2` is `σ(2x)`.
pub(in crate::cpu) fn round_to_levels<E: Element>(levels: &[u32], x: &[E], out: &mut [E]) {
    let (half, one, two) = (E::from_f64(0.5), E::from_f64(1.0), E::from_f64(2.0));
    for (row, out) in x.chunks_exact(levels.len()).zip(out.chunks_exact_mut(levels.len())) {
        for ((out, &x), &levels) in out.iter_mut().zip(row).zip(levels) {
            let last = E::from_f64(f64::from(levels) - 1.0);
            let level = E::from_f64((last * sigmoid(two * x) + half).to_f64().floor());
            *out = two * level / last - one;
        }
    }
}

/// Gradient of [`round_to_levels`] straight through the rounding: that of `tanh`, which is `4 σ(2x) (1 − σ(2x))`.
pub(in crate::cpu) fn round_to_levels_backward<E: Element>(x: &[E], d_out: &[E], d_x: &mut [E]) {
    let (one, two) = (E::from_f64(1.0), E::from_f64(2.0));
    for ((d_x, &x), &d_out) in d_x.iter_mut().zip(x).zip(d_out) {
        let share = sigmoid(two * x);
        *d_x = d_out * two * two * share * (one - share);
    }
}

/// `2 √(2/π)`, and what the cube counts.
const GELU_SLOPE: f64 = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::SQRT_2;
const GELU_CUBE: f64 = 0.044_715;

fn twice_u<E: Element>(x: E) -> E {
    E::from_f64(GELU_SLOPE) * (x + E::from_f64(GELU_CUBE) * x * x * x)
}

/// `out = x · (1 + scale[g]) + shift[g]`.
pub(in crate::cpu) fn modulate<E: Element>(operands: Modulation<'_, [E], [u32]>, at: ShiftScale, out: &mut [E]) {
    let Modulation { columns, groups, x, modulation, .. } = operands;
    for row in 0..groups.len() {
        let (shift, scale) = (operands.at(row, at.shift), operands.at(row, at.scale));
        for c in 0..columns {
            let i = row * columns + c;
            out[i] = x[i] * (E::from_f64(1.0) + modulation[scale + c]) + modulation[shift + c];
        }
    }
}

/// Gradients of [`modulate`]: overwrites `d_x`, accumulates `d_modulation`.
pub(in crate::cpu) fn modulate_backward<E: Element>(
    operands: Modulation<'_, [E], [u32]>,
    at: ShiftScale,
    d_out: &[E],
    d_x: &mut [E],
    d_modulation: &mut [E],
) {
    let Modulation { columns, groups, x, modulation, .. } = operands;
    for row in 0..groups.len() {
        let (shift, scale) = (operands.at(row, at.shift), operands.at(row, at.scale));
        for c in 0..columns {
            let i = row * columns + c;
            d_x[i] = d_out[i] * (E::from_f64(1.0) + modulation[scale + c]);
            d_modulation[shift + c] += d_out[i];
            d_modulation[scale + c] += d_out[i] * x[i];
        }
    }
}

/// `residual += gate[g] · x`.
pub(in crate::cpu) fn gated_add<E: Element>(operands: Modulation<'_, [E], [u32]>, gate: usize, residual: &mut [E]) {
    let Modulation { columns, groups, x, modulation, .. } = operands;
    for row in 0..groups.len() {
        let gate = operands.at(row, gate);
        for c in 0..columns {
            let i = row * columns + c;
            residual[i] += modulation[gate + c] * x[i];
        }
    }
}

/// Gradients of [`gated_add`]: overwrites `d_x`, accumulates `d_modulation`.
pub(in crate::cpu) fn gated_add_backward<E: Element>(
    operands: Modulation<'_, [E], [u32]>,
    gate: usize,
    d_out: &[E],
    d_x: &mut [E],
    d_modulation: &mut [E],
) {
    let Modulation { columns, groups, x, modulation, .. } = operands;
    for row in 0..groups.len() {
        let gate = operands.at(row, gate);
        for c in 0..columns {
            let i = row * columns + c;
            d_x[i] = d_out[i] * modulation[gate + c];
            d_modulation[gate + c] += d_out[i] * x[i];
        }
    }
}

/// `out = factors[g] · x`.
pub(in crate::cpu) fn scale_rows<E: Element>(operands: RowScale<'_, [E], [u32]>, out: &mut [E]) {
    let RowScale { columns, groups, factors, x } = operands;
    for ((out, x), &group) in out.chunks_exact_mut(columns).zip(x.chunks_exact(columns)).zip(groups) {
        out.iter_mut().zip(x).for_each(|(out, &x)| *out = factors[group as usize] * x);
    }
}

/// Gradients of [`scale_rows`]: overwrites `d_x`, accumulates `d_factors`.
pub(in crate::cpu) fn scale_rows_backward<E: Element>(
    operands: RowScale<'_, [E], [u32]>,
    d_out: &[E],
    d_x: &mut [E],
    d_factors: &mut [E],
) {
    let RowScale { columns, groups, factors, x } = operands;
    scale_rows(RowScale { columns, groups, factors, x: d_out }, d_x);
    for ((d_out, x), &group) in d_out.chunks_exact(columns).zip(x.chunks_exact(columns)).zip(groups) {
        d_factors[group as usize] += dot(d_out, x);
    }
}

/// `y = a x + b y`; with `b = 0` the old `y` is not read, so that it may be uninitialised.
pub(in crate::cpu) fn scale_add<E: Element>(a: f64, x: &[E], b: f64, y: &mut [E]) {
    let (a, zero, b) = (E::from_f64(a), b == 0.0, E::from_f64(b));
    for (y, &x) in y.iter_mut().zip(x) {
        *y = if zero { a * x } else { a * x + b * *y };
    }
}

/// `out = x / (1 − rate)` where a number stays, else 0.
pub(in crate::cpu) fn dropout<E: Element>(dropout: Dropout, x: &[E], out: &mut [E]) {
    let factor = E::from_f64(dropout.factor());
    for (place, (out, &x)) in out.iter_mut().zip(x).enumerate() {
        *out = if dropout.keeps(place) { factor * x } else { E::from_f64(0.0) };
    }
}

/// `out[r, first + c] = factor · from[r, c]`, added to what is there or in its place.
pub(in crate::cpu) fn add_columns<E: Element>(operands: AddColumns<'_, [E]>, out: &mut [E]) {
    let AddColumns { rows, columns, factor, from, stride, first, accumulate } = operands;
    for row in 0..rows {
        let from = &from.buffer[row * from.stride + from.first..][..columns];
        scale_add(factor, from, if accumulate { 1.0 } else { 0.0 }, &mut out[row * stride + first..][..columns]);
    }
}

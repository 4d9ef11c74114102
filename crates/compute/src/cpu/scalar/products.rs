//! Products with a weight matrix `[N, K]`: forward, and the gradients of input and weight.
//!
//! `round` is applied to both factors of each product before they are multiplied: the identity for full precision,
//! rounding to bfloat16 for products in bfloat16. Sums are kept in the element type.

use super::dot;
use crate::{BackwardInput, BackwardWeight, Element, LinearOperands, LinearShape, Quantised};

/// `out = x wᵀ (+ bias) (+ out)`.
pub(in crate::cpu) fn linear<E: Element>(operands: LinearOperands<'_, [E]>, round: fn(E) -> E, out: &mut [E]) {
    let LinearOperands { shape: LinearShape { rows, inputs, outputs }, x, weight, bias, accumulate } = operands;
    let (x, w) = (rounded(x, round), rounded(weight, round));
    for t in 0..rows {
        for n in 0..outputs {
            let mut sum = dot(&x[t * inputs..][..inputs], &w[n * inputs..][..inputs]);
            if let Some(bias) = bias {
                sum += bias[n];
            }
            let out = &mut out[t * outputs + n];
            *out = if accumulate { *out + sum } else { sum };
        }
    }
}

/// A row without a larger magnitude is quantised to zeros: the inverse of its scale could be beyond f32.
pub(in crate::cpu) const SMALLEST: f32 = 1e-30;

/// `out = x wᵀ (+ bias) (+ out)` for a quantised `w`: each row of `x` is rounded to `round(127 x / max |x|)` in f32,
/// products and sums of each group are exact integers, and scales are applied to the sums.
pub(in crate::cpu) fn linear_quantised<E: Element>(
    rows: usize,
    x: &[E],
    w: &Quantised,
    bias: Option<&[E]>,
    accumulate: bool,
    out: &mut [E],
) {
    let (outputs, inputs, group) = (w.outputs(), w.inputs(), w.group());
    let quantised: Vec<(Vec<i32>, E)> = (0..rows).map(|t| quantise(&x[t * inputs..][..inputs])).collect();
    let groups = inputs / group;
    let mut values = vec![0; inputs];
    for n in 0..outputs {
        w.read_row(n, &mut values);
        for (t, (quantised, scale)) in quantised.iter().enumerate() {
            let parts = values.chunks(group).zip(quantised.chunks(group)).zip(&w.scales()[n * groups..]);
            let mut sum = E::default();
            for ((values, quantised), &scale) in parts {
                let exact: i32 = values.iter().zip(quantised).map(|(&q, &p)| i32::from(q) * p).sum();
                sum += E::from_f64(f64::from(exact)) * E::from_f64(f64::from(scale));
            }
            sum *= *scale;
            if let Some(bias) = bias {
                sum += bias[n];
            }
            let out = &mut out[t * outputs + n];
            *out = if accumulate { *out + sum } else { sum };
        }
    }
}

/// A row rounded to integers of 8 bits, and their scale.
fn quantise<E: Element>(row: &[E]) -> (Vec<i32>, E) {
    let row: Vec<f32> = row.iter().map(|x| x.to_f64() as f32).collect();
    let greatest = row.iter().fold(0.0_f32, |greatest, x| if x.abs() > greatest { x.abs() } else { greatest });
    let inverse = if greatest > SMALLEST { 127.0 / greatest } else { 0.0 };
    let quantised = row.iter().map(|x| (x * inverse).round_ties_even() as i32).collect();
    (quantised, E::from_f64(f64::from(greatest / 127.0)))
}

/// `d_x = d_out w (+ d_x)`.
pub(in crate::cpu) fn linear_backward_input<E: Element>(
    operands: BackwardInput<'_, [E]>,
    round: fn(E) -> E,
    d_x: &mut [E],
) {
    let BackwardInput { shape: LinearShape { rows, inputs, outputs }, d_out, weight, accumulate } = operands;
    let (d_out, w) = (rounded(d_out, round), rounded(weight, round));
    for t in 0..rows {
        for k in 0..inputs {
            let mut sum = E::default();
            for n in 0..outputs {
                sum += d_out[t * outputs + n] * w[n * inputs + k];
            }
            let d_x = &mut d_x[t * inputs + k];
            *d_x = if accumulate { *d_x + sum } else { sum };
        }
    }
}

/// `d_w += d_outᵀ x`, `d_bias += Σ_rows d_out`; the bias' sum is never rounded.
pub(in crate::cpu) fn linear_backward_weight<E: Element>(
    operands: BackwardWeight<'_, [E]>,
    round: fn(E) -> E,
    d_w: &mut [E],
    d_bias: Option<&mut [E]>,
) {
    let BackwardWeight { shape: LinearShape { rows, inputs, outputs }, d_out, x } = operands;
    if let Some(d_bias) = d_bias {
        for n in 0..outputs {
            let mut sum = E::default();
            for t in 0..rows {
                sum += d_out[t * outputs + n];
            }
            d_bias[n] += sum;
        }
    }
    let (d_out, x) = (rounded(d_out, round), rounded(x, round));
    for n in 0..outputs {
        for k in 0..inputs {
            let mut sum = E::default();
            for t in 0..rows {
                sum += d_out[t * outputs + n] * x[t * inputs + k];
            }
            d_w[n * inputs + k] += sum;
        }
    }
}

fn rounded<E: Element>(values: &[E], round: fn(E) -> E) -> Vec<E> {
    values.iter().map(|&value| round(value)).collect()
}

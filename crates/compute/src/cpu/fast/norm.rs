//! The RMS norm of rows.

use super::Fast;
use super::vector::{dot, dot3, vectorised};
use crate::{RmsNorm, RmsNormBackward};

vectorised! {
    /// Norms some rows.
    fn norm_rows(columns: usize, epsilon: f32, x: &[f32], weight: Option<&[f32]>, out: &mut [f32], retained: &mut [f32]) {
        let rows = x.chunks_exact(columns).zip(out.chunks_exact_mut(columns));
        for ((x, out), retained) in rows.zip(retained) {
            let inverse = 1.0 / (dot(x, x) / columns as f32 + epsilon).sqrt();
            *retained = inverse;
            match weight {
                Some(weight) => {
                    for ((out, &x), &weight) in out.iter_mut().zip(x).zip(weight) {
                        *out = x * inverse * weight;
                    }
                }
                None => {
                    for (out, &x) in out.iter_mut().zip(x) {
                        *out = x * inverse;
                    }
                }
            }
        }
    }
}

/// The rows of one task of the backward pass.
struct Rows<'a> {
    x: &'a [f32],
    inverse_rms: &'a [f32],
    d_out: &'a [f32],
    d_x: &'a mut [f32],
    /// Sum over these rows; empty where it is not needed.
    d_weight: &'a mut [f32],
}

vectorised! {
    /// Gradients of some rows; `d_weight` is overwritten.
    fn norm_rows_backward(columns: usize, weight: Option<&[f32]>, accumulate: bool, rows: Rows<'_>) {
        let Rows { x, inverse_rms, d_out, d_x, d_weight } = rows;
        d_weight.fill(0.0);
        let rows = x.chunks_exact(columns).zip(d_out.chunks_exact(columns)).zip(d_x.chunks_exact_mut(columns));
        for (((x, d_out), d_x), &inverse) in rows.zip(inverse_rms) {
            // Not a closure: one that is not inlined would be compiled without the vectors.
            let product = match weight {
                Some(weight) => dot3(d_out, weight, x),
                None => dot(d_out, x),
            };
            let pull = inverse * inverse * inverse * product / columns as f32;
            if !accumulate {
                d_x.fill(0.0);
            }
            match weight {
                Some(weight) => {
                    for (((d_x, &x), &d), &weight) in d_x.iter_mut().zip(x).zip(d_out).zip(weight) {
                        *d_x += inverse * d * weight - pull * x;
                    }
                }
                None => {
                    for ((d_x, &x), &d) in d_x.iter_mut().zip(x).zip(d_out) {
                        *d_x += inverse * d - pull * x;
                    }
                }
            }
            for ((sum, &x), &d) in d_weight.iter_mut().zip(x).zip(d_out) {
                *sum += d * x * inverse;
            }
        }
    }
}

impl Fast {
    /// See [`crate::Norm::rms_norm`].
    pub(in crate::cpu) fn rms_norm(&self, operands: RmsNorm<'_, [f32]>, out: &mut [f32], inverse_rms: &mut [f32]) {
        let RmsNorm { columns, epsilon, x, weight } = operands;
        let rows = Self::rows_of_task(columns);
        let parts = x.chunks(rows * columns).zip(out.chunks_mut(rows * columns)).zip(inverse_rms.chunks_mut(rows));
        self.pool.each(2 * x.len(), parts.collect(), |((x, out), retained)| {
            norm_rows(self.path, columns, epsilon as f32, x, weight, out, retained);
        });
    }

    /// See [`crate::Norm::rms_norm_backward`].
    pub(in crate::cpu) fn rms_norm_backward(
        &self,
        operands: RmsNormBackward<'_, [f32]>,
        d_x: &mut [f32],
        d_weight: Option<&mut [f32]>,
    ) {
        let RmsNormBackward { columns, x, weight, inverse_rms, d_out, accumulate } = operands;
        let rows = Self::rows_of_task(columns);
        let (tasks, part) = (inverse_rms.len().div_ceil(rows), if d_weight.is_some() { columns } else { 0 });
        let mut sums = self.scratch(tasks * part);
        let mut rest = sums.as_mut_slice();
        let mut items = Vec::with_capacity(tasks);
        let parts = x.chunks(rows * columns).zip(d_out.chunks(rows * columns)).zip(d_x.chunks_mut(rows * columns));
        for (((x, d_out), d_x), inverse_rms) in parts.zip(inverse_rms.chunks(rows)) {
            let (d_weight, behind) = rest.split_at_mut(part);
            rest = behind;
            items.push(Rows { x, inverse_rms, d_out, d_x, d_weight });
        }
        self.pool.each(4 * x.len(), items, |rows| norm_rows_backward(self.path, columns, weight, accumulate, rows));
        if let Some(d_weight) = d_weight {
            add_parts(sums.as_slice(), d_weight);
        }
    }
}

/// Adds each part, of the length of `out`, in order.
pub(super) fn add_parts(parts: &[f32], out: &mut [f32]) {
    for part in parts.chunks_exact(out.len().max(1)) {
        for (out, &value) in out.iter_mut().zip(part) {
            *out += value;
        }
    }
}

//! The layer norm of rows.

use super::Fast;
use super::norm::add_parts;
use super::vector::{dot, sum, vectorised};
use crate::{LayerNorm, LayerNormBackward};

vectorised! {
    /// Norms some rows; `moments` are the mean and the inverse deviation of each.
    fn norm_rows(columns: usize, epsilon: f32, x: &[f32], weight: &[f32], out: &mut [f32], moments: &mut [f32]) {
        let rows = x.chunks_exact(columns).zip(out.chunks_exact_mut(columns));
        for ((x, out), moments) in rows.zip(moments.chunks_exact_mut(2)) {
            let mean = sum(x) / columns as f32;
            for (out, &x) in out.iter_mut().zip(x) {
                *out = x - mean;
            }
            let inverse = 1.0 / (dot(out, out) / columns as f32 + epsilon).sqrt();
            for (out, &weight) in out.iter_mut().zip(weight) {
                *out = *out * inverse * weight;
            }
            moments[0] = mean;
            moments[1] = inverse;
        }
    }
}

/// The rows of one task of the backward pass.
struct Rows<'a> {
    x: &'a [f32],
    moments: &'a [f32],
    d_out: &'a [f32],
    d_x: &'a mut [f32],
    /// A row of the norm before its weight, and its gradient there.
    normed: &'a mut [f32],
    /// Sum over these rows; empty where it is not needed.
    d_weight: &'a mut [f32],
}

vectorised! {
    /// Gradients of some rows; `d_weight` is overwritten.
    fn norm_rows_backward(columns: usize, weight: &[f32], accumulate: bool, rows: Rows<'_>) {
        let Rows { x, moments, d_out, d_x, normed, d_weight } = rows;
        d_weight.fill(0.0);
        let (normed, gradient) = normed.split_at_mut(columns);
        let rows = x.chunks_exact(columns).zip(d_out.chunks_exact(columns)).zip(d_x.chunks_exact_mut(columns));
        for (((x, d_out), d_x), moments) in rows.zip(moments.chunks_exact(2)) {
            let (mean, inverse) = (moments[0], moments[1]);
            for (normed, &x) in normed.iter_mut().zip(x) {
                *normed = (x - mean) * inverse;
            }
            for ((gradient, &d), &weight) in gradient.iter_mut().zip(d_out).zip(weight) {
                *gradient = d * weight;
            }
            let (shift, pull) = (sum(gradient) / columns as f32, dot(gradient, normed) / columns as f32);
            if !accumulate {
                d_x.fill(0.0);
            }
            for ((d_x, &gradient), &normed) in d_x.iter_mut().zip(&*gradient).zip(&*normed) {
                *d_x += inverse * (gradient - shift - normed * pull);
            }
            for ((sum, &d), &normed) in d_weight.iter_mut().zip(d_out).zip(&*normed) {
                *sum += d * normed;
            }
        }
    }
}

impl Fast {
    /// See [`crate::Norm::layer_norm`].
    pub(in crate::cpu) fn layer_norm(&self, operands: LayerNorm<'_, [f32]>, out: &mut [f32], moments: &mut [f32]) {
        let LayerNorm { columns, epsilon, x, weight } = operands;
        let rows = Self::rows_of_task(columns);
        let parts = x.chunks(rows * columns).zip(out.chunks_mut(rows * columns)).zip(moments.chunks_mut(2 * rows));
        self.pool.each(4 * x.len(), parts.collect(), |((x, out), moments)| {
            norm_rows(self.path, columns, epsilon as f32, x, weight, out, moments);
        });
    }

    /// See [`crate::Norm::layer_norm_backward`].
    pub(in crate::cpu) fn layer_norm_backward(
        &self,
        operands: LayerNormBackward<'_, [f32]>,
        d_x: &mut [f32],
        d_weight: Option<&mut [f32]>,
    ) {
        let LayerNormBackward { columns, x, weight, moments, d_out, accumulate } = operands;
        let rows = Self::rows_of_task(columns);
        let tasks = (moments.len() / 2).div_ceil(rows);
        let part = if d_weight.is_some() { columns } else { 0 };
        let (mut sums, mut lines) = (self.scratch(tasks * part), self.scratch(tasks * 2 * columns));
        let (mut rest, mut lines) = (sums.as_mut_slice(), lines.as_mut_slice().chunks_exact_mut(2 * columns));
        let mut items = Vec::with_capacity(tasks);
        let parts = x.chunks(rows * columns).zip(d_out.chunks(rows * columns)).zip(d_x.chunks_mut(rows * columns));
        for ((((x, d_out), d_x), moments), normed) in parts.zip(moments.chunks(2 * rows)).zip(&mut lines) {
            let (d_weight, behind) = rest.split_at_mut(part);
            rest = behind;
            items.push(Rows { x, moments, d_out, d_x, normed, d_weight });
        }
        self.pool.each(6 * x.len(), items, |rows| norm_rows_backward(self.path, columns, weight, accumulate, rows));
        if let Some(d_weight) = d_weight {
            add_parts(sums.as_slice(), d_weight);
        }
    }
}

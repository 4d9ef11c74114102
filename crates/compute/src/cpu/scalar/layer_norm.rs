//! Layer norm (Ba et al., 1607.06450, eq. 4) with a weight and no bias, as DiT has it in MDLM (2406.07524).
//!
//! With `r = 1 / √(var(x) + ε)`, `x̂ = (x − mean(x)) r` and `y = x̂ w`: `∂L/∂x = r (a − mean(a) − x̂ mean(a ⊙ x̂))` for
//! `a = w ⊙ g`, and `∂L/∂w = Σ_rows x̂ ⊙ g`. The variance is that of the row, over `D` and not over `D − 1`.

use crate::{Element, LayerNorm, LayerNormBackward};

/// `out = (x − mean) · r · weight` for each row; keeps mean and `r`.
pub(in crate::cpu) fn layer_norm<E: Element>(operands: LayerNorm<'_, [E]>, out: &mut [E], moments: &mut [E]) {
    let LayerNorm { columns, epsilon, x, weight } = operands;
    let count = E::from_f64(columns as f64);
    let rows = x.chunks_exact(columns).zip(out.chunks_exact_mut(columns));
    for ((x, out), moments) in rows.zip(moments.chunks_exact_mut(2)) {
        let mut mean = E::default();
        for &x in x {
            mean += x;
        }
        let mean = mean / count;
        let mut squares = E::default();
        for &x in x {
            squares += (x - mean) * (x - mean);
        }
        let inverse = E::from_f64(1.0) / (squares / count + E::from_f64(epsilon)).sqrt();
        for (c, out) in out.iter_mut().enumerate() {
            *out = (x[c] - mean) * inverse * weight[c];
        }
        moments.copy_from_slice(&[mean, inverse]);
    }
}

/// Gradients of [`layer_norm`].
pub(in crate::cpu) fn layer_norm_backward<E: Element>(
    operands: LayerNormBackward<'_, [E]>,
    d_x: &mut [E],
    mut d_weight: Option<&mut [E]>,
) {
    let LayerNormBackward { columns, x, weight, moments, d_out, accumulate } = operands;
    let count = E::from_f64(columns as f64);
    for (t, moments) in moments.chunks_exact(2).enumerate() {
        let row = t * columns..(t + 1) * columns;
        let (x, d_out, d_x) = (&x[row.clone()], &d_out[row.clone()], &mut d_x[row]);
        let normed = |c: usize| (x[c] - moments[0]) * moments[1];
        let (mut shift, mut pull) = (E::default(), E::default());
        for c in 0..columns {
            shift += d_out[c] * weight[c];
            pull += d_out[c] * weight[c] * normed(c);
        }
        for (c, d_x) in d_x.iter_mut().enumerate() {
            let gradient = moments[1] * (d_out[c] * weight[c] - shift / count - normed(c) * pull / count);
            *d_x = if accumulate { *d_x + gradient } else { gradient };
        }
        if let Some(d_weight) = d_weight.as_deref_mut() {
            for (c, sum) in d_weight.iter_mut().enumerate() {
                *sum += d_out[c] * normed(c);
            }
        }
    }
}

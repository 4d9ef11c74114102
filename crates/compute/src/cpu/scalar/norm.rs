//! Root-mean-square norm (Zhang & Sennrich, 1910.07467, eq. 4), with ε inside the root as every transformer has it.
//!
//! With `r = 1 / sqrt(mean(x²) + ε)` and `y = r x w`: `∂L/∂x = r (w ⊙ g) − x r³ mean(w ⊙ g ⊙ x)`,
//! `∂L/∂w = Σ_rows r x ⊙ g`.

use crate::{Element, RmsNorm, RmsNormBackward};

/// `out = x · r · weight` for each row; keeps `r`.
pub(in crate::cpu) fn rms_norm<E: Element>(operands: RmsNorm<'_, [E]>, out: &mut [E], inverse_rms: &mut [E]) {
    let RmsNorm { columns, epsilon, x, weight } = operands;
    for (t, inverse) in inverse_rms.iter_mut().enumerate() {
        let row = t * columns..(t + 1) * columns;
        *inverse = normalise(epsilon, &x[row.clone()], weight, &mut out[row]);
    }
}

/// Gradients of [`rms_norm`].
pub(in crate::cpu) fn rms_norm_backward<E: Element>(
    operands: RmsNormBackward<'_, [E]>,
    d_x: &mut [E],
    mut d_weight: Option<&mut [E]>,
) {
    let RmsNormBackward { columns, x, weight, inverse_rms, d_out, accumulate } = operands;
    for (t, &inverse) in inverse_rms.iter().enumerate() {
        let row = t * columns..(t + 1) * columns;
        let line = NormedRow { x: &x[row.clone()], weight, inverse, d_out: &d_out[row.clone()] };
        normalise_backward(line, accumulate, &mut d_x[row], d_weight.as_deref_mut());
    }
}

/// One row of the norm; returns `r`.
pub(super) fn normalise<E: Element>(epsilon: f64, x: &[E], weight: Option<&[E]>, out: &mut [E]) -> E {
    let mut squares = E::default();
    for &x in x {
        squares += x * x;
    }
    let one = E::from_f64(1.0);
    let inverse = one / (squares / E::from_f64(x.len() as f64) + E::from_f64(epsilon)).sqrt();
    for (c, out) in out.iter_mut().enumerate() {
        *out = x[c] * inverse * weight.map_or(one, |weight| weight[c]);
    }
    inverse
}

/// A row that was normed, and the gradient of what it became.
pub(super) struct NormedRow<'a, E> {
    pub(super) x: &'a [E],
    pub(super) weight: Option<&'a [E]>,
    pub(super) inverse: E,
    pub(super) d_out: &'a [E],
}

/// Gradients of one row.
pub(super) fn normalise_backward<E: Element>(
    row: NormedRow<'_, E>,
    accumulate: bool,
    d_x: &mut [E],
    d_weight: Option<&mut [E]>,
) {
    let NormedRow { x, weight, inverse, d_out } = row;
    let weighted = |c: usize| weight.map_or(d_out[c], |weight| d_out[c] * weight[c]);
    let mut product = E::default();
    for (c, &x) in x.iter().enumerate() {
        product += weighted(c) * x;
    }
    let pull = inverse * inverse * inverse * product / E::from_f64(x.len() as f64);
    for (c, d_x) in d_x.iter_mut().enumerate() {
        let gradient = inverse * weighted(c) - pull * x[c];
        *d_x = if accumulate { *d_x + gradient } else { gradient };
    }
    if let Some(d_weight) = d_weight {
        for c in 0..x.len() {
            d_weight[c] += d_out[c] * x[c] * inverse;
        }
    }
}

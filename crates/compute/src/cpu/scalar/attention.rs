//! Scaled dot-product attention (Vaswani et al., 1706.03762, eq. 1) over the visible rows, and its gradient without
//! the probabilities kept (FlashAttention-2: Dao, 2307.08691, algorithms 1 and 2).
//!
//! With `p = exp(s − lse)` and `δ = Σ_e g_e o_e`: `∂v = pᵀ g`, `∂s = p (g vᵀ − δ)`, `∂q = ∂s k / √E`, `∂k = ∂sᵀ q / √E`.

use super::dot;
use crate::{AttentionShape, Element, Visibility};

/// Where the query, key and value of a head begin in the packed matrix.
struct Offsets {
    columns: usize,
    query: usize,
    key: usize,
    value: usize,
}

fn offsets(shape: &AttentionShape, head: usize) -> Offsets {
    let (size, group) = (shape.head_size, head / (shape.heads / shape.key_value_heads));
    Offsets {
        columns: shape.packed_columns(),
        query: head * size,
        key: (shape.heads + group) * size,
        value: (shape.heads + shape.key_value_heads + group) * size,
    }
}

/// `softmax(q kᵀ / √E) v`; keeps the logarithm of each softmax's denominator.
pub(in crate::cpu) fn attention<E: Element>(
    shape: AttentionShape,
    visibility: &Visibility,
    packed: &[E],
    out: &mut [E],
    log_sum_exp: &mut [E],
) {
    let lines = out.chunks_exact_mut(shape.output_columns()).zip(log_sum_exp.chunks_exact_mut(shape.heads));
    for (t, (out, log_sums)) in lines.enumerate().take(visibility.len()) {
        attend(shape, visibility, packed, t, |value| value, (out, log_sums));
    }
}

/// The same for some rows, with the factors of both products rounded: `round(p) round(v)` and `round(q) round(k)`, where
/// `p = exp(s − max s)` before it is divided by the sum, which is of what was not rounded.
pub(in crate::cpu) fn attention_rows<E: Element>(
    shape: AttentionShape,
    visibility: &Visibility,
    packed: &[E],
    queries: &[u32],
    round: fn(E) -> E,
    out: &mut [E],
) {
    let mut log_sums = vec![E::default(); shape.heads];
    for (&t, out) in queries.iter().zip(out.chunks_exact_mut(shape.output_columns())) {
        attend(shape, visibility, packed, t as usize, round, (out, &mut log_sums));
    }
}

/// One row.
fn attend<E: Element>(
    shape: AttentionShape,
    visibility: &Visibility,
    packed: &[E],
    t: usize,
    round: fn(E) -> E,
    (out, log_sums): (&mut [E], &mut [E]),
) {
    let size = shape.head_size;
    let scale = E::from_f64(1.0 / (size as f64).sqrt());
    let visible: Vec<usize> = visibility.row(t).iter().cloned().flatten().map(|row| row as usize).collect();
    let rounded = |place: usize| -> Vec<E> { packed[place..place + size].iter().map(|&value| round(value)).collect() };
    for head in 0..shape.heads {
        let at = offsets(&shape, head);
        let query = rounded(t * at.columns + at.query);
        let scores: Vec<E> = visible.iter().map(|&s| dot(&query, &rounded(s * at.columns + at.key)) * scale).collect();
        let largest = scores.iter().copied().fold(scores[0], |a, b| if b > a { b } else { a });
        let mut sum = E::default();
        for &score in &scores {
            sum += (score - largest).exp();
        }
        log_sums[head] = largest + sum.ln();
        let out = &mut out[head * size..][..size];
        out.fill(E::default());
        for (&s, &score) in visible.iter().zip(&scores) {
            let weight = round((score - largest).exp());
            for (out, value) in out.iter_mut().zip(rounded(s * at.columns + at.value)) {
                *out += weight * value;
            }
        }
        for out in out {
            *out = *out / sum;
        }
    }
}

/// Gradient of [`attention`]; overwrites `d_packed`.
pub(in crate::cpu) fn attention_backward<E: Element>(
    shape: AttentionShape,
    visibility: &Visibility,
    packed: &[E],
    out: &[E],
    log_sum_exp: &[E],
    d_out: &[E],
    d_packed: &mut [E],
) {
    let size = shape.head_size;
    let scale = E::from_f64(1.0 / (size as f64).sqrt());
    d_packed.fill(E::default());
    for t in 0..visibility.len() {
        for head in 0..shape.heads {
            let at = offsets(&shape, head);
            let output = t * shape.output_columns() + head * size..t * shape.output_columns() + (head + 1) * size;
            let gradient = &d_out[output.clone()];
            let delta = dot(gradient, &out[output]);
            let query = t * at.columns + at.query;
            for s in visibility.row(t).iter().cloned().flatten() {
                let (key, value) = (s as usize * at.columns + at.key, s as usize * at.columns + at.value);
                let score = dot(&packed[query..][..size], &packed[key..][..size]) * scale;
                let probability = (score - log_sum_exp[t * shape.heads + head]).exp();
                let d_probability = dot(gradient, &packed[value..][..size]);
                let d_score = probability * (d_probability - delta) * scale;
                for e in 0..size {
                    d_packed[value + e] += probability * gradient[e];
                    d_packed[query + e] += d_score * packed[key + e];
                    d_packed[key + e] += d_score * packed[query + e];
                }
            }
        }
    }
}

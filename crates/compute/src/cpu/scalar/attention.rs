//! Scaled dot-product attention (Vaswani et al., 1706.03762, eq. 1) over the visible rows, and its gradient without
//! the probabilities kept (FlashAttention-2: Dao, 2307.08691, algorithms 1 and 2).
//!
//! With `p = exp(s − lse)` and `δ = Σ_e g_e o_e`: `∂v = pᵀ g`, `∂s = p (g vᵀ − δ)`, `∂q = ∂s k / √E`, `∂k = ∂sᵀ q / √E`.

use super::dot;
use crate::{AttentionBackward, AttentionOperands, AttentionRows, AttentionShape, Columns, Element, Rows, Visibility};

/// Where the query of a head begins in its columns, and the key and value in theirs.
struct Offsets {
    query: usize,
    key: usize,
    value: usize,
}

fn offsets(shape: &AttentionShape, head: usize) -> Offsets {
    let (size, group) = (shape.head_size, head / (shape.heads / shape.key_value_heads));
    Offsets { query: head * size, key: group * size, value: (shape.key_value_heads + group) * size }
}

/// Elements of a row from one of its columns on.
fn part<'a, E>(matrix: &Columns<'a, [E]>, row: usize, column: usize, size: usize) -> &'a [E] {
    &matrix.buffer[row * matrix.stride + matrix.first + column..][..size]
}

/// `softmax(q kᵀ / √E) v`; keeps the logarithm of each softmax's denominator.
pub(in crate::cpu) fn attention<E: Element>(
    operands: AttentionOperands<'_, [E], Visibility>,
    out: &mut [E],
    log_sum_exp: &mut [E],
) {
    let AttentionOperands { shape, visible, packed } = operands;
    let rows = AttentionRows::<_, [u32], _>::packed(shape, visible, packed);
    let lines = out.chunks_exact_mut(shape.output_columns()).zip(log_sum_exp.chunks_exact_mut(shape.heads));
    for (t, (out, log_sums)) in lines.enumerate().take(visible.len()) {
        attend(&rows, (t, t), |value| value, (out, log_sums));
    }
}

/// The same for some rows, with the factors of both products rounded: `round(p) round(v)` and `round(q) round(k)`, where
/// `p = exp(s − max s)` before it is divided by the sum, which is of what was not rounded.
pub(in crate::cpu) fn attention_rows<E: Element>(
    operands: AttentionRows<'_, [E], [u32], Visibility>,
    round: fn(E) -> E,
    out: &mut [E],
) {
    let mut log_sums = vec![E::default(); operands.shape.heads];
    let all: Vec<u32>;
    let rows = match operands.rows {
        Rows::At(rows) => rows,
        Rows::All => {
            all = (0..operands.visible.len() as u32).collect();
            &all
        }
    };
    for (query, (&t, out)) in rows.iter().zip(out.chunks_exact_mut(operands.shape.output_columns())).enumerate() {
        attend(&operands, (query, t as usize), round, (out, &mut log_sums));
    }
}

/// One row: its place among the queries, and which row it is.
fn attend<E: Element>(
    operands: &AttentionRows<'_, [E], [u32], Visibility>,
    (query, t): (usize, usize),
    round: fn(E) -> E,
    (out, log_sums): (&mut [E], &mut [E]),
) {
    let AttentionRows { shape, visible, queries, keys_values, .. } = operands;
    let size = shape.head_size;
    let scale = E::from_f64(1.0 / (size as f64).sqrt());
    let visible: Vec<usize> = visible.row(t).iter().cloned().flatten().map(|row| row as usize).collect();
    let rounded = |matrix: &Columns<'_, [E]>, row: usize, column: usize| -> Vec<E> {
        part(matrix, row, column, size).iter().map(|&value| round(value)).collect()
    };
    for head in 0..shape.heads {
        let at = offsets(shape, head);
        let query = rounded(queries, query, at.query);
        let scores: Vec<E> = visible.iter().map(|&s| dot(&query, &rounded(keys_values, s, at.key)) * scale).collect();
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
            for (out, value) in out.iter_mut().zip(rounded(keys_values, s, at.value)) {
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
    operands: AttentionBackward<'_, [E], Visibility>,
    d_packed: &mut [E],
) {
    let AttentionBackward { forward: AttentionOperands { shape, visible, packed }, out, log_sum_exp, d_out } = operands;
    let (size, columns, keys) = (shape.head_size, shape.packed_columns(), shape.output_columns());
    let scale = E::from_f64(1.0 / (size as f64).sqrt());
    d_packed.fill(E::default());
    for t in 0..visible.len() {
        for head in 0..shape.heads {
            let at = offsets(&shape, head);
            let output = t * shape.output_columns() + head * size..t * shape.output_columns() + (head + 1) * size;
            let gradient = &d_out[output.clone()];
            let delta = dot(gradient, &out[output]);
            let query = t * columns + at.query;
            for s in visible.row(t).iter().cloned().flatten() {
                let row = s as usize * columns + keys;
                let (key, value) = (row + at.key, row + at.value);
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

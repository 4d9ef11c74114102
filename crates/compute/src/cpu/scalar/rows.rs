//! Choosing rows of a matrix, the gradient of the choice, and points beside chosen rows.

use crate::{Element, ScaledPoints, WriteRows};

/// `out[i] = table[ids[i]]`.
pub(in crate::cpu) fn gather<N: Copy, E: Element>(
    columns: usize,
    table: &[N],
    ids: &[u32],
    out: &mut [E],
    widen: impl Fn(N) -> E,
) {
    for (i, &id) in ids.iter().enumerate() {
        let row = &table[id as usize * columns..][..columns];
        out[i * columns..][..columns].iter_mut().zip(row).for_each(|(out, value)| *out = widen(*value));
    }
}

/// `table[ids[i]] = rows[i]`, in the order of `i`.
pub(in crate::cpu) fn write_rows<E: Element>(operands: WriteRows<'_, [E], [u32]>, table: &mut [E]) {
    let WriteRows { columns, rows, ids } = operands;
    for (i, &id) in ids.iter().enumerate() {
        let row = &rows.buffer[i * rows.stride + rows.first..][..columns];
        table[id as usize * columns..][..columns].copy_from_slice(row);
    }
}

/// `out[i] = scales[i] · (weights[i] · vectors[tokens[i]] + offsets[i])`, and 0 where `scales[i]` is 0.
pub(in crate::cpu) fn scaled_points<E: Element>(operands: ScaledPoints<'_, [E], [u32]>, out: &mut [E]) {
    let ScaledPoints { size, vectors, tokens, weights, offsets, scales } = operands;
    for (i, &token) in tokens.iter().enumerate() {
        let rows = vectors[token as usize * size..][..size].iter().zip(&offsets[i * size..][..size]);
        for (out, (&e, &offset)) in out[i * size..][..size].iter_mut().zip(rows) {
            let is_silent = scales[i] == E::default();
            *out = if is_silent { E::default() } else { scales[i] * (weights[i] * e + offset) };
        }
    }
}

/// `d_table[ids[i]] += d_out[i]`, in the order of `i`.
pub(in crate::cpu) fn scatter_add<E: Element>(columns: usize, d_out: &[E], ids: &[u32], d_table: &mut [E]) {
    for (i, &id) in ids.iter().enumerate() {
        for c in 0..columns {
            d_table[id as usize * columns + c] += d_out[i * columns + c];
        }
    }
}

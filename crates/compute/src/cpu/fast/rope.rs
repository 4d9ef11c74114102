//! Per-head norm and rotation of queries and keys.

use super::Fast;
use super::norm::add_parts;
use super::vector::{dot, dot3, vectorised};
use crate::cpu::scalar::rotation;
use crate::{HeadNormGradients, HeadNorms, Rope, RopeShape};
use std::sync::{Arc, Mutex, PoisonError};

/// Positions up to here get a table that is kept.
const SAVED_POSITIONS: usize = 1 << 16;

/// Cosines and sines of each pair, for positions `0..`.
#[derive(Debug)]
pub(super) struct Rotations {
    theta: f64,
    head_size: usize,
    positions: usize,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

/// The table made last, kept from call to call.
pub(super) type SavedRotations = Arc<Mutex<Option<Arc<Rotations>>>>;

impl Rotations {
    fn new(shape: &RopeShape, positions: impl ExactSizeIterator<Item = u32>) -> Self {
        let head_size = shape.attention.head_size;
        let count = positions.len();
        let (mut cosines, mut sines) = (Vec::new(), Vec::new());
        for position in positions {
            for pair in 0..head_size / 2 {
                let (cosine, sine) = rotation(shape, position, pair);
                cosines.push(cosine as f32);
                sines.push(sine as f32);
            }
        }
        Self { theta: shape.theta, head_size, positions: count, cosines, sines }
    }

    /// Cosines and sines of the entry.
    #[inline(always)]
    fn at(&self, entry: usize) -> (&[f32], &[f32]) {
        let half = self.head_size / 2;
        let range = entry * half..(entry + 1) * half;
        (&self.cosines[range.clone()], &self.sines[range])
    }
}

/// One task: some rows, and which entry of the table turns each.
struct Rows<'a> {
    entries: &'a [u32],
    table: &'a Rotations,
    packed: &'a [f32],
}

/// The norm's weight for a head, and whether the head is turned at all (a value is not).
#[inline(always)]
fn head_weight<'a>(shape: &RopeShape, head: usize, norms: Option<HeadNorms<'a, [f32]>>) -> Option<&'a [f32]> {
    norms.map(|norms| if head < shape.attention.heads { norms.query } else { norms.key })
}

/// Turns one head of `2 half` elements; `norm` is the weight of its norm and ε.
#[inline(always)]
fn turn_head(half: usize, x: &[f32], norm: Option<(&[f32], f32)>, (cosines, sines): (&[f32], &[f32]), out: &mut [f32]) {
    let (x_left, x_right) = x[..2 * half].split_at(half);
    let (left, right) = out[..2 * half].split_at_mut(half);
    let (cosines, sines) = (&cosines[..half], &sines[..half]);
    match norm {
        Some((weight, epsilon)) => {
            let x = &x[..2 * half];
            let inverse = 1.0 / (dot(x, x) / (2 * half) as f32 + epsilon).sqrt();
            let (w_left, w_right) = weight[..2 * half].split_at(half);
            for i in 0..half {
                let (a, b) = (x_left[i] * inverse * w_left[i], x_right[i] * inverse * w_right[i]);
                left[i] = a * cosines[i] - b * sines[i];
                right[i] = a * sines[i] + b * cosines[i];
            }
        }
        None => {
            for i in 0..half {
                left[i] = x_left[i] * cosines[i] - x_right[i] * sines[i];
                right[i] = x_left[i] * sines[i] + x_right[i] * cosines[i];
            }
        }
    }
}

vectorised! {
    fn turn_rows(shape: &RopeShape, norms: Option<HeadNorms<'_, [f32]>>, rows: &Rows<'_>, out: &mut [f32]) {
        let attention = &shape.attention;
        let (columns, size) = (attention.packed_columns(), attention.head_size);
        let turned = attention.heads + attention.key_value_heads;
        let half = size / 2;
        let lines = rows.packed.chunks_exact(columns).zip(out.chunks_exact_mut(columns));
        for ((x, out), &entry) in lines.zip(rows.entries) {
            let (cosines, sines) = rows.table.at(entry as usize);
            for head in 0..turned {
                let (x, out) = (&x[head * size..][..size], &mut out[head * size..][..size]);
                let weight = head_weight(shape, head, norms);
                let epsilon = shape.epsilon as f32;
                // The sizes that most heads have, known to the compiler.
                match half {
                    32 => turn_head(32, x, weight.map(|weight| (weight, epsilon)), (cosines, sines), out),
                    64 => turn_head(64, x, weight.map(|weight| (weight, epsilon)), (cosines, sines), out),
                    _ => turn_head(half, x, weight.map(|weight| (weight, epsilon)), (cosines, sines), out),
                }
            }
            out[turned * size..].copy_from_slice(&x[turned * size..]);
        }
    }
}

vectorised! {
    /// `d_norms` (query's, then key's) is overwritten with the sum over these rows; empty without norms.
    fn turn_rows_backward(
        shape: &RopeShape,
        norms: Option<HeadNorms<'_, [f32]>>,
        rows: &Rows<'_>,
        d_out: &[f32],
        d_packed: &mut [f32],
        d_norms: &mut [f32],
    ) {
        let attention = &shape.attention;
        let (columns, size) = (attention.packed_columns(), attention.head_size);
        let turned = attention.heads + attention.key_value_heads;
        let half = size / 2;
        d_norms.fill(0.0);
        let lines = rows.packed.chunks_exact(columns).zip(d_out.chunks_exact(columns));
        for (((x, d_out), d_x), &entry) in lines.zip(d_packed.chunks_exact_mut(columns)).zip(rows.entries) {
            let (cosines, sines) = rows.table.at(entry as usize);
            for head in 0..turned {
                let place = head * size..(head + 1) * size;
                let (x, d_out, d_x) = (&x[place.clone()], &d_out[place.clone()], &mut d_x[place]);
                let ((left, right), (d_left, d_right)) = (d_x.split_at_mut(half), d_out.split_at(half));
                for i in 0..half {
                    left[i] = d_left[i] * cosines[i] + d_right[i] * sines[i];
                    right[i] = d_right[i] * cosines[i] - d_left[i] * sines[i];
                }
                if let Some(weight) = head_weight(shape, head, norms) {
                    let inverse = 1.0 / (dot(x, x) / size as f32 + shape.epsilon as f32).sqrt();
                    let pull = inverse * inverse * inverse * dot3(d_x, weight, x) / size as f32;
                    if !d_norms.is_empty() {
                        let part = if head < attention.heads { 0 } else { size };
                        for ((sum, &d), &x) in d_norms[part..part + size].iter_mut().zip(&*d_x).zip(x) {
                            *sum += d * x * inverse;
                        }
                    }
                    for ((d, &x), &weight) in d_x.iter_mut().zip(x).zip(weight) {
                        *d = inverse * *d * weight - pull * x;
                    }
                }
            }
            d_x[turned * size..].copy_from_slice(&d_out[turned * size..]);
        }
    }
}

impl Fast {
    /// A table that turns by these positions, and the entry of each.
    fn rotations(&self, shape: &RopeShape, positions: &[u32]) -> (Arc<Rotations>, Vec<u32>) {
        let needed = positions.iter().max().map_or(0, |&last| last as usize + 1);
        if needed > SAVED_POSITIONS {
            let table = Rotations::new(shape, positions.iter().copied());
            return (Arc::new(table), (0..positions.len() as u32).collect());
        }
        let mut retained = self.rotations.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |table: &&Arc<Rotations>| {
            table.theta == shape.theta && table.head_size == shape.attention.head_size && table.positions >= needed
        };
        let table = match retained.as_ref().filter(fits) {
            Some(table) => Arc::clone(table),
            None => {
                let count = needed.next_power_of_two().max(256) as u32;
                Arc::clone(retained.insert(Arc::new(Rotations::new(shape, 0..count))))
            }
        };
        (table, positions.to_vec())
    }

    /// See [`crate::Norm::rope`].
    pub(in crate::cpu) fn rope(&self, operands: Rope<'_, [f32], [u32]>, out: &mut [f32]) {
        let Rope { shape, positions, packed, norms } = operands;
        let columns = shape.attention.packed_columns();
        let rows = Self::rows_of_task(columns);
        let (table, entries) = self.rotations(&shape, positions);
        let parts = entries.chunks(rows).zip(packed.chunks(rows * columns)).zip(out.chunks_mut(rows * columns));
        self.pool.each(4 * packed.len(), parts.collect(), |((entries, packed), out)| {
            turn_rows(self.path, &shape, norms, &Rows { entries, table: &table, packed }, out);
        });
    }

    /// See [`crate::Norm::rope_backward`].
    pub(in crate::cpu) fn rope_backward(
        &self,
        operands: Rope<'_, [f32], [u32]>,
        d_out: &[f32],
        d_packed: &mut [f32],
        d_norms: Option<HeadNormGradients<'_, [f32]>>,
    ) {
        let Rope { shape, positions, packed, norms } = operands;
        let (columns, size) = (shape.attention.packed_columns(), shape.attention.head_size);
        let rows = Self::rows_of_task(columns);
        let (table, entries) = self.rotations(&shape, positions);
        let part = if norms.is_some() && d_norms.is_some() { 2 * size } else { 0 };
        let mut sums = self.scratch(entries.len().div_ceil(rows) * part);
        let mut rest = sums.as_mut_slice();
        let mut items = Vec::new();
        let parts = packed.chunks(rows * columns).zip(d_out.chunks(rows * columns));
        for ((entries, (packed, d_out)), d_packed) in
            entries.chunks(rows).zip(parts).zip(d_packed.chunks_mut(rows * columns))
        {
            let (d_norms, behind) = rest.split_at_mut(part);
            rest = behind;
            items.push((Rows { entries, table: &table, packed }, d_out, d_packed, d_norms));
        }
        self.pool.each(6 * packed.len(), items, |(rows, d_out, d_packed, d_norms)| {
            turn_rows_backward(self.path, &shape, norms, &rows, d_out, d_packed, d_norms);
        });
        if let Some(d_norms) = d_norms
            && part > 0
        {
            for sums in sums.as_slice().chunks_exact(2 * size) {
                add_parts(&sums[..size], d_norms.query);
                add_parts(&sums[size..], d_norms.key);
            }
        }
    }
}

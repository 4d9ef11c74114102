//! Per-head norm and rotation of queries and keys.

use super::Fast;
use super::norm::add_parts;
use super::vector::{dot, dot3, vectorised};
use crate::{HeadNormGradients, HeadNorms, Rope, RopeShape};
use std::sync::{Arc, Mutex, PoisonError};

/// Positions up to here get a table that is kept.
const SAVED_POSITIONS: usize = 1 << 16;

/// Tables that are kept: a network has a rotation or two.
const SAVED_TABLES: usize = 4;

/// Cosines and sines of each pair, and the factor of queries, for positions `0..`.
#[derive(Debug)]
pub(super) struct Rotations {
    /// What it was made for, but for heads, of which a table knows nothing.
    shape: RopeShape,
    positions: usize,
    cosines: Vec<f32>,
    sines: Vec<f32>,
    /// Empty where queries are left.
    query_factors: Vec<f32>,
}

/// The tables made last, kept from call to call.
pub(super) type SavedRotations = Arc<Mutex<Vec<Arc<Rotations>>>>;

impl Rotations {
    fn new(shape: &RopeShape, positions: impl ExactSizeIterator<Item = u32> + Clone) -> Self {
        let count = positions.len();
        let (mut cosines, mut sines) = (Vec::new(), Vec::new());
        for position in positions.clone() {
            for pair in 0..shape.rotation.columns / 2 {
                let (cosine, sine) = shape.rotation.at(position, pair);
                cosines.push(cosine as f32);
                sines.push(sine as f32);
            }
        }
        let factors = positions.map(|position| shape.query_factor(position) as f32);
        let query_factors = if shape.scales_queries() { factors.collect() } else { Vec::new() };
        Self { shape: *shape, positions: count, cosines, sines, query_factors }
    }

    /// Whether it is a table of this shape.
    fn fits(&self, shape: &RopeShape) -> bool {
        let numbers = |shape: &RopeShape| (shape.rotation, shape.query_scale, shape.query_growth);
        numbers(&self.shape) == numbers(shape)
    }

    /// Cosines and sines of the entry.
    #[inline(always)]
    fn at(&self, entry: usize) -> (&[f32], &[f32]) {
        let half = self.shape.rotation.columns / 2;
        let range = entry * half..(entry + 1) * half;
        (&self.cosines[range.clone()], &self.sines[range])
    }

    /// What the query of the entry is multiplied by.
    #[inline(always)]
    fn query_factor(&self, entry: usize) -> f32 {
        self.query_factors.get(entry).copied().unwrap_or(1.0)
    }
}

/// Cosines and sines of one row whose pairs turn on several axes; empty where there is one axis.
#[derive(Default)]
struct Composed {
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Composed {
    fn new(shape: &RopeShape) -> Self {
        match shape.rotation.axes {
            1 => Self::default(),
            _ => {
                let zeros = vec![0.0; shape.rotation.columns / 2];
                Self { cosines: zeros.clone(), sines: zeros }
            }
        }
    }

    /// What turns a row: the entry of the table where there is one axis, else of each pair that of its axis.
    #[inline(always)]
    fn of<'s>(&'s mut self, table: &'s Rotations, place: &[u32]) -> (&'s [f32], &'s [f32]) {
        if let [entry] = place {
            return table.at(*entry as usize);
        }
        for (axis, &entry) in place.iter().enumerate() {
            let (cosines, sines) = table.at(entry as usize);
            for pair in (axis..self.cosines.len()).step_by(place.len()) {
                (self.cosines[pair], self.sines[pair]) = (cosines[pair], sines[pair]);
            }
        }
        (&self.cosines, &self.sines)
    }
}

/// One task: some rows, and of each row which entry of the table turns it, on each axis.
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

/// Turns the first `2 half` elements of a head of any size, and multiplies all of it; `norm` is as above.
#[inline(always)]
fn turn_part(x: &[f32], norm: Option<(&[f32], f32)>, (cosines, sines): (&[f32], &[f32]), factor: f32, out: &mut [f32]) {
    match norm {
        Some((weight, epsilon)) => {
            let inverse = 1.0 / (dot(x, x) / x.len() as f32 + epsilon).sqrt();
            for ((out, &x), &weight) in out.iter_mut().zip(x).zip(weight) {
                *out = x * inverse * weight;
            }
        }
        None => out.copy_from_slice(x),
    }
    let half = cosines.len();
    let (left, right) = out[..2 * half].split_at_mut(half);
    for i in 0..half {
        let (a, b) = (left[i], right[i]);
        left[i] = a * cosines[i] - b * sines[i];
        right[i] = a * sines[i] + b * cosines[i];
    }
    if factor != 1.0 {
        out.iter_mut().for_each(|out| *out *= factor);
    }
}

/// Copies the values of a row, or norms each of them.
#[inline(always)]
fn copy_values(shape: &RopeShape, x: &[f32], out: &mut [f32]) {
    if !shape.value_norm {
        out.copy_from_slice(x);
        return;
    }
    let size = shape.attention.head_size;
    for (x, out) in x.chunks_exact(size).zip(out.chunks_exact_mut(size)) {
        let inverse = 1.0 / (dot(x, x) / size as f32 + shape.epsilon as f32).sqrt();
        for (out, &x) in out.iter_mut().zip(x) {
            *out = x * inverse;
        }
    }
}

vectorised! {
    fn turn_rows(shape: &RopeShape, norms: Option<HeadNorms<'_, [f32]>>, rows: &Rows<'_>, out: &mut [f32]) {
        let attention = &shape.attention;
        let (columns, size) = (attention.packed_columns(), attention.head_size);
        let turned = attention.heads + attention.key_value_heads;
        let half = size / 2;
        let whole = shape.rotation.columns == size && !shape.scales_queries();
        let mut composed = Composed::new(shape);
        let lines = rows.packed.chunks_exact(columns).zip(out.chunks_exact_mut(columns));
        for ((x, out), place) in lines.zip(rows.entries.chunks_exact(shape.rotation.axes)) {
            let (cosines, sines) = composed.of(rows.table, place);
            let query_factor = rows.table.query_factor(place[0] as usize);
            for head in 0..turned {
                let (x, out) = (&x[head * size..][..size], &mut out[head * size..][..size]);
                let weight = head_weight(shape, head, norms);
                let epsilon = shape.epsilon as f32;
                let factor = if head < attention.heads { query_factor } else { 1.0 };
                // The sizes that most heads have, known to the compiler.
                match half {
                    _ if !whole => {
                        turn_part(x, weight.map(|weight| (weight, epsilon)), (cosines, sines), factor, out);
                    }
                    32 => turn_head(32, x, weight.map(|weight| (weight, epsilon)), (cosines, sines), out),
                    64 => turn_head(64, x, weight.map(|weight| (weight, epsilon)), (cosines, sines), out),
                    _ => turn_head(half, x, weight.map(|weight| (weight, epsilon)), (cosines, sines), out),
                }
            }
            copy_values(shape, &x[turned * size..], &mut out[turned * size..]);
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
        let half = shape.rotation.columns / 2;
        d_norms.fill(0.0);
        let mut composed = Composed::new(shape);
        let lines = rows.packed.chunks_exact(columns).zip(d_out.chunks_exact(columns));
        let places = rows.entries.chunks_exact(shape.rotation.axes);
        for (((x, d_out), d_x), place) in lines.zip(d_packed.chunks_exact_mut(columns)).zip(places) {
            let (cosines, sines) = composed.of(rows.table, place);
            let query_factor = rows.table.query_factor(place[0] as usize);
            for head in 0..turned {
                let part = head * size..(head + 1) * size;
                let (x, d_out, d_x) = (&x[part.clone()], &d_out[part.clone()], &mut d_x[part]);
                let ((left, right), (d_left, d_right)) = (d_x.split_at_mut(half), d_out.split_at(half));
                for i in 0..half {
                    left[i] = d_left[i] * cosines[i] + d_right[i] * sines[i];
                    right[i] = d_right[i] * cosines[i] - d_left[i] * sines[i];
                }
                d_x[2 * half..].copy_from_slice(&d_out[2 * half..]);
                if head < attention.heads && shape.scales_queries() {
                    d_x.iter_mut().for_each(|d| *d *= query_factor);
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
            let (x, d_out, d_x) = (&x[turned * size..], &d_out[turned * size..], &mut d_x[turned * size..]);
            if !shape.value_norm {
                d_x.copy_from_slice(d_out);
                continue;
            }
            for ((x, d_out), d_x) in x.chunks_exact(size).zip(d_out.chunks_exact(size)).zip(d_x.chunks_exact_mut(size)) {
                let inverse = 1.0 / (dot(x, x) / size as f32 + shape.epsilon as f32).sqrt();
                let pull = inverse * inverse * inverse * dot(d_out, x) / size as f32;
                for ((d, &x), &d_out) in d_x.iter_mut().zip(x).zip(d_out) {
                    *d = inverse * d_out - pull * x;
                }
            }
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
        let place = retained.iter().position(|table| table.fits(shape));
        let table = match place.map(|place| Arc::clone(&retained[place])).filter(|table| table.positions >= needed) {
            Some(table) => table,
            None => {
                let count = needed.next_power_of_two().max(256) as u32;
                let table = Arc::new(Rotations::new(shape, 0..count));
                match place {
                    Some(place) => retained[place] = Arc::clone(&table),
                    None => {
                        retained.truncate(SAVED_TABLES - 1);
                        retained.insert(0, Arc::clone(&table));
                    }
                }
                table
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
        let parts = entries
            .chunks(rows * shape.rotation.axes)
            .zip(packed.chunks(rows * columns))
            .zip(out.chunks_mut(rows * columns));
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
        let of_task = rows * shape.rotation.axes;
        let mut sums = self.scratch(entries.len().div_ceil(of_task) * part);
        let mut rest = sums.as_mut_slice();
        let mut items = Vec::new();
        let parts = packed.chunks(rows * columns).zip(d_out.chunks(rows * columns));
        for ((entries, (packed, d_out)), d_packed) in
            entries.chunks(of_task).zip(parts).zip(d_packed.chunks_mut(rows * columns))
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

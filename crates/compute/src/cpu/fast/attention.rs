//! Attention by blocks of queries and tiles of keys, with a running softmax (Dao, 2307.08691, algorithms 1 and 2).
//!
//! One task takes the queries of all heads that share a key/value head, in one sequence. Tiles that no query of a block
//! sees are not computed, so causal and block layouts cost what they see. Tiles begin at multiples of [`TILE`] of the
//! sequence: a row's result depends neither on its neighbours nor on how the rows are shared out.

use super::kernel::{Kernel, Left, Output, Right};
use super::pack::{Matrix, Packing, pack_panel, pack_row};
use super::product::{Shared, choose};
use super::vector::{dot, exp, exponentials, largest, vectorised};
use super::{Buffer, Fast};
use crate::cpu::{CpuPath, Precision};
use crate::{AttentionBackward, AttentionOperands, AttentionRows, AttentionShape, Rows, Visibility};
use std::ops::Range;

/// Keys of a tile, a multiple of every panel.
const TILE: usize = 256;
/// Queries of a block: with a tile of scores and one of gradients it fills a fifth of the second cache.
const BLOCK: usize = 96;

/// The part of the work that shares keys and values.
struct Group {
    rows: Range<usize>,
    key_value_head: usize,
}

/// What each kernel call of a task has in common.
struct Lanes {
    kernel: Kernel,
    packing: Packing,
    path: CpuPath,
    /// `E`.
    size: usize,
    /// `E`, rounded up to whole panels.
    padded: usize,
}

/// A factor packed into panels, for sums over any aligned part of it.
struct Panels {
    data: Buffer<f32>,
    panel_stride: usize,
}

impl Panels {
    fn at(&self, offset: usize) -> Right {
        Right { start: self.data.as_slice()[offset..].as_ptr(), panel_stride: self.panel_stride }
    }
}

/// The visible part of a tile for one row: two ranges in order, relative to the tile; both may be empty.
type VisibleRanges = [(usize, usize); 2];

fn ranges(visibility: &Visibility, row: usize, tile: &Range<usize>) -> VisibleRanges {
    let [first, second] = visibility.row(row);
    let clip = |range: &Range<u32>| {
        let (start, end) = ((range.start as usize).max(tile.start), (range.end as usize).min(tile.end));
        if start < end { (start - tile.start, end - tile.start) } else { (0, 0) }
    };
    let (first, second) = (clip(first), clip(second));
    if first.0 <= second.0 { [first, second] } else { [second, first] }
}

/// Sets what no range covers to zero.
#[inline(always)]
fn clear_outside(row: &mut [f32], ranges: VisibleRanges) {
    let mut done = 0;
    for (start, end) in ranges {
        if start < end {
            row[done..start].fill(0.0);
            done = end;
        }
    }
    row[done..].fill(0.0);
}

vectorised! {
    /// Turns the scores of one row into `exp(scale · score − m)` where they are seen and 0 elsewhere; `m` is the
    /// largest so far. Returns `m` and the sum.
    fn soften(scores: &mut [f32], ranges: VisibleRanges, scale: f32, earlier: f32) -> (f32, f32) {
        let visible = || ranges.into_iter().filter(|(start, end)| start < end);
        let mut greatest = f32::NEG_INFINITY;
        for (start, end) in visible() {
            greatest = largest(&scores[start..end], greatest);
        }
        let shift = if greatest * scale > earlier { greatest * scale } else { earlier };
        let mut sum = 0.0;
        for (start, end) in visible() {
            sum += exponentials(&mut scores[start..end], scale, shift);
        }
        clear_outside(scores, ranges);
        (shift, sum)
    }
}

vectorised! {
    /// Turns scores into probabilities, and the gradients of probabilities into those of the unscaled scores.
    fn harden(scores: &mut [f32], gradients: &mut [f32], ranges: VisibleRanges, scale: f32, log_sum: f32, delta: f32) {
        for (start, end) in ranges {
            for (score, gradient) in scores[start..end].iter_mut().zip(&mut gradients[start..end]) {
                let probability = exp(score.mul_add(scale, -log_sum));
                *score = probability;
                *gradient = probability * (*gradient - delta) * scale;
            }
        }
        clear_outside(scores, ranges);
        clear_outside(gradients, ranges);
    }
}

vectorised! {
    /// `x *= factor`.
    fn rescale(x: &mut [f32], factor: f32) {
        for x in x {
            *x *= factor;
        }
    }
}

vectorised! {
    /// `Σ a[i] b[i]`.
    fn inner(a: &[f32], b: &[f32]) -> f32 {
        dot(a, b)
    }
}

impl Lanes {
    /// Groups of a sum of so many elements.
    fn groups(&self, elements: usize) -> usize {
        elements.div_ceil(self.packing.group())
    }

    /// `size` columns of the packed matrix from `column` on, for the rows of a sequence.
    fn matrix<'a>(&self, data: &'a [f32], stride: usize, rows: &Range<usize>, column: usize) -> &'a [f32] {
        if rows.is_empty() {
            return &[];
        }
        &data[rows.start * stride + column..(rows.end - 1) * stride + column + self.size]
    }

    /// A right factor with one column for each row of a matrix: the sum goes over the head.
    fn across(&self, fast: &Fast, data: &[f32], stride: usize, rows: usize) -> Panels {
        let width = self.kernel.columns();
        let panel_stride = self.groups(self.size) * width;
        let mut panels = fast.scratch(rows.div_ceil(width) * panel_stride);
        for (p, out) in panels.as_mut_slice().chunks_exact_mut(panel_stride).enumerate() {
            let place = (p * width, rows);
            pack_panel(self.path, self.packing, Matrix::columns(data, stride), (0, self.size), place, width, out);
        }
        Panels { data: panels, panel_stride }
    }

    /// A right factor with one row for each row of a matrix: the sum goes over the rows.
    fn along(&self, fast: &Fast, data: &[f32], stride: usize, rows: usize) -> Panels {
        let width = self.kernel.columns();
        let panel_stride = self.groups(rows) * width;
        let mut panels = fast.scratch(self.padded / width * panel_stride);
        for (p, out) in panels.as_mut_slice().chunks_exact_mut(panel_stride).enumerate() {
            let place = (p * width, self.size);
            pack_panel(self.path, self.packing, Matrix::rows(data, stride), (0, rows), place, width, out);
        }
        Panels { data: panels, panel_stride }
    }

    /// `out[rows, columns] = a[rows, sum] b (+ out)`; all slices reach as far as their strides say.
    fn multiply(
        &self,
        (rows, columns, sum): (usize, usize, usize),
        (a, row_stride, group_stride): (&[f32], usize, usize),
        b: Right,
        (out, out_stride, accumulate): (&mut [f32], usize, bool),
    ) {
        let columns = columns.next_multiple_of(self.kernel.columns());
        assert!(a.len() > (rows - 1) * row_stride + (sum - 1) * group_stride, "left factor too short");
        assert!(out.len() >= (rows - 1) * out_stride + columns, "output too short");
        let left = Left { start: a.as_ptr(), row_stride, group_stride };
        let output = Output { start: out.as_mut_ptr(), row_stride: out_stride, accumulate };
        // SAFETY: the path's features were found; `a` and `out` were just checked, `b` comes from `Panels::at` with an
        // offset inside panels that were packed for this sum and at least these columns.
        unsafe { self.kernel.multiply((rows, columns, sum), left, b, output) }
    }
}

impl Fast {
    fn lanes(&self, shape: &AttentionShape, precision: Precision) -> Lanes {
        let (kernel, packing) = choose(self.path, precision);
        let size = shape.head_size;
        Lanes { kernel, packing, path: self.path, size, padded: size.next_multiple_of(kernel.columns()) }
    }

    fn groups(shape: &AttentionShape, visibility: &Visibility) -> Vec<Group> {
        let rows = visibility.sequences().iter().map(|rows| rows.start as usize..rows.end as usize);
        rows.filter(|rows| !rows.is_empty())
            .flat_map(|rows| {
                (0..shape.key_value_heads).map(move |key_value_head| Group { rows: rows.clone(), key_value_head })
            })
            .collect()
    }

    /// See [`crate::Attention::attention`].
    pub(in crate::cpu) fn attention(
        &self,
        operands: AttentionOperands<'_, [f32], Visibility>,
        out: &mut [f32],
        log_sum_exp: &mut [f32],
    ) {
        let AttentionOperands { shape, visible, packed } = operands;
        // What a backward will take up again is in full precision.
        let lanes = self.lanes(&shape, Precision::F32);
        self.attend(&lanes, AttentionRows::packed(shape, visible, packed), out, log_sum_exp);
    }

    /// See [`crate::Attention::attention_rows`].
    pub(in crate::cpu) fn attention_rows(
        &self,
        operands: AttentionRows<'_, [f32], [u32], Visibility>,
        out: &mut [f32],
    ) {
        let shape = operands.shape;
        let mut log_sum_exp = self.scratch(out.len() / shape.head_size.max(1));
        let lanes = self.lanes(&shape, self.precision);
        self.attend(&lanes, operands, out, log_sum_exp.as_mut_slice());
    }

    /// Attention of some rows; results are in the order of the queries.
    fn attend(
        &self,
        lanes: &Lanes,
        operands: AttentionRows<'_, [f32], [u32], Visibility>,
        out: &mut [f32],
        log_sum_exp: &mut [f32],
    ) {
        let AttentionRows { shape, visible: visibility, rows, queries: requested, keys_values } = operands;
        let all: Vec<u32>;
        let order = match rows {
            Rows::At(rows) => rows,
            Rows::All => {
                all = (0..visibility.len() as u32).collect();
                &all
            }
        };
        let size = shape.head_size;
        let (head_groups, packing) = (lanes.groups(size), lanes.packing);
        let (per_group, scale) = (shape.heads / shape.key_value_heads, 1.0 / (size as f32).sqrt());
        assert!(out.len() >= order.len() * shape.output_columns(), "output too short");
        assert!(log_sum_exp.len() >= order.len() * shape.heads, "sums too short");
        let (shared_out, shared_sums) = (Shared(out.as_mut_ptr()), Shared(log_sum_exp.as_mut_ptr()));
        // Few groups: the queries of each are shared out as well.
        let groups = Self::groups(&shape, visibility);
        let parts = (2 * self.pool.threads()).div_ceil(groups.len().max(1));
        let items: Vec<(&Group, Range<usize>)> = groups
            .iter()
            .flat_map(|group| {
                let place = |row: usize| order.partition_point(|&query| (query as usize) < row);
                let (begin, end) = (place(group.rows.start), place(group.rows.end));
                let each = (end - begin).div_ceil(parts).next_multiple_of(BLOCK / 2).max(1);
                (begin..end).step_by(each).map(move |start| (group, start..end.min(start + each)))
            })
            .collect();
        let work: usize =
            items.iter().map(|(group, queries)| queries.len() * group.rows.len() * size * per_group).sum();
        self.pool.each(work, items, |(group, queries)| {
            let rows = &group.rows;
            let (data, columns) = (keys_values.buffer, keys_values.stride);
            let key = keys_values.first + group.key_value_head * size;
            let value = key + shape.key_value_heads * size;
            let keys = lanes.across(self, lanes.matrix(data, columns, rows, key), columns, rows.len());
            let values = lanes.along(self, lanes.matrix(data, columns, rows, value), columns, rows.len());
            let mut scores = self.scratch(BLOCK * TILE);
            let mut sums = self.scratch(BLOCK * lanes.padded);
            let mut gathered = self.scratch(BLOCK * head_groups);
            let mut rounded = self.scratch(if packing == Packing::Full { 0 } else { BLOCK * TILE });
            for head in group.key_value_head * per_group..(group.key_value_head + 1) * per_group {
                for start in queries.clone().step_by(BLOCK) {
                    let block = start..queries.end.min(start + BLOCK);
                    let chosen = &order[block.clone()];
                    for (query, out) in block.clone().zip(gathered.as_mut_slice().chunks_exact_mut(head_groups)) {
                        let place = query * requested.stride + requested.first + head * size;
                        pack_row(self.path, packing, &requested.buffer[place..][..size], out);
                    }
                    let query = &gathered.as_slice()[..chosen.len() * head_groups];
                    let (mut greatest, mut total) = ([f32::NEG_INFINITY; BLOCK], [0.0_f32; BLOCK]);
                    let mut begun = false;
                    for tile_start in rows.clone().step_by(TILE) {
                        let tile = tile_start..rows.end.min(tile_start + TILE);
                        let visible: Vec<VisibleRanges> =
                            chosen.iter().map(|&row| ranges(visibility, row as usize, &tile)).collect();
                        if visible.iter().flatten().all(|range| range.0 == range.1) {
                            continue;
                        }
                        let offset = tile_start - rows.start;
                        let (scores, sums) = (scores.as_mut_slice(), sums.as_mut_slice());
                        let extent = (block.len(), tile.len(), head_groups);
                        let place = keys.at(offset * head_groups);
                        lanes.multiply(extent, (query, head_groups, 1), place, (scores, TILE, false));
                        for (i, &ranges) in visible.iter().enumerate() {
                            let row = &mut scores[i * TILE..][..tile.len()];
                            let (shift, sum) = soften(self.path, row, ranges, scale, greatest[i]);
                            if begun && shift > greatest[i] {
                                let factor = (greatest[i] - shift).exp();
                                rescale(self.path, &mut sums[i * lanes.padded..][..lanes.padded], factor);
                                total[i] *= factor;
                            }
                            (greatest[i], total[i]) = (shift, total[i] + sum);
                        }
                        let probabilities = if packing == Packing::Full {
                            &*scores
                        } else {
                            let rounded = rounded.as_mut_slice();
                            for (row, out) in scores.chunks(TILE).zip(rounded.chunks_mut(TILE)).take(block.len()) {
                                pack_row(self.path, packing, &row[..tile.len()], &mut out[..lanes.groups(tile.len())]);
                            }
                            &*rounded
                        };
                        let extent = (block.len(), size, lanes.groups(tile.len()));
                        let place = values.at(lanes.groups(offset) * lanes.kernel.columns());
                        lanes.multiply(extent, (probabilities, TILE, 1), place, (sums, lanes.padded, begun));
                        begun = true;
                    }
                    for (i, row) in block.enumerate() {
                        let sums = &mut sums.as_mut_slice()[i * lanes.padded..][..size];
                        rescale(self.path, sums, 1.0 / total[i]);
                        let place = row * shape.output_columns() + head * size;
                        // SAFETY: the row and the head belong to this task alone, and both outputs were checked to
                        // hold all rows.
                        unsafe {
                            std::slice::from_raw_parts_mut(shared_out.address().add(place), size).copy_from_slice(sums);
                            *shared_sums.address().add(row * shape.heads + head) = greatest[i] + total[i].ln();
                        }
                    }
                }
            }
        });
    }

    /// See [`crate::Attention::attention_backward`].
    pub(in crate::cpu) fn attention_backward(
        &self,
        operands: AttentionBackward<'_, [f32], Visibility>,
        d_packed: &mut [f32],
    ) {
        let AttentionBackward { forward, out, log_sum_exp, d_out } = operands;
        let AttentionOperands { shape, visible: visibility, packed } = forward;
        let lanes = self.lanes(&shape, Precision::F32);
        let (columns, size) = (shape.packed_columns(), shape.head_size);
        let (per_group, scale) = (shape.heads / shape.key_value_heads, 1.0 / (size as f32).sqrt());
        let out_columns = shape.output_columns();
        assert!(d_packed.len() >= visibility.len() * columns, "output too short");
        let shared = Shared(d_packed.as_mut_ptr());
        let store = |row: usize, column: usize, values: &[f32]| {
            let place = shared.address().wrapping_add(row * columns + column);
            // SAFETY: rows are below the checked length; a row's columns of a query head, or of a key/value head, are
            // written by the one task that has this sequence and this key/value head.
            unsafe { std::slice::from_raw_parts_mut(place, values.len()).copy_from_slice(values) }
        };
        let groups = Self::groups(&shape, visibility);
        let work: usize = groups.iter().map(|group| group.rows.len() * group.rows.len() * size * per_group).sum();
        self.pool.each(2 * work, groups, |group| {
            let rows = &group.rows;
            let key = (shape.heads + group.key_value_head) * size;
            let value = key + shape.key_value_heads * size;
            let (key_data, value_data) =
                (lanes.matrix(packed, columns, rows, key), lanes.matrix(packed, columns, rows, value));
            let keys = lanes.across(self, key_data, columns, rows.len());
            let values = lanes.across(self, value_data, columns, rows.len());
            let key_rows = lanes.along(self, key_data, columns, rows.len());
            let mut d_keys = self.scratch(rows.len() * lanes.padded);
            let mut d_values = self.scratch(rows.len() * lanes.padded);
            d_keys.as_mut_slice().fill(0.0);
            d_values.as_mut_slice().fill(0.0);
            let mut scores = self.scratch(BLOCK * TILE);
            let mut gradients = self.scratch(BLOCK * TILE);
            let mut d_query = self.scratch(BLOCK * lanes.padded);
            for head in group.key_value_head * per_group..(group.key_value_head + 1) * per_group {
                for start in rows.clone().step_by(BLOCK) {
                    let block = start..rows.end.min(start + BLOCK);
                    let query = lanes.matrix(packed, columns, &block, head * size);
                    let gradient = lanes.matrix(d_out, out_columns, &block, head * size);
                    let queries = lanes.along(self, query, columns, block.len());
                    let outs = lanes.along(self, gradient, out_columns, block.len());
                    let delta: Vec<f32> = block
                        .clone()
                        .map(|row| row * out_columns + head * size)
                        .map(|at| inner(self.path, &d_out[at..at + size], &out[at..at + size]))
                        .collect();
                    let mut begun = false;
                    for tile_start in rows.clone().step_by(TILE) {
                        let tile = tile_start..rows.end.min(tile_start + TILE);
                        let visible: Vec<VisibleRanges> =
                            block.clone().map(|row| ranges(visibility, row, &tile)).collect();
                        if visible.iter().flatten().all(|range| range.0 == range.1) {
                            continue;
                        }
                        let offset = tile_start - rows.start;
                        let (scores, gradients) = (scores.as_mut_slice(), gradients.as_mut_slice());
                        let extent = (block.len(), tile.len(), size);
                        lanes.multiply(extent, (query, columns, 1), keys.at(offset * size), (scores, TILE, false));
                        let left = (gradient, out_columns, 1);
                        lanes.multiply(extent, left, values.at(offset * size), (gradients, TILE, false));
                        for (i, &ranges) in visible.iter().enumerate() {
                            let log_sum = log_sum_exp[(start + i) * shape.heads + head];
                            let (score, gradient) =
                                (&mut scores[i * TILE..][..tile.len()], &mut gradients[i * TILE..][..tile.len()]);
                            harden(self.path, score, gradient, ranges, scale, log_sum, delta[i]);
                        }
                        let extent = (tile.len(), size, block.len());
                        let d_value = &mut d_values.as_mut_slice()[offset * lanes.padded..];
                        lanes.multiply(extent, (scores, 1, TILE), outs.at(0), (d_value, lanes.padded, true));
                        let d_key = &mut d_keys.as_mut_slice()[offset * lanes.padded..];
                        lanes.multiply(extent, (gradients, 1, TILE), queries.at(0), (d_key, lanes.padded, true));
                        let extent = (block.len(), size, tile.len());
                        let place = key_rows.at(offset * lanes.kernel.columns());
                        let d_query = (d_query.as_mut_slice(), lanes.padded, begun);
                        lanes.multiply(extent, (gradients, TILE, 1), place, d_query);
                        begun = true;
                    }
                    for (i, row) in block.enumerate() {
                        store(row, head * size, &d_query.as_slice()[i * lanes.padded..][..size]);
                    }
                }
            }
            for (i, row) in rows.clone().enumerate() {
                store(row, key, &d_keys.as_slice()[i * lanes.padded..][..size]);
                store(row, value, &d_values.as_slice()[i * lanes.padded..][..size]);
            }
        });
    }
}

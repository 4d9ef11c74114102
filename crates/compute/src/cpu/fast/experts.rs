//! Products of rows sorted by expert, each group with its own matrix, and the way back to the rows.
//!
//! All groups are cut into tasks together, so that many experts with a few rows each keep all threads busy, and each
//! expert's matrix passes once.

use super::Fast;
use super::elementwise::gate;
use super::kernel::Output;
use super::prepared::{FUSED, Prepared};
use super::product::Shared;
use crate::{Activation, Combine, GroupedOperands, RowGroup};

/// Rows in a task.
const TALL: usize = 48;

/// Rows and columns of one group's product.
struct Task {
    group: usize,
    rows: (usize, usize),
    columns: (usize, usize),
}

/// Cuts the products of all groups into tasks: some rows of a group, and panels of columns where there are few rows.
fn cut<W>(groups: &[RowGroup<W>], outputs: usize, panel_width: usize, threads: usize) -> Vec<Task> {
    let strips: usize = groups.iter().map(|group| group.rows.len().div_ceil(TALL)).sum();
    // Tasks beyond one for each thread even out what threads are slow.
    let wanted = if threads == 1 { 1 } else { 4 * threads };
    let panels = outputs.div_ceil(panel_width).max(1);
    let wide = panels.div_ceil(wanted.div_ceil(strips.max(1)).min(panels)) * panel_width;
    let mut tasks = Vec::new();
    for (group, rows) in groups.iter().map(|group| group.rows.clone()).enumerate() {
        for row in rows.clone().step_by(TALL) {
            for column in (0..outputs).step_by(wide) {
                let (rows, columns) = ((row, rows.end.min(row + TALL)), (column, outputs.min(column + wide)));
                tasks.push(Task { group, rows, columns });
            }
        }
    }
    tasks
}

impl Fast {
    /// Hands each row, which is so much work, to one thread.
    pub(in crate::cpu) fn route_rows<T: Send>(&self, work: usize, rows: Vec<T>, task: impl Fn(T) + Sync) {
        self.pool.each(work * rows.len(), rows, task);
    }

    /// See [`crate::Experts::grouped_linear`]; all matrices are packed alike.
    pub(in crate::cpu) fn grouped_linear(&self, operands: GroupedOperands<'_, [f32], &Prepared>, out: &mut [f32]) {
        let GroupedOperands { shape, x, groups } = operands;
        let Some(first) = groups.first() else { return };
        assert!(out.len() >= shape.rows * shape.outputs, "the output of a product is too short");
        let left = self.left(shape.rows, x, first.weight);
        let tasks = cut(groups, shape.outputs, first.weight.panel_width(), self.pool.threads());
        let shared = Shared(out.as_mut_ptr());
        let scratch = || self.strip(&left, first.weight, TALL);
        let work = shape.rows * shape.outputs * shape.inputs / 8;
        self.pool.run(tasks.len(), work, scratch, |strip, task| {
            let Task { group, rows, columns } = tasks[task];
            let weight = groups[group].weight;
            self.pack_left(&left, weight, rows, strip.as_mut_slice());
            let start = shared.address().wrapping_add(rows.0 * shape.outputs + columns.0);
            let output = Output { start, row_stride: shape.outputs, accumulate: false };
            // SAFETY: no other task has these rows and columns of `out`, which is borrowed for as long as tasks run.
            unsafe { weight.block(&left, (rows, columns), strip.as_mut_slice(), output) };
        });
    }

    /// See [`crate::Experts::grouped_glu`]; all matrices are packed alike.
    pub(in crate::cpu) fn grouped_glu(
        &self,
        activation: Activation,
        operands: GroupedOperands<'_, [f32], (&Prepared, &Prepared)>,
        out: &mut [f32],
    ) {
        let GroupedOperands { shape, x, groups } = operands;
        let Some((first, _)) = groups.first().map(|group| group.weight) else { return };
        assert!(out.len() >= shape.rows * shape.outputs, "the output of a product is too short");
        let left = self.left(shape.rows, x, first);
        let tasks = cut(groups, shape.outputs, first.panel_width(), self.pool.threads());
        let shared = Shared(out.as_mut_ptr());
        let scratch = || (self.strip(&left, first, TALL), self.scratch(2 * TALL * FUSED));
        let work = shape.rows * shape.outputs * shape.inputs / 4;
        self.pool.run(tasks.len(), work, scratch, |(strip, tiles), task| {
            let Task { group, rows, columns } = tasks[task];
            let (gates, ups) = groups[group].weight;
            // One strip serves both: they have one shape and one format.
            self.pack_left(&left, gates, rows, strip.as_mut_slice());
            let (gate_tile, up_tile) = tiles.as_mut_slice().split_at_mut(TALL * FUSED);
            for start in (columns.0..columns.1).step_by(FUSED) {
                let part = (rows, (start, columns.1.min(start + FUSED)));
                let filled = part.1.1 - start;
                for (weight, tile) in [(gates, &mut *gate_tile), (ups, &mut *up_tile)] {
                    let output = Output { start: tile.as_mut_ptr(), row_stride: FUSED, accumulate: false };
                    // SAFETY: the tile is this task's own and holds its rows of `FUSED` columns.
                    unsafe { weight.block(&left, part, strip.as_mut_slice(), output) };
                }
                for i in 0..rows.1 - rows.0 {
                    let place = (rows.0 + i) * shape.outputs + start;
                    // SAFETY: no other task has these rows and columns of `out`, borrowed while the tasks run.
                    let out = unsafe { std::slice::from_raw_parts_mut(shared.address().add(place), filled) };
                    let halves = (&gate_tile[i * FUSED..][..filled], &up_tile[i * FUSED..][..filled]);
                    gate(self.path, activation, halves, out);
                }
            }
        });
    }

    /// See [`crate::Experts::combine`].
    pub(in crate::cpu) fn combine(&self, operands: Combine<'_, [f32], [u32]>, out: &mut [f32]) {
        let Combine { columns, per_token, places, weights, sorted } = operands;
        let at_a_time = Self::rows_of_task(columns * per_token);
        let rows = places.chunks(at_a_time * per_token).zip(weights.chunks(at_a_time * per_token));
        let items = rows.zip(out.chunks_mut(at_a_time * columns)).collect();
        self.pool.each(places.len() * columns, items, |((places, weights), out): ((&[u32], &[f32]), &mut [f32])| {
            let rows = places.chunks_exact(per_token).zip(weights.chunks_exact(per_token));
            for ((places, weights), out) in rows.zip(out.chunks_exact_mut(columns)) {
                out.fill(0.0);
                for (&place, &weight) in places.iter().zip(weights) {
                    let row = &sorted[place as usize * columns..][..columns];
                    for (out, &value) in out.iter_mut().zip(row) {
                        *out += weight * value;
                    }
                }
            }
        });
    }
}

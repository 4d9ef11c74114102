//! Choosing rows, and the gradient of the choice.

use super::Fast;

/// Parts into which the table of a scatter is cut; more than threads, as ids are not spread evenly.
const PARTS: usize = 64;

impl Fast {
    /// How many rows one task takes so that it has about 16 Ki elements; a function of the shape alone.
    pub(super) fn rows_of_task(columns: usize) -> usize {
        (16_384 / columns.max(1)).max(1)
    }

    /// See [`crate::Elementwise::gather`].
    pub(in crate::cpu) fn gather(&self, columns: usize, table: &[f32], ids: &[u32], out: &mut [f32]) {
        if columns == 0 {
            return;
        }
        let rows = Self::rows_of_task(columns);
        let items = ids.chunks(rows).zip(out.chunks_mut(rows * columns)).collect();
        self.pool.each(ids.len() * columns, items, |(ids, out)| {
            for (&id, out) in ids.iter().zip(out.chunks_exact_mut(columns)) {
                out.copy_from_slice(&table[id as usize * columns..][..columns]);
            }
        });
    }

    /// See [`crate::Elementwise::scatter_add`]; each task has some rows of the table and looks through all ids.
    pub(in crate::cpu) fn scatter_add(&self, columns: usize, d_out: &[f32], ids: &[u32], d_table: &mut [f32]) {
        if columns == 0 || d_table.is_empty() {
            return;
        }
        let rows = (d_table.len() / columns).div_ceil(PARTS);
        let items = d_table.chunks_mut(rows * columns).enumerate().collect();
        self.pool.each(ids.len() * columns, items, |(part, d_table)| {
            let (first, end) = (part * rows, part * rows + d_table.len() / columns);
            for (&id, d_out) in ids.iter().zip(d_out.chunks_exact(columns)) {
                let id = id as usize;
                if first <= id && id < end {
                    let row = &mut d_table[(id - first) * columns..][..columns];
                    for (sum, &d) in row.iter_mut().zip(d_out) {
                        *sum += d;
                    }
                }
            }
        });
    }
}

//! Sums over rows: parts of the rows first, then the parts, in an order that never changes.

use super::arguments::{In, Out};
use super::buffer::Either;
use super::kernels::{AddPartial, SumRows};
use super::{Cuda, THREADS, WARP, int};

/// Parts into which a sum over rows is cut: enough for every multiprocessor to have some.
pub(super) const PARTS: usize = 512;

impl Cuda {
    /// `out[c] += Σ_rows x[r, c]`.
    pub(super) fn add_rows(&self, rows: usize, columns: usize, x: Either, out: Out<f32>) {
        self.add_parts(rows, columns, out, |partial, blocks| {
            let kernel = SumRows { rows: int(rows), columns: int(columns), x: x.wide, x_image: x.image, partial };
            self.launch(0, kernel, blocks, THREADS, 0);
        });
    }

    /// Sums of parts of the rows by `sum`, which receives their place and its blocks, added to `out`.
    pub(super) fn add_parts(&self, rows: usize, columns: usize, out: Out<f32>, sum: impl Fn(Out<f32>, (u32, u32))) {
        let parts = rows.min(PARTS);
        let partial = self.scratch::<f32>(parts * columns);
        let across = columns.div_ceil(THREADS as usize) as u32;
        sum(partial.output(), (across, parts as u32));
        self.add_partial(parts, (columns, columns), partial.input(), out);
    }

    /// Parts of sums, `columns` each and so many apart, added to `out`.
    pub(super) fn add_partial(&self, parts: usize, (columns, stride): (usize, usize), partial: In<f32>, out: Out<f32>) {
        let kernel = AddPartial { parts: int(parts), columns: int(columns), stride: int(stride), partial, out };
        self.launch(0, kernel, (columns.div_ceil(WARP) as u32, 1), THREADS, 0);
    }
}

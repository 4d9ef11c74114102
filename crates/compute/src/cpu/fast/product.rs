//! The product of two matrices of any shape: blocks for the caches, panels for the kernels, tasks for the threads.
//!
//! The right factor is packed into panels, the left one is read where it lies or packed strip by strip. The sum is cut
//! into blocks of [`BLOCK`] groups whose partial products are added in order, so that how tasks are cut and who runs
//! them does not change a single bit.

use super::Fast;
use super::kernel::{Kernel, Left, Output, Right};
use super::pack::{Form, Matrix, pack_panel, pack_strip};
use crate::cpu::Buffer;

/// Groups of the sum in one block: a panel of 64 columns of it takes 128 KiB, an eighth of the second cache.
const BLOCK: usize = 512;
/// Rows of the output in a task, a multiple of the kernel's six.
const TALL: usize = 96;
/// The same where there are few rows.
const SHORT: usize = 48;
/// Elements of the right factor packed at a time when it passes only once: 8 MiB, a part of the third cache.
const PACKED_AT_A_TIME: usize = 2 << 20;

/// A right factor, packed.
pub(super) struct Packed {
    panels: Buffer<f32>,
    /// Elements of the sum it is for.
    range: (usize, usize),
    columns: usize,
}

/// An address that several threads write behind, each its own part.
#[derive(Clone, Copy)]
pub(super) struct Shared(pub(super) *mut f32);
// SAFETY: every use states why the parts written by different threads are apart.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// The address, taken through the whole value so that closures capture what is `Sync`.
    pub(super) fn address(self) -> *mut f32 {
        self.0
    }
}

impl Fast {
    /// `out[m, n] = a[m, k] b[k, n] (+ out)`.
    pub(super) fn product(
        &self,
        (m, n, k): (usize, usize, usize),
        a: Matrix<'_>,
        b: Matrix<'_>,
        accumulate: bool,
        out: &mut [f32],
    ) {
        let out = &mut out[..m * n];
        if k == 0 && !accumulate {
            out.fill(0.0);
        }
        if m == 0 || n == 0 {
            return;
        }
        let block = BLOCK * self.kernel.group();
        let step = (PACKED_AT_A_TIME / n * self.kernel.group() / block).max(1) * block;
        for start in (0..k).step_by(step) {
            let packed = self.pack(b, (start, k.min(start + step)), n);
            self.multiply(m, a, &packed, accumulate || start > 0, out);
        }
    }

    /// Packs the rows `range` of a right factor with `columns` columns.
    pub(super) fn pack(&self, matrix: Matrix<'_>, range: (usize, usize), columns: usize) -> Packed {
        let (width, group) = (self.kernel.columns(), self.kernel.group());
        let (panel_count, groups) = (columns.div_ceil(width), (range.1 - range.0).div_ceil(group));
        let mut panels = self.scratch(panel_count * width * groups);
        let mut items = Vec::new();
        let mut rest = panels.as_mut_slice();
        for start in (range.0..range.1).step_by(BLOCK * group) {
            let end = range.1.min(start + BLOCK * group);
            for panel in 0..panel_count {
                let (out, behind) = rest.split_at_mut((end - start).div_ceil(group) * width);
                rest = behind;
                items.push((start, end, panel * width, out));
            }
        }
        self.pool.each((range.1 - range.0) * columns, items, |(start, end, column, out)| {
            pack_panel(self.path, self.form, matrix, (start, end), (column, columns), width, out);
        });
        Packed { panels, range, columns }
    }

    /// `out = a[:, range] b[range, :] (+ out)` for a packed `b`.
    pub(super) fn multiply(&self, m: usize, a: Matrix<'_>, b: &Packed, accumulate: bool, out: &mut [f32]) {
        let (n, width, group) = (b.columns, self.kernel.columns(), self.kernel.group());
        assert!(out.len() >= m * n, "the output of a product is too short");
        let panels = n.div_ceil(width);
        let wanted = 4 * self.pool.threads();
        let tall = if m.div_ceil(TALL) >= 2 * wanted { TALL } else { SHORT };
        let row_tasks = m.div_ceil(tall);
        let column_tasks = wanted.div_ceil(row_tasks).min(panels);
        let panels_each = panels.div_ceil(column_tasks);
        let pack_left = self.form != Form::Full || a.transposed;
        let shared = Shared(out.as_mut_ptr());
        let work = m * n * (b.range.1 - b.range.0);
        let scratch = || pack_left.then(|| self.scratch(tall * BLOCK));
        self.pool.run(row_tasks * column_tasks, work / 8, scratch, |scratch, task| {
            let (rows, first) = (task / column_tasks * tall, task % column_tasks * panels_each);
            let (rows, columns) = ((rows, m.min(rows + tall)), (first * width, n.min((first + panels_each) * width)));
            if columns.0 >= columns.1 {
                return;
            }
            let mut block_start = 0;
            for start in (b.range.0..b.range.1).step_by(BLOCK * group) {
                let range = (start, b.range.1.min(start + BLOCK * group));
                let groups = (range.1 - range.0).div_ceil(group);
                let left = match scratch {
                    Some(scratch) => {
                        let scratch = scratch.as_mut_slice();
                        let (row_stride, group_stride) = pack_strip(self.path, self.form, a, rows, range, scratch);
                        Left { start: scratch.as_ptr(), row_stride, group_stride }
                    }
                    None => {
                        let part = &a.data[rows.0 * a.stride + range.0..(rows.1 - 1) * a.stride + range.1];
                        Left { start: part.as_ptr(), row_stride: a.stride, group_stride: 1 }
                    }
                };
                let packed = &b.panels.as_slice()[block_start + first * width * groups..];
                let right = Right { start: packed.as_ptr(), panel_stride: width * groups };
                let start = shared.address().wrapping_add(rows.0 * n + columns.0);
                let accumulate = accumulate || range.0 > b.range.0;
                let output = Output { start, row_stride: n, accumulate };
                // SAFETY: the path's features were found; the left factor was sliced or packed to `rows × groups`,
                // the panels hold `groups` each, and no other task has these rows and columns of `out`, which is
                // borrowed for as long as the tasks run.
                unsafe {
                    self.kernel.multiply((rows.1 - rows.0, columns.1 - columns.0, groups), left, right, output);
                }
                block_start += panels * width * groups;
            }
        });
    }
}

/// The kernel and the form of its factors for a path and a precision.
pub(super) fn choose(path: crate::CpuPath, precision: crate::Precision) -> (Kernel, Form) {
    use crate::{CpuPath, Precision};
    #[cfg(target_arch = "x86_64")]
    let paired = std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    let paired = false;
    match (path, precision) {
        (CpuPath::Avx512, Precision::Bf16) if paired => (Kernel::WideBf16, Form::Paired),
        (CpuPath::Avx512, Precision::Bf16) => (Kernel::WideF32, Form::Rounded),
        (CpuPath::Avx512, Precision::F32) => (Kernel::WideF32, Form::Full),
        (_, Precision::Bf16) => (Kernel::NarrowF32, Form::Rounded),
        (_, Precision::F32) => (Kernel::NarrowF32, Form::Full),
    }
}

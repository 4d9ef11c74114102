//! The product of two matrices of any shape: blocks for the caches, panels for the kernels, tasks for the threads.
//!
//! The right factor is packed into panels, the left one is read where it lies or packed strip by strip. The sum is cut
//! into blocks of [`BLOCK`] groups whose partial products are added in order, so that how tasks are cut and who runs
//! them does not change a single bit.

use super::Fast;
use super::kernel::{Kernel, Left, Output, Right};
use super::pack::{Matrix, Packing, pack_panel, pack_strip};
use crate::DeviceError;
use crate::cpu::Buffer;

/// Groups of the sum in one block: a panel of 64 columns of it takes 128 KiB, an eighth of the second cache.
const BLOCK: usize = 512;
/// Rows of the output in a task, a multiple of the kernel's six.
const TALL: usize = 96;
/// The same where there are few rows.
const SHORT: usize = 48;
/// Elements of the right factor packed at a time when it passes only once: 8 MiB, a part of the third cache.
const PACKED_AT_A_TIME: usize = 2 << 20;

/// A right factor, packed for a kernel.
#[derive(Debug)]
pub(in crate::cpu) struct Packed {
    panels: Buffer<f32>,
    kernel: Kernel,
    packing: Packing,
    /// Elements of the sum it is for.
    range: (usize, usize),
    columns: usize,
}

impl Packed {
    /// Columns of the product.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }
    /// Elements of the sum it is for.
    pub(super) fn range(&self) -> (usize, usize) {
        self.range
    }
    /// Columns of a panel.
    pub(super) fn panel_width(&self) -> usize {
        self.kernel.columns()
    }
    /// The kernel and the form it is packed for.
    pub(super) fn chosen(&self) -> (Kernel, Packing) {
        (self.kernel, self.packing)
    }
    /// The columns of one panel back as rows of the whole sum, as they are multiplied; `out` ends with the last column.
    pub(super) fn unpack_panel(&self, panel: usize, out: &mut [f32]) {
        let (width, panels) = (self.kernel.columns(), self.columns.div_ceil(self.kernel.columns()));
        let (length, mut block_start) = (self.range.1 - self.range.0, 0);
        for ((start, end), groups) in self.blocks() {
            let packed = &self.panels.as_slice()[block_start + panel * width * groups..][..width * groups];
            for (j, row) in out.chunks_exact_mut(length).enumerate() {
                let row = &mut row[start - self.range.0..end - self.range.0];
                for (elements, line) in row.chunks_mut(self.packing.group()).zip(packed.chunks_exact(width)) {
                    self.packing.unpack(line[j], elements);
                }
            }
            block_start += panels * width * groups;
        }
    }
    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.panels.as_slice())
    }
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
            let packed = self.pack_scratch(b, (start, k.min(start + step)), n);
            self.multiply(m, a, &packed, accumulate || start > 0, out);
        }
    }

    /// Packs a right factor for the time of one operation.
    pub(super) fn pack_scratch(&self, matrix: Matrix<'_>, range: (usize, usize), columns: usize) -> Packed {
        match self.pack((self.kernel, self.packing), matrix, range, columns) {
            Ok(packed) => packed,
            // As for all scratch.
            Err(error) => panic!("{error}"),
        }
    }

    /// Packs the rows `range` of a right factor with `columns` columns.
    pub(super) fn pack(
        &self,
        (kernel, packing): (Kernel, Packing),
        matrix: Matrix<'_>,
        range: (usize, usize),
        columns: usize,
    ) -> Result<Packed, DeviceError> {
        let (width, group) = (kernel.columns(), kernel.group());
        let (panel_count, groups) = (columns.div_ceil(width), (range.1 - range.0).div_ceil(group));
        let mut panels = self.arena.take(panel_count * width * groups)?;
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
            pack_panel(self.path, packing, matrix, (start, end), (column, columns), width, out);
        });
        Ok(Packed { panels, kernel, packing, range, columns })
    }

    /// `out = a[:, range] b[range, :] (+ out)` for a packed `b`.
    pub(super) fn multiply(&self, m: usize, a: Matrix<'_>, b: &Packed, accumulate: bool, out: &mut [f32]) {
        let n = b.columns;
        assert!(out.len() >= m * n, "the output of a product is too short");
        let shared = Shared(out.as_mut_ptr());
        let work = m * n * (b.range.1 - b.range.0);
        let cut = Cut::new(m, n, b.panel_width(), self.pool.threads());
        let scratch = || self.scratch(b.strip_len(a, cut.tall));
        self.pool.run(cut.tasks(), work / 8, scratch, |strip, task| {
            let (rows, columns) = cut.part(task);
            b.pack_left(self, a, rows, strip.as_mut_slice());
            let start = shared.address().wrapping_add(rows.0 * n + columns.0);
            // SAFETY: no other task has these rows and columns of `out`, which is borrowed for as long as the tasks
            // run.
            unsafe { b.block(a, rows, columns, strip.as_slice(), Output { start, row_stride: n, accumulate }) };
        });
    }
}

/// How the output of a product is cut into tasks: tall blocks of rows, and panels of columns where rows are few.
pub(super) struct Cut {
    m: usize,
    n: usize,
    /// Rows in a task.
    pub(super) tall: usize,
    column_tasks: usize,
    /// Columns in a task.
    wide: usize,
}

impl Cut {
    pub(super) fn new(m: usize, n: usize, panel_width: usize, threads: usize) -> Self {
        // Tasks beyond one for each thread even out what threads are slow.
        let wanted = if threads == 1 { 1 } else { 4 * threads };
        let tall = if m.div_ceil(TALL) >= 2 * wanted || threads == 1 { TALL } else { SHORT };
        let panels = n.div_ceil(panel_width).max(1);
        let column_tasks = wanted.div_ceil(m.div_ceil(tall).max(1)).min(panels);
        let wide = panels.div_ceil(column_tasks) * panel_width;
        Self { m, n, tall, column_tasks: n.div_ceil(wide), wide }
    }

    /// How many tasks there are.
    pub(super) fn tasks(&self) -> usize {
        self.m.div_ceil(self.tall) * self.column_tasks
    }

    /// The rows and the columns of a task; the columns begin a panel.
    pub(super) fn part(&self, task: usize) -> ((usize, usize), (usize, usize)) {
        let (row, column) = (task / self.column_tasks * self.tall, task % self.column_tasks * self.wide);
        ((row, self.m.min(row + self.tall)), (column, self.n.min(column + self.wide)))
    }
}

impl Packed {
    /// Whether a left factor has to be packed, strip by strip.
    fn packs(&self, a: Matrix<'_>) -> bool {
        self.packing != Packing::Full || a.transposed
    }

    /// Whether the groups of a packed row lie side by side, and not the rows of a group.
    fn packs_by_rows(&self, a: Matrix<'_>) -> bool {
        !a.transposed || self.kernel.reads_rows()
    }

    /// The blocks of the sum, each with its groups.
    fn blocks(&self) -> impl Iterator<Item = ((usize, usize), usize)> + use<> {
        let (range, group) = (self.range, self.kernel.group());
        (range.0..range.1).step_by(BLOCK * group).map(move |start| {
            let end = range.1.min(start + BLOCK * group);
            ((start, end), (end - start).div_ceil(group))
        })
    }

    /// What a strip of so many rows of a left factor takes when it is packed; nothing where it is read as it lies.
    pub(super) fn strip_len(&self, a: Matrix<'_>, rows: usize) -> usize {
        if self.packs(a) { rows * self.blocks().map(|(_, groups)| groups).sum::<usize>() } else { 0 }
    }

    /// Packs rows of a left factor, block after block of the sum, where that has to be.
    pub(super) fn pack_left(&self, fast: &Fast, a: Matrix<'_>, rows: (usize, usize), strip: &mut [f32]) {
        if self.packs(a) {
            let mut place = 0;
            for (range, groups) in self.blocks() {
                let strip = &mut strip[place..];
                pack_strip(fast.path, self.packing, a, rows, range, self.packs_by_rows(a), strip);
                place += (rows.1 - rows.0) * groups;
            }
        }
    }

    /// Writes (or adds) rows of the product, for columns that begin a panel, at `output`. `strip` is what
    /// [`Packed::pack_left`] made of these rows.
    ///
    /// # Safety
    /// `output` is writable at all these rows and columns, and no other thread writes there.
    pub(super) unsafe fn block(
        &self,
        a: Matrix<'_>,
        rows: (usize, usize),
        columns: (usize, usize),
        strip: &[f32],
        output: Output,
    ) {
        let (width, count) = (self.kernel.columns(), rows.1 - rows.0);
        let panels = self.columns.div_ceil(width);
        let (mut block_start, mut place) = (0, 0);
        for (range, groups) in self.blocks() {
            let left = if self.packs(a) {
                let strip = &strip[place..place + count * groups];
                place += count * groups;
                let (row_stride, group_stride) = if self.packs_by_rows(a) { (groups, 1) } else { (1, count) };
                Left { start: strip.as_ptr(), row_stride, group_stride }
            } else {
                let part = &a.data[rows.0 * a.stride + range.0..(rows.1 - 1) * a.stride + range.1];
                Left { start: part.as_ptr(), row_stride: a.stride, group_stride: 1 }
            };
            let packed = &self.panels.as_slice()[block_start + columns.0 * groups..];
            let right = Right { start: packed.as_ptr(), panel_stride: width * groups };
            let output = Output { accumulate: output.accumulate || range.0 > self.range.0, ..output };
            // SAFETY: the kernel's features were found when it was chosen; the left factor was sliced or packed to
            // `rows × groups`, the panels hold `groups` each, and the caller vouches for the output.
            unsafe { self.kernel.multiply((count, columns.1 - columns.0, groups), left, right, output) };
            block_start += panels * width * groups;
        }
    }
}

/// The kernel and the form of its factors for a path and a precision.
pub(super) fn choose(path: crate::CpuPath, precision: crate::Precision) -> (Kernel, Packing) {
    use crate::{CpuPath, Precision};
    match (path, precision) {
        (CpuPath::Amx, Precision::Bf16) => (Kernel::TiledBf16, Packing::Paired),
        (CpuPath::Avx512, Precision::Bf16) if path.multiplies_bf16() => (Kernel::WideBf16, Packing::Paired),
        (CpuPath::Avx512, Precision::Bf16) => (Kernel::WideF32, Packing::Rounded),
        (CpuPath::Avx512 | CpuPath::Amx, Precision::F32) => (Kernel::WideF32, Packing::Full),
        (_, Precision::Bf16) => (Kernel::NarrowF32, Packing::Rounded),
        (_, Precision::F32) => (Kernel::NarrowF32, Packing::Full),
    }
}

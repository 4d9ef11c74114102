//! The innermost loops of every product: a tile of the output held in registers while one column of the left factor
//! and one row of the right factor pass by.
//!
//! A *group* is what is multiplied in one step of the sum: one f32, or two consecutive bf16 packed into 32 bits, the
//! first in the low half. The right factor lies in panels of [`Kernel::columns`] columns, group after group. Tiles of
//! 6 × 64 (24 accumulators of 512 bits) and 6 × 16 (12 of 256 bits) leave just enough registers for the factors
//! (Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", 2008).

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m512, __m512bh, _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

#[cfg(target_arch = "x86_64")]
use super::tiles;

/// Rows of the output tile.
pub(super) const ROWS: usize = 6;
/// The widest panel of any kernel.
pub(super) const WIDEST: usize = 64;

/// An innermost loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    /// 256-bit f32.
    NarrowF32,
    /// 512-bit f32.
    WideF32,
    /// 512-bit bf16 with f32 sums.
    WideBf16,
    /// Tiles of bf16 with f32 sums ([`super::tiles`]).
    TiledBf16,
}

/// The left factor, in groups: element `(row, group)` is at `start + row · row_stride + group · group_stride`.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub(super) start: *const f32,
    pub(super) row_stride: usize,
    pub(super) group_stride: usize,
}

/// The right factor: the panel of columns `p · columns()..` begins at `start + p · panel_stride`.
#[derive(Clone, Copy)]
pub(super) struct Right {
    pub(super) start: *const f32,
    pub(super) panel_stride: usize,
}

/// The output: element `(row, column)` is at `start + row · row_stride + column`.
#[derive(Clone, Copy)]
pub(super) struct Output {
    pub(super) start: *mut f32,
    pub(super) row_stride: usize,
    /// Whether the product is added to what is there.
    pub(super) accumulate: bool,
}

impl Output {
    /// Writes (or adds) the first rows and columns of a tile of rows of `width`.
    ///
    /// # Safety
    /// The output is writable there, and no other thread writes there.
    pub(super) unsafe fn write(self, tile: &[f32], width: usize, (height, filled): (usize, usize)) {
        for (i, row) in tile.chunks_exact(width).take(height).enumerate() {
            // SAFETY: the caller vouches for these rows and columns.
            let out = unsafe { std::slice::from_raw_parts_mut(self.start.add(i * self.row_stride), filled) };
            for (out, &value) in out.iter_mut().zip(row) {
                *out = if self.accumulate { *out + value } else { value };
            }
        }
    }
}

impl Kernel {
    /// Columns of a panel.
    pub(super) fn columns(self) -> usize {
        match self {
            Self::NarrowF32 => 16,
            Self::WideF32 | Self::WideBf16 | Self::TiledBf16 => WIDEST,
        }
    }

    /// Elements that make a group.
    pub(super) fn group(self) -> usize {
        match self {
            Self::NarrowF32 | Self::WideF32 => 1,
            Self::WideBf16 | Self::TiledBf16 => 2,
        }
    }

    /// Whether the groups of a row of the left factor have to lie side by side.
    pub(super) fn reads_rows(self) -> bool {
        self == Self::TiledBf16
    }

    /// Multiplies `rows × groups` by `groups × columns`.
    ///
    /// # Safety
    /// The processor has the kernel's instructions; `left` is readable at all `rows × groups`, `right` for all panels
    /// that hold a column (whole, padded), `output` writable at `rows × columns`, and no other thread writes there.
    pub(super) unsafe fn multiply(
        self,
        (rows, columns, groups): (usize, usize, usize),
        left: Left,
        right: Right,
        output: Output,
    ) {
        // SAFETY: as the caller vouches for.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Self::TiledBf16 => tiles::multiply((rows, columns, groups), left, (right, self.columns()), output),
                _ => self.multiply_strips((rows, columns, groups), left, right, output),
            }
        }
    }

    /// The same by strips of up to [`ROWS`] rows, each a tile in vector registers.
    ///
    /// # Safety
    /// As for [`Kernel::multiply`].
    unsafe fn multiply_strips(
        self,
        (rows, columns, groups): (usize, usize, usize),
        left: Left,
        right: Right,
        output: Output,
    ) {
        let width = self.columns();
        for panel in 0..columns.div_ceil(width) {
            let filled = width.min(columns - panel * width);
            let mut row = 0;
            // Strips of nearly equal height: a last strip of one row would run at a sixth of the speed.
            let strips = rows.div_ceil(ROWS);
            for strip in 0..strips {
                let height = (rows - row).div_ceil(strips - strip);
                // SAFETY: the addresses are inside what the caller vouches for; a panel that is not filled goes
                // through a tile of our own.
                unsafe {
                    let a = Left { start: left.start.add(row * left.row_stride), ..left };
                    let b = right.start.add(panel * right.panel_stride);
                    let c = Output { start: output.start.add(row * output.row_stride + panel * width), ..output };
                    if filled == width {
                        self.tile(height, groups, a, b, c);
                    } else {
                        self.partial_tile((height, filled), groups, a, b, c);
                    }
                }
                row += height;
            }
        }
    }

    /// A tile of which only the first columns exist.
    ///
    /// # Safety
    /// As for [`Kernel::multiply`].
    unsafe fn partial_tile(
        self,
        (height, filled): (usize, usize),
        groups: usize,
        a: Left,
        b: *const f32,
        output: Output,
    ) {
        let mut tile = [0.0_f32; ROWS * WIDEST];
        let c = Output { start: tile.as_mut_ptr(), row_stride: WIDEST, accumulate: false };
        // SAFETY: the tile holds ROWS rows of the widest panel.
        unsafe { self.tile(height, groups, a, b, c) };
        // SAFETY: `height` rows of `filled` columns of the output are the caller's to write.
        unsafe { output.write(&tile, WIDEST, (height, filled)) };
    }

    /// One whole tile of up to [`ROWS`] rows.
    ///
    /// # Safety
    /// As for [`Kernel::multiply`].
    #[cfg(target_arch = "x86_64")]
    unsafe fn tile(self, height: usize, groups: usize, a: Left, b: *const f32, c: Output) {
        macro_rules! by_height {
            ($kernel:ident) => {
                match height {
                    1 => $kernel::<1>(groups, a, b, c),
                    2 => $kernel::<2>(groups, a, b, c),
                    3 => $kernel::<3>(groups, a, b, c),
                    4 => $kernel::<4>(groups, a, b, c),
                    5 => $kernel::<5>(groups, a, b, c),
                    _ => $kernel::<ROWS>(groups, a, b, c),
                }
            };
        }
        // SAFETY: the caller vouches for instructions and addresses.
        unsafe {
            match self {
                Self::NarrowF32 => by_height!(narrow_f32),
                Self::WideF32 => by_height!(wide_f32),
                Self::WideBf16 => by_height!(wide_bf16),
                Self::TiledBf16 => unreachable!("it multiplies no strips"),
            }
        }
    }

    /// Never reached: without vector instructions no kernel is ever chosen.
    #[cfg(not(target_arch = "x86_64"))]
    unsafe fn tile(self, _: usize, _: usize, _: Left, _: *const f32, _: Output) {
        unreachable!("no kernel for this processor is ever chosen")
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn fused(a: __m512, b: __m512, sum: __m512) -> __m512 {
    _mm512_fmadd_ps(a, b, sum)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn paired(a: __m512, b: __m512, sum: __m512) -> __m512 {
    // SAFETY: both types are 512 bits without invalid values.
    unsafe {
        _mm512_dpbf16_ps(sum, std::mem::transmute::<__m512, __m512bh>(a), std::mem::transmute::<__m512, __m512bh>(b))
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! wide {
    ($name:ident, $features:literal, $multiply_add:ident) => {
        /// # Safety
        /// As for [`Kernel::multiply`], with `N` rows and 64 columns.
        #[target_feature(enable = $features)]
        unsafe fn $name<const N: usize>(groups: usize, a: Left, b: *const f32, c: Output) {
            // SAFETY: the caller vouches for all addresses.
            unsafe {
                let mut sums = [[_mm512_setzero_ps(); 4]; N];
                if c.accumulate {
                    for (i, row) in sums.iter_mut().enumerate() {
                        for (j, sum) in row.iter_mut().enumerate() {
                            *sum = _mm512_loadu_ps(c.start.add(i * c.row_stride + 16 * j));
                        }
                    }
                }
                let (mut a_group, mut b_group) = (a.start, b);
                for _ in 0..groups {
                    let mut right = [_mm512_setzero_ps(); 4];
                    for (j, right) in right.iter_mut().enumerate() {
                        *right = _mm512_loadu_ps(b_group.add(16 * j));
                    }
                    for (i, row) in sums.iter_mut().enumerate() {
                        let left = _mm512_set1_ps(*a_group.add(i * a.row_stride));
                        for (j, sum) in row.iter_mut().enumerate() {
                            *sum = $multiply_add(left, right[j], *sum);
                        }
                    }
                    a_group = a_group.wrapping_add(a.group_stride);
                    b_group = b_group.wrapping_add(64);
                }
                for (i, row) in sums.iter().enumerate() {
                    for (j, sum) in row.iter().enumerate() {
                        _mm512_storeu_ps(c.start.add(i * c.row_stride + 16 * j), *sum);
                    }
                }
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
wide!(wide_f32, "avx512f", fused);
#[cfg(target_arch = "x86_64")]
wide!(wide_bf16, "avx512f,avx512bf16", paired);

/// # Safety
/// As for [`Kernel::multiply`], with `N` rows and 16 columns.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn narrow_f32<const N: usize>(groups: usize, a: Left, b: *const f32, c: Output) {
    // SAFETY: the caller vouches for all addresses.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); 2]; N];
        if c.accumulate {
            for (i, row) in sums.iter_mut().enumerate() {
                for (j, sum) in row.iter_mut().enumerate() {
                    *sum = _mm256_loadu_ps(c.start.add(i * c.row_stride + 8 * j));
                }
            }
        }
        let (mut a_group, mut b_group) = (a.start, b);
        for _ in 0..groups {
            let right = [_mm256_loadu_ps(b_group), _mm256_loadu_ps(b_group.add(8))];
            for (i, row) in sums.iter_mut().enumerate() {
                let left = _mm256_broadcast_ss(&*a_group.add(i * a.row_stride));
                for (j, sum) in row.iter_mut().enumerate() {
                    *sum = _mm256_fmadd_ps(left, right[j], *sum);
                }
            }
            a_group = a_group.wrapping_add(a.group_stride);
            b_group = b_group.wrapping_add(16);
        }
        for (i, row) in sums.iter().enumerate() {
            for (j, sum) in row.iter().enumerate() {
                _mm256_storeu_ps(c.start.add(i * c.row_stride + 8 * j), *sum);
            }
        }
    }
}

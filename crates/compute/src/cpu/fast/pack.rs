//! Brings the factors of a product into the order in which the kernels read them, rounding on the way where requested.

use super::vector::vectorised;
use crate::cpu::CpuPath;

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m512, _mm512_loadu_ps, _mm512_setzero_ps, _mm512_shuffle_f32x4, _mm512_shuffle_ps, _mm512_storeu_ps,
    _mm512_unpackhi_ps, _mm512_unpacklo_ps,
};

/// A factor as it lies in memory.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    /// The elements.
    pub(super) data: &'a [f32],
    /// Distance between rows in memory.
    pub(super) stride: usize,
    /// Whether rows in memory are the columns of the factor.
    pub(super) transposed: bool,
}

impl<'a> Matrix<'a> {
    /// The factor whose rows are rows in memory.
    pub(super) fn rows(data: &'a [f32], stride: usize) -> Self {
        Self { data, stride, transposed: false }
    }
    /// The factor whose columns are rows in memory.
    pub(super) fn columns(data: &'a [f32], stride: usize) -> Self {
        Self { data, stride, transposed: true }
    }
}

/// What becomes of the elements of a factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// They stay as they are.
    Full,
    /// They are rounded to bf16 but stay f32: for kernels without bf16 instructions.
    Rounded,
    /// They are rounded to bf16, two consecutive ones of the sum in 32 bits, the first in the low half.
    Paired,
}

impl Packing {
    /// Elements in 32 bits.
    pub(super) fn group(self) -> usize {
        match self {
            Self::Full | Self::Rounded => 1,
            Self::Paired => 2,
        }
    }

    /// The elements of a group.
    #[inline(always)]
    pub(super) fn unpack(self, word: f32, out: &mut [f32]) {
        let bits = word.to_bits();
        let elements = match self {
            Self::Full | Self::Rounded => [word, 0.0],
            Self::Paired => [f32::from_bits(bits << 16), f32::from_bits(bits & 0xffff_0000)],
        };
        // One or two: a copy of a slice would be a call.
        for (out, element) in out.iter_mut().zip(elements) {
            *out = element;
        }
    }
}

/// The upper half of the bits of the nearest bf16, ties to even, in place; NaN stays NaN.
#[inline(always)]
fn rounded_bits(x: f32) -> u32 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    let quiet = bits | 0x0040_0000;
    (if bits & 0x7fff_ffff > 0x7f80_0000 { quiet } else { nearest }) & 0xffff_0000
}

/// Two elements in one group.
#[inline(always)]
fn pair(first: f32, second: f32) -> f32 {
    f32::from_bits((rounded_bits(first) >> 16) | rounded_bits(second))
}

/// Two elements after two in one group each; the last group of an odd row holds one. Arrays and not slices of two, which
/// compilers do not bring into vectors.
#[inline(always)]
fn pair_all(row: &[f32], out: &mut [f32]) {
    let (pairs, rest) = row.as_chunks::<2>();
    for (out, [first, second]) in out.iter_mut().zip(pairs) {
        *out = pair(*first, *second);
    }
    if let ([last], Some(out)) = (rest, out.get_mut(pairs.len())) {
        *out = pair(*last, 0.0);
    }
}

vectorised! {
    /// Packs row after row: `out[g] = (row[2 g], row[2 g + 1])`, or the elements one by one.
    pub(super) fn pack_row(packing: Packing, row: &[f32], out: &mut [f32]) {
        match packing {
            Packing::Full => out.copy_from_slice(row),
            Packing::Rounded => {
                for (out, &x) in out.iter_mut().zip(row) {
                    *out = f32::from_bits(rounded_bits(x));
                }
            }
            Packing::Paired => pair_all(row, out),
        }
    }
}

vectorised! {
    /// Packs columns `columns.0..columns.1` group after group, for the groups of `range` (elements of the sum):
    /// `out[g · width + j] = (row 2 g, row 2 g + 1)` of column `j`, or one row; pads to the width with zeros.
    fn pack_rows(
        packing: Packing,
        matrix: Matrix<'_>,
        range: (usize, usize),
        columns: (usize, usize),
        width: usize,
        out: &mut [f32],
    ) {
        let Matrix { data, stride, .. } = matrix;
        let filled = columns.1 - columns.0;
        for (g, out) in out.chunks_exact_mut(width).enumerate() {
            let k = range.0 + g * packing.group();
            let (out, padding) = out.split_at_mut(filled);
            padding.fill(0.0);
            let first = &data[k * stride + columns.0..][..filled];
            match packing {
                Packing::Full => out.copy_from_slice(first),
                Packing::Rounded => {
                    for (out, &x) in out.iter_mut().zip(first) {
                        *out = f32::from_bits(rounded_bits(x));
                    }
                }
                Packing::Paired if k + 1 < range.1 => {
                    let second = &data[(k + 1) * stride + columns.0..][..filled];
                    for ((out, &x), &y) in out.iter_mut().zip(first).zip(second) {
                        *out = pair(x, y);
                    }
                }
                Packing::Paired => {
                    for (out, &x) in out.iter_mut().zip(first) {
                        *out = pair(x, 0.0);
                    }
                }
            }
        }
    }
}

/// Groups of the sum, and columns, that are transposed at a time.
const STRIPE: usize = 16;
/// Elements of the sum in so many of the largest groups.
const MOST: usize = 2 * STRIPE;

/// Columns of a stripe, group after group.
type Stripe = [[f32; STRIPE]; STRIPE];

vectorised! {
    /// Packs columns that are rows in memory: `out[g · width + j] = row j, group g`, for the groups of `range`
    /// (elements of the sum); the matrix has as many rows in memory as the panel has columns.
    fn pack_columns(
        packing: Packing,
        matrix: Matrix<'_>,
        range: (usize, usize),
        width: usize,
        transpose: fn(&Stripe, &mut [f32], usize),
        out: &mut [f32],
    ) {
        let Matrix { data, stride, .. } = matrix;
        let group = packing.group();
        let columns = if range.1 == range.0 { 0 } else { (data.len() + stride - range.1) / stride };
        let filled = columns.min(width);
        for (stripe, block) in out.chunks_mut(STRIPE * width).enumerate() {
            let start = range.0 + stripe * STRIPE * group;
            let end = range.1.min(start + STRIPE * group);
            let groups = block.len() / width;
            for first in (0..width).step_by(STRIPE) {
                let mut staged = [[0.0_f32; STRIPE]; STRIPE];
                for (j, line) in (first..filled).zip(&mut staged) {
                    let row = &data[j * stride + start..j * stride + end];
                    match (packing, <&[f32; MOST]>::try_from(row)) {
                        (Packing::Full, _) => line[..row.len()].copy_from_slice(row),
                        (Packing::Rounded, _) => {
                            for (out, &x) in line.iter_mut().zip(row) {
                                *out = f32::from_bits(rounded_bits(x));
                            }
                        }
                        (Packing::Paired, Ok(row)) => {
                            for (g, out) in line.iter_mut().enumerate() {
                                *out = pair(row[2 * g], row[2 * g + 1]);
                            }
                        }
                        (Packing::Paired, Err(_)) => pair_all(row, line),
                    }
                }
                if groups == STRIPE {
                    transpose(&staged, &mut block[first..], width);
                } else {
                    for (g, out) in block.chunks_exact_mut(width).enumerate() {
                        for (out, line) in out[first..first + STRIPE].iter_mut().zip(&staged) {
                            *out = line[g];
                        }
                    }
                }
            }
        }
    }
}

/// `out[g · width + j] = stripe[j][g]`.
fn transpose_portably(stripe: &Stripe, out: &mut [f32], width: usize) {
    for (g, out) in out.chunks_mut(width).take(STRIPE).enumerate() {
        for (out, line) in out[..STRIPE].iter_mut().zip(stripe) {
            *out = line[g];
        }
    }
}

/// The same within registers.
#[cfg(target_arch = "x86_64")]
fn transpose_wide(stripe: &Stripe, out: &mut [f32], width: usize) {
    assert!(out.len() >= (STRIPE - 1) * width + STRIPE, "the panel is too short");
    // SAFETY: only the path of 512 bits names this function, and the output was just checked.
    unsafe { transpose_512(stripe, out.as_mut_ptr(), width) }
}

/// # Safety
/// The processor has AVX-512; `out` is writable at 16 elements in each of 16 rows that are `width` apart.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn transpose_512(stripe: &Stripe, out: *mut f32, width: usize) {
    let mut rows = [_mm512_setzero_ps(); STRIPE];
    for (row, line) in rows.iter_mut().zip(stripe) {
        // SAFETY: a line has 16 elements.
        *row = unsafe { _mm512_loadu_ps(line.as_ptr()) };
    }
    // Each lane of 128 bits: 4 × 4 by unpacking pairs, then pairs of pairs.
    let mut pairs = [_mm512_setzero_ps(); STRIPE];
    for i in 0..STRIPE / 2 {
        pairs[2 * i] = _mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
        pairs[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
    }
    let mut fours: [__m512; STRIPE] = rows;
    for i in 0..STRIPE / 4 {
        let [a, b, c, d] = [pairs[4 * i], pairs[4 * i + 1], pairs[4 * i + 2], pairs[4 * i + 3]];
        fours[4 * i] = _mm512_shuffle_ps::<0b01_00_01_00>(a, c);
        fours[4 * i + 1] = _mm512_shuffle_ps::<0b11_10_11_10>(a, c);
        fours[4 * i + 2] = _mm512_shuffle_ps::<0b01_00_01_00>(b, d);
        fours[4 * i + 3] = _mm512_shuffle_ps::<0b11_10_11_10>(b, d);
    }
    // `fours[4 i + k]` holds, in lane l, group 4 l + k of the columns 4 i to 4 i + 3.
    for k in 0..4 {
        let (a, b) = (fours[k], fours[4 + k]);
        let (c, d) = (fours[8 + k], fours[12 + k]);
        let (even, odd) = (_mm512_shuffle_f32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b));
        let (even_on, odd_on) =
            (_mm512_shuffle_f32x4::<0b10_00_10_00>(c, d), _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d));
        let lines = [
            _mm512_shuffle_f32x4::<0b10_00_10_00>(even, even_on),
            _mm512_shuffle_f32x4::<0b10_00_10_00>(odd, odd_on),
            _mm512_shuffle_f32x4::<0b11_01_11_01>(even, even_on),
            _mm512_shuffle_f32x4::<0b11_01_11_01>(odd, odd_on),
        ];
        for (l, line) in lines.into_iter().enumerate() {
            // SAFETY: the caller vouches for the rows of the output.
            unsafe { _mm512_storeu_ps(out.add((4 * l + k) * width), line) };
        }
    }
}

/// How a path transposes a stripe.
fn transposing(path: CpuPath) -> fn(&Stripe, &mut [f32], usize) {
    match path {
        #[cfg(target_arch = "x86_64")]
        CpuPath::Avx512 | CpuPath::Amx => transpose_wide,
        _ => transpose_portably,
    }
}

/// Packs the panel of the right factor that begins at column `column` of `columns`, for the sum over `range`:
/// `out[group][width]`, padded with zeros.
pub(super) fn pack_panel(
    path: CpuPath,
    packing: Packing,
    matrix: Matrix<'_>,
    range: (usize, usize),
    (column, columns): (usize, usize),
    width: usize,
    out: &mut [f32],
) {
    let filled = width.min(columns - column);
    let Matrix { data, stride, transposed } = matrix;
    if transposed {
        let end = (column + filled - 1) * stride + range.1;
        let matrix = Matrix::columns(&data[column * stride..end], stride);
        pack_columns(path, packing, matrix, range, width, transposing(path), out);
        return;
    }
    pack_rows(path, packing, matrix, range, (column, column + filled), width, out);
}

/// Packs rows `rows.0..rows.1` of the left factor for the sum over `range`; `by_rows` with the groups of a row side by side,
/// as they lie in a matrix that is not transposed anyway. Returns the strides of rows and groups.
pub(super) fn pack_strip(
    path: CpuPath,
    packing: Packing,
    matrix: Matrix<'_>,
    rows: (usize, usize),
    range: (usize, usize),
    by_rows: bool,
    out: &mut [f32],
) -> (usize, usize) {
    let Matrix { data, stride, transposed } = matrix;
    let (count, groups) = (rows.1 - rows.0, (range.1 - range.0).div_ceil(packing.group()));
    match (transposed, by_rows) {
        (true, false) => {
            pack_rows(path, packing, matrix, range, rows, count, &mut out[..groups * count]);
            return (1, count);
        }
        (true, true) => pack_turned_strip(path, packing, matrix, rows, range, out),
        (false, _) => {
            for (i, out) in out.chunks_exact_mut(groups).take(count).enumerate() {
                let row = (rows.0 + i) * stride;
                pack_row(path, packing, &data[row + range.0..row + range.1], out);
            }
        }
    }
    (groups, 1)
}

/// Packs rows that are columns in memory with the groups of each side by side: `out[row][group]`.
fn pack_turned_strip(
    path: CpuPath,
    packing: Packing,
    matrix: Matrix<'_>,
    rows: (usize, usize),
    range: (usize, usize),
    out: &mut [f32],
) {
    let groups = (range.1 - range.0).div_ceil(packing.group());
    let mut staged: Stripe = [[0.0; STRIPE]; STRIPE];
    for first in (0..groups).step_by(STRIPE) {
        let start = range.0 + first * packing.group();
        let end = range.1.min(start + STRIPE * packing.group());
        let height = STRIPE.min(groups - first);
        for row in (rows.0..rows.1).step_by(STRIPE) {
            let columns = (row, rows.1.min(row + STRIPE));
            pack_rows(
                path,
                packing,
                matrix,
                (start, end),
                columns,
                STRIPE,
                &mut staged.as_flattened_mut()[..height * STRIPE],
            );
            let out = &mut out[(row - rows.0) * groups + first..];
            if height == STRIPE && columns.1 - columns.0 == STRIPE {
                transposing(path)(&staged, out, groups);
            } else {
                for (j, out) in out.chunks_mut(groups).take(columns.1 - columns.0).enumerate() {
                    for (out, line) in out.iter_mut().zip(&staged).take(height) {
                        *out = line[j];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    #[test]
    fn rounding_is_that_of_half() {
        let mut bits = 0_u32;
        loop {
            let x = f32::from_bits(bits);
            let got = f32::from_bits(rounded_bits(x));
            let expected = bf16::from_f32(x).to_f32();
            assert!(got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan()), "{x:e}");
            let Some(next) = bits.checked_add(65_521) else { break };
            bits = next;
        }
    }

    #[test]
    fn panels_and_strips_hold_each_element_where_the_kernels_read_it() {
        let (sum, across, width) = (37, 21, 16);
        let element = |k: usize, j: usize| (k * 3 + j) as f32;
        let natural: Vec<f32> = (0..sum * across).map(|i| element(i / across, i % across)).collect();
        let turned: Vec<f32> = (0..sum * across).map(|i| element(i % sum, i / sum)).collect();
        let range = (4_usize, 37_usize);
        for packing in [Packing::Full, Packing::Rounded, Packing::Paired] {
            let groups = (range.1 - range.0).div_ceil(packing.group());
            let expected = |g: usize, j: usize| {
                let k = range.0 + g * packing.group();
                let second = if k + 1 < range.1 { element(k + 1, j) } else { 0.0 };
                match packing {
                    Packing::Paired => pair(element(k, j), second).to_bits(),
                    _ => element(k, j).to_bits(),
                }
            };
            for path in CpuPath::available() {
                for matrix in [Matrix::rows(&natural, across), Matrix::columns(&turned, sum)] {
                    for column in [0, 16] {
                        let mut out = vec![f32::NAN; groups * width];
                        pack_panel(path, packing, matrix, range, (column, across), width, &mut out);
                        for (i, x) in out.iter().enumerate() {
                            let (g, j) = (i / width, column + i % width);
                            assert_eq!(x.to_bits(), if j < across { expected(g, j) } else { 0 }, "{packing:?} {g} {j}");
                        }
                    }
                }
                for matrix in [Matrix::rows(&turned, sum), Matrix::columns(&natural, across)] {
                    for (by_rows, chosen) in [(false, (3, 8)), (true, (3, 8)), (true, (2, 20))] {
                        let count = chosen.1 - chosen.0;
                        let mut out = vec![f32::NAN; groups * count];
                        let (row, group) = pack_strip(path, packing, matrix, chosen, range, by_rows, &mut out);
                        assert!(group == 1 || !by_rows);
                        for g in 0..groups {
                            for i in 0..count {
                                let got = out[i * row + g * group].to_bits();
                                assert_eq!(got, expected(g, chosen.0 + i), "{packing:?} {g} {i}");
                            }
                        }
                    }
                }
            }
        }
    }
}

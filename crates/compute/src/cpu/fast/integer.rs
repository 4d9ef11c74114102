//! Products of integers: rows quantised as they come, weights quantised beforehand, sums exact in i32.
//!
//! `out[t, n] = a[t] Σ_g s[n, g] Σ_{k in g} p[t, k] q[n, k]` with `x[t, k] ≈ a[t] p[t, k]`, `a[t] = max |x[t]| / 127`
//! and `w[n, k] = s[n, g] q[n, k]` (dynamic per-row activations, weights per output or per group: Dettmers et al.,
//! LLM.int8(), 2208.07339, section 2.1; groups as in Frantar et al., GPTQ, 2210.17323, section 4).
//!
//! A *quad* is four consecutive elements of the sum in 32 bits. The multiply-add of bytes wants its left factor
//! unsigned, so a row holds `p + 128`, and the sums of a group begin at `−128 Σ q` instead of 0: both are exact. A
//! panel holds, group after group, its scales, those beginnings, and its quads; with four bits, the low halves of a
//! word's bytes are one quad and the high halves the next, each raised by 8.

use super::Fast;
use super::kernel::{Output, ROWS, WIDEST};
use super::vector::{largest_magnitude, vectorised};
use crate::cpu::scalar::SMALLEST;
use crate::cpu::{Buffer, CpuPath};
use crate::{Bits, DeviceError, Quantised, QuantisedError};

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, __m256i, __m512, __m512i, _mm256_abs_epi8, _mm256_add_epi32, _mm256_and_si256, _mm256_cvtepi32_ps,
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps,
    _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256,
    _mm256_sign_epi8, _mm256_srli_epi16, _mm256_storeu_ps, _mm256_sub_epi8, _mm256_xor_si256, _mm512_and_si512,
    _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps,
    _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_srli_epi16,
    _mm512_storeu_ps, _mm512_sub_epi8,
};

/// Elements of the sum in 32 bits.
const QUAD: usize = 4;
/// Rows that one task quantises.
const ROWS_AT_A_TIME: usize = 16;
/// Times that a panel of four bits is read by a task from which on it is worth bringing it to eight first.
const WORTH_UNPACKING: usize = 4;

/// An innermost loop over integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    /// 256-bit, by way of 16 bits.
    Narrow,
    /// 512-bit with instructions for sums of four products.
    Wide,
}

impl Kernel {
    fn of(path: CpuPath) -> Self {
        #[cfg(target_arch = "x86_64")]
        if path == CpuPath::Avx512 && std::arch::is_x86_feature_detected!("avx512vnni") {
            return Self::Wide;
        }
        let _ = path;
        Self::Narrow
    }

    fn columns(self) -> usize {
        match self {
            Self::Narrow => 16,
            Self::Wide => WIDEST,
        }
    }
}

/// A quantised right factor, packed for a kernel.
#[derive(Debug)]
pub(in crate::cpu) struct Integers {
    /// 32-bit words: scales as f32, beginnings of sums as i32, quads.
    words: Buffer<f32>,
    kernel: Kernel,
    bits: Bits,
    outputs: usize,
    inputs: usize,
    groups: usize,
    /// Quads of the sum in each group, padded to an even number.
    quads: usize,
}

impl Integers {
    fn width(&self) -> usize {
        self.kernel.columns()
    }
    /// Words in which the quads of a group lie.
    fn group_words(&self) -> usize {
        let words = match self.bits {
            Bits::Eight => self.quads,
            Bits::Four => self.quads / 2,
        };
        words * self.width()
    }
    /// Distance between panels.
    fn stride(&self) -> usize {
        self.groups * (2 * self.width() + self.group_words())
    }
    /// Columns of the product.
    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }
    /// Length of the sum.
    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }
    /// Columns of a panel.
    pub(super) fn panel_width(&self) -> usize {
        self.width()
    }
    /// The columns of one panel back as rows of the whole sum: each integer times its scale.
    pub(super) fn unpack_panel(&self, panel: usize, out: &mut [f32]) {
        let width = self.width();
        let group = self.inputs / self.groups.max(1);
        let packed = &self.words.as_slice()[panel * self.stride()..][..self.stride()];
        for (g, packed) in packed.chunks_exact(2 * width + self.group_words()).enumerate() {
            let (scales, words) = (&packed[..width], &packed[2 * width..]);
            for (j, row) in out.chunks_exact_mut(self.inputs).enumerate() {
                for (k, value) in row[g * group..(g + 1) * group].iter_mut().enumerate() {
                    *value = f32::from(self.integer(words, (j, k))) * scales[j];
                }
            }
        }
    }
    /// An integer of a group: that of column `j` of the panel, at `k` of the sum.
    fn integer(&self, words: &[f32], (j, k): (usize, usize)) -> i8 {
        let width = self.width();
        match self.bits {
            Bits::Eight => byte(words[k / QUAD * width + j], k % QUAD) as i8,
            Bits::Four => {
                let (octet, place) = (k / (2 * QUAD), k % (2 * QUAD));
                let both = byte(words[octet * width + j], place % QUAD);
                (if place < QUAD { both & 0x0f } else { both >> 4 }) as i8 - 8
            }
        }
    }
    /// The matrix that was packed.
    pub(super) fn unpack(&self) -> Result<Quantised, QuantisedError> {
        let (width, groups) = (self.width(), self.groups.max(1));
        let group = self.inputs / groups;
        let mut values = vec![0; self.outputs * self.inputs];
        let mut scales = vec![0.0; self.outputs * groups];
        for output in 0..self.outputs {
            let (panel, j) = (output / width, output % width);
            let packed = &self.words.as_slice()[panel * self.stride()..][..self.stride()];
            for (g, packed) in packed.chunks_exact(2 * width + self.group_words()).enumerate() {
                let first = output * self.inputs + g * group;
                scales[output * groups + g] = packed[j];
                for (k, value) in values[first..first + group].iter_mut().enumerate() {
                    *value = self.integer(&packed[2 * width..], (j, k));
                }
            }
        }
        Quantised::from_parts(self.bits, (self.outputs, self.inputs), group, values, scales)
    }
    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.words.as_slice())
    }
}

/// The rows of a left factor, quantised.
pub(super) struct IntegerRows {
    /// `[rows, groups, quads]`: bytes `p + 128`.
    words: Buffer<f32>,
    /// `a`, one for each row.
    scales: Buffer<f32>,
    /// Words of a row.
    stride: usize,
}

vectorised! {
    /// Quantises one row: `out = round(x / a) + 128` with `a = max |x| / 127`; returns `a`.
    fn quantise(row: &[f32], out: &mut [u8]) -> f32 {
        /// Adding it leaves the nearest integer, ties to even, in the low bits of the significand.
        const ROUNDER: f32 = 12_582_912.0;
        let greatest = largest_magnitude(row);
        let inverse = if greatest > SMALLEST { 127.0 / greatest } else { 0.0 };
        for (out, &x) in out.iter_mut().zip(row) {
            *out = ((x * inverse + ROUNDER).to_bits() as u8) ^ 0x80;
        }
        greatest / 127.0
    }
}

vectorised! {
    /// The two quads in each word of `octet`, each half of a byte as a byte: the half less 8.
    fn take_apart(octet: &[f32], low: &mut [f32], high: &mut [f32]) {
        /// `h − 8` of each half `h`, without borrowing from the byte above: 8 is added or taken by the sign bit.
        fn lowered(halves: u32) -> u32 {
            (halves | 0x8080_8080).wrapping_sub(0x0808_0808) ^ 0x8080_8080
        }
        for ((octet, low), high) in octet.iter().zip(low).zip(high) {
            let both = octet.to_bits();
            *low = f32::from_bits(lowered(both & 0x0f0f_0f0f));
            *high = f32::from_bits(lowered((both >> 4) & 0x0f0f_0f0f));
        }
    }
}

impl Fast {
    /// Packs a quantised matrix as a right factor.
    pub(super) fn pack_integers(&self, matrix: &Quantised) -> Result<Integers, DeviceError> {
        let kernel = Kernel::of(self.path);
        let (outputs, inputs, group) = (matrix.outputs(), matrix.inputs(), matrix.group());
        let groups = if inputs == 0 { 0 } else { inputs / group };
        // Groups are multiples of eight, or there is but one: padding stands at the very end of the sum.
        let quads = group.div_ceil(2 * QUAD) * 2;
        let words = self.arena.take(0)?;
        let mut packed = Integers { words, kernel, bits: matrix.bits(), outputs, inputs, groups, quads };
        let stride = packed.stride();
        let panels = outputs.div_ceil(packed.width());
        let mut words = self.arena.take(panels * stride)?;
        let items = words.as_mut_slice().chunks_exact_mut(stride.max(1)).take(panels).enumerate().collect();
        self.pool.each(outputs * inputs, items, |(panel, out): (usize, &mut [f32])| {
            pack_panel(&packed, matrix, panel, out);
        });
        packed.words = words;
        Ok(packed)
    }

    /// Quantises the rows of a left factor for a packed right one.
    pub(super) fn quantise_rows(&self, rows: usize, x: &[f32], b: &Integers) -> IntegerRows {
        let (inputs, stride) = (b.inputs, b.groups * b.quads);
        let (mut words, mut scales) = (self.scratch(rows * stride), self.scratch(rows));
        let bytes = bytes_of(words.as_mut_slice());
        let rows_of = |row: usize| row * inputs..(row + ROWS_AT_A_TIME).min(rows) * inputs;
        let items: Vec<_> = bytes
            .chunks_mut((ROWS_AT_A_TIME * stride * QUAD).max(1))
            .zip(scales.as_mut_slice().chunks_mut(ROWS_AT_A_TIME))
            .enumerate()
            .map(|(i, (bytes, scales))| (bytes, scales, &x[rows_of(i * ROWS_AT_A_TIME)]))
            .collect();
        self.pool.each(rows * inputs, items, |(bytes, scales, x)| {
            let lines = bytes.chunks_exact_mut((stride * QUAD).max(1)).zip(x.chunks_exact(inputs.max(1)));
            for ((bytes, x), scale) in lines.zip(scales) {
                let (bytes, padding) = bytes.split_at_mut(inputs);
                *scale = quantise(self.path, x, bytes);
                padding.fill(0x80);
            }
        });
        IntegerRows { words, scales, stride }
    }
}

/// The bytes of some words.
fn bytes_of(words: &mut [f32]) -> &mut [u8] {
    // SAFETY: every f32 is four bytes without padding, bytes may have any value and need no alignment.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words)) }
}

fn pack_panel(packed: &Integers, matrix: &Quantised, panel: usize, out: &mut [f32]) {
    let (width, group) = (packed.width(), matrix.group());
    let groups_of = |n: usize| &matrix.scales()[n * packed.groups..][..packed.groups];
    out.fill(0.0);
    for (g, out) in out.chunks_exact_mut(2 * width + packed.group_words()).enumerate() {
        let (scales, rest) = out.split_at_mut(width);
        let (beginnings, words) = rest.split_at_mut(width);
        for j in 0..width.min(packed.outputs - panel * width) {
            let n = panel * width + j;
            let values = &matrix.values()[n * packed.inputs + g * group..][..group];
            scales[j] = groups_of(n)[g];
            beginnings[j] = word(-128 * values.iter().map(|&q| i32::from(q)).sum::<i32>());
            match packed.bits {
                Bits::Eight => {
                    for (i, quad) in values.chunks(QUAD).enumerate() {
                        words[i * width + j] = word(i32::from_le_bytes(four(quad, 0)));
                    }
                }
                Bits::Four => {
                    for (i, octet) in values.chunks(2 * QUAD).enumerate() {
                        let (low, high) = octet.split_at(octet.len().min(QUAD));
                        let (low, high) = (four(low, 8), four(high, 8));
                        let both = std::array::from_fn(|b| low[b] | high[b] << 4);
                        words[i * width + j] = word(i32::from_le_bytes(both));
                    }
                }
            }
        }
        if packed.bits == Bits::Four {
            // Columns that do not exist, and quads that were left out, are zeros too: raised by 8.
            let filled = width.min(packed.outputs - panel * width);
            let octets = group.div_ceil(2 * QUAD);
            for (i, row) in words.chunks_exact_mut(width).enumerate() {
                let from = if i < octets { filled } else { 0 };
                row[from..].fill(f32::from_bits(0x8888_8888));
            }
        }
    }
}

/// Up to four values in bytes, raised; those that are missing are 0.
fn four(values: &[i8], raise: i8) -> [u8; QUAD] {
    std::array::from_fn(|i| (values.get(i).copied().unwrap_or(0) + raise) as u8)
}

/// One of the bytes of a word, the lowest first.
fn byte(word: f32, place: usize) -> u8 {
    word.to_bits().to_le_bytes()[place]
}

fn word(bits: i32) -> f32 {
    f32::from_bits(bits as u32)
}

/// What a kernel reads: rows of words from `words` on, `row_stride` apart, and their scales.
#[derive(Clone, Copy)]
struct Left {
    words: *const f32,
    row_stride: usize,
    scales: *const f32,
}

/// Groups, and quads in each.
#[derive(Clone, Copy)]
struct Extent {
    groups: usize,
    quads: usize,
}

impl Integers {
    /// Words of scratch for the rows of a task: a panel of four bits is brought to eight where it is read again and
    /// again, so that its bytes are taken apart once.
    pub(super) fn scratch_len(&self, rows: usize) -> usize {
        let reads = rows.div_ceil(ROWS);
        match (self.kernel, self.bits) {
            (Kernel::Wide, Bits::Four) if reads >= WORTH_UNPACKING => self.groups * (2 + self.quads) * self.width(),
            _ => 0,
        }
    }

    /// Writes (or adds) `rows` of the product, for the columns `columns` that begin a panel, at `output`. `scratch` has
    /// [`Integers::scratch_len`] words for as many rows or more.
    ///
    /// # Safety
    /// `output` is writable at all these rows and columns, and no other thread writes there.
    pub(super) unsafe fn block(
        &self,
        left: &IntegerRows,
        (rows, columns): ((usize, usize), (usize, usize)),
        scratch: &mut [f32],
        output: Output,
    ) {
        let width = self.width();
        assert!(rows.1 <= left.scales.as_slice().len() && left.stride == self.groups * self.quads);
        assert!(columns.0.is_multiple_of(width) && columns.1 <= self.outputs);
        let extent = Extent { groups: self.groups, quads: self.quads };
        let strips = (rows.1 - rows.0).div_ceil(ROWS);
        let unpacked = self.scratch_len(rows.1 - rows.0);
        let bits = if unpacked > 0 { Bits::Eight } else { self.bits };
        for start in (columns.0..columns.1).step_by(width) {
            let filled = width.min(columns.1 - start);
            let packed = &self.words.as_slice()[start / width * self.stride()..][..self.stride()];
            let panel = if unpacked > 0 {
                self.bring_to_bytes(packed, &mut scratch[..unpacked]);
                scratch.as_ptr()
            } else {
                packed.as_ptr()
            };
            let mut row = rows.0;
            for strip in 0..strips {
                let height = (rows.1 - row).div_ceil(strips - strip);
                let a = Left {
                    words: left.words.as_slice()[row * left.stride..].as_ptr(),
                    row_stride: left.stride,
                    scales: left.scales.as_slice()[row..].as_ptr(),
                };
                let place = (row - rows.0) * output.row_stride + start - columns.0;
                // SAFETY: the panel and the rows were just sliced, both padded to whole groups; the caller vouches for
                // the output. A panel that is not filled goes through a tile of our own.
                unsafe {
                    let c = Output { start: output.start.add(place), ..output };
                    if filled == width {
                        self.tile(bits, (height, extent), a, panel, c);
                    } else {
                        let mut tile = [0.0_f32; ROWS * WIDEST];
                        let own = Output { start: tile.as_mut_ptr(), row_stride: WIDEST, accumulate: false };
                        self.tile(bits, (height, extent), a, panel, own);
                        c.write(&tile, (height, filled));
                    }
                }
                row += height;
            }
        }
    }

    /// A panel of four bits as one of eight, for the wide kernel.
    fn bring_to_bytes(&self, packed: &[f32], out: &mut [f32]) {
        let width = self.width();
        let groups = packed.chunks_exact(2 * width + self.group_words());
        for (packed, out) in groups.zip(out.chunks_exact_mut((2 + self.quads) * width)) {
            let (head, words) = packed.split_at(2 * width);
            let (to_head, to_words) = out.split_at_mut(2 * width);
            to_head.copy_from_slice(head);
            for (octet, quads) in words.chunks_exact(width).zip(to_words.chunks_exact_mut(2 * width)) {
                let (low, high) = quads.split_at_mut(width);
                take_apart(CpuPath::Avx512, octet, low, high);
            }
        }
    }

    /// One whole tile of up to [`ROWS`] rows, of a panel of `bits`.
    ///
    /// # Safety
    /// All addresses reach as far as `extent`, the height and the kernel's columns say.
    #[cfg(target_arch = "x86_64")]
    unsafe fn tile(&self, bits: Bits, (height, extent): (usize, Extent), a: Left, b: *const f32, c: Output) {
        macro_rules! by_height {
            ($kernel:ident, $four:literal) => {
                match height {
                    1 => $kernel::<1, $four>(extent, a, b, c),
                    2 => $kernel::<2, $four>(extent, a, b, c),
                    3 => $kernel::<3, $four>(extent, a, b, c),
                    4 => $kernel::<4, $four>(extent, a, b, c),
                    5 => $kernel::<5, $four>(extent, a, b, c),
                    _ => $kernel::<ROWS, $four>(extent, a, b, c),
                }
            };
        }
        // SAFETY: the caller vouches for addresses, and the kernel was chosen by what the processor has.
        unsafe {
            match (self.kernel, bits) {
                (Kernel::Wide, Bits::Eight) => by_height!(wide, false),
                (Kernel::Wide, Bits::Four) => by_height!(wide, true),
                (Kernel::Narrow, Bits::Eight) => by_height!(narrow, false),
                (Kernel::Narrow, Bits::Four) => by_height!(narrow, true),
            }
        }
    }

    /// Never reached: without vector instructions there are no packed matrices.
    #[cfg(not(target_arch = "x86_64"))]
    unsafe fn tile(&self, _: Bits, _: (usize, Extent), _: Left, _: *const f32, _: Output) {
        unreachable!("no kernel for this processor is ever chosen")
    }
}

/// # Safety
/// As for [`Integers::tile`], with `N` rows and 64 columns.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn wide<const N: usize, const FOUR: bool>(extent: Extent, a: Left, b: *const f32, c: Output) {
    // SAFETY: the caller vouches for all addresses.
    unsafe {
        let mut totals: [[__m512; 4]; N] = [[_mm512_setzero_ps(); 4]; N];
        let (mut quad, mut b) = (a.words, b);
        for _ in 0..extent.groups {
            let scales = b;
            let mut sums: [[__m512i; 4]; N] = [[_mm512_setzero_si512(); 4]; N];
            for j in 0..4 {
                let beginning = _mm512_loadu_si512(b.add(64 + 16 * j).cast());
                for row in &mut sums {
                    row[j] = beginning;
                }
            }
            b = b.add(128);
            if FOUR {
                let (low, eight) = (_mm512_set1_epi8(0x0f), _mm512_set1_epi8(8));
                for _ in 0..extent.quads / 2 {
                    for half in 0..2 {
                        let mut right = [_mm512_setzero_si512(); 4];
                        for (j, right) in right.iter_mut().enumerate() {
                            let both = _mm512_loadu_si512(b.add(16 * j).cast());
                            let shifted = if half == 0 { both } else { _mm512_srli_epi16::<4>(both) };
                            *right = _mm512_sub_epi8(_mm512_and_si512(shifted, low), eight);
                        }
                        for (i, row) in sums.iter_mut().enumerate() {
                            let left = _mm512_set1_epi32(quad.add(i * a.row_stride).cast::<i32>().read());
                            for (j, sum) in row.iter_mut().enumerate() {
                                *sum = _mm512_dpbusd_epi32(*sum, left, right[j]);
                            }
                        }
                        quad = quad.wrapping_add(1);
                    }
                    b = b.wrapping_add(64);
                }
            } else {
                for _ in 0..extent.quads {
                    let mut right = [_mm512_setzero_si512(); 4];
                    for (j, right) in right.iter_mut().enumerate() {
                        *right = _mm512_loadu_si512(b.add(16 * j).cast());
                    }
                    for (i, row) in sums.iter_mut().enumerate() {
                        let left = _mm512_set1_epi32(quad.add(i * a.row_stride).cast::<i32>().read());
                        for (j, sum) in row.iter_mut().enumerate() {
                            *sum = _mm512_dpbusd_epi32(*sum, left, right[j]);
                        }
                    }
                    quad = quad.wrapping_add(1);
                    b = b.wrapping_add(64);
                }
            }
            for j in 0..4 {
                let scale = _mm512_loadu_ps(scales.add(16 * j));
                for (total, sum) in totals.iter_mut().zip(&sums) {
                    total[j] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[j]), scale, total[j]);
                }
            }
        }
        for (i, row) in totals.iter().enumerate() {
            let scale = _mm512_set1_ps(*a.scales.add(i));
            for (j, total) in row.iter().enumerate() {
                let out = c.start.add(i * c.row_stride + 16 * j);
                let value = if c.accumulate {
                    _mm512_fmadd_ps(scale, *total, _mm512_loadu_ps(out))
                } else {
                    _mm512_mul_ps(scale, *total)
                };
                _mm512_storeu_ps(out, value);
            }
        }
    }
}

/// One sum of four products for each of eight columns, exact: `|a| · (±b)` stays within 16 bits, as neither is −128.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn four_products(sum: __m256i, left: __m256i, right: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(left), _mm256_sign_epi8(right, left));
    _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

/// # Safety
/// As for [`Integers::tile`], with `N` rows and 16 columns.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn narrow<const N: usize, const FOUR: bool>(extent: Extent, a: Left, b: *const f32, c: Output) {
    // SAFETY: the caller vouches for all addresses.
    unsafe {
        let mut totals: [[__m256; 2]; N] = [[_mm256_setzero_ps(); 2]; N];
        // The left factor is signed here, so that sums begin at 0.
        let sign = _mm256_set1_epi8(-128);
        let (low, eight) = (_mm256_set1_epi8(0x0f), _mm256_set1_epi8(8));
        let (mut quad, mut b) = (a.words, b);
        for _ in 0..extent.groups {
            let scales = b;
            let mut sums: [[__m256i; 2]; N] = [[_mm256_setzero_si256(); 2]; N];
            b = b.add(32);
            let halves = if FOUR { 2 } else { 1 };
            for _ in 0..extent.quads / halves {
                for half in 0..halves {
                    let mut right = [_mm256_loadu_si256(b.cast()), _mm256_loadu_si256(b.add(8).cast())];
                    if FOUR {
                        for right in &mut right {
                            let shifted = if half == 0 { *right } else { _mm256_srli_epi16::<4>(*right) };
                            *right = _mm256_sub_epi8(_mm256_and_si256(shifted, low), eight);
                        }
                    }
                    for (i, row) in sums.iter_mut().enumerate() {
                        let left = _mm256_set1_epi32(quad.add(i * a.row_stride).cast::<i32>().read());
                        let left = _mm256_xor_si256(left, sign);
                        for (j, sum) in row.iter_mut().enumerate() {
                            *sum = four_products(*sum, left, right[j]);
                        }
                    }
                    quad = quad.wrapping_add(1);
                }
                b = b.wrapping_add(16);
            }
            for j in 0..2 {
                let scale = _mm256_loadu_ps(scales.add(8 * j));
                for (total, sum) in totals.iter_mut().zip(&sums) {
                    total[j] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[j]), scale, total[j]);
                }
            }
        }
        for (i, row) in totals.iter().enumerate() {
            let scale = _mm256_set1_ps(*a.scales.add(i));
            for (j, total) in row.iter().enumerate() {
                let out = c.start.add(i * c.row_stride + 8 * j);
                let value = if c.accumulate {
                    _mm256_fmadd_ps(scale, *total, _mm256_loadu_ps(out))
                } else {
                    _mm256_mul_ps(scale, *total)
                };
                _mm256_storeu_ps(out, value);
            }
        }
    }
}

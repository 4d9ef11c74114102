//! Products of integers: rows quantised as they come, weights quantised beforehand, sums exact in i32.
//!
//! `out[t, n] = a[t] Σ_g s[n, g] Σ_{k in g} p[t, k] q[n, k]` with `x[t, k] ≈ a[t] p[t, k]`, `a[t] = max |x[t]| / 127`
//! and `w[n, k] = s[n, g] q[n, k]` (dynamic per-row activations, weights per output or per group: Dettmers et al.,
//! LLM.int8(), 2208.07339, section 2.1; groups as in Frantar et al., GPTQ, 2210.17323, section 4).
//!
//! A *quad* is four consecutive elements of the sum in 32 bits. The multiply-add of bytes wants one factor unsigned.
//! With eight bits that is the row's: it holds `p + 128`, and the sums of a group begin at `−128 Σ q` instead of 0. With
//! four bits it is the weight's: a panel holds `q + 8`, and the sums begin at `−8 Σ p`. Both are exact. A panel holds,
//! group after group, its scales, with eight bits those beginnings, and its quads; with four bits, the low halves of a
//! word's bytes are one quad and the high halves the next. So four bits take no more than 4 + 32 / group bits a weight,
//! and nothing is taken off them in the innermost loop.

use super::Fast;
use super::kernel::{Output, ROWS, WIDEST};
use super::vector::{largest_magnitude, vectorised};
use crate::cpu::scalar::SMALLEST;
use crate::cpu::{Buffer, CpuPath};
use crate::quantised::in_byte_halves;
use crate::{Bits, DeviceError, Quantised, QuantisedError};

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, __m256i, __m512, __m512i, _mm256_abs_epi8, _mm256_add_epi32, _mm256_and_si256, _mm256_cvtepi32_ps,
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps,
    _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256,
    _mm256_sign_epi8, _mm256_srli_epi16, _mm256_storeu_ps, _mm256_xor_si256, _mm512_and_si512, _mm512_cvtepi32_ps,
    _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_srli_epi16, _mm512_storeu_ps,
};

/// Elements of the sum in 32 bits.
const QUAD: usize = 4;
/// Rows that one task quantises.
const ROWS_AT_A_TIME: usize = 16;
/// Words of a column that are packed at a time: a line of the cache.
const WORDS_AT_A_TIME: usize = 16;
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
        if path.is_wide() && std::arch::is_x86_feature_detected!("avx512vnni") {
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
    /// Words before the quads of a group: scales, and the beginnings that are the panel's.
    fn head_words(&self) -> usize {
        match self.bits {
            Bits::Eight => 2 * self.width(),
            Bits::Four => self.width(),
        }
    }
    /// Distance between panels.
    fn stride(&self) -> usize {
        self.groups * (self.head_words() + self.group_words())
    }
    /// Columns of the product.
    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }
    /// Whether another matrix has as many bits and reads the same left factor.
    pub(super) fn reads_as(&self, other: &Self) -> bool {
        let of = |matrix: &Self| (matrix.bits, matrix.inputs, matrix.groups, matrix.quads);
        of(self) == of(other)
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
        let group = self.inputs / self.groups.max(1);
        let packed = &self.words.as_slice()[panel * self.stride()..][..self.stride()];
        for (g, packed) in packed.chunks_exact(self.head_words() + self.group_words()).enumerate() {
            let (scales, words) = packed.split_at(self.head_words());
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
            for (g, packed) in packed.chunks_exact(self.head_words() + self.group_words()).enumerate() {
                let first = output * self.inputs + g * group;
                scales[output * groups + g] = packed[j];
                for (k, value) in values[first..first + group].iter_mut().enumerate() {
                    *value = self.integer(&packed[self.head_words()..], (j, k));
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
    /// `[rows, groups, quads]`: bytes `p + 128`, or `p` where the panel's factor is the unsigned one.
    words: Buffer<f32>,
    /// `[rows, groups]`: where the sums of a group begin, as i32; of length 0 where that is the panel's.
    beginnings: Buffer<f32>,
    /// `a`, one for each row.
    scales: Buffer<f32>,
    /// Words of a row.
    stride: usize,
}

vectorised! {
    /// Quantises one row: `out = round(x / a)` with `a = max |x| / 127`, with the bits of `flipped` turned: the uppermost one
    /// adds 128. Returns `a`.
    fn quantise(row: &[f32], flipped: u8, out: &mut [u8]) -> f32 {
        /// Adding it leaves the nearest integer, ties to even, in the low bits of the significand.
        const ROUNDER: f32 = 12_582_912.0;
        let greatest = largest_magnitude(row);
        let inverse = if greatest > SMALLEST { 127.0 / greatest } else { 0.0 };
        for (out, &x) in out.iter_mut().zip(row) {
            *out = ((x * inverse + ROUNDER).to_bits() as u8) ^ flipped;
        }
        greatest / 127.0
    }
}

vectorised! {
    /// `−8 Σ p` of each group of a row.
    fn begin_sums(row: &[u8], group: usize, out: &mut [f32]) {
        for (out, bytes) in out.iter_mut().zip(row.chunks_exact(group)) {
            *out = word(-8 * bytes.iter().map(|&p| i32::from(p.cast_signed())).sum::<i32>());
        }
    }
}

vectorised! {
    /// The two quads in each word of `octet`, each half of a byte as a byte.
    fn take_apart(octet: &[f32], low: &mut [f32], high: &mut [f32]) {
        for ((octet, low), high) in octet.iter().zip(low).zip(high) {
            let both = octet.to_bits();
            *low = f32::from_bits(both & 0x0f0f_0f0f);
            *high = f32::from_bits((both >> 4) & 0x0f0f_0f0f);
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
        let (inputs, stride, group) = (b.inputs, b.groups * b.quads, b.inputs / b.groups.max(1));
        // Which bits are turned, what pads the sum, and the groups whose beginnings are the row's.
        let (flipped, padding, groups) = match b.bits {
            Bits::Eight => (0x80, 0x80, 0),
            Bits::Four => (0, 0, b.groups),
        };
        let (mut words, mut scales) = (self.scratch(rows * stride), self.scratch(rows));
        let mut beginnings = self.scratch(rows * groups);
        let bytes = bytes_of(words.as_mut_slice());
        let rows_of = |row: usize| row * inputs..(row + ROWS_AT_A_TIME).min(rows) * inputs;
        let mut begun = beginnings.as_mut_slice();
        let items: Vec<_> = bytes
            .chunks_mut((ROWS_AT_A_TIME * stride * QUAD).max(1))
            .zip(scales.as_mut_slice().chunks_mut(ROWS_AT_A_TIME))
            .enumerate()
            .map(|(i, (bytes, scales))| {
                let own;
                (own, begun) = std::mem::take(&mut begun).split_at_mut(scales.len() * groups);
                (bytes, scales, own, &x[rows_of(i * ROWS_AT_A_TIME)])
            })
            .collect();
        self.pool.each(rows * inputs, items, |(bytes, scales, begun, x)| {
            let lines = bytes.chunks_exact_mut((stride * QUAD).max(1)).zip(x.chunks_exact(inputs.max(1)));
            for (row, ((bytes, x), scale)) in lines.zip(scales).enumerate() {
                let (bytes, rest) = bytes.split_at_mut(inputs);
                *scale = quantise(self.path, x, flipped, bytes);
                rest.fill(padding);
                begin_sums(self.path, bytes, group.max(1), &mut begun[row * groups..][..groups]);
            }
        });
        IntegerRows { words, beginnings, scales, stride }
    }
}

/// The bytes of some words.
fn bytes_of(words: &mut [f32]) -> &mut [u8] {
    // SAFETY: every f32 is four bytes without padding, bytes may have any value and need no alignment.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words)) }
}

/// Brings the integers of a panel's columns into its order: a word of each column in turn, of four bits eight integers,
/// of eight bits four.
fn pack_panel(packed: &Integers, matrix: &Quantised, panel: usize, out: &mut [f32]) {
    let (width, group, head) = (packed.width(), matrix.group(), packed.head_words());
    let distance = head + packed.group_words();
    let row_bytes = matrix.row_bytes();
    let first = panel * width;
    let columns = width.min(packed.outputs - first);
    let row_of = |j: usize| &matrix.packed()[(first + j) * row_bytes..][..row_bytes];
    out.fill(0.0);
    for j in 0..columns {
        let scales = &matrix.scales()[(first + j) * packed.groups..][..packed.groups];
        scales.iter().enumerate().for_each(|(g, scale)| out[g * distance + j] = *scale);
        if packed.bits == Bits::Eight {
            for (g, bytes) in row_of(j).chunks_exact(group).enumerate() {
                let sum: i32 = bytes.iter().map(|byte| i32::from(byte.cast_signed())).sum();
                out[g * distance + width + j] = word(-128 * sum);
            }
        }
    }
    // Groups are whole words, or there is but one.
    let per_group = group.div_ceil(match packed.bits {
        Bits::Eight => QUAD,
        Bits::Four => 2 * QUAD,
    });
    let place_of = |at: usize| at / per_group * distance + head + at % per_group * width;
    let words = row_bytes / QUAD;
    let mut places = [0; WORDS_AT_A_TIME];
    // A line of the cache of each column at a time: read further, the lines of all columns would push each other out.
    for start in (0..words).step_by(WORDS_AT_A_TIME) {
        let end = words.min(start + WORDS_AT_A_TIME);
        (start..end).zip(&mut places).for_each(|(at, place)| *place = place_of(at));
        for j in 0..columns {
            let line = row_of(j)[start * QUAD..end * QUAD].as_chunks().0;
            let words = line.iter().map(|bytes| u32::from_le_bytes(*bytes)).zip(places);
            match packed.bits {
                Bits::Eight => words.for_each(|(word, place)| out[place + j] = f32::from_bits(word)),
                Bits::Four => words.for_each(|(word, place)| out[place + j] = f32::from_bits(in_byte_halves(word))),
            }
        }
    }
    // Integers of eight bits may end within a word.
    let rest = row_bytes % QUAD;
    if rest > 0 {
        for j in 0..columns {
            let mut bytes = [0; QUAD];
            bytes[..rest].copy_from_slice(&row_of(j)[words * QUAD..]);
            out[place_of(words) + j] = f32::from_bits(u32::from_le_bytes(bytes));
        }
    }
}

/// One of the bytes of a word, the lowest first.
fn byte(word: f32, place: usize) -> u8 {
    word.to_bits().to_le_bytes()[place]
}

fn word(bits: i32) -> f32 {
    f32::from_bits(bits as u32)
}

/// What a kernel reads: rows of words from `words` on, `row_stride` apart, where their sums begin in each group, and
/// their scales.
#[derive(Clone, Copy)]
struct Left {
    words: *const f32,
    row_stride: usize,
    beginnings: *const f32,
    scales: *const f32,
}

/// How a kernel finds a panel's integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Signed bytes behind scales and beginnings.
    Eight,
    /// Halves of bytes, raised by 8, behind scales.
    Four,
    /// The same, each half brought to a byte.
    FourInBytes,
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
            (Kernel::Wide, Bits::Four) if reads >= WORTH_UNPACKING => self.groups * (1 + self.quads) * self.width(),
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
        let layout = match self.bits {
            Bits::Eight => Layout::Eight,
            Bits::Four if unpacked > 0 => Layout::FourInBytes,
            Bits::Four => Layout::Four,
        };
        let begun = left.beginnings.as_slice().len() / left.scales.as_slice().len().max(1);
        assert!(self.bits == Bits::Eight || begun == self.groups, "the rows were quantised for this factor");
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
                    beginnings: left.beginnings.as_slice()[row * begun..].as_ptr(),
                    scales: left.scales.as_slice()[row..].as_ptr(),
                };
                let place = (row - rows.0) * output.row_stride + start - columns.0;
                // SAFETY: the panel and the rows were just sliced, both padded to whole groups; the caller vouches for
                // the output. A panel that is not filled goes through a tile of our own.
                unsafe {
                    let c = Output { start: output.start.add(place), ..output };
                    if filled == width {
                        self.tile(layout, (height, extent), a, panel, c);
                    } else {
                        let mut tile = [0.0_f32; ROWS * WIDEST];
                        let own = Output { start: tile.as_mut_ptr(), row_stride: WIDEST, accumulate: false };
                        self.tile(layout, (height, extent), a, panel, own);
                        c.write(&tile, WIDEST, (height, filled));
                    }
                }
                row += height;
            }
        }
    }

    /// A panel of halves of bytes as one of bytes, for the wide kernel.
    fn bring_to_bytes(&self, packed: &[f32], out: &mut [f32]) {
        let width = self.width();
        let groups = packed.chunks_exact(self.head_words() + self.group_words());
        for (packed, out) in groups.zip(out.chunks_exact_mut((1 + self.quads) * width)) {
            let (head, words) = packed.split_at(self.head_words());
            let (to_head, to_words) = out.split_at_mut(width);
            to_head.copy_from_slice(head);
            for (octet, quads) in words.chunks_exact(width).zip(to_words.chunks_exact_mut(2 * width)) {
                let (low, high) = quads.split_at_mut(width);
                take_apart(CpuPath::Avx512, octet, low, high);
            }
        }
    }

    /// One whole tile of up to [`ROWS`] rows.
    ///
    /// # Safety
    /// All addresses reach as far as `extent`, the height and the kernel's columns say.
    #[cfg(target_arch = "x86_64")]
    unsafe fn tile(&self, layout: Layout, (height, extent): (usize, Extent), a: Left, b: *const f32, c: Output) {
        macro_rules! by_height {
            ($kernel:ident, $($kind:literal),+) => {
                match height {
                    1 => $kernel::<1, $($kind),+>(extent, a, b, c),
                    2 => $kernel::<2, $($kind),+>(extent, a, b, c),
                    3 => $kernel::<3, $($kind),+>(extent, a, b, c),
                    4 => $kernel::<4, $($kind),+>(extent, a, b, c),
                    5 => $kernel::<5, $($kind),+>(extent, a, b, c),
                    _ => $kernel::<ROWS, $($kind),+>(extent, a, b, c),
                }
            };
        }
        // SAFETY: the caller vouches for addresses, and the kernel was chosen by what the processor has.
        unsafe {
            match (self.kernel, layout) {
                (Kernel::Wide, Layout::Eight) => by_height!(wide, false, false),
                (Kernel::Wide, Layout::Four) => by_height!(wide, true, true),
                (Kernel::Wide, Layout::FourInBytes) => by_height!(wide, true, false),
                (Kernel::Narrow, Layout::Eight) => by_height!(narrow, false),
                (Kernel::Narrow, Layout::Four) => by_height!(narrow, true),
                (Kernel::Narrow, Layout::FourInBytes) => unreachable!("only the wide kernel has a scratch"),
            }
        }
    }

    /// Never reached: without vector instructions there are no packed matrices.
    #[cfg(not(target_arch = "x86_64"))]
    unsafe fn tile(&self, _: Layout, _: (usize, Extent), _: Left, _: *const f32, _: Output) {
        unreachable!("no kernel for this processor is ever chosen")
    }
}

/// `FOUR`: weights are raised by 8 and the unsigned factor. `HALVES`: two of them share a byte.
///
/// # Safety
/// As for [`Integers::tile`], with `N` rows and 64 columns.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn wide<const N: usize, const FOUR: bool, const HALVES: bool>(
    extent: Extent,
    a: Left,
    b: *const f32,
    c: Output,
) {
    // SAFETY: the caller vouches for all addresses.
    unsafe {
        // No `zip` in the loops: where it is not inlined (builds without link-time optimisation), its call spills all sums.
        let mut totals: [[__m512; 4]; N] = [[_mm512_setzero_ps(); 4]; N];
        let (mut quad, mut b) = (a.words, b);
        for group in 0..extent.groups {
            let scales = b;
            let mut sums: [[__m512i; 4]; N] = [[_mm512_setzero_si512(); 4]; N];
            if FOUR {
                for (i, row) in sums.iter_mut().enumerate() {
                    let beginning = a.beginnings.add(i * extent.groups + group);
                    *row = [_mm512_set1_epi32(beginning.cast::<i32>().read()); 4];
                }
                b = b.add(64);
            } else {
                for j in 0..4 {
                    let beginning = _mm512_loadu_si512(b.add(64 + 16 * j).cast());
                    for row in &mut sums {
                        row[j] = beginning;
                    }
                }
                b = b.add(128);
            }
            let halves = if HALVES { 2 } else { 1 };
            let low = _mm512_set1_epi8(0x0f);
            for _ in 0..extent.quads / halves {
                for half in 0..halves {
                    let mut right = [_mm512_setzero_si512(); 4];
                    for (j, right) in right.iter_mut().enumerate() {
                        *right = _mm512_loadu_si512(b.add(16 * j).cast());
                        if HALVES {
                            let shifted = if half == 0 { *right } else { _mm512_srli_epi16::<4>(*right) };
                            *right = _mm512_and_si512(shifted, low);
                        }
                    }
                    for (i, row) in sums.iter_mut().enumerate() {
                        let left = _mm512_set1_epi32(quad.add(i * a.row_stride).cast::<i32>().read());
                        for (j, sum) in row.iter_mut().enumerate() {
                            *sum = if FOUR {
                                _mm512_dpbusd_epi32(*sum, right[j], left)
                            } else {
                                _mm512_dpbusd_epi32(*sum, left, right[j])
                            };
                        }
                    }
                    quad = quad.wrapping_add(1);
                }
                b = b.wrapping_add(64);
            }
            for j in 0..4 {
                let scale = _mm512_loadu_ps(scales.add(16 * j));
                for (i, total) in totals.iter_mut().enumerate() {
                    total[j] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[i][j]), scale, total[j]);
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

/// The same for an unsigned factor of at most 15, whose pairs stay within 16 bits.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn raised_products(sum: __m256i, raised: __m256i, signed: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(raised, signed);
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
        let (sign, low) = (_mm256_set1_epi8(-128), _mm256_set1_epi8(0x0f));
        let (mut quad, mut b) = (a.words, b);
        for group in 0..extent.groups {
            let scales = b;
            let mut sums: [[__m256i; 2]; N] = [[_mm256_setzero_si256(); 2]; N];
            if FOUR {
                for (i, row) in sums.iter_mut().enumerate() {
                    let beginning = a.beginnings.add(i * extent.groups + group);
                    *row = [_mm256_set1_epi32(beginning.cast::<i32>().read()); 2];
                }
                b = b.add(16);
            } else {
                // The left factor is signed here, so that sums begin at 0.
                b = b.add(32);
            }
            let halves = if FOUR { 2 } else { 1 };
            for _ in 0..extent.quads / halves {
                for half in 0..halves {
                    let mut right = [_mm256_loadu_si256(b.cast()), _mm256_loadu_si256(b.add(8).cast())];
                    if FOUR {
                        for right in &mut right {
                            let shifted = if half == 0 { *right } else { _mm256_srli_epi16::<4>(*right) };
                            *right = _mm256_and_si256(shifted, low);
                        }
                    }
                    for (i, row) in sums.iter_mut().enumerate() {
                        let left = _mm256_set1_epi32(quad.add(i * a.row_stride).cast::<i32>().read());
                        for (j, sum) in row.iter_mut().enumerate() {
                            *sum = if FOUR {
                                raised_products(*sum, right[j], left)
                            } else {
                                four_products(*sum, _mm256_xor_si256(left, sign), right[j])
                            };
                        }
                    }
                    quad = quad.wrapping_add(1);
                }
                b = b.wrapping_add(16);
            }
            for j in 0..2 {
                let scale = _mm256_loadu_ps(scales.add(8 * j));
                for (i, total) in totals.iter_mut().enumerate() {
                    total[j] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[i][j]), scale, total[j]);
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

//! Choosing rows, gates, activations and modulation.

use super::DeviceError;
use super::memory::{Columns, Memory, Part};

/// What [`Elementwise::write_rows`] reads.
#[derive(Debug)]
pub struct WriteRows<'a, B: ?Sized, I: ?Sized> {
    /// Columns that are written.
    pub columns: usize,
    /// The rows, one for each id.
    pub rows: Columns<'a, B>,
    /// Where they go.
    pub ids: &'a I,
}

/// Which columns of which row of a modulation matrix belong to the rows of activations, and what they act on.
#[derive(Debug)]
pub struct Modulation<'a, B: ?Sized, I: ?Sized> {
    /// `D`: columns of the activations.
    pub columns: usize,
    /// Row of the modulation matrix for each row of the activations.
    pub groups: &'a I,
    /// Columns of the modulation matrix.
    pub stride: usize,
    /// `[T, D]`.
    pub x: &'a B,
    /// `[groups, stride]`.
    pub modulation: &'a B,
}

impl<'a, B: ?Sized, I: ?Sized> Modulation<'a, B, I> {
    /// The same with other views of the buffers.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a B) -> &'a C) -> Modulation<'a, C, I> {
        let Self { columns, groups, stride, x, modulation } = self;
        Modulation { columns, groups, stride, x: view(x), modulation: view(modulation) }
    }
}

impl<B: ?Sized> Modulation<'_, B, [u32]> {
    /// Where the `columns` values that belong to `row` begin, for the column range that begins at `offset`.
    pub(crate) fn at(&self, row: usize, offset: usize) -> usize {
        self.groups[row] as usize * self.stride + offset
    }
}

/// What [`Elementwise::scale_rows`] reads.
#[derive(Debug)]
pub struct RowScale<'a, B: ?Sized, I: ?Sized> {
    /// Columns of a row.
    pub columns: usize,
    /// Which factor each row has, `[T]`.
    pub groups: &'a I,
    /// One for each group.
    pub factors: &'a B,
    /// `[T, columns]`.
    pub x: &'a B,
}

impl<'a, B: ?Sized, I: ?Sized> RowScale<'a, B, I> {
    /// The same with other views of the buffers.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a B) -> &'a C) -> RowScale<'a, C, I> {
        let Self { columns, groups, factors, x } = self;
        RowScale { columns, groups, factors: view(factors), x: view(x) }
    }
}

/// What [`Elementwise::add_columns`] reads, and the columns that it writes to.
#[derive(Debug)]
pub struct AddColumns<'a, B: ?Sized> {
    /// `R`.
    pub rows: usize,
    /// `C`: how many columns are read of each row.
    pub columns: usize,
    /// What they are multiplied by.
    pub factor: f64,
    /// The columns that are read.
    pub from: Columns<'a, B>,
    /// Columns of the matrix that is written to: the distance between two of its rows.
    pub stride: usize,
    /// The first of the columns that are written to.
    pub first: usize,
    /// Whether they are added to what is there, which is not read otherwise.
    pub accumulate: bool,
}

impl<'a, B: ?Sized> AddColumns<'a, B> {
    /// The same with another view of the buffer.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a B) -> &'a C) -> AddColumns<'a, C> {
        let Self { rows, columns, factor, from, stride, first, accumulate } = self;
        AddColumns { rows, columns, factor, from: from.map(view), stride, first, accumulate }
    }
}

/// Which numbers are dropped: each by itself with this probability, as a function of the seed and its place
/// and nothing else, and the others are scaled up, so that their mean stays (Srivastava et al., JMLR 15, 2014).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// The share that is dropped: 0 or more and below 1.
    pub rate: f64,
    /// Of the draws.
    pub seed: u64,
}

impl Dropout {
    /// The same for another use in one pass.
    #[must_use]
    pub(crate) fn of_use(self, number: usize) -> Self {
        Self { seed: self.seed ^ (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15), ..self }
    }

    /// What the numbers that stay are multiplied by.
    pub(crate) fn factor(self) -> f64 {
        1.0 / (1.0 - self.rate)
    }

    /// Places whose bits are below this are dropped.
    pub(crate) fn threshold(self) -> u32 {
        (self.rate * 2f64.powi(32)) as u32
    }

    /// Whether the number at a place stays.
    pub(crate) fn keeps(self, place: usize) -> bool {
        let ([low, high], [seed_low, seed_high]) = (halves(place as u64), halves(self.seed));
        mixed(mixed(low.wrapping_add(seed_low)) ^ high ^ seed_high) >= self.threshold()
    }
}

/// The low and the high word.
pub(crate) fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

/// A bijection of words that spreads each bit over all (lowbias32 of Wellons, "Prospecting for hash functions", 2018).
pub(crate) fn mixed(mut word: u32) -> u32 {
    word = (word ^ word >> 16).wrapping_mul(0x7FEB_352D);
    word = (word ^ word >> 15).wrapping_mul(0x846C_A68B);
    word ^ word >> 16
}

/// The columns of a modulation matrix at which shift and scale begin, `D` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShiftScale {
    /// Of the shift.
    pub shift: usize,
    /// Of the scale.
    pub scale: usize,
}

/// What a gate goes through before it multiplies (gated linear units: Shazeer, 2002.05202).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `silu(gate) · up`.
    Swiglu,
    /// `gelu(gate) · up`, GELU in its tanh form.
    Geglu,
}

/// What [`Elementwise::scaled_points`] reads.
#[derive(Debug)]
pub struct ScaledPoints<'a, B: ?Sized, I: ?Sized> {
    /// `E`: coordinates of a vector.
    pub size: usize,
    /// `[V, E]`.
    pub vectors: &'a B,
    /// The token of each row.
    pub tokens: &'a I,
    /// `[R]`: how much of its token's vector is in each point.
    pub weights: &'a B,
    /// `[R, E]`: the rest of each point.
    pub offsets: &'a B,
    /// `[R]`: what each point is multiplied by.
    pub scales: &'a B,
}

/// `y = a x + b y` of a buffer and a part of another that is as long.
#[derive(Debug)]
pub struct ScaleAdd<'a, B: ?Sized> {
    /// The factor of `x`.
    pub a: f64,
    /// What is added.
    pub x: Part<'a, B>,
    /// The factor of the old `y`, which is not read where it is 0.
    pub b: f64,
    /// What is overwritten.
    pub y: &'a mut B,
}

/// Everything that takes rows or elements one by one.
pub trait Elementwise: Memory {
    /// `out[i] = table[ids[i]]`; table `[V, D]`, in the device's own numbers or in bf16, out `[ids, D]`. Also gathers chosen
    /// rows of an activation.
    fn gather(&self, columns: usize, table: &Self::Buffer, ids: &Self::Indices, out: &mut Self::Buffer);
    /// `table[ids[i]] = rows[i]`, in the order of `i`; the reverse of [`Elementwise::gather`]. Rows of the table have
    /// `columns` columns.
    fn write_rows(&self, operands: WriteRows<'_, Self::Buffer, Self::Indices>, table: &mut Self::Buffer);
    /// `d_table[ids[i]] += d_out[i]`, in the order of `i`.
    fn scatter_add(&self, columns: usize, d_out: &Self::Buffer, ids: &Self::Indices, d_table: &mut Self::Buffer);

    /// `out[i] = scales[i] · (weights[i] · vectors[tokens[i]] + offsets[i])`, and 0 where `scales[i]` is 0; out `[R, E]`.
    fn scaled_points(&self, operands: ScaledPoints<'_, Self::Buffer, Self::Indices>, out: &mut Self::Buffer);

    /// `out = f(gate) · up`; `gate_up` is `[T, 2 F]` (gate, then up), out `[T, F]`, `F` the width.
    fn glu(&self, activation: Activation, width: usize, gate_up: &Self::Buffer, out: &mut Self::Buffer);
    /// Gradient of [`Elementwise::glu`].
    fn glu_backward(
        &self,
        activation: Activation,
        width: usize,
        gate_up: &Self::Buffer,
        d_out: &Self::Buffer,
        d_gate_up: &mut Self::Buffer,
    );
    /// `out = x σ(x)`.
    fn silu(&self, x: &Self::Buffer, out: &mut Self::Buffer);
    /// Gradient of [`Elementwise::silu`].
    fn silu_backward(&self, x: &Self::Buffer, d_out: &Self::Buffer, d_x: &mut Self::Buffer);
    /// `out = x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`: GELU in its tanh form.
    fn gelu(&self, x: &Self::Buffer, out: &mut Self::Buffer);
    /// Gradient of [`Elementwise::gelu`].
    fn gelu_backward(&self, x: &Self::Buffer, d_out: &Self::Buffer, d_x: &mut Self::Buffer);
    /// Rounds each column to its number of levels, which lie evenly in `[−1, 1]`:
    /// `out = 2/(L−1) ⌊(L−1) (tanh(x) + 1)/2 + ½⌋ − 1`; x and out `[T, C]`, `levels` the `C` numbers `L`, each 2 or more
    /// (finite scalar quantisation: Mentzer et al., 2309.15505, section 3; symmetric as in Parker et al., 2411.19842).
    fn round_to_levels(&self, levels: &Self::Indices, x: &Self::Buffer, out: &mut Self::Buffer);
    /// Gradient of [`Elementwise::round_to_levels`] straight through the rounding: that of `tanh`.
    fn round_to_levels_backward(&self, x: &Self::Buffer, d_out: &Self::Buffer, d_x: &mut Self::Buffer);
    /// `out = x · (1 + scale[g]) + shift[g]`, `g` the group of the row.
    fn modulate(&self, operands: Modulation<'_, Self::Buffer, Self::Indices>, at: ShiftScale, out: &mut Self::Buffer);
    /// Gradients of [`Elementwise::modulate`]: overwrites `d_x`, accumulates `d_modulation`.
    fn modulate_backward(
        &self,
        operands: Modulation<'_, Self::Buffer, Self::Indices>,
        at: ShiftScale,
        d_out: &Self::Buffer,
        d_x: &mut Self::Buffer,
        d_modulation: &mut Self::Buffer,
    );
    /// `residual += gate[g] · x`; the gate begins at column `gate`.
    fn gated_add(
        &self,
        operands: Modulation<'_, Self::Buffer, Self::Indices>,
        gate: usize,
        residual: &mut Self::Buffer,
    );
    /// Gradients of [`Elementwise::gated_add`] for `x` (overwritten) and the gate (accumulated); the residual's passes on.
    fn gated_add_backward(
        &self,
        operands: Modulation<'_, Self::Buffer, Self::Indices>,
        gate: usize,
        d_out: &Self::Buffer,
        d_x: &mut Self::Buffer,
        d_modulation: &mut Self::Buffer,
    );
    /// `out = factors[g] · x`, `g` the group of the row.
    fn scale_rows(&self, operands: RowScale<'_, Self::Buffer, Self::Indices>, out: &mut Self::Buffer);
    /// Gradients of [`Elementwise::scale_rows`]: overwrites `d_x`, accumulates `d_factors`.
    fn scale_rows_backward(
        &self,
        operands: RowScale<'_, Self::Buffer, Self::Indices>,
        d_out: &Self::Buffer,
        d_x: &mut Self::Buffer,
        d_factors: &mut Self::Buffer,
    );
    /// `y = a x + b y`; with `b = 0` the old `y` is not read.
    fn scale_add(&self, a: f64, x: &Self::Buffer, b: f64, y: &mut Self::Buffer);
    /// Each of these, at once where that saves launches.
    ///
    /// # Errors
    /// When the device lacks the memory.
    fn scale_add_all(&self, terms: &mut [ScaleAdd<'_, Self::Buffer>]) -> Result<(), DeviceError>;
    /// Buffers with a factor each, one behind the other, in the place of the first elements of `to`, or added to them.
    ///
    /// # Errors
    /// When the device lacks the memory.
    fn stack(&self, parts: &[(f64, &Self::Buffer)], accumulate: bool, to: &mut Self::Buffer)
    -> Result<(), DeviceError>;
    /// `out = x / (1 − rate)` where a number stays, else 0. It is its own backward.
    fn dropout(&self, dropout: Dropout, x: &Self::Buffer, out: &mut Self::Buffer);
    /// `out[r, first + c] = factor · from[r, c]`, added to what is there or in its place; other columns stay.
    fn add_columns(&self, operands: AddColumns<'_, Self::Buffer>, out: &mut Self::Buffer);
}

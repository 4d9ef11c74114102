//! Products with a weight matrix `[N, K]`, as it is or prepared, and their gradients.

use super::{Activation, DeviceError, Elementwise};
use crate::{Quantised, WeightFormat};
use std::fmt::Debug;

/// Shape of a product with a weight matrix `[outputs, inputs]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinearShape {
    /// `T`: rows of the input and of the output.
    pub rows: usize,
    /// `K`: columns of the input.
    pub inputs: usize,
    /// `N`: columns of the output.
    pub outputs: usize,
}

/// What [`Linear::linear`] reads.
#[derive(Debug)]
pub struct LinearOperands<'a, B: ?Sized> {
    /// The shape.
    pub shape: LinearShape,
    /// `[T, K]`.
    pub x: &'a B,
    /// `[N, K]`.
    pub weight: &'a B,
    /// `[N]`.
    pub bias: Option<&'a B>,
    /// Whether to add to what is there.
    pub accumulate: bool,
}

/// What [`Linear::linear_backward_input`] reads.
#[derive(Debug)]
pub struct BackwardInput<'a, B: ?Sized> {
    /// The shape of the forward product.
    pub shape: LinearShape,
    /// `[T, N]`.
    pub d_out: &'a B,
    /// `[N, K]`.
    pub weight: &'a B,
    /// Whether to add to what is there.
    pub accumulate: bool,
}

/// What [`Linear::linear_backward_weight`] reads.
#[derive(Debug)]
pub struct BackwardWeight<'a, B: ?Sized> {
    /// The shape of the forward product.
    pub shape: LinearShape,
    /// `[T, N]`.
    pub d_out: &'a B,
    /// `[T, K]`.
    pub x: &'a B,
}

impl<'a, B: ?Sized> LinearOperands<'a, B> {
    /// The same with other views of the buffers.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a B) -> &'a C) -> LinearOperands<'a, C> {
        let Self { shape, x, weight, bias, accumulate } = self;
        LinearOperands { shape, x: view(x), weight: view(weight), bias: bias.map(view), accumulate }
    }
}

impl<'a, B: ?Sized> BackwardInput<'a, B> {
    /// The same with other views of the buffers.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a B) -> &'a C) -> BackwardInput<'a, C> {
        let Self { shape, d_out, weight, accumulate } = self;
        BackwardInput { shape, d_out: view(d_out), weight: view(weight), accumulate }
    }
}

impl<'a, B: ?Sized> BackwardWeight<'a, B> {
    /// The same with other views of the buffers.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a B) -> &'a C) -> BackwardWeight<'a, C> {
        let Self { shape, d_out, x } = self;
        BackwardWeight { shape, d_out: view(d_out), x: view(x) }
    }
}

/// What [`Linear::linear_prepared`] reads.
#[derive(Debug)]
pub struct PreparedOperands<'a, B: ?Sized, P: ?Sized> {
    /// `T`.
    pub rows: usize,
    /// `[T, K]`.
    pub x: &'a B,
    /// `[N, K]`.
    pub weight: &'a P,
    /// `[N]`.
    pub bias: Option<&'a B>,
    /// Whether to add to what is there.
    pub accumulate: bool,
}

/// What [`Linear::linear_prepared_backward_input`] reads.
#[derive(Debug)]
pub struct PreparedBackwardInput<'a, B: ?Sized, P: ?Sized> {
    /// `T`.
    pub rows: usize,
    /// `[T, N]`.
    pub d_out: &'a B,
    /// `[N, K]`.
    pub weight: &'a P,
    /// Whether to add to what is there.
    pub accumulate: bool,
}

/// What [`Linear::linear_glu`] reads.
#[derive(Debug)]
pub struct GluOperands<'a, B: ?Sized, P: ?Sized> {
    /// What the gate goes through.
    pub activation: Activation,
    /// `T`.
    pub rows: usize,
    /// `[T, K]`.
    pub x: &'a B,
    /// `[F, K]`.
    pub gate: &'a P,
    /// `[F, K]`, of the gate's format.
    pub up: &'a P,
}

/// What a prepared matrix holds, row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum PreparedValues<E> {
    /// Real numbers, rounded as it was prepared.
    Real(Vec<E>),
    /// Integers with scales.
    Quantised(Quantised),
}

/// Products with weights.
pub trait Linear: Elementwise {
    /// A matrix in the order and the numbers in which the device multiplies by it.
    type Prepared: Debug + Send + Sync;

    /// `out = x wᵀ (+ bias) (+ out if accumulate)`; out `[T, N]`.
    fn linear(&self, operands: LinearOperands<'_, Self::Buffer>, out: &mut Self::Buffer);
    /// `out = residual + x wᵀ (+ bias)`, whatever `accumulate` is; out and residual `[T, N]`. It is what
    /// [`Linear::linear`] adds to a copy of the residual, to the bit.
    fn linear_onto(&self, operands: LinearOperands<'_, Self::Buffer>, residual: &Self::Buffer, out: &mut Self::Buffer);
    /// `d_x = d_out w (+ d_x if accumulate)`, `[T, K]`; also the mixture of word vectors: probabilities `[T, V]` times
    /// a table `[V, D]`.
    fn linear_backward_input(&self, operands: BackwardInput<'_, Self::Buffer>, d_x: &mut Self::Buffer);
    /// `d_weight += d_outᵀ x`, `d_bias += Σ_rows d_out`.
    fn linear_backward_weight(
        &self,
        operands: BackwardWeight<'_, Self::Buffer>,
        d_weight: &mut Self::Buffer,
        d_bias: Option<&mut Self::Buffer>,
    );

    /// The numbers in which this device keeps a matrix by default; its products are then those of
    /// [`Linear::linear`], to the bit.
    fn format(&self) -> WeightFormat;
    /// Prepares a matrix `[N, K]` for products; `shape` is `(N, K)`.
    ///
    /// # Errors
    /// When the matrix cannot be kept in that format, or the device lacks the memory.
    fn prepare(
        &self,
        shape: (usize, usize),
        weight: &Self::Buffer,
        format: WeightFormat,
    ) -> Result<Self::Prepared, DeviceError>;
    /// Prepares a matrix that is quantised already.
    ///
    /// # Errors
    /// When the device lacks the memory.
    fn prepare_quantised(&self, matrix: Quantised) -> Result<Self::Prepared, DeviceError>;
    /// Rows and columns of a prepared matrix: `(N, K)`.
    fn prepared_shape(&self, weight: &Self::Prepared) -> (usize, usize);
    /// Bytes that a prepared matrix takes on the device.
    fn prepared_bytes(&self, weight: &Self::Prepared) -> usize;
    /// What a prepared matrix holds, on the host and without rounding: preparing it again makes the same matrix.
    ///
    /// # Errors
    /// When the device fails.
    fn read_prepared(&self, weight: &Self::Prepared) -> Result<PreparedValues<Self::Element>, DeviceError>;
    /// As [`Linear::linear`], with a prepared matrix.
    fn linear_prepared(&self, operands: PreparedOperands<'_, Self::Buffer, Self::Prepared>, out: &mut Self::Buffer);
    /// `d_x = d_out w (+ d_x if accumulate)` with what a prepared matrix stands for, in its numbers where they are real
    /// and in the device's precision where they are integers; the rounding of the input of a product with integers
    /// counts as no change.
    fn linear_prepared_backward_input(
        &self,
        operands: PreparedBackwardInput<'_, Self::Buffer, Self::Prepared>,
        d_x: &mut Self::Buffer,
    );
    /// `out = f(x gateᵀ) · (x upᵀ)`, `[T, F]`.
    fn linear_glu(&self, operands: GluOperands<'_, Self::Buffer, Self::Prepared>, out: &mut Self::Buffer);
}

//! Updates of parameters.

use super::{DeviceError, Linear};

/// One step of AdamW with decoupled weight decay (Loshchilov & Hutter, 1711.05101, algorithm 2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled: the parameter shrinks by `learning_rate · weight_decay`.
    pub weight_decay: f64,
    /// 1 at the first step: the moments are corrected by `1 − βᵏ`.
    pub step: u64,
}

/// A parameter and its moments.
#[derive(Debug)]
pub struct AdamWState<'a, B: ?Sized> {
    /// The mean of gradients.
    pub first: &'a mut B,
    /// The mean of their squares.
    pub second: &'a mut B,
    /// The parameter.
    pub parameter: &'a mut B,
}

impl<'a, B: ?Sized> AdamWState<'a, B> {
    /// The same with other views of the buffers.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a mut B) -> &'a mut C) -> AdamWState<'a, C> {
        AdamWState { first: view(self.first), second: view(self.second), parameter: view(self.parameter) }
    }
}

/// One update of a parameter.
#[derive(Debug)]
pub struct AdamWUpdate<'a, B: ?Sized> {
    /// Its settings.
    pub step: AdamW,
    /// The gradient, as long as the parameter.
    pub gradient: &'a B,
    /// What changes.
    pub state: AdamWState<'a, B>,
}

/// The iteration that takes the singular values of matrices near 1: `X ← X / (‖X‖ + ε)`, and then so many times
/// `X ← a X + (b A + c A²) X` with `A = X Xᵀ`; of matrices with more rows than columns `X ← a X + X (b A + c A²)` with
/// `A = Xᵀ X`, which is the same transposed (Newton–Schulz of fifth order, as in Muon: Jordan et al. 2024).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NewtonSchulz {
    /// How many matrices lie one behind the other.
    pub matrices: usize,
    /// Rows of each.
    pub rows: usize,
    /// Columns of each.
    pub columns: usize,
    /// `a`, `b` and `c`.
    pub coefficients: (f64, f64, f64),
    /// How often.
    pub iterations: usize,
    /// `ε`: keeps zeros from dividing by zero.
    pub epsilon: f64,
}

/// What [`Optimiser::newton_schulz`] needs beside the matrices; what it holds afterwards is not said.
#[derive(Debug)]
pub struct NewtonSchulzScratch<'a, B: ?Sized> {
    /// As long as the matrices.
    pub next: &'a mut B,
    /// The square of the shorter side for each matrix.
    pub gram: &'a mut B,
    /// As long.
    pub polynomial: &'a mut B,
}

/// Optimisation.
pub trait Optimiser: Linear {
    /// Sum of squares of all elements, in f64, in a fixed order.
    fn sum_of_squares(&self, x: &Self::Buffer) -> f64;
    /// The same of each of several buffers, for which a device waits once.
    fn sums_of_squares(&self, buffers: &[Self::Buffer]) -> Vec<f64>;
    /// See [`NewtonSchulz`]; the products are in the device's precision. `x` may be longer than the matrices.
    ///
    /// # Errors
    /// When the device lacks the memory.
    fn newton_schulz(
        &self,
        iteration: NewtonSchulz,
        x: &mut Self::Buffer,
        scratch: NewtonSchulzScratch<'_, Self::Buffer>,
    ) -> Result<(), DeviceError>;
    /// One AdamW update with the gradient multiplied by `gradient_scale` (clipping).
    fn adamw(&self, step: AdamW, gradient_scale: f64, gradient: &Self::Buffer, state: AdamWState<'_, Self::Buffer>);
    /// Each of these, at once where that saves launches.
    ///
    /// # Errors
    /// When the device lacks the memory.
    fn adamw_all(&self, gradient_scale: f64, updates: Vec<AdamWUpdate<'_, Self::Buffer>>) -> Result<(), DeviceError>;
}

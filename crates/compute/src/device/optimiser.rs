//! Updates of parameters.

use super::Memory;

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

/// Optimisation.
pub trait Optimiser: Memory {
    /// Sum of squares of all elements, in f64, in a fixed order.
    fn sum_of_squares(&self, x: &Self::Buffer) -> f64;
    /// One AdamW update with the gradient multiplied by `gradient_scale` (clipping).
    fn adamw(&self, step: AdamW, gradient_scale: f64, gradient: &Self::Buffer, state: AdamWState<'_, Self::Buffer>);
}

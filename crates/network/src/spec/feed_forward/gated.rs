//! A feed-forward part with a gate.

use crate::NetworkError;
use crate::spec::check_size;

/// Three matrices: gate, value and the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatedSpec {
    /// `F`: columns between its matrices.
    pub width: usize,
    /// What happens between its matrices.
    pub activation: Activation,
}

/// What happens between the matrices of a gated feed-forward part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `silu(gate) · value` (Shazeer, 2002.05202).
    Swiglu,
}

impl GatedSpec {
    /// Gate and value side by side, and their product.
    pub(crate) fn inner_elements(&self) -> usize {
        3 * self.width
    }

    pub(super) fn validate(&self) -> Result<(), NetworkError> {
        check_size("feed_forward_width", self.width)
    }
}

//! A feed-forward part without a gate.

use crate::NetworkError;
use crate::spec::check_size;

/// Two matrices with GELU between them (Hendrycks & Gimpel, 1606.08415, in its tanh form), as in GPT-2 and DiT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainSpec {
    /// `F`: columns between its matrices.
    pub width: usize,
    /// Whether both have biases.
    pub bias: bool,
}

impl PlainSpec {
    /// Before and behind GELU.
    pub(super) fn inner_elements(&self) -> usize {
        2 * self.width
    }

    pub(super) fn validate(&self) -> Result<(), NetworkError> {
        check_size("feed_forward_width", self.width)
    }
}

//! A feed-forward part with a gate.

use crate::NetworkError;
use crate::spec::check_size;
use aquatint_compute::Activation;

/// Three matrices: gate, value and the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatedSpec {
    /// `F`: columns between its matrices.
    pub width: usize,
    /// What happens between its matrices.
    pub activation: Activation,
}

impl GatedSpec {
    /// Gate and value side by side, and their product.
    pub(crate) fn inner_elements(&self) -> usize {
        3 * self.width
    }

    pub(in crate::spec) fn validate(&self) -> Result<(), NetworkError> {
        check_size("feed_forward_width", self.width)
    }
}

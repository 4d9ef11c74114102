//! The feed-forward part of a layer.

use super::{NormSpec, check_size};
use crate::NetworkError;

/// A feed-forward part of three matrices: gate, value and the way back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FeedForwardSpec {
    /// The norm before it.
    pub norm: NormSpec,
    /// `F`: columns between its matrices.
    pub width: usize,
    /// What happens between its matrices.
    pub activation: Activation,
}

/// What happens between the matrices of a feed-forward part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `silu(gate) · value` (Shazeer, 2002.05202).
    Swiglu,
}

impl FeedForwardSpec {
    /// SwiGLU of this width.
    pub fn new(width: usize) -> Self {
        Self { norm: NormSpec::default(), width, activation: Activation::Swiglu }
    }

    pub(super) fn validate(&self) -> Result<(), NetworkError> {
        check_size("feed_forward_width", self.width)?;
        self.norm.validate()
    }
}

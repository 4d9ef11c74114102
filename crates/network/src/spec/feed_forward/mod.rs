//! The feed-forward part of a layer.

mod gated;
mod plain;

pub use gated::{Activation, GatedSpec};
pub use plain::PlainSpec;

use super::NormSpec;
use crate::NetworkError;
use std::fmt;

/// A feed-forward part: what is made of each row by itself, behind a norm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FeedForwardSpec {
    /// The norm before it.
    pub norm: NormSpec,
    /// What follows the norm.
    pub kind: FeedForwardKind,
}

/// The kinds of feed-forward parts. Shown in words: the width of a gated or a plain one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FeedForwardKind {
    /// Three matrices: gate, value and the way back.
    Gated(GatedSpec),
    /// Two matrices with GELU between them.
    Plain(PlainSpec),
}

impl FeedForwardSpec {
    /// SwiGLU of this width.
    pub fn new(width: usize) -> Self {
        let gated = GatedSpec { width, activation: Activation::Swiglu };
        Self { norm: NormSpec::default(), kind: FeedForwardKind::Gated(gated) }
    }

    /// The one gated part that it is, for families that know no other kind.
    pub fn gated(&self) -> Option<GatedSpec> {
        match self.kind {
            FeedForwardKind::Gated(gated) => Some(gated),
            FeedForwardKind::Plain(_) => None,
        }
    }

    /// Elements that are there of each row at one time between its matrices, at most.
    pub fn inner_elements(&self) -> usize {
        match self.kind {
            FeedForwardKind::Gated(gated) => gated.inner_elements(),
            FeedForwardKind::Plain(plain) => plain.inner_elements(),
        }
    }

    pub(super) fn validate(&self) -> Result<(), NetworkError> {
        match self.kind {
            FeedForwardKind::Gated(gated) => gated.validate()?,
            FeedForwardKind::Plain(plain) => plain.validate()?,
        }
        self.norm.validate()
    }
}

impl fmt::Display for FeedForwardKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gated(gated) => write!(f, "{}", gated.width),
            Self::Plain(plain) => write!(f, "{} without a gate", plain.width),
        }
    }
}

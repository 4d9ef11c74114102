//! The feed-forward part of a layer.

mod experts;
mod gated;
mod plain;

pub use experts::{ExpertsSpec, RouterSpec};
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

/// The kinds of feed-forward parts. Shown in words: the width of a gated or a plain one, the number of experts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FeedForwardKind {
    /// Three matrices: gate, value and the way back.
    Gated(GatedSpec),
    /// Two matrices with GELU between them.
    Plain(PlainSpec),
    /// Gated parts of which each row goes to a few.
    Experts(ExpertsSpec),
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
            FeedForwardKind::Experts(_) => None,
        }
    }

    /// The experts that it is a mixture of.
    pub fn experts(&self) -> Option<ExpertsSpec> {
        match self.kind {
            FeedForwardKind::Experts(experts) => Some(experts),
            FeedForwardKind::Gated(_) | FeedForwardKind::Plain(_) => None,
        }
    }

    /// Elements of each row between its matrices, in a network of this width.
    pub fn inner_elements(&self, width: usize) -> usize {
        match self.kind {
            FeedForwardKind::Gated(gated) => gated.inner_elements(),
            FeedForwardKind::Plain(plain) => plain.inner_elements(),
            FeedForwardKind::Experts(experts) => experts.inner_elements(width),
        }
    }

    /// Parameters that a row does not read: those of the experts that it does not go to.
    pub(super) fn idle_parameters(&self, width: usize) -> usize {
        match self.kind {
            FeedForwardKind::Gated(_) | FeedForwardKind::Plain(_) => 0,
            FeedForwardKind::Experts(experts) => experts.idle_parameters(width),
        }
    }

    pub(super) fn validate(&self) -> Result<(), NetworkError> {
        match self.kind {
            FeedForwardKind::Gated(gated) => gated.validate()?,
            FeedForwardKind::Plain(plain) => plain.validate()?,
            FeedForwardKind::Experts(experts) => experts.validate()?,
        }
        self.norm.validate()
    }
}

impl fmt::Display for FeedForwardKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gated(gated) => write!(f, "{}", gated.width),
            Self::Plain(plain) => write!(f, "{} without a gate", plain.width),
            Self::Experts(experts) => experts.fmt(f),
        }
    }
}

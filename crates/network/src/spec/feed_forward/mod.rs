//! The feed-forward part of a layer.

mod experts;
mod gated;
mod parallel;
mod plain;

pub use aquatint_compute::Activation;
pub use experts::{BlockRouting, ExpertsSpec, RouterSpec};
pub use gated::GatedSpec;
pub use parallel::ParallelSpec;
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
    /// The norm of what it gives, before it is added to the stream; `None` where there is none.
    pub post_norm: Option<NormSpec>,
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
    /// A gated part and a mixture side by side.
    Parallel(ParallelSpec),
}

impl FeedForwardSpec {
    /// SwiGLU of this width.
    pub fn new(width: usize) -> Self {
        let gated = GatedSpec { width, activation: Activation::Swiglu };
        Self { norm: NormSpec::default(), kind: FeedForwardKind::Gated(gated), post_norm: None }
    }

    /// The one gated part that it is, for families that know no other kind.
    pub fn gated(&self) -> Option<GatedSpec> {
        match self.kind {
            FeedForwardKind::Gated(gated) => Some(gated),
            FeedForwardKind::Plain(_) | FeedForwardKind::Experts(_) | FeedForwardKind::Parallel(_) => None,
        }
    }

    /// The experts that it is a mixture of, alone or beside another part.
    pub fn experts(&self) -> Option<ExpertsSpec> {
        match self.kind {
            FeedForwardKind::Experts(experts) => Some(experts),
            FeedForwardKind::Parallel(parallel) => Some(parallel.experts),
            FeedForwardKind::Gated(_) | FeedForwardKind::Plain(_) => None,
        }
    }

    /// The rows that choose their experts together, where they do.
    pub(crate) fn block_routing(&self) -> Option<BlockRouting> {
        self.experts().and_then(|experts| experts.router.block)
    }

    /// Elements of each row between its matrices, in a network of this width.
    pub fn inner_elements(&self, width: usize) -> usize {
        match self.kind {
            FeedForwardKind::Gated(gated) => gated.inner_elements(),
            FeedForwardKind::Plain(plain) => plain.inner_elements(),
            FeedForwardKind::Experts(experts) => experts.inner_elements(width),
            FeedForwardKind::Parallel(parallel) => parallel.inner_elements(width),
        }
    }

    /// Parameters that a row does not read: those of the experts that it does not go to.
    pub(super) fn idle_parameters(&self, width: usize) -> usize {
        match self.kind {
            FeedForwardKind::Gated(_) | FeedForwardKind::Plain(_) => 0,
            FeedForwardKind::Experts(experts) => experts.idle_parameters(width),
            FeedForwardKind::Parallel(parallel) => parallel.experts.idle_parameters(width),
        }
    }

    pub(super) fn validate(&self) -> Result<(), NetworkError> {
        match self.kind {
            FeedForwardKind::Gated(gated) => gated.validate()?,
            FeedForwardKind::Plain(plain) => plain.validate()?,
            FeedForwardKind::Experts(experts) => experts.validate()?,
            FeedForwardKind::Parallel(parallel) => parallel.validate()?,
        }
        self.post_norm.map_or(Ok(()), |norm| norm.validate())?;
        self.norm.validate()
    }
}

impl fmt::Display for FeedForwardKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gated(gated) => write!(f, "{}", gated.width),
            Self::Plain(plain) => write!(f, "{} without a gate", plain.width),
            Self::Experts(experts) => experts.fmt(f),
            Self::Parallel(parallel) => parallel.fmt(f),
        }
    }
}

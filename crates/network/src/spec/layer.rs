//! One layer.

use super::{AttentionSpec, FeedForwardSpec};
use crate::NetworkError;

/// A layer: attention, then a feed-forward part, each behind its norm and added to the residual stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerSpec {
    /// How rows attend to each other.
    pub attention: AttentionSpec,
    /// What is made of each row by itself.
    pub feed_forward: FeedForwardSpec,
}

impl LayerSpec {
    /// A layer of these two parts.
    pub fn new(attention: AttentionSpec, feed_forward: FeedForwardSpec) -> Self {
        Self { attention, feed_forward }
    }

    /// What it has beyond the usual, in words.
    pub fn options(&self) -> impl Iterator<Item = &'static str> {
        self.attention.options()
    }

    pub(super) fn validate(&self) -> Result<(), NetworkError> {
        self.attention.validate()?;
        self.feed_forward.validate()
    }
}

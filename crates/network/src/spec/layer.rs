//! One layer.

use super::{AttentionSpec, FeedForwardSpec, refuse};
use crate::NetworkError;

/// The most layers of a network: many more than any has, and few enough that a list of them is small.
const MOST: usize = 1 << 16;

/// A layer: attention, then a feed-forward part, each behind its norm, and before one where it has two, and added to the
/// residual stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerSpec {
    /// How rows attend to each other.
    pub attention: AttentionSpec,
    /// What is made of each row by itself.
    pub feed_forward: FeedForwardSpec,
    /// Whether the stream is multiplied by a number behind it: one for rows of the current block behind a causal prefix, and
    /// another one for all others (DiffusionGemma, 2608.00146).
    pub scaled: bool,
}

impl LayerSpec {
    /// A layer of these two parts.
    pub fn new(attention: AttentionSpec, feed_forward: FeedForwardSpec) -> Self {
        Self { attention, feed_forward, scaled: false }
    }

    /// So many layers like this one.
    ///
    /// # Errors
    /// When there is none, or more than a network can have: the number may come from a file.
    pub fn repeated(self, layers: usize) -> Result<Vec<Self>, NetworkError> {
        check_number(layers)?;
        Ok(vec![self; layers])
    }

    /// What it has beyond the usual, in words.
    pub fn options(&self) -> impl Iterator<Item = &'static str> {
        let own = [(self.feed_forward.post_norm.is_some(), "norm after feed-forward"), (self.scaled, "layer factors")];
        self.attention.options().chain(own.into_iter().filter_map(|(there, name)| there.then_some(name)))
    }

    pub(super) fn validate(&self) -> Result<(), NetworkError> {
        self.attention.validate()?;
        self.feed_forward.validate()
    }
}

/// Refuses a number of layers that no network can have.
pub(super) fn check_number(layers: usize) -> Result<(), NetworkError> {
    if layers == 0 || layers > MOST {
        return refuse("layers", layers, format!("1 or more, and no more than {MOST}"));
    }
    Ok(())
}

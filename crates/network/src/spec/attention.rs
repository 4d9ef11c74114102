//! The attention of a layer.

use super::{NormSpec, check_size, refuse};
use crate::NetworkError;
use aquatint_compute::AttentionShape;

/// Attention with grouped queries (Ainslie et al., 2305.13245) and rotary positions (Su et al., 2104.09864).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionSpec {
    /// The norm before it.
    pub norm: NormSpec,
    /// `H`: query heads.
    pub heads: usize,
    /// `G`: key/value heads, a divisor of `heads`.
    pub key_value_heads: usize,
    /// `E`: columns per head, even.
    pub head_size: usize,
    /// How positions turn queries and keys.
    pub rope: RopeSpec,
    /// The norm of each head's query and key before they are turned, where there is one.
    pub qk_norm: Option<NormSpec>,
    /// Whether the projections to queries, keys and values are one matrix in files, one above the other; the products are
    /// the same.
    pub fused: bool,
    /// Whether the projections to queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Sliding window (Beltagy et al., 2004.05150): of the rows that the layout shows, a row sees those that are less
    /// than so many positions away, before it and after it; 1 is itself alone. `None` for all of them. Where all layers
    /// have one and blocks see only earlier ones, a KV cache frees the rows that no window reaches any more; where
    /// positions see later ones, every row is computed again at each refresh, and none can be freed.
    pub window: Option<usize>,
}

/// Rotary positions: elements `i` and `i + E/2` of a head turn by `position · theta^(−2i/E)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeSpec {
    /// Base of the frequencies.
    pub theta: f64,
}

impl Default for RopeSpec {
    fn default() -> Self {
        Self { theta: 10_000.0 }
    }
}

impl AttentionSpec {
    /// Heads of these sizes with all else as is usual: no norm of queries and keys, no biases,
    /// no window.
    pub fn new(heads: usize, key_value_heads: usize, head_size: usize) -> Self {
        Self {
            norm: NormSpec::default(),
            heads,
            key_value_heads,
            head_size,
            rope: RopeSpec::default(),
            qk_norm: None,
            fused: false,
            qkv_bias: false,
            window: None,
        }
    }

    /// Heads and their size.
    pub fn shape(&self) -> AttentionShape {
        AttentionShape { heads: self.heads, key_value_heads: self.key_value_heads, head_size: self.head_size }
    }

    /// What it has beyond the usual, in words.
    pub(super) fn options(&self) -> impl Iterator<Item = &'static str> {
        let options = [
            (self.qk_norm.is_some(), "query-key norm"),
            (self.qkv_bias, "query-key-value biases"),
            (self.window.is_some(), "sliding window"),
        ];
        options.into_iter().filter_map(|(there, name)| there.then_some(name))
    }

    pub(super) fn validate(&self) -> Result<(), NetworkError> {
        check_size("heads", self.heads)?;
        check_size("key_value_heads", self.key_value_heads)?;
        check_size("head_size", self.head_size)?;
        if !self.heads.is_multiple_of(self.key_value_heads) {
            let allowed = format!("a divisor of `heads`, which is {}", self.heads);
            return refuse("key_value_heads", self.key_value_heads, allowed);
        }
        if !self.head_size.is_multiple_of(2) {
            return refuse("head_size", self.head_size, "an even number, because positions turn pairs");
        }
        if !(self.rope.theta > 1.0 && self.rope.theta.is_finite()) {
            return refuse("rope_theta", self.rope.theta, "more than 1 (10000 is usual)");
        }
        if let Some(window) = self.window {
            check_size("window", window)?;
        }
        self.norm.validate()?;
        if let Some(norm @ NormSpec::Layer { .. }) = self.qk_norm {
            return refuse("qk_norm", format!("{norm:?}"), "an RMS norm, or none");
        }
        self.qk_norm.map_or(Ok(()), |norm| norm.validate())
    }
}

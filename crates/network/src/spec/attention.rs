//! The attention of a layer.

use super::{NormSpec, check_size, refuse};
use crate::NetworkError;
use aquatint_compute::{AttentionShape, QueryGrowth, RopeShape, Rotation, RotationScaling, Yarn};

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
    /// Whether values are the keys as they are before the norm and the rotation, so that there is no projection to values.
    pub values_are_keys: bool,
    /// The norm of what attention gives, before it is added to the stream; `None` where there is none.
    pub post_norm: Option<NormSpec>,
    /// Whether each head's value is normed too, by an RMS norm without a weight, with the ε of `qk_norm`.
    pub value_norm: bool,
    /// What the products of queries and keys are multiplied by; `None` for `1/√E`.
    pub score_scale: Option<f64>,
    /// Whether the projections to queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Sliding window (Beltagy et al., 2004.05150): of the rows that the layout shows, a row sees those that are less
    /// than so many positions away, before it and after it; 1 is itself alone. `None` for all of them. Where all layers
    /// have one and blocks see only earlier ones, a KV cache frees the rows that no window reaches any more; where
    /// positions see later ones, every row is computed again at each refresh, and none can be freed.
    pub window: Option<usize>,
}

/// Rotary positions: elements `i` and `i + R/2` of a head turn by `position · theta^(−2i/R)`, where the position is the
/// row's index on axis `i mod A` of its place (M-RoPE of Qwen2-VL, 2409.12191, section 2.1, with the pairs dealt out in
/// turn).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeSpec {
    /// Base of the frequencies.
    pub theta: f64,
    /// `R`: the first so many columns of a head turn, an even number; `None` for all of them.
    pub rotated: Option<usize>,
    /// What becomes of the frequencies.
    pub scaling: RotationScaling,
    /// By how much queries grow with their position, where they do.
    pub query_growth: Option<QueryGrowth>,
    /// `A`: axes of a row's place, the same in all layers: 1, the position, or 3, which are time, row and column.
    pub axes: usize,
}

impl Default for RopeSpec {
    fn default() -> Self {
        Self { theta: 10_000.0, rotated: None, scaling: RotationScaling::None, query_growth: None, axes: 1 }
    }
}

impl RopeSpec {
    fn validate(&self, head_size: usize) -> Result<(), NetworkError> {
        if !(self.theta > 1.0 && self.theta.is_finite()) {
            return refuse("rope_theta", self.theta, "more than 1 (10000 is usual)");
        }
        if let Some(rotated) = self.rotated
            && (rotated == 0 || rotated > head_size || !rotated.is_multiple_of(2))
        {
            return refuse("rotated", rotated, format!("an even number from 2 to `head_size`, which is {head_size}"));
        }
        if ![1, 3].contains(&self.axes) {
            return refuse("position_axes", self.axes, "1, the position, or 3, which are time, row and column");
        }
        if self.rotated.unwrap_or(head_size) / 2 < self.axes {
            let allowed =
                format!("2 · `position_axes` or more, which are {}, so that each axis turns a pair", 2 * self.axes);
            return refuse("rotated", self.rotated.unwrap_or(head_size), allowed);
        }
        if let RotationScaling::Yarn(Yarn { factor, original_context, beta_fast, beta_slow, attention_factor }) =
            self.scaling
        {
            check_size("original_context", original_context)?;
            for (name, number) in [
                ("rope_factor", factor),
                ("beta_fast", beta_fast),
                ("beta_slow", beta_slow),
                ("attention_factor", attention_factor),
            ] {
                if !(number > 0.0 && number.is_finite()) {
                    return refuse(name, number, "a number above 0");
                }
            }
        }
        if let Some(QueryGrowth { beta, every }) = self.query_growth {
            check_size("query_growth", every)?;
            if !(beta >= 0.0 && beta.is_finite()) {
                return refuse("query_growth", beta, "a number, 0 or more");
            }
        }
        Ok(())
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
            values_are_keys: false,
            post_norm: None,
            value_norm: false,
            score_scale: None,
            qkv_bias: false,
            window: None,
        }
    }

    /// Heads and their size.
    pub fn shape(&self) -> AttentionShape {
        AttentionShape { heads: self.heads, key_value_heads: self.key_value_heads, head_size: self.head_size }
    }

    /// How queries, keys and values are normed, turned and scaled. Scores have the scale `1/√E` on every device; queries
    /// make up for another one.
    pub(crate) fn rope_shape(&self) -> RopeShape {
        let Self { head_size, rope, .. } = *self;
        RopeShape {
            attention: self.shape(),
            rotation: Rotation {
                theta: rope.theta,
                columns: rope.rotated.unwrap_or(head_size),
                scaling: rope.scaling,
                axes: rope.axes,
            },
            // Without a norm of queries and keys its ε is not read.
            epsilon: self.qk_norm.map_or(0.0, |norm| norm.epsilon()),
            value_norm: self.value_norm,
            query_scale: self.score_scale.map_or(1.0, |scale| scale * (head_size as f64).sqrt()),
            query_growth: rope.query_growth,
        }
    }

    /// What it has beyond the usual, in words.
    pub(super) fn options(&self) -> impl Iterator<Item = &'static str> {
        let scaling = match self.rope.scaling {
            RotationScaling::None => "",
            RotationScaling::Proportional { .. } => "proportional rotation",
            RotationScaling::Yarn(_) => "YaRN",
        };
        let options = [
            (self.qk_norm.is_some(), "query-key norm"),
            (self.value_norm, "value norm"),
            (self.values_are_keys, "values that are keys"),
            (self.post_norm.is_some(), "norm after attention"),
            (self.score_scale.is_some(), "score scale"),
            (self.rope.rotated.is_some(), "partial rotation"),
            (!scaling.is_empty(), scaling),
            (self.rope.query_growth.is_some(), "growing queries"),
            (self.rope.axes > 1, "positions with several axes"),
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
        self.rope.validate(self.head_size)?;
        if let Some(scale) = self.score_scale
            && !(scale > 0.0 && scale.is_finite())
        {
            return refuse("score_scale", scale, "a number above 0");
        }
        if self.value_norm && self.qk_norm.is_none() {
            return refuse("value_norm", true, "false without a norm of queries and keys, whose ε it has");
        }
        if self.values_are_keys && (self.fused || self.qkv_bias) {
            return refuse("values_are_keys", true, "false where projections are one matrix or have biases");
        }
        if let Some(window) = self.window {
            check_size("window", window)?;
        }
        self.norm.validate()?;
        self.post_norm.map_or(Ok(()), |norm| norm.validate())?;
        if let Some(norm @ NormSpec::Layer { .. }) = self.qk_norm {
            return refuse("qk_norm", format!("{norm:?}"), "an RMS norm, or none");
        }
        self.qk_norm.map_or(Ok(()), |norm| norm.validate())
    }
}

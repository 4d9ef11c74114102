//! The network of a recipe: described by its keys, or that of the model that the run begins with.

use super::{LayerType, ObjectiveKind};
use crate::RecipeError;
use crate::size::{Dial, HEAD_SIZE, feed_forward_width};
use aquatint_diffusion::Layout;
use serde::{Deserialize, Serialize};

/// Overrides of the network that `size` describes. Beside the network of `initial` they are what it is said to be, and
/// `attention`, `logit_shift` and conditions what it becomes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkOverrides {
    /// Columns of the residual stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// Transformer blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<usize>,
    /// Query heads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heads: Option<usize>,
    /// Key and value heads, a divisor of `heads`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_value_heads: Option<usize>,
    /// Columns of one head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_size: Option<usize>,
    /// Columns of the feed-forward part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feed_forward_width: Option<usize>,
    /// Base of the rotary frequencies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// RMS norm of every query and key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qk_norm: Option<bool>,
    /// One matrix for reading and predicting tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tied_head: Option<bool>,
    /// Conditions the network on the time, read as this many sinusoidal features.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_conditioning: Option<usize>,
    /// Feeds the network its last prediction as a mixture of word vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_conditioning: Option<bool>,
    /// Which positions see which others: `full`, `block:LENGTH` or `causal-prefix:LENGTH`; a causal objective has its own.
    #[serde(default, with = "super::optional_text", skip_serializing_if = "Option::is_none")]
    pub attention: Option<Layout>,
    /// The row before a position answers for it, as in networks that began as causal ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logit_shift: Option<bool>,
    /// Sliding window: a layer sees only positions less than so many away. Where nothing is said, the windows of
    /// `initial`, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<usize>,
    /// Which layers have the window, as in config.json; a shorter list is repeated. Where nothing is said, all have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_types: Option<Vec<LayerType>>,
}

/// A network in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkRecipe {
    /// Columns of the residual stream.
    pub width: usize,
    /// Transformer blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub key_value_heads: usize,
    /// Columns of one head.
    pub head_size: usize,
    /// Columns of the feed-forward part.
    pub feed_forward_width: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// RMS norm of every query and key.
    pub qk_norm: bool,
    /// One matrix for reading and predicting tokens.
    pub tied_head: bool,
    /// Features of the time, for a network with time conditioning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_conditioning: Option<usize>,
    /// Feeds the network its last prediction.
    pub self_conditioning: bool,
    /// Which positions see which others.
    #[serde(with = "super::text")]
    pub attention: Layout,
    /// The row before a position answers for it.
    pub logit_shift: bool,
    /// Sliding window of the layers that have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<usize>,
    /// Which layers have it; a shorter list is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_types: Option<Vec<LayerType>>,
}

/// Where the network of a run is described.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NetworkPlan {
    /// In the recipe, in full.
    Described(NetworkRecipe),
    /// In the files of `initial`; the recipe says what it becomes, and may say what it is.
    Initial(NetworkOverrides),
}

impl Default for NetworkPlan {
    fn default() -> Self {
        Self::Initial(NetworkOverrides::default())
    }
}

impl NetworkPlan {
    /// Whether the recipe leaves everything to `initial`.
    pub(crate) fn says_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What the recipe says, key by key.
    pub(crate) fn stated(&self) -> NetworkOverrides {
        match self {
            Self::Described(network) => network.stated(),
            Self::Initial(overrides) => overrides.clone(),
        }
    }

    /// Refuses what no network can be.
    pub(crate) fn check(&self, kind: ObjectiveKind) -> Result<(), RecipeError> {
        match self {
            Self::Described(network) => network.check(kind),
            Self::Initial(overrides) => {
                let layers = overrides.layers.unwrap_or(usize::MAX);
                check_windows(overrides.window, overrides.layer_types.as_deref(), layers)?;
                check_time(overrides.time_conditioning)
            }
        }
    }
}

impl NetworkOverrides {
    /// The network of a size with these overrides, in full.
    pub(super) fn resolve(self, dial: Dial, kind: ObjectiveKind) -> NetworkRecipe {
        let width = self.width.unwrap_or(dial.width);
        let head_size = self.head_size.unwrap_or(HEAD_SIZE.min(width));
        let fitting = width.checked_div(head_size).unwrap_or(0).max(1);
        let heads = self.heads.unwrap_or(if self.width.is_some() { fitting } else { dial.heads });
        NetworkRecipe {
            width,
            layers: self.layers.unwrap_or(dial.layers),
            heads,
            key_value_heads: self.key_value_heads.unwrap_or(heads),
            head_size,
            feed_forward_width: self.feed_forward_width.unwrap_or_else(|| feed_forward_width(width)),
            rope_theta: self.rope_theta.unwrap_or(10_000.0),
            qk_norm: self.qk_norm.unwrap_or(true),
            tied_head: self.tied_head.unwrap_or(dial.tied_head),
            time_conditioning: self.time_conditioning,
            self_conditioning: self.self_conditioning.unwrap_or(false),
            attention: match kind {
                ObjectiveKind::Causal => self.attention.unwrap_or(Layout::Causal),
                _ => self.attention.unwrap_or(Layout::Full),
            },
            logit_shift: self.logit_shift.unwrap_or(false),
            window: self.window,
            layer_types: self.layer_types,
        }
    }

    /// The window of each of so many layers; `None` where nothing is said.
    pub(crate) fn windows(&self, layers: usize) -> Option<Vec<Option<usize>>> {
        self.window?;
        let types = self.layer_types.as_deref().unwrap_or(&[LayerType::SlidingAttention]);
        let has_window = types.iter().map(|layer_type| *layer_type == LayerType::SlidingAttention).cycle();
        Some(has_window.map(|has_window| self.window.filter(|_| has_window)).take(layers).collect())
    }
}

impl NetworkRecipe {
    /// The window of each layer; `None` where nothing is said.
    pub(crate) fn windows(&self) -> Option<Vec<Option<usize>>> {
        self.stated().windows(self.layers)
    }

    /// The same, key by key.
    fn stated(&self) -> NetworkOverrides {
        NetworkOverrides {
            width: Some(self.width),
            layers: Some(self.layers),
            heads: Some(self.heads),
            key_value_heads: Some(self.key_value_heads),
            head_size: Some(self.head_size),
            feed_forward_width: Some(self.feed_forward_width),
            rope_theta: Some(self.rope_theta),
            qk_norm: Some(self.qk_norm),
            tied_head: Some(self.tied_head),
            time_conditioning: self.time_conditioning,
            self_conditioning: Some(self.self_conditioning),
            attention: Some(self.attention),
            logit_shift: Some(self.logit_shift),
            window: self.window,
            layer_types: self.layer_types.clone(),
        }
    }

    fn check(&self, kind: ObjectiveKind) -> Result<(), RecipeError> {
        if !self.heads.is_multiple_of(self.key_value_heads) {
            let given = self.key_value_heads.to_string();
            return Err(RecipeError::value("network.key_value_heads", given, "a divisor of `network.heads`"));
        }
        if !self.head_size.is_multiple_of(2) {
            let allowed = "an even number, 2 or more, at most 4096";
            return Err(RecipeError::value("network.head_size", self.head_size.to_string(), allowed));
        }
        check_windows(self.window, self.layer_types.as_deref(), self.layers)?;
        check_time(self.time_conditioning)?;
        check_times(self.time_conditioning, self.attention)?;
        check_layout(self.attention, kind)
    }
}

fn check_windows(window: Option<usize>, layer_types: Option<&[LayerType]>, layers: usize) -> Result<(), RecipeError> {
    let Some(types) = layer_types else { return Ok(()) };
    let wrong = |allowed| {
        let given = toml::Value::try_from(types).map_or_else(|error| error.to_string(), |list| list.to_string());
        Err(RecipeError::value("network.layer_types", given, allowed))
    };
    if window.is_none() {
        return wrong("nothing without `network.window`");
    }
    if types.is_empty() || types.len() > layers {
        return wrong("1 or more types, at most `network.layers`");
    }
    if !types.contains(&LayerType::SlidingAttention) {
        return wrong("one \"sliding_attention\" or more, as only such layers have the `network.window`");
    }
    Ok(())
}

fn check_time(features: Option<usize>) -> Result<(), RecipeError> {
    match features.filter(|features| !features.is_multiple_of(2)) {
        None => Ok(()),
        Some(features) => {
            let allowed = "an even number, 2 or more (256 is usual)";
            Err(RecipeError::value("network.time_conditioning", features.to_string(), allowed))
        }
    }
}

/// Refuses a network that reads one time for a sequence, by so many features, whose blocks have each their own.
pub(crate) fn check_times(features: Option<usize>, layout: Layout) -> Result<(), RecipeError> {
    match features.filter(|_| layout.block_length().is_some()) {
        None => Ok(()),
        Some(features) => {
            let allowed = "nothing, since each block has a time of its own";
            Err(RecipeError::value("network.time_conditioning", format!("{features} under blocks"), allowed))
        }
    }
}

/// Refuses a layout that does not fit what is minimised.
pub(crate) fn check_layout(layout: Layout, kind: ObjectiveKind) -> Result<(), RecipeError> {
    if (layout == Layout::Causal) != (kind == ObjectiveKind::Causal) {
        let allowed = "\"full\", \"block:LENGTH\" or \"causal-prefix:LENGTH\" under diffusion, \"causal\" under a causal objective";
        return Err(RecipeError::value("network.attention", layout.to_string(), allowed));
    }
    Ok(())
}

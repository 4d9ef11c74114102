//! A recipe with every gap filled from the one dial, checked as a whole.

use super::{
    Data, Distil, GroupRecipe, LayerType, LrSchedule, Masking, ObjectiveKind, ObjectiveRecipe, OptimiserKind, Recipe,
    Run,
};
use crate::RecipeError;
use crate::preflight::ranges;
use crate::size::Size;
use aquatint_diffusion::{Alphabet, Layout, ProcessSpec, SettingError};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// An alphabet on which every process can be built whose own numbers are possible.
const ANY_TOKENS: Alphabet = Alphabet { size: 260, mask: Some(0) };

/// The network in full.
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

impl NetworkRecipe {
    /// The window of each layer.
    pub(crate) fn windows(&self) -> Vec<Option<usize>> {
        let types = self.layer_types.as_deref().unwrap_or(&[LayerType::SlidingAttention]);
        let has_window = types.iter().map(|layer_type| *layer_type == LayerType::SlidingAttention).cycle();
        has_window.map(|has_window| self.window.filter(|_| has_window)).take(self.layers).collect()
    }
}

/// How the objective is minimised, in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimiserRecipe {
    /// AdamW or Muon.
    pub kind: OptimiserKind,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Multiple of it for embeddings and head.
    pub embedding_rate: f64,
    /// Canvases of one step.
    pub batch: usize,
    /// Passes over which the batch is spread.
    pub accumulate: usize,
    /// AdamW's decay of the first moment.
    pub beta1: f64,
    /// AdamW's decay of the second moment.
    pub beta2: f64,
    /// AdamW's epsilon.
    pub epsilon: f64,
    /// Decoupled weight decay of matrices.
    pub weight_decay: f64,
    /// Muon's momentum.
    pub momentum: f64,
    /// Largest norm of the whole gradient; 0 for no clipping.
    pub clip: f64,
    /// Decay of the averaged weights; 0 for none.
    pub ema: f64,
    /// Shape of the learning rate.
    pub lr_schedule: LrSchedule,
    /// Steps of warm-up.
    pub warm_up: u64,
    /// Last share of the steps, over which `wsd` decays.
    pub decay: f64,
    /// Learning rate at the end, as a share of the peak.
    pub floor: f64,
    /// Recompute all activations in the backward pass.
    pub recompute: bool,
    /// Parameters that learn otherwise than the rest, or not at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupRecipe>,
}

/// A recipe with nothing left to guess.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolved {
    /// The run's folder.
    pub output: PathBuf,
    /// The dial as it was set.
    pub size: Size,
    /// The seed.
    pub seed: u64,
    /// A checkpoint folder whose weights and tokenizer the run begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial: Option<PathBuf>,
    /// What the model learns from.
    pub data: Data,
    /// The network.
    pub network: NetworkRecipe,
    /// What is minimised.
    pub objective: ObjectiveRecipe,
    /// A teacher whose steps the model learns to take two at a time, instead of the objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distillation: Option<Distil>,
    /// How it is minimised.
    pub optimiser: OptimiserRecipe,
    /// How long, how often, where.
    pub run: Run,
}

impl Recipe {
    /// Fills every gap from `size` and checks that the whole makes sense.
    ///
    /// # Errors
    /// When a value makes no sense, by itself or beside the others.
    pub fn resolve(self) -> Result<Resolved, RecipeError> {
        self.data.require_sources()?;
        let resolved = self.resolve_without_corpus()?;
        (crate::objectives::of(&resolved).check)(&resolved)?;
        Ok(resolved)
    }

    /// As [`Recipe::resolve`], for an objective that is given as a value ([`crate::Training::objective`]) and may bring
    /// its own canvases: `data.train` and `data.valid` may be missing, and what the recipe's own objective needs is
    /// not checked.
    ///
    /// # Errors
    /// When a value makes no sense, by itself or beside the others.
    pub fn resolve_without_corpus(self) -> Result<Resolved, RecipeError> {
        let dial = self.size.dial();
        let (n, o) = (self.network, self.optimiser);
        let width = n.width.unwrap_or(dial.width);
        let head_size = n.head_size.unwrap_or(crate::size::HEAD_SIZE.min(width));
        let fitting = width.checked_div(head_size).unwrap_or(0).max(1);
        let heads = n.heads.unwrap_or(if n.width.is_some() { fitting } else { dial.heads });
        let network = NetworkRecipe {
            width,
            layers: n.layers.unwrap_or(dial.layers),
            heads,
            key_value_heads: n.key_value_heads.unwrap_or(heads),
            head_size,
            feed_forward_width: n.feed_forward_width.unwrap_or_else(|| crate::size::feed_forward_width(width)),
            rope_theta: n.rope_theta.unwrap_or(10_000.0),
            qk_norm: n.qk_norm.unwrap_or(true),
            tied_head: n.tied_head.unwrap_or(dial.tied_head),
            time_conditioning: n.time_conditioning,
            self_conditioning: n.self_conditioning.unwrap_or(false),
            attention: match self.objective.kind {
                ObjectiveKind::Causal => n.attention.unwrap_or(Layout::Causal),
                ObjectiveKind::Diffusion => n.attention.unwrap_or(Layout::Full),
            },
            logit_shift: n.logit_shift.unwrap_or(false),
            window: n.window,
            layer_types: n.layer_types,
        };
        let optimiser = OptimiserRecipe {
            kind: o.kind.unwrap_or_default(),
            learning_rate: o.learning_rate.unwrap_or(dial.learning_rate),
            embedding_rate: o.embedding_rate.unwrap_or(1.0),
            batch: o.batch.unwrap_or(dial.batch),
            accumulate: o.accumulate.unwrap_or(1),
            beta1: o.beta1.unwrap_or(0.9),
            beta2: o.beta2.unwrap_or(0.98),
            epsilon: o.epsilon.unwrap_or(1e-8),
            weight_decay: o.weight_decay.unwrap_or(0.1),
            momentum: o.momentum.unwrap_or(0.95),
            clip: o.clip.unwrap_or(1.0),
            ema: o.ema.unwrap_or(0.999),
            lr_schedule: o.lr_schedule.unwrap_or_default(),
            warm_up: o.warm_up.unwrap_or((self.run.steps / 20).clamp(1, 500)),
            decay: o.decay.unwrap_or(0.25),
            floor: o.floor.unwrap_or(0.0),
            recompute: o.recompute.unwrap_or(false),
            groups: o.groups,
        };
        let resolved = Resolved {
            output: self.output,
            size: self.size,
            seed: self.seed,
            initial: self.initial,
            data: self.data,
            network,
            objective: self.objective,
            distillation: self.distillation,
            optimiser,
            run: self.run,
        };
        resolved.check()?;
        Ok(resolved)
    }
}

impl Resolved {
    /// The recipe as TOML, as it is printed and saved.
    ///
    /// # Errors
    /// When TOML has no form for a value.
    pub fn to_toml(&self) -> Result<String, RecipeError> {
        toml::to_string(self).map_err(|e| RecipeError::Parse { reason: e.to_string() })
    }

    /// The process with its schedule.
    pub(crate) fn process_spec(&self) -> Result<ProcessSpec, SettingError> {
        Ok(ProcessSpec { kind: self.objective.process.parse()?, schedule: self.objective.schedule.parse()? })
    }

    /// Canvases of one pass.
    pub fn canvases_per_pass(&self) -> usize {
        self.optimiser.batch / self.optimiser.accumulate
    }

    /// Where packed tokens are kept.
    pub fn cache(&self) -> PathBuf {
        self.data.cache.clone().unwrap_or_else(|| self.output.join("tokens"))
    }

    fn check(&self) -> Result<(), RecipeError> {
        ranges::check(self)?;
        let wrong =
            |key: &'static str, given: String, allowed: &'static str| Err(RecipeError::value(key, given, allowed));
        let (n, o, r, objective) = (&self.network, &self.optimiser, &self.run, &self.objective);
        if !n.heads.is_multiple_of(n.key_value_heads) {
            return wrong("network.key_value_heads", n.key_value_heads.to_string(), "a divisor of `network.heads`");
        }
        if !n.head_size.is_multiple_of(2) {
            return wrong("network.head_size", n.head_size.to_string(), "an even number, 2 or more, at most 4096");
        }
        if let Some(types) = &n.layer_types {
            let given = || toml::Value::try_from(types).map_or_else(|error| error.to_string(), |list| list.to_string());
            if n.window.is_none() {
                return wrong("network.layer_types", given(), "nothing without `network.window`");
            }
            if types.is_empty() || types.len() > n.layers {
                return wrong("network.layer_types", given(), "1 or more types, at most `network.layers`");
            }
            if !types.contains(&LayerType::SlidingAttention) {
                let allowed = "one \"sliding_attention\" or more, as only such layers have the `network.window`";
                return wrong("network.layer_types", given(), allowed);
            }
        }
        if let Some(features) = n.time_conditioning.filter(|features| !features.is_multiple_of(2)) {
            let allowed = "an even number, 2 or more (256 is usual)";
            return wrong("network.time_conditioning", features.to_string(), allowed);
        }
        if !o.batch.is_multiple_of(o.accumulate) {
            return wrong("optimiser.accumulate", o.accumulate.to_string(), "a divisor of `optimiser.batch`");
        }
        if objective.masking == Masking::Complementary && !self.canvases_per_pass().is_multiple_of(2) {
            let given = self.canvases_per_pass().to_string();
            return wrong("optimiser.batch", given, "an even number in each pass under complementary masks");
        }
        if n.time_conditioning.is_some() && n.attention.block_length().is_some() {
            let given = format!("{} under blocks", n.time_conditioning.unwrap_or(0));
            return wrong("network.time_conditioning", given, "nothing, since each block has a time of its own");
        }
        o.parameter_groups()?;
        if let (true, Some(budget)) = (o.recompute, r.activation_memory) {
            let allowed = "nothing where `optimiser.recompute` is true, since then no layer keeps its activations";
            return wrong("run.activation_memory", budget.to_string(), allowed);
        }
        if objective.prompt >= self.data.canvas_length {
            return wrong("objective.prompt", objective.prompt.to_string(), "fewer than `data.canvas_length`");
        }
        if (n.attention == Layout::Causal) != (objective.kind == ObjectiveKind::Causal) {
            let allowed = "\"full\", \"block:LENGTH\" or \"causal-prefix:LENGTH\" under diffusion, \"causal\" under a causal objective";
            return wrong("network.attention", n.attention.to_string(), allowed);
        }
        aquatint_diffusion::schedule(&objective.schedule).map_err(RecipeError::Schedule)?;
        self.process_spec().and_then(|spec| spec.build(ANY_TOKENS)).map(|_| ()).map_err(RecipeError::Process)
    }
}

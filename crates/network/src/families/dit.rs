//! What the families of DiT blocks over tokens share: a transformer with layer norms without biases, fused queries, keys
//! and values, GELU between two matrices with biases, and adaLN (Peebles & Xie, 2212.09748) from a condition that is made
//! of the total noise σ.

use super::config::{Config, wrong};
use super::{Object, TokenRoles};
use crate::{
    AttentionSpec, FeedForwardKind, FeedForwardSpec, HeadSpec, LayerSpec, NetworkError, NetworkSpec, NormSpec,
    PlainSpec, ProcessSpec, TimeInput, TimeSpec,
};
use aquatint_diffusion::{ProcessKind, ScheduleSpec};
use serde_json::Value;

/// ε of all norms, and of the log-linear schedule.
const NORM_EPSILON: f64 = 1e-5;
const SCHEDULE_EPSILON: f64 = 1e-3;
/// Sinusoidal features of σ.
const FEATURES: usize = 256;
/// The feed-forward part is so many times as wide as the stream.
const WIDENING: usize = 4;

macro_rules! names {
    ($prefix:literal) => {
        [
            ("model.embed_tokens.weight", concat!($prefix, "vocab_embed.embedding")),
            ("model.time_embedder.input_proj", concat!($prefix, "sigma_map.mlp.0")),
            ("model.time_embedder.output_proj", concat!($prefix, "sigma_map.mlp.2")),
            ("model.layers.*.modulation", concat!($prefix, "blocks.*.adaLN_modulation")),
            ("model.layers.*.input_layernorm", concat!($prefix, "blocks.*.norm1")),
            ("model.layers.*.self_attn.qkv_proj", concat!($prefix, "blocks.*.attn_qkv")),
            ("model.layers.*.self_attn.o_proj", concat!($prefix, "blocks.*.attn_out")),
            ("model.layers.*.post_attention_layernorm", concat!($prefix, "blocks.*.norm2")),
            ("model.layers.*.mlp.fc1", concat!($prefix, "blocks.*.mlp.0")),
            ("model.layers.*.mlp.fc2", concat!($prefix, "blocks.*.mlp.2")),
            ("model.norm_modulation", concat!($prefix, "output_layer.adaLN_modulation")),
            ("model.norm", concat!($prefix, "output_layer.norm_final")),
            ("lm_head", concat!($prefix, "output_layer.linear")),
        ]
    };
}

/// Names of modules and of the table, under the prefix of MDLM and BD3-LM.
pub(super) const NAMES: [(&str, &str); 13] = names!("backbone.");
/// The same where files have no prefix.
pub(super) const NAMES_WITHOUT_PREFIX: [(&str, &str); 13] = names!("");

/// The keys of a `config.json` of MDLM or BD3-LM that say what the network is.
pub(super) const REQUIRED: [&str; 6] = ["vocab_size", "hidden_dim", "n_blocks", "n_heads", "cond_dim", "model_length"];

/// The sizes of a network, and what it reads of σ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Dit {
    /// Rows of the table: the last is the mask.
    pub(super) vocabulary_size: usize,
    pub(super) width: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) condition_width: usize,
    pub(super) context_length: usize,
    pub(super) reads_sigma: bool,
}

impl Dit {
    /// What the keys of MDLM and BD3-LM say; σ is read where `time_conditioning` is set.
    pub(super) fn read(config: Config<'_>) -> Result<Self, NetworkError> {
        Ok(Self {
            vocabulary_size: config.size("vocab_size")?,
            width: config.size("hidden_dim")?,
            layers: config.size("n_blocks")?,
            heads: config.size("n_heads")?,
            condition_width: config.size("cond_dim")?,
            context_length: config.size("model_length")?,
            reads_sigma: config.optional("time_conditioning", Config::flag)?.unwrap_or(false),
        })
    }

    /// The sizes of a network that is one of these.
    pub(super) fn of(spec: &NetworkSpec) -> Self {
        Self {
            vocabulary_size: spec.vocabulary_size,
            width: spec.width,
            layers: spec.layers.len(),
            heads: spec.layers.first().map_or(0, |layer| layer.attention.heads),
            condition_width: spec.time_conditioning.and_then(|time| time.width).unwrap_or(0),
            context_length: spec.context_length,
            reads_sigma: spec.reads_time(),
        }
    }

    /// The keys that [`Dit::read`] reads.
    pub(super) fn write(self) -> Object {
        let sizes = [
            ("vocab_size", self.vocabulary_size),
            ("hidden_dim", self.width),
            ("n_blocks", self.layers),
            ("n_heads", self.heads),
            ("cond_dim", self.condition_width),
            ("model_length", self.context_length),
        ];
        let sizes = sizes.into_iter().map(|(key, size)| (key.to_owned(), Value::from(size)));
        sizes.chain([("time_conditioning".to_owned(), self.reads_sigma.into())]).collect()
    }

    /// The network; `heads` is what the number of heads is called in its file.
    pub(super) fn network(self, heads: &'static str, process: ProcessKind) -> Result<NetworkSpec, NetworkError> {
        if !self.width.is_multiple_of(self.heads) {
            let allowed = format!("a divisor of the width, which is {}", self.width);
            return Err(wrong(heads, &self.heads.into(), &allowed));
        }
        let norm = NormSpec::Layer { epsilon: NORM_EPSILON };
        let attention = AttentionSpec::new(self.heads, self.heads, self.width / self.heads);
        let plain = PlainSpec { width: WIDENING.saturating_mul(self.width), bias: true };
        let layer = LayerSpec::new(
            AttentionSpec { norm, fused: true, ..attention },
            FeedForwardSpec { norm, kind: FeedForwardKind::Plain(plain), post_norm: None },
        );
        let input = match self.reads_sigma {
            true => TimeInput::Sigma { largest: -SCHEDULE_EPSILON.ln() },
            false => TimeInput::Nothing,
        };
        let schedule = ScheduleSpec::LogLinear { epsilon: SCHEDULE_EPSILON };
        Ok(NetworkSpec {
            norm,
            head: HeadSpec { bias: true, ..HeadSpec::default() },
            time_conditioning: Some(TimeSpec { features: FEATURES, width: Some(self.condition_width), input }),
            context_length: self.context_length,
            mask_token: Some(mask(self.vocabulary_size)),
            process: ProcessSpec { kind: process, schedule },
            ..NetworkSpec::new(self.vocabulary_size, self.width, layer.repeated(self.layers)?)
        })
    }
}

/// The roles that `config.json` states: the mask is the last row of the table.
pub(super) fn roles(config: Config<'_>) -> TokenRoles {
    let mask = config.size("vocab_size").ok().map(mask);
    TokenRoles { mask, ..config.token_roles() }
}

fn mask(vocabulary_size: usize) -> u32 {
    // A size that no id reaches is refused with the network.
    u32::try_from(vocabulary_size.saturating_sub(1)).unwrap_or(u32::MAX)
}

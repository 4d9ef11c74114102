//! What the families have in common that began as Qwen2 or Qwen3: the keys of `config.json` and the names of tensors,
//! which are those of Llama checkpoints.
//!
//! Read against `modeling_qwen2.py`, `modeling_qwen3.py` and their configurations in huggingface/transformers.

use super::config::{Config, wrong};
use super::{Object, TokenRoles, rope};
use crate::{AttentionSpec, FeedForwardSpec, HeadSpec, LayerSpec, NetworkError, NetworkSpec, NormSpec, ProcessSpec};
use aquatint_diffusion::{ProcessKind, ScheduleSpec};
use serde_json::{Value, json};

/// The model that a family began as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Qwen {
    /// Queries, keys and values have biases.
    Two,
    /// Each head's query and key is normed.
    Three,
    /// Neither, as in Llama and Ministral, whose keys and names are the same.
    Neither,
}

/// Keys that have to be there.
const REQUIRED: [&str; 6] = [
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "rms_norm_eps",
    "max_position_embeddings",
];

/// Keys that are read where they are there.
const READ: [&str; 11] = [
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "hidden_act",
    "tie_word_embeddings",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "layer_types",
    "mask_token_id",
    "attention_bias",
];

/// Keys that say nothing about what a network computes: windows are not used where `use_sliding_window` is false.
const OTHERS: [&str; 2] = ["sliding_window", "max_window_layers"];

impl Qwen {
    /// All keys that a family of it may have, with its own.
    pub(super) fn keys(own: &[&'static str]) -> Vec<&'static str> {
        REQUIRED.into_iter().chain(READ).chain(OTHERS).chain(own.iter().copied()).collect()
    }

    /// The attention of each layer.
    pub(super) fn attention(self, config: Config<'_>) -> Result<AttentionSpec, NetworkError> {
        let (width, heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
        let head_size = match config.optional("head_dim", Config::size)? {
            Some(size) => size,
            None if width.is_multiple_of(heads) => width / heads,
            None => {
                let allowed = format!("a divisor of `hidden_size`, which is {width}");
                return Err(wrong("num_attention_heads", config.value("num_attention_heads"), &allowed));
            }
        };
        let norm = norm(config)?;
        Ok(AttentionSpec {
            norm,
            rope: rope::read(config)?,
            qk_norm: (self == Self::Three).then_some(norm),
            qkv_bias: self == Self::Two,
            ..AttentionSpec::new(
                heads,
                config.optional("num_key_value_heads", Config::size)?.unwrap_or(heads),
                head_size,
            )
        })
    }

    /// Layers of attention and SwiGLU, all alike.
    pub(super) fn layers(self, config: Config<'_>) -> Result<Vec<LayerSpec>, NetworkError> {
        let feed_forward =
            FeedForwardSpec { norm: norm(config)?, ..FeedForwardSpec::new(config.size("intermediate_size")?) };
        LayerSpec::new(self.attention(config)?, feed_forward).repeated(config.size("num_hidden_layers")?)
    }

    /// The network of these layers with full attention and no shift, which undoes masks. `own` are the keys that a family
    /// has beside Qwen's.
    pub(super) fn network(
        config: Config<'_>,
        own: &[&'static str],
        layers: impl FnOnce() -> Result<Vec<LayerSpec>, NetworkError>,
    ) -> Result<NetworkSpec, NetworkError> {
        config.check_features(&REQUIRED, &Self::keys(own))?;
        config.insist("hidden_act", &json!("silu"))?;
        config.insist("attention_bias", &json!(false))?;
        let layers = layers()?;
        let whole = |kinds: &Vec<Value>| kinds.iter().all(|kind| kind == "full_attention");
        if !config.value("layer_types").as_array().is_none_or(whole) {
            return Err(NetworkError::Unsupported {
                key: "layer_types",
                given: config.value("layer_types").to_string(),
                needed: "layers with windows in this family",
            });
        }
        let (vocabulary_size, width) = (config.size("vocab_size")?, config.size("hidden_size")?);
        Ok(NetworkSpec {
            norm: norm(config)?,
            head: HeadSpec {
                tied: config.optional("tie_word_embeddings", Config::flag)?.unwrap_or(false),
                ..HeadSpec::default()
            },
            context_length: config.size("max_position_embeddings")?,
            mask_token: config.optional("mask_token_id", Config::token)?,
            process: ProcessSpec { kind: ProcessKind::Masked, schedule: ScheduleSpec::Linear },
            ..NetworkSpec::new(vocabulary_size, width, layers)
        })
    }

    /// A description in Qwen's words. `own` are the family's: its names, and what it has beside Qwen's keys.
    pub(super) fn write(spec: &NetworkSpec, roles: &TokenRoles, own: Value) -> Object {
        let attention = spec.layers.first().map(|layer| layer.attention);
        let keys = json!({
            "vocab_size": spec.vocabulary_size,
            "hidden_size": spec.width,
            "num_hidden_layers": spec.layers.len(),
            "num_attention_heads": attention.map(|attention| attention.heads),
            "num_key_value_heads": attention.map(|attention| attention.key_value_heads),
            "head_dim": attention.map(|attention| attention.head_size),
            "intermediate_size": spec.layers.iter().find_map(|layer| layer.feed_forward.gated()).map(|gated| gated.width),
            "hidden_act": "silu",
            "rms_norm_eps": spec.norm.epsilon(),
            "tie_word_embeddings": spec.head.tied,
            "max_position_embeddings": spec.context_length,
            "mask_token_id": spec.mask_token,
            "bos_token_id": roles.begin,
            "eos_token_id": roles.end,
            "pad_token_id": roles.pad,
        });
        let mut config = Object::new();
        let rope = attention.map_or(Value::Null, |attention| rope::write(&attention.rope));
        for keys in [own, keys, rope] {
            if let Value::Object(keys) = keys {
                config.extend(keys);
            }
        }
        config
    }
}

fn norm(config: Config<'_>) -> Result<NormSpec, NetworkError> {
    Ok(NormSpec::Rms { epsilon: config.number("rms_norm_eps")? })
}

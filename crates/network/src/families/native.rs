//! This project's own family. `config.json` has the names that Hugging Face configurations use where one exists; a key
//! that is not read is refused, so that no setting is lost without a word.
//!
//! Tensors are named as in Llama checkpoints (`model.layers.0.self_attn.q_proj.weight`); what Llama has no name for is
//! `model.time_embedder.*`, `model.layers.N.modulation.*`, `model.norm_modulation.*`,
//! `model.self_conditioning_norm.weight`, and of a gaussian field `model.word_vectors.weight` and `model.field_*`.

use crate::tensor_list;
use crate::{NetworkError, NetworkSpec, ProcessSpec};
use aquatint_diffusion::SettingError;
use serde_json::{Map, Value, json};
use std::str::FromStr;

/// `model_type` of this family.
pub const MODEL_TYPE: &str = "aquatint";

const ARCHITECTURE: &str = "AquatintForMaskedDiffusion";

/// Keys that have to be there.
const REQUIRED: [&str; 14] = [
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "rms_norm_eps",
    "rope_theta",
    "qk_norm",
    "tie_word_embeddings",
    "self_conditioning",
    "max_position_embeddings",
    "attention",
];
/// Keys that may be there. The first five say nothing about the network and are left to their readers.
const OPTIONAL: [&str; 12] = [
    "model_type",
    "architectures",
    "torch_dtype",
    "transformers_version",
    "quantization_config",
    "hidden_act",
    "time_features",
    "logit_shift",
    "mask_token_id",
    "word_vector_size",
    "diffusion_process",
    "noise_schedule",
];

/// Names and shapes of all tensors, in a stable order.
pub fn tensors(spec: &NetworkSpec) -> Vec<(String, Vec<usize>)> {
    tensor_list::tensors(spec).into_iter().map(|tensor| (tensor.name, tensor.shape)).collect()
}

/// A description as `config.json` holds it.
pub fn to_config(spec: &NetworkSpec) -> Value {
    json!({
        "model_type": MODEL_TYPE,
        "architectures": [ARCHITECTURE],
        "vocab_size": spec.vocabulary_size,
        "hidden_size": spec.width,
        "num_hidden_layers": spec.layers,
        "num_attention_heads": spec.heads,
        "num_key_value_heads": spec.key_value_heads,
        "head_dim": spec.head_size,
        "intermediate_size": spec.feed_forward_width,
        "hidden_act": "silu",
        "rms_norm_eps": spec.norm_epsilon,
        "rope_theta": spec.rope_theta,
        "qk_norm": spec.qk_norm,
        "tie_word_embeddings": spec.tied_head,
        "time_features": spec.time_conditioning,
        "self_conditioning": spec.self_conditioning,
        "max_position_embeddings": spec.context_length,
        "attention": spec.attention.to_string(),
        "logit_shift": spec.logit_shift,
        "mask_token_id": spec.mask_token,
        "word_vector_size": spec.word_vector_size,
        "diffusion_process": spec.process.kind.to_string(),
        "noise_schedule": spec.process.schedule.to_string(),
    })
}

/// The description that a `config.json` holds.
///
/// # Errors
/// When a key is unknown, missing or has a value that it cannot have.
pub fn from_config(config: &Value) -> Result<NetworkSpec, NetworkError> {
    let Some(map) = config.as_object() else {
        return Err(wrong("config.json", config, "an object"));
    };
    if let Some(key) = map.keys().find(|key| !known().any(|name| name == key.as_str())) {
        return Err(NetworkError::UnknownKey { key: key.clone(), similar: similar(key) });
    }
    if let Some(&key) = REQUIRED.iter().find(|key| !map.contains_key(**key)) {
        return Err(NetworkError::MissingKey { key, keys: REQUIRED.join(", ") });
    }
    if let Some(given) = map.get("hidden_act").filter(|act| act.as_str() != Some("silu")) {
        return Err(wrong("hidden_act", given, "\"silu\""));
    }
    let spec = NetworkSpec {
        vocabulary_size: size(map, "vocab_size")?,
        width: size(map, "hidden_size")?,
        layers: size(map, "num_hidden_layers")?,
        heads: size(map, "num_attention_heads")?,
        key_value_heads: size(map, "num_key_value_heads")?,
        head_size: size(map, "head_dim")?,
        feed_forward_width: size(map, "intermediate_size")?,
        norm_epsilon: number(map, "rms_norm_eps")?,
        rope_theta: number(map, "rope_theta")?,
        qk_norm: flag(map, "qk_norm")?,
        tied_head: flag(map, "tie_word_embeddings")?,
        time_conditioning: optional(map, "time_features", size)?,
        self_conditioning: flag(map, "self_conditioning")?,
        context_length: size(map, "max_position_embeddings")?,
        attention: layout(&map["attention"])?,
        logit_shift: optional(map, "logit_shift", flag)?.unwrap_or(false),
        mask_token: optional(map, "mask_token_id", token)?,
        word_vector_size: optional(map, "word_vector_size", size)?,
        process: ProcessSpec {
            kind: optional(map, "diffusion_process", parsed)?.unwrap_or_default(),
            schedule: optional(map, "noise_schedule", parsed)?.unwrap_or_default(),
        },
    };
    spec.validate()?;
    Ok(spec)
}

fn known() -> impl Iterator<Item = &'static str> {
    REQUIRED.into_iter().chain(OPTIONAL)
}

fn wrong(parameter: &'static str, given: &Value, allowed: &str) -> NetworkError {
    NetworkError::Spec { parameter, given: given.to_string(), allowed: allowed.to_owned() }
}

fn size(map: &Map<String, Value>, key: &'static str) -> Result<usize, NetworkError> {
    let refuse = || wrong(key, &map[key], "a whole number, 1 or more");
    map[key].as_u64().and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0).ok_or_else(refuse)
}

fn token(map: &Map<String, Value>, key: &'static str) -> Result<u32, NetworkError> {
    let refuse = || wrong(key, &map[key], "a token's id, or null");
    map[key].as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(refuse)
}

fn number(map: &Map<String, Value>, key: &'static str) -> Result<f64, NetworkError> {
    map[key].as_f64().ok_or_else(|| wrong(key, &map[key], "a number"))
}

/// A setting by its name.
fn parsed<T: FromStr<Err = SettingError>>(map: &Map<String, Value>, key: &'static str) -> Result<T, NetworkError> {
    Ok(map[key].as_str().ok_or_else(|| wrong(key, &map[key], "a name"))?.parse()?)
}

fn flag(map: &Map<String, Value>, key: &'static str) -> Result<bool, NetworkError> {
    map[key].as_bool().ok_or_else(|| wrong(key, &map[key], "true or false"))
}

/// A key that may be absent or null.
fn optional<T>(
    map: &Map<String, Value>,
    key: &'static str,
    read: impl Fn(&Map<String, Value>, &'static str) -> Result<T, NetworkError>,
) -> Result<Option<T>, NetworkError> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => read(map, key).map(Some),
    }
}

fn layout(given: &Value) -> Result<aquatint_diffusion::Layout, NetworkError> {
    let refuse = || wrong("attention", given, "\"full\", \"causal\", \"block:LENGTH\"");
    given.as_str().and_then(|name| name.parse().ok()).ok_or_else(refuse)
}

/// The known key that shares the most with an unknown one, if it shares most of it.
fn similar(key: &str) -> Option<&'static str> {
    let words = |name: &str| name.split('_').map(str::to_owned).collect::<Vec<_>>();
    let asked = words(key);
    let shared = |name: &str| words(name).iter().filter(|word| asked.contains(word)).count();
    known().max_by_key(|name| shared(name)).filter(|name| 2 * shared(name) >= asked.len() && shared(name) > 0)
}

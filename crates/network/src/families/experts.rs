//! What the families with mixtures of experts have in common: layers of which some are mixtures, the keys of Qwen3-MoE,
//! and the chat template of Ling 2.0.
//!
//! Read against `modeling_qwen3_moe.py` and its configuration in huggingface/transformers.

use super::Object;
use super::config::{Config, wrong};
use crate::{
    Activation, AttentionSpec, ExpertsSpec, FeedForwardKind, FeedForwardSpec, LayerSpec, NetworkError, RouterSpec,
};
use serde_json::{Value, json};

/// Keys of Qwen3-MoE beside Qwen3's.
pub(super) const QWEN: [&str; 8] = [
    "num_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
    "norm_topk_prob",
    "decoder_sparse_step",
    "mlp_only_layers",
    "output_router_logits",
    "router_aux_loss_coef",
];

/// Ling 2.0's turns, without its tools: a system message ends with a line that turns long thoughts off, and there is one
/// in any case.
pub(super) const LING: &str = "\
{{ '<role>SYSTEM</role>' }}\
{% if messages and messages[0]['role'] == 'system' %}{{ messages[0]['content'] + '\\n' }}{% endif %}\
{{ 'detailed thinking off<|role_end|>' }}\
{% for message in messages %}\
{% if message['role'] == 'user' %}{{ '<role>HUMAN</role>' + message['content'] + '<|role_end|>' }}\
{% elif message['role'] == 'assistant' %}{{ '<role>ASSISTANT</role>' + message['content'] + '<|role_end|>' }}\
{% elif not loop.first %}{{ '<role>SYSTEM</role>' + message['content'] + '<|role_end|>' }}{% endif %}{% endfor %}\
{% if add_generation_prompt %}{{ '<role>ASSISTANT</role>' }}{% endif %}";

/// So many layers of one attention, of which those that `is_mixture` says are mixtures; the others are gated parts, whose
/// width stands under `width`.
pub(super) fn layers(
    config: Config<'_>,
    attention: AttentionSpec,
    (experts, width): (ExpertsSpec, &'static str),
    is_mixture: impl Fn(usize) -> bool,
) -> Result<Vec<LayerSpec>, NetworkError> {
    let norm = attention.norm;
    let mixture = FeedForwardSpec { norm, kind: FeedForwardKind::Experts(experts), post_norm: None };
    let mut layers = LayerSpec::new(attention, mixture).repeated(config.size("num_hidden_layers")?)?;
    for (_, layer) in layers.iter_mut().enumerate().filter(|(index, _)| !is_mixture(*index)) {
        layer.feed_forward = FeedForwardSpec { norm, ..FeedForwardSpec::new(config.size(width)?) };
    }
    Ok(layers)
}

/// The layers of Qwen3-MoE with this attention: those whose number, counted from 1, is a multiple of
/// `decoder_sparse_step` are mixtures, but for `mlp_only_layers`.
pub(super) fn qwen_layers(config: Config<'_>, attention: AttentionSpec) -> Result<Vec<LayerSpec>, NetworkError> {
    let step = config.optional("decoder_sparse_step", Config::size)?.unwrap_or(1);
    let listed = config.value("mlp_only_layers");
    let gated: Option<Vec<usize>> = match listed {
        Value::Null => Some(Vec::new()),
        listed => listed.as_array().and_then(|all| all.iter().map(whole).collect()),
    };
    let gated = gated.ok_or_else(|| wrong("mlp_only_layers", listed, "a list of layers, counted from 0"))?;
    let experts = ExpertsSpec {
        experts: config.size("num_experts")?,
        per_token: config.size("num_experts_per_tok")?,
        width: config.size("moe_intermediate_size")?,
        activation: Activation::Swiglu,
        router: RouterSpec::softmax(config.optional("norm_topk_prob", Config::flag)?.unwrap_or(false)),
        shared_width: None,
    };
    let is_mixture = |index: usize| (index + 1).is_multiple_of(step) && !gated.contains(&index);
    layers(config, attention, (experts, "intermediate_size"), is_mixture)
}

/// The same layers in Qwen3-MoE's words.
pub(super) fn write_qwen(layers: &[LayerSpec], config: &mut Object) {
    let gated = layers.iter().enumerate().filter(|(_, layer)| layer.feed_forward.experts().is_none());
    let gated: Vec<usize> = gated.map(|(index, _)| index).collect();
    let experts = first(layers);
    let keys = json!({
        "num_experts": experts.map(|experts| experts.experts),
        "num_experts_per_tok": experts.map(|experts| experts.per_token),
        "moe_intermediate_size": experts.map(|experts| experts.width),
        "norm_topk_prob": experts.map(|experts| experts.router.normalised),
        "decoder_sparse_step": 1,
        "mlp_only_layers": gated,
    });
    extend(config, keys);
}

/// The first mixture of a network.
pub(super) fn first(layers: &[LayerSpec]) -> Option<ExpertsSpec> {
    layers.iter().find_map(|layer| layer.feed_forward.experts())
}

/// Adds keys, in place of those that are there.
pub(super) fn extend(config: &mut Object, keys: Value) {
    if let Value::Object(keys) = keys {
        config.extend(keys);
    }
}

/// A number of things under a key, which may be 0.
pub(super) fn count(config: &Config<'_>, key: &'static str) -> Result<usize, NetworkError> {
    whole(config.value(key)).ok_or_else(|| wrong(key, config.value(key), "a whole number"))
}

fn whole(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|value| usize::try_from(value).ok())
}

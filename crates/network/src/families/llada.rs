//! LLaDA (2502.09992), LLaDA 1.5 and iLLaDA, as ML-GSAI publish them: keys of OLMo, full attention, no shift.
//!
//! Read against `modeling_llada.py` and `configuration_llada.py` of GSAI-ML/LLaDA-8B-Instruct.

use super::config::{Config, wrong};
use super::{Family, FamilyFacts, Object, TokenRoles};
use crate::{
    AttentionSpec, FeedForwardSpec, HeadSpec, LayerSpec, NetworkError, NetworkSpec, NormSpec, ProcessSpec, RopeSpec,
};
use aquatint_diffusion::{Layout, ProcessKind, ScheduleSpec};
use serde_json::{Value, json};

/// See the module.
#[derive(Debug)]
pub struct Llada;

const ARCHITECTURE: &str = "LLaDAModelLM";

/// Keys that have to be there.
const REQUIRED: [&str; 7] =
    ["vocab_size", "d_model", "n_layers", "n_heads", "rms_norm_eps", "rope_theta", "max_sequence_length"];

/// Keys that choose among parts of OLMo, with the one choice that is LLaDA's.
fn fixed() -> [(&'static str, Value); 12] {
    [
        ("block_type", json!("llama")),
        ("block_group_size", json!(1)),
        ("activation_type", json!("silu")),
        ("layer_norm_type", json!("rms")),
        ("layer_norm_with_affine", json!(true)),
        ("bias_for_layer_norm", json!(false)),
        ("attention_layer_norm", json!(false)),
        ("input_emb_norm", json!(false)),
        ("include_bias", json!(false)),
        ("alibi", json!(false)),
        ("rope", json!(true)),
        ("scale_logits", json!(false)),
    ]
}

/// Keys that are read where they are there.
const READ: [&str; 10] = [
    "embedding_size",
    "n_kv_heads",
    "multi_query_attention",
    "mlp_hidden_size",
    "mlp_ratio",
    "include_qkv_bias",
    "weight_tying",
    "mask_token_id",
    "eos_token_id",
    "pad_token_id",
];

/// Keys of OLMo that say nothing about what the network computes.
const OTHERS: [&str; 11] = [
    "alibi_bias_max",
    "residual_dropout",
    "embedding_dropout",
    "attention_layer_norm_with_affine",
    "flash_attention",
    "rope_full_precision",
    "init_cutoff_factor",
    "init_device",
    "init_fn",
    "init_std",
    "precision",
];

/// As ML-GSAI's `generate.py` is run: 128 positions in blocks of 32, one step for each, the likeliest tokens of which the
/// model is most confident.
const SAMPLING: [(&str, u64); 3] = [("gen_length", 128), ("block_length", 32), ("steps", 128)];

/// As dllm (ZHZisZZ, ca17675) mends it; what the hub's says differs by the blanks of a generation prompt.
const CHAT_TEMPLATE: &str = "{{ bos_token }}{% for message in messages %}\
     {{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}\
     {% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}";

/// All keys of LLaDA, and those that a family has beside them.
pub(super) fn keys(own: &[&'static str]) -> Vec<&'static str> {
    let fixed = fixed();
    let fixed = fixed.iter().map(|(key, _)| *key);
    REQUIRED.into_iter().chain(READ).chain(OTHERS).chain(fixed).chain(own.iter().copied()).collect()
}

/// The network of LLaDA's keys; `own` are those that a family has beside them.
pub(super) fn read(config: Config<'_>, own: &[&'static str]) -> Result<NetworkSpec, NetworkError> {
    config.check_features(&REQUIRED, &keys(own))?;
    fixed().iter().try_for_each(|(key, value)| config.insist(key, value))?;
    if config.optional("multi_query_attention", Config::flag)? == Some(true) {
        return Err(wrong("multi_query_attention", &json!(true), "false or null; `n_kv_heads` says it"));
    }
    let (width, heads) = (config.size("d_model")?, config.size("n_heads")?);
    if !width.is_multiple_of(heads) {
        return Err(wrong("n_heads", config.value("n_heads"), &format!("a divisor of `d_model`, which is {width}")));
    }
    let norm = NormSpec::Rms { epsilon: config.number("rms_norm_eps")? };
    let key_value_heads = config.optional("n_kv_heads", Config::size)?.unwrap_or(heads);
    let inner = match config.optional("mlp_hidden_size", Config::size)? {
        Some(size) => size,
        None => width * config.size("mlp_ratio")?,
    };
    let layer = LayerSpec::new(
        AttentionSpec {
            norm,
            rope: RopeSpec { theta: config.number("rope_theta")?, ..RopeSpec::default() },
            qkv_bias: config.optional("include_qkv_bias", Config::flag)?.unwrap_or(false),
            ..AttentionSpec::new(heads, key_value_heads, width / heads)
        },
        FeedForwardSpec { norm, ..FeedForwardSpec::new(inner) },
    );
    // The table may have rows for more ids than there are tokens, never for fewer.
    let tokens = config.size("vocab_size")?;
    let vocabulary_size = config.optional("embedding_size", Config::size)?.unwrap_or(tokens);
    if vocabulary_size < tokens {
        let allowed = format!("at least `vocab_size`, which is {tokens}");
        return Err(wrong("embedding_size", config.value("embedding_size"), &allowed));
    }
    Ok(NetworkSpec {
        norm,
        head: HeadSpec { tied: config.optional("weight_tying", Config::flag)?.unwrap_or(false), ..HeadSpec::default() },
        context_length: config.size("max_sequence_length")?,
        attention: Layout::Full,
        mask_token: config.optional("mask_token_id", Config::token)?,
        process: ProcessSpec { kind: ProcessKind::Masked, schedule: ScheduleSpec::Linear },
        ..NetworkSpec::new(vocabulary_size, width, layer.repeated(config.size("n_layers")?)?)
    })
}

/// A description in LLaDA's words. `own` are the family's: its names, and what it has beside LLaDA's keys.
pub(super) fn write(spec: &NetworkSpec, roles: &TokenRoles, own: Value) -> Object {
    let mut config = Object::from_iter(fixed().map(|(key, value)| (key.to_owned(), value)));
    let keys = json!({
        "vocab_size": spec.vocabulary_size,
        "embedding_size": spec.vocabulary_size,
        "d_model": spec.width,
        "n_layers": spec.layers.len(),
        "n_heads": spec.layers.first().map(|layer| layer.attention.heads),
        "n_kv_heads": spec.layers.first().map(|layer| layer.attention.key_value_heads),
        "multi_query_attention": null,
        "mlp_hidden_size": spec.layers.first().and_then(|layer| layer.feed_forward.gated()).map(|gated| gated.width),
        "rms_norm_eps": spec.norm.epsilon(),
        "rope_theta": spec.layers.first().map(|layer| layer.attention.rope.theta),
        "include_qkv_bias": spec.layers.first().map(|layer| layer.attention.qkv_bias),
        "weight_tying": spec.head.tied,
        "max_sequence_length": spec.context_length,
        "mask_token_id": spec.mask_token,
        "eos_token_id": roles.end,
        "pad_token_id": roles.pad,
    });
    for keys in [own, keys] {
        if let Value::Object(keys) = keys {
            config.extend(keys);
        }
    }
    config
}

/// What LLaDA's files call modules.
pub(super) const NAMES: &[(&str, &str)] = &[
    ("model.embed_tokens", "model.transformer.wte"),
    ("model.layers.*.input_layernorm", "model.transformer.blocks.*.attn_norm"),
    ("model.layers.*.self_attn.q_proj", "model.transformer.blocks.*.q_proj"),
    ("model.layers.*.self_attn.k_proj", "model.transformer.blocks.*.k_proj"),
    ("model.layers.*.self_attn.v_proj", "model.transformer.blocks.*.v_proj"),
    ("model.layers.*.self_attn.o_proj", "model.transformer.blocks.*.attn_out"),
    ("model.layers.*.post_attention_layernorm", "model.transformer.blocks.*.ff_norm"),
    ("model.layers.*.mlp.gate_proj", "model.transformer.blocks.*.ff_proj"),
    ("model.layers.*.mlp.up_proj", "model.transformer.blocks.*.up_proj"),
    ("model.layers.*.mlp.down_proj", "model.transformer.blocks.*.ff_out"),
    ("model.norm", "model.transformer.ln_f"),
    ("lm_head", "model.transformer.ff_out"),
];

/// `gen_length` positions are filled in all by `steps` steps, which its blocks share; `usual` are the settings where a file
/// says nothing.
pub(super) fn read_generation(mut file: Object, usual: &[(&str, u64); 3]) -> Result<Object, NetworkError> {
    for (key, value) in usual {
        file.entry(*key).or_insert_with(|| (*value).into());
    }
    let config = Config(&file);
    let [length, block, steps] = [config.size("gen_length")?, config.size("block_length")?, config.size("steps")?];
    file.shift_remove("gen_length");
    file.insert("max_new_tokens".to_owned(), length.into());
    file.insert("steps".to_owned(), steps.div_ceil(length.div_ceil(block)).into());
    file.entry("policy").or_insert_with(|| "confidence".into());
    file.entry("counting").or_insert_with(|| "even".into());
    file.entry("temperature").or_insert_with(|| 0.0.into());
    Ok(file)
}

/// The reverse of [`read_generation`].
pub(super) fn write_generation(mut settings: Object) -> Object {
    let number = |key: &str| settings.get(key).and_then(Value::as_u64);
    if let (Some(length), Some(block), Some(steps)) =
        (number("max_new_tokens"), number("block_length"), number("steps"))
    {
        settings.shift_remove("max_new_tokens");
        settings.insert("gen_length".to_owned(), length.into());
        settings.insert("steps".to_owned(), (steps * length.div_ceil(block)).into());
    }
    settings
}

/// What is constant about it.
pub(super) const FACTS: FamilyFacts = FamilyFacts {
    mask_token: Some("<|mdm_mask|>"),
    names: NAMES,
    // The mask is that of config.json, as its samplers have it: iLLaDA's tokenizer calls another token so.
    ignored_roles: &[("tokenizer_config.json", "mask_token")],
    chat_template: Some(CHAT_TEMPLATE),
    ..FamilyFacts::new("llada")
};

impl Family for Llada {
    fn facts(&self) -> &FamilyFacts {
        &FACTS
    }

    fn read_config(&self, config: &Object) -> Result<NetworkSpec, NetworkError> {
        read(Config(config), &[])
    }

    fn config_keys(&self) -> Option<Vec<&'static str>> {
        Some(keys(&[]))
    }

    fn write_config(&self, spec: &NetworkSpec, roles: &TokenRoles) -> Object {
        write(spec, roles, json!({"model_type": FACTS.model_type, "architectures": [ARCHITECTURE]}))
    }

    fn roles(&self, config: &Object) -> TokenRoles {
        Config(config).token_roles()
    }

    fn read_generation(&self, file: Object) -> Result<Object, NetworkError> {
        read_generation(file, &SAMPLING)
    }

    fn write_generation(&self, settings: Object) -> Object {
        write_generation(settings)
    }
}

//! Families in GGUF files, as llama.cpp's converter writes them: metadata as a `config.json` of the family, and tensors by
//! the names that they have here.
//!
//! Read against `convert_hf_to_gguf.py` of llama.cpp at 0c1e570, and files of `golden/gguf`.

use super::Object;
use super::config::Config;
use crate::{NetworkError, NetworkSpec};
use serde_json::{Value, json};

/// An architecture whose files can be read (`general.architecture`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// LLaDA: queries and keys are permuted for a rotation of neighbours.
    Llada,
    /// Dream.
    Dream,
    /// LLaDA-MoE.
    LladaMoe,
    /// RND1.
    Rnd1,
}

/// What a file's metadata say.
#[derive(Debug)]
pub struct Description {
    /// The architecture.
    pub architecture: Architecture,
    /// The `config.json` of the family, without the ids of tokens.
    pub config: Object,
}

/// The name of each architecture in files.
const ARCHITECTURES: [(&str, Architecture); 4] = [
    ("llada", Architecture::Llada),
    ("dream", Architecture::Dream),
    ("llada-moe", Architecture::LladaMoe),
    ("rnd1", Architecture::Rnd1),
];

/// Modules of the files, and here, with `*` for the number of a layer.
const NAMES: [(&str, &str); 15] = [
    ("token_embd", "model.embed_tokens"),
    ("output_norm", "model.norm"),
    ("output", "lm_head"),
    ("blk.*.attn_norm", "model.layers.*.input_layernorm"),
    ("blk.*.attn_q", "model.layers.*.self_attn.q_proj"),
    ("blk.*.attn_k", "model.layers.*.self_attn.k_proj"),
    ("blk.*.attn_v", "model.layers.*.self_attn.v_proj"),
    ("blk.*.attn_output", "model.layers.*.self_attn.o_proj"),
    ("blk.*.attn_q_norm", "model.layers.*.self_attn.q_norm"),
    ("blk.*.attn_k_norm", "model.layers.*.self_attn.k_norm"),
    ("blk.*.ffn_norm", "model.layers.*.post_attention_layernorm"),
    ("blk.*.ffn_gate_inp", "model.layers.*.mlp.gate"),
    ("blk.*.ffn_gate", "model.layers.*.mlp.gate_proj"),
    ("blk.*.ffn_up", "model.layers.*.mlp.up_proj"),
    ("blk.*.ffn_down", "model.layers.*.mlp.down_proj"),
];

/// Modules of the files that hold those of all experts of a layer, one after another; `#` is the number of an expert.
const EXPERTS: [(&str, &str); 3] = [
    ("blk.*.ffn_gate_exps", "model.layers.*.mlp.experts.#.gate_proj"),
    ("blk.*.ffn_up_exps", "model.layers.*.mlp.experts.#.up_proj"),
    ("blk.*.ffn_down_exps", "model.layers.*.mlp.experts.#.down_proj"),
];

/// Keys that change what a network computes and that no architecture here has.
const FOREIGN: [&str; 5] = [
    "rope.scaling.type",
    "rope.scaling.factor",
    "attention.sliding_window",
    "attention.logit_softcapping",
    "final_logit_softcapping",
];

/// The description in a file's metadata. `rows` gives the first size of a tensor, if it is there.
///
/// # Errors
/// When the architecture is not known here, or a key is missing or has a value that it cannot have.
pub fn describe(metadata: &Object, rows: &dyn Fn(&str) -> Option<usize>) -> Result<Description, NetworkError> {
    let name = metadata.get("general.architecture").and_then(Value::as_str).unwrap_or_default();
    let architecture =
        ARCHITECTURES.into_iter().find(|(known, _)| *known == name).map(|(_, architecture)| architecture);
    let architecture = architecture.ok_or_else(|| NetworkError::Spec {
        parameter: "general.architecture",
        given: format!("\"{name}\""),
        allowed: ARCHITECTURES.map(|(known, _)| format!("\"{known}\"")).join(", "),
    })?;
    // Keys of the network begin with its architecture.
    let prefix = format!("{name}.");
    let own = metadata.iter().filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?.to_owned(), value.clone())));
    let own = Object::from_iter(own);
    let keys = Config(&own);
    if let Some(key) =
        FOREIGN.into_iter().find(|key| !matches!(keys.value(key), Value::Null) && keys.value(key) != "none")
    {
        let given = keys.value(key).to_string();
        return Err(NetworkError::Unsupported { key, given, needed: "an architecture that has it" });
    }
    let rows_of_embedding = rows("token_embd.weight").unwrap_or(0);
    let (width, layers, heads) =
        (keys.size("embedding_length")?, keys.size("block_count")?, keys.size("attention.head_count")?);
    let key_value_heads = keys.optional("attention.head_count_kv", Config::size)?.unwrap_or(heads);
    // The number may be anything; every layer has its norm.
    let present = (0..layers).take_while(|layer| rows(&format!("blk.{layer}.attn_norm.weight")).is_some()).count();
    if present < layers {
        return Err(NetworkError::Spec {
            parameter: "block_count",
            given: layers.to_string(),
            allowed: format!("{present}, as many layers as there are tensors of"),
        });
    }
    // A model of experts alone has no width of other parts; where some layers have them, their tensors say it.
    let gated = (0..layers).find_map(|layer| rows(&format!("blk.{layer}.ffn_gate.weight")));
    let inner = match (keys.optional("feed_forward_length", Config::size)?, gated) {
        (_, Some(rows)) => rows,
        (Some(stated), None) => stated,
        (None, None) => keys.optional("expert_feed_forward_length", Config::size)?.unwrap_or(width),
    };
    let context = keys.size("context_length")?;
    let epsilon = keys.number("attention.layer_norm_rms_epsilon")?;
    let theta = keys.optional("rope.freq_base", Config::number)?.unwrap_or(10_000.0);
    let tied = rows("output.weight").is_none();
    let is_mixture = |layer: usize| rows(&format!("blk.{layer}.ffn_gate_inp.weight")).is_some();
    // What the families that began as Qwen have in common.
    let qwen = |own: Value| {
        let mut config = json!({
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": key_value_heads,
            "intermediate_size": inner,
            "vocab_size": rows_of_embedding,
            "max_position_embeddings": context,
            "rms_norm_eps": epsilon,
            "rope_theta": theta,
            "tie_word_embeddings": tied,
        });
        own.as_object().into_iter().flatten().for_each(|(key, value)| config[key] = value.clone());
        config
    };
    let described = match architecture {
        Architecture::LladaMoe => {
            let mut config = qwen(json!({
                "model_type": "llada",
                "architectures": ["LLaDAMoEModelLM"],
                "dense_intermediate_size": inner,
                "expert_intermediate_size": keys.size("expert_feed_forward_length")?,
                "num_experts": keys.size("expert_count")?,
                "num_experts_per_tok": keys.size("expert_used_count")?,
                "moe_layer_freq": (0..layers).map(|layer| u8::from(is_mixture(layer))).collect::<Vec<u8>>(),
                "qk_layernorm": rows("blk.0.attn_q_norm.weight").is_some(),
            }));
            config.as_object_mut().map(|config| config.shift_remove("intermediate_size"));
            config
        }
        Architecture::Rnd1 => qwen(json!({
            "model_type": "rnd1",
            "architectures": ["RND1LM"],
            "head_dim": keys.optional("attention.key_length", Config::size)?,
            "moe_intermediate_size": keys.size("expert_feed_forward_length")?,
            "num_experts": keys.size("expert_count")?,
            "num_experts_per_tok": keys.size("expert_used_count")?,
            "norm_topk_prob": true,
            "mlp_only_layers": (0..layers).filter(|layer| !is_mixture(*layer)).collect::<Vec<usize>>(),
        })),
        Architecture::Llada => json!({
            "model_type": "llada",
            "architectures": ["LLaDAModelLM"],
            "d_model": width,
            "n_layers": layers,
            "n_heads": heads,
            "n_kv_heads": key_value_heads,
            "mlp_hidden_size": inner,
            "vocab_size": rows_of_embedding,
            "embedding_size": rows_of_embedding,
            "max_sequence_length": context,
            "rms_norm_eps": epsilon,
            "rope_theta": theta,
            "include_qkv_bias": rows("blk.0.attn_q.bias").is_some(),
            "weight_tying": tied,
        }),
        Architecture::Dream => qwen(json!({"model_type": "Dream", "architectures": ["DreamModel"]})),
    };
    let config = described.as_object().cloned().unwrap_or_default();
    Ok(Description { architecture, config })
}

impl Architecture {
    /// What a tensor of a file is called here; `None` for one that no network here has.
    pub fn tensor(name: &str) -> Option<String> {
        Self::renamed(name, &NAMES)
    }

    /// What the tensors are called here that a tensor of a file holds for all experts of a layer, by the number of the
    /// expert; `None` for one that is of no experts.
    pub fn experts(name: &str) -> Option<impl Fn(usize) -> String + use<>> {
        let here = Self::renamed(name, &EXPERTS)?;
        Some(move |expert: usize| here.replace('#', &expert.to_string()))
    }

    fn renamed(name: &str, names: &[(&str, &str)]) -> Option<String> {
        let (module, kind) = name.rsplit_once('.')?;
        let number = module.split('.').find(|part| part.parse::<usize>().is_ok());
        let pattern = number.map_or_else(|| module.to_owned(), |number| module.replacen(number, "*", 1));
        let (_, here) = names.iter().find(|(there, _)| *there == pattern)?;
        Some(format!("{}.{kind}", here.replace('*', number.unwrap_or_default())))
    }

    /// Rows of a head, where a tensor has the two halves of each head interleaved.
    pub fn interleaved(self, name: &str, spec: &NetworkSpec) -> Option<usize> {
        let mut parts = name.split('.');
        let (Self::Llada, Some("blk"), Some(layer)) = (self, parts.next(), parts.next()?.parse::<usize>().ok()) else {
            return None;
        };
        let attention = spec.layers.get(layer)?.attention;
        matches!(parts.next()?, "attn_q" | "attn_k").then_some(attention.head_size)
    }

    /// Refuses metadata that contradict what the family computes.
    ///
    /// # Errors
    /// With the key.
    pub fn check(self, spec: &NetworkSpec, metadata: &Object) -> Result<(), NetworkError> {
        let flags = [("diffusion.shift_logits", spec.head.logit_shift), (self.causal_key(), false)];
        for (key, expected) in flags {
            match metadata.get(key) {
                Some(given) if *given != Value::Bool(expected) => {
                    let (given, allowed) = (given.to_string(), expected.to_string());
                    return Err(NetworkError::Spec { parameter: key, given, allowed });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn causal_key(self) -> &'static str {
        match self {
            Self::Llada => "llada.attention.causal",
            Self::Dream => "dream.attention.causal",
            Self::LladaMoe => "llada-moe.attention.causal",
            Self::Rnd1 => "rnd1.attention.causal",
        }
    }
}

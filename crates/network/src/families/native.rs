//! This project's own family. `config.json` has the names that Hugging Face configurations use where one exists; a key
//! that is neither read nor added by Hugging Face tools is refused, so that no setting is lost without a word.
//!
//! Tensors have the names that they have here, those of Llama checkpoints (`model.layers.0.self_attn.q_proj.weight`).

use super::config::{Config, wrong};
use super::{Family, FamilyFacts, Object, TokenRoles, hugging_face};
use crate::{
    AttentionSpec, FeedForwardSpec, HeadSpec, LayerSpec, NetworkError, NetworkSpec, NormSpec, ProcessSpec, RopeSpec,
    SelfConditioningSpec, TimeSpec,
};
use aquatint_diffusion::Layout;
use serde_json::{Value, json};

/// See the module.
#[derive(Debug)]
pub struct Native;

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
/// Keys that may be there.
const OPTIONAL: [&str; 10] = [
    "hidden_act",
    "time_features",
    "logit_shift",
    "mask_token_id",
    "word_vector_size",
    "diffusion_process",
    "noise_schedule",
    "sliding_window",
    "layer_types",
    "position_axes",
];

/// The words of `layer_types`: layers that see all that the layout shows, and those with a window.
const LAYER_TYPES: [&str; 2] = ["full_attention", "sliding_attention"];

/// What is constant about it.
pub(super) const FACTS: FamilyFacts =
    FamilyFacts { keeps_other_generation_keys: false, ..FamilyFacts::new("aquatint") };

impl Family for Native {
    fn facts(&self) -> &FamilyFacts {
        &FACTS
    }

    fn read_config(&self, config: &Object) -> Result<NetworkSpec, NetworkError> {
        let config = Config(config);
        config.check_keys(&REQUIRED, &OPTIONAL)?;
        config.insist("hidden_act", &json!("silu"))?;
        let norm = NormSpec::Rms { epsilon: config.number("rms_norm_eps")? };
        let sizes =
            [config.size("num_attention_heads")?, config.size("num_key_value_heads")?, config.size("head_dim")?];
        let rope = RopeSpec {
            theta: config.number("rope_theta")?,
            axes: config.optional("position_axes", Config::size)?.unwrap_or(1),
            ..RopeSpec::default()
        };
        let layer = LayerSpec::new(
            AttentionSpec {
                norm,
                rope,
                qk_norm: config.flag("qk_norm")?.then_some(norm),
                ..AttentionSpec::new(sizes[0], sizes[1], sizes[2])
            },
            FeedForwardSpec { norm, ..FeedForwardSpec::new(config.size("intermediate_size")?) },
        );
        let mut layers = layer.repeated(config.size("num_hidden_layers")?)?;
        let windows = windows(config, layers.len())?;
        layers.iter_mut().zip(windows).for_each(|(layer, window)| layer.attention.window = window);
        Ok(NetworkSpec {
            norm,
            head: HeadSpec {
                tied: config.flag("tie_word_embeddings")?,
                bias: false,
                soft_cap: None,
                logit_shift: config.optional("logit_shift", Config::flag)?.unwrap_or(false),
            },
            time_conditioning: config.optional("time_features", Config::size)?.map(TimeSpec::new),
            self_conditioning: config.flag("self_conditioning")?.then_some(SelfConditioningSpec::Added),
            context_length: config.size("max_position_embeddings")?,
            attention: layout(config.value("attention"))?,
            mask_token: config.optional("mask_token_id", Config::token)?,
            word_vector_size: config.optional("word_vector_size", Config::size)?,
            process: ProcessSpec {
                kind: config.optional("diffusion_process", Config::setting)?.unwrap_or_default(),
                schedule: config.optional("noise_schedule", Config::setting)?.unwrap_or_default(),
            },
            ..NetworkSpec::new(config.size("vocab_size")?, config.size("hidden_size")?, layers)
        })
    }

    fn config_keys(&self) -> Option<Vec<&'static str>> {
        None
    }

    fn write_config(&self, spec: &NetworkSpec, _: &TokenRoles) -> Object {
        let layer = spec.layers.first();
        let attention = layer.map(|layer| layer.attention);
        let config = json!({
            "model_type": FACTS.model_type,
            "architectures": [ARCHITECTURE],
            "vocab_size": spec.vocabulary_size,
            "hidden_size": spec.width,
            "num_hidden_layers": spec.layers.len(),
            "num_attention_heads": attention.map(|attention| attention.heads),
            "num_key_value_heads": attention.map(|attention| attention.key_value_heads),
            "head_dim": attention.map(|attention| attention.head_size),
            "intermediate_size": layer.and_then(|layer| layer.feed_forward.gated()).map(|gated| gated.width),
            "hidden_act": "silu",
            "rms_norm_eps": spec.norm.epsilon(),
            "rope_theta": attention.map(|attention| attention.rope.theta),
            "qk_norm": attention.is_some_and(|attention| attention.qk_norm.is_some()),
            "tie_word_embeddings": spec.head.tied,
            "time_features": spec.time_conditioning.map(|time| time.features),
            "self_conditioning": spec.self_conditioning.is_some(),
            "max_position_embeddings": spec.context_length,
            "attention": spec.attention.to_string(),
            "logit_shift": spec.head.logit_shift,
            "mask_token_id": spec.mask_token,
            "word_vector_size": spec.word_vector_size,
            "diffusion_process": spec.process.kind.to_string(),
            "noise_schedule": spec.process.schedule.to_string(),
        });
        let mut config = match config {
            Value::Object(config) => config,
            _ => Object::new(),
        };
        if spec.position_axes() > 1 {
            config.insert("position_axes".to_owned(), json!(spec.position_axes()));
        }
        // One window for all layers that have one; `to_config` refuses others.
        let windows = || spec.layers.iter().map(|layer| layer.attention.window);
        if let Some(window) = windows().flatten().next() {
            let types: Vec<&str> = windows().map(|window| LAYER_TYPES[usize::from(window.is_some())]).collect();
            config.insert("sliding_window".to_owned(), json!(window));
            config.insert("layer_types".to_owned(), json!(types));
        }
        config
    }

    fn roles(&self, config: &Object) -> TokenRoles {
        Config(config).token_roles()
    }

    fn read_generation(&self, file: Object) -> Result<Object, NetworkError> {
        hugging_face::read_generation(file)
    }

    fn write_generation(&self, settings: Object) -> Object {
        settings
    }
}

fn layout(given: &Value) -> Result<Layout, NetworkError> {
    let refuse = || wrong("attention", given, "\"full\", \"causal\", \"block:LENGTH\", \"causal-prefix:LENGTH\"");
    given.as_str().and_then(|name| name.parse().ok()).ok_or_else(refuse)
}

/// The window of each layer, as `sliding_window` and `layer_types` say together.
fn windows(config: Config<'_>, layers: usize) -> Result<Vec<Option<usize>>, NetworkError> {
    let (window, types) = (config.optional("sliding_window", Config::size)?, config.value("layer_types"));
    let [full, sliding] = LAYER_TYPES;
    let refuse = || {
        let allowed = format!("\"{full}\" or \"{sliding}\" for each of the {layers} layers, with `sliding_window`");
        wrong("layer_types", types, &allowed)
    };
    let Some(types) = types.as_array() else {
        return if types.is_null() && window.is_none() { Ok(vec![None; layers]) } else { Err(refuse()) };
    };
    if types.len() != layers {
        return Err(refuse());
    }
    let of_layer = |name: &Value| match name.as_str() {
        Some(name) if name == full => Ok(None),
        Some(name) if name == sliding => config.size("sliding_window").map(Some),
        _ => Err(refuse()),
    };
    types.iter().map(of_layer).collect()
}

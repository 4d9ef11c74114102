//! DiffusionGemma (2608.00146): Gemma 4 as encoder and decoder of one set of weights. The encoder is causal and writes the
//! cache; the decoder reads a canvas of random tokens behind it, all of which it sees, with the prediction of the pass before.
//! Here both are one network behind a causal prefix, whose rows of the current block are the decoder's.
//!
//! Read against `modeling_diffusion_gemma.py` and `generation_diffusion_gemma.py` of huggingface/transformers 5.23. Its
//! tower for pictures is not read, and its tensors are passed over: text never reaches them. A saved folder has the experts
//! one by one, as `experts.N.gate_proj`, where the makers stack them; both are read.

use super::config::{Config, is_same, wrong};
use super::{Family, FamilyFacts, Object, StackedTensor, TokenRoles, hugging_face};
use crate::{
    Activation, AttentionSpec, ExpertsSpec, FeedForwardKind, FeedForwardSpec, GatedSpec, HeadSpec, LayerSpec,
    NetworkError, NetworkSpec, NormSpec, ParallelSpec, ProcessSpec, RopeSpec, RotationScaling, RouterSpec,
    SelfConditioningSpec,
};
use aquatint_diffusion::{Layout, ProcessKind, ScheduleSpec};
use serde_json::{Value, json};

/// See the module.
#[derive(Debug)]
pub struct DiffusionGemma;

/// Where the keys of the network stand.
const TEXT: &str = "text_config";

/// Keys beside it. All but the first are of pictures.
const OUTER: [&str; 8] = [
    "canvas_length",
    TEXT,
    "tie_word_embeddings",
    "vision_config",
    "boi_token_id",
    "eoi_token_id",
    "image_token_id",
    "audio_config",
];

/// Keys of the network that have to be there.
const REQUIRED: [&str; 14] = [
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "moe_intermediate_size",
    "num_experts",
    "top_k_experts",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "layer_types",
    "sliding_window",
    "rms_norm_eps",
    "max_position_embeddings",
];

/// Keys that are read where they are there.
const READ: [&str; 7] = [
    "final_logit_softcapping",
    "per_layer_config",
    "global_head_dim",
    "num_global_key_value_heads",
    "rope_parameters",
    "hidden_activation",
    "tie_word_embeddings",
];

/// Keys that choose among parts of Gemma 4, with the one choice that is DiffusionGemma's.
fn fixed() -> [(&'static str, Value); 9] {
    [
        // Of pictures only: text is causal in the encoder.
        ("use_bidirectional_attention", json!("vision")),
        ("hidden_activation", json!("gelu_pytorch_tanh")),
        ("tie_word_embeddings", json!(true)),
        ("attention_k_eq_v", json!(true)),
        ("enable_moe_block", json!(true)),
        ("hidden_size_per_layer_input", json!(0)),
        ("num_kv_shared_layers", json!(0)),
        ("use_double_wide_mlp", json!(false)),
        ("attn_logit_softcapping", Value::Null),
    ]
}

/// The name of layers with a window in `layer_types`.
const SLIDING: &str = "sliding_attention";
/// The same without one.
const FULL: &str = "full_attention";

/// Positions of a canvas where nothing is said.
const CANVAS: usize = 256;

/// What is constant about it.
pub(super) const FACTS: FamilyFacts = FamilyFacts {
    names: &[
        ("model.embed_tokens", "model.decoder.embed_tokens"),
        ("model.self_conditioning.pre_norm", "model.decoder.self_conditioning.pre_norm"),
        ("model.self_conditioning.gate_proj", "model.decoder.self_conditioning.gate_proj"),
        ("model.self_conditioning.up_proj", "model.decoder.self_conditioning.up_proj"),
        ("model.self_conditioning.down_proj", "model.decoder.self_conditioning.down_proj"),
        ("model.layers.*.input_layernorm", "model.decoder.layers.*.input_layernorm"),
        ("model.layers.*.self_attn.q_proj", "model.decoder.layers.*.self_attn.q_proj"),
        ("model.layers.*.self_attn.k_proj", "model.decoder.layers.*.self_attn.k_proj"),
        ("model.layers.*.self_attn.v_proj", "model.decoder.layers.*.self_attn.v_proj"),
        ("model.layers.*.self_attn.o_proj", "model.decoder.layers.*.self_attn.o_proj"),
        ("model.layers.*.self_attn.q_norm", "model.decoder.layers.*.self_attn.q_norm"),
        ("model.layers.*.self_attn.k_norm", "model.decoder.layers.*.self_attn.k_norm"),
        ("model.layers.*.self_attn.post_norm", "model.decoder.layers.*.post_attention_layernorm"),
        ("model.layers.*.post_attention_layernorm", "model.decoder.layers.*.pre_feedforward_layernorm"),
        ("model.layers.*.post_feedforward_layernorm", "model.decoder.layers.*.post_feedforward_layernorm"),
        ("model.layers.*.mlp.gate_proj", "model.decoder.layers.*.mlp.gate_proj"),
        ("model.layers.*.mlp.up_proj", "model.decoder.layers.*.mlp.up_proj"),
        ("model.layers.*.mlp.down_proj", "model.decoder.layers.*.mlp.down_proj"),
        ("model.layers.*.mlp_norm", "model.decoder.layers.*.post_feedforward_layernorm_1"),
        ("model.layers.*.mlp.gate_norm.weight", "model.decoder.layers.*.router.scale"),
        ("model.layers.*.mlp.gate", "model.decoder.layers.*.router.proj"),
        ("model.layers.*.mlp.gate.expert_scale", "model.decoder.layers.*.router.per_expert_scale"),
        ("model.layers.*.experts_norm", "model.decoder.layers.*.pre_feedforward_layernorm_2"),
        ("model.layers.*.mlp.experts.*.gate_proj", "model.decoder.layers.*.experts.*.gate_proj"),
        ("model.layers.*.mlp.experts.*.up_proj", "model.decoder.layers.*.experts.*.up_proj"),
        ("model.layers.*.mlp.experts.*.down_proj", "model.decoder.layers.*.experts.*.down_proj"),
        ("model.layers.*.experts_post_norm", "model.decoder.layers.*.post_feedforward_layernorm_2"),
        ("model.layers.*.layer_scalar", "model.decoder.layers.*.layer_scalar"),
        ("model.layers.*.prefix_scalar", "model.encoder.language_model.layers.*.layer_scalar"),
        ("model.norm", "model.decoder.norm"),
    ],
    stacked: &[
        StackedTensor {
            name: "model.decoder.layers.*.experts.gate_up_proj",
            parts: &[
                "model.decoder.layers.*.experts.*.gate_proj.weight",
                "model.decoder.layers.*.experts.*.up_proj.weight",
            ],
        },
        StackedTensor {
            name: "model.decoder.layers.*.experts.down_proj",
            parts: &["model.decoder.layers.*.experts.*.down_proj.weight"],
        },
    ],
    unread_tensors: &["model.encoder.vision_tower.*", "model.encoder.embed_vision.*"],
    sections: &[TEXT],
    ..FamilyFacts::new("diffusion_gemma")
};

/// Which layers have a window.
fn windowed(text: Config<'_>) -> Result<Vec<bool>, NetworkError> {
    let (types, layers) = (text.value("layer_types"), text.size("num_hidden_layers")?);
    let kind = |name: &Value| match name.as_str() {
        Some(SLIDING) => Some(true),
        Some(FULL) => Some(false),
        _ => None,
    };
    let kinds: Option<Vec<bool>> = types.as_array().and_then(|types| types.iter().map(kind).collect());
    kinds.filter(|kinds| kinds.len() == layers).ok_or_else(|| {
        wrong("layer_types", types, &format!("\"{SLIDING}\" or \"{FULL}\" for each of the {layers} layers"))
    })
}

/// A size of one layer: as `per_layer_config` says it, or the key for all layers without a window, or for all.
fn size(
    text: Config<'_>,
    (index, is_windowed): (usize, bool),
    (key, whole): (&'static str, &'static str),
) -> Result<usize, NetworkError> {
    let own = text.value("per_layer_config").get(index.to_string());
    if let Some(own) = own.and_then(Value::as_object).filter(|own| !Config(own).value(key).is_null()) {
        return Config(own).size(key);
    }
    match text.optional(whole, Config::size)?.filter(|_| !is_windowed) {
        Some(size) => Ok(size),
        None => text.size(key),
    }
}

/// How positions turn the heads of layers with a window, or without.
fn rope(text: Config<'_>, is_windowed: bool, head_size: usize) -> Result<RopeSpec, NetworkError> {
    let (kind, theta) = if is_windowed { (SLIDING, 10_000.0) } else { (FULL, 1_000_000.0) };
    let none = Object::new();
    let parameters = text.value("rope_parameters").get(kind).and_then(Value::as_object);
    let parameters = Config(parameters.unwrap_or(&none));
    let theta = parameters.optional("rope_theta", Config::number)?.unwrap_or(theta);
    let scaling = match parameters.value("rope_type").as_str().unwrap_or("default") {
        "default" => RotationScaling::None,
        "proportional" => {
            let factor = parameters.optional("partial_rotary_factor", Config::number)?.unwrap_or(1.0);
            if !(factor > 0.0 && factor <= 1.0) {
                let given = parameters.value("partial_rotary_factor");
                return Err(wrong("partial_rotary_factor", given, "above 0, at most 1"));
            }
            RotationScaling::Proportional { pairs: (factor * head_size as f64 / 2.0) as usize }
        }
        _ => {
            let (key, given) = ("rope_type", parameters.value("rope_type").to_string());
            return Err(NetworkError::Unsupported { key, given, needed: "rotary frequencies of that kind" });
        }
    };
    Ok(RopeSpec { theta, scaling, ..RopeSpec::default() })
}

fn layers(text: Config<'_>) -> Result<Vec<LayerSpec>, NetworkError> {
    let norm = NormSpec::Rms { epsilon: text.number("rms_norm_eps")? };
    let activation = Activation::Geglu;
    let experts = ExpertsSpec {
        experts: text.size("num_experts")?,
        per_token: text.size("top_k_experts")?,
        width: text.size("moe_intermediate_size")?,
        activation,
        router: RouterSpec { expert_scale: true, ..RouterSpec::softmax(true) },
        shared_width: None,
    };
    let gated = GatedSpec { width: text.size("intermediate_size")?, activation };
    let kind = FeedForwardKind::Parallel(ParallelSpec { gated, experts, norm });
    let (heads, window) = (text.size("num_attention_heads")?, text.size("sliding_window")?);
    let layer = |(index, is_windowed): (usize, bool)| {
        let of_layer = |key, whole| size(text, (index, is_windowed), (key, whole));
        let head_size = of_layer("head_dim", "global_head_dim")?;
        let attention = AttentionSpec {
            norm,
            rope: rope(text, is_windowed, head_size)?,
            qk_norm: Some(norm),
            value_norm: true,
            values_are_keys: !is_windowed,
            post_norm: Some(norm),
            score_scale: Some(1.0),
            window: is_windowed.then_some(window),
            ..AttentionSpec::new(heads, of_layer("num_key_value_heads", "num_global_key_value_heads")?, head_size)
        };
        let feed_forward = FeedForwardSpec { norm, kind, post_norm: Some(norm) };
        Ok(LayerSpec { scaled: true, ..LayerSpec::new(attention, feed_forward) })
    };
    windowed(text)?.into_iter().enumerate().map(layer).collect()
}

impl Family for DiffusionGemma {
    fn facts(&self) -> &FamilyFacts {
        &FACTS
    }

    fn read_config(&self, config: &Object) -> Result<NetworkSpec, NetworkError> {
        let outer = Config(config);
        outer.check_features(&[TEXT], &OUTER)?;
        let none = Object::new();
        let text = Config(outer.value(TEXT).as_object().unwrap_or(&none));
        let known: Vec<&str> = READ.into_iter().chain(fixed().map(|(key, _)| key)).collect();
        text.check_features(&REQUIRED, &known)?;
        fixed().iter().try_for_each(|(key, value)| text.insist(key, value))?;
        outer.insist("tie_word_embeddings", &json!(true))?;
        let (width, layers) = (text.size("hidden_size")?, layers(text)?);
        let gated = GatedSpec { width: text.size("intermediate_size")?, activation: Activation::Geglu };
        Ok(NetworkSpec {
            norm: NormSpec::Rms { epsilon: text.number("rms_norm_eps")? },
            head: HeadSpec {
                tied: true,
                soft_cap: text.optional("final_logit_softcapping", Config::number)?,
                ..HeadSpec::default()
            },
            self_conditioning: Some(SelfConditioningSpec::Gated(gated)),
            embedding_scale: Some((width as f64).sqrt()),
            block_windows: true,
            context_length: text.size("max_position_embeddings")?,
            attention: Layout::CausalPrefix {
                length: outer.optional("canvas_length", Config::size)?.unwrap_or(CANVAS),
            },
            process: ProcessSpec { kind: ProcessKind::UniformPosterior, schedule: ScheduleSpec::Linear },
            ..NetworkSpec::new(text.size("vocab_size")?, width, layers)
        })
    }

    fn config_keys(&self) -> Option<Vec<&'static str>> {
        Some(OUTER.into_iter().chain(REQUIRED).chain(READ).chain(fixed().map(|(key, _)| key)).collect())
    }

    fn write_config(&self, spec: &NetworkSpec, roles: &TokenRoles) -> Object {
        let attentions = || spec.layers.iter().map(|layer| layer.attention);
        let first = |is_windowed: bool| attentions().find(move |attention| attention.window.is_some() == is_windowed);
        let base = first(true).or(first(false));
        let parallel = spec.layers.iter().find_map(|layer| match layer.feed_forward.kind {
            FeedForwardKind::Parallel(parallel) => Some(parallel),
            FeedForwardKind::Gated(_) | FeedForwardKind::Plain(_) | FeedForwardKind::Experts(_) => None,
        });
        let rope = |attention: Option<AttentionSpec>| {
            let attention = attention?;
            let theta = attention.rope.theta;
            Some(match attention.rope.scaling {
                RotationScaling::Proportional { pairs } => {
                    let factor = 2.0 * pairs as f64 / attention.head_size as f64;
                    json!({"rope_type": "proportional", "rope_theta": theta, "partial_rotary_factor": factor})
                }
                RotationScaling::None | RotationScaling::Yarn(_) => {
                    json!({"rope_type": "default", "rope_theta": theta})
                }
            })
        };
        let sizes = |attention: AttentionSpec| (attention.head_size, attention.key_value_heads);
        let differing = attentions().enumerate().filter(|(_, attention)| Some(sizes(*attention)) != base.map(sizes));
        let differing: Object = differing
            .map(|(index, attention)| {
                let own = json!({"head_dim": attention.head_size, "num_key_value_heads": attention.key_value_heads});
                (index.to_string(), own)
            })
            .collect();
        let types = attentions().map(|attention| if attention.window.is_some() { SLIDING } else { FULL });
        let mut text = Object::new();
        let keys = json!({
            "model_type": "diffusion_gemma_text",
            "vocab_size": spec.vocabulary_size,
            "hidden_size": spec.width,
            "intermediate_size": parallel.map(|parallel| parallel.gated.width),
            "moe_intermediate_size": parallel.map(|parallel| parallel.experts.width),
            "num_experts": parallel.map(|parallel| parallel.experts.experts),
            "top_k_experts": parallel.map(|parallel| parallel.experts.per_token),
            "num_hidden_layers": spec.layers.len(),
            "num_attention_heads": base.map(|attention| attention.heads),
            "num_key_value_heads": base.map(|attention| attention.key_value_heads),
            "head_dim": base.map(|attention| attention.head_size),
            "per_layer_config": differing,
            "layer_types": types.collect::<Vec<&str>>(),
            // A network without one has any.
            "sliding_window": attentions().find_map(|attention| attention.window).unwrap_or(1024),
            "rope_parameters": {SLIDING: rope(first(true)), FULL: rope(first(false))},
            "rms_norm_eps": spec.norm.epsilon(),
            "final_logit_softcapping": spec.head.soft_cap,
            "max_position_embeddings": spec.context_length,
            "hidden_activation": "gelu_pytorch_tanh",
            "tie_word_embeddings": true,
            "bos_token_id": roles.begin,
            "eos_token_id": roles.end,
            "pad_token_id": roles.pad,
        });
        if let Value::Object(keys) = keys {
            text.extend(keys);
        }
        let outer = json!({
            "model_type": FACTS.model_type,
            "architectures": ["DiffusionGemmaForBlockDiffusion"],
            "canvas_length": spec.attention.block_length(),
            "tie_word_embeddings": true,
            TEXT: text,
        });
        match outer {
            Value::Object(outer) => outer,
            _ => Object::new(),
        }
    }

    fn roles(&self, config: &Object) -> TokenRoles {
        let none = Object::new();
        Config(config.get(TEXT).and_then(Value::as_object).unwrap_or(&none)).token_roles()
    }

    /// As `generate()` samples: an entropy bound on what is accepted at each step, over canvases of random tokens.
    fn read_generation(&self, file: Object) -> Result<Object, NetworkError> {
        let mut file = hugging_face::read_generation(file)?;
        for (theirs, ours, usual) in [
            ("max_denoising_steps", "steps", json!(48)),
            ("t_max", "temperature", json!(0.8)),
            ("t_min", "final_temperature", json!(0.4)),
        ] {
            let given = file.shift_remove(theirs);
            file.entry(ours).or_insert(given.unwrap_or(usual));
        }
        let sampler = file.shift_remove("sampler_config").unwrap_or(Value::Null);
        let kind = &sampler["_cls_name"];
        if !kind.is_null() && !is_same(kind, &json!("EntropyBoundSamplerConfig")) {
            let (key, given) = ("sampler_config", kind.to_string());
            return Err(NetworkError::Unsupported { key, given, needed: "a policy like that sampler" });
        }
        let bound = match &sampler["entropy_bound"] {
            Value::Null => 0.1,
            given => given.as_f64().ok_or_else(|| wrong("entropy_bound", given, "a number of nats"))?,
        };
        file.entry("policy").or_insert_with(|| format!("entropy-bound:{bound}").into());
        for (key, usual) in [
            ("stability_threshold", json!(1)),
            ("confidence_threshold", json!(0.005)),
            ("revise", json!(true)),
            ("confidence_of", json!("shaped")),
            ("commit_likeliest", json!(true)),
            ("stop_at", json!("block")),
            ("max_new_tokens", json!(256)),
        ] {
            file.entry(key).or_insert(usual);
        }
        Ok(file)
    }

    fn write_generation(&self, settings: Object) -> Object {
        settings
    }
}

//! Descriptions on disk.

use aquatint_diffusion::Layout;
use aquatint_network::families::{self, FAMILIES, Family, Object, TokenRoles, llada::Llada, native::Native};
use aquatint_network::{
    AttentionSpec, BlockRouting, FeedForwardKind, LayerSpec, NetworkError, NetworkSpec, NormSpec, RopeSpec, TimeSpec,
};
use aquatint_testing::{Example, Golden};
use serde_json::{Value, json};

fn config(spec: &NetworkSpec) -> Value {
    families::to_config(&Native, spec, &TokenRoles::default()).unwrap()
}

fn refusal(config: &Value) -> String {
    let error = families::from_config(config).unwrap_err();
    let hint = error.hint().map_or_else(String::new, |hint| format!("; {hint}"));
    format!("{error}{hint}")
}

#[test]
fn every_description_goes_out_and_comes_back() {
    let others = ["biases", "experts", "grouped-experts", "block-experts", "encoder-and-decoder"];
    for name in Example::NAMES.into_iter().filter(|name| !others.contains(name)) {
        let spec = Example::named(name).spec;
        let config = config(&spec);
        let text = serde_json::to_string_pretty(&config).unwrap();
        assert_eq!(families::from_config(&serde_json::from_str(&text).unwrap()).unwrap(), spec, "{name}\n{text}");
    }
    let mut odd = NetworkSpec {
        norm: NormSpec::Rms { epsilon: 1.3e-7 },
        attention: Layout::Block { length: 12 },
        ..Example::named("plain").spec
    };
    for LayerSpec { attention, feed_forward, .. } in &mut odd.layers {
        *attention =
            AttentionSpec { norm: odd.norm, rope: RopeSpec { theta: 123_456.7, ..RopeSpec::default() }, ..*attention };
        feed_forward.norm = odd.norm;
    }
    assert_eq!(families::from_config(&config(&odd)).unwrap(), odd);
}

#[test]
fn windows_are_written_where_a_layer_has_one_and_only_there() {
    let plain = Example::named("plain").spec;
    let keys = ["sliding_window", "layer_types"];
    assert!(keys.iter().all(|key| config(&plain).get(key).is_none()));
    let mut spec = plain;
    spec.layers[1].attention.window = Some(3);
    let written = config(&spec);
    assert_eq!(keys.map(|key| written[key].clone()), [json!(3), json!(["full_attention", "sliding_attention"])]);
    assert_eq!(families::from_config(&written).unwrap(), spec);
    spec.layers[0].attention.window = Some(4);
    let refused = families::to_config(&Native, &spec, &TokenRoles::default());
    assert!(matches!(refused, Err(NetworkError::Inexpressible { family: "aquatint" })));
}

#[test]
fn axes_are_written_where_positions_have_several_and_only_there() {
    assert!(config(&Example::named("plain").spec).get("position_axes").is_none());
    let several = config(&Example::named("several-axes").spec);
    assert_eq!(several["position_axes"], json!(3));
    let with = |axes: Value| {
        Value::Object(
            several.as_object().unwrap().clone().into_iter().chain([("position_axes".to_owned(), axes)]).collect(),
        )
    };
    assert_eq!(
        refusal(&with(json!(2))),
        "`position_axes` is 2; allowed: 1, the position, or 3, which are time, row and column"
    );
    let mut narrow = with(json!(3));
    narrow["head_dim"] = json!(4);
    assert_eq!(
        refusal(&narrow),
        "`rotated` is 4; allowed: 2 · `position_axes` or more, which are 6, so that each axis turns a pair"
    );
    let mut unlike = Example::named("several-axes").spec;
    unlike.layers[1].attention.rope.axes = 1;
    assert_eq!(
        unlike.validate().unwrap_err().to_string(),
        "`position_axes` is 1; allowed: 3 in all layers, as in the first one"
    );
}

#[test]
fn what_other_programs_write_into_a_description_is_left_to_them() {
    let spec = Example::named("plain").spec;
    let mut config = config(&spec);
    config["torch_dtype"] = json!("bfloat16");
    config["transformers_version"] = json!("4.57.0");
    assert_eq!(families::from_config(&config).unwrap(), spec);
}

#[test]
fn descriptions_that_cannot_be_are_refused_in_words() {
    let with = |key: &str, value: Value| {
        let mut config = config(&Example::named("plain").spec);
        config[key] = value;
        refusal(&config)
    };
    let mut without = config(&Example::named("plain").spec);
    without.as_object_mut().unwrap().remove("head_dim");
    let cases = [
        (
            with("num_hidden_layer", json!(3)),
            "the description has the unknown key `num_hidden_layer`; did you mean `num_hidden_layers`?",
        ),
        (with("dropout", json!(3)), "the description has the unknown key `dropout`"),
        (
            with("sliding_window", json!(3)),
            "`layer_types` is null; allowed: \"full_attention\" or \"sliding_attention\" for each of the 2 layers, with \
             `sliding_window`",
        ),
        (
            with("layer_types", json!(["full_attention", "chunked_attention"])),
            "`layer_types` is [\"full_attention\",\"chunked_attention\"]; allowed: \"full_attention\" or \
             \"sliding_attention\" for each of the 2 layers, with `sliding_window`",
        ),
        (
            with("layer_types", json!(["full_attention"])),
            "`layer_types` is [\"full_attention\"]; allowed: \"full_attention\" or \"sliding_attention\" for each of \
             the 2 layers, with `sliding_window`",
        ),
        (
            with("layer_types", json!(["full_attention", "sliding_attention"])),
            "`sliding_window` is null; allowed: a whole number, 1 or more",
        ),
        (with("num_key_value_heads", json!(3)), "`key_value_heads` is 3; allowed: a divisor of `heads`, which is 2"),
        (with("head_dim", json!(5)), "`head_size` is 5; allowed: an even number, because positions turn pairs"),
        (with("hidden_size", json!(0)), "`hidden_size` is 0; allowed: a whole number, 1 or more"),
        (
            with("num_hidden_layers", json!(1_u64 << 40)),
            "`layers` is 1099511627776; allowed: 1 or more, and no more than 65536",
        ),
        (with("hidden_size", json!("8")), "`hidden_size` is \"8\"; allowed: a whole number, 1 or more"),
        (with("rope_theta", json!(0.5)), "`rope_theta` is 0.5; allowed: more than 1 (10000 is usual)"),
        (with("rms_norm_eps", json!(-1.0)), "`norm_epsilon` is -1; allowed: 0 or more and below 1 (1e-6 is usual)"),
        (
            with("time_features", json!(7)),
            "`time_conditioning` is 7; allowed: an even number, 2 or more (256 is usual)",
        ),
        (with("mask_token_id", json!(11)), "`mask_token` is 11; allowed: below `vocabulary_size`, which is 11"),
        (with("mask_token_id", json!(-1)), "`mask_token_id` is -1; allowed: a token's id, or null"),
        (
            with("attention", json!("block:0")),
            "`attention` is \"block:0\"; allowed: \"full\", \"causal\", \"block:LENGTH\", \"causal-prefix:LENGTH\"",
        ),
        (with("hidden_act", json!("gelu")), "`hidden_act` is \"gelu\"; allowed: \"silu\""),
        (with("qk_norm", json!(1)), "`qk_norm` is 1; allowed: true or false"),
    ];
    for (given, expected) in cases {
        assert_eq!(given, expected);
    }
    // Families that share a type are told apart by `architectures`, and named once.
    let mut allowed = FAMILIES.map(|family| format!("\"{}\"", family.facts().model_type)).to_vec();
    allowed.dedup();
    let allowed = allowed.join(", ");
    assert_eq!(with("model_type", json!("llama")), format!("`model_type` is \"llama\"; allowed: {allowed}"));
    for config in [json!({"hidden_size": 8}), json!([1, 2])] {
        assert_eq!(refusal(&config), format!("`model_type` is missing; allowed: {allowed}"));
    }
    let missing = refusal(&without);
    assert!(
        missing.starts_with("the description lacks the key `head_dim`; a description of this family has vocab_size,"),
        "{missing}"
    );
}

#[test]
fn tensors_have_the_names_that_others_expect() {
    let mut spec = Example::named("grouped-queries-and-documents").spec;
    spec.layers.truncate(1);
    let lines: Vec<String> =
        spec.tensors().iter().map(|tensor| format!("{} {:?}", tensor.name, tensor.shape)).collect();
    let expected = [
        "model.embed_tokens.weight [11, 8]",
        "model.layers.0.input_layernorm.weight [8]",
        "model.layers.0.self_attn.q_proj.weight [24, 8]",
        "model.layers.0.self_attn.k_proj.weight [12, 8]",
        "model.layers.0.self_attn.v_proj.weight [12, 8]",
        "model.layers.0.self_attn.q_norm.weight [6]",
        "model.layers.0.self_attn.k_norm.weight [6]",
        "model.layers.0.self_attn.o_proj.weight [8, 24]",
        "model.layers.0.post_attention_layernorm.weight [8]",
        "model.layers.0.mlp.gate_proj.weight [12, 8]",
        "model.layers.0.mlp.up_proj.weight [12, 8]",
        "model.layers.0.mlp.down_proj.weight [8, 12]",
        "model.norm.weight [8]",
    ];
    assert_eq!(lines, expected);
}

/// A network that LLaDA's words suffice for.
fn llada() -> NetworkSpec {
    let mut spec = Example::named("biases").spec;
    let norm = NormSpec::Rms { epsilon: 1e-5 };
    (spec.norm, spec.mask_token) = (norm, Some(7));
    for LayerSpec { attention, feed_forward, .. } in &mut spec.layers {
        *attention = AttentionSpec { norm, head_size: 2, ..*attention };
        feed_forward.norm = norm;
    }
    spec
}

#[test]
fn what_a_family_cannot_say_is_refused_instead_of_lost() {
    let refuse = |family: &dyn Family, change: fn(&mut NetworkSpec)| {
        let mut spec = llada();
        change(&mut spec);
        families::to_config(family, &spec, &TokenRoles::default()).err()
    };
    assert!(matches!(refuse(&Native, |_| {}), Some(NetworkError::Inexpressible { family: "aquatint" })));
    assert!(refuse(&Llada, |_| {}).is_none());
    let changes: [fn(&mut NetworkSpec); 6] = [
        |spec| spec.layers[0].attention.rope.rotated = Some(2),
        |spec| spec.time_conditioning = Some(TimeSpec::new(4)),
        |spec| spec.head.logit_shift = true,
        |spec| spec.layers[1].attention.key_value_heads = 1,
        |spec| spec.layers[1].attention.window = Some(2),
        |spec| spec.layers[0].attention.qk_norm = Some(spec.norm),
    ];
    for change in changes {
        assert!(matches!(refuse(&Llada, change), Some(NetworkError::Inexpressible { family: "llada" })));
    }
}

#[test]
fn every_family_writes_what_it_reads() {
    let roles = TokenRoles { mask: Some(7), end: Some(1), pad: Some(2), begin: None };
    let config = families::to_config(&Llada, &llada(), &roles).unwrap();
    assert_eq!(families::from_config(&config).unwrap(), llada());
    assert_eq!(Llada.roles(config.as_object().unwrap()), roles);
    for family in FAMILIES {
        // All that some family adds where a file does not say it.
        let settings = json!({
            "steps": 8, "block_length": 16, "max_new_tokens": 64, "policy": "margin", "temperature": 0.5, "top_p": 0.25,
            "counting": "nearest", "end_time": 0.125, "confidence_of": "prediction", "stop_at": "block", "leads": false,
            "final_temperature": 0.25, "revise": false, "commit_likeliest": false, "stability_threshold": 2,
            "confidence_threshold": 0.5
        });
        let settings = settings.as_object().unwrap();
        let again = |settings: &Object| family.read_generation(family.write_generation(settings.clone())).unwrap();
        assert_eq!(again(settings), *settings, "{}", family.facts().model_type);
        // The makers' settings, which fill in for what is missing, are written as they are read.
        let makers = family.read_generation(Object::new()).unwrap();
        assert_eq!(again(&makers), makers, "{}", family.facts().model_type);
    }
    // 64 positions in blocks of 16 by 8 steps each.
    let file = Llada
        .write_generation(json!({"steps": 8, "block_length": 16, "max_new_tokens": 64}).as_object().unwrap().clone());
    assert_eq!((&file["gen_length"], &file["steps"]), (&json!(64), &json!(32)));
    let advice = Llada.read_generation(families::Object::new()).unwrap();
    assert_eq!(
        (&advice["max_new_tokens"], &advice["steps"], &advice["policy"]),
        (&json!(128), &json!(32), &json!("confidence"))
    );
}

#[test]
fn no_two_tensors_have_one_name_in_files() {
    let spec = llada();
    for family in FAMILIES {
        let names = spec.tensors().into_iter().map(|tensor| families::file_name(family, &tensor.name));
        let names: std::collections::BTreeSet<String> = names.collect();
        assert_eq!(names.len(), spec.tensors().len(), "{}", family.facts().model_type);
    }
    assert_eq!(
        families::file_name(&Llada, "model.layers.12.self_attn.q_proj.bias"),
        "model.transformer.blocks.12.q_proj.bias"
    );
    assert_eq!(families::file_name(&Llada, "lm_head.weight"), "model.transformer.ff_out.weight");
}

#[test]
fn a_dit_of_other_parts_is_refused_in_words() {
    let mut config = json!({
        "tokens": 300, "graph": {"type": "absorb"}, "noise": {"type": "loglinear"}, "training": {"ema": 0.9999},
        "model": {
            "type": "ddit", "hidden_size": 8, "cond_dim": 4, "length": 16, "n_blocks": 2, "n_heads": 2,
            "scale_by_sigma": true,
        },
    });
    let spec = families::from_config(&config).unwrap();
    assert_eq!((spec.vocabulary_size, spec.mask_token, spec.reads_time()), (301, Some(300), true));
    assert_eq!(spec.process.kind.to_string(), "score-entropy");
    let sedd = families::of_config(&config).unwrap();
    let written = families::to_config(sedd, &spec, &TokenRoles::default()).unwrap();
    assert_eq!(families::from_config(&written).unwrap(), spec);
    for (part, key, value, refused) in [
        ("graph", "type", json!("uniform"), "`graph.type` is \"uniform\"; allowed: \"absorb\""),
        ("noise", "type", json!("geometric"), "`noise.type` is \"geometric\"; allowed: \"loglinear\""),
        ("model", "scale_by_sigma", json!(false), "`model.scale_by_sigma` is false; allowed: true"),
        ("model", "n_heads", json!(3), "`n_heads` is 3; allowed: a divisor of the width, which is 8"),
    ] {
        let before = std::mem::replace(&mut config[part][key], value);
        assert_eq!(refusal(&config), refused);
        config[part][key] = before;
    }
    let mut config = json!({
        "model_type": "bd3lm", "vocab_size": 301, "hidden_dim": 8, "n_blocks": 2, "n_heads": 2, "cond_dim": 4,
        "model_length": 16, "block_size": 4, "cross_attn": true,
    });
    let spec = families::from_config(&config).unwrap();
    assert_eq!((spec.mask_token, spec.reads_time(), spec.attention.block_length()), (Some(300), false, Some(4)));
    config["cross_attn"] = json!(false);
    assert_eq!(refusal(&config), "`cross_attn` is false; allowed: true");
}

#[test]
fn a_llada_of_other_parts_is_refused_in_words() {
    let mut config = families::to_config(&Llada, &llada(), &TokenRoles::default()).unwrap();
    config["block_type"] = json!("sequential");
    assert_eq!(refusal(&config), "`block_type` is \"sequential\"; allowed: \"llama\"");
    config["block_type"] = json!("llama");
    let tokens = config["vocab_size"].as_u64().unwrap();
    config["embedding_size"] = json!(tokens + 5);
    assert_eq!(families::from_config(&config).unwrap().vocabulary_size as u64, tokens + 5);
    config["embedding_size"] = json!(tokens - 1);
    let refused = format!("`embedding_size` is {}; allowed: at least `vocab_size`, which is {tokens}", tokens - 1);
    assert_eq!(refusal(&config), refused);
    config["embedding_size"] = json!(tokens);
    config["n_heads"] = json!(3);
    assert_eq!(refusal(&config), "`n_heads` is 3; allowed: a divisor of `d_model`, which is 8");
    config["n_heads"] = json!(4);
    config["n_layers"] = json!(1_u64 << 40);
    assert_eq!(refusal(&config), "`layers` is 1099511627776; allowed: 1 or more, and no more than 65536");
    config["n_layers"] = json!(2);
    config["n_layers"] = json!(2);
    config["rope_scaling"] = json!(2);
    assert_eq!(refusal(&config), "`rope_scaling` is 2, which is not supported: it needs scaled rotary frequencies");
    config["rope_scaling"] = json!(null);
    // What nobody knows is named, and passed over.
    assert!(families::unknown_keys(&config).is_empty());
    config["speed"] = json!(3);
    config["haste"] = json!(null);
    assert_eq!(families::unknown_keys(&config), ["speed"]);
    assert!(families::from_config(&config).is_ok());
}

/// LLaDA2.2 lets the rows of a block choose together among how many experts each has its own, in place of groups.
#[test]
fn experts_that_a_block_chooses_together_are_read_written_and_refused_where_they_cannot_be() {
    let file = std::fs::read(Golden::folder("llada2_moe").join("config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&file).unwrap();
    config["mask_token_id"] = json!(327);
    let routing = |config: &Value| {
        let spec = families::from_config(config).unwrap();
        let router = spec.layers.last().unwrap().feed_forward.experts().unwrap().router;
        (router.block, router.groups, router.groups_per_token)
    };
    config["block_size"] = json!(32);
    for nothing in [json!(null), json!(0)] {
        config["expert_capacity"] = nothing;
        assert_eq!(families::unknown_keys(&config), [""; 0]);
        assert_eq!(routing(&config), (None, 4, 2));
    }
    config["expert_capacity"] = json!(6);
    let together = BlockRouting { length: 32, experts: 6 };
    assert_eq!(families::unknown_keys(&config), [""; 0]);
    assert_eq!(routing(&config), (Some(together), 1, 1));
    // It goes out and comes back.
    let spec = families::from_config(&config).unwrap();
    let family = families::of_config(&config).unwrap();
    let written = families::to_config(family, &spec, &TokenRoles::default()).unwrap();
    assert_eq!((&written["expert_capacity"], &written["block_size"]), (&json!(6), &json!(32)));
    assert_eq!(families::from_config(&written).unwrap(), spec);
    // As many rows as a block has choose together where nothing is said, and a part of a block may.
    config["block_size"] = json!(null);
    assert_eq!(routing(&config).0, Some(together));
    config["block_size"] = json!(16);
    assert_eq!(routing(&config).0, Some(BlockRouting { length: 16, experts: 6 }));
    config["block_size"] = json!(24);
    assert_eq!(
        refusal(&config),
        "`attention` is block:32; allowed: block:LENGTH with a multiple of 24, the rows that choose experts together"
    );
    config["block_size"] = json!(32);
    config["expert_capacity"] = json!(3);
    assert_eq!(refusal(&config), "`router_block_experts` is 3; allowed: from `experts_per_token`, 4, to `experts`, 16");
    // No row of another layout has a block of its own, and other families have no word for one.
    let full = NetworkSpec { attention: Layout::Full, ..spec.clone() };
    assert_eq!(
        full.validate().unwrap_err().to_string(),
        "`attention` is full; allowed: block:LENGTH with a multiple of 32, the rows that choose experts together"
    );
    let mut shifted = spec.clone();
    shifted.head.logit_shift = true;
    assert_eq!(
        shifted.validate().unwrap_err().to_string(),
        "`logit_shift` is true; allowed: false where the rows of a block choose experts together"
    );
    let mut grouped = spec.clone();
    for layer in &mut grouped.layers {
        if let FeedForwardKind::Experts(experts) = &mut layer.feed_forward.kind {
            experts.router.groups = 4;
        }
    }
    assert_eq!(
        grouped.validate().unwrap_err().to_string(),
        "`router_groups` is 4; allowed: 1 where the rows of a block choose together"
    );
    let sdar = FAMILIES.into_iter().find(|family| family.facts().model_type == "sdar_moe").unwrap();
    assert!(families::to_config(sdar, &spec, &TokenRoles::default()).is_err());
    let file = std::fs::read(Golden::folder("sdar_moe").join("config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&file).unwrap();
    config["expert_capacity"] = json!(6);
    assert_eq!(
        refusal(&config),
        "`expert_capacity` is 6, which is not supported: it needs experts that the rows of a block choose together"
    );
}

//! Descriptions on disk.

use aquatint_diffusion::Layout;
use aquatint_network::{NetworkSpec, families};
use aquatint_testing::Example;
use serde_json::{Value, json};

fn refusal(config: &Value) -> String {
    families::from_config(config).unwrap_err().to_string()
}

#[test]
fn every_description_goes_out_and_comes_back() {
    for name in Example::NAMES {
        let spec = Example::named(name).spec;
        let config = families::native::to_config(&spec);
        let text = serde_json::to_string_pretty(&config).unwrap();
        assert_eq!(families::from_config(&serde_json::from_str(&text).unwrap()).unwrap(), spec, "{name}\n{text}");
    }
    let odd = NetworkSpec {
        norm_epsilon: 1.3e-7,
        rope_theta: 123_456.7,
        attention: Layout::Block { length: 12 },
        ..Example::named("plain").spec
    };
    assert_eq!(families::from_config(&families::native::to_config(&odd)).unwrap(), odd);
}

#[test]
fn what_other_programs_write_into_a_description_is_left_to_them() {
    let spec = Example::named("plain").spec;
    let mut config = families::native::to_config(&spec);
    config["torch_dtype"] = json!("bfloat16");
    config["transformers_version"] = json!("4.57.0");
    assert_eq!(families::from_config(&config).unwrap(), spec);
}

#[test]
fn descriptions_that_cannot_be_are_refused_in_words() {
    let with = |key: &str, value: Value| {
        let mut config = families::native::to_config(&Example::named("plain").spec);
        config[key] = value;
        refusal(&config)
    };
    let mut without = families::native::to_config(&Example::named("plain").spec);
    without.as_object_mut().unwrap().remove("head_dim");
    let cases = [
        (
            with("num_hidden_layer", json!(3)),
            "the description has the unknown key `num_hidden_layer`; did you mean `num_hidden_layers`?",
        ),
        (with("sliding_window", json!(3)), "the description has the unknown key `sliding_window`"),
        (with("num_key_value_heads", json!(3)), "`key_value_heads` is 3; allowed: a divisor of `heads`, which is 2"),
        (with("head_dim", json!(5)), "`head_size` is 5; allowed: an even number, because positions turn pairs"),
        (with("hidden_size", json!(0)), "`hidden_size` is 0; allowed: a whole number, 1 or more"),
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
            "`attention` is \"block:0\"; allowed: \"full\", \"causal\", \"block:LENGTH\"",
        ),
        (with("hidden_act", json!("gelu")), "`hidden_act` is \"gelu\"; allowed: \"silu\""),
        (with("qk_norm", json!(1)), "`qk_norm` is 1; allowed: true or false"),
        (with("model_type", json!("llama")), "`model_type` is \"llama\"; allowed: \"aquatint\""),
        (refusal(&json!({"hidden_size": 8})), "`model_type` is missing; allowed: \"aquatint\""),
        (refusal(&json!([1, 2])), "`model_type` is missing; allowed: \"aquatint\""),
    ];
    for (given, expected) in cases {
        assert_eq!(given, expected);
    }
    let missing = refusal(&without);
    assert!(
        missing.starts_with("the description lacks the key `head_dim`; a description of this family has vocab_size,"),
        "{missing}"
    );
}

#[test]
fn tensors_have_the_names_that_others_expect() {
    let spec = NetworkSpec { layers: 1, ..Example::named("grouped-queries-and-documents").spec };
    let lines: Vec<String> =
        families::native::tensors(&spec).iter().map(|(name, shape)| format!("{name} {shape:?}")).collect();
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

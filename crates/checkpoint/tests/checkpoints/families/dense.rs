//! Families that began as Qwen2 or Qwen3.

use super::{Pass, about, compare_everywhere, forwards, open, texts};
use aquatint_diffusion::Layout;
use aquatint_vocabulary::Role;

/// A layout of blocks where config.json has other ones.
fn blocks(length: usize) -> Option<Layout> {
    Some(Layout::Block { length })
}

#[test]
fn dream_predicts_what_its_own_code_does() {
    forwards("dream", &[("plain", None), ("padded", None)]);
}

#[test]
fn sdar_predicts_what_its_own_code_does() {
    forwards("sdar", &[("plain", None), ("blocks_8", blocks(8)), ("one_block", blocks(40))]);
}

#[test]
fn fast_dllm_v2_predicts_what_its_own_code_does() {
    forwards("fast_dllm_v2", &[("plain", blocks(16)), ("blocks_32", None)]);
}

#[test]
fn a2d_models_predict_what_their_own_code_does() {
    for name in ["a2d_qwen2", "a2d_qwen3"] {
        forwards(name, &[("plain", None), ("padded_right", None)]);
    }
}

#[test]
fn mmada_predicts_what_its_own_code_does() {
    forwards("mmada", &[("plain", None), ("padded", None)]);
}

#[test]
fn nemotron_labs_diffusion_predicts_what_its_own_code_does() {
    let whole = Pass { ids: "block", ..Pass::whole("whole", Layout::Full) };
    let block = Pass { block: Some(28), ..Pass::whole("block", Layout::CausalPrefix { length: 12 }) };
    compare_everywhere("nemotron_labs_diffusion", &[Pass::whole("plain", Layout::Causal), block, whole]);
}

#[test]
fn their_texts_and_conversations_are_those_of_their_own_code() {
    for (name, conversations) in [
        ("dream", 0),
        ("sdar", 7),
        ("fast_dllm_v2", 4),
        ("a2d_qwen2", 0),
        ("a2d_qwen3", 4),
        ("mmada", 0),
        ("nemotron_labs_diffusion", 0),
    ] {
        let (checkpoint, about) = (open(name), about(name));
        assert!(checkpoint.unknown_keys.is_empty(), "{name}: {:?}", checkpoint.unknown_keys);
        assert_eq!(about["chat"]["cases"].as_array().map_or(0, Vec::len), conversations, "{name}");
        texts(&checkpoint, &about);
        // Which reads again what it writes.
        checkpoint.description().config().unwrap();
    }
}

#[test]
fn tokens_have_the_roles_that_their_own_code_gives_them() {
    let cases = [
        ("dream", ["<|mask|>", "<|endoftext|>", "<|endoftext|>", "<|beginoftext|>"]),
        ("sdar", ["<|MASK|>", "<|im_end|>", "<|endoftext|>", "<|endoftext|>"]),
        ("fast_dllm_v2", ["|<MASK>|", "<|im_end|>", "<|endoftext|>", "<|endoftext|>"]),
        ("a2d_qwen3", ["<|mask|>", "<|im_end|>", "<|endoftext|>", "<|endoftext|>"]),
        ("mmada", ["<|mdm_mask|>", "<|endoftext|>", "<|endoftext|>", "<|startoftext|>"]),
    ];
    for (name, expected) in cases {
        let vocabulary = open(name).vocabulary;
        let roles = [Role::Mask, Role::End, Role::Pad, Role::Begin];
        assert_eq!(roles.map(|role| vocabulary.token_text(vocabulary.role(role).unwrap())), expected, "{name}");
    }
}

#[test]
fn makers_settings_are_the_defaults() {
    let dream = open("dream").generation;
    assert_eq!((dream.policy.as_deref(), dream.steps, dream.temperature), (Some("ancestral"), Some(512), Some(0.0)));
    let sdar = open("sdar").generation;
    assert_eq!((sdar.policy.as_deref(), sdar.temperature, sdar.top_k), (Some("dynamic:0.9"), Some(0.6), Some(20)));
    let a2d = open("a2d_qwen3").generation;
    assert_eq!((a2d.policy.as_deref(), a2d.steps, a2d.temperature), (Some("confidence"), Some(128), Some(0.0)));
    let fast = open("fast_dllm_v2").generation;
    assert_eq!((fast.policy.as_deref(), fast.temperature, fast.top_k), (Some("threshold:0.9"), Some(0.0), None));
}

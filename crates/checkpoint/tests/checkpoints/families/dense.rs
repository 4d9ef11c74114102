//! Families that began as Qwen2 or Qwen3.

use super::{Pass, compare_everywhere, forwards, open};
use aquatint_diffusion::Layout;

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

//! dllm's samplers for its models over Qwen2 and Qwen3 (golden/a2d_qwen2/README.md, golden/a2d_qwen3/README.md).

use super::golden::Trajectory;
use super::{Case, follow};
use aquatint::diffusion::{Counting, Layout};
use aquatint::generate::{BlocksFrom, Cache, SettingsBuilder};

/// `MDLMSampler`: numbers of tokens rounded to the nearest, halves to the even one.
fn mdlm(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    let (steps, open) = (trajectory.count("steps"), trajectory.count("max_new_tokens"));
    let builder = builder.counting(Counting::Nearest).policy_named("confidence");
    match trajectory.0["settings"]["block_size"].as_u64() {
        Some(length) => builder.steps(steps.div_ceil(open.div_ceil(length as usize))).block_length(length as usize),
        None => builder.steps(steps),
    }
}

/// `BD3LMSampler`: prompts are padded on the left, so that blocks are counted from their end.
fn bd3lm(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    mdlm(builder, trajectory).blocks_from(BlocksFrom::Hole).cache(Cache::Exact)
}

fn blocks(trajectory: &Trajectory) -> Layout {
    Layout::Block { length: trajectory.count("block_size") }
}

fn suppressed(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    let tokens = super::golden::ids(&trajectory.0["settings"]["suppress_tokens"]);
    mdlm(builder, trajectory).suppress_tokens(tokens)
}

#[test]
fn samplers_of_a2d_over_qwen2_are_followed_step_by_step() {
    follow("a2d_qwen2", &[Case::new("mdlm", mdlm).begun(), Case::new("mdlm_ragged_blocks", mdlm)]);
}

#[test]
fn samplers_of_a2d_over_qwen3_are_followed_step_by_step() {
    let cases = [
        Case::new("mdlm", mdlm),
        Case::new("mdlm_ragged_blocks", mdlm),
        Case::new("mdlm_cfg", |b, t| mdlm(b, t).guidance_scale(1.0 + t.number("cfg_scale"))),
        Case::new("mdlm_infill", mdlm),
        Case::new("mdlm_suppressed", suppressed),
        Case { layout: Some(blocks), ..Case::new("bd3lm", bd3lm).begun() },
    ];
    follow("a2d_qwen3", &cases);
}

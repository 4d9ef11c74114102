//! Fast-dLLM v2's `batch_sample` (golden/fast_dllm_v2/README.md).

use super::golden::Trajectory;
use super::{Case, follow};
use aquatint::diffusion::{Layout, TokenId};
use aquatint::generate::{Cache, SettingsBuilder, StopAt};

/// Sub-blocks from left to right, of which the first position of a block comes from the row before it.
fn sub_blocks(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    let length = trajectory.count("small_block_size");
    let cache = match trajectory.0["settings"]["use_block_cache"] == true {
        true => Cache::Dual,
        false => Cache::Exact,
    };
    let builder = builder.steps(length).block_length(length).leads(true).cache(cache);
    let builder = builder.end_token(trajectory.count("stop_token") as TokenId).stop_at(StopAt::Block);
    builder.policy_named(&format!("threshold:{}", trajectory.number("threshold")))
}

fn blocks(trajectory: &Trajectory) -> Layout {
    Layout::Block { length: trajectory.count("block_size") }
}

#[test]
fn the_sampler_of_fast_dllm_v2_is_followed_step_by_step() {
    let new = |name| Case { layout: Some(blocks), ..Case::new(name, sub_blocks) };
    let cases = [
        new("threshold"),
        new("threshold_low"),
        new("block_cache"),
        new("block_cache_low"),
        new("short_prompt"),
        new("whole_blocks_prompt"),
        new("small").emulated(),
        new("stops"),
        new("batch"),
    ];
    follow("fast_dllm_v2", &cases);
}

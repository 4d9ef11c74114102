//! `generate()` of LLaDA2.0 and 2.1, and SGLang's algorithms for LLaDA2.x (golden/llada2_moe/README.md).

use super::golden::{Folder, Trajectory};
use super::{Case, follow_but, follow_in};
use aquatint::diffusion::{Counting, Layout, TokenId};
use aquatint::generate::{SettingsBuilder, StopAt};

/// What is above the threshold, and no fewer than an even share of a whole block.
fn threshold(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    let policy = format!("dynamic:{}", trajectory.number("threshold"));
    let builder = builder.steps(trajectory.count("steps")).counting(Counting::Even).policy_named(&policy);
    let stop_at = if trajectory.0["settings"]["eos_early_stop"] == true { StopAt::Step } else { StopAt::Block };
    builder.end_token(trajectory.count("eos_id") as TokenId).stop_at(stop_at)
}

fn blocks(trajectory: &Trajectory) -> Layout {
    Layout::Block { length: trajectory.count("block_length") }
}

#[test]
fn generate_of_llada2_is_followed_step_by_step() {
    let new = |name| Case { layout: Some(blocks), ..Case::new(name, threshold) };
    let cases = [
        new("threshold_block_32"),
        new("threshold_0.5_block_16").emulated(),
        new("few_steps_block_32"),
        new("stops_at_end"),
        new("stops_early"),
        new("long_prompt"),
    ];
    follow_but("llada2_moe", &cases, &["edit_block_32", "edit_fast", "edit_block_16_two", "edit_stops_early"]);
}

/// SGLang has no steps: one position at least at each.
fn low_confidence(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    let policy = format!("threshold:{}", trajectory.number("threshold"));
    builder.steps(trajectory.count("block_size")).policy_named(&policy)
}

fn served_blocks(trajectory: &Trajectory) -> Layout {
    Layout::Block { length: trajectory.count("block_size") }
}

#[test]
fn algorithms_of_sglang_are_followed_step_by_step() {
    let new = |name| Case { layout: Some(served_blocks), ..Case::new(name, low_confidence) };
    let cases = [new("low_confidence"), new("low_confidence_0.5")];
    let folder = Folder::open_file("llada2_moe", "sglang.json").in_rows();
    follow_in(&folder, &cases, &["joint_threshold", "joint_threshold_strict", "indel_1", "indel_2"]);
}

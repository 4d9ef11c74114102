//! `generate()` of LLaDA2.0 and 2.1, and SGLang's algorithms for LLaDA2.x (golden/llada2_moe/README.md).

use super::golden::{Folder, Trajectory};
use super::{Case, follow, follow_in};
use aquatint::diffusion::{Counting, Layout, TokenId};
use aquatint::generate::{SettingsBuilder, StopAt};

/// What is above the threshold, and no fewer than an even share of a whole block.
fn threshold(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    let policy = format!("dynamic:{}", trajectory.number("threshold"));
    let builder = builder.steps(trajectory.count("steps")).counting(Counting::Even).policy_named(&policy);
    let stop_at = if trajectory.0["settings"]["eos_early_stop"] == true { StopAt::Step } else { StopAt::Block };
    builder.end_token(trajectory.count("eos_id") as TokenId).stop_at(stop_at)
}

/// LLaDA2.1's: no fewer than `num_to_transfer` at each step, and edits above a threshold of their own.
fn edits(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    let settings = &trajectory.0["settings"];
    let (length, least) = (trajectory.count("block_length"), settings["num_to_transfer"].as_u64().unwrap_or(1));
    let policy = format!("dynamic:{}", trajectory.number("threshold"));
    let builder = builder.steps(length.div_ceil(least as usize)).counting(Counting::Even).policy_named(&policy);
    let builder = builder.edit_threshold(trajectory.number("editing_threshold"));
    let builder = match settings["max_post_steps"].as_u64() {
        Some(steps) => builder.edit_steps(steps as usize),
        None => builder,
    };
    builder.end_token(trajectory.count("eos_id") as TokenId).stop_at(StopAt::Block)
}

fn blocks(trajectory: &Trajectory) -> Layout {
    Layout::Block { length: trajectory.count("block_length") }
}

#[test]
fn generate_of_llada2_is_followed_step_by_step() {
    let new = |name| Case { layout: Some(blocks), ..Case::new(name, threshold) };
    let editing = |name| Case { layout: Some(blocks), ..Case::new(name, edits) };
    let cases = [
        new("threshold_block_32"),
        new("threshold_0.5_block_16"),
        new("few_steps_block_32"),
        new("stops_at_end"),
        new("stops_early"),
        new("long_prompt"),
        editing("edit_block_32"),
        editing("edit_fast"),
        editing("edit_block_16_two").emulated(),
        editing("edit_stops_early"),
    ];
    follow("llada2_moe", &cases);
}

/// SGLang has no steps: one position at least at each.
fn low_confidence(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    let policy = format!("threshold:{}", trajectory.number("threshold"));
    builder.steps(trajectory.count("block_size")).policy_named(&policy)
}

fn joint_threshold(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    let builder = low_confidence(builder, trajectory).edit_threshold(trajectory.number("edit_threshold"));
    builder.edit_steps(trajectory.count("max_post_edit_steps"))
}

fn insert_delete(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    let builder = joint_threshold(builder, trajectory).delete_token(trajectory.count("delete_token_id") as TokenId);
    builder.insert_token(trajectory.count("split_token_id") as TokenId)
}

fn served_blocks(trajectory: &Trajectory) -> Layout {
    Layout::Block { length: trajectory.count("block_size") }
}

#[test]
fn algorithms_of_sglang_are_followed_step_by_step() {
    let new = |name, settings| Case { layout: Some(served_blocks), ..Case::new(name, settings) };
    let cases = [
        new("low_confidence", low_confidence),
        new("low_confidence_0.5", low_confidence).emulated(),
        new("joint_threshold", joint_threshold),
        new("joint_threshold_strict", joint_threshold),
        new("indel_1", insert_delete),
        new("indel_2", insert_delete),
    ];
    let folder = Folder::open_file("llada2_moe", "sglang.json").in_rows();
    follow_in(&folder, &cases);
}

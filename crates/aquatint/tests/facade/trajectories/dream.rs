//! Dream's own sampler, and those of Fast-dLLM for it (golden/dream/README.md).

use super::golden::{Folder, Trajectory};
use super::recorded::RecordedFates;
use super::{Case, follow};
use aquatint::diffusion::Counting;
use aquatint::generate::{Cache, ConfidenceOf, SettingsBuilder};
use std::sync::Arc;

/// What all of them have: shares of what is left on times from 1 to eps, and confidence after shaping.
fn shares(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    let builder = builder.steps(trajectory.count("steps")).counting(Counting::Down).end_time(trajectory.number("eps"));
    builder.confidence_of(ConfidenceOf::Shaped { temperature: None })
}

fn confidence(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    shares(builder, trajectory).policy_named("confidence")
}

fn entropy(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    shares(builder, trajectory).policy_named("entropy")
}

/// `origin` decides about each open position by a number of its own.
fn origin(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    let tensors = Folder::open("dream").tensors;
    let mut rest = tensors.values("origin.uniforms").iter().copied();
    let counts = trajectory.0["uniforms_per_step"].as_array().expect("counts").iter();
    let passes = counts.map(|count| rest.by_ref().take(count.as_u64().expect("a count") as usize).collect()).collect();
    shares(builder, trajectory).policy(Arc::new(RecordedFates { passes }))
}

/// Fast-dLLM's threshold without blocks commits no more than are planned. With a step for each token that is one.
fn one_by_one(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    shares(builder, trajectory).counting(Counting::Even).policy_named("confidence")
}

/// Fast-dLLM's block sampler: the first position of each block is committed alone, from a pass over everything.
fn blocks(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    let length = trajectory.count("block_length");
    let blocks = trajectory.count("max_new_tokens") / length;
    let dual = trajectory.0["settings"]["dual_cache"] == true;
    let builder = shares(builder, trajectory).steps(trajectory.count("steps") / blocks).block_length(length);
    builder.leads(true).cache(if dual { Cache::Dual } else { Cache::Prefix })
}

fn threshold(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    blocks(builder, trajectory).policy_named(&format!("threshold:{}", trajectory.number("threshold")))
}

#[test]
fn samplers_of_dream_are_followed_step_by_step() {
    let cases = [
        Case::new("maskgit_plus", confidence),
        Case::new("topk_margin", |b, t| shares(b, t).policy_named("margin")),
        Case::new("entropy", entropy),
        Case::new("entropy_32_steps", entropy),
        Case::new("maskgit_plus_8_steps", confidence).emulated(),
        Case::new("entropy_top_k", |b, t| entropy(b, t).top_k(t.count("top_k"))).emulated(),
        Case::new("entropy_top_p", |b, t| entropy(b, t).top_p(t.number("top_p"))),
        Case::new("origin", origin),
        Case::new("entropy_batch_padded", entropy),
        Case::new("fast_threshold_0.9", one_by_one),
        Case::new("fast_threshold_0.5", one_by_one),
        Case::new("fast_prefix_cache_threshold", threshold),
        Case::new("fast_prefix_cache_entropy", |b, t| blocks(b, t).policy_named("entropy")),
        Case::new("fast_dual_cache_threshold", threshold),
        Case::new("fast_dual_cache_entropy", |b, t| blocks(b, t).policy_named("entropy")),
    ];
    follow("dream", &cases);
}

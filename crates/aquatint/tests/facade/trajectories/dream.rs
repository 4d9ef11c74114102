//! Dream's own sampler, and those of Fast-dLLM for it (golden/dream/README.md).

use super::golden::{Folder, Trajectory};
use super::recorded::RecordedFates;
use super::{Case, follow};
use aquatint::compute::{RowDraw, Sampling, ShapedRow, shape_row};
use aquatint::diffusion::{Counting, TokenId};
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

/// The probabilities that are left of a row, as those from which a token is drawn.
fn left_of(logits: &[f32], sampling: Sampling) -> Vec<f64> {
    let ShapedRow { logits: shaped, retained, .. } = shape_row(&mut logits.to_vec(), &RowDraw::new(sampling, 0.5));
    let retained = retained.unwrap_or_else(|| (0..shaped.len() as TokenId).collect());
    let top = shaped.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut left = vec![0.0; shaped.len()];
    for &token in &retained {
        left[token as usize] = ((shaped[token as usize] - top) / sampling.temperature).exp();
    }
    normalised(left)
}

fn normalised(mut weights: Vec<f64>) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= total);
    weights
}

#[test]
fn filters_of_dream_leave_what_its_own_code_leaves() {
    let tensors = Folder::open("dream").tensors;
    let size = tensors.shape("filters.logits")[1];
    let rows: Vec<Vec<f32>> = tensors
        .values("filters.logits")
        .chunks(size)
        .map(|row| row.iter().map(|logit| *logit as f32).collect())
        .collect();
    let two = Sampling { temperature: 2.0, ..Sampling::NONE };
    let (top_k, top_p) = (Sampling { top_k: Some(5), ..two }, Sampling { top_p: Some(0.9), ..two });
    for (index, row) in rows.iter().enumerate() {
        let close = |name: &str, left: &[f64]| {
            let expected = &tensors.values(&format!("filters.{name}"))[index * size..][..size];
            for (token, (left, expected)) in left.iter().zip(expected).enumerate() {
                assert!((left - expected).abs() < 1e-6, "{name}, row {index}, token {token}: {left} for {expected}");
            }
        };
        let (by_k, by_p) = (left_of(row, top_k), left_of(row, top_p));
        close("temperature_0.7", &left_of(row, Sampling { temperature: 0.7, ..Sampling::NONE }));
        close("temperature_2_top_k_5", &by_k);
        close("temperature_2_top_p_0.9", &by_p);
        // Its top-p comes before top-k: what both keep alone is kept. Ours behind it keeps no more.
        let both = by_k.iter().zip(&by_p).map(|(k, p)| if *p > 0.0 { *k } else { 0.0 }).collect();
        let both = normalised(both);
        close("temperature_2_top_p_0.9_top_k_5", &both);
        let ours = left_of(row, Sampling { top_p: Some(0.9), ..top_k });
        assert!(ours.iter().zip(&both).all(|(ours, both)| *ours == 0.0 || *both > 0.0));
        let summary = shape_row(&mut row.clone(), &RowDraw::new(Sampling::NONE, 0.5)).summary;
        let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let confidences = [
            ("confidence_max", (f64::from(highest) - summary.log_sum_exp).exp()),
            ("confidence_margin", summary.margin),
            ("confidence_neg_entropy", -summary.entropy),
        ];
        for (name, own) in confidences {
            let expected = tensors.values(&format!("filters.{name}"))[index];
            assert!((own - expected).abs() < 1e-5, "{name}, row {index}: {own} for {expected}");
        }
    }
}

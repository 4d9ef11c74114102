//! LLaDA's `generate.py` and the samplers of Fast-dLLM for it (golden/llada/README.md).

use super::golden::{Folder, Trajectory};
use super::recorded::{RecordedOrder, Row, gumbel_choice};
use super::{Case, follow};
use aquatint::diffusion::{Counting, TokenId};
use aquatint::generate::{Cache, SettingsBuilder};
use std::sync::Arc;

/// Steps over all blocks, shared out evenly.
pub(crate) fn steps(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    let open = trajectory.canvases(0)[0].open_positions().len();
    let length = trajectory.count("block_length");
    let builder = builder.steps(trajectory.count("steps") / (open / length)).block_length(length);
    builder.counting(Counting::Even).policy_named("confidence")
}

/// LLaDA's guidance, `un + (w + 1) (c - un)`.
pub(crate) fn guided(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    steps(builder, trajectory).guidance_scale(1.0 + trajectory.number("cfg_scale"))
}

fn threshold(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    steps(builder, trajectory).policy_named(&format!("threshold:{}", trajectory.number("threshold")))
}

fn gumbel(folder: &Folder, trajectory: &Trajectory, pass: usize, position: usize, row: &Row<'_>) -> TokenId {
    let place = position - trajectory.prompt(0).len();
    let &[_, places, size] = folder.tensors.shape("temperature.uniforms") else { panic!("a number for each token") };
    let first = (pass * places + place) * size;
    gumbel_choice(row, &folder.tensors.values("temperature.uniforms")[first..first + size])
}

#[test]
fn samplers_of_llada_are_followed_step_by_step() {
    let random = |builder: SettingsBuilder, trajectory: &Trajectory| {
        let tensors = Folder::open("llada").tensors;
        let (uniforms, length) =
            (tensors.values("random_remasking.uniforms").to_vec(), tensors.shape("random_remasking.uniforms")[1]);
        steps(builder, trajectory).policy(Arc::new(RecordedOrder { uniforms, length }))
    };
    let cases = [
        Case::new("low_confidence", steps),
        Case::new("low_confidence_blocks", steps),
        Case::new("low_confidence_32_steps", steps),
        Case::new("low_confidence_uneven", steps),
        Case::new("cfg", guided),
        Case::new("cfg_blocks", guided),
        Case::new("no_end_logits", |b, t| steps(b, t).suppress_tokens([t.token("end_of_text")])),
        Case::new("end_confidence", |b, t| {
            // At temperature 0 the logits with noise are the logits, so that both tokens lose their confidence.
            steps(b, t).defer_tokens([t.token("end_of_text"), t.token("end_of_turn")])
        }),
        Case::new("batch_padded", steps),
        Case::new("random_remasking", random),
        Case {
            draws: Some(gumbel),
            ..Case::new("temperature", |b, t| steps(b, t).temperature(t.number("temperature"))).emulated()
        },
        Case::new("fast_threshold", threshold),
        Case::new("fast_prefix_cache", |b, t| steps(b, t).cache(Cache::Prefix)),
        Case::new("fast_prefix_cache_threshold", |b, t| threshold(b, t).cache(Cache::Prefix)),
        Case::new("fast_dual_cache", |b, t| steps(b, t).cache(Cache::Dual)),
        Case::new("fast_dual_cache_threshold", |b, t| threshold(b, t).cache(Cache::Dual)),
    ];
    follow("llada", &cases);
}

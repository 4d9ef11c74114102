//! RND1's `diffusion_sample` (golden/rnd1/README.md).

use super::golden::Trajectory;
use super::recorded::RecordedPositions;
use super::{Case, follow};
use aquatint::generate::SettingsBuilder;
use std::sync::Arc;

/// The positions of the least entropy.
fn entropy(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    builder.steps(trajectory.count("num_steps")).policy_named("entropy")
}

/// With a token cut off, the sampler's entropies are sums with `0 · −∞`, which are no numbers, and its positions come in the
/// order in which `topk` returns what cannot be compared. No setting says that; what is written, and how many at each step,
/// is followed.
fn without_order(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    entropy(builder, trajectory).policy(Arc::new(RecordedPositions::of(trajectory)))
}

fn bound(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    entropy(builder, trajectory).policy_named(&format!("entropy-bound-by-confidence:{}", trajectory.number("eb_gamma")))
}

#[test]
fn the_sampler_of_rnd1_is_followed_step_by_step() {
    let cases = [
        Case::new("entropy", entropy).begun(),
        Case::new("entropy_32", entropy),
        Case::new("entropy_top_k", without_order),
        Case::new("entropy_temperature_top_p", without_order),
        Case::new("entropy_bound", bound),
        Case::new("infill", entropy),
        Case::new("free", entropy),
    ];
    follow("rnd1", &cases);
}

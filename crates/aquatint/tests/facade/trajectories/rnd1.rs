//! RND1's `diffusion_sample` (golden/rnd1/README.md).

use super::golden::Trajectory;
use super::{Case, follow_but};
use aquatint::generate::SettingsBuilder;

/// The positions of the least entropy.
fn entropy(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    builder.steps(trajectory.count("num_steps")).policy_named("entropy")
}

#[test]
fn the_sampler_of_rnd1_is_followed_step_by_step() {
    let cases = [
        Case::new("entropy", entropy),
        Case::new("entropy_32", entropy),
        Case::new("infill", entropy),
        Case::new("free", entropy),
    ];
    // These rank positions in another order than that of the entropy after shaping.
    follow_but("rnd1", &cases, &["entropy_bound", "entropy_temperature_top_p", "entropy_top_k"]);
}

//! SDAR's `generate.py` with SDAR-MoE (golden/sdar_moe/README.md).

use super::{Case, follow, sdar};

#[test]
fn the_sampler_of_sdar_moe_is_followed_step_by_step() {
    let begun = |case: Case| if case.emulated > 0 { case.begun() } else { case };
    follow("sdar_moe", &sdar::cases().into_iter().map(begun).collect::<Vec<_>>());
}

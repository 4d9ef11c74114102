//! SDAR's `generate.py` with SDAR-MoE (golden/sdar_moe/README.md).

use super::{follow, sdar};

#[test]
fn the_sampler_of_sdar_moe_is_followed_step_by_step() {
    follow("sdar_moe", &sdar::cases());
}

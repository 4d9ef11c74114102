//! LLaDA's `generate.py` with LLaDA-MoE (golden/llada_moe/README.md).

use super::llada::{guided, steps};
use super::{Case, follow};

#[test]
fn the_sampler_of_llada_moe_is_followed_step_by_step() {
    let cases = [
        Case::new("low_confidence", steps),
        Case::new("low_confidence_blocks", steps).begun(),
        Case::new("cfg", guided),
    ];
    follow("llada_moe", &cases);
}

//! MMaDA's `mmu_generate`, which writes text (golden/mmada/README.md).

use super::llada::{guided, steps};
use super::{Case, follow_but};

#[test]
fn the_sampler_of_mmada_for_text_is_followed_step_by_step() {
    let cases = [Case::new("text", steps), Case::new("text_cfg", guided)];
    follow_but("mmada", &cases, &["picture", "picture_cfg"]);
}

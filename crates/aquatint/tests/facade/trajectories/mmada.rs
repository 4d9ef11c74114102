//! MMaDA's `mmu_generate`, which writes text, and `t2i_generate`, which writes the codes of a picture
//! (golden/mmada/README.md).

use super::golden::{Trajectory, ids};
use super::llada::{guided, steps};
use super::{Case, follow};
use aquatint::diffusion::Counting;
use aquatint::generate::SettingsBuilder;

/// All codes in one block, few at first; tokens of text have no part in predictions.
fn picture(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    let builder = builder.steps(trajectory.count("timesteps")).counting(Counting::Cosine).policy_named("confidence");
    builder.suppress_tokens(0..trajectory.token("text_vocabulary"))
}

/// `(1 + w) c − w u`, where the unconditional prompt is what its mask shows of it.
fn guided_picture(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    let (tokens, mask) = (ids(&trajectory.0["unconditional"][0]), ids(&trajectory.0["unconditional_mask"][0]));
    let hole = ids(&trajectory.0["prompt"][0]).iter().position(|token| *token == 325).expect("a hole");
    let shown = tokens.into_iter().zip(mask).take(hole).filter(|(_, shown)| *shown == 1).map(|(token, _)| token);
    let scale = 1.0 + trajectory.number("guidance_scale");
    picture(builder, trajectory).guidance_scale(scale).unconditional_prompt(shown)
}

#[test]
fn the_samplers_of_mmada_are_followed_step_by_step() {
    let cases = [
        Case::new("text", steps),
        Case::new("text_cfg", guided),
        Case::new("picture", picture),
        Case::new("picture_cfg", guided_picture).begun(),
    ];
    follow("mmada", &cases);
}

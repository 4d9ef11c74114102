//! MMaDA's `mmu_generate`, which writes text, and `t2i_generate`, which writes the codes of a picture
//! (golden/mmada/README.md).

use super::golden::{Trajectory, ids};
use super::llada::{guided, steps};
use super::{Case, follow};
use aquatint::diffusion::{Counting, Domain, TokenId};
use aquatint::generate::SettingsBuilder;

/// All codes in one block, few at first.
fn codes(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    builder.steps(trajectory.count("timesteps")).counting(Counting::Cosine).policy_named("confidence")
}

/// Tokens of text have no part in predictions, because they are suppressed.
fn picture(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    codes(builder, trajectory).suppress_tokens(0..trajectory.token("text_vocabulary"))
}

/// Nor have they where a hole holds codes.
fn of_codes(trajectory: &Trajectory, size: usize) -> Domain {
    Domain::line(trajectory.token("text_vocabulary")..size as TokenId)
}

/// `(1 + w) c − w u`, where the unconditional prompt is what its mask shows of it.
fn guided_picture(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    let (tokens, mask) = (ids(&trajectory.0["unconditional"][0]), ids(&trajectory.0["unconditional_mask"][0]));
    let hole = ids(&trajectory.0["prompt"][0]).iter().position(|token| *token == 325).expect("a hole");
    let shown = tokens.into_iter().zip(mask).take(hole).filter(|(_, shown)| *shown == 1).map(|(token, _)| token);
    let scale = 1.0 + trajectory.number("guidance_scale");
    codes(builder, trajectory).guidance_scale(scale).unconditional_prompt(shown)
}

#[test]
fn the_samplers_of_mmada_are_followed_step_by_step() {
    let cases = [
        Case::new("text", steps),
        Case::new("text_cfg", guided),
        Case::new("picture", picture),
        Case { domain: Some(of_codes), ..Case::new("picture_cfg", guided_picture).begun() },
    ];
    follow("mmada", &cases);
}

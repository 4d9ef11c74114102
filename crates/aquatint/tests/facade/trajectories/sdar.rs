//! SDAR's `generate.py` (golden/sdar/README.md).

use super::golden::{Folder, Trajectory};
use super::recorded::Row;
use super::{Case, follow};
use aquatint::diffusion::{Counting, Layout, TokenId};
use aquatint::generate::{ConfidenceOf, SettingsBuilder, StopAt};

/// As many positions at each step, by one of its three strategies.
fn strategy(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    let settings = &trajectory.0["settings"];
    let policy = match settings["remasking_strategy"].as_str().expect("a strategy") {
        "low_confidence_dynamic" => format!("dynamic:{}", trajectory.number("confidence_threshold")),
        "low_confidence_static" => "confidence".to_owned(),
        other => other.to_owned(),
    };
    let builder = builder.steps(trajectory.count("denoising_steps")).counting(Counting::Even).policy_named(&policy);
    match settings["stopping_criteria_idx"][0].as_u64() {
        Some(token) => builder.end_token(token as TokenId).stop_at(StopAt::Block),
        None => builder,
    }
}

/// Confidence is that of the distribution at this temperature, of which the likeliest token is taken.
fn shaped(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    let temperature = Some(trajectory.number("temperature"));
    let builder = strategy(builder, trajectory).top_k(trajectory.count("top_k")).top_p(trajectory.number("top_p"));
    builder.confidence_of(ConfidenceOf::Shaped { temperature })
}

fn sampled(builder: SettingsBuilder, trajectory: &Trajectory) -> SettingsBuilder {
    shaped(builder, trajectory).temperature(trajectory.number("temperature"))
}

fn blocks(trajectory: &Trajectory) -> Layout {
    Layout::Block { length: trajectory.count("block_length") }
}

/// What was drawn at each pass over a block.
fn proposal(folder: &Folder, trajectory: &Trajectory, pass: usize, position: usize, _: &Row<'_>) -> TokenId {
    let length = trajectory.count("block_length");
    folder.tensors.ids("sampled.proposals")[pass * length + position % length]
}

/// The cases that SDAR and SDAR-MoE have in common.
pub(crate) fn cases() -> Vec<Case> {
    let new = |name, settings| Case { layout: Some(blocks), ..Case::new(name, settings) };
    vec![
        new("dynamic", strategy),
        new("static", strategy),
        new("sequential", strategy),
        new("dynamic_block_8", strategy).emulated(),
        new("static_block_8_two", strategy),
        new("sequential_block_8_two", strategy),
        new("dynamic_temperature_0.6", shaped),
        Case { draws: Some(proposal), ..new("sampled", sampled) },
    ]
}

#[test]
fn the_sampler_of_sdar_is_followed_step_by_step() {
    let stops = Case { layout: Some(blocks), ..Case::new("stops", strategy) };
    follow("sdar", &cases().into_iter().chain([stops]).collect::<Vec<_>>());
}

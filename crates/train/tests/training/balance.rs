//! Loads of experts: measured in every run with experts, and evened out where the recipe asks for it.

use crate::families::Room;
use crate::ranks::run_among;
use crate::support::{fingerprint, run};
use aquatint_checkpoint::Checkpoint;
use aquatint_network::TensorData;
use aquatint_testing::Golden;
use std::path::Path;

/// Values of all biases of routers.
fn biases(folder: &Path) -> Vec<f32> {
    let checkpoint = Checkpoint::load(folder).unwrap();
    let mut all = Vec::new();
    let read = |give: &mut dyn FnMut(&str) -> Option<TensorData>| {
        for tensor in checkpoint.spec.tensors().iter().filter(|tensor| tensor.name.ends_with("expert_bias")) {
            all.extend(give(&tensor.name).unwrap().into_real());
        }
        Ok(())
    };
    checkpoint.build(read).unwrap();
    all
}

/// How uneven the loads were, as the mean over the last eight steps.
fn imbalance(room: &Room, (name, family): (&str, &str), set: &[&str]) -> f64 {
    let set = [&["run.steps=30", "optimiser.learning_rate=0.01"], set].concat();
    let (_, figures) = run(&room.recipe((name, &Golden::folder(family)), &set), false).unwrap();
    let all: Vec<f64> = figures.iter().map(|figures| figures.expert_imbalance.unwrap()).collect();
    assert!(all.iter().all(|imbalance| (1.0..=8.0).contains(imbalance)), "{all:?}");
    let last = &all[all.len() - 8..];
    last.iter().sum::<f64>() / last.len() as f64
}

#[test]
fn a_cost_evens_out_the_loads_of_routers_without_bias() {
    let room = Room::new();
    for family in ["sdar_moe", "diffusion_gemma"] {
        let of = |name: &str, set: &[&str]| imbalance(&room, (&format!("{family}-{name}"), family), set);
        let (left, balanced) = (of("left", &[]), of("balanced", &["objective.balance=3.0"]));
        assert!(balanced < 0.9 * left, "{family}: {left} and {balanced}");
    }
    let lines = std::fs::read_to_string(room.path("sdar_moe-left").join("metrics.jsonl")).unwrap();
    assert!(lines.lines().next().unwrap().contains("\"expert_imbalance\":"), "{lines}");
}

#[test]
fn a_bias_is_moved_against_the_load_on_all_ranks_alike_and_the_run_resumes_exactly() {
    let (room, family) = (Room::new(), Golden::folder("llada2_moe"));
    let still = ["optimiser.learning_rate=0", "objective.balance=0.125"];
    let of = |name: &str, set: &[&str]| room.recipe((name, &family), &[&still[..], set].concat());
    let straight = of("straight", &[]);
    run(&straight, false).unwrap();
    run(&of("broken", &["run.steps=4"]), false).unwrap();
    run(&of("broken", &[]), true).unwrap();
    assert!(fingerprint(&straight.output) == fingerprint(&room.path("broken")));
    // Nothing else moves, so that two ranks route as one does.
    let shared = of("shared", &[]);
    run_among(2, &shared, false).unwrap();
    let moved = biases(&straight.output);
    assert_eq!(biases(&shared.output), moved);
    let steps: Vec<f32> = moved.iter().zip(biases(&family)).map(|(after, before)| (after - before) / 0.125).collect();
    assert!(steps.iter().all(|step| (step - step.round()).abs() < 1e-4 && step.abs() < 10.5), "{steps:?}");
    assert!(steps.iter().any(|step| *step > 0.5) && steps.iter().any(|step| *step < -0.5), "{steps:?}");

    let group = "optimiser.groups=[{ parameters = '*.expert_bias', trainable = false }]";
    let untouched = of("untouched", &[group, "run.steps=3"]);
    run(&untouched, false).unwrap();
    assert_eq!(biases(&untouched.output), biases(&family));

    let measure = |name: &str, set: &[&str]| {
        imbalance(&room, (name, "llada2_moe"), &[&["optimiser.learning_rate=0"], set].concat())
    };
    let (left, balanced) = (measure("left", &[]), measure("balanced", &["objective.balance=0.02"]));
    assert!(balanced < 0.9 * left, "{left} and {balanced}");
}

#[test]
fn a_network_without_experts_has_nothing_to_balance() {
    let room = Room::new();
    let dense = room.recipe(("dense", &Golden::folder("dream")), &["run.steps=1"]);
    let (_, figures) = run(&dense, false).unwrap();
    assert_eq!(figures[0].expert_imbalance, None);
    let refused = room.recipe(("refused", &Golden::folder("dream")), &["objective.balance=0.01"]);
    let error = run(&refused, false).unwrap_err().to_string();
    assert_eq!(error, "`objective.balance` is 0.01; allowed: nothing where the network has no experts");
}

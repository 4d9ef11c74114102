//! A run on a GPU: its losses are the processor's, and a resumed one is the same to the bit.

use crate::support::{fingerprint, recipe, run};
use aquatint_compute::{Cuda, Precision};
use aquatint_train::{Resolved, StepFigures, TrainingEvent, train};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

/// Small, as an emulated GPU is slow.
const SET: [&str; 6] = [
    "data.canvas_length=16",
    "optimiser.batch=2",
    "optimiser.kind=muon",
    "run.log_every=1",
    "run.validate_canvases=1",
    "run.validate_times=1",
];

fn run_on(device: &Cuda, recipe: &Resolved, resume: bool) -> Vec<StepFigures> {
    let mut figures = Vec::new();
    train(recipe, device.clone(), resume, &AtomicBool::new(false), &mut |event| {
        if let TrainingEvent::Step(step) = event {
            figures.push(step);
        }
    })
    .unwrap();
    figures
}

#[test]
fn a_run_on_a_gpu_is_that_on_the_processor_and_resumes_exactly() {
    for device in Cuda::tested() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str, steps: &str, schedule: &str| {
            recipe(&folder.path().join(name), &[&SET[..], &[steps, schedule]].concat())
        };
        // A schedule that does not know where the run ends.
        let constant = "optimiser.lr_schedule=constant";
        let (_, expected) = run(&of("cpu", "run.steps=4", constant), false).unwrap();
        let whole = of("gpu", "run.steps=4", constant);
        let got = run_on(&device, &whole, false);
        assert_eq!(got.len(), 4);
        for (got, expected) in got.iter().zip(&expected) {
            let error = (got.loss - expected.loss).abs() / expected.loss;
            assert!(error < 1e-4, "step {}: {} and {}", got.step, got.loss, expected.loss);
        }
        let half = of("half", "run.steps=2", constant);
        run_on(&device, &half, false);
        run_on(&device, &of("half", "run.steps=4", constant), true);
        let state = |folder: &std::path::Path| -> Vec<_> {
            fingerprint(folder).into_iter().filter(|(name, _)| name.starts_with("state/")).collect()
        };
        assert!(state(&whole.output) == state(&half.output), "the resumed run ends elsewhere");
    }
}

/// Algorithms of products differ in their bits, and another process would choose other ones by its clock.
#[test]
fn a_run_that_another_process_resumes_takes_the_algorithms_that_were_stored() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, steps: &str| {
        let set = [&SET[..], &[steps, "optimiser.lr_schedule=constant"]].concat();
        recipe(&folder.path().join(name), &set)
    };
    let stored = folder.path().join("algorithms");
    let Some(first) = Cuda::emulated(Some(&stored), 0) else { return };
    let Some(second) = Cuda::emulated(Some(&stored), 1) else { return };
    let Some(forgetful) = Cuda::emulated(None, 1) else { return };
    let state = |name: &str| -> Vec<_> {
        let all = fingerprint(&of(name, "run.steps=2").output).into_iter();
        all.filter(|(name, _)| name.starts_with("state/")).collect()
    };
    run_on(&first, &of("whole", "run.steps=2"), false);
    for (name, device, is_same) in [("resumed", second, true), ("otherwise", forgetful, false)] {
        run_on(&first, &of(name, "run.steps=1"), false);
        run_on(&device, &of(name, "run.steps=2"), true);
        assert_eq!(state("whole") == state(name), is_same, "{name}");
    }
}

/// A launch takes longer than what it does to a small parameter: there is none for each, however many there are.
#[test]
fn a_step_on_a_gpu_launches_no_kernel_for_each_parameter() {
    let folder = tempfile::tempdir().unwrap();
    let step = |kind: &str, layers: usize| -> Option<BTreeMap<&'static str, usize>> {
        let (device, watched) = Cuda::watched()?;
        let (kind, layers) = (format!("optimiser.kind={kind}"), format!("network.layers={layers}"));
        let set = [&SET[..], &[&kind, &layers, "run.steps=3", "network.qk_norm=true"]].concat();
        let mut steps = Vec::new();
        train(
            &recipe(&folder.path().join(&kind).join(&layers), &set),
            device,
            false,
            &AtomicBool::new(false),
            &mut |event| {
                if let TrainingEvent::Step(_) = event {
                    steps.push(watched.calls());
                }
            },
        )
        .unwrap();
        steps.pop()
    };
    for kind in ["muon", "adamw"] {
        let (Some(few), Some(many)) = (step(kind, 1), step(kind, 4)) else { return };
        let of = |counts: &BTreeMap<&'static str, usize>, name| counts.get(name).copied().unwrap_or(0);
        for name in ["adamw", "sums_of_squares", "scale_add", "divide_by_norm", "sum_of_squares"] {
            assert_eq!(of(&few, name), of(&many, name), "{kind}: {name}");
        }
        // Two weights of a layer are stacks, that of queries, keys and values and that of a gate with what it is for: each is
        // stacked, and hands its gradient back.
        assert_eq!(of(&many, "scale_add_all") - of(&few, "scale_add_all"), 3 * 4, "{kind}");
        // Two sums for each of five iterations and three shapes.
        assert_eq!(of(&many, "scale_add"), if kind == "muon" { 2 * 5 * 3 } else { 0 }, "{kind}");
        assert_eq!((of(&many, "adamw"), of(&many, "sums_of_squares")), (1, 1), "{kind}");
    }
}

/// Steps ask about other numbers of rows each, which must not make memory grow; a real GPU shows it over a thousand.
#[test]
fn many_steps_on_a_gpu_take_no_more_memory_than_a_few() {
    for device in Cuda::tested() {
        let emulated = device.facts().name == "emulated";
        let (few, steps) = if emulated { (2, 6) } else { (20, 1000) };
        let folder = tempfile::tempdir().unwrap();
        let steps = format!("run.steps={steps}");
        let recipe = recipe(&folder.path().join("run"), &[&SET[..], &[&steps]].concat());
        let mut peak_after_few = 0;
        train(&recipe, device.clone(), false, &AtomicBool::new(false), &mut |event| {
            if let TrainingEvent::Step(step) = event
                && step.step == few
            {
                peak_after_few = device.peak_bytes();
            }
        })
        .unwrap();
        assert!(peak_after_few > 0);
        let peak = device.peak_bytes();
        assert!(peak <= peak_after_few + peak_after_few / 2, "{peak_after_few} bytes and then {peak}");
    }
}

/// Steps with other rows, times and learning rates each.
#[test]
fn a_run_that_replays_is_the_one_that_does_not_to_the_bit() {
    for (optimiser, precision) in [("muon", Precision::F32), ("adamw", Precision::Bf16)] {
        // Its sums are exact and rounded once, so that rows of zeros change none.
        let emulated = || Some(Cuda::tested().into_iter().next()?.with_precision(precision));
        let (Some(plain), Some(device)) = (emulated(), emulated()) else { return };
        if plain.facts().name != "emulated" {
            return;
        }
        let device = device.with_graphs();
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| {
            let kind = format!("optimiser.kind={optimiser}");
            let set = [&SET[..], &["run.steps=12", "optimiser.batch=3", &kind]].concat();
            recipe(&folder.path().join(name), &set)
        };
        let (one, other) = (of("plain"), of("replayed"));
        run_on(&plain, &one, false);
        let (mut figures, mut last_steps) = (Vec::new(), None);
        train(&other, device.clone(), false, &AtomicBool::new(false), &mut |event| {
            if let TrainingEvent::Step(step) = event {
                let now = device.graph_figures().unwrap();
                if step.step == 6 {
                    last_steps = Some(now.clone());
                }
                figures.push(now);
            }
        })
        .unwrap();
        assert!(fingerprint(&one.output) == fingerprint(&other.output), "{optimiser}: the replayed run ends elsewhere");
        let (then, now) = (last_steps.unwrap(), figures.last().unwrap());
        let (calls, replayed) = (now.calls - then.calls, now.replayed - then.replayed);
        println!("{optimiser}: {:?}\nthen {then:?}\nthen {now:?}", figures[0]);
        assert_eq!(now.refusal, None);
        assert!(replayed as f64 > 0.6 * calls as f64, "{optimiser}: {replayed} of {calls} calls are replayed");
    }
}

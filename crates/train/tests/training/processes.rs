//! The same trainer under every process: it learns, goes on where it was stopped, and leaves a model that fills
//! canvases.

use crate::support::{device, fingerprint, recipe, run};
use aquatint_checkpoint::Checkpoint;
use aquatint_diffusion::{Canvas, Layout};
use aquatint_evaluate::Estimate;
use aquatint_generate::{Request, Settings, generate};
use aquatint_train::{Ending, StepFigures, TrainingEvent, train};
use aquatint_vocabulary::Role;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::AtomicBool;

const PROCESSES: [&str; 9] = [
    "masked",
    "score-entropy",
    "uniform",
    "uniform-posterior",
    "duo:0.01",
    "hybrid:0.2",
    "gaussian:8",
    "simplex",
    "simplex-argmax",
];

/// The tokens that a model in a folder writes on an empty canvas.
fn written(folder: &Path, steps: usize) -> Vec<u32> {
    let checkpoint = Checkpoint::load(folder).unwrap();
    let network = checkpoint.network(device()).unwrap();
    let process = checkpoint.spec.process().unwrap().unwrap();
    let mut canvas = Canvas::new();
    canvas.push_open(32, false, checkpoint.vocabulary.role(Role::Mask).unwrap());
    let request = Request::new(canvas, Settings::builder().steps(steps).seed(3).build().unwrap());
    let mut outcomes = generate(&network, process.as_ref(), &[request], &mut |_, _| ControlFlow::Continue(()));
    let outcome = outcomes.remove(0).unwrap();
    assert!(outcome.canvas.open_positions().is_empty());
    assert!(outcome.statistics.forward_passes <= steps.max(1) * 32);
    outcome.canvas.tokens().to_vec()
}

#[test]
fn every_process_learns_and_its_model_fills_canvases() {
    for process in PROCESSES {
        for conditioning in ["false", "true"] {
            let folder = tempfile::tempdir().unwrap();
            let set = [
                format!("objective.process={process}"),
                format!("network.self_conditioning={conditioning}"),
                "run.steps=80".to_owned(),
                "run.validate_every=80".to_owned(),
                "optimiser.warm_up=5".to_owned(),
            ];
            let set: Vec<&str> = set.iter().map(String::as_str).collect();
            let (summary, figures) = run(&recipe(folder.path(), &set), false).unwrap();
            let mean = |part: &[StepFigures]| part.iter().map(|f| f.loss).sum::<f64>() / part.len() as f64;
            let (early, late) = (mean(&figures[..4]), mean(&figures[figures.len() - 4..]));
            assert!(late < early && summary.last.unwrap().is_finite(), "{process}: {early} to {late}");
            let tokens = written(folder.path(), 8);
            assert_eq!(tokens, written(folder.path(), 8), "{process}: one seed, two canvases");
            let saved = Checkpoint::load(folder.path()).unwrap();
            assert_eq!(saved.spec.process().unwrap().unwrap().name(), process);
            assert_eq!(saved.generation.policy, Some(saved.spec.process().unwrap().unwrap().policy().name()));
        }
    }
}

#[test]
fn a_stopped_run_of_a_field_goes_on_bit_for_bit() {
    for process in ["uniform", "gaussian:8", "simplex"] {
        let folder = tempfile::tempdir().unwrap();
        let (straight, broken) = (folder.path().join("straight"), folder.path().join("broken"));
        let set = [
            &format!("objective.process={process}"),
            "objective.time_sampling=adaptive",
            "network.self_conditioning=true",
        ];
        run(&recipe(&straight, &set), false).unwrap();
        let wanted = recipe(&broken, &set);
        let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            train(&wanted, device(), false, &AtomicBool::new(false), &mut |event| {
                if let TrainingEvent::Step(StepFigures { step: 25, .. }) = event {
                    std::panic::resume_unwind(Box::new("killed"));
                }
            })
        }));
        assert!(killed.is_err());
        assert_eq!(run(&wanted, true).unwrap().0.ending, Ending::Complete);
        assert!(fingerprint(&straight) == fingerprint(&broken), "{process}");
        let (a, b) = (Checkpoint::load(&straight).unwrap(), Checkpoint::load(&broken).unwrap());
        assert_eq!(a.generation, b.generation, "{process}");
        assert!(a.generation.time_grid.is_some(), "{process}: steps of sampling follow the cost");
    }
}

#[test]
fn blocks_learn_in_two_streams_and_are_written_from_an_exact_cache() {
    for process in ["masked", "uniform"] {
        let folder = tempfile::tempdir().unwrap();
        let process = format!("objective.process={process}");
        let set = ["network.attention=block:8", &process, "objective.time_range=[0.3, 0.8]", "run.steps=60"];
        let (_, figures) = run(&recipe(folder.path(), &set), false).unwrap();
        assert!(figures.last().unwrap().loss < figures[1].loss);
        let checkpoint = Checkpoint::load(folder.path()).unwrap();
        assert_eq!(checkpoint.spec.attention, Layout::Block { length: 8 });
        written(folder.path(), 4);
    }
}

#[test]
fn windows_are_trained_saved_and_taken_over_from_an_initial_model() {
    let folder = tempfile::tempdir().unwrap();
    let model = |name: &str, set: &[&str]| {
        let set = [set, &["network.layers=3", "run.steps=2", "network.attention=block:8"]].concat();
        run(&recipe(&folder.path().join(name), &set), false)
    };
    let windows = |name: &str| -> Vec<Option<usize>> {
        let checkpoint = Checkpoint::load(&folder.path().join(name)).unwrap();
        checkpoint.spec.layers.iter().map(|layer| layer.attention.window).collect()
    };
    let types = "network.layer_types=[\"sliding_attention\", \"full_attention\"]";
    model("some", &["network.window=6", types]).unwrap();
    assert_eq!(windows("some"), [Some(6), None, Some(6)]);
    model("all", &["network.window=6"]).unwrap();
    assert_eq!(windows("all"), [Some(6); 3]);
    let initial = format!("initial={}", folder.path().join("some").display());
    model("begun", &[&initial]).unwrap();
    assert_eq!(windows("begun"), [Some(6), None, Some(6)]);
    model("again", &[&initial, "network.window=6", types]).unwrap();
    assert_eq!(windows("again"), [Some(6), None, Some(6)]);
    let other = model("other", &[&initial, "network.window=6"]).unwrap_err().to_string();
    assert!(other.ends_with("its window is none, the recipe's 6"), "{other}");
    written(&folder.path().join("all"), 4);
}

#[test]
fn advice_on_sampling_is_taken_over_by_a_model_of_the_same_kind() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    run(&recipe(&first, &["run.steps=2"]), false).unwrap();
    let advice = |name: &str| Checkpoint::load(&folder.path().join(name)).unwrap().generation;
    assert_eq!((advice("first").policy.as_deref(), advice("first").steps), (Some("confidence"), None));
    let file = first.join("generation_config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    for (key, value) in [("steps", 5.into()), ("policy", "margin".into()), ("cache", "dual".into())] {
        config[key] = value;
    }
    std::fs::write(&file, config.to_string()).unwrap();
    let initial = format!("initial={}", first.display());
    let begin = |name: &str, set: &[&str]| {
        let set = [set, &[&initial, "run.steps=2"]].concat();
        run(&recipe(&folder.path().join(name), &set), false).unwrap();
        advice(name)
    };
    assert_eq!(begin("same", &[]), advice("first"));
    let without = (Some("confidence".to_owned()), None, None);
    for (name, set) in [("blocks", "network.attention=block:8"), ("student", "distillation={steps=2, rounds=1}")] {
        let other = begin(name, &[set]);
        assert_eq!((other.policy, other.steps, other.cache), without, "{name}");
    }
    assert_eq!(begin("uniform", &["objective.process=uniform"]).steps, None);
}

#[test]
fn a_model_of_one_kind_begins_another() {
    let folder = tempfile::tempdir().unwrap();
    let (masked, causal) = (folder.path().join("masked"), folder.path().join("causal"));
    let (learnt, _) = run(&recipe(&masked, &["run.steps=120"]), false).unwrap();
    run(&recipe(&causal, &["run.steps=120", "objective.kind=causal"]), false).unwrap();
    let begin = |initial: &Path, name: &str, set: &[&str]| {
        let initial = format!("initial={}", initial.display());
        let set = [set, &[&initial, "run.steps=10", "run.log_every=1", "optimiser.learning_rate=1e-4"]].concat();
        run(&recipe(&folder.path().join(name), &set), false).unwrap().1[0].loss
    };
    // Of 320 tokens each costs 5.8 nats under a network that knows nothing.
    let shifted = begin(&causal, "shifted", &["network.logit_shift=true"]);
    let unshifted = begin(&causal, "unshifted", &[]);
    assert!(shifted < unshifted, "a causal model answers one row before: {shifted} and {unshifted}");
    let again = begin(&masked, "conditioned", &["network.self_conditioning=true"]);
    assert!((again - learnt.last.unwrap()).abs() < 0.7, "{again} and {learnt:?}");
    // What it reads is new to it; what it knows of the text is not.
    for (number, process) in ["gaussian:8", "uniform-posterior"].into_iter().enumerate() {
        let process = format!("objective.process={process}");
        let initial = format!("initial={}", masked.display());
        let last = |name: String, more: &[&str]| {
            let set = [&[process.as_str(), "run.steps=60", "run.log_every=20"], more].concat();
            run(&recipe(&folder.path().join(name), &set), false).unwrap().1[2].loss
        };
        let (fresh, begun) = (last(format!("fresh-{number}"), &[]), last(format!("field-{number}"), &[&initial]));
        assert!(begun < fresh, "{process}: {begun} begun with a model, {fresh} without");
    }
}

#[test]
fn a_student_learns_to_take_two_steps_at_once() {
    for process in ["gaussian:8", "simplex", "masked", "uniform"] {
        let folder = tempfile::tempdir().unwrap();
        let (teacher, student, broken) =
            (folder.path().join("teacher"), folder.path().join("student"), folder.path().join("broken"));
        let process = format!("objective.process={process}");
        run(&recipe(&teacher, &[&process, "run.steps=150", "network.self_conditioning=true"]), false).unwrap();
        let initial = format!("initial={}", teacher.display());
        let set = [
            process.as_str(),
            &initial,
            "network.self_conditioning=true",
            "distillation.steps=8",
            "distillation.rounds=2",
            "run.steps=160",
            "run.log_every=20",
            "optimiser.learning_rate=1e-3",
        ];
        let (summary, figures) = run(&recipe(&student, &set), false).unwrap();
        // A walk that is drawn leaves the teacher's later prediction unsure, and no student can be surer; masks and the
        // flow of a gaussian field leave little to chance. The second round begins with another teacher.
        let (first, last) = (figures[4].loss, figures[7].loss);
        let learns = ["masked", "gaussian:8"].iter().any(|name| process.ends_with(name));
        assert!(first > 0.0 && last < if learns { first } else { 1.3 * first }, "{process}: {first} to {last}");
        assert!(summary.last.unwrap().is_finite() && student.join("teacher-1/model.safetensors").is_file());
        written(&student, 2);

        if process != "objective.process=gaussian:8" {
            continue;
        }
        let wanted = recipe(&broken, &set);
        let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            train(&wanted, device(), false, &AtomicBool::new(false), &mut |event| {
                if let TrainingEvent::Step(StepFigures { step: 120, .. }) = event {
                    std::panic::resume_unwind(Box::new("killed"));
                }
            })
        }));
        assert!(killed.is_err());
        run(&wanted, true).unwrap();
        assert!(fingerprint(&student) == fingerprint(&broken), "{process}");
    }
    let refused = |set: &[&str]| {
        let mut all = vec!["output='x'", "distillation.rounds=2"];
        all.extend(set);
        let text = "output='x'\n[data]\ntrain=[{path='a'}]\nvalid=[{path='b'}]\n";
        let overrides = aquatint_train::Overrides::parse(&all).unwrap();
        aquatint_train::Recipe::parse(text, &overrides).unwrap().resolve().unwrap_err().to_string()
    };
    assert!(refused(&["distillation.steps=8"]).contains("with `initial`"));
    assert!(refused(&["distillation.steps=3", "initial='a'"]).contains("each can halve"));
}

#[test]
fn complementary_masks_cost_the_same_bound() {
    // There is no training: the mean of the costs is that of either form, and the pairs' has less noise.
    let costs = |masking: &str| {
        let folder = tempfile::tempdir().unwrap();
        let masking = format!("objective.masking={masking}");
        let set =
            [&masking, "optimiser.learning_rate=1e-30", "run.steps=80", "run.log_every=1", "run.validate_every=80"];
        let (_, figures) = run(&recipe(folder.path(), &set), false).unwrap();
        figures.iter().map(|figures| figures.loss).collect::<Vec<f64>>()
    };
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len() as f64;
    let (single, paired) = (costs("fixed-count"), costs("complementary"));
    assert!((mean(&single) - mean(&paired)).abs() < 0.1, "{} and {}", mean(&single), mean(&paired));
    assert_ne!(single, paired);
}

#[test]
fn what_is_measured_says_what_it_is() {
    for (process, expected) in [("uniform", true), ("simplex", false)] {
        let folder = tempfile::tempdir().unwrap();
        let process = format!("objective.process={process}");
        let mut observed = None;
        let recipe = recipe(folder.path(), &[&process, "run.steps=2"]);
        train(&recipe, device(), false, &AtomicBool::new(false), &mut |event| {
            if let TrainingEvent::Validated { likelihood, .. } = event {
                observed = Some(likelihood.estimate);
            }
        })
        .unwrap();
        assert_eq!(matches!(observed, Some(Estimate::Bound { .. })), expected, "{process}: {observed:?}");
    }
}

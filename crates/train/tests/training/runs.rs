//! Whole runs of a tiny model on the sample that ships in the repository.

use crate::support::{device, fingerprint, recipe, root, run, threads};
use aquatint_checkpoint::Checkpoint;
use aquatint_compute::Precision;
use aquatint_corpus::{Canvases, Source, pack};
use aquatint_diffusion::{Linear, Masked};
use aquatint_evaluate::{DiffusionBound, likelihood};
use aquatint_train::{
    Ending, Overrides, Recipe, Resolved, StepFigures, TrainError, TrainingEvent, VALIDATION_SEED, train,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How far, as a share, the costs of the first 30 steps may be apart in f32 and in bf16 products: twice what was
/// measured.
const BF16_TOLERANCE: f64 = 2e-4;

#[test]
fn forty_steps_equal_twenty_a_kill_and_twenty_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    for extra in [&["optimiser.kind=muon"][..], &["optimiser.kind=adamw", "optimiser.accumulate=2"]] {
        let (straight, broken) = (folder.path().join("straight"), folder.path().join("broken"));
        run(&recipe(&straight, extra), false).unwrap();

        // On two threads, which change no bit. A kill at step 27 leaves what was saved at step 20: a panic inside the event stream is as sudden.
        let wanted = recipe(&broken, extra);
        let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            train(&wanted, threads(2), false, &AtomicBool::new(false), &mut |event| {
                if let TrainingEvent::Step(StepFigures { step: 25, .. }) = event {
                    std::panic::resume_unwind(Box::new("killed"));
                }
            })
        }));
        assert!(killed.is_err());
        let (summary, figures) = run(&wanted, true).unwrap();
        assert_eq!((summary.step, summary.ending, figures[0].step), (40, Ending::Complete, 25));

        assert!(fingerprint(&straight) == fingerprint(&broken), "{extra:?}");
        let losses = |folder: &Path| -> Vec<(u64, String)> {
            let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
            let values = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            values
                .filter(|v| v["kind"] != "ending")
                .map(|v| (v["step"].as_u64().unwrap(), format!("{} {}", v["loss"], v["nats_per_token"])))
                .collect()
        };
        assert_eq!(losses(&straight), losses(&broken));
        std::fs::remove_dir_all(&straight).unwrap();
        std::fs::remove_dir_all(&broken).unwrap();
    }
}

#[test]
fn the_first_loss_is_that_of_a_guess_and_the_last_is_below_the_unigram_entropy() {
    let folder = tempfile::tempdir().unwrap();
    let set = [
        "run.steps=300",
        "run.log_every=1",
        "run.validate_every=300",
        "run.validate_canvases=64",
        "optimiser.batch=16",
    ];
    let recipe = recipe(folder.path(), &set);
    let mut entropy = f64::NAN;
    let mut first = f64::NAN;
    let summary = train(&recipe, device(), false, &AtomicBool::new(false), &mut |event| match event {
        TrainingEvent::Corpus(figures) => entropy = figures.unigram_entropy,
        TrainingEvent::Step(figures) if figures.step == 1 => first = figures.loss,
        _ => {}
    })
    .unwrap();
    // Small first weights say nearly nothing, and saying nothing costs log V per token.
    assert!((first - (320f64).ln()).abs() < 0.4, "first loss {first}, log V {}", (320f64).ln());
    let last = summary.last.unwrap();
    assert!(last < entropy, "held-out bound {last}, unigram entropy {entropy}");

    // What was saved is what was measured: the checkpoint and the text give the log's figure again.
    let checkpoint = Checkpoint::load(folder.path()).unwrap();
    let mask = checkpoint.spec.mask_token.unwrap();
    assert_eq!(checkpoint.generation.mask_token_id, Some(mask));
    let source = Source::new(root().join("data/sample/valid"));
    let packed = pack(
        &[source.snapshot(&mut |_| true).unwrap()],
        &checkpoint.vocabulary,
        &aquatint_corpus::TextOnly,
        &folder.path().join("tokens"),
        &mut |_| true,
    )
    .unwrap();
    let canvases = Canvases::new(packed, checkpoint.spec.context_length).unwrap();
    let numbers: Vec<u64> = (0..64).map(|i| i * canvases.len() / 64).collect();
    let process = Masked::new(mask, Arc::new(Linear));
    let again = likelihood(
        &checkpoint.network(device()).unwrap(),
        &DiffusionBound { process: &process, times: 2, prompt: 0 },
        VALIDATION_SEED,
        numbers.chunks(10).map(|numbers| canvases.batch(numbers)),
        &mut |_| true,
    )
    .unwrap();
    assert!((again.nats_per_token - last).abs() < 1e-5, "{} measured again, {last} in the log", again.nats_per_token);
    assert!((again.bits_per_byte - summary.bits_per_byte.unwrap()).abs() < 1e-5);
    let lines = std::fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    assert!(lines.lines().any(|line| line.contains("\"kind\":\"validation\"") && line.contains("\"step\":300")));
    assert!(std::fs::read_to_string(folder.path().join("loss.svg")).unwrap().contains("held-out text"));
    assert!(std::fs::read_to_string(folder.path().join("recipe.toml")).unwrap().contains("learning_rate"));
}

#[test]
fn a_few_canvases_can_be_learnt_by_heart() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    std::fs::create_dir(&text).unwrap();
    std::fs::write(text.join("one.txt"), "the cat sat on the mat and the dog lay in the sun all day. ".repeat(8))
        .unwrap();
    let mut recipe =
        recipe(&folder.path().join("run"), &["run.steps=200", "run.validate_every=200", "optimiser.batch=4"]);
    recipe.data.train[0].path = text.clone();
    recipe.data.valid[0].path = text;
    let (summary, _) = run(&recipe, false).unwrap();
    let last = summary.last.unwrap();
    assert!(last < 1.0, "{last} nats per token after learning one sentence by heart");
}

#[test]
fn a_causal_model_is_trained_by_the_same_trainer() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), &["objective.kind=causal", "run.steps=60", "run.validate_canvases=32"]);
    let (summary, figures) = run(&recipe, false).unwrap();
    assert!((figures[0].loss - (320f64).ln()).abs() < 0.6);
    assert!(summary.last.unwrap() < figures[0].loss - 0.5);
}

#[test]
fn a_budget_for_activations_changes_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, set: &[&str]| {
        let set = [&["run.steps=6", "run.save_every=6"], set].concat();
        let recipe = recipe(&folder.path().join(name), &set);
        let mut recomputed = None;
        train(&recipe, device(), false, &AtomicBool::new(false), &mut |event| {
            if let TrainingEvent::Started(figures) = event {
                recomputed = Some(figures.recomputed);
            }
        })
        .unwrap();
        (recomputed.unwrap(), fingerprint(&recipe.output))
    };
    let (none, retained) = of("kept", &[]);
    assert_eq!(none, (0, 2));
    for (name, set, expected) in [
        ("plenty", "run.activation_memory=1GiB", (0, 2)),
        ("half", "run.activation_memory=1MiB", (1, 2)),
        ("nothing", "run.activation_memory=0B", (2, 2)),
        ("all", "optimiser.recompute=true", (2, 2)),
    ] {
        let (recomputed, weights) = of(name, &[set]);
        assert_eq!(recomputed, expected, "{name}");
        assert!(weights == retained, "{name}");
    }
}

/// The costs of the first steps of `recipes/smoke.toml`, step by step, with products in a precision.
fn smoke(folder: &Path, precision: Precision) -> Vec<f64> {
    let sample = root().join("data/sample");
    let set = [
        format!("output={}", folder.join(precision.to_string()).display()),
        format!("data.train=[{{ path = '{}/train' }}]", sample.display()),
        format!("data.valid=[{{ path = '{}/valid' }}]", sample.display()),
        format!("data.cache={}", folder.join("tokens").display()),
        "run.steps=30".to_owned(),
        "run.log_every=1".to_owned(),
        "run.validate_canvases=4".to_owned(),
        "run.validate_times=1".to_owned(),
        "run.sample_every=0".to_owned(),
        // The learning rate is to climb and to fall as in the whole run.
        "optimiser.warm_up=5".to_owned(),
    ];
    let recipe = Recipe::load(&root().join("recipes/smoke.toml"), &Overrides::parse(&set).unwrap()).unwrap();
    let mut costs = Vec::new();
    let device = device().with_precision(precision);
    train(&recipe.resolve().unwrap(), device, false, &AtomicBool::new(false), &mut |event| {
        if let TrainingEvent::Step(figures) = event {
            costs.push(figures.loss);
        }
    })
    .unwrap();
    costs
}

#[test]
fn with_products_in_bf16_the_costs_lie_on_those_in_f32() {
    let folder = tempfile::tempdir().unwrap();
    let (exact, rounded) = (smoke(folder.path(), Precision::F32), smoke(folder.path(), Precision::Bf16));
    assert_eq!((exact.len(), rounded.len()), (30, 30));
    assert!(exact != rounded, "the precision has no effect");
    assert!(exact[29] < exact[0] - 0.5, "nothing was learnt: {exact:?}");
    let apart = exact.iter().zip(&rounded).map(|(a, b)| (a - b).abs() / a).fold(0.0, f64::max);
    assert!(apart < BF16_TOLERANCE, "costs are {apart} of theirs apart:\n{exact:?}\n{rounded:?}");
}

#[test]
fn a_network_that_reads_its_prediction_learns_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, share: &str| {
        let set = [
            "network.self_conditioning=true",
            &format!("objective.self_conditioning_probability={share}"),
            "run.log_every=1",
        ];
        recipe(&folder.path().join(name), &set)
    };
    let norm = |recipe: &Resolved| {
        let weights = aquatint_checkpoint::Weights::open(&recipe.output).unwrap();
        weights.read("model.self_conditioning_norm.weight").unwrap()
    };
    let (never, always) = (of("never", "0"), of("always", "1"));
    let (_, without) = run(&never, false).unwrap();
    let (_, with) = run(&always, false).unwrap();
    // The norm of the predicted word vectors begins at 0, so the first prediction changes nothing; its gradient does.
    assert_eq!(without[0].loss, with[0].loss);
    assert!(without[39].loss != with[39].loss);
    assert!(with[39].loss < with[0].loss - 0.3, "{} at first, {} at last", with[0].loss, with[39].loss);
    assert!(norm(&never).iter().all(|weight| *weight == 0.0), "no prediction was ever given");
    assert!(norm(&always).iter().all(|weight| *weight != 0.0), "a prediction was given at every step");

    // Which passes get a prediction is a function of the step: stopped and resumed, the run is the same.
    let (straight, broken) = (of("straight", "0.5"), of("broken", "0.5"));
    run(&straight, false).unwrap();
    let stop = AtomicBool::new(false);
    train(&broken, device(), false, &stop, &mut |event| {
        if let TrainingEvent::Step(StepFigures { step: 17, .. }) = event {
            stop.store(true, Ordering::Relaxed);
        }
    })
    .unwrap();
    run(&broken, true).unwrap();
    assert!(fingerprint(&straight.output) == fingerprint(&broken.output));
}

#[test]
fn a_run_is_stopped_gently_and_never_overwritten_by_accident() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = recipe(folder.path(), &["run.steps=1000"]);
    assert!(matches!(run(&wanted, true), Err(TrainError::NothingToResume { .. })));
    let stop = AtomicBool::new(false);
    let summary = train(&wanted, device(), false, &stop, &mut |event| {
        if let TrainingEvent::Step(StepFigures { step: 10, .. }) = event {
            stop.store(true, Ordering::Relaxed);
        }
    })
    .unwrap();
    assert_eq!((summary.ending, summary.step), (Ending::Interrupted, 10));

    assert!(matches!(run(&wanted, false), Err(TrainError::Exists { step: 10, .. })));
    let other = recipe(folder.path(), &["network.layers=3"]);
    assert!(matches!(run(&other, true), Err(TrainError::OtherRun { .. })));
    let timed = recipe(folder.path(), &["run.max_minutes=0"]);
    assert_eq!(run(&timed, true).unwrap().0.ending, Ending::TimeUp);
    let longer = recipe(folder.path(), &["run.steps=12"]);
    assert_eq!(run(&longer, true).unwrap().0.step, 12);
}

#[test]
fn a_run_begins_with_another_models_weights() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    let (before, _) = run(&recipe(&first, &["run.steps=60"]), false).unwrap();
    let second = folder.path().join("second");
    let initial = format!("initial={}", first.display());
    let gentle = [initial.as_str(), "run.steps=1", "optimiser.learning_rate=0"];
    let (after, _) = run(&recipe(&second, &gentle), false).unwrap();
    // The average of equal weights is rounded, so the figure is the same but for the last bits.
    assert!((before.last.unwrap() - after.last.unwrap()).abs() < 1e-6);
    let other = recipe(&folder.path().join("third"), &[initial.as_str(), "network.width=64"]);
    assert!(matches!(run(&other, false), Err(TrainError::OtherNetwork { field: "width", .. })));
}

#[test]
fn too_little_text_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("little.txt");
    std::fs::write(&text, "A very short story.").unwrap();
    let mut wanted = recipe(&folder.path().join("run"), &[]);
    wanted.data.train[0].path = text;
    let error = run(&wanted, false).unwrap_err();
    assert!(matches!(error, TrainError::TooLittle { key: "data.train", .. }), "{error}");
}

/// A model goes on learning from another's weights with most of it left as it is.
#[test]
fn what_a_group_freezes_stays_to_the_bit_and_the_run_resumes_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    run(&recipe(&path("base"), &["run.steps=10"]), false).unwrap();
    let base = path("base").display().to_string();
    let set = [
        format!("initial={base}"),
        "run.steps=30".to_owned(),
        "run.save_every=10".to_owned(),
        "optimiser.groups=[{ parameters = \"model.layers.0.*\", trainable = false }, \
         { parameters = \"role:embedding\", trainable = false }, { parameters = \"*.mlp.*\", rate = 0.5 }]"
            .to_owned(),
    ];
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    run(&recipe(&path("whole"), &set), false).unwrap();
    let wanted = recipe(&path("broken"), &set);
    let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        train(&wanted, device(), false, &AtomicBool::new(false), &mut |event| {
            if let TrainingEvent::Step(StepFigures { step: 15, .. }) = event {
                std::panic::resume_unwind(Box::new("killed"));
            }
        })
    }));
    assert!(stopped.is_err());
    run(&wanted, true).unwrap();
    assert!(fingerprint(&path("whole")) == fingerprint(&path("broken")));

    let numbers = fingerprint(&path("whole"));
    let of = |name: &str| numbers.iter().find(|(known, _)| known == name).map(|(_, values)| values);
    let base = aquatint_checkpoint::Weights::open_file(&path("base").join("model.safetensors")).unwrap();
    let mut unchanged = 0;
    for name in base.names() {
        let untrained = name.starts_with("model.layers.0.") || name.contains("embed_tokens");
        let before: Vec<u32> = base.read(name).unwrap().into_iter().map(f32::to_bits).collect();
        assert_eq!(of(name) == Some(&before), untrained, "{name}");
        assert_eq!(of(&format!("state/average.{name}")).is_none(), untrained, "{name}");
        let moments = ["first", "second", "momentum"].map(|kind| of(&format!("state/{kind}.{name}")));
        assert_eq!(moments.iter().all(Option::is_none), untrained, "{name}");
        unchanged += usize::from(untrained);
    }
    assert!(unchanged > 5);
}

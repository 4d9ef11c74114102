//! Preferences: what is better becomes likelier, beside a reference that stays as it is.

use crate::support::{device, fingerprint, recipe, run};
use aquatint_checkpoint::Checkpoint;
use aquatint_train::{
    AvailableMemory, Figure, Overrides, Recipe, Resolved, TrainError, Training, TrainingEvent, train,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Texts that go on in order, or repeat themselves.
fn rows() -> String {
    let words = ["fox", "hen", "barn", "hill", "sun", "dog"];
    let rows = (0..48).map(|index| {
        let at = |place: usize| words[(index + place * (1 + index % 5)) % words.len()];
        let (prompt, rejected) = (format!("The {} saw the", at(0)), format!(" {0} {0} {0}.", at(0)));
        json!({ "prompt": prompt, "chosen": format!(" {} and the {}.", at(1), at(2)), "rejected": rejected })
            .to_string()
    });
    rows.collect::<Vec<_>>().join("\n")
}

/// A model that has read a few texts.
fn initial(folder: &Path) -> PathBuf {
    let output = folder.join("initial");
    run(&recipe(&output, &["run.steps=1", "run.validate_every=100"]), false).unwrap();
    output
}

fn parsed(output: &Path, initial: &Path, data: &Path, set: &[&str]) -> Result<Resolved, aquatint_train::RecipeError> {
    let text = format!(
        "output = '{}'\ninitial = '{}'\nseed = 7\n[data]\ntrain = [{{ path = '{data}' }}]\nvalid = [{{ path = '{data}' }}]\n\
         canvas_length = 32\n[objective]\nkind = 'preference'\n[optimiser]\nbatch = 4\nwarm_up = 4\nema = 0.0\n\
         learning_rate = 5e-3\n[run]\nsteps = 30\nlog_every = 5\nvalidate_every = 15\nvalidate_canvases = 8\n\
         validate_times = 2\nsave_every = 15\nsample_every = 0\nstorage = 'f32'\n",
        output.display(),
        initial.display(),
        data = data.display(),
    );
    Recipe::parse(&text, &Overrides::parse(set).unwrap())?.resolve()
}

/// The lines of figures of a run, by their kind.
fn lines(folder: &Path, kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).filter(|line: &Value| line["kind"] == kind).collect()
}

#[test]
fn what_is_better_becomes_likelier_and_a_resumed_run_is_the_same_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), write(folder.path(), "rows.jsonl", &rows()));
    for (name, adapter) in [("whole", None), ("adapter", Some("adapter={ rank = 4, targets = ['all-linear'] }"))] {
        let rate = if adapter.is_some() { "optimiser.learning_rate=5e-2" } else { "optimiser.learning_rate=5e-3" };
        let preference = "objective.preference={ beta = 0.5, samples = 2 }";
        let set: Vec<&str> =
            [preference, rate, "optimiser.lr_schedule='constant'"].into_iter().chain(adapter).collect();
        let output = folder.path().join(name);
        run(&parsed(&output, &initial, &data, &set).unwrap(), false).unwrap();
        let held_out = lines(&output, "validation");
        let (first, last) = (&held_out[0], held_out.last().unwrap());
        // The model has read next to nothing, and beside an adapter its head stays as it is: there the cost is below that of
        // no preference at all, ln 2, by how much hangs on how a processor rounds.
        let (right, cost) = if adapter.is_some() { (0.7, 0.68) } else { (0.9, 0.6) };
        assert!(last["held_out_accuracy"].as_f64().unwrap() > right, "{name}: {first} {last}");
        assert!(last["held_out_loss"].as_f64().unwrap() < cost, "{name}: {first} {last}");
        let nats = |line: &Value, answer: &str| line[format!("held_out_{answer}_nats_per_token")].as_f64().unwrap();
        assert!(nats(last, "rejected") - nats(last, "chosen") > nats(first, "rejected") - nats(first, "chosen"));
        let steps = lines(&output, "step");
        assert!(steps.iter().all(|line| line["accuracy"].is_number() && line["bits_per_byte"].is_null()), "{steps:?}");

        let halved = folder.path().join(format!("{name}-halved"));
        let half = [&set[..], &["run.steps=15"]].concat();
        run(&parsed(&halved, &initial, &data, &half).unwrap(), false).unwrap();
        run(&parsed(&halved, &initial, &data, &set).unwrap(), true).unwrap();
        match adapter {
            None => assert_eq!(fingerprint(&output), fingerprint(&halved)),
            Some(_) => {
                let weights = |folder: &Path| std::fs::read(folder.join("adapter_model.safetensors")).unwrap();
                assert!(weights(&output) == weights(&halved));
                let given = format!("{}+{}", initial.display(), output.display());
                assert_eq!(Checkpoint::open(&given).unwrap().spec.adapters.len(), 1);
            }
        }
    }
}

/// The first step is taken with the weights of the reference.
#[test]
fn before_the_first_update_nothing_is_preferred_under_shared_noise() {
    let folder = tempfile::tempdir().unwrap();
    let (initial, data) = (initial(folder.path()), write(folder.path(), "rows.jsonl", &rows()));
    let first = |name: &str, set: &[&str]| {
        let output = folder.path().join(name);
        let set = [&["run.steps=1", "run.log_every=1"][..], set].concat();
        run(&parsed(&output, &initial, &data, &set).unwrap(), false).unwrap();
        let line = lines(&output, "step").remove(0);
        (line["loss"].as_f64().unwrap(), line["margin"].as_f64().unwrap(), line["accuracy"].as_f64().unwrap())
    };
    for (name, set) in [
        ("networks", vec![]),
        ("answers", vec!["objective.preference={ shared = 'answers', antithetic = true, samples = 4 }"]),
        ("adapter", vec!["adapter={ rank = 2 }"]),
    ] {
        let (loss, margin, accuracy) = first(name, &set);
        assert!((loss - std::f64::consts::LN_2).abs() < 1e-12, "{name}: {loss}");
        assert_eq!((margin, accuracy), (0.0, 0.5), "{name}");
    }
    let (_, margin, _) = first("none", &["objective.preference={ shared = 'none', samples = 1 }"]);
    assert!(margin != 0.0);
}

#[test]
fn conversations_are_preferred_by_the_template_that_they_have() {
    let folder = tempfile::tempdir().unwrap();
    let initial = initial(folder.path());
    let turn = |role: &str, content: &str| json!({ "role": role, "content": content });
    let row = |prompt: &str| {
        json!({ "prompt": [turn("user", prompt)], "chosen": [turn("assistant", "fox")], "rejected": [turn("assistant", "no")] })
            .to_string()
    };
    let rows: Vec<String> = ["Who?", "Which?", "What?", "Whose?"].into_iter().map(row).collect();
    let data = write(folder.path(), "rows.jsonl", &rows.join("\n"));
    let output = folder.path().join("run");
    let without = run(&parsed(&output, &initial, &data, &["run.steps=1"]).unwrap(), false).unwrap_err();
    assert!(without.to_string().contains("it is a conversation, and the model has no chat template"), "{without}");
    std::fs::remove_dir_all(&output).unwrap_or_default();
    let template = "{% for m in messages %}{{ m.role[0] }}: {{ m.content }}\\n{% endfor %}{% if add_generation_prompt %}a: {% endif %}";
    let set = format!("objective.chat_template=\"{template}\"");
    run(&parsed(&output, &initial, &data, &["run.steps=1", &set]).unwrap(), false).unwrap();
    assert!(Checkpoint::load(&output).unwrap().chat_template().is_ok(), "the template is saved");
}

#[test]
fn what_no_preference_can_be_learned_from_is_refused_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let initial = initial(folder.path());
    let output = folder.path().join("run");
    let refused = |data: &Path, set: &[&str]| {
        let recipe = parsed(&output, &initial, data, set).unwrap();
        let refused =
            Training::new(&recipe).memory(AvailableMemory::default()).check(&device(), &mut |_| {}).unwrap_err();
        assert!(!output.exists());
        match refused {
            TrainError::Corpus(error) => error.to_string(),
            other => other.to_string(),
        }
    };
    let lacking = write(folder.path(), "lacking.jsonl", r#"{"prompt": "a", "chosen": "b"}"#);
    let said = refused(&lacking, &[]);
    assert!(said.contains("1 of 1 rows") && said.contains("no `rejected`"), "{said}");
    let text = write(folder.path(), "rows.txt", "A fox.");
    let said = refused(&text, &[]);
    assert!(said.ends_with("is read as text, and preferences are read from JSON lines"), "{said}");

    let path = Path::new("x");
    let unresolved = |set: &[&str]| parsed(path, path, path, set).unwrap_err().to_string();
    for (set, expected) in [
        (
            "objective.preference={ beta = 0.0 }",
            "`objective.preference.beta` is 0; allowed: above 0, at most 1000000 (0.1 is usual)",
        ),
        ("objective.preference={ samples = 0 }", "`objective.preference.samples` is 0; allowed: 1 to 4096"),
        (
            "optimiser.batch=3",
            "`optimiser.batch` is 3; allowed: an even number in each pass: the two answers of a pair are learned together",
        ),
        (
            "objective.weight_limit=5.0",
            "`objective.weight_limit` is set; allowed: nothing where `objective.kind` is \"preference\"",
        ),
        (
            "objective.packing=true",
            "`objective.packing` is set; allowed: nothing but where `objective.kind` is \"instruct\"",
        ),
        (
            "data.valid=[{ path = 'x', media = 'y' }]",
            "`media` is y; allowed: nothing where `objective.kind` is \"preference\": preferences are text",
        ),
    ] {
        assert_eq!(unresolved(&[set]), expected);
    }
    let other = unresolved(&["objective.kind='diffusion'", "objective.preference={}"]);
    assert_eq!(
        other,
        "`objective.preference` is a table; allowed: nothing but where `objective.kind` is \"preference\""
    );
    let said = unresolved(&["objective.preference={ shared = 'all' }"]);
    assert!(said.contains("unknown variant `all`"), "{said}");
    // The rest of the rows is learned where one is too long, and that is reported.
    let long = json!({ "prompt": "The fox", "chosen": " ran".repeat(60), "rejected": " sat." }).to_string();
    let both = write(folder.path(), "long.jsonl", &format!("{long}\n{}", rows()));
    let mut warnings = Vec::new();
    let recipe = parsed(&output, &initial, &both, &["run.steps=1"]).unwrap();
    train(&recipe, device(), false, &AtomicBool::new(false), &mut |event| match event {
        TrainingEvent::Warning(warning) => warnings.push(warning.to_owned()),
        TrainingEvent::Step(figures) => {
            assert_eq!(figures.own.first().map(|figure: &Figure| figure.0), Some("accuracy"))
        }
        _ => {}
    })
    .unwrap();
    assert!(warnings.iter().any(|warning| warning.starts_with("1 of 49 preferences of")), "{warnings:?}");
}

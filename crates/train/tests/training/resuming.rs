//! A run goes on as itself only: under its own recipe, on its own texts and its own tokenizer, owned by one process. Anything
//! else is refused before anything is trained or written.

use crate::support::{device, recipe, root, run};
use aquatint_train::{Difference, Ending, Resolved, StepFigures, TrainError, TrainingEvent, train};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Every file of a folder and what it holds.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.append(&mut contents(&path));
        } else {
            all.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    all
}

#[test]
fn another_recipe_is_refused_key_by_key_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    run(&recipe(folder.path(), &["run.steps=4", "run.save_every=4"]), false).unwrap();
    let before = contents(folder.path());
    for (set, key, saved, given) in [
        ("objective.process=uniform", "objective.process", Some("\"masked\""), Some("\"uniform\"")),
        ("objective.time_range=[0.1, 1.0]", "objective.time_range", Some("[0.0, 1.0]"), Some("[0.1, 1.0]")),
        ("objective.prompt=3", "objective.prompt", Some("0"), Some("3")),
        ("objective.weight_limit=5.0", "objective.weight_limit", None, Some("5.0")),
        ("optimiser.beta2=0.95", "optimiser.beta2", Some("0.98"), Some("0.95")),
        ("network.layers=3", "network.layers", Some("2"), Some("3")),
        ("run.storage=f16", "run.storage", Some("\"f32\""), Some("\"f16\"")),
    ] {
        let error = run(&recipe(folder.path(), &["run.steps=8", set]), true).unwrap_err();
        let TrainError::OtherRun { differences, .. } = &error else { panic!("{set}: {error}") };
        let expected = Difference { key: key.into(), saved: saved.map(Into::into), given: given.map(Into::into) };
        assert_eq!(*differences, [expected]);
        assert!(contents(folder.path()) == before, "{set} wrote something");
    }
    let free = ["run.steps=8", "optimiser.learning_rate=1e-4", "optimiser.lr_schedule=constant"];
    assert_eq!(run(&recipe(folder.path(), &free), true).unwrap().0.step, 8);
}

/// A recipe whose texts lie in `texts`, and whose tokenizer is there too where it says so.
fn moved(output: &Path, texts: &Path, more: &[&str]) -> Resolved {
    let set = [
        format!("data.train=[{{ path = '{}' }}]", texts.join("train").display()),
        format!("data.valid=[{{ path = '{}' }}]", texts.join("valid").display()),
        format!("data.cache={}", output.join("tokens").display()),
        "run.save_every=4".to_owned(),
    ];
    let set: Vec<&str> = set.iter().map(String::as_str).chain(more.iter().copied()).collect();
    recipe(output, &set)
}

/// A folder of texts, made of one file of the sample.
fn texts(folder: &Path) {
    for part in ["train", "valid"] {
        let sample = root().join("data/sample").join(part);
        let mut files: Vec<_> = std::fs::read_dir(sample).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        std::fs::create_dir_all(folder.join(part)).unwrap();
        std::fs::copy(&files[0], folder.join(part).join("text.txt")).unwrap();
    }
}

#[test]
fn moved_texts_are_the_same_texts_and_changed_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (output, here, there) = (folder.path().join("run"), folder.path().join("here"), folder.path().join("there"));
    texts(&here);
    run(&moved(&output, &here, &["run.steps=4"]), false).unwrap();
    std::fs::rename(&here, &there).unwrap();
    assert!(run(&moved(&output, &here, &["run.steps=8"]), true).is_err(), "nothing is there any more");
    assert_eq!(run(&moved(&output, &there, &["run.steps=8"]), true).unwrap().0.step, 8);

    let before = contents(&output);
    for part in ["train", "valid"] {
        let file = there.join(part).join("text.txt");
        let text = std::fs::read(&file).unwrap();
        std::fs::write(&file, [text.as_slice(), b"And one day more.\n"].concat()).unwrap();
        let error = run(&moved(&output, &there, &["run.steps=12"]), true).unwrap_err();
        let TrainError::OtherRun { differences, .. } = &error else { panic!("{part}: {error}") };
        assert_eq!(differences.len(), 1, "{error}");
        assert_eq!(differences[0].key, format!("data.{part}[0].content"));
        assert!(differences[0].saved.as_ref().unwrap().starts_with("\"1 file, "), "{error}");
        assert!(contents(&output) == before, "{part} wrote something");
        std::fs::write(&file, text).unwrap();
    }
    assert_eq!(run(&moved(&output, &there, &["run.steps=12"]), true).unwrap().0.step, 12);
}

#[test]
fn the_same_bytes_in_another_format_are_other_texts() {
    let folder = tempfile::tempdir().unwrap();
    let (output, here) = (folder.path().join("run"), folder.path().join("here"));
    texts(&here);
    let (text, lines) = (here.join("train/text.txt"), here.join("train/text.jsonl"));
    let documents = std::fs::read_to_string(&text).unwrap();
    let rows = documents.split("\n\n").map(|text| format!("{{\"text\": {text:?}}}\n"));
    std::fs::write(&lines, rows.collect::<String>()).unwrap();
    std::fs::remove_file(&text).unwrap();
    run(&moved(&output, &here, &["run.steps=2"]), false).unwrap();
    std::fs::rename(&lines, &text).unwrap();
    let error = run(&moved(&output, &here, &["run.steps=4"]), true).unwrap_err();
    let TrainError::OtherRun { differences, .. } = &error else { panic!("{error}") };
    assert_eq!((differences.len(), differences[0].key.as_str()), (1, "data.train[0].content"), "{error}");
}

#[test]
fn another_tokenizer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    run(&recipe(folder.path(), &["run.steps=4"]), false).unwrap();
    let before = contents(folder.path());
    let other = tempfile::tempdir().unwrap();
    let path = other.path().join("tokenizer.json");
    let json = aquatint_vocabulary::Vocabulary::train(std::iter::once("a b c ".repeat(30)), 262).unwrap();
    std::fs::write(&path, json.to_json().unwrap()).unwrap();
    let vocabulary = format!("data.vocabulary={}", path.display());
    let error = run(&recipe(folder.path(), &["run.steps=8", &vocabulary]), true).unwrap_err();
    let TrainError::OtherRun { differences, .. } = &error else { panic!("{error}") };
    assert_eq!((differences.len(), differences[0].key.as_str()), (1, "tokenizer"));
    assert!(contents(folder.path()) == before);
    // The same tokenizer may lie elsewhere.
    std::fs::copy(folder.path().join("tokenizer.json"), &path).unwrap();
    run(&recipe(folder.path(), &["run.steps=8", &vocabulary]), true).unwrap();
}

#[test]
fn a_run_with_no_steps_left_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    run(&recipe(folder.path(), &["run.steps=6"]), false).unwrap();
    let before = contents(folder.path());
    for steps in ["run.steps=6", "run.steps=2"] {
        let (summary, figures) = run(&recipe(folder.path(), &[steps]), true).unwrap();
        assert_eq!((summary.ending, summary.step, figures.len()), (Ending::Complete, 6, 0));
        assert!(summary.last.is_some());
        assert!(contents(folder.path()) == before, "{steps} wrote something");
    }
}

#[test]
fn refused_recipes_leave_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("runs/deep/run");
    for set in [
        "optimiser.groups=[{ parameters = 'model.nothing.*', trainable = false }]",
        "optimiser.groups=[{ parameters = '*', trainable = false }]",
        "data.train=[{ path = 'nowhere' }]",
        "data.vocabulary=nowhere.json",
        "initial=nowhere",
    ] {
        let refused = std::panic::catch_unwind(|| run(&recipe(&output, &[set]), false).map(|_| ()));
        // A recipe that does not even resolve is no run at all.
        assert!(refused.is_err() || refused.is_ok_and(|run| run.is_err()), "{set} was accepted");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{set} left something");
    }
    assert_eq!(run(&recipe(&output, &["run.steps=2"]), false).unwrap().0.step, 2);
    // What remains of an owner is gone.
    assert!(!output.join("state/lock").exists());
}

#[test]
fn one_process_at_a_time_owns_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), &["run.steps=12", "run.save_every=4"]);
    let mut tried = 0;
    train(&recipe, device(), false, &AtomicBool::new(false), &mut |event| {
        if let TrainingEvent::Saved { step, .. } = event
            && step < 12
        {
            let error = run(&recipe, true).unwrap_err();
            assert!(matches!(error, TrainError::InUse { .. }), "{error}");
            tried += 1;
        }
    })
    .unwrap();
    assert_eq!(tried, 2);
}

#[test]
fn a_run_that_is_stopped_at_any_moment_goes_on_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (straight, stopped) = (folder.path().join("straight"), folder.path().join("stopped"));
    let set = ["run.steps=20", "run.validate_every=5", "optimiser.accumulate=2", "run.log_every=1"];
    run(&recipe(&straight, &set), false).unwrap();
    let wanted = recipe(&stopped, &set);
    // While it prepares there is nothing to save.
    let stop = AtomicBool::new(true);
    assert!(matches!(train(&wanted, device(), false, &stop, &mut |_| {}), Err(TrainError::Stopped)));
    // At the step before held-out text is measured, and right behind the measurement.
    let mut resume = false;
    for at in [5, 10, 12] {
        let stop = AtomicBool::new(false);
        let summary = train(&wanted, device(), resume, &stop, &mut |event| {
            if let TrainingEvent::Step(StepFigures { step, .. }) = event
                && step == at
            {
                stop.store(true, Ordering::SeqCst);
            }
        })
        .unwrap();
        assert_eq!((summary.ending, summary.step), (Ending::Interrupted, at));
        resume = true;
    }
    assert_eq!(run(&wanted, true).unwrap().0.ending, Ending::Complete);
    assert!(crate::support::fingerprint(&straight) == crate::support::fingerprint(&stopped));
}

#[test]
fn a_run_whose_numbers_are_lost_fails_and_leaves_what_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    run(&recipe(folder.path(), &["run.steps=4", "optimiser.clip=0.0"]), false).unwrap();
    // A state with a weight that is infinite, as an overflow leaves it; the run resumes from there and must not end well.
    let saved = aquatint_checkpoint::Weights::open_file(&folder.path().join("state/run.safetensors")).unwrap();
    let state = aquatint_checkpoint::RunState::<serde_json::Value>::open(folder.path()).unwrap();
    let tensor = |name: &str| {
        let shape = saved.shape(name).unwrap().to_vec();
        let values = state.tensor(name, shape.iter().product()).unwrap();
        aquatint_checkpoint::Tensor { name: name.to_owned(), shape, values }
    };
    let mut tensors: Vec<_> = saved.names().map(tensor).collect();
    let value = tensors.iter_mut().find(|tensor| tensor.name.starts_with("value.")).unwrap();
    let aquatint_checkpoint::Exact::F32(values) = &mut value.values else { panic!("no real numbers") };
    values[0] = f32::INFINITY;
    aquatint_checkpoint::save_state(folder.path(), &state.counters, &tensors).unwrap();
    let lost = std::fs::read(folder.path().join("state/run.safetensors")).unwrap();
    let error = run(&recipe(folder.path(), &["run.steps=8", "optimiser.clip=0.0"]), true).unwrap_err();
    assert!(matches!(error, TrainError::NotFinite { .. } | TrainError::Diverged { .. }), "{error}");
    assert!(std::fs::read(folder.path().join("state/run.safetensors")).unwrap() == lost, "nothing is saved of it");
}

#[test]
fn held_out_text_that_is_trained_on_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("here");
    texts(&here);
    let warnings = |recipe: &Resolved| {
        let mut warnings = Vec::new();
        train(recipe, device(), false, &AtomicBool::new(false), &mut |event| {
            if let TrainingEvent::Warning(text) = event {
                warnings.push(text.to_owned());
            }
        })
        .unwrap();
        warnings
    };
    let run = |name: &str| moved(&folder.path().join(name), &here, &["run.steps=1"]);
    assert_eq!(warnings(&run("apart")), [] as [String; 0]);
    // The same file under another name.
    std::fs::copy(here.join("train/text.txt"), here.join("valid/other.txt")).unwrap();
    let same = warnings(&run("file"));
    assert!(same.len() == 1 && same[0].starts_with("1 of 2 held-out files are also trained on"), "{same:?}");
    // The same document in another file.
    let text = std::fs::read_to_string(here.join("train/text.txt")).unwrap();
    std::fs::write(here.join("valid/other.txt"), format!("{text}\n")).unwrap();
    let same = warnings(&run("document"));
    assert!(same.len() == 1 && same[0].starts_with("1 of 2 held-out documents are also trained on"), "{same:?}");
}

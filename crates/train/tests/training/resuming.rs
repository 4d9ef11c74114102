//! A run goes on under its own recipe only: another one is refused before anything is trained or written.

use crate::support::{recipe, run};
use aquatint_train::{Difference, TrainError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
        let TrainError::OtherRecipe { differences, .. } = &error else { panic!("{set}: {error}") };
        let expected = Difference { key: key.into(), saved: saved.map(Into::into), given: given.map(Into::into) };
        assert_eq!(*differences, [expected]);
        assert!(contents(folder.path()) == before, "{set} wrote something");
    }
    let free = ["run.steps=8", "optimiser.learning_rate=1e-4", "optimiser.lr_schedule=constant"];
    assert_eq!(run(&recipe(folder.path(), &free), true).unwrap().0.step, 8);
}

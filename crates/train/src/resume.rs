//! Whether a saved run may go on under a recipe. Everything in a recipe has to be what it was, but for the keys of a
//! list: a key that is added to recipes is compared unless it is put on that list.

use crate::TrainError;
use crate::error::Difference;
use crate::recipe::Resolved;
use std::collections::BTreeSet;
use std::path::Path;
use toml::{Table, Value};

/// What a resumed run may change, with everything under it: where it lies, how long and how often, by which rate, and
/// how a batch is spread over time and memory. None of it changes what is minimised or what the saved moments mean.
///
/// Not `run.storage`: the models that lie in the folder are replaced only by models with the same `config.json`.
const MAY_CHANGE: [&str; 22] = [
    "output",
    "data.cache",
    "optimiser.accumulate",
    "optimiser.decay",
    "optimiser.embedding_rate",
    "optimiser.floor",
    "optimiser.learning_rate",
    "optimiser.lr_schedule",
    "optimiser.recompute",
    "optimiser.warm_up",
    "run.activation_memory",
    "run.device",
    "run.log_every",
    "run.max_minutes",
    "run.sample_every",
    "run.sample_prompt",
    "run.save_every",
    "run.steps",
    "run.threads",
    "run.validate_canvases",
    "run.validate_every",
    "run.validate_times",
];

/// Refuses a recipe under which the run in `folder`, whose recipe was `saved`, would become another one.
pub(crate) fn same_run(folder: &Path, saved: &str, recipe: &Resolved) -> Result<(), TrainError> {
    let parsed = |text: &str| -> Result<Table, TrainError> {
        toml::from_str(text).map_err(|e| crate::RecipeError::Parse { reason: e.to_string() }.into())
    };
    let mut differences = Vec::new();
    compare("", &parsed(saved)?, &parsed(&recipe.to_toml()?)?, &mut differences);
    if differences.is_empty() {
        return Ok(());
    }
    Err(TrainError::OtherRecipe { folder: folder.to_path_buf(), differences })
}

fn compare(path: &str, saved: &Table, given: &Table, differences: &mut Vec<Difference>) {
    let keys: BTreeSet<&String> = saved.keys().chain(given.keys()).collect();
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if MAY_CHANGE.contains(&path.as_str()) {
            continue;
        }
        match (saved.get(key), given.get(key)) {
            (Some(Value::Table(saved)), Some(Value::Table(given))) => compare(&path, saved, given, differences),
            (saved, given) if saved == given => {}
            (saved, given) => {
                let shown = |value: Option<&Value>| value.map(ToString::to_string);
                differences.push(Difference { key: path, saved: shown(saved), given: shown(given) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Overrides, Recipe};

    const TEXT: &str = "output = 'runs/x'\n[data]\ntrain = [{ path = 'a' }]\nvalid = [{ path = 'b' }]\n";

    fn resolved(set: &[&str]) -> Resolved {
        Recipe::parse(TEXT, &Overrides::parse(set).unwrap()).unwrap().resolve().unwrap()
    }

    fn differences(saved: &[&str], given: &[&str]) -> Vec<(String, Option<String>, Option<String>)> {
        match same_run(Path::new("runs/x"), &resolved(saved).to_toml().unwrap(), &resolved(given)) {
            Ok(()) => Vec::new(),
            Err(TrainError::OtherRecipe { differences, .. }) => {
                differences.into_iter().map(|d| (d.key, d.saved, d.given)).collect()
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn every_difference_is_named_with_both_values() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            differences(&[], &["objective.process=uniform", "objective.weight_limit=5.0", "seed=3"]),
            [
                ("objective.process".to_owned(), some("\"masked\""), some("\"uniform\"")),
                ("objective.weight_limit".to_owned(), None, some("5.0")),
                ("seed".to_owned(), some("0"), some("3")),
            ]
        );
        let error = same_run(
            Path::new("runs/x"),
            &resolved(&["objective.weight_limit=5.0"]).to_toml().unwrap(),
            &resolved(&["objective.prompt=3"]),
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the run in `runs/x` has another recipe: `objective.prompt` is 0 there and 3 here, `objective.weight_limit` \
             is 5.0 there and unset here"
        );
        let hint = "resume it with the recipe that it was started with, or choose another `output`";
        assert_eq!(error.hint().as_deref(), Some(hint));
    }

    #[test]
    fn what_may_change_is_not_compared() {
        let given = [
            "output=elsewhere",
            "data.cache=elsewhere",
            "run.steps=7",
            "run.device=cuda",
            "run.threads=1",
            "run.max_minutes=1.5",
            "run.activation_memory=1MiB",
            "optimiser.learning_rate=0.5",
            "optimiser.lr_schedule=cosine",
            "optimiser.accumulate=2",
        ];
        assert_eq!(differences(&[], &given), []);
    }

    #[test]
    fn everything_else_is_compared() {
        // Each leaf of a recipe in which as much as possible is set, changed by itself.
        let set = [
            "initial=model",
            "data.vocabulary=tokenizer.json",
            "network.time_conditioning=16",
            "objective.weight_limit=5.0",
            "distillation={ steps = 8, rounds = 2 }",
        ];
        let recipe = resolved(&set);
        let whole: Table = toml::from_str(&recipe.to_toml().unwrap()).unwrap();
        let mut leaves = Vec::new();
        collect("", &whole, &mut leaves);
        assert!(leaves.len() > 50, "{leaves:?}");
        for leaf in leaves {
            let mut changed = whole.clone();
            let mut table = &mut changed;
            let (tables, key) = leaf.rsplit_once('.').unwrap_or(("", &leaf));
            for name in tables.split('.').filter(|name| !name.is_empty()) {
                table = table.get_mut(name).unwrap().as_table_mut().unwrap();
            }
            table.insert(key.to_owned(), Value::String("changed".into()));
            let mut found = Vec::new();
            compare("", &whole, &changed, &mut found);
            let free = MAY_CHANGE.iter().any(|may| leaf == *may || leaf.starts_with(&format!("{may}.")));
            assert_eq!(found.len(), usize::from(!free), "{leaf}");
            assert!(found.iter().all(|difference| difference.key == leaf));
        }
    }

    fn collect(path: &str, table: &Table, leaves: &mut Vec<String>) {
        for (key, value) in table {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match value {
                Value::Table(inner) => collect(&path, inner, leaves),
                _ => leaves.push(path),
            }
        }
    }
}

//! The run's folder: one run lives in it, and only the same run goes on in it.
//!
//! ```text
//! config.json  model.safetensors  tokenizer.json  generation_config.json     the model as it was last saved
//! best/                                                                     the best by held-out bound, likewise
//! state/run.safetensors                                                     what a resumed run needs
//! recipe.toml  metrics.jsonl  loss.svg  tokens/                             recipe, figures, plot, packed texts
//! ```

use crate::TrainError;
use crate::recipe::Resolved;
use crate::trainer::Counters;
use aquatint_checkpoint::{RunState, state_file};
use aquatint_files::write_atomically;
use std::path::Path;

/// Makes the folder ready: opens the state of the run that is resumed, refuses to overwrite one that is not.
pub(crate) fn begin(recipe: &Resolved, resume: bool) -> Result<Option<RunState<Counters>>, TrainError> {
    let folder = &recipe.output;
    let saved = if state_file(folder).is_file() { Some(RunState::<Counters>::open(folder)?) } else { None };
    match (&saved, resume) {
        (None, true) => return Err(TrainError::NothingToResume { folder: folder.clone() }),
        (Some(state), false) => {
            return Err(TrainError::Exists { folder: folder.clone(), step: state.counters.step });
        }
        (Some(state), true) => same_run(folder, &state.counters.recipe, recipe)?,
        (None, false) => {}
    }
    let path = folder.join("recipe.toml");
    let text = recipe.to_toml()?;
    write_atomically(&path, |out| out.write_all(text.as_bytes())).map_err(|source| TrainError::Io {
        action: "write",
        path,
        source,
    })?;
    Ok(saved)
}

/// What a rank besides the first finds in the folder: the state of the run that is resumed.
pub(crate) fn join(recipe: &Resolved, resume: bool) -> Result<Option<RunState<Counters>>, TrainError> {
    Ok(if resume { Some(RunState::<Counters>::open(&recipe.output)?) } else { None })
}

/// A resumed run may change how long and how often (`run`), and the rates; not what it learns from, the network, or
/// what the saved moments mean.
fn same_run(folder: &Path, saved: &str, recipe: &Resolved) -> Result<(), TrainError> {
    let old: Resolved = toml::from_str(saved).map_err(|e| crate::RecipeError::Parse { reason: e.to_string() })?;
    let (a, b) = (&old, recipe);
    let differs = [
        ("seed", a.seed != b.seed),
        ("data", a.data != b.data),
        ("network", a.network != b.network),
        ("objective.kind", a.objective.kind != b.objective.kind),
        ("optimiser.kind", a.optimiser.kind != b.optimiser.kind),
        ("optimiser.ema", (a.optimiser.ema > 0.0) != (b.optimiser.ema > 0.0)),
        ("optimiser.batch", a.optimiser.batch != b.optimiser.batch),
    ];
    match differs.iter().find(|(_, differs)| *differs) {
        Some((key, _)) => Err(TrainError::OtherRecipe { folder: folder.to_path_buf(), key }),
        None => Ok(()),
    }
}

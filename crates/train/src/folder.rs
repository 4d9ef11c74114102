//! The run's folder: one run lives in it, and only the same run goes on in it.
//!
//! ```text
//! config.json  model.safetensors  tokenizer.json  generation_config.json     the model as it was last saved
//! best/                                                                     the best by held-out bound, likewise
//! state/run.safetensors                                                     what a resumed run needs
//! recipe.toml  metrics.jsonl  loss.svg  tokens/                             recipe, figures, plot, packed texts
//! ```

use crate::TrainError;
use crate::counters::Counters;
use crate::recipe::Resolved;
use crate::resume::same_run;
use aquatint_checkpoint::{RunState, state_file};
use aquatint_files::write_atomically;

/// Makes the folder ready: opens the state of the run that is resumed, refuses to overwrite one that is not, and to go on
/// under another recipe. Nothing is written before all of that is decided.
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

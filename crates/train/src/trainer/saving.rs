//! What a save writes: the state with which a run goes on, and the model with averaged weights, which is to be used.

use crate::TrainError;
use crate::counters::Counters;
use crate::model::Model;
use crate::objective::Objective;
use aquatint_checkpoint::save_state;
use aquatint_compute::Device;
use std::path::Path;

/// Saves state and model in the run's folder.
pub(super) fn save<D: Device>(
    model: &mut Model<'_, D>,
    objective: &dyn Objective,
    counters: &mut Counters,
    folder: &Path,
) -> Result<(), TrainError> {
    counters.objective = objective.state()?;
    let state = model.optimiser.state(&mut model.network)?;
    save_state(folder, counters, &state)?;
    drop(state);
    model.with_average(|model| model.save(folder, objective))
}

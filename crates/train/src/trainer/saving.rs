//! What a save writes: the state with which a run goes on, and the model with averaged weights, which is to be used.

use super::{Trainee, with_average};
use crate::TrainError;
use crate::counters::Counters;
use crate::parallel::Ranks;
use aquatint_checkpoint::{Exact, Tensor, save_state};
use std::path::Path;

/// Saves state and model in the run's folder, on rank 0; where states are sharded the others bring theirs. A run whose numbers
/// are lost is refused, so that what was saved before stays.
pub(super) fn save<T: Trainee>(
    trainee: &mut T,
    ranks: &dyn Ranks,
    counters: &mut Counters,
    folder: &Path,
) -> Result<(), TrainError> {
    let (weights, optimiser) = trainee.learner();
    let state = optimiser.state(weights, ranks)?;
    if ranks.rank() == 0 {
        counters.objective = trainee.state()?;
        require_finite(&state, counters.step)?;
        save_state(folder, counters, &state)?;
    }
    drop(state);
    with_average(trainee, ranks, |trainee| trainee.save(folder))?.unwrap_or(Ok(()))
}

/// Refuses weights, moments and averages that are infinite or no numbers.
fn require_finite(state: &[Tensor<Exact>], step: u64) -> Result<(), TrainError> {
    for Tensor { name, values, .. } in state {
        let lost = match values {
            Exact::F32(values) => values.iter().position(|value| !value.is_finite()),
            Exact::F64(values) => values.iter().position(|value| !value.is_finite()),
            Exact::I8(_) => None,
        };
        if let Some(index) = lost {
            let value = values.iter().nth(index).unwrap_or(f64::NAN);
            return Err(TrainError::NotFinite { tensor: name.clone(), index, value, step });
        }
    }
    Ok(())
}

//! Held-out text, measured under the averaged weights; the best model is kept.

use crate::TrainError;
use crate::counters::Counters;
use crate::model::Model;
use crate::objective::Objective;
use aquatint_compute::Device;
use aquatint_evaluate::{EvaluateError, Likelihood};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a look at held-out text gave.
pub(super) enum Validation {
    /// What it costs, and whether that is the best so far.
    Measured(Likelihood, bool),
    /// The objective has nothing to measure.
    Nothing,
    /// The run is to stop; nothing was measured.
    Stopped,
}

/// What the held-out text costs; where that is the best so far, the model is kept in `folder`.
pub(super) fn validate<D: Device>(
    model: &mut Model<'_, D>,
    objective: &dyn Objective,
    counters: &mut Counters,
    folder: &Path,
    stop: &AtomicBool,
) -> Result<Validation, TrainError> {
    model.with_average(|model| {
        let measured = objective.validate(&model.network, &mut |_| !stop.load(Ordering::SeqCst));
        let likelihood = match measured {
            Ok(Some(likelihood)) => likelihood,
            Ok(None) => return Ok(Validation::Nothing),
            Err(TrainError::Evaluate(EvaluateError::Stopped)) => return Ok(Validation::Stopped),
            Err(error) => return Err(error),
        };
        let best = counters.measured(&likelihood);
        if best {
            model.save(folder, objective)?;
        }
        Ok(Validation::Measured(likelihood, best))
    })
}

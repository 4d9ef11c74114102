//! Held-out text, measured under the averaged weights; the best model is kept.

use crate::TrainError;
use crate::counters::Counters;
use crate::model::Model;
use crate::objective::Objective;
use aquatint_compute::Device;
use aquatint_evaluate::Likelihood;
use std::path::Path;

/// What the held-out text costs and whether that is the best so far, in which case the model is kept in `folder`; `None`
/// where the objective has nothing to measure.
pub(super) fn validate<D: Device>(
    model: &mut Model<'_, D>,
    objective: &dyn Objective,
    counters: &mut Counters,
    folder: &Path,
) -> Result<Option<(Likelihood, bool)>, TrainError> {
    model.with_average(|model| {
        let Some(likelihood) = objective.validate(&model.network)? else { return Ok(None) };
        let best = counters.measured(&likelihood);
        if best {
            model.save(folder, objective)?;
        }
        Ok(Some((likelihood, best)))
    })
}

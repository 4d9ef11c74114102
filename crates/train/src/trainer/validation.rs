//! Held-out data, measured under the averaged weights; the best model is kept.

use super::{Held, Measured, Trainee, with_average};
use crate::TrainError;
use crate::counters::Counters;
use crate::parallel::Ranks;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a look at held-out data gave.
pub(super) enum Validation {
    /// What it costs, and whether that is the best so far.
    Measured(Box<dyn Measured>, bool),
    /// There is nothing to measure.
    Nothing,
    /// The run is to stop; nothing was measured.
    Stopped,
}

/// What the held-out data costs, on rank 0; where that is the best so far, the model is kept in `folder`.
pub(super) fn validate<T: Trainee>(
    trainee: &mut T,
    ranks: &dyn Ranks,
    counters: &mut Counters,
    folder: &Path,
    stop: &AtomicBool,
) -> Result<Validation, TrainError> {
    let measured = with_average(trainee, ranks, |trainee| {
        let measured = match trainee.validate(&mut || !stop.load(Ordering::SeqCst))? {
            Held::Measured(measured) => measured,
            Held::Nothing => return Ok(Validation::Nothing),
            Held::Stopped => return Ok(Validation::Stopped),
        };
        let best = counters.measured(measured.as_ref());
        if best {
            trainee.save(folder)?;
        }
        Ok(Validation::Measured(measured, best))
    })?;
    measured.unwrap_or(Ok(Validation::Nothing))
}

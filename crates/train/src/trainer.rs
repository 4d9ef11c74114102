//! The loop: step after step, and every so often a look at held-out data, a sample, a save, a line of figures.
//!
//! Step `k` is a function of the weights and moments before it, the recipe and `k` alone: order, times and masks come
//! from counters and not from a generator's state. So a run that is saved and resumed takes the same steps, bit for
//! bit.

mod collective;
mod measured;
mod run_log;
mod saving;
mod step;
mod trainee;
mod validation;

pub(crate) use collective::agree_on_step;
pub(crate) use measured::{HeldOutFigures, HeldOutText, Measured};
pub(crate) use run_log::RunLog;
pub(crate) use trainee::{Held, StepCost, StepPart, Trainee};

use crate::TrainError;
use crate::counters::Counters;
use crate::event::{Ending, ShardFigures, StartFigures, Summary, TrainingEvent};
use crate::parallel::Ranks;
use crate::recipe::{OptimiserRecipe, Run};
use aquatint_compute::Memory;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use validation::Validation;

/// So many gradients in a row that are not finite end a run.
const HOPELESS: u64 = 20;

/// What a recipe says to the loop.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    /// The run's folder.
    pub(crate) output: &'a Path,
    pub(crate) run: &'a Run,
    pub(crate) optimiser: &'a OptimiserRecipe,
}

/// A run under way.
pub(crate) struct Trainer<'a, T: Trainee> {
    pub(crate) ranks: &'a dyn Ranks,
    /// Which canvases or pictures of each step this rank learns.
    pub(crate) own: Range<usize>,
    pub(crate) plan: Plan<'a>,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) trainee: T,
    pub(crate) counters: Counters,
    pub(crate) log: RunLog<'a>,
}

/// Does something on rank 0 while what is trained has its averaged weights; `None` on others, which come along where the
/// averages are sharded.
fn with_average<T: Trainee, R>(
    trainee: &mut T,
    ranks: &dyn Ranks,
    work: impl FnOnce(&mut T) -> R,
) -> Result<Option<R>, TrainError> {
    let (weights, optimiser) = trainee.learner();
    optimiser.swap_ema(weights, ranks)?;
    let done = (ranks.rank() == 0).then(|| work(trainee));
    let (weights, optimiser) = trainee.learner();
    optimiser.swap_ema(weights, ranks)?;
    Ok(done)
}

/// What is due after a step, on rank 0; on the others, what they have to come along with.
#[derive(Debug, Clone, Copy)]
struct Due {
    validate: bool,
    save: bool,
    sample: bool,
}

impl<T: Trainee> Trainer<'_, T> {
    pub(crate) fn run(mut self) -> Result<Summary, TrainError> {
        let run = self.plan.run;
        let recomputed = self.trainee.limit_memory();
        let (weights, optimiser) = self.trainee.learner();
        let bytes = optimiser.bytes(weights.device()) as u64;
        let shard = optimiser.is_sharded().then(|| ShardFigures { bytes, ranks: self.ranks.size() });
        self.log.event(TrainingEvent::Started(StartFigures {
            parameters: self.trainee.weights().count(),
            step: self.counters.step,
            steps: run.steps,
            device: self.trainee.weights().device().describe(),
            recomputed,
            shard,
        }));
        let mut failures = 0;
        // It may have been interrupted before it was measured.
        let measure = Due { validate: self.counters.step > 0 && self.must_validate(), save: false, sample: false };
        self.attend(measure)?;
        let mut ending = loop {
            if self.counters.step >= run.steps {
                break Ending::Complete;
            }
            if let Some(ending) = self.ending()? {
                break ending;
            }
            failures = match self.step()? {
                Some(true) => 0,
                Some(false) => failures + 1,
                // Given up: the run ends before it.
                None => continue,
            };
            let step = self.counters.step;
            if failures >= HOPELESS {
                return Err(TrainError::Diverged { steps: failures, step });
            }
            if self.ranks.rank() == 0 && (step.is_multiple_of(run.log_every) || step == run.steps) {
                self.report()?;
            }
            self.attend(Due {
                validate: self.must_validate(),
                save: step.is_multiple_of(run.save_every) && step < run.steps,
                sample: run.sample_every > 0 && (step.is_multiple_of(run.sample_every) || step == run.steps),
            })?;
        };
        if self.ranks.rank() == 0 {
            self.report()?;
        }
        let validate = !self.counters.is_measured() && ending != Ending::Interrupted;
        if !self.attend(Due { validate, save: true, sample: false })? {
            ending = Ending::Interrupted;
        }
        collective::leave(self.ranks, self.trainee.weights().device())?;
        self.log.finish(&self.counters, ending)
    }

    /// Does what is due. Only rank 0 does it, but where the states of the optimiser are sharded it needs the others for it.
    /// False where the run is to stop before held-out data is measured.
    fn attend(&mut self, due: Due) -> Result<bool, TrainError> {
        let Due { mut validate, mut save, mut sample } = due;
        if self.trainee.learner().1.is_sharded() {
            [validate, save, sample] = collective::agree_with_first(self.ranks, [validate, save, sample])?;
        } else if self.ranks.rank() > 0 {
            return Ok(true);
        }
        let measured = !validate || self.validate()?;
        if save {
            self.save()?;
        }
        if sample {
            self.sample()?;
        }
        Ok(measured)
    }

    /// Why the run ends before its last step, if it does: any rank may ask for it, and all end together.
    fn ending(&self) -> Result<Option<Ending>, TrainError> {
        let late = |minutes| self.log.minutes() >= minutes;
        let wish = match self.is_stopped() {
            true => Some(Ending::Interrupted),
            false => self.plan.run.max_minutes.is_some_and(late).then_some(Ending::TimeUp),
        };
        collective::agree_on_ending(self.ranks, wish)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Whether held-out data is to be measured after the present step and was not yet.
    fn must_validate(&self) -> bool {
        let (step, run) = (self.counters.step, self.plan.run);
        step.is_multiple_of(run.validate_every) && step < run.steps && !self.counters.is_measured()
    }

    /// One step; false when its gradient was not finite and it changed nothing, `None` when it was given up because the run
    /// is to stop.
    fn step(&mut self) -> Result<Option<bool>, TrainError> {
        let (number, own) = (self.counters.step, self.own.clone());
        let part = StepPart { number, own, ranks: self.ranks, stop: self.stop };
        let Some(outcome) = step::take(&mut self.trainee, self.plan, part)? else { return Ok(None) };
        if !outcome.finite {
            self.counters.skipped += 1;
            self.log.event(TrainingEvent::Skipped { step: self.counters.step });
        }
        self.counters.step += 1;
        self.counters.tokens += outcome.tokens;
        self.log.add(&outcome);
        Ok(Some(outcome.finite))
    }

    /// Reports the figures of the steps since the last report.
    fn report(&mut self) -> Result<(), TrainError> {
        let own = self.trainee.means();
        self.log.report(&self.counters, self.plan.run.steps, own)
    }

    /// Measures held-out data; false where the run is to stop before that is done.
    fn validate(&mut self) -> Result<bool, TrainError> {
        let folder = self.plan.output.join("best");
        match validation::validate(&mut self.trainee, self.ranks, &mut self.counters, &folder, self.stop)? {
            Validation::Measured(measured, best) => {
                self.log.validated(self.counters.step, measured.as_ref(), best)?;
                Ok(true)
            }
            Validation::Nothing => Ok(true),
            Validation::Stopped => Ok(false),
        }
    }

    fn save(&mut self) -> Result<(), TrainError> {
        self.counters.set_seconds(self.log.seconds());
        saving::save(&mut self.trainee, self.ranks, &mut self.counters, self.plan.output)?;
        if self.ranks.rank() > 0 {
            return Ok(());
        }
        self.log.saved(self.counters.step, self.plan.output, self.trainee.plot_labels())
    }

    /// Something to look at, made under the averaged weights.
    fn sample(&mut self) -> Result<(), TrainError> {
        let (step, stop) = (self.counters.step, self.stop);
        let text = with_average(&mut self.trainee, self.ranks, |trainee| trainee.sample(step, stop))?;
        if let Some(text) = text.transpose()?.flatten().filter(|_| !self.is_stopped()) {
            self.log.event(TrainingEvent::Sampled { step, text: &text });
        }
        Ok(())
    }
}

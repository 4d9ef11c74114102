//! The loop: step after step, and every so often a look at held-out text, a sample, a save, a line of figures.
//!
//! Step `k` is a function of the weights and moments before it, the recipe and `k` alone: order, times and masks come
//! from counters and not from a generator's state. So a run that is saved and resumed takes the same steps, bit for
//! bit.

mod collective;
mod run_log;
mod saving;
mod step;
mod validation;

pub(crate) use collective::agree_on_step;
pub(crate) use run_log::RunLog;

use crate::counters::Counters;
use crate::event::{Ending, StartFigures, Summary, TrainingEvent};
use crate::model::Model;
use crate::objective::Objective;
use crate::parallel::Ranks;
use crate::recipe::Resolved;
use crate::{TrainError, Training, sample};
use aquatint_compute::Device;
use aquatint_network::{Activations, Denoiser, Learner};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use step::StepSettings;
use validation::Validation;

/// So many gradients in a row that are not finite end a run.
const HOPELESS: u64 = 20;

/// Takes the steps of a recipe that are left. `stop` is read between two steps; a run that is to stop is
/// saved first.
///
/// # Errors
/// When the recipe does not fit the texts or the folder, the texts cannot be read, the disk is full, or the gradient
/// stays infinite. What was saved before stays.
pub fn train<D: Device>(
    recipe: &Resolved,
    device: D,
    resume: bool,
    stop: &AtomicBool,
    events: &mut dyn FnMut(TrainingEvent<'_>),
) -> Result<Summary, TrainError> {
    Training::new(recipe).resume(resume).stop(stop).run(device, events)
}

/// A run under way.
pub(crate) struct Trainer<'a, D: Device> {
    pub(crate) ranks: &'a dyn Ranks,
    /// The canvases of each step that this rank learns.
    pub(crate) own: Range<usize>,
    pub(crate) recipe: &'a Resolved,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) objective: Box<dyn Objective>,
    pub(crate) model: Model<'a, D>,
    pub(crate) counters: Counters,
    pub(crate) log: RunLog<'a>,
}

impl<D: Device> Trainer<'_, D> {
    pub(crate) fn run(mut self) -> Result<Summary, TrainError> {
        let run = &self.recipe.run;
        let recomputed = self.recomputed();
        self.model.network.recompute_activations(recomputed);
        self.log.event(TrainingEvent::Started(StartFigures {
            parameters: self.model.parameters(),
            step: self.counters.step,
            steps: run.steps,
            device: self.model.network.device().describe(),
            recomputed: (recomputed, self.model.network.spec().layers.len()),
        }));
        let mut failures = 0;
        if self.ranks.rank() == 0 && self.counters.step > 0 && self.must_validate() {
            // It was interrupted.
            self.validate()?;
        }
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
            if self.ranks.rank() > 0 {
                continue;
            }
            if step.is_multiple_of(run.log_every) || step == run.steps {
                self.log.report(&self.counters, run.steps)?;
            }
            if self.must_validate() {
                self.validate()?;
            }
            if step.is_multiple_of(run.save_every) && step < run.steps {
                self.save()?;
            }
            if run.sample_every > 0 && (step.is_multiple_of(run.sample_every) || step == run.steps) {
                self.sample()?;
            }
        };
        if self.ranks.rank() == 0 {
            self.log.report(&self.counters, run.steps)?;
            if !self.counters.is_measured() && ending != Ending::Interrupted && !self.validate()? {
                ending = Ending::Interrupted;
            }
            self.save()?;
        }
        self.log.finish(&self.counters, ending)
    }

    /// Why the run ends before its last step, if it does: any rank may ask for it, and all end together.
    fn ending(&self) -> Result<Option<Ending>, TrainError> {
        let late = |minutes| self.log.minutes() >= minutes;
        let wish = match self.is_stopped() {
            true => Some(Ending::Interrupted),
            false => self.recipe.run.max_minutes.is_some_and(late).then_some(Ending::TimeUp),
        };
        collective::agree_on_ending(self.ranks, wish)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Whether held-out text is to be measured after the present step and was not yet.
    fn must_validate(&self) -> bool {
        let (step, run) = (self.counters.step, &self.recipe.run);
        step.is_multiple_of(run.validate_every) && step < run.steps && !self.counters.is_measured()
    }

    /// Of how many layers the activations are recomputed, so that a pass stays within its memory.
    fn recomputed(&self) -> usize {
        let recipe = self.recipe;
        let (spec, canvases) = (self.model.network.spec(), recipe.canvases_per_pass());
        let budget = match recipe.run.activation_memory {
            _ if recipe.optimiser.recompute => return spec.layers.len(),
            None => return 0,
            Some(budget) => budget.0,
        };
        let rows = canvases * recipe.data.canvas_length;
        Activations::new(spec, rows, canvases, size_of::<D::Element>()).recomputed_within(budget)
    }

    /// One step; false when its gradient was not finite and it changed nothing, `None` when it was given up because the run
    /// is to stop.
    fn step(&mut self) -> Result<Option<bool>, TrainError> {
        let settings = StepSettings { ranks: self.ranks, own: self.own.clone(), recipe: self.recipe, stop: self.stop };
        let taken = settings.take(self.objective.as_mut(), &mut self.model, self.counters.step)?;
        let Some(outcome) = taken else { return Ok(None) };
        if !outcome.finite {
            self.counters.skipped += 1;
            self.log.event(TrainingEvent::Skipped { step: self.counters.step });
        }
        self.counters.step += 1;
        self.counters.tokens += outcome.tokens;
        self.log.add(&outcome);
        Ok(Some(outcome.finite))
    }

    /// Measures held-out text; false where the run is to stop before that is done.
    fn validate(&mut self) -> Result<bool, TrainError> {
        let folder = self.recipe.output.join("best");
        let objective = self.objective.as_ref();
        match validation::validate(&mut self.model, objective, &mut self.counters, &folder, self.stop)? {
            Validation::Measured(likelihood, best) => {
                self.log.validated(self.counters.step, &likelihood, best)?;
                Ok(true)
            }
            Validation::Nothing => Ok(true),
            Validation::Stopped => Ok(false),
        }
    }

    fn save(&mut self) -> Result<(), TrainError> {
        self.counters.set_seconds(self.log.seconds());
        saving::save(&mut self.model, self.objective.as_ref(), &mut self.counters, &self.recipe.output)?;
        self.log.saved(self.counters.step, &self.recipe.output)
    }

    /// Fills a canvas under the averaged weights. A model without a process to walk back fills none.
    fn sample(&mut self) -> Result<(), TrainError> {
        let Some(process) = self.objective.process() else { return Ok(()) };
        let (recipe, step, stop) = (self.recipe, self.counters.step, self.stop);
        let text = self
            .model
            .with_average(|model| sample::fill(&model.network, process, recipe, model.vocabulary, step, stop))?;
        if !self.is_stopped() {
            self.log.event(TrainingEvent::Sampled { step, text: &text });
        }
        Ok(())
    }
}

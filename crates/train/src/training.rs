//! A run set up, as its recipe says: ranks, stop, memory. What it trains is made by the recipe of its kind.

use crate::counters::Counters;
use crate::folder::RunFolder;
use crate::metrics::Metrics;
use crate::objective::BeginObjective;
use crate::parallel::{Alone, Ranks, connect};
use crate::preflight::AvailableMemory;
use crate::recipe::{Collectives, OptimiserRecipe, Resolved, Run};
use crate::trainer::{Plan, RunLog, Trainee, Trainer, agree_on_step};
use crate::{CorpusFigures, RecipeError, Summary, TrainError, TrainingEvent};
use aquatint_checkpoint::RunState;
use aquatint_compute::{Cuda, Device};
use serde::Serialize;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A run that is never stopped.
static NEVER: AtomicBool = AtomicBool::new(false);

/// A recipe with nothing left to guess, of any kind of thing that is trained.
pub trait RunRecipe: Clone + Serialize {
    /// The run's folder.
    fn output(&self) -> &Path;

    /// How long, how often, where.
    fn run_settings(&self) -> &Run;

    /// The same, to be changed.
    fn run_settings_mut(&mut self) -> &mut Run;

    /// How the objective is minimised.
    fn optimiser(&self) -> &OptimiserRecipe;

    /// The same with the number of threads left open, in which ranks may differ.
    #[must_use]
    fn without_threads(&self) -> Self {
        let mut common = self.clone();
        common.run_settings_mut().threads = None;
        common
    }

    /// The recipe as TOML, as it is printed and saved.
    ///
    /// # Errors
    /// When TOML has no form for a value.
    fn to_toml(&self) -> Result<String, RecipeError> {
        toml::to_string(self).map_err(|e| RecipeError::Parse { reason: e.to_string() })
    }

    /// See [`Training::check`].
    ///
    /// # Errors
    /// What the run would be refused with.
    fn check<D: Device>(
        training: Training<'_, Self>,
        device: &D,
        events: &mut dyn FnMut(TrainingEvent<'_>),
    ) -> Result<(), TrainError>;

    /// See [`Training::run`].
    ///
    /// # Errors
    /// As there.
    fn train<D: Device>(
        training: Training<'_, Self>,
        device: D,
        events: &mut dyn FnMut(TrainingEvent<'_>),
    ) -> Result<Summary, TrainError>;
}

/// A run as it is to be taken. [`train`](crate::train) is the short form for most.
pub struct Training<'a, R = Resolved> {
    pub(crate) recipe: &'a R,
    pub(crate) ranks: &'a dyn Ranks,
    pub(crate) resume: bool,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) memory: AvailableMemory,
    pub(crate) objective: Option<&'a BeginObjective<'a>>,
}

impl<R> Clone for Training<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R> Copy for Training<'_, R> {}

/// What a run begins or goes on with.
pub(crate) struct Start<'a> {
    /// Of rank 0; it is this process's until the run is over.
    pub(crate) folder: Option<&'a RunFolder>,
    pub(crate) state: Option<RunState<Counters>>,
    pub(crate) counters: Counters,
    /// Which canvases or pictures of each step this rank learns.
    pub(crate) own: Range<usize>,
    /// Of the recipe's texts, where they are learned.
    pub(crate) corpus: Option<CorpusFigures>,
}

impl<'a> Training<'a> {
    /// Minimises an objective of one's own in place of the recipe's. What the recipe says under `objective` still
    /// describes the network: whether it is causal, and which process it undoes. The kind `order` trains no network and is
    /// refused.
    #[must_use]
    pub fn objective(self, begin: &'a BeginObjective<'a>) -> Self {
        Self { objective: Some(begin), ..self }
    }
}

impl<'a, R: RunRecipe> Training<'a, R> {
    /// A new run of a recipe, in this process alone.
    pub fn new(recipe: &'a R) -> Self {
        let memory = AvailableMemory::default();
        Self { recipe, ranks: &Alone, resume: false, stop: &NEVER, memory, objective: None }
    }

    /// Whether the run in the recipe's folder goes on.
    #[must_use]
    pub fn resume(self, resume: bool) -> Self {
        Self { resume, ..self }
    }

    /// Shares each batch among ranks. Rank 0 alone owns and writes the run's folder, which all have to see; it measures,
    /// samples and saves while the others wait.
    #[must_use]
    pub fn ranks(self, ranks: &'a dyn Ranks) -> Self {
        Self { ranks, ..self }
    }

    /// Read between two passes, and every so often while texts are prepared or held-out text is measured. A run that is
    /// to stop is saved first, if it has begun to train.
    #[must_use]
    pub fn stop(self, stop: &'a AtomicBool) -> Self {
        Self { stop, ..self }
    }

    /// The memory that there is: a run that needs more is refused at once. Nothing is refused where it is not known.
    #[must_use]
    pub fn memory(self, memory: AvailableMemory) -> Self {
        Self { memory, ..self }
    }

    /// Checks everything that can be checked before work begins, and writes nothing. [`Training::run`] checks the same
    /// first.
    ///
    /// # Errors
    /// What the run would be refused with.
    pub fn check<D: Device>(self, device: &D, events: &mut dyn FnMut(TrainingEvent<'_>)) -> Result<(), TrainError> {
        R::check(self, device, events)
    }

    /// Takes the steps of the recipe that are left. A run that has none left is not written to.
    ///
    /// # Errors
    /// When the recipe does not fit the texts or the folder, another process owns the folder, the texts cannot be read,
    /// memory or disk have no room, the gradient stays infinite, the weights leave the numbers, a rank went away, the
    /// batch cannot be shared, or it is stopped before the first step. What was saved before stays.
    pub fn run<D: Device>(self, device: D, events: &mut dyn FnMut(TrainingEvent<'_>)) -> Result<Summary, TrainError> {
        R::train(self, device, events)
    }

    /// The GPU of this rank, connected with those of the others, where the recipe has them exchange by NCCL
    /// (`run.collectives`): the device to run on. `None` where they exchange over the ring. All ranks call it, also one that has
    /// no GPU.
    ///
    /// # Errors
    /// On every rank, when one has no GPU of its own, or NCCL is missing there or fails.
    pub fn connected(&self, gpu: Option<&Cuda>) -> Result<Option<Cuda>, TrainError> {
        match self.recipe.run_settings().collectives {
            Collectives::Nccl if self.ranks.size() > 1 => Ok(Some(connect(gpu, self.ranks)?)),
            Collectives::Nccl | Collectives::Ring => Ok(None),
        }
    }

    /// Trains what was made, from where it was saved if it was.
    pub(crate) fn take_steps<T: Trainee>(
        &self,
        mut trainee: T,
        start: Start<'_>,
        events: &mut dyn FnMut(TrainingEvent<'_>),
    ) -> Result<Summary, TrainError> {
        let Self { recipe, ranks, stop, .. } = *self;
        let Start { folder, state, counters, own, corpus } = start;
        if recipe.optimiser().shard && ranks.size() == 1 {
            events(TrainingEvent::Warning(
                "`optimiser.shard` changes nothing: one process has all states of the optimiser",
            ));
        }
        if recipe.run_settings().collectives == Collectives::Nccl && ranks.size() == 1 {
            events(TrainingEvent::Warning("`run.collectives` changes nothing: one process exchanges nothing"));
        }
        if let Some(state) = &state {
            let (weights, optimiser) = trainee.learner();
            optimiser.restore(weights, state)?;
        }
        drop(state);
        agree_on_step(ranks, counters.step)?;
        if stop.load(Ordering::SeqCst) {
            return Err(TrainError::Stopped);
        }
        if let Some(folder) = folder {
            folder.write_recipe(&recipe.to_toml()?)?;
        }
        let metrics = match ranks.rank() {
            0 => Some(Metrics::open(recipe.output(), counters.step)?),
            _ => None,
        };
        let plan = Plan { output: recipe.output(), run: recipe.run_settings(), optimiser: recipe.optimiser() };
        let log = RunLog::new(&counters, metrics, (corpus, plan.optimiser.batch), events);
        Trainer { ranks, own, plan, stop, trainee, counters, log }.run()
    }
}

/// Takes the steps of a recipe that are left. `stop` is read between two steps; a run that is to stop is
/// saved first.
///
/// # Errors
/// When the recipe does not fit the texts or the folder, the texts cannot be read, the disk is full, or the gradient
/// stays infinite. What was saved before stays.
pub fn train<D: Device, R: RunRecipe>(
    recipe: &R,
    device: D,
    resume: bool,
    stop: &AtomicBool,
    events: &mut dyn FnMut(TrainingEvent<'_>),
) -> Result<Summary, TrainError> {
    Training::new(recipe).resume(resume).stop(stop).run(device, events)
}

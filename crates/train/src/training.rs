//! A run set up: ranks, training data, the network and its optimiser, new or as they were saved.

use crate::counters::Counters;
use crate::metrics::Metrics;
use crate::model::{self, Model};
use crate::objective::{BeginObjective, Objective, Setting};
use crate::optimiser::Optimiser;
use crate::parallel::{Alone, Ranks, barrier, share};
use crate::recipe::Resolved;
use crate::train_data::TrainData;
use crate::trainer::{RunLog, Trainer, agree_on_step};
use crate::{Summary, TrainError, TrainingEvent, folder, network, objectives, vocabulary};
use aquatint_checkpoint::RunState;
use aquatint_compute::Device;
use aquatint_network::NetworkSpec;
use aquatint_vocabulary::Vocabulary;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A run that is never stopped.
static NEVER: AtomicBool = AtomicBool::new(false);

/// A run as it is to be taken. [`train`](crate::train) is the short form for most.
#[derive(Clone, Copy)]
pub struct Training<'a> {
    recipe: &'a Resolved,
    ranks: &'a dyn Ranks,
    resume: bool,
    stop: &'a AtomicBool,
    objective: Option<&'a BeginObjective<'a>>,
}

/// What is known before the network is made.
struct Prepared {
    state: Option<RunState<Counters>>,
    vocabulary: Vocabulary,
    spec: NetworkSpec,
    objective: Box<dyn Objective>,
    train_data: Option<Arc<TrainData>>,
}

impl<'a> Training<'a> {
    /// A new run of a recipe, in this process alone.
    pub fn new(recipe: &'a Resolved) -> Self {
        Self { recipe, ranks: &Alone, resume: false, stop: &NEVER, objective: None }
    }

    /// Whether the run in the recipe's folder goes on.
    #[must_use]
    pub fn resume(self, resume: bool) -> Self {
        Self { resume, ..self }
    }

    /// Shares each batch among ranks. Rank 0 alone writes the run's folder, which all have to see; it measures, samples
    /// and saves while the others wait.
    #[must_use]
    pub fn ranks(self, ranks: &'a dyn Ranks) -> Self {
        Self { ranks, ..self }
    }

    /// Read between two steps; a run that is to stop is saved first. One rank stops all.
    #[must_use]
    pub fn stop(self, stop: &'a AtomicBool) -> Self {
        Self { stop, ..self }
    }

    /// Minimises an objective of one's own in place of the recipe's. What the recipe says under `objective` still
    /// describes the network: whether it is causal, and which process it undoes.
    #[must_use]
    pub fn objective(self, begin: &'a BeginObjective<'a>) -> Self {
        Self { objective: Some(begin), ..self }
    }

    /// Takes the steps of the recipe that are left.
    ///
    /// # Errors
    /// When the recipe does not fit the texts or the folder, the texts cannot be read, the disk is full, the gradient
    /// stays infinite, a rank went away or the batch cannot be shared. What was saved before stays.
    pub fn run<D: Device>(self, device: D, events: &mut dyn FnMut(TrainingEvent<'_>)) -> Result<Summary, TrainError> {
        let Self { recipe, ranks, .. } = self;
        let first = ranks.rank() == 0;
        let together = (objectives::of(recipe).canvases_together)(recipe);
        let own = share(ranks, recipe.optimiser.batch, together)?;
        events(TrainingEvent::Recipe(recipe));
        // Rank 0 makes the folder and packs the texts; the others find both.
        let ready = if first { Some(self.prepare(&device, events)?) } else { None };
        barrier(ranks)?;
        let Prepared { state, vocabulary, spec, objective, train_data } = match ready {
            Some(ready) => ready,
            None => self.prepare(&device, events)?,
        };
        let mut network = network::build(recipe, spec, device)?;
        let mut optimiser = Optimiser::new(&mut network, &recipe.optimiser)?;
        let mut counters = Counters::new(recipe.to_toml()?);
        if let Some(state) = &state {
            counters = state.counters.clone();
            counters.recipe = recipe.to_toml()?;
            optimiser.restore(&mut network, state)?;
        }
        agree_on_step(ranks, counters.step)?;
        let metrics = if first { Some(Metrics::open(&recipe.output, counters.step)?) } else { None };
        let trainer = Trainer {
            ranks,
            own,
            recipe,
            objective,
            model: Model { network, optimiser, vocabulary: &vocabulary, storage: recipe.run.storage },
            log: RunLog::new(&counters, metrics, train_data.map(|data| data.figures()), events),
            counters,
        };
        trainer.run(self.stop)
    }

    fn prepare<D: Device>(
        &self,
        device: &D,
        events: &mut dyn FnMut(TrainingEvent<'_>),
    ) -> Result<Prepared, TrainError> {
        let recipe = self.recipe;
        let state = match self.ranks.rank() {
            0 => folder::begin(recipe, self.resume)?,
            _ => folder::join(recipe, self.resume)?,
        };
        let vocabulary = vocabulary::of(recipe, events)?;
        let spec = network::spec(recipe, &vocabulary)?;
        let mut setting = Setting {
            recipe,
            spec: &spec,
            vocabulary: &vocabulary,
            saved: state.as_ref().map(|state| &state.counters.objective),
            open: &|folder| model::open(folder, device),
            events,
            train_data: None,
        };
        let objective = match self.objective {
            Some(begin) => begin(&mut setting)?,
            None => (objectives::of(recipe).begin)(&mut setting)?,
        };
        let train_data = setting.train_data.take();
        Ok(Prepared { state, vocabulary, spec, objective, train_data })
    }
}

//! A run set up: ranks, training data, the network and its optimiser, new or as they were saved.

use crate::counters::Counters;
use crate::folder::RunFolder;
use crate::metrics::Metrics;
use crate::model::{self, Model};
use crate::objective::{BeginObjective, Objective, Setting};
use crate::optimiser::Optimiser;
use crate::parallel::{Alone, Ranks, barrier, share};
use crate::preflight::{AvailableMemory, Findings, Preflight, Tokens};
use crate::recipe::Resolved;
use crate::saved_format::SavedFormat;
use crate::train_data::TrainData;
use crate::trainer::{RunLog, Trainer, agree_on_step};
use crate::{Summary, TrainError, TrainingEvent, folder, network, objectives, vocabulary};
use aquatint_checkpoint::Checkpoint;
use aquatint_compute::Device;
use aquatint_network::NetworkSpec;
use aquatint_vocabulary::Vocabulary;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A run that is never stopped.
static NEVER: AtomicBool = AtomicBool::new(false);

/// A run as it is to be taken. [`train`](crate::train) is the short form for most.
#[derive(Clone, Copy)]
pub struct Training<'a> {
    recipe: &'a Resolved,
    ranks: &'a dyn Ranks,
    resume: bool,
    stop: &'a AtomicBool,
    memory: AvailableMemory,
    objective: Option<&'a BeginObjective<'a>>,
}

/// What is known before the network is made.
struct Prepared {
    /// Of rank 0; it is this process's until the run is over.
    folder: Option<RunFolder>,
    /// The model that the run begins with.
    initial: Option<Checkpoint>,
    state: Option<aquatint_checkpoint::RunState<Counters>>,
    vocabulary: Vocabulary,
    spec: NetworkSpec,
    objective: Box<dyn Objective>,
    train_data: Option<Arc<TrainData>>,
    counters: Counters,
}

/// A run before its first step.
enum Start {
    /// No step of it is left.
    Finished(Summary),
    Ready(Box<Prepared>),
}

impl<'a> Training<'a> {
    /// A new run of a recipe, in this process alone.
    pub fn new(recipe: &'a Resolved) -> Self {
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

    /// Minimises an objective of one's own in place of the recipe's. What the recipe says under `objective` still
    /// describes the network: whether it is causal, and which process it undoes.
    #[must_use]
    pub fn objective(self, begin: &'a BeginObjective<'a>) -> Self {
        Self { objective: Some(begin), ..self }
    }

    /// Checks everything that can be checked before work begins, and writes nothing. [`Training::run`] checks the same
    /// first.
    ///
    /// # Errors
    /// What the run would be refused with.
    pub fn check<D: Device>(self, _: &D, events: &mut dyn FnMut(TrainingEvent<'_>)) -> Result<(), TrainError> {
        self.share()?;
        self.preflight::<D>().check(events).map(drop)
    }

    /// Takes the steps of the recipe that are left. A run that has none left is not written to.
    ///
    /// # Errors
    /// When the recipe does not fit the texts or the folder, another process owns the folder, the texts cannot be read,
    /// memory or disk have no room, the gradient stays infinite, the weights leave the numbers, a rank went away, the
    /// batch cannot be shared, or it is stopped before the first step. What was saved before stays.
    pub fn run<D: Device>(self, device: D, events: &mut dyn FnMut(TrainingEvent<'_>)) -> Result<Summary, TrainError> {
        let Self { recipe, ranks, .. } = self;
        let first = ranks.rank() == 0;
        let own = self.share()?;
        events(TrainingEvent::Recipe(recipe));
        // Rank 0 makes the folder and packs the texts; the others find both.
        let start = if first { Some(self.prepare(&device, events)?) } else { None };
        barrier(ranks)?;
        let start = match start {
            Some(start) => start,
            None => self.prepare(&device, events)?,
        };
        let Prepared { folder, initial, state, vocabulary, spec, objective, train_data, counters } = match start {
            Start::Ready(prepared) => *prepared,
            Start::Finished(summary) => {
                events(TrainingEvent::Finished(&summary));
                return Ok(summary);
            }
        };
        let format = SavedFormat::of(recipe, &spec, &vocabulary, initial.as_ref());
        let mut network = network::build(recipe, spec, initial.as_ref(), device)?;
        drop(initial);
        let mut optimiser = Optimiser::new(&mut network, &recipe.optimiser)?;
        if let Some(state) = &state {
            optimiser.restore(&mut network, state)?;
        }
        drop(state);
        agree_on_step(ranks, counters.step)?;
        if self.stop.load(Ordering::SeqCst) {
            return Err(TrainError::Stopped);
        }
        if let Some(folder) = &folder {
            folder.write_recipe(&recipe.to_toml()?)?;
        }
        let metrics = if first { Some(Metrics::open(&recipe.output, counters.step)?) } else { None };
        let trainer = Trainer {
            ranks,
            own,
            recipe,
            stop: self.stop,
            objective,
            model: Model { network, optimiser, vocabulary: &vocabulary, format, storage: recipe.run.storage },
            log: RunLog::new(&counters, metrics, train_data.map(|data| data.figures()), events),
            counters,
        };
        trainer.run()
    }

    /// The canvases of each step that this rank learns.
    fn share(&self) -> Result<std::ops::Range<usize>, TrainError> {
        let together = (objectives::of(self.recipe).canvases_together)(self.recipe);
        Ok(share(self.ranks, self.recipe.optimiser.batch, together)?)
    }

    fn preflight<D: Device>(&self) -> Preflight<'a> {
        let Self { recipe, resume, memory, stop, .. } = *self;
        Preflight { recipe, resume, memory, element_bytes: size_of::<D::Element>(), stop }
    }

    fn prepare<D: Device>(&self, device: &D, events: &mut dyn FnMut(TrainingEvent<'_>)) -> Result<Start, TrainError> {
        let Self { recipe, stop, .. } = *self;
        let first = self.ranks.rank() == 0;
        // What is known before work begins; rank 0 speaks for all.
        let preflight = self.preflight::<D>();
        let Findings { mut state, initial, texts, vocabulary, mut identity, finished } =
            if first { preflight.check(events)? } else { preflight.check(&mut |_| {})? };
        if let Some(summary) = finished {
            return Ok(Start::Finished(summary));
        }
        let folder = if first { Some(RunFolder::own(recipe, events)?) } else { None };
        if first {
            // Another process may have gone on between the check and the lock.
            state = folder::find(recipe, self.resume)?;
        }
        let vocabulary = match vocabulary {
            Some(vocabulary) => vocabulary,
            None => {
                let trained = vocabulary::train(recipe, stop, events)?;
                identity = identity.with_tokenizer(&trained)?;
                trained
            }
        };
        if let Some(state) = &state {
            identity.require(&recipe.output, &state.counters.identity)?;
        }
        let spec = network::spec(recipe, Tokens::of(&vocabulary), initial.as_ref())?;
        let mut setting = Setting {
            recipe,
            spec: &spec,
            vocabulary: &vocabulary,
            saved: state.as_ref().map(|state| &state.counters.objective),
            open: &|folder| model::open(folder, device),
            texts: &texts,
            stop,
            events,
            train_data: None,
        };
        let objective = match self.objective {
            Some(begin) => begin(&mut setting)?,
            None => (objectives::of(recipe).begin)(&mut setting)?,
        };
        let train_data = setting.train_data.take();
        let counters = match &state {
            Some(state) => state.counters.clone(),
            None => Counters::new(identity),
        };
        let prepared = Prepared { folder, initial, state, vocabulary, spec, objective, train_data, counters };
        Ok(Start::Ready(Box::new(prepared)))
    }
}

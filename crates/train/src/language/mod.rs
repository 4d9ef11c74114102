//! Runs of language models: training data, the network and its optimiser, new or as they were saved.

mod trainee;

use crate::counters::Counters;
use crate::folder::RunFolder;
use crate::model::{self, Model};
use crate::objective::{Objective, Setting};
use crate::optimiser::Optimiser;
use crate::parallel::{barrier, share};
use crate::preflight::{Findings, Preflight, Tokens};
use crate::recipe::{ObjectiveKind, OptimiserRecipe, Resolved, Run};
use crate::saved_format::SavedFormat;
use crate::train_data::TrainData;
use crate::training::{RunRecipe, Start, Training};
use crate::{RecipeError, Summary, TrainError, TrainingEvent, folder, media, network, objectives, order, vocabulary};
use aquatint_checkpoint::{Checkpoint, ModelCodec};
use aquatint_compute::Device;
use aquatint_network::NetworkSpec;
use aquatint_vocabulary::Vocabulary;
use std::path::Path;
use std::sync::Arc;
use trainee::LanguageTrainee;

/// What is known before the network is made.
pub(crate) struct Prepared<T> {
    /// Of rank 0; it is this process's until the run is over.
    pub(crate) folder: Option<RunFolder>,
    /// The model that the run begins with.
    pub(crate) initial: Option<Checkpoint>,
    pub(crate) state: Option<aquatint_checkpoint::RunState<Counters>>,
    vocabulary: Vocabulary,
    codecs: Vec<ModelCodec>,
    spec: NetworkSpec,
    /// What a step learns from, and how.
    pub(crate) objective: T,
    train_data: Option<Arc<TrainData>>,
    pub(crate) counters: Counters,
}

/// A run of a language model before its first step.
pub(crate) enum Beginning<T> {
    /// No step of it is left.
    Finished(Summary),
    Ready(Box<Prepared<T>>),
}

impl RunRecipe for Resolved {
    fn output(&self) -> &Path {
        &self.output
    }

    fn run_settings(&self) -> &Run {
        &self.run
    }

    fn optimiser(&self) -> &OptimiserRecipe {
        &self.optimiser
    }

    fn run_settings_mut(&mut self) -> &mut Run {
        &mut self.run
    }

    fn check<D: Device>(
        training: Training<'_, Self>,
        _: &D,
        events: &mut dyn FnMut(TrainingEvent<'_>),
    ) -> Result<(), TrainError> {
        training.share()?;
        training.preflight::<D>().check(events).map(drop)
    }

    fn train<D: Device>(
        training: Training<'_, Self>,
        device: D,
        events: &mut dyn FnMut(TrainingEvent<'_>),
    ) -> Result<Summary, TrainError> {
        let Training { recipe, .. } = training;
        if recipe.order.is_some() {
            return order::train(training, device, events);
        }
        let own = training.share()?;
        let begin = |setting: &mut Setting<'_>| match training.objective {
            Some(begin) => begin(setting),
            None => (objectives::of(recipe).begin)(setting),
        };
        let beginning: Beginning<Box<dyn Objective>> = training.begin(&device, events, &begin)?;
        let Prepared { folder, initial, state, vocabulary, codecs, spec, objective, train_data, counters } =
            match beginning {
                Beginning::Ready(prepared) => *prepared,
                Beginning::Finished(summary) => {
                    events(TrainingEvent::Finished(&summary));
                    return Ok(summary);
                }
            };
        let format = SavedFormat::of(recipe, &spec, (&vocabulary, &codecs), initial.as_ref());
        let mut network = network::build(recipe, spec, initial.as_ref(), device)?;
        drop(initial);
        let optimiser = Optimiser::new(network.weights_mut(), &recipe.optimiser, training.ranks)?;
        let model = Model { network, optimiser, vocabulary: &vocabulary, format, storage: recipe.run.storage };
        let corpus = train_data.map(|data| data.figures());
        let start = Start { folder: folder.as_ref(), state, counters, own, corpus };
        training.take_steps(LanguageTrainee { recipe, objective, model }, start, events)
    }
}

impl<'a> Training<'a> {
    /// The canvases of each step that this rank learns.
    pub(crate) fn share(&self) -> Result<std::ops::Range<usize>, TrainError> {
        if self.objective.is_some() && self.recipe.order.is_some() {
            let given = format!("\"{}\"", ObjectiveKind::Order.name());
            let allowed = "a kind that trains the model, where the caller has an objective of its own";
            return Err(RecipeError::value("objective.kind", given, allowed).into());
        }
        let together = match (self.recipe.order, &self.recipe.reward) {
            // A group is compared on one rank.
            (Some(_), Some(reward)) => reward.completions,
            _ => (objectives::of(self.recipe).canvases_together)(self.recipe),
        };
        Ok(share(self.ranks, self.recipe.optimiser.batch, together)?)
    }

    fn preflight<D: Device>(&self) -> Preflight<'a> {
        let Self { recipe, resume, memory, stop, ranks, .. } = *self;
        Preflight { recipe, resume, memory, element_bytes: size_of::<D::Element>(), ranks: ranks.size(), stop }
    }

    /// Prepares the run on all ranks: rank 0 makes the folder and packs the texts; the others find both.
    pub(crate) fn begin<D: Device, T>(
        &self,
        device: &D,
        events: &mut dyn FnMut(TrainingEvent<'_>),
        begin: &dyn Fn(&mut Setting<'_>) -> Result<T, TrainError>,
    ) -> Result<Beginning<T>, TrainError> {
        events(TrainingEvent::Recipe(&self.recipe.to_toml()?));
        let first = if self.ranks.rank() == 0 { Some(self.prepare(device, events, begin)?) } else { None };
        barrier(self.ranks)?;
        match first {
            Some(beginning) => Ok(beginning),
            None => self.prepare(device, events, begin),
        }
    }

    fn prepare<D: Device, T>(
        &self,
        device: &D,
        events: &mut dyn FnMut(TrainingEvent<'_>),
        begin: &dyn Fn(&mut Setting<'_>) -> Result<T, TrainError>,
    ) -> Result<Beginning<T>, TrainError> {
        let Self { recipe, stop, .. } = *self;
        let first = self.ranks.rank() == 0;
        // What is known before work begins; rank 0 speaks for all.
        let preflight = self.preflight::<D>();
        let Findings { mut state, initial, texts, vocabulary, mut codecs, mut identity, finished } =
            if first { preflight.check(events)? } else { preflight.check(&mut |_| {})? };
        if let Some(summary) = finished {
            return Ok(Beginning::Finished(summary));
        }
        let folder = if first { Some(RunFolder::own(&recipe.output, &[recipe.cache()], events)?) } else { None };
        if first {
            // Another process may have gone on between the check and the lock.
            state = folder::find(&recipe.output, self.resume)?;
        }
        let vocabulary = match vocabulary {
            Some(vocabulary) => vocabulary,
            None => {
                let mut trained = vocabulary::train(recipe, stop, events)?;
                codecs = media::codecs(recipe, initial.as_ref(), &mut trained, events)?;
                identity = identity.with_tokenizer(&trained)?;
                trained
            }
        };
        if let Some(state) = &state {
            identity.require(&recipe.output, &state.counters.identity)?;
        }
        let spec = network::spec(recipe, Tokens::of(&vocabulary, &codecs), initial.as_ref())?;
        let mut setting = Setting {
            recipe,
            spec: &spec,
            vocabulary: &vocabulary,
            codecs: &codecs,
            initial: initial.as_ref(),
            saved: state.as_ref().map(|state| &state.counters.objective),
            open: &|folder| model::open(folder, device),
            begin: &|| Ok(Box::new(network::build(recipe, spec.clone(), initial.as_ref(), device.clone())?)),
            texts: &texts,
            stop,
            events,
            train_data: None,
        };
        let objective = begin(&mut setting)?;
        let train_data = setting.train_data.take();
        let counters = match &state {
            Some(state) => state.counters.clone(),
            None => Counters::new(identity),
        };
        let prepared = Prepared { folder, initial, state, vocabulary, codecs, spec, objective, train_data, counters };
        Ok(Beginning::Ready(Box::new(prepared)))
    }
}

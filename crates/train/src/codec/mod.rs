//! Runs of codecs: samples, the codec and its optimiser, new or as they were saved.

mod samples;
mod trainee;
mod vary;

use crate::counters::Counters;
use crate::folder::{self, RunFolder};
use crate::optimiser::Optimiser;
use crate::parallel::{barrier, share};
use crate::preflight::SampleFindings;
use crate::recipe::{OptimiserRecipe, ResolvedCodec, Run};
use crate::training::{RunRecipe, Start, Training};
use crate::{SampleFigures, Summary, TrainError, TrainingEvent};
use aquatint_codec::{Codec, LearnedCodec, Medium, MediumConfig};
use aquatint_compute::Device;
use samples::SampleSet;
use std::path::Path;
use std::sync::atomic::Ordering;
use trainee::CodecTrainee;
pub use vary::Vary;

impl<C: MediumConfig<Medium: Vary>> RunRecipe for ResolvedCodec<C> {
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
        _: &mut dyn FnMut(TrainingEvent<'_>),
    ) -> Result<(), TrainError> {
        share(training.ranks, training.recipe.optimiser.batch, 1)?;
        training.find::<D>().map(drop)
    }

    fn train<D: Device>(
        training: Training<'_, Self>,
        device: D,
        events: &mut dyn FnMut(TrainingEvent<'_>),
    ) -> Result<Summary, TrainError> {
        let Training { recipe, ranks, stop, .. } = training;
        let own = share(ranks, recipe.optimiser.batch, 1)?;
        events(TrainingEvent::Recipe(&recipe.to_toml()?));
        let SampleFindings { mut state, identity, finished } = training.find::<D>()?;
        if let Some(summary) = finished {
            events(TrainingEvent::Finished(&summary));
            return Ok(summary);
        }
        let folder = if ranks.rank() == 0 { Some(RunFolder::own(&recipe.output, &[], events)?) } else { None };
        barrier(ranks)?;
        // Another process may have gone on between the check and the lock.
        state = match folder {
            Some(_) => folder::find(&recipe.output, training.resume)?,
            None => state.take(),
        };
        events(TrainingEvent::Preparing(&format!("reading the {}", C::Medium::KIND)));
        let mut codec = LearnedCodec::<D, C::Medium>::new(device, recipe.codec.clone(), recipe.seed)?;
        let samples = SampleSet::read(recipe, codec.medium(), &mut |_| !stop.load(Ordering::SeqCst))?;
        events(TrainingEvent::Samples(SampleFigures {
            kind: C::Medium::KIND,
            train: samples.train(),
            held_out: samples.held_out().len(),
            rate: codec.rate(),
            vocabulary: codec.vocabulary_size(),
        }));
        let optimiser = Optimiser::new(codec.autoencoder_mut().weights_mut(), &recipe.optimiser, ranks)?;
        let counters = match &state {
            Some(state) => state.counters.clone(),
            None => Counters::new(identity),
        };
        let start = Start { folder: folder.as_ref(), state, counters, own, corpus: None };
        training.take_steps(CodecTrainee { recipe, codec, optimiser, samples }, start, events)
    }
}

impl<C: MediumConfig<Medium: Vary>> Training<'_, ResolvedCodec<C>> {
    fn find<D: Device>(&self) -> Result<SampleFindings, TrainError> {
        let Self { recipe, stop, .. } = *self;
        let tensors = C::Medium::new(&recipe.codec)?.spec().tensors();
        let content = |source: &crate::recipe::SampleSource| {
            source.collection::<C::Medium>().fingerprint(&mut || !stop.load(Ordering::SeqCst))
        };
        self.find_samples((&tensors, size_of::<D::Element>()), || {
            Ok(vec![("train", recipe.data.train.iter().map(content).collect::<Result<_, _>>()?)])
        })
    }
}

//! Runs of matchers: pairs, the matcher and its optimiser, new or as they were saved.

mod pairs;
mod trainee;

use crate::counters::Counters;
use crate::folder::{self, RunFolder};
use crate::optimiser::Optimiser;
use crate::parallel::Ranks;
use crate::preflight::SampleFindings;
use crate::recipe::{OptimiserRecipe, ResolvedMatcher, Run};
use crate::training::{RunRecipe, Start, Training};
use crate::{PairFigures, RecipeError, Summary, TrainError, TrainingEvent, vocabulary};
use aquatint_codec::Matcher;
use aquatint_compute::Device;
use aquatint_vocabulary::PreTokenizer;
use pairs::{PairSet, ShuffledPairs};
use std::path::Path;
use std::sync::atomic::Ordering;
use trainee::MatcherTrainee;

/// Ranks would compare each picture with a part of the others only.
fn refuse_ranks(ranks: &dyn Ranks) -> Result<(), RecipeError> {
    match ranks.size() {
        1 => Ok(()),
        size => Err(RecipeError::value(
            "ranks",
            size.to_string(),
            "1 for a matcher: all pictures of a step are compared with each other",
        )),
    }
}

impl RunRecipe for ResolvedMatcher {
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
        refuse_ranks(training.ranks)?;
        training.find::<D>().map(drop)
    }

    fn train<D: Device>(
        training: Training<'_, Self>,
        device: D,
        events: &mut dyn FnMut(TrainingEvent<'_>),
    ) -> Result<Summary, TrainError> {
        let Training { recipe, ranks, stop, .. } = training;
        refuse_ranks(ranks)?;
        events(TrainingEvent::Recipe(&recipe.to_toml()?));
        let SampleFindings { identity, finished, .. } = training.find::<D>()?;
        if let Some(summary) = finished {
            events(TrainingEvent::Finished(&summary));
            return Ok(summary);
        }
        let folder = RunFolder::own(&recipe.output, &[], events)?;
        // Another process may have gone on between the check and the lock.
        let state = folder::find(&recipe.output, training.resume)?;
        events(TrainingEvent::Preparing("reading the pictures"));
        let go_on = || !stop.load(Ordering::SeqCst);
        let pairs = ShuffledPairs::new(PairSet::read(&recipe.data.train, recipe, &go_on)?, recipe)?;
        let held_out = PairSet::read(&recipe.data.valid, recipe, &go_on)?;
        events(TrainingEvent::Preparing("training a vocabulary"));
        // The same captions give the same vocabulary, also where a run goes on.
        let captions = pairs.set.pictures.iter().flat_map(|of| of.captions.clone()).collect();
        let vocabulary = vocabulary::learn(captions, (recipe.data.vocabulary_size, PreTokenizer::Prose), stop)?;
        events(TrainingEvent::Pairs(PairFigures {
            train: pairs.set.pictures.len(),
            concepts: pairs.set.concepts.len(),
            held_out: held_out.pictures.len(),
            vocabulary: vocabulary.len(),
        }));
        let mut matcher = Matcher::new(device, recipe.matcher.clone(), vocabulary, recipe.seed)?;
        let optimiser = Optimiser::new(matcher.towers_mut().weights_mut(), &recipe.optimiser, ranks)?;
        let counters = match &state {
            Some(state) => state.counters.clone(),
            None => Counters::new(identity),
        };
        let own = 0..recipe.optimiser.batch;
        let start = Start { folder: Some(&folder), state, counters, own, corpus: None };
        training.take_steps(MatcherTrainee { recipe, matcher, optimiser, pairs, held_out }, start, events)
    }
}

impl Training<'_, ResolvedMatcher> {
    fn find<D: Device>(&self) -> Result<SampleFindings, TrainError> {
        let Self { recipe, stop, .. } = *self;
        let tensors = recipe.matcher.spec(recipe.data.vocabulary_size)?.tensors();
        let contents = |sources: &[crate::recipe::PairSource]| {
            let content = |source: &crate::recipe::PairSource| source.fingerprint(&mut || !stop.load(Ordering::SeqCst));
            sources.iter().map(content).collect::<Result<Vec<_>, _>>()
        };
        self.find_samples((&tensors, size_of::<D::Element>()), || {
            Ok(vec![("train", contents(&recipe.data.train)?), ("valid", contents(&recipe.data.valid)?)])
        })
    }
}

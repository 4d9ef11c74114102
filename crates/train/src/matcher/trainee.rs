//! A matcher as what a run trains.

use super::pairs::{PairSet, ShuffledPairs};
use crate::TrainError;
use crate::event::{HeldOutPairs, Retrieved};
use crate::objective::{Figure, ObjectiveState};
use crate::optimiser::Optimiser;
use crate::plot::PlotLabels;
use crate::recipe::ResolvedMatcher;
use crate::trainer::{Held, StepCost, StepPart, Trainee};
use aquatint_codec::{MatchedPair, Matcher, Picture};
use aquatint_compute::Device;
use aquatint_evaluate::Catalogue;
use aquatint_network::{ExpertLoads, Weights};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A matcher that is trained.
pub(super) struct MatcherTrainee<'a, D: Device> {
    pub(super) recipe: &'a ResolvedMatcher,
    pub(super) matcher: Matcher<D>,
    pub(super) optimiser: Optimiser<D>,
    pub(super) pairs: ShuffledPairs,
    pub(super) held_out: PairSet,
}

impl<D: Device> MatcherTrainee<'_, D> {
    /// How often the name of what a picture shows is, of all names of a set, the one that is nearest to it.
    fn retrieved(&self, set: &PairSet, go_on: &mut dyn FnMut() -> bool) -> Result<Option<Retrieved>, TrainError> {
        let names: Vec<&str> = set.concepts.iter().map(String::as_str).collect();
        let mut catalogue = Catalogue::new(self.recipe.matcher.vector);
        for (name, vector) in names.iter().zip(self.matcher.texts(&names)?) {
            catalogue.add(name, &vector);
        }
        let pairs: Vec<MatchedPair<'_>> = set.spread(self.recipe.run.validate_canvases).collect();
        let mut hits = 0;
        for together in pairs.chunks(self.recipe.optimiser.batch) {
            if !go_on() {
                return Ok(None);
            }
            let pictures: Vec<&Picture> = together.iter().map(|pair| pair.picture).collect();
            for (pair, vector) in together.iter().zip(self.matcher.pictures(&pictures)?) {
                let nearest = catalogue.nearest(&vector).map(|nearest| nearest.index);
                hits += usize::from(nearest == Some(pair.label as usize));
            }
        }
        let hit_rate = hits as f64 / pairs.len().max(1) as f64;
        Ok(Some(Retrieved { pictures: pairs.len(), concepts: names.len(), hit_rate }))
    }
}

impl<D: Device> Trainee for MatcherTrainee<'_, D> {
    type Device = D;

    fn weights(&self) -> &Weights<D> {
        self.matcher.towers().weights()
    }

    fn learner(&mut self) -> (&mut Weights<D>, &mut Optimiser<D>) {
        (self.matcher.towers_mut().weights_mut(), &mut self.optimiser)
    }

    fn plot_labels(&self) -> PlotLabels {
        PlotLabels { unit: "nats per pair", held_out: "pictures" }
    }

    fn limit_memory(&mut self) -> (usize, usize) {
        let spec = self.matcher.towers().spec();
        let (most, layers) = (spec.pictures.len().max(spec.texts.len()), spec.pictures.len() + spec.texts.len());
        let recompute = self.recipe.optimiser.recompute;
        self.matcher.towers_mut().recompute_activations(if recompute { most } else { 0 });
        (if recompute { layers } else { 0 }, layers)
    }

    fn learn(&mut self, part: StepPart<'_>) -> Result<Option<StepCost>, TrainError> {
        let StepPart { number, stop, .. } = part;
        if stop.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let batch = self.pairs.batch(number, self.recipe.optimiser.batch);
        let pair = |(picture, text, label)| MatchedPair { picture, text, label };
        let pairs: Vec<MatchedPair<'_>> =
            batch.iter().map(|(picture, text, label)| pair((picture.as_ref(), *text, *label))).collect();
        let grid = self.matcher.towers().spec().grid;
        let tokens = (pairs.len() * grid[0] * grid[1]) as u64;
        let nats = self.matcher.learn(&pairs)?.cost;
        let loads = ExpertLoads::default();
        Ok(Some(StepCost { nats, observed: Vec::new(), loads, tokens, learned: tokens, bytes: None }))
    }

    fn observe(&mut self, _: &[f64], _: &ExpertLoads) {}

    fn means(&mut self) -> Vec<Figure> {
        Vec::new()
    }

    fn validate(&self, go_on: &mut dyn FnMut() -> bool) -> Result<Held, TrainError> {
        let pairs: Vec<MatchedPair<'_>> = self.held_out.spread(self.recipe.run.validate_canvases).collect();
        if pairs.is_empty() {
            return Ok(Held::Nothing);
        }
        // Compared with as many others as in training, where there are so many.
        let (mut cost, batch) = (0.0, self.recipe.optimiser.batch);
        for together in pairs.chunks(batch) {
            if !go_on() {
                return Ok(Held::Stopped);
            }
            cost += self.matcher.compare(together)?.cost * together.len() as f64 / pairs.len() as f64;
        }
        let (Some(held_out), Some(trained)) =
            (self.retrieved(&self.held_out, go_on)?, self.retrieved(&self.pairs.set, go_on)?)
        else {
            return Ok(Held::Stopped);
        };
        Ok(Held::Measured(Box::new(HeldOutPairs { cost, held_out, trained })))
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        Ok(self.matcher.save(folder, self.recipe.run.storage)?)
    }

    fn sample(&self, _: u64, _: &AtomicBool) -> Result<Option<String>, TrainError> {
        Ok(None)
    }

    fn state(&self) -> Result<ObjectiveState, TrainError> {
        Ok(ObjectiveState::default())
    }
}

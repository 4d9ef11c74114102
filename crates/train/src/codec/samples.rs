//! The samples of a run: those that are learned, in an order that can resume at any step, and those that are held out.

use super::Vary;
use crate::TrainError;
use crate::recipe::ResolvedCodec;
use aquatint_codec::collection::is_held_out;
use aquatint_codec::{Medium, MediumConfig};
use aquatint_corpus::Order;
use aquatint_diffusion::Key;
use std::borrow::Cow;

/// The samples of a run.
#[derive(Debug)]
pub(super) struct SampleSet<M: Medium> {
    train: Vec<M::Samples>,
    held_out: Vec<M::Samples>,
    order: Order,
    /// What samples are varied by; `None` where they are learned as they are.
    vary: Option<Key>,
}

impl<M: Vary> SampleSet<M> {
    /// Reads all collections of a recipe. `progress` receives the samples so far and returns whether to go on.
    pub(super) fn read<C: MediumConfig<Medium = M>>(
        recipe: &ResolvedCodec<C>,
        medium: &M,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Self, TrainError> {
        let (mut train, mut held_out) = (Vec::new(), Vec::new());
        for source in &recipe.data.train {
            for named in source.collection::<M>().read(medium, progress)? {
                match is_held_out(&named.concept, recipe.data.held_out, recipe.seed) {
                    true => held_out.push(named.samples),
                    false => train.push(named.samples),
                }
            }
        }
        let needed = recipe.optimiser.batch;
        if train.len() < needed {
            return Err(TrainError::FewSamples { key: "data.train", given: train.len(), kind: M::KIND, needed });
        }
        let held_out = spread(held_out, recipe.run.validate_canvases);
        let order = Order::new(recipe.seed, train.len() as u64)?;
        let vary = recipe.data.vary.then(|| Key::new(recipe.seed));
        Ok(Self { train, held_out, order, vary })
    }

    /// Samples to learn from.
    pub(super) fn train(&self) -> usize {
        self.train.len()
    }

    /// Those that are measured.
    pub(super) fn held_out(&self) -> &[M::Samples] {
        &self.held_out
    }

    /// The samples of a step: a function of the recipe's seed and the step alone.
    pub(super) fn batch(&self, step: u64, count: usize) -> Vec<Cow<'_, M::Samples>> {
        let numbers = self.order.batch(step, count).into_iter().enumerate();
        numbers
            .map(|(place, number)| {
                let samples = &self.train[number as usize];
                match self.vary {
                    Some(key) => Cow::Owned(M::varied(samples, &mut key.at(place as u64, step))),
                    None => Cow::Borrowed(samples),
                }
            })
            .collect()
    }
}

/// At most so many, spread evenly.
fn spread<S>(samples: Vec<S>, most: usize) -> Vec<S> {
    let (count, most) = (samples.len(), most.max(1));
    let chosen = |index: &usize| count <= most || index * most / count != (index + 1) * most / count;
    samples.into_iter().enumerate().filter(|(index, _)| chosen(index)).map(|(_, samples)| samples).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_measured_as_are_wanted_and_evenly() {
        let all = || (0..10).collect::<Vec<u8>>();
        assert_eq!(spread(all(), 20), all());
        assert_eq!(spread(all(), 2), [4, 9]);
        assert_eq!(spread(all(), 3).len(), 3);
    }
}

//! The pictures of a run: those that are learned, in an order that can resume at any step, and those that are held out.

use crate::TrainError;
use crate::recipe::ResolvedCodec;
use aquatint_codec::Picture;
use aquatint_codec::collection::is_held_out;
use aquatint_corpus::Order;
use aquatint_diffusion::Key;
use std::borrow::Cow;

/// The most pixels by which a picture is shifted, each way.
const SHIFT: isize = 4;

/// The pictures of a run.
#[derive(Debug)]
pub(super) struct Pictures {
    train: Vec<Picture>,
    held_out: Vec<Picture>,
    order: Order,
    /// What pictures are varied by; `None` where they are learned as they are.
    vary: Option<Key>,
}

impl Pictures {
    /// Reads all collections of a recipe. `progress` receives the pictures so far and returns whether to go on.
    pub(super) fn read(recipe: &ResolvedCodec, progress: &mut dyn FnMut(usize) -> bool) -> Result<Self, TrainError> {
        let (mut train, mut held_out) = (Vec::new(), Vec::new());
        for source in &recipe.data.train {
            for named in source.collection().read(recipe.codec.size, progress)? {
                match is_held_out(&named.concept, recipe.data.held_out, recipe.seed) {
                    true => held_out.push(named.picture),
                    false => train.push(named.picture),
                }
            }
        }
        let needed = recipe.optimiser.batch;
        if train.len() < needed {
            return Err(TrainError::FewPictures { key: "data.train", pictures: train.len(), needed });
        }
        let held_out = spread(held_out, recipe.run.validate_canvases);
        let order = Order::new(recipe.seed, train.len() as u64)?;
        let vary = recipe.data.vary.then(|| Key::new(recipe.seed));
        Ok(Self { train, held_out, order, vary })
    }

    /// Pictures to learn from.
    pub(super) fn train(&self) -> usize {
        self.train.len()
    }

    /// Those that are measured.
    pub(super) fn held_out(&self) -> &[Picture] {
        &self.held_out
    }

    /// The pictures of a step: a function of the recipe's seed and the step alone.
    pub(super) fn batch(&self, step: u64, count: usize) -> Vec<Cow<'_, Picture>> {
        let numbers = self.order.batch(step, count).into_iter().enumerate();
        numbers
            .map(|(place, number)| {
                let picture = &self.train[number as usize];
                match self.vary {
                    Some(key) => Cow::Owned(varied(picture, key, (place as u64, step))),
                    None => Cow::Borrowed(picture),
                }
            })
            .collect()
    }
}

/// A picture mirrored, or not, and shifted a little.
fn varied(picture: &Picture, key: Key, (place, step): (u64, u64)) -> Picture {
    let mut draws = key.at(place, step);
    let mirrored = draws.below(2) == 1;
    let mut shift = || draws.below(2 * SHIFT as u64 + 1) as isize - SHIFT;
    let (right, down) = (shift(), shift());
    let shifted = picture.shifted(right, down);
    if mirrored { shifted.mirrored() } else { shifted }
}

/// At most so many, spread evenly.
fn spread(pictures: Vec<Picture>, most: usize) -> Vec<Picture> {
    let (count, most) = (pictures.len(), most.max(1));
    let chosen = |index: &usize| count <= most || index * most / count != (index + 1) * most / count;
    pictures.into_iter().enumerate().filter(|(index, _)| chosen(index)).map(|(_, picture)| picture).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_measured_as_are_wanted_and_evenly() {
        let picture = |grey: u8| Picture::new(1, 1, vec![[grey; 4]]).unwrap();
        let all = || (0..10).map(picture).collect::<Vec<_>>();
        assert_eq!(spread(all(), 20), all());
        assert_eq!(spread(all(), 2), [picture(4), picture(9)]);
        assert_eq!(spread(all(), 3).len(), 3);
    }
}

//! A codec of pictures as what a run trains.

use super::pictures::Pictures;
use crate::objective::ObjectiveState;
use crate::optimiser::Optimiser;
use crate::plot::PlotLabels;
use crate::recipe::ResolvedCodec;
use crate::trainer::{Held, StepCost, StepPart, Trainee};
use crate::{HeldOutPictures, TrainError};
use aquatint_codec::quality::Quality;
use aquatint_codec::{Picture, PictureCodec, sheet};
use aquatint_compute::Device;
use aquatint_network::{ExpertLoads, Weights};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Held-out pictures that are measured in one pass.
const MEASURED_PER_PASS: usize = 32;
/// Pictures on a sheet.
const ON_SHEET: usize = 36;
/// The name of the sheet in the run's folder.
const SHEET: &str = "sheet.png";

/// A codec that is trained.
pub(super) struct CodecTrainee<'a, D: Device> {
    pub(super) recipe: &'a ResolvedCodec,
    pub(super) codec: PictureCodec<D>,
    pub(super) optimiser: Optimiser<D>,
    pub(super) pictures: Pictures,
}

impl<D: Device> CodecTrainee<'_, D> {
    /// What pictures cost when they are taken to codes and back, without learning from it.
    fn cost(&self, original: &Picture, returned: &[f32]) -> f64 {
        let patches = self.codec.patches();
        let (given, wanted) = (patches.merge(returned), original.premultiplied());
        self.recipe.cost.of(&given, &wanted, 1.0, &mut vec![[0.0; 4]; given.len()])
    }
}

impl<D: Device> Trainee for CodecTrainee<'_, D> {
    type Device = D;

    fn weights(&self) -> &Weights<D> {
        self.codec.autoencoder().weights()
    }

    fn learner(&mut self) -> (&mut Weights<D>, &mut Optimiser<D>) {
        (self.codec.autoencoder_mut().weights_mut(), &mut self.optimiser)
    }

    fn plot_labels(&self) -> PlotLabels {
        PlotLabels { unit: "cost of a picture", held_out: "held-out pictures" }
    }

    fn limit_memory(&mut self) -> (usize, usize) {
        let spec = self.codec.autoencoder().spec();
        let layers = spec.encoder.len() + spec.decoder.len();
        let recomputed = if self.recipe.optimiser.recompute { layers } else { 0 };
        self.codec.autoencoder_mut().recompute_activations(recomputed);
        (recomputed, layers)
    }

    fn learn(&mut self, part: StepPart<'_>) -> Result<Option<StepCost>, TrainError> {
        let StepPart { number, own, ranks, stop } = part;
        let batch = self.recipe.optimiser.batch;
        let pictures = self.pictures.batch(number, batch);
        let patches = self.codec.patches().clone();
        let (cost, weight) = (self.recipe.cost, 1.0 / batch as f64);
        let mut sum = 0.0;
        for pass in pictures[own].chunks(self.recipe.pictures_per_pass()) {
            if ranks.size() == 1 && stop.load(Ordering::SeqCst) {
                return Ok(None);
            }
            let wanted: Vec<Vec<[f32; 4]>> = pass.iter().map(|picture| picture.premultiplied()).collect();
            let rows: Vec<f32> = wanted.iter().flat_map(|pixels| patches.cut(pixels)).collect();
            let mut cost_of = |given: &[D::Element], gradient: &mut [D::Element]| {
                let mut total = 0.0;
                let each = given.chunks_exact(patches.len()).zip(gradient.chunks_exact_mut(patches.len()));
                for ((given, gradient), wanted) in each.zip(&wanted) {
                    let pixels = patches.merge(given);
                    let mut slope = vec![[0.0; 4]; pixels.len()];
                    total += weight * cost.of(&pixels, wanted, weight, &mut slope);
                    patches.merge_backward(&slope, gradient);
                }
                total
            };
            sum += self.codec.autoencoder_mut().forward_backward(&rows, &mut cost_of)?.cost;
        }
        let tokens = (batch * self.codec.autoencoder().spec().places()) as u64;
        Ok(Some(StepCost { nats: sum, observed: Vec::new(), loads: ExpertLoads::default(), tokens, bytes: None }))
    }

    fn observe(&mut self, _: &[f64], _: &ExpertLoads) {}

    fn validate(&self, go_on: &mut dyn FnMut() -> bool) -> Result<Held, TrainError> {
        let held_out = self.pictures.held_out();
        if held_out.is_empty() {
            return Ok(Held::Nothing);
        }
        let spec = self.codec.autoencoder().spec();
        let (mut quality, mut cost) = (Quality::new(spec.levels.codes()), 0.0);
        for originals in held_out.chunks(MEASURED_PER_PASS) {
            if !go_on() {
                return Ok(Held::Stopped);
            }
            let codes = self.codec.encode_all(&originals.iter().collect::<Vec<_>>())?;
            let rows = self.codec.autoencoder().decode(&codes.concat())?;
            let returned = self.codec.decode_all(&codes)?;
            let each = originals.iter().zip(&returned).zip(&codes);
            for (((original, returned), codes), rows) in each.zip(rows.chunks_exact(self.codec.patches().len())) {
                quality.add(original, returned, codes);
                cost += self.cost(original, rows);
            }
        }
        let (cost, reconstruction) = (cost / held_out.len() as f64, quality.reconstruction());
        Ok(Held::Measured(Box::new(HeldOutPictures { cost, reconstruction })))
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        Ok(self.codec.save(folder, self.recipe.run.storage)?)
    }

    /// Writes a sheet of held-out pictures beside what came back of them.
    fn sample(&self, _: u64, _: &AtomicBool) -> Result<Option<String>, TrainError> {
        let held_out = self.pictures.held_out();
        let each = held_out.len().div_ceil(ON_SHEET).max(1);
        let originals: Vec<&Picture> = held_out.iter().step_by(each).collect();
        let returned = self.codec.decode_all(&self.codec.encode_all(&originals)?)?;
        let pairs: Vec<(Picture, Picture)> = originals.into_iter().cloned().zip(returned).collect();
        let Some(sheet) = sheet(&pairs, self.recipe.codec.size).filter(|sheet| sheet.width() > 0) else {
            return Ok(None);
        };
        let path = self.recipe.output.join(SHEET);
        sheet.save(&path)?;
        Ok(Some(path.display().to_string()))
    }

    fn state(&self) -> Result<ObjectiveState, TrainError> {
        Ok(ObjectiveState::default())
    }
}

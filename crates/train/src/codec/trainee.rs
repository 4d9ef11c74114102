//! A codec as what a run trains.

use super::Vary;
use super::samples::SampleSet;
use crate::objective::{Figure, ObjectiveState};
use crate::optimiser::Optimiser;
use crate::plot::PlotLabels;
use crate::recipe::ResolvedCodec;
use crate::trainer::{Held, StepCost, StepPart, Trainee};
use crate::{HeldOutSamples, TrainError};
use aquatint_codec::quality::Quality;
use aquatint_codec::{Codec, LearnedCodec, Medium, MediumConfig, Picture, Returned, sheet};
use aquatint_compute::Device;
use aquatint_network::{ExpertLoads, Weights};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Held-out samples that are measured in one pass.
const MEASURED_PER_PASS: usize = 32;
/// Pairs on a sheet.
const ON_SHEET: usize = 36;
/// The name of the sheet in the run's folder.
const SHEET: &str = "sheet.png";

/// A codec that is trained.
pub(super) struct CodecTrainee<'a, D: Device, C: MediumConfig> {
    pub(super) recipe: &'a ResolvedCodec<C>,
    pub(super) codec: LearnedCodec<D, C::Medium>,
    pub(super) optimiser: Optimiser<D>,
    pub(super) samples: SampleSet<C::Medium>,
}

/// What a codec of a configuration encodes, and what collects how well it comes back.
type SamplesOf<C> = <<C as MediumConfig>::Medium as Medium>::Samples;
type QualityOf<C> = <<C as MediumConfig>::Medium as Medium>::Quality;

impl<D: Device, C: MediumConfig<Medium: Vary>> Trainee for CodecTrainee<'_, D, C> {
    type Device = D;

    fn weights(&self) -> &Weights<D> {
        self.codec.autoencoder().weights()
    }

    fn learner(&mut self) -> (&mut Weights<D>, &mut Optimiser<D>) {
        (self.codec.autoencoder_mut().weights_mut(), &mut self.optimiser)
    }

    fn plot_labels(&self) -> PlotLabels {
        PlotLabels { unit: "cost", held_out: C::Medium::KIND }
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
        let samples = self.samples.batch(number, batch);
        let (cost, weight) = (self.recipe.cost, 1.0 / batch as f64);
        let tokens = samples.iter().map(|samples| self.codec.medium().places(samples) as u64).sum();
        let mut sum = 0.0;
        for pass in samples[own].chunks(self.recipe.samples_per_pass()) {
            if ranks.size() == 1 && stop.load(Ordering::SeqCst) {
                return Ok(None);
            }
            let pass: Vec<&SamplesOf<C>> = pass.iter().map(AsRef::as_ref).collect();
            let (rows, lengths) = self.codec.rows(&pass)?;
            let (medium, autoencoder) = self.codec.parts_mut();
            let outputs = autoencoder.spec().outputs;
            let mut cost_of = |given: &[D::Element], gradient: &mut [D::Element]| {
                let (mut total, mut begin) = (0.0, 0);
                for (&wanted, length) in pass.iter().zip(&lengths) {
                    let own = begin..begin + length * outputs;
                    let returned = Returned { rows: &given[own.clone()], wanted, weight };
                    total += weight * medium.cost(&cost, returned, &mut gradient[own.clone()]);
                    begin = own.end;
                }
                total
            };
            sum += autoencoder.forward_backward(&rows, &lengths, &mut cost_of)?.cost;
        }
        Ok(Some(StepCost {
            nats: sum,
            observed: Vec::new(),
            loads: ExpertLoads::default(),
            tokens,
            learned: tokens,
            bytes: None,
        }))
    }

    fn observe(&mut self, _: &[f64], _: &ExpertLoads) {}

    fn means(&mut self) -> Vec<Figure> {
        Vec::new()
    }

    fn validate(&self, go_on: &mut dyn FnMut() -> bool) -> Result<Held, TrainError> {
        let held_out = self.samples.held_out();
        if held_out.is_empty() {
            return Ok(Held::Nothing);
        }
        let medium = self.codec.medium();
        let (mut quality, mut cost) = (QualityOf::<C>::new(self.codec.vocabulary_size()), 0.0);
        for originals in held_out.chunks(MEASURED_PER_PASS) {
            if !go_on() {
                return Ok(Held::Stopped);
            }
            let codes = self.codec.encode_all(&originals.iter().collect::<Vec<_>>())?;
            let rows = self.codec.decode_rows(&codes)?;
            for ((original, rows), codes) in originals.iter().zip(rows).zip(&codes) {
                quality.add(original, &medium.samples(&rows), codes);
                let returned = Returned { rows: &rows[..], wanted: original, weight: 1.0 };
                cost += medium.cost(&self.recipe.cost, returned, &mut vec![0.0; rows.len()]);
            }
        }
        let (cost, reconstruction) = (cost / held_out.len() as f64, quality.reconstruction());
        Ok(Held::Measured(Box::new(HeldOutSamples { cost, reconstruction })))
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        Ok(self.codec.save(folder, self.recipe.run.storage)?)
    }

    /// Writes a sheet of held-out samples beside what came back of them.
    fn sample(&self, _: u64, _: &AtomicBool) -> Result<Option<String>, TrainError> {
        let held_out = self.samples.held_out();
        let each = held_out.len().div_ceil(ON_SHEET).max(1);
        let originals: Vec<&SamplesOf<C>> = held_out.iter().step_by(each).collect();
        let returned = self.codec.decode_all(&self.codec.encode_all(&originals)?)?;
        let picture = |samples: &SamplesOf<C>| self.codec.medium().picture(samples);
        let pairs = originals.into_iter().zip(&returned).map(|(one, other)| (picture(one), picture(other)));
        let pairs: Vec<(Picture, Picture)> = pairs.collect();
        let Some(sheet) = pairs.first().and_then(|(one, _)| sheet(&pairs, one.width())) else {
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

//! The bound of each canvas, from several noisy versions of it that can be kept: one estimate for every network that reads
//! them, and its gradient, canvas by canvas.
//!
//! Objectives that compare networks or texts (preferences, rewards) need the bound `B = E_t E_noise Σ weight · cost` of each
//! answer by itself, and its noise goes into exponentials and ratios. The same times and masks for both networks take most of
//! it out of their difference, and more versions the rest: VRPO (LLaDA 1.5, 2505.19223). Masks that complement
//! each other (coupled-GRPO, 2506.20639) cost each token once in two versions.
//!
//! The versions of a canvas are a function of a key and of the canvas's stream: canvases of one stream have the same times
//! and draw their masks from the same numbers.

use crate::noise::{complement, corrupt_evenly};
use crate::{NoisyBatch, PackedBatch, golden_point};
use aquatint_diffusion::{Key, LossTerm, Process, Time, TimeSampling};
use aquatint_network::{Denoiser, Learner, NetworkError};

/// Streams of randomness under a key.
const TIMES: u64 = 1;
const MASKS: u64 = 2;

/// How the bound of a canvas is sampled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundSampling {
    /// Noisy versions of each canvas, 1 or more.
    pub samples: usize,
    /// How the times of one canvas's versions are spread over all times.
    pub spread: TimeSampling,
    /// Whether each second version hides what the one before it shows, where the process can: its time mirrors the other's.
    pub complementary: bool,
}

/// Noisy versions of the canvases of a batch.
#[derive(Debug, Clone)]
pub struct BoundSamples {
    /// Each holds all canvases.
    versions: Vec<NoisyBatch>,
    /// What the bound of each canvas has besides the terms, in nats, summed over versions.
    constants: Vec<f64>,
}

impl BoundSamples {
    /// Draws the versions of the canvases of `rows`, whose streams are `streams`, at a step. Rows that are given stay as they
    /// are.
    pub fn draw(
        (rows, process): (&PackedBatch, &dyn Process),
        sampling: BoundSampling,
        (key, step): (Key, u64),
        streams: &[u64],
    ) -> Self {
        let count = sampling.samples.max(1);
        let mut versions = vec![NoisyBatch::new(rows); count];
        let mut constants = vec![0.0; rows.canvases.len()];
        let pairs = sampling.complementary && process.has_fixed_count();
        for (index, (canvas, &stream)) in rows.canvases.iter().zip(streams).enumerate() {
            let mut draws = key.fold(TIMES).at(stream, step);
            // A version that mirrors another one has no time of its own.
            let times = sampling.spread.sample(if pairs { count.div_ceil(2) } else { count }, 0.0..1.0, &mut draws);
            let parts = rows.parts(canvas);
            // What the version before hid, part by part.
            let mut before: Vec<Vec<bool>> = vec![Vec::new(); parts.len()];
            for (version, batch) in versions.iter_mut().enumerate() {
                let mut draws = key.fold(MASKS).fold(version as u64).at(stream, step);
                let time = times[if pairs { version / 2 } else { version }];
                let mut network_time = None;
                for (number, part) in parts.iter().enumerate().filter(|(_, part)| !part.is_empty()) {
                    let time = match number {
                        0 => time,
                        // Where blocks become noisy one by one, each does at a time of its own.
                        _ => Time::nearest(golden_point(time.value(), number as u64).max(f64::EPSILON)),
                    };
                    let open = rows.open(canvas, part, 0);
                    let clean = &rows.tokens[part.clone()];
                    let mirrored = match before[number].as_slice() {
                        hidden if pairs && version % 2 == 1 => complement(process, clean, &open, hidden, &mut draws),
                        _ => None,
                    };
                    let noisy = mirrored.unwrap_or_else(|| corrupt_evenly(process, clean, &open, time, &mut draws));
                    before[number] = vec![false; part.len()];
                    noisy.terms.iter().for_each(|term| before[number][term.position] = true);
                    network_time = Some(noisy.noise as f32);
                    constants[index] += noisy.constant;
                    batch.put(part.clone(), noisy);
                }
                batch.times.extend(network_time);
            }
        }
        Self { versions, constants }
    }

    /// The noisy versions, each of all canvases, in the order of the rows.
    pub fn versions(&self) -> &[NoisyBatch] {
        &self.versions
    }

    /// The bound of each canvas under a network, in nats: the mean over its versions.
    ///
    /// # Errors
    /// When the network refuses.
    pub fn bounds<N: Denoiser + ?Sized>(&self, network: &N, rows: &PackedBatch) -> Result<Vec<f64>, NetworkError> {
        let mut sums = self.constants.clone();
        for batch in &self.versions {
            let prediction = batch.self_conditioning(network, rows)?;
            let costs = batch.costs(network, rows, prediction.as_deref())?;
            add(&mut sums, rows, &batch.terms, &costs);
        }
        Ok(self.means(sums))
    }

    /// The same, and adds the gradient of `Σ factor · bound` over the canvases to what the network has collected.
    ///
    /// # Errors
    /// When the network refuses.
    pub fn forward_backward(
        &self,
        network: &mut dyn Learner,
        rows: &PackedBatch,
        factors: &[f64],
    ) -> Result<Vec<f64>, NetworkError> {
        let mut sums = self.constants.clone();
        let count = self.versions.len() as f64;
        for batch in &self.versions {
            let prediction = batch.self_conditioning(&*network, rows)?;
            let weighted = |term: &LossTerm| {
                let factor = factors.get(rows.canvas_of(term.position)).copied().unwrap_or_default();
                LossTerm { weight: term.weight * factor / count, ..*term }
            };
            let learned = NoisyBatch { terms: batch.terms.iter().map(weighted).collect(), ..batch.clone() };
            let spec = network.spec().clone();
            let input = learned.input(rows, &spec, prediction.as_deref());
            let costs: Vec<f64> = match learned.loss_rows() {
                Some(requested) => network.forward_backward(&input, &requested)?,
                None => {
                    let paid = network.forward_backward_costs(&input, &learned.terms)?;
                    paid.into_iter().map(|row| row.cost).collect()
                }
            };
            add(&mut sums, rows, &batch.terms, &costs);
        }
        Ok(self.means(sums))
    }

    fn means(&self, sums: Vec<f64>) -> Vec<f64> {
        let count = self.versions.len() as f64;
        sums.into_iter().map(|sum| sum / count).collect()
    }
}

/// Adds what terms cost to the sums of their canvases.
fn add(sums: &mut [f64], rows: &PackedBatch, terms: &[LossTerm], costs: &[f64]) {
    for (term, cost) in terms.iter().zip(costs) {
        sums[rows.canvas_of(term.position)] += term.weight * cost;
    }
}

//! Uniform diffusion taught through the gaussian noise that is under it: Duo's curriculum.
//!
//! The likeliest coordinate of a one-hot vector with gaussian noise, `α̃ x + σ̃ ε`, is the clean token or any other
//! with equal probability: uniform diffusion, with `α = T(α̃)` (Duo, 2506.10892, section 3.1, equation 9). Training may
//! show a network more than that one token, `softmax((α̃ x + σ̃ ε)/τ)` as a mixture of word vectors (section 4.1),
//! which falls in variance and goes back to the token itself as τ goes to 0. What is learned, measured and sampled is
//! uniform diffusion.
//!
//! Only the ratio α̃/σ̃ counts; it follows from α by a table over `T`, an integral over the normal density. The softmax
//! is over the largest 64 of the noisy coordinates, which are drawn as order statistics and not as a vocabulary of
//! normals (Duo's sequel, 2602.21185, appendix, draws them so).
//!
//! Deviation: what coordinates beyond the 64 largest would add to the softmax is left out: nothing at the τ of the
//! paper, 10⁻³.

use super::{Level, Mixing, Noise, Process};
use crate::objective::Vectors;
use crate::{
    Alphabet, Canvas, CommitPolicy, ContinuousState, Corrupted, Draws, Key, NoiseSchedule, Proposal, Step, Time,
    TokenId,
};
use statrs::function::erf::{erfc, erfc_inv};
use std::f64::consts::{PI, SQRT_2};
use std::sync::Arc;

/// Coordinates that a softmax sees.
const LARGEST: usize = 64;
/// Steps of the ratio in the table of `T`, and of the integral.
const STEP: f64 = 0.01;
/// Beyond so many deviations there is no mass.
const FAR: f64 = 9.0;

/// Uniform diffusion whose training shows soft tokens.
#[derive(Debug, Clone)]
pub struct Duo {
    uniform: Mixing,
    alphabet: Alphabet,
    temperature: f64,
    /// `T` at multiples of [`STEP`], rising from 0 to 1.
    survival: Vec<f64>,
}

impl Duo {
    /// The temperature of the paper's curriculum.
    pub const TEMPERATURE: f64 = 1e-3;

    /// Soft tokens at temperature τ, above 0.
    pub fn new(alphabet: Alphabet, temperature: f64, schedule: Arc<dyn NoiseSchedule>) -> Self {
        let survival = survival(alphabet.text());
        Self { uniform: Mixing::uniform(alphabet, schedule), alphabet, temperature, survival }
    }

    /// `T`: the α of uniform diffusion under a ratio α̃/σ̃.
    pub fn alpha(&self, ratio: f64) -> f64 {
        let place = ratio / STEP;
        let low = (place as usize).min(self.survival.len() - 1);
        let high = (low + 1).min(self.survival.len() - 1);
        self.survival[low] + (place - low as f64).clamp(0.0, 1.0) * (self.survival[high] - self.survival[low])
    }

    /// The ratio α̃/σ̃ under which α is reached.
    pub fn ratio(&self, alpha: f64) -> f64 {
        let high = self.survival.partition_point(|known| *known < alpha).clamp(1, self.survival.len() - 1);
        let (below, above) = (self.survival[high - 1], self.survival[high]);
        let inside = if above > below { ((alpha - below) / (above - below)).clamp(0.0, 1.0) } else { 1.0 };
        STEP * ((high - 1) as f64 + inside)
    }

    /// Draws the largest coordinates of `ratio · x + ε` with their tokens, the largest first.
    fn largest(&self, clean: TokenId, ratio: f64, draws: &mut Draws) -> Vec<(TokenId, f64)> {
        let others = self.alphabet.text() - 1;
        let mut coordinates = vec![(clean, ratio + draws.normal())];
        // The largest of n uniform draws is u^(1/n), and so on down.
        let mut log_rank = 0.0;
        for index in 0..others.min(LARGEST) {
            log_rank += draws.uniform().ln() / (others - index) as f64;
            let tail = -f64::exp_m1(log_rank);
            let token = loop {
                let token = self.alphabet.draw(draws);
                if coordinates.iter().all(|(known, _)| *known != token) {
                    break token;
                }
            };
            coordinates.push((token, SQRT_2 * erfc_inv(2.0 * tail)));
        }
        coordinates.sort_by(|a, b| b.1.total_cmp(&a.1));
        coordinates
    }
}

/// `T` at multiples of the step, until it is 1: `(N P − 1)/(N − 1)`, where P is the probability that `ratio + ε₁` is
/// the largest of N coordinates, `P = ∫ φ(z) Φ(z + ratio)^(N−1) dz`.
fn survival(count: usize) -> Vec<f64> {
    let others = count as f64 - 1.0;
    let z = |index: usize| index as f64 * STEP - FAR;
    // On one grid for every ratio.
    let below: Vec<f64> =
        (0..(3.0 * FAR / STEP) as usize).map(|index| (1.0 - 0.5 * erfc(z(index) / SQRT_2)).powf(others)).collect();
    let density = |index: usize| (-0.5 * z(index) * z(index)).exp() / (2.0 * PI).sqrt();
    let density: Vec<f64> = (0..(2.0 * FAR / STEP) as usize).map(density).collect();
    let largest = |shift: usize| {
        let product = |(index, density): (usize, &f64)| density * below.get(index + shift).copied().unwrap_or(1.0);
        STEP * density.iter().enumerate().map(product).sum::<f64>()
    };
    let mut known = Vec::new();
    for shift in 0.. {
        let alpha = ((count as f64 * largest(shift) - 1.0) / others).clamp(0.0, 1.0);
        known.push(alpha);
        if alpha > 1.0 - 1e-9 {
            break;
        }
    }
    known
}

impl Process for Duo {
    fn name(&self) -> String {
        format!("duo:{}", self.temperature)
    }

    fn schedule(&self) -> &dyn NoiseSchedule {
        self.uniform.schedule()
    }

    fn noise_tokens(&self) -> &[TokenId] {
        self.uniform.noise_tokens()
    }

    fn first_token(&self) -> Option<TokenId> {
        None
    }

    fn point_size(&self) -> Option<usize> {
        self.uniform.point_size()
    }

    fn reads_points(&self) -> bool {
        self.uniform.reads_points()
    }

    fn vector_size(&self) -> Option<usize> {
        self.uniform.vector_size()
    }

    fn level(&self, t: Time) -> Option<Level> {
        self.uniform.level(t)
    }

    fn revises(&self) -> bool {
        self.uniform.revises()
    }

    fn policy(&self) -> Arc<dyn CommitPolicy> {
        self.uniform.policy()
    }

    fn is_bounded(&self) -> bool {
        self.uniform.is_bounded()
    }

    fn learns_bound(&self) -> bool {
        self.uniform.learns_bound()
    }

    fn has_fixed_count(&self) -> bool {
        self.uniform.has_fixed_count()
    }

    fn corrupt(&self, clean: &[TokenId], open: &[bool], t: Time, draws: &mut Draws) -> Corrupted {
        let mut points = ContinuousState::clean(clean.len(), self.alphabet.size);
        // A ratio's deviation is 1; the paper's σ̃ is 1/√(1 + ratio²).
        let ratio = self.ratio(self.schedule().alpha(t));
        let sharpness = 1.0 / (self.temperature * (1.0 + ratio * ratio).sqrt());
        let noisy = self.uniform.corrupted_as(clean, open, t, draws, |position, target, draws| {
            let coordinates = self.largest(target, ratio, draws);
            let (shown, highest) = coordinates[0];
            let weights: Vec<f64> = coordinates.iter().map(|(_, z)| (sharpness * (z - highest)).exp()).collect();
            let total: f64 = weights.iter().sum();
            let mut point = vec![0.0; self.alphabet.size];
            for ((token, _), weight) in coordinates.iter().zip(&weights) {
                point[*token as usize] = (weight / total) as f32;
            }
            points.set(position, 0.0, &point, 0.0);
            shown
        });
        Corrupted { points: Some(points), ..noisy }
    }

    fn corrupt_for_bound(&self, clean: &[TokenId], open: &[bool], t: Time, draws: &mut Draws) -> Corrupted {
        self.uniform.corrupt_for_bound(clean, open, t, draws)
    }

    fn corrupt_count(&self, clean: &[TokenId], open: &[bool], count: usize, draws: &mut Draws) -> Option<Corrupted> {
        self.uniform.corrupt_count(clean, open, count, draws)
    }

    fn network_time(&self, t: Time, noisy: usize, length: usize) -> f64 {
        self.uniform.network_time(t, noisy, length)
    }

    fn evidence(&self, shown: TokenId, t: Time) -> Option<f32> {
        self.uniform.evidence(shown, t)
    }

    fn shown_evidence(&self, shown: TokenId, t: Time) -> f32 {
        self.uniform.shown_evidence(shown, t)
    }

    fn mass(&self, _: f64) -> f64 {
        1.0
    }

    fn noise(&self, draws: &mut Draws) -> Noise {
        self.uniform.noise(draws)
    }

    fn renoise(&self, canvas: &mut Canvas, positions: &[usize], step: &Step, key: Key, vectors: Vectors<'_>) {
        self.uniform.renoise(canvas, positions, step, key, vectors);
    }

    fn advance(&self, canvas: &mut Canvas, proposal: &Proposal, step: &Step, key: Key) {
        self.uniform.advance(canvas, proposal, step, key);
    }
}

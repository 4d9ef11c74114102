//! The gaussian field: each open position holds a point near a word vector.
//!
//! `z_t = α_t e(x) + σ_t ε` with word vectors of length 1, variance preserving, `log(α²/σ²)` linear in time from 6 at
//! t = 0 to −7 at t = 1 (Plaid, 2305.18619, section 3; CDCD, 2211.15089, section 3). The network predicts in tokens and
//! its word vector is the mean of the prediction (score interpolation); it learns from cross-entropy, evenly over what
//! [`crate::TimeDensity`] makes of the times, or from the bound:
//!
//! ```text
//! −log p(x) ≤ KL(q(z_1 | x) ‖ N(0, 1)) − ½ ∫ SNR′(t) E‖e(x) − x̂(z_t, t)‖² dt − E log p(x | z_0)      (VDM,
//! 2107.00630, eq. 11)
//! ```
//! A seventh of the times stands for the last part. A schedule that is learned to even out the variance is the same as
//! a density of times over a fixed one, since the bound depends on its ends only (VDM, section 5.1).
//!
//! Each step back is `z_s = α_s x̂ + √(σ_s² − v²) ε̂ + v ε`, ε̂ the noise that the prediction implies: v = 0 is DDIM
//! (2010.02502, equation 12), the posterior's own deviation is ancestral sampling, which is the default, and v = κ σ_s
//! with churn κ reaches fresh noise at 1.
//!
//! Deviations: none from the bound.

use super::walk::{corrupt_each, each_committed, each_open, open_positions};
use super::{Noise, Process};
use crate::objective::{Cost, Distance, Vectors};
use crate::policy::Last;
use crate::{
    Alphabet, Canvas, CommitPolicy, ContinuousState, Corrupted, Draws, Key, NoiseSchedule, Proposal, Step, Time,
    TokenId,
};
use std::sync::Arc;

/// log SNR at time 0 and at time 1. At the first, word vectors of length 1 are 14 deviations apart; at the second a
/// point says less than a thousandth of a nat.
const LOG_SNR: (f64, f64) = (6.0, -7.0);
/// The share of the times of a probe that measures the clean end.
const CLEAN_END: f64 = 1.0 / 7.0;

/// A gaussian field over word vectors.
#[derive(Debug, Clone)]
pub struct Gaussian {
    alphabet: Alphabet,
    size: usize,
    schedule: Arc<dyn NoiseSchedule>,
}

/// Signal, noise and their ratio at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// α.
    pub alpha: f64,
    /// σ, with α² + σ² = 1.
    pub sigma: f64,
    /// α²/σ².
    pub snr: f64,
}

impl Level {
    /// The level of a time.
    pub fn at(t: Time) -> Self {
        let snr = (LOG_SNR.0 + (LOG_SNR.1 - LOG_SNR.0) * t.value()).exp();
        Self { alpha: (snr / (1.0 + snr)).sqrt(), sigma: (1.0 / (1.0 + snr)).sqrt(), snr }
    }

    /// dSNR/dt, which is negative.
    pub fn slope(&self) -> f64 {
        (LOG_SNR.1 - LOG_SNR.0) * self.snr
    }

    /// α/σ²: the logit that a unit of `z · e_v` speaks for token v.
    pub fn prior_logit_scale(&self) -> f64 {
        self.alpha / (self.sigma * self.sigma)
    }

    /// The deviation of the posterior of `z` at an earlier level, given it here and the clean point (ancestral
    /// sampling).
    pub fn ancestral(&self, earlier: &Self) -> f64 {
        earlier.sigma * (1.0 - self.snr / earlier.snr).max(0.0).sqrt()
    }

    /// The point at an earlier level, from the one here, the expected clean one, and noise of deviation `v`.
    pub fn step(&self, earlier: &Self, point: f64, expected: f64, v: f64, noise: f64) -> f64 {
        let implied = (point - self.alpha * expected) / self.sigma;
        let retained = (earlier.sigma * earlier.sigma - v * v).max(0.0).sqrt();
        earlier.alpha * expected + retained * implied + v * noise
    }
}

impl Gaussian {
    /// Coordinates of a word vector where nothing is said.
    pub const SIZE: usize = 64;

    /// The field over word vectors of `size` coordinates.
    pub fn new(alphabet: Alphabet, size: usize, schedule: Arc<dyn NoiseSchedule>) -> Self {
        Self { alphabet, size, schedule }
    }

    /// What the prior costs for each position: KL(q(z_1 | x) ‖ N(0, 1)), in nats.
    pub fn prior(&self) -> f64 {
        let Level { alpha, sigma, .. } = Level::at(Time::NOISE);
        let variance = sigma * sigma;
        0.5 * (self.size as f64 * (variance - 1.0 - variance.ln()) + alpha * alpha)
    }

    fn corrupted(
        &self,
        clean: &[TokenId],
        open: &[bool],
        t: Time,
        draws: &mut Draws,
        (weight, cost): (f64, Cost),
    ) -> Corrupted {
        let level = Level::at(t);
        let mut points = ContinuousState::clean(clean.len(), self.size);
        let positions = open_positions(clean.len(), open);
        let (tokens, terms) = corrupt_each(clean, positions, |position, target| {
            let noise: Vec<f32> = (0..self.size).map(|_| (level.sigma * draws.normal()) as f32).collect();
            points.set(position, level.alpha as f32, &noise, level.prior_logit_scale() as f32);
            (target, weight, cost)
        });
        Corrupted { tokens, points: Some(points), terms, noise: t.value(), constant: 0.0 }
    }

    fn fresh(&self, level: Level, mean: &[f32], draws: &mut Draws) -> Vec<f32> {
        let at = |index: usize| f64::from(mean.get(index).copied().unwrap_or(0.0));
        (0..self.size).map(|index| (level.alpha * at(index) + level.sigma * draws.normal()) as f32).collect()
    }
}

impl Process for Gaussian {
    fn name(&self) -> String {
        format!("gaussian:{}", self.size)
    }

    fn schedule(&self) -> &dyn NoiseSchedule {
        self.schedule.as_ref()
    }

    fn noise_tokens(&self) -> &[TokenId] {
        &[]
    }

    fn first_token(&self) -> Option<TokenId> {
        None
    }

    fn point_size(&self) -> Option<usize> {
        Some(self.size)
    }

    fn reads_points(&self) -> bool {
        true
    }

    fn vector_size(&self) -> Option<usize> {
        Some(self.size)
    }

    fn level(&self, t: Time) -> Option<Level> {
        Some(Level::at(t))
    }

    fn revises(&self) -> bool {
        true
    }

    fn policy(&self) -> Arc<dyn CommitPolicy> {
        Arc::new(Last)
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn learns_bound(&self) -> bool {
        false
    }

    fn has_fixed_count(&self) -> bool {
        false
    }

    fn corrupt(&self, clean: &[TokenId], open: &[bool], t: Time, draws: &mut Draws) -> Corrupted {
        self.corrupted(clean, open, t, draws, (1.0, Cost::CrossEntropy))
    }

    fn corrupt_for_bound(&self, clean: &[TokenId], open: &[bool], t: Time, draws: &mut Draws) -> Corrupted {
        let (t, term) = if t.value() < CLEAN_END {
            (Time::CLEAN, (1.0 / CLEAN_END, Cost::CrossEntropy))
        } else {
            let t = Time::nearest((t.value() - CLEAN_END) / (1.0 - CLEAN_END));
            (t, (-0.5 * Level::at(t).slope() / (1.0 - CLEAN_END), Cost::Distance(Distance)))
        };
        let corrupted = self.corrupted(clean, open, t, draws, term);
        Corrupted { constant: self.prior() * corrupted.terms.len() as f64, ..corrupted }
    }

    fn corrupt_count(&self, _: &[TokenId], _: &[bool], _: usize, _: &mut Draws) -> Option<Corrupted> {
        None
    }

    fn network_time(&self, t: Time, _: usize, _: usize) -> f64 {
        t.value()
    }

    fn evidence(&self, _: TokenId, _: Time) -> Option<f32> {
        None
    }

    fn shown_evidence(&self, _: TokenId, _: Time) -> f32 {
        0.0
    }

    fn mass(&self, _: f64) -> f64 {
        1.0
    }

    fn noise(&self, draws: &mut Draws) -> Noise {
        let level = Level::at(Time::NOISE);
        // The point of no word, far out where all are alike.
        let point = (0..self.size).map(|_| draws.normal() as f32).collect();
        Noise {
            token: self.alphabet.draw(draws),
            point: Some(point),
            prior_logit_scale: level.prior_logit_scale() as f32,
        }
    }

    fn renoise(&self, canvas: &mut Canvas, positions: &[usize], step: &Step, key: Key, vectors: Vectors<'_>) {
        let level = Level::at(step.planned.to);
        each_committed(canvas, positions, step, key, |canvas, position, draws| {
            let token = canvas.tokens()[position];
            let point = self.fresh(level, vectors.of(token), draws);
            let _ = canvas.reopen(position, token);
            canvas.hold(position, &point, level.prior_logit_scale() as f32);
        });
    }

    fn advance(&self, canvas: &mut Canvas, proposal: &Proposal, step: &Step, key: Key) {
        let (later, earlier) = (Level::at(step.planned.from), Level::at(step.planned.to));
        let deviation = step.planned.churn.map_or_else(|| later.ancestral(&earlier), |churn| churn * earlier.sigma);
        each_open(canvas, proposal, step, key, |canvas, position, candidate, draws| {
            let Some(points) = canvas.points() else { return };
            let expected = proposal.expected(position);
            let at = |index: usize| f64::from(expected.get(index).copied().unwrap_or(0.0));
            let walk = |(index, z): (usize, &f32)| {
                later.step(&earlier, f64::from(*z), at(index), deviation, draws.normal()) as f32
            };
            let point: Vec<f32> = points.offset(position).iter().enumerate().map(walk).collect();
            canvas.hold(position, &point, earlier.prior_logit_scale() as f32);
            let _ = canvas.show_noise(position, candidate.likeliest);
        });
    }
}

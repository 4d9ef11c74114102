//! The simplex field: each open position holds a law over the vocabulary, drawn from a Dirichlet law around its token.
//!
//! `P_t ~ Dir(c_t (α_t e_x + (1 − α_t) π))`, π even over the tokens of text (SDM, 2609.35553, section 3). The spread
//! `ν = 1/(c + 1)` is ν₀ up to time l and linear to ν₁ from there. The network reads the word vectors' mean under P, or
//! the vector of the likeliest token, and learns from cross-entropy. That is no bound.
//!
//! A step back draws a clean token and moves a share of the point, so that the Dirichlet law of the earlier time holds
//! for any churn κ (the same, equation 9): with `r = min(1, b_s/b_t)`, `b = c (1 − α)`, `ρ = (1 − κ) r`,
//! `P_s = W · norm(B ⊙ P_t) + (1 − W) U`, `B_i ~ Beta(ρ β_i, (1 − ρ) β_i)`, `W ~ Beta(ρ c_t, c_s − ρ c_t)`,
//! `U ~ Dir(β_s − ρ β_t)`. κ = 1, which draws  again, is the default, as it is the best in the paper.
//!
//! Deviation: an even Dirichlet law over a vocabulary, whose single shapes are some ten-thousandths, is drawn by
//! breaking a stick (Sethuraman, "A constructive definition of Dirichlet priors", 1994): exactly the same law with some
//! dozens of draws instead of one for each token, but for what is left of the stick at 10⁻⁹.

use super::walk::{corrupt_each, each_committed, each_open, open_positions};
use super::{Level, Noise, Process};
use crate::objective::{Cost, Vectors};
use crate::policy::Last;
use crate::{
    Alphabet, Canvas, CommitPolicy, ContinuousState, Corrupted, Draws, Key, NoiseSchedule, Proposal, Step, Time,
    TokenId,
};
use std::sync::Arc;

/// Spread before `HOLD` and at time 1, and the time up to which it is held (2609.35553, section 5.1, "cst-lin").
const SPREAD: (f64, f64) = (0.2, 0.5);
const HOLD: f64 = 0.2;
/// What is left of a stick that is broken no further.
const CRUMB: f64 = 1e-9;

/// A field over the probability simplex.
#[derive(Debug, Clone)]
pub struct Simplex {
    alphabet: Alphabet,
    schedule: Arc<dyn NoiseSchedule>,
    argmax: bool,
}

/// The Dirichlet law of a time: concentration on the clean token, and on all of text together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Concentration {
    /// `c α`.
    pub token: f64,
    /// `c (1 − α)`.
    pub text: f64,
}

impl Concentration {
    /// `c`.
    pub fn total(&self) -> f64 {
        self.token + self.text
    }
}

impl Simplex {
    /// The field that the network reads as mixtures of word vectors.
    pub fn new(alphabet: Alphabet, schedule: Arc<dyn NoiseSchedule>) -> Self {
        Self { alphabet, schedule, argmax: false }
    }

    /// The same, read as the likeliest token.
    #[must_use]
    pub fn read_as_argmax(self) -> Self {
        Self { argmax: true, ..self }
    }

    /// The concentration of a time.
    pub fn concentration(&self, t: Time) -> Concentration {
        let late = ((t.value() - HOLD) / (1.0 - HOLD)).max(0.0);
        let c = 1.0 / (SPREAD.0 + (SPREAD.1 - SPREAD.0) * late) - 1.0;
        let alpha = self.schedule.alpha(t);
        Concentration { token: c * alpha, text: c * (1.0 - alpha) }
    }

    /// Draws a point of the law `Dir(token · e_x + text · π)`.
    pub fn draw(&self, clean: TokenId, concentration: Concentration, draws: &mut Draws) -> Vec<f32> {
        let mut point = vec![0.0f64; self.alphabet.size];
        self.pour(&mut point, 0.0, clean, concentration, draws);
        rounded(&point)
    }

    /// Adds a point of a Dirichlet law, with the share that has this logarithm.
    fn pour(&self, point: &mut [f64], log_share: f64, clean: TokenId, concentration: Concentration, draws: &mut Draws) {
        let (log_token, log_text) = draws.log_beta(concentration.token, concentration.text);
        let mut add = |token: TokenId, mass: f64| {
            if let Some(p) = point.get_mut(token as usize) {
                *p += mass;
            }
        };
        add(clean, (log_share + log_token).exp());
        let mut left = (log_share + log_text).exp();
        while left > CRUMB {
            // Beta(1, A): what stays of the stick is U^(1/A).
            let stays = draws.uniform().powf(1.0 / concentration.text);
            add(self.alphabet.draw(draws), left * (1.0 - stays));
            left *= stays;
        }
        add(self.alphabet.draw(draws), left);
    }

    /// A step back from a point, to the law of the earlier time around a clean token.
    pub fn step(
        &self,
        point: &[f32],
        clean: TokenId,
        (from, to): (Time, Time),
        churn: f64,
        draws: &mut Draws,
    ) -> Vec<f32> {
        let (later, earlier) = (self.concentration(from), self.concentration(to));
        let ratio = if later.text > 0.0 { (earlier.text / later.text).min(1.0) } else { 1.0 };
        let rho = (1.0 - churn) * ratio;
        let mut moved = vec![0.0f64; self.alphabet.size];
        let left = Concentration {
            token: (earlier.token - rho * later.token).max(0.0),
            text: (earlier.text - rho * later.text).max(0.0),
        };
        let (log_retained, log_fresh) = draws.log_beta(rho * later.total(), left.total());
        if log_retained > f64::NEG_INFINITY {
            let each = later.text / self.alphabet.text() as f64;
            let mut thinned: Vec<(usize, f64)> = Vec::new();
            for (index, p) in point.iter().enumerate().filter(|(_, p)| **p > 0.0) {
                let beta = each + if index == clean as usize { later.token } else { 0.0 };
                let (log_b, _) = draws.log_beta(rho * beta, (1.0 - rho) * beta);
                thinned.push((index, log_b + f64::from(*p).ln()));
            }
            let largest = thinned.iter().map(|(_, log)| *log).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = thinned.iter().map(|(_, log)| (log - largest).exp()).sum();
            for (index, log) in thinned {
                moved[index] += (log_retained + log - largest - sum.ln()).exp();
            }
        }
        if log_fresh > f64::NEG_INFINITY {
            self.pour(&mut moved, log_fresh, clean, left, draws);
        }
        rounded(&moved)
    }
}

fn rounded(point: &[f64]) -> Vec<f32> {
    let total: f64 = point.iter().sum();
    point.iter().map(|p| (p / total) as f32).collect()
}

/// The likeliest token of a point.
fn likeliest(point: &[f32]) -> TokenId {
    (0..point.len()).fold(0, |best, index| if point[index] > point[best] { index } else { best }) as TokenId
}

impl Process for Simplex {
    fn name(&self) -> String {
        if self.argmax { "simplex-argmax" } else { "simplex" }.to_owned()
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
        Some(self.alphabet.size)
    }

    fn reads_points(&self) -> bool {
        !self.argmax
    }

    fn vector_size(&self) -> Option<usize> {
        None
    }

    fn level(&self, _: Time) -> Option<Level> {
        None
    }

    fn revises(&self) -> bool {
        true
    }

    fn policy(&self) -> Arc<dyn CommitPolicy> {
        Arc::new(Last)
    }

    fn has_fixed_count(&self) -> bool {
        false
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn learns_bound(&self) -> bool {
        false
    }

    fn corrupt(&self, clean: &[TokenId], open: &[bool], t: Time, draws: &mut Draws) -> Corrupted {
        let concentration = self.concentration(t);
        let mut points = (!self.argmax).then(|| ContinuousState::clean(clean.len(), self.alphabet.size));
        let positions = open_positions(clean.len(), open);
        let (tokens, terms) = corrupt_each(clean, positions, |position, target| {
            let point = self.draw(target, concentration, draws);
            if let Some(points) = &mut points {
                points.set(position, 0.0, &point, 0.0);
            }
            (likeliest(&point), 1.0, Cost::CrossEntropy)
        });
        Corrupted { tokens, points, terms, noise: t.value(), constant: 0.0 }
    }

    fn corrupt_for_bound(&self, clean: &[TokenId], open: &[bool], t: Time, draws: &mut Draws) -> Corrupted {
        self.corrupt(clean, open, t, draws)
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
        let point = self.draw(0, self.concentration(Time::NOISE), draws);
        Noise { token: likeliest(&point), point: Some(point), prior_logit_scale: 0.0 }
    }

    fn renoise(&self, canvas: &mut Canvas, positions: &[usize], step: &Step, key: Key, _: Vectors<'_>) {
        let concentration = self.concentration(step.planned.to);
        each_committed(canvas, positions, step, key, |canvas, position, draws| {
            let point = self.draw(canvas.tokens()[position], concentration, draws);
            let _ = canvas.reopen(position, likeliest(&point));
            canvas.hold(position, &point, 0.0);
        });
    }

    fn advance(&self, canvas: &mut Canvas, proposal: &Proposal, step: &Step, key: Key) {
        let times = (step.planned.from, step.planned.to);
        let churn = step.planned.churn.unwrap_or(1.0);
        each_open(canvas, proposal, step, key, |canvas, position, candidate, draws| {
            let Some(points) = canvas.points() else { return };
            let point = self.step(points.offset(position), candidate.token, times, churn, draws);
            canvas.hold(position, &point, 0.0);
            let _ = canvas.show_noise(position, likeliest(&point));
        });
    }
}

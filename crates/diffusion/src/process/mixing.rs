//! Uniform diffusion, and its mixture with masked diffusion.
//!
//! Uniform: a token is clean with probability α(t) and any token of text otherwise (UDLM, 2412.10193; Duo, 2506.10892).
//! Mixture (GIDD, 2503.04482, section 3.3, with γ = 1): with τ = 1 − α(t) of the schedule, `c = B √(τ(1−τ))`,
//! `B = 2p/(1−p)`, a token is clean with probability (1−τ)/(1+c), masked with τ/(1+c) and any token with c/(1+c), which
//! is p at τ = ½.
//!
//! A network that learns from the bound predicts without looking at the shown token (leave-one-out), one that learns
//! from cross-entropy is a posterior; [`Marginal::evidence`] is between the two. Each step back draws a clean token
//! from the posterior and then the bridge to it, which in law is the same as drawing from the bridge of the mean. With
//! churn κ the step is, with probability κ, fresh noise over the drawn token instead: predict and renoise at κ = 1
//! (Ψ-samplers, 2602.21185; DiffusionGemma, 2608.00146).
//!
//! Deviation: times within 10⁻⁶ of either end are moved there by so much, since rates are infinite at the ends.

use super::walk::{corrupt_each, each_committed, each_open, open_positions};
use super::{Level, Noise, Process};
use crate::objective::{Cost, Ratio, Vectors};
use crate::policy::Last;
use crate::{
    Alphabet, Bridge, Canvas, CommitPolicy, Corrupted, Draws, Key, Marginal, NoiseSchedule, Proposal, Step, Time,
    TokenId,
};
use std::sync::Arc;

/// Nearest distance of τ to 0 and 1.
const EDGE: f64 = 1e-6;

/// A process whose noise writes tokens of text.
#[derive(Debug, Clone)]
pub struct Mixing {
    alphabet: Alphabet,
    schedule: Arc<dyn NoiseSchedule>,
    /// B; `None` for pure text.
    amplitude: Option<f64>,
    share: f64,
    posterior: bool,
    masks: Vec<TokenId>,
}

impl Mixing {
    /// The share of random tokens, half way, that GIDD's best models were trained with.
    pub const SHARE: f64 = 0.2;

    /// Uniform diffusion.
    pub fn uniform(alphabet: Alphabet, schedule: Arc<dyn NoiseSchedule>) -> Self {
        Self { alphabet, schedule, amplitude: None, share: 1.0, posterior: false, masks: Vec::new() }
    }

    /// Masks and, half way, a share of random tokens, above 0 and below 1.
    pub fn hybrid(alphabet: Alphabet, share: f64, schedule: Arc<dyn NoiseSchedule>) -> Self {
        let amplitude = Some(2.0 * share / (1.0 - share));
        let masks = alphabet.mask.into_iter().collect();
        Self { alphabet, schedule, amplitude, share, posterior: false, masks }
    }

    /// The same, trained by cross-entropy.
    #[must_use]
    pub fn with_posterior(self) -> Self {
        Self { posterior: true, ..self }
    }

    /// The law of a token at a time.
    pub fn marginal(&self, t: Time) -> Marginal {
        let tau = 1.0 - self.schedule.alpha(t);
        let count = self.alphabet.text() as f64;
        let alphabet = self.alphabet;
        match self.amplitude {
            None => Marginal { alpha: 1.0 - tau, text: tau / count, masked: 0.0, alphabet },
            Some(amplitude) => {
                let c = amplitude * (tau * (1.0 - tau)).max(0.0).sqrt();
                let norm = 1.0 + c;
                Marginal { alpha: (1.0 - tau) / norm, text: c / (norm * count), masked: tau / norm, alphabet }
            }
        }
    }

    /// The rate `b′(z) − (α′/α) b(z)` at which noise writes a token, in 1 per unit of time.
    pub fn rate(&self, t: Time, token: TokenId) -> f64 {
        let tau = 1.0 - self.schedule.alpha(t);
        let count = self.alphabet.text() as f64;
        let per_tau = match self.amplitude {
            None if Some(token) == self.alphabet.mask => 0.0,
            None => 1.0 / (count * (1.0 - tau)),
            Some(amplitude) => {
                let root = (tau * (1.0 - tau)).max(0.0).sqrt();
                let norm = 1.0 + amplitude * root;
                if Some(token) == self.alphabet.mask {
                    1.0 / (norm * (1.0 - tau))
                } else {
                    amplitude / (2.0 * count * norm * root)
                }
            }
        };
        -self.schedule.alpha_derivative(t) * per_tau
    }

    /// The time, away from the ends.
    fn inside(&self, t: Time) -> Time {
        let alpha = self.schedule.alpha(t);
        if (EDGE..=1.0 - EDGE).contains(&alpha) {
            t
        } else {
            self.schedule.time_at_alpha(alpha.clamp(EDGE, 1.0 - EDGE))
        }
    }

    /// The canvas at a time, where `show` draws what the position of a clean token shows, with its cost in the bound.
    pub(super) fn corrupted_as(
        &self,
        clean: &[TokenId],
        open: &[bool],
        t: Time,
        draws: &mut Draws,
        mut show: impl FnMut(usize, TokenId, &mut Draws) -> TokenId,
    ) -> Corrupted {
        let t = self.inside(t);
        let marginal = self.marginal(t);
        let positions = open_positions(clean.len(), open);
        let (tokens, terms) = corrupt_each(clean, positions, |position, target| {
            let shown = show(position, target, draws);
            let cost = Cost::Ratio(Ratio { shown, marginal, posterior: self.posterior });
            (shown, self.rate(t, shown), cost)
        });
        Corrupted { tokens, points: None, terms, noise: 1.0 - self.schedule.alpha(t), constant: 0.0 }
    }
}

impl Process for Mixing {
    fn name(&self) -> String {
        match (self.amplitude, self.posterior) {
            (Some(_), _) => format!("hybrid:{}", self.share),
            (None, false) => "uniform".to_owned(),
            (None, true) => "uniform-posterior".to_owned(),
        }
    }

    fn schedule(&self) -> &dyn NoiseSchedule {
        self.schedule.as_ref()
    }

    fn noise_tokens(&self) -> &[TokenId] {
        &self.masks
    }

    fn first_token(&self) -> Option<TokenId> {
        None
    }

    fn point_size(&self) -> Option<usize> {
        None
    }

    fn reads_points(&self) -> bool {
        false
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

    fn is_bounded(&self) -> bool {
        true
    }

    fn has_fixed_count(&self) -> bool {
        false
    }

    fn learns_bound(&self) -> bool {
        !self.posterior
    }

    fn corrupt(&self, clean: &[TokenId], open: &[bool], t: Time, draws: &mut Draws) -> Corrupted {
        let mut noisy = self.corrupt_for_bound(clean, open, t, draws);
        if self.posterior {
            noisy.terms.iter_mut().for_each(|term| (term.weight, term.cost) = (1.0, Cost::CrossEntropy));
        }
        noisy
    }

    fn corrupt_for_bound(&self, clean: &[TokenId], open: &[bool], t: Time, draws: &mut Draws) -> Corrupted {
        let marginal = self.marginal(self.inside(t));
        self.corrupted_as(clean, open, t, draws, |_, target, draws| marginal.draw(target, draws))
    }

    fn corrupt_count(&self, _: &[TokenId], _: &[bool], _: usize, _: &mut Draws) -> Option<Corrupted> {
        None
    }

    fn network_time(&self, t: Time, _: usize, _: usize) -> f64 {
        1.0 - self.schedule.alpha(t)
    }

    fn evidence(&self, shown: TokenId, t: Time) -> Option<f32> {
        if self.posterior {
            return None;
        }
        let evidence = self.marginal(self.inside(t)).evidence(shown);
        evidence.is_finite().then(|| evidence.ln() as f32)
    }

    fn shown_evidence(&self, shown: TokenId, t: Time) -> f32 {
        if self.posterior { self.marginal(self.inside(t)).evidence(shown).ln() as f32 } else { 0.0 }
    }

    fn mass(&self, _: f64) -> f64 {
        1.0
    }

    fn noise(&self, draws: &mut Draws) -> Noise {
        // What token is noised out of existence does not matter.
        let token = self.marginal(Time::NOISE).draw(0, draws);
        Noise { token, point: None, prior_logit_scale: 0.0 }
    }

    fn renoise(&self, canvas: &mut Canvas, positions: &[usize], step: &Step, key: Key, _: Vectors<'_>) {
        let marginal = self.marginal(step.planned.to);
        each_committed(canvas, positions, step, key, |canvas, position, draws| {
            let shown = marginal.draw(canvas.tokens()[position], draws);
            let _ = canvas.reopen(position, shown);
        });
    }

    fn advance(&self, canvas: &mut Canvas, proposal: &Proposal, step: &Step, key: Key) {
        let earlier = self.marginal(step.planned.to);
        let bridge = Bridge::new(self.marginal(step.planned.from), earlier);
        let churn = step.planned.churn.unwrap_or(0.0);
        each_open(canvas, proposal, step, key, |canvas, position, candidate, draws| {
            let shown = canvas.tokens()[position];
            let token = if draws.uniform() < churn {
                earlier.draw(candidate.token, draws)
            } else {
                bridge.draw(shown, candidate.token, draws)
            };
            let _ = canvas.show_noise(position, token);
        });
    }
}

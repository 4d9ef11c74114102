//! The masked process of a network that predicts ratios (SEDD, 2310.16834): how much likelier a canvas would be with a
//! token in the place of a mask. For clean tokens v the ratio is `p(v) e^−σ / (1 − e^−σ)`, with p the prediction of the
//! clean token and σ the total noise (RADD, 2406.03736, theorem 1); SEDD's logits are `l(v) = log p(v) + log(V − 1)`.
//!
//! Nothing makes these p sum to 1. Their sum, the **mass** `M = Σ e^l(v) / (V − 1)`, counts in a step: a mask becomes clean
//! with M times the probability of the masked process (the paper's equations 13, τ-leaping, and 15, Tweedie, which are
//! one under a log-linear schedule). A token is drawn from `p / M`, so that all else of the masked process holds.
//!
//! Deviation: cost and bound are those of `p / M`. The paper's denoising score entropy of a masked position is the same
//! and `M − 1 − log M`, which is never below 0 and 0 where M is 1: what is measured here is at most what the paper measures.

use super::{Level, Masked, Noise, Process};
use crate::objective::Vectors;
use crate::policy::Ancestral;
use crate::{Canvas, CommitPolicy, Corrupted, Draws, Key, NoiseSchedule, Proposal, Step, Time, TokenId};
use std::sync::Arc;

/// The masked process under a network of ratios.
#[derive(Debug, Clone)]
pub struct ScoreEntropy {
    masked: Masked,
    /// `log(V − 1)`, the tokens that a mask can become.
    log_tokens: f64,
}

impl ScoreEntropy {
    /// The process that hides tokens of a vocabulary of `size`, the mask among them.
    pub fn new(mask: TokenId, size: usize, schedule: Arc<dyn NoiseSchedule>) -> Self {
        let log_tokens = (size.saturating_sub(1).max(1) as f64).ln();
        Self { masked: Masked::new(mask, schedule), log_tokens }
    }
}

impl Process for ScoreEntropy {
    fn name(&self) -> String {
        "score-entropy".to_owned()
    }

    fn schedule(&self) -> &dyn NoiseSchedule {
        self.masked.schedule()
    }

    fn noise_tokens(&self) -> &[TokenId] {
        self.masked.noise_tokens()
    }

    fn first_token(&self) -> Option<TokenId> {
        self.masked.first_token()
    }

    fn point_size(&self) -> Option<usize> {
        self.masked.point_size()
    }

    fn reads_points(&self) -> bool {
        self.masked.reads_points()
    }

    fn vector_size(&self) -> Option<usize> {
        self.masked.vector_size()
    }

    fn level(&self, t: Time) -> Option<Level> {
        self.masked.level(t)
    }

    fn revises(&self) -> bool {
        self.masked.revises()
    }

    fn policy(&self) -> Arc<dyn CommitPolicy> {
        Arc::new(Ancestral)
    }

    fn is_bounded(&self) -> bool {
        self.masked.is_bounded()
    }

    fn learns_bound(&self) -> bool {
        self.masked.learns_bound()
    }

    /// The network reads the time of the clock, which a count does not have.
    fn has_fixed_count(&self) -> bool {
        false
    }

    fn corrupt(&self, clean: &[TokenId], open: &[bool], t: Time, draws: &mut Draws) -> Corrupted {
        self.masked.corrupt(clean, open, t, draws)
    }

    fn corrupt_for_bound(&self, clean: &[TokenId], open: &[bool], t: Time, draws: &mut Draws) -> Corrupted {
        self.masked.corrupt_for_bound(clean, open, t, draws)
    }

    fn corrupt_count(&self, _: &[TokenId], _: &[bool], _: usize, _: &mut Draws) -> Option<Corrupted> {
        None
    }

    fn network_time(&self, t: Time, _: usize, _: usize) -> f64 {
        1.0 - self.masked.schedule().alpha(t)
    }

    fn evidence(&self, shown: TokenId, t: Time) -> Option<f32> {
        self.masked.evidence(shown, t)
    }

    fn shown_evidence(&self, shown: TokenId, t: Time) -> f32 {
        self.masked.shown_evidence(shown, t)
    }

    fn mass(&self, log_sum_exp: f64) -> f64 {
        (log_sum_exp - self.log_tokens).exp()
    }

    fn noise(&self, draws: &mut Draws) -> Noise {
        self.masked.noise(draws)
    }

    fn renoise(&self, canvas: &mut Canvas, positions: &[usize], step: &Step, key: Key, vectors: Vectors<'_>) {
        self.masked.renoise(canvas, positions, step, key, vectors);
    }

    fn advance(&self, canvas: &mut Canvas, proposal: &Proposal, step: &Step, key: Key) {
        self.masked.advance(canvas, proposal, step, key);
    }
}

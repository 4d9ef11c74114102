//! The masked (absorbing) process: a token is clean with probability α(t) and the mask otherwise, each position for
//! itself (MDLM, 2406.07524; MD4, 2406.04329; LLaDA, 2502.09992).
//!
//! An open position shows the mask until it is committed, and a committed token stays as it is ("carry-over"); both
//! follow from the exact posterior, equation 6 of 2406.07524. Deviations: none.

use super::walk::{corrupt_each, each_committed, open_positions};
use super::{Level, Noise, Process};
use crate::objective::{Cost, Vectors, fixed_count_weight};
use crate::policy::Confidence;
use crate::remasking::staying;
use crate::{Canvas, CommitPolicy, Corrupted, Draws, Key, NoiseSchedule, Proposal, Step, Time, TokenId};
use std::sync::Arc;

/// The masked process with its mask token.
#[derive(Debug, Clone)]
pub struct Masked {
    mask: [TokenId; 1],
    schedule: Arc<dyn NoiseSchedule>,
}

impl Masked {
    /// The process that hides tokens behind `mask`.
    pub fn new(mask: TokenId, schedule: Arc<dyn NoiseSchedule>) -> Self {
        Self { mask: [mask], schedule }
    }

    /// The mask token.
    pub fn mask(&self) -> TokenId {
        self.mask[0]
    }

    /// The exact law of a position at time `to`, given what it shows at the later time `from` and the prediction about
    /// the clean token: `prediction` and the result are indexed by token and cover the whole vocabulary, mask included.
    ///
    /// A masked position stays masked with probability `(1 − α_to)/(1 − α_from)` and follows the prediction otherwise;
    /// any other token stays for certain (2406.07524, equations 6 and 7).
    pub fn posterior(&self, current: TokenId, prediction: &[f64], from: Time, to: Time) -> Vec<f64> {
        let point = |law: &mut Vec<f64>, token: TokenId, mass: f64| {
            if let Some(p) = law.get_mut(token as usize) {
                *p += mass;
            }
        };
        let mut law = vec![0.0; prediction.len()];
        if current != self.mask() {
            point(&mut law, current, 1.0);
            return law;
        }
        let stays = staying(self.schedule.alpha(from), self.schedule.alpha(to), 0.0);
        law.iter_mut().zip(prediction).for_each(|(p, b)| *p = (1.0 - stays) * b);
        point(&mut law, self.mask(), stays);
        law
    }

    /// Hides the positions that `hidden` chooses; each weighs `weight`.
    fn hide(&self, clean: &[TokenId], hidden: impl IntoIterator<Item = usize>, noise: f64, weight: f64) -> Corrupted {
        let (tokens, terms) = corrupt_each(clean, hidden, |_, _| (self.mask(), weight, Cost::CrossEntropy));
        Corrupted { tokens, points: None, terms, noise, constant: 0.0 }
    }
}

impl Process for Masked {
    fn name(&self) -> String {
        "masked".to_owned()
    }

    fn schedule(&self) -> &dyn NoiseSchedule {
        self.schedule.as_ref()
    }

    fn noise_tokens(&self) -> &[TokenId] {
        &self.mask
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
        false
    }

    fn policy(&self) -> Arc<dyn CommitPolicy> {
        Arc::new(Confidence)
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn learns_bound(&self) -> bool {
        true
    }

    fn has_fixed_count(&self) -> bool {
        true
    }

    fn corrupt(&self, clean: &[TokenId], open: &[bool], t: Time, draws: &mut Draws) -> Corrupted {
        let noise = 1.0 - self.schedule.alpha(t);
        let hidden = open_positions(clean.len(), open).filter(|_| draws.uniform() < noise);
        self.hide(clean, hidden, noise, self.schedule.weight(t))
    }

    fn corrupt_for_bound(&self, clean: &[TokenId], open: &[bool], t: Time, draws: &mut Draws) -> Corrupted {
        self.corrupt(clean, open, t, draws)
    }

    fn corrupt_count(&self, clean: &[TokenId], open: &[bool], count: usize, draws: &mut Draws) -> Option<Corrupted> {
        let open: Vec<usize> = open_positions(clean.len(), open).collect();
        let hidden: Vec<usize> = draws.choose(open.len(), count).into_iter().map(|index| open[index]).collect();
        let (noise, weight) = match hidden.len() {
            0 => (0.0, 0.0),
            count => (count as f64 / open.len() as f64, fixed_count_weight(open.len(), count)),
        };
        Some(self.hide(clean, hidden, noise, weight))
    }

    fn network_time(&self, t: Time, noisy: usize, length: usize) -> f64 {
        // The share of masks that there is, however much of the canvas is given: that is what training counts.
        if length == 0 { 1.0 - self.schedule.alpha(t) } else { noisy as f64 / length as f64 }
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

    fn noise(&self, _: &mut Draws) -> Noise {
        Noise { token: self.mask(), point: None, prior_logit_scale: 0.0 }
    }

    fn renoise(&self, canvas: &mut Canvas, positions: &[usize], step: &Step, key: Key, _: Vectors<'_>) {
        each_committed(canvas, positions, step, key, |canvas, position, _| {
            let _ = canvas.reopen(position, self.mask());
        });
    }

    fn advance(&self, _: &mut Canvas, _: &Proposal, _: &Step, _: Key) {
        // A mask that is not committed is still a mask.
    }
}

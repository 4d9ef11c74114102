//! From left to right: how a causal network fills a canvas, one position after another, each predicted from those before
//! it. It is the process that hides tokens in a fixed order, the last one first (ARDM, 2110.02037, section 3, with one
//! order instead of all).
//!
//! At a time that hides the last `n` of `L` open positions only the first hidden one is predicted, and costs
//! `L · −log p`: in expectation over `n` uniform on 1 to `L` this is `−log p(x)` itself. Deviations: none.

use super::walk::{each_committed, open_positions};
use super::{Level, Noise, Process};
use crate::objective::{Cost, Vectors, count_at};
use crate::policy::Confidence;
use crate::{
    Canvas, CommitPolicy, Corrupted, Draws, Key, Linear, LossTerm, NoiseSchedule, Proposal, Step, Time, TokenId,
};
use std::sync::Arc;

/// Writing from left to right, after a token that begins a text.
#[derive(Debug, Clone)]
pub struct LeftToRight {
    begin: TokenId,
    schedule: Linear,
}

impl LeftToRight {
    /// Texts that begin behind `begin`, which the network reads before the first position.
    pub fn new(begin: TokenId) -> Self {
        Self { begin, schedule: Linear }
    }

    /// Hides the last `count` open positions.
    fn hide(&self, clean: &[TokenId], open: &[bool], count: usize) -> Corrupted {
        let open: Vec<usize> = open_positions(clean.len(), open).collect();
        let hidden = &open[open.len() - count.min(open.len())..];
        let mut tokens = clean.to_vec();
        hidden.iter().for_each(|position| tokens[*position] = self.begin);
        let term = |&position: &usize| LossTerm {
            position,
            target: clean[position],
            weight: open.len() as f64,
            cost: Cost::CrossEntropy,
        };
        let noise = hidden.len() as f64 / open.len().max(1) as f64;
        Corrupted { tokens, points: None, terms: hidden.first().map(term).into_iter().collect(), noise, constant: 0.0 }
    }
}

impl Process for LeftToRight {
    fn name(&self) -> String {
        "left-to-right".to_owned()
    }

    fn schedule(&self) -> &dyn NoiseSchedule {
        &self.schedule
    }

    /// None: the token that begins a text may be the one that ends it.
    fn noise_tokens(&self) -> &[TokenId] {
        &[]
    }

    fn first_token(&self) -> Option<TokenId> {
        Some(self.begin)
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

    /// Any would do, as one position at a time is open to it.
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
        self.corrupt_for_bound(clean, open, t, draws)
    }

    fn corrupt_for_bound(&self, clean: &[TokenId], open: &[bool], t: Time, _: &mut Draws) -> Corrupted {
        self.hide(clean, open, count_at(t, open_positions(clean.len(), open).count()))
    }

    fn corrupt_count(&self, clean: &[TokenId], open: &[bool], count: usize, _: &mut Draws) -> Option<Corrupted> {
        Some(self.hide(clean, open, count))
    }

    /// Causal networks learn at time 0: what they read is clean.
    fn network_time(&self, _: Time, _: usize, _: usize) -> f64 {
        0.0
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
        Noise { token: self.begin, point: None, prior_logit_scale: 0.0 }
    }

    fn renoise(&self, canvas: &mut Canvas, positions: &[usize], step: &Step, key: Key, _: Vectors<'_>) {
        each_committed(canvas, positions, step, key, |canvas, position, _| {
            let _ = canvas.reopen(position, self.begin);
        });
    }

    fn advance(&self, _: &mut Canvas, _: &Proposal, _: &Step, _: Key) {
        // What is not written yet is read by nobody.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expected_cost_is_that_of_each_token_given_those_before_it() {
        let process = LeftToRight::new(9);
        let (clean, open) = ([3, 4, 5, 6], [false, true, true, true]);
        let draws = &mut Key::new(0).at(0, 0);
        let mut weights = [0.0; 4];
        for count in 1..=3 {
            let noisy = process.corrupt_count(&clean, &open, count, draws).unwrap();
            let [term] = noisy.terms[..] else { panic!("{noisy:?}") };
            assert_eq!((term.position, term.target), (4 - count, clean[4 - count]));
            // All before it is there, and nothing behind it.
            assert_eq!(noisy.tokens[..term.position], clean[..term.position]);
            assert!(noisy.tokens[term.position..].iter().all(|token| *token == 9));
            weights[term.position] += term.weight / 3.0;
        }
        assert_eq!(weights, [0.0, 1.0, 1.0, 1.0]);
        assert_eq!(process.corrupt(&clean, &open, Time::NOISE, draws).noise, 1.0);
        assert!(process.corrupt_count(&clean, &[false; 4], 0, draws).unwrap().terms.is_empty());
    }
}

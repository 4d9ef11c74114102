//! What is drawn by a learnt order while it learns, how probable that was, and its derivatives.
//!
//! Each position is committed with the probability that its logit says, by itself. Where that commits fewer positions than a
//! step has to, the missing ones are drawn one after another, each with a probability in proportion to the exponential of its logit (Plackett and
//! Luce). Deviation from 2512.09106: there the most probable position is taken where none was drawn, which teaches
//! nothing about positions that are committed one by one.

use super::sigmoid;
use crate::Key;
use crate::random::Purpose;

/// A draw among positions, by their places among the logits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrderChoice {
    /// Which of them were drawn by themselves, ascending.
    drawn: Vec<usize>,
    /// Which were drawn after that, in the order of the draws.
    filled: Vec<usize>,
}

impl OrderChoice {
    /// Draws at least `least` positions, or all; what is drawn for a position depends on the key, the position, the step and
    /// the logits alone.
    pub(crate) fn draw(logits: &[f64], positions: &[usize], least: usize, (key, step): (Key, u64)) -> Self {
        let uniform =
            |purpose: Purpose, index: usize| key.fold(purpose as u64).at(positions[index] as u64, step).uniform();
        let is_drawn = |index: &usize| uniform(Purpose::Commit, *index) < sigmoid(logits[*index]);
        let drawn: Vec<usize> = (0..logits.len()).filter(is_drawn).collect();
        let missing = least.min(logits.len()).saturating_sub(drawn.len());
        if missing == 0 {
            return Self { drawn, filled: Vec::new() };
        }
        // The largest of logits with Gumbel noise are draws without replacement.
        let noisy = |index: usize| logits[index] - (-uniform(Purpose::Fill, index).ln()).ln();
        let others = (0..logits.len()).filter(|index| drawn.binary_search(index).is_err());
        let mut others: Vec<(f64, usize)> = others.map(|index| (noisy(index), index)).collect();
        others.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        Self { drawn, filled: others.into_iter().take(missing).map(|(_, index)| index).collect() }
    }

    /// What is committed, ascending.
    pub(crate) fn places(&self) -> Vec<usize> {
        let mut places = [self.drawn.as_slice(), &self.filled].concat();
        places.sort_unstable();
        places
    }

    /// The logarithm of its probability under these logits, in nats.
    pub fn log_probability(&self, logits: &[f64]) -> f64 {
        let is_drawn = |index: usize| self.drawn.binary_search(&index).is_ok();
        // ln σ(±x) without the loss of what is nearly certain.
        let by_itself = |(index, logit): (usize, &f64)| {
            let logit = if is_drawn(index) { *logit } else { -*logit };
            logit.min(0.0) - (-logit.abs()).exp().ln_1p()
        };
        let alone: f64 = logits.iter().enumerate().map(by_itself).sum();
        let mut after = 0.0;
        self.each_fill(logits, |filled, shares, largest, sum| {
            debug_assert!(shares.iter().any(|(index, _)| *index == filled));
            after += logits[filled] - largest - sum.ln();
        });
        alone + after
    }

    /// The derivatives of that with respect to the logits.
    pub fn slopes(&self, logits: &[f64]) -> Vec<f64> {
        let mut slopes: Vec<f64> = logits.iter().map(|logit| -sigmoid(*logit)).collect();
        self.drawn.iter().for_each(|index| slopes[*index] += 1.0);
        self.each_fill(logits, |filled, shares, _, sum| {
            slopes[filled] += 1.0;
            shares.iter().for_each(|(index, share)| slopes[*index] -= share / sum);
        });
        slopes
    }

    /// Calls `work` for each position that was drawn after the others, with the exponentials of the logits that it was drawn
    /// among, without the largest logit, which is given, and with their sum.
    fn each_fill(&self, logits: &[f64], mut work: impl FnMut(usize, &[(usize, f64)], f64, f64)) {
        let mut others: Vec<usize> =
            (0..logits.len()).filter(|index| self.drawn.binary_search(index).is_err()).collect();
        for &filled in &self.filled {
            let largest = others.iter().map(|index| logits[*index]).fold(f64::NEG_INFINITY, f64::max);
            let shares: Vec<(usize, f64)> =
                others.iter().map(|index| (*index, (logits[*index] - largest).exp())).collect();
            let sum = shares.iter().map(|(_, share)| share).sum();
            work(filled, &shares, largest, sum);
            others.retain(|index| *index != filled);
        }
    }
}

//! A prediction as a joint draw reads it: the shaped probability of each token, and of sets of tokens.

use super::TokenSet;
use crate::TokenId;
use crate::random::categorical;

/// Sums of weights below this may have lost digits to underflow.
const TINY: f64 = 1e-250;
/// How much worse than a token outside top-k or top-p is one of probability 0. No span has so many positions.
const IMPOSSIBLE: u32 = 1 << 20;

/// The probability of a set of assignments, of which only those count that leave the cut of top-k and top-p at the
/// fewest positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mass {
    /// At how many positions the cut is left.
    pub(super) outside: u32,
    /// The logarithm of the probability.
    pub(super) log: f64,
}

impl Mass {
    pub(super) const ONE: Self = Self { outside: 0, log: 0.0 };

    /// The mass of two independent choices.
    pub(super) fn times(self, other: Self) -> Self {
        Self { outside: self.outside.saturating_add(other.outside), log: self.log + other.log }
    }

    /// The mass of either: of the likelier one where the draw is greedy.
    pub(super) fn plus(self, other: Self, greedy: bool) -> Self {
        if self.outside != other.outside {
            return if self.outside < other.outside { self } else { other };
        }
        let (high, low) = if self.log >= other.log { (self.log, other.log) } else { (other.log, self.log) };
        let log = if greedy { high } else { high + (low - high).exp().ln_1p() };
        Self { outside: self.outside, log }
    }
}

/// The prediction for one position, shaped: penalties, then temperature, then top-k and top-p.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictedRow {
    /// Logits before the temperature, −∞ for tokens of probability 0.
    logits: Vec<f64>,
    /// Their weights beside the likeliest token, 0 where no f64 holds them; none at temperature 0.
    weights: Vec<f64>,
    /// The weights of the tokens that top-k and top-p keep, 0 for others; `None` where they keep all.
    retained: Option<Vec<f64>>,
    temperature: f64,
    top: f64,
    /// The logarithm of the sum of the weights that are kept.
    log_total: f64,
    uniform: f64,
}

impl PredictedRow {
    /// The prediction of logits that are numbers or −∞, after penalties and before the temperature. `kept` are the tokens
    /// that top-k and top-p keep, `None` where they keep all; tokens beside them are drawn only where the language leaves
    /// none of them. At temperature 0 the likeliest assignment is taken, and they do not matter. `uniform`, in (0, 1),
    /// decides. `None` where no logit is finite.
    pub fn new(logits: Vec<f64>, retained: Option<&[TokenId]>, temperature: f64, uniform: f64) -> Option<Self> {
        let top = logits.iter().copied().filter(|logit| logit.is_finite()).fold(f64::NEG_INFINITY, f64::max);
        if !top.is_finite() {
            return None;
        }
        let divisor = if temperature == 0.0 { 1.0 } else { temperature };
        let weights: Vec<f64> = logits.iter().map(|logit| ((logit - top) / divisor).exp()).collect();
        let retained = retained.filter(|_| temperature > 0.0).map(|tokens| {
            let mut retained = vec![0.0; weights.len()];
            tokens.iter().for_each(|&token| retained[token as usize] = weights[token as usize]);
            retained
        });
        let total: f64 = retained.as_ref().unwrap_or(&weights).iter().sum();
        let log_total = total.ln();
        let weights = if temperature == 0.0 { Vec::new() } else { weights };
        Some(Self { logits, weights, retained, temperature, top, log_total, uniform })
    }

    /// The token of a set that is drawn, or the likeliest one at temperature 0. Tokens outside the cut are drawn only where
    /// the set has none within it.
    pub fn draw(&self, set: &TokenSet) -> TokenId {
        self.pick(set, self.uniform)
    }

    pub(super) fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }

    pub(super) fn uniform(&self) -> f64 {
        self.uniform
    }

    /// The logarithm of a token's shaped probability.
    fn log(&self, token: TokenId) -> f64 {
        let divisor = if self.is_greedy() { 1.0 } else { self.temperature };
        self.logits.get(token as usize).map_or(f64::NEG_INFINITY, |logit| (logit - self.top) / divisor - self.log_total)
    }

    pub(super) fn token(&self, token: TokenId) -> Mass {
        let log = self.log(token);
        if log == f64::NEG_INFINITY {
            return Mass { outside: IMPOSSIBLE, log: 0.0 };
        }
        let is_retained = self.retained.as_ref().is_none_or(|retained| retained[token as usize] > 0.0);
        Mass { outside: u32::from(!is_retained), log }
    }

    /// The mass of some tokens, of which there is at least one.
    pub(super) fn set(&self, set: &TokenSet) -> Mass {
        if self.is_greedy() {
            return self.token(self.likeliest(set));
        }
        let sum = |weights: &[f64]| {
            let mut sum = 0.0;
            set.for_each(|token| sum += weights.get(token as usize).copied().unwrap_or(0.0));
            sum
        };
        if let Some(retained) = &self.retained {
            let sum = sum(retained);
            if sum > 0.0 {
                return Mass { outside: 0, log: sum.ln() - self.log_total };
            }
        }
        let sum = sum(&self.weights);
        if sum > TINY {
            return Mass { outside: u32::from(self.retained.is_some()), log: sum.ln() - self.log_total };
        }
        let best = self.token(self.likeliest(set));
        let mut beside = 0.0;
        set.for_each(|token| beside += (self.log(token) - best.log).exp());
        if best.outside == IMPOSSIBLE { best } else { Mass { log: best.log + beside.ln(), ..best } }
    }

    /// The likeliest token of a set, the first one of several; the first one where none is possible.
    pub(super) fn likeliest(&self, set: &TokenSet) -> TokenId {
        let mut best: Option<(TokenId, f64)> = None;
        set.for_each(|token| {
            let logit = self.logits.get(token as usize).copied().unwrap_or(f64::NEG_INFINITY);
            if best.is_none_or(|(_, highest)| logit > highest) {
                best = Some((token, logit));
            }
        });
        best.map_or(0, |(token, _)| token)
    }

    /// The token of a set at which the running sum of its weights passes a share of the whole.
    pub(super) fn pick(&self, set: &TokenSet, share: f64) -> TokenId {
        let likeliest = self.likeliest(set);
        if self.is_greedy() {
            return likeliest;
        }
        let mut tokens = Vec::new();
        set.for_each(|token| tokens.push(token));
        let best = self.log(likeliest);
        let retained =
            |token: &TokenId| self.retained.as_ref().and_then(|retained| retained.get(*token as usize)).copied();
        let mut weights: Vec<f64> = tokens.iter().map(|token| retained(token).unwrap_or(0.0)).collect();
        // As in `set`: what the cut keeps if it keeps any of them.
        if weights.iter().all(|weight| *weight == 0.0) {
            weights = tokens.iter().map(|token| (self.log(*token) - best).exp()).collect();
        }
        categorical(&weights, share).map_or(likeliest, |index| tokens[index])
    }
}

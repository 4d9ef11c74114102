//! Draws by numbers of key and position (Gumbel-max: Aaronson, "Watermarking of large language models", 2022; seeded by
//! positions for diffusion in 2511.02083).
//!
//! A token of probability p is drawn where −ln(u)/p is the least of all, with a secret number u for each token at each
//! position. Over random keys the draw has the law of the prediction. The number of the token that was drawn leans to 1, so
//! −ln(1 − u), an exponential variable without a mark, is larger; the sum over n different numbers is a gamma variable of
//! shape n, exactly.
//!
//! Positions are counted over the canvas from an offset that the request's seed chooses. Seeds that follow on walk through
//! all offsets, by a start and a step of the secret, so that one key writes as many texts behind one prompt as its period has
//! positions before a seed repeats an earlier one. Detection tries all offsets and pays for it. Deviation: the numbers
//! of a position are the same at each step, as detection does not know the step. So a marked text has the law of an unmarked
//! one where each position is drawn for good at one step: by masked models and from left to right, without remasking and
//! without editing. Under a policy that chooses by the drawn token (`confidence`, `threshold` …) a token that is not chosen
//! stays, where without a mark it is drawn anew.

use crate::secret::{Secret, Use};
use crate::tail::gamma_tail;
use crate::windows::{self, Evidence};
use crate::{Detection, Scheme};
use aquatint_diffusion::TokenId;
use aquatint_generate::{Mark, MarkedDraws, Watermark};
use std::collections::HashSet;
use std::ops::Range;

/// Position-seeded draws.
#[derive(Debug, Clone)]
pub struct Gumbel {
    secret: Secret,
    period: u32,
    /// The offset of seed 0.
    start: u64,
    /// By how much the offset of a seed lies behind that of the seed before; it has no factor in common with the period.
    step: u64,
}

impl Gumbel {
    pub(crate) const NAME: &'static str = "gumbel";

    pub(crate) fn new(secret: Secret, period: u32) -> Self {
        let below = |word: u64| secret.bits(Use::Offset, [word, 0]) % u64::from(period);
        let mut step = below(1);
        while common_factor(step, u64::from(period)) != 1 {
            step += 1;
        }
        Self { secret, period, start: below(0), step }
    }

    /// From where the positions of a request are counted.
    fn offset(&self, seed: u64) -> u64 {
        let period = u64::from(self.period);
        (self.start + seed % period * self.step) % period
    }

    /// The number of a token at a position of the period.
    fn number(&self, place: u64, token: TokenId) -> f64 {
        self.secret.uniform(Use::Draw, [place, u64::from(token)])
    }

    /// What a token at a position of the period says: −ln(1 − u).
    fn score(&self, place: u64, token: TokenId) -> f64 {
        -(-self.number(place, token)).ln_1p()
    }

    /// Which tokens are evidence. A period later the numbers come again: the same token has the same one then, whatever the
    /// offset.
    fn is_new(&self, tokens: &[TokenId]) -> Vec<bool> {
        let mut known = HashSet::new();
        let is_new = |(index, token): (usize, &TokenId)| known.insert((index as u64 % u64::from(self.period), *token));
        tokens.iter().enumerate().map(is_new).collect()
    }
}

impl Watermark for Gumbel {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn mark(&self) -> Mark<'_> {
        Mark::Draws(self)
    }
}

impl MarkedDraws for Gumbel {
    fn numbers(&self, seed: u64, position: usize) -> Box<dyn Fn(TokenId) -> f64 + '_> {
        let place = (self.offset(seed) + position as u64) % u64::from(self.period);
        Box::new(move |token| self.number(place, token))
    }
}

impl Scheme for Gumbel {
    fn detect(&self, tokens: &[TokenId]) -> Detection {
        let period = u64::from(self.period);
        let is_new = self.is_new(tokens);
        windows::detect(Self::NAME, tokens.len(), |windows| {
            // The largest sum of each stretch has its least p-value. One offset after the other, so that a long text takes
            // no more memory than one row of sums: before each token, and behind the last.
            let mut largest = vec![0.0f64; windows.len()];
            let mut sums = vec![0.0; tokens.len() + 1];
            for offset in 0..period {
                for (index, (token, is_new)) in tokens.iter().zip(&is_new).enumerate() {
                    let score = if *is_new { self.score((offset + index as u64) % period, *token) } else { 0.0 };
                    sums[index + 1] = sums[index] + score;
                }
                for (largest, window) in largest.iter_mut().zip(windows) {
                    *largest = largest.max(sums[window.end] - sums[window.start]);
                }
            }
            let evidence = |(window, largest): (&Range<usize>, f64)| {
                let counted = is_new[window.clone()].iter().filter(|is_new| **is_new).count();
                Evidence { counted, p_value: (gamma_tail(counted, largest) * f64::from(self.period)).min(1.0) }
            };
            windows.iter().zip(largest).map(evidence).collect()
        })
    }
}

/// The greatest common divisor.
fn common_factor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_diffusion::Key;

    fn gumbel(number: u8, period: u32) -> Gumbel {
        Gumbel::new(Secret([number; 16]), period)
    }

    fn text(length: usize, kinds: u64) -> Vec<TokenId> {
        let mut draws = Key::new(5).at(0, 0);
        (0..length).map(|_| draws.below(kinds) as TokenId).collect()
    }

    #[test]
    fn as_many_seeds_as_the_period_has_positions_have_different_offsets() {
        for period in [1, 2, 3, 12, 64, 97, 1000, 1024, 1 << 16] {
            for (key, first) in [(1, 0), (2, 7), (3, u64::MAX - u64::from(period))] {
                let gumbel = gumbel(key, period);
                let offsets: HashSet<u64> =
                    (first..first + u64::from(period)).map(|seed| gumbel.offset(seed)).collect();
                assert_eq!(offsets.len(), period as usize);
                assert!(offsets.iter().all(|offset| *offset < u64::from(period)));
            }
        }
    }

    #[test]
    fn each_key_has_a_start_and_a_step_of_its_own() {
        let walks: HashSet<[u64; 2]> = (0..50).map(|key| [0, 1].map(|seed| gumbel(key, 1024).offset(seed))).collect();
        assert!(walks.len() > 45, "{walks:?}");
    }

    /// Every stretch at every offset by itself, from the scores of its own tokens.
    fn direct(gumbel: &Gumbel, tokens: &[TokenId]) -> f64 {
        let period = gumbel.period as usize;
        let windows = windows::windows(tokens.len());
        let is_new = |index: &usize| {
            !(0..*index).any(|before| (index - before).is_multiple_of(period) && tokens[before] == tokens[*index])
        };
        let p_value = |window: &Range<usize>| {
            let counted: Vec<usize> = window.clone().filter(is_new).collect();
            let sum = |offset: usize| -> f64 {
                counted.iter().map(|index| gumbel.score(((offset + index) % period) as u64, tokens[*index])).sum()
            };
            let tails = (0..period).map(|offset| gamma_tail(counted.len(), sum(offset)));
            (tails.fold(1.0, f64::min) * period as f64).min(1.0)
        };
        let others = 2.0 * (windows.len() - 1) as f64;
        let rest = windows[1..].iter().map(|window| p_value(window) * others);
        rest.fold(p_value(&windows[0]) * if others > 0.0 { 2.0 } else { 1.0 }, f64::min).min(1.0)
    }

    #[test]
    fn p_values_are_those_of_every_stretch_at_every_offset() {
        for (period, length, kinds) in [(1, 30, 50), (7, 90, 3), (16, 120, 40), (64, 60, 9), (200, 110, 300)] {
            let (gumbel, mut tokens) = (gumbel(9, period), text(length, kinds));
            // A stretch with the mark, so that a p-value is small.
            for (index, token) in tokens.iter_mut().enumerate().skip(length / 2) {
                let place = (index as u64 + 3) % u64::from(period);
                let best =
                    (0..kinds as TokenId).max_by(|a, b| gumbel.number(place, *a).total_cmp(&gumbel.number(place, *b)));
                *token = best.unwrap_or_default();
            }
            let (found, expected) = (gumbel.detect(&tokens).p_value, direct(&gumbel, &tokens));
            assert!((found / expected - 1.0).abs() < 1e-9, "period {period}: {found} is not {expected}");
        }
    }

    #[test]
    fn a_long_text_is_examined_and_its_marked_stretch_found() {
        let (gumbel, mut tokens) = (gumbel(4, 64), text(50_000, 1000));
        assert!(gumbel.detect(&tokens).p_value > 1e-3);
        for (index, token) in tokens.iter_mut().enumerate().skip(20_000).take(400) {
            let number = |token: &TokenId| gumbel.number(index as u64 % 64, *token);
            *token = (0..20 * (1 + index as TokenId % 50))
                .max_by(|a, b| number(a).total_cmp(&number(b)))
                .unwrap_or_default();
        }
        let found = gumbel.detect(&tokens);
        assert!(found.p_value < 1e-10 && found.tokens == 50_000, "{found:?}");
        assert!(found.within.start > 19_000 && found.within.end < 22_000, "{found:?}");
    }
}

//! Draws by numbers of key and position (Gumbel-max: Aaronson, "Watermarking of large language models", 2022; seeded by
//! positions for diffusion in 2511.02083).
//!
//! A token of probability p is drawn where −ln(u)/p is the least of all, with a secret number u for each token at each
//! position. Over random keys the draw has the law of the prediction. The number of the token that was drawn leans to 1, so
//! −ln(1 − u), an exponential variable without a mark, is larger; the sum over n different numbers is a gamma variable of
//! shape n, exactly.
//!
//! Positions are counted over the canvas from an offset that the request's seed chooses, so that one key writes
//! as many texts behind one prompt as it has positions. Detection tries all offsets and pays for it. Deviation: the numbers
//! of a position are the same at each step, as detection does not know the step; under a policy that chooses by the drawn
//! token (`confidence`, `threshold` …) a token that is not chosen stays, where without a mark it is drawn anew.

use crate::secret::{Secret, Use};
use crate::tail::gamma_tail;
use crate::windows::{self, Evidence};
use crate::{Detection, Scheme};
use aquatint_diffusion::TokenId;
use aquatint_generate::{Mark, MarkedDraws, Watermark};
use std::ops::Range;

/// Position-seeded draws.
#[derive(Debug, Clone)]
pub struct Gumbel {
    secret: Secret,
    period: u32,
}

impl Gumbel {
    pub(crate) const NAME: &'static str = "gumbel";

    pub(crate) fn new(secret: Secret, period: u32) -> Self {
        Self { secret, period }
    }

    /// From where the positions of a request are counted.
    fn offset(&self, seed: u64) -> u64 {
        self.secret.bits(Use::Offset, [seed, 0]) % u64::from(self.period)
    }

    /// The number of a token at a position of the period.
    fn number(&self, place: u64, token: TokenId) -> f64 {
        self.secret.uniform(Use::Draw, [place, u64::from(token)])
    }

    /// −ln(1 − u) of each token of a text, at each offset: `scores[offset][token]`; 0 where the number is one of a token
    /// before it.
    fn scores(&self, tokens: &[TokenId], is_new: &[bool]) -> Vec<Vec<f64>> {
        let period = u64::from(self.period);
        let mut scores = vec![vec![0.0; tokens.len()]; self.period as usize];
        for (index, token) in tokens.iter().enumerate().filter(|(index, _)| is_new[*index]) {
            for place in 0..period {
                let offset = (place + period - index as u64 % period) % period;
                scores[offset as usize][index] = -(-self.number(place, *token)).ln_1p();
            }
        }
        scores
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
        // A period later the numbers come again: the same token has the same one then, whatever the offset.
        let before = |index: usize| (0..index).rev().skip(self.period as usize - 1).step_by(self.period as usize);
        let is_new: Vec<bool> =
            (0..tokens.len()).map(|index| before(index).all(|other| tokens[other] != tokens[index])).collect();
        let sums: Vec<Vec<f64>> = self.scores(tokens, &is_new).iter().map(|scores| running(scores)).collect();
        let counts = running(&is_new.iter().map(|is_new| f64::from(*is_new)).collect::<Vec<_>>());
        windows::detect(Self::NAME, tokens.len(), |Range { start, end }| {
            let counted = (counts[end] - counts[start]) as usize;
            // The largest sum has the least p-value.
            let most = sums.iter().map(|sums| sums[end] - sums[start]).fold(0.0, f64::max);
            Evidence { counted, p_value: (gamma_tail(counted, most) * f64::from(self.period)).min(1.0) }
        })
    }
}

/// The sum of all numbers before each place, and of all.
fn running(numbers: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0];
    let mut sum = 0.0;
    sums.extend(numbers.iter().map(|number| {
        sum += number;
        sum
    }));
    sums
}

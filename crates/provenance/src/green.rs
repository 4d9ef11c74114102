//! The green list in expectation (Gloaguen et al., "Watermarking diffusion language models", 2509.24368).
//!
//! A token is favoured where it is green behind its left neighbour, and where it makes its right neighbour green. A
//! neighbour that is not known yet counts by its prediction, in expectation: for candidate v at position i,
//!
//! a(v) = E[green(x_{i−1}, v)] + E[green(v, x_{i+1})] − 2γ, and its logit gains δ a(v).
//!
//! Deviations: one pass over the predictions in place of a fixed point; the expectation is over the likeliest tokens of a
//! neighbour, and what is favoured are the likeliest tokens of the position itself, as the others are never drawn in
//! practice.

use crate::pairs::Pairs;
use crate::secret::Secret;
use crate::{Detection, Scheme};
use aquatint_diffusion::TokenId;
use aquatint_generate::{Mark, MarkedLogits, MarkedStep, Watermark};
use std::collections::BTreeMap;

/// How many of the likeliest tokens of a position count.
const LIKELIEST: usize = 64;

/// Tokens that are green beside their neighbours are favoured.
#[derive(Debug, Clone)]
pub struct GreenList {
    pairs: Pairs,
    strength: f64,
}

impl GreenList {
    pub(crate) const NAME: &'static str = "green";

    pub(crate) fn new(secret: Secret, share: f64, strength: f64) -> Self {
        Self { pairs: Pairs::new(secret, share), strength }
    }

    /// How probable it is that a pair with the neighbour at a position is green.
    fn expected(&self, step: &MarkedStep<'_>, at: Option<usize>, is_green: impl Fn(TokenId) -> bool) -> f64 {
        let Some(at) = at else { return self.pairs.share() };
        if let Some(neighbour) = step.known.get(at).copied().flatten() {
            return f64::from(is_green(neighbour));
        }
        let Some(likeliest) = step.likeliest.get(&at) else { return self.pairs.share() };
        let total: f64 = likeliest.iter().map(|(_, probability)| probability).sum();
        let green: f64 =
            likeliest.iter().filter(|(token, _)| is_green(*token)).map(|(_, probability)| probability).sum();
        if total > 0.0 { green / total } else { self.pairs.share() }
    }
}

impl Watermark for GreenList {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn mark(&self) -> Mark<'_> {
        Mark::Logits(self)
    }
}

impl MarkedLogits for GreenList {
    fn reads(&self) -> usize {
        LIKELIEST
    }

    fn biases(&self, step: &MarkedStep<'_>) -> BTreeMap<usize, Vec<(TokenId, f32)>> {
        let of = |position: usize, token: TokenId| {
            let left = self.expected(step, position.checked_sub(1), |left| self.pairs.is_green(left, token));
            let right = self.expected(step, Some(position + 1), |right| self.pairs.is_green(token, right));
            (token, (self.strength * (left + right - 2.0 * self.pairs.share())) as f32)
        };
        let biases = step.likeliest.iter().map(|(position, likeliest)| {
            (*position, likeliest.iter().map(|(token, _)| of(*position, *token)).collect())
        });
        biases.collect()
    }
}

impl Scheme for GreenList {
    fn detect(&self, tokens: &[TokenId]) -> Detection {
        self.pairs.detect(Self::NAME, tokens)
    }
}

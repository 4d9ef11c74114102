//! The cost of a discrete process whose noise writes tokens: the continuous-time bound of UDLM (2412.10193, equation
//! 18) and GIDD (2503.04482, theorem 3.1), which are one formula.
//!
//! With `q(j)` the marginal of the clean token, `a(j)` that of the prediction, and z the token shown, the bound
//! integrates `r(z) Σ_{j ≠ z} R_j φ(log S_j − log R_j)`, `R = q/q(z)`, `S = a/a(z)`, `φ(u) = e^u − 1 − u`. Since q and
//! a are laws, the sum is
//!
//! ```text
//! (1 / q(z)) · [ KL(q ‖ a) + IS(q(z) ‖ a(z)) ]          IS(x ‖ y) = x/y − 1 − log(x/y)
//! ```
//! in which every part is at least 0. `r(z)` is the rate at which noise writes z, and the weight of the term.
//!
//! The prediction in the formula is about the position without looking at it (leave-one-out); see
//! [`Marginal::evidence`]. Deviations: none.

use crate::{Marginal, TokenId};

/// Logarithms of so many factors are taken at once; their product cannot overflow, since predictions sum to 1.
const FACTORS: usize = 8;

/// What is shown at a position, under which law.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// The token shown.
    pub shown: TokenId,
    /// The law of the time.
    pub marginal: Marginal,
    /// Whether the prediction has looked at the shown token, as one does that was trained by cross-entropy.
    pub posterior: bool,
}

impl Ratio {
    /// The cost of a prediction for the clean token.
    pub fn value(&self, clean: TokenId, prediction: &[f32]) -> f64 {
        let Marginal { alpha, text, .. } = self.marginal;
        let norm = self.norm(prediction);
        let p = |token: TokenId| {
            let p = f64::from(prediction.get(token as usize).copied().unwrap_or(0.0));
            if self.posterior && token == self.shown { p / self.marginal.evidence(token) / norm } else { p / norm }
        };
        let law =
            |token: TokenId| (self.marginal.probability(token, clean), self.marginal.noise(token) + alpha * p(token));
        // −log of a ratio of 1 + δ, summed with δ, which is 0 at 0 and keeps its digits near it.
        let excess = |q: f64, a: f64| if q > 0.0 { q * (a / q - 1.0 - (a / q).ln()) } else { a };

        // Tokens that are neither clean nor shown have q = text: excess = Σ [α p − text · log(1 + α p / text)].
        let (mut mass, mut logarithms) = (0.0, 0.0);
        for (first, group) in prediction.chunks(FACTORS).enumerate() {
            let mut product = 1.0;
            for (index, p) in group.iter().enumerate() {
                let token = (first * FACTORS + index) as TokenId;
                if token == clean || token == self.shown || Some(token) == self.marginal.alphabet.mask {
                    continue;
                }
                let part = alpha * f64::from(*p) / norm;
                mass += part;
                if text > 0.0 {
                    product *= 1.0 + part / text;
                }
            }
            logarithms += product.ln();
        }
        let mut divergence = mass - text * logarithms;
        let (q, a) = law(clean);
        divergence += excess(q, a);
        let named = [Some(self.shown), self.marginal.alphabet.mask];
        for (index, token) in named.into_iter().enumerate().filter_map(|(i, t)| Some((i, t?))) {
            if token != clean && (index == 0 || token != self.shown) {
                let (q, a) = law(token);
                divergence += excess(q, a);
            }
        }
        let (q, a) = law(self.shown);
        let ratio = q / a;
        (divergence + ratio - 1.0 - ratio.ln()) / q
    }

    /// The norm of the prediction once the shown token's evidence is taken out of it; 1 where there is none in it.
    fn norm(&self, prediction: &[f32]) -> f64 {
        if !self.posterior {
            return 1.0;
        }
        let p = f64::from(prediction.get(self.shown as usize).copied().unwrap_or(0.0));
        (1.0 - p + p / self.marginal.evidence(self.shown)).max(f64::MIN_POSITIVE)
    }

    /// The slopes of the cost with respect to the probabilities of a leave-one-out prediction.
    pub(crate) fn slopes(&self, clean: TokenId, prediction: &[f32]) -> Vec<f64> {
        let Marginal { alpha, text, .. } = self.marginal;
        let shown = self.marginal.probability(self.shown, clean);
        let a = |token: usize| self.marginal.noise(token as TokenId) + alpha * f64::from(prediction[token]);
        let mut slopes: Vec<f64> =
            prediction.iter().map(|p| -alpha * text / (shown * (text + alpha * f64::from(*p)))).collect();
        if text == 0.0 {
            slopes.fill(0.0);
        }
        let named = [Some(clean), Some(self.shown), self.marginal.alphabet.mask];
        for token in named.into_iter().flatten().map(|token| token as usize).filter(|token| *token < prediction.len()) {
            let q = self.marginal.probability(token as TokenId, clean);
            slopes[token] = if q > 0.0 { -alpha * q / (shown * a(token)) } else { 0.0 };
        }
        if let Some(slope) = slopes.get_mut(self.shown as usize) {
            let a = a(self.shown as usize);
            *slope += alpha * (1.0 / (shown * a) - 1.0 / (a * a));
        }
        slopes
    }
}

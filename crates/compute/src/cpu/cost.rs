//! What the probabilities of one row cost, and the gradient with respect to the logits whose softmax they are.
//!
//! The ratio cost, with `q(j)` the marginal of the clean token, `a(j)` that of the prediction and z the token shown, is
//!
//! ```text
//! (1 / q(z)) · [ KL(q ‖ a) + IS(q(z) ‖ a(z)) ]          IS(x ‖ y) = x/y − 1 − log(x/y)
//! ```
//! the integrand of the bound of UDLM (2412.10193, equation 18) and GIDD (2503.04482, theorem 3.1) but for the rate at
//! which noise writes z, which is part of the weight. The distance cost is that of score interpolation (CDCD,
//! 2211.15089, section 3.1). Tests of the crate that knows both compare them with what the processes say, to the bit.

use crate::{CostKind, Element, RatioCost, RowCost, RowLoss};

/// Logarithms of so many factors are taken at once; their product cannot overflow, since probabilities sum to 1.
const FACTORS: usize = 8;
/// Probabilities up to here do not move an expected vector.
const NEGLIGIBLE: f64 = 1e-9;

/// Vectors of all tokens, `[V, size]`.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Vectors<'a, E> {
    pub(in crate::cpu) size: usize,
    pub(in crate::cpu) values: &'a [E],
}

impl<'a, E: Element> Vectors<'a, E> {
    fn each(self) -> impl Iterator<Item = &'a [E]> {
        self.values.chunks_exact(self.size.max(1))
    }

    /// `Σ p(v) e_v`.
    pub(in crate::cpu) fn expected(self, p: &[E]) -> Vec<E> {
        let mut mean = vec![0.0_f64; self.size];
        for (p, vector) in p.iter().zip(self.each()) {
            if p.to_f64() > NEGLIGIBLE {
                mean.iter_mut().zip(vector).for_each(|(m, e)| *m += p.to_f64() * e.to_f64());
            }
        }
        mean.into_iter().map(E::from_f64).collect()
    }

    /// `Σ p(v) e_v − e_target`.
    fn error(self, target: u32, p: &[E]) -> Vec<f64> {
        let truth = &self.values[target as usize * self.size..][..self.size];
        self.expected(p).into_iter().zip(truth).map(|(mean, e)| mean.to_f64() - e.to_f64()).collect()
    }
}

/// The cost of a row, and the negative log-likelihood of its target.
///
/// # Panics
/// On a distance without vectors.
pub(in crate::cpu) fn value<E: Element>(cost: &RowCost, p: &[E], vectors: Option<Vectors<'_, E>>) -> RowLoss {
    let nll = -p[cost.target as usize].to_f64().max(f64::from(f32::MIN_POSITIVE)).ln();
    let cost = match &cost.kind {
        CostKind::CrossEntropy => nll,
        CostKind::Ratio(ratio) => ratio_value(ratio, cost.target, p),
        CostKind::Distance => given(vectors).error(cost.target, p).iter().map(|d| d * d).sum(),
    };
    RowLoss { cost, nll }
}

/// The same; turns the probabilities into the gradient of `weight · cost`.
pub(in crate::cpu) fn learn<E: Element>(cost: &RowCost, p: &mut [E], vectors: Option<Vectors<'_, E>>) -> RowLoss {
    let value = value(cost, p, vectors);
    match &cost.kind {
        CostKind::CrossEntropy => {
            p.iter_mut().for_each(|p| *p = E::from_f64(p.to_f64() * cost.weight));
            let target = &mut p[cost.target as usize];
            *target = *target - E::from_f64(cost.weight);
        }
        CostKind::Ratio(ratio) => {
            let slopes = ratio_slopes(ratio, cost.target, p);
            chain(p, &slopes, cost.weight);
        }
        CostKind::Distance => {
            let vectors = given(vectors);
            let error: Vec<E> = vectors.error(cost.target, p).into_iter().map(E::from_f64).collect();
            let slopes: Vec<f64> = vectors.each().map(|e| 2.0 * super::scalar::dot(&error, e).to_f64()).collect();
            chain(p, &slopes, cost.weight);
        }
    }
    value
}

fn given<E>(vectors: Option<Vectors<'_, E>>) -> Vectors<'_, E> {
    vectors.expect("a distance is measured between vectors")
}

/// The chain rule of the softmax: from slopes `∂/∂p` to `weight · p (slope − Σ p slope)`.
fn chain<E: Element>(p: &mut [E], slopes: &[f64], weight: f64) {
    let mean: f64 = p.iter().zip(slopes).map(|(p, slope)| p.to_f64() * slope).sum();
    for (p, slope) in p.iter_mut().zip(slopes) {
        *p = E::from_f64(weight * p.to_f64() * (slope - mean));
    }
}

impl RatioCost {
    /// The probability that noise writes this token.
    fn noise(&self, token: u32) -> f64 {
        if Some(token) == self.mask { self.masked } else { self.text }
    }
    /// `q(token | clean)`.
    fn marginal(&self, token: u32, clean: u32) -> f64 {
        self.noise(token) + if token == clean { self.alpha } else { 0.0 }
    }
    /// How much likelier the shown token makes itself.
    fn evidence(&self) -> f64 {
        1.0 + self.alpha / self.noise(self.shown)
    }
}

fn ratio_value<E: Element>(ratio: &RatioCost, clean: u32, p: &[E]) -> f64 {
    let RatioCost { shown, alpha, text, mask, posterior, .. } = *ratio;
    // The norm once the shown token's evidence is taken out.
    let norm = if posterior {
        let p = p[shown as usize].to_f64();
        (1.0 - p + p / ratio.evidence()).max(f64::MIN_POSITIVE)
    } else {
        1.0
    };
    let alone = |token: u32| {
        let p = p[token as usize].to_f64();
        if posterior && token == shown { p / ratio.evidence() / norm } else { p / norm }
    };
    let law = |token: u32| (ratio.marginal(token, clean), ratio.noise(token) + alpha * alone(token));
    // −log of a ratio of 1 + δ, summed with δ, which is 0 at 0 and keeps its digits near it.
    let excess = |q: f64, a: f64| if q > 0.0 { q * (a / q - 1.0 - (a / q).ln()) } else { a };

    // Tokens that are neither clean nor shown have q = text: excess = Σ [α p − text · log(1 + α p / text)].
    let (mut mass, mut logarithms) = (0.0, 0.0);
    for (first, group) in p.chunks(FACTORS).enumerate() {
        let mut product = 1.0;
        for (index, p) in group.iter().enumerate() {
            let token = (first * FACTORS + index) as u32;
            if token == clean || token == shown || Some(token) == mask {
                continue;
            }
            let part = alpha * p.to_f64() / norm;
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
    for token in named(ratio, clean) {
        let (q, a) = law(token);
        divergence += excess(q, a);
    }
    let (q, a) = law(shown);
    let share = q / a;
    (divergence + share - 1.0 - share.ln()) / q
}

/// The shown token and the mask, each where it is no other one.
fn named(ratio: &RatioCost, clean: u32) -> impl Iterator<Item = u32> {
    let shown = Some(ratio.shown).filter(|token| *token != clean);
    let mask = ratio.mask.filter(|token| *token != clean && *token != ratio.shown);
    shown.into_iter().chain(mask)
}

/// The slopes of the cost with respect to probabilities that have not looked at the shown token.
fn ratio_slopes<E: Element>(ratio: &RatioCost, clean: u32, p: &[E]) -> Vec<f64> {
    let RatioCost { alpha, text, mask, .. } = *ratio;
    let shown = ratio.marginal(ratio.shown, clean);
    let a = |token: usize| ratio.noise(token as u32) + alpha * p[token].to_f64();
    let mut slopes: Vec<f64> = p.iter().map(|p| -alpha * text / (shown * (text + alpha * p.to_f64()))).collect();
    if text == 0.0 {
        slopes.fill(0.0);
    }
    let named = [Some(clean), Some(ratio.shown), mask];
    for token in named.into_iter().flatten().map(|token| token as usize).filter(|token| *token < p.len()) {
        let q = ratio.marginal(token as u32, clean);
        slopes[token] = if q > 0.0 { -alpha * q / (shown * a(token)) } else { 0.0 };
    }
    let a = a(ratio.shown as usize);
    slopes[ratio.shown as usize] += alpha * (1.0 / (shown * a) - 1.0 / (a * a));
    slopes
}

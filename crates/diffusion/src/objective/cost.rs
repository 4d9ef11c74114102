//! What the prediction about one position costs, and how the cost changes with the logits.

use super::{Distance, Ratio};
use crate::TokenId;

/// The word vectors that a gaussian field is made of, row-major `[V, size]`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Vectors<'a> {
    /// Coordinates of a vector.
    pub size: usize,
    /// All vectors; none where the network has none.
    pub values: &'a [f32],
}

impl<'a> Vectors<'a> {
    /// The vector of a token; empty beyond the vocabulary.
    pub fn of(&self, token: TokenId) -> &'a [f32] {
        self.values.get(token as usize * self.size..(token as usize + 1) * self.size).unwrap_or_default()
    }

    /// `Σ p(v) e_v`: what a prediction expects the vector to be.
    pub fn expected(&self, prediction: &[f32]) -> Vec<f32> {
        let mut mean = vec![0.0f64; self.size];
        for (p, vector) in prediction.iter().zip(self.values.chunks_exact(self.size.max(1))) {
            // Most of a vocabulary is out of the question.
            if *p > 1e-9 {
                mean.iter_mut().zip(vector).for_each(|(m, e)| *m += f64::from(*p) * f64::from(*e));
            }
        }
        mean.into_iter().map(|m| m as f32).collect()
    }
}

/// The word vectors of a gaussian field, as a network hands them out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WordVectors {
    /// Coordinates of a vector; 0 where there are none.
    pub size: usize,
    /// All vectors, row-major `[V, size]`; empty for a network without.
    pub values: Vec<f32>,
}

impl WordVectors {
    /// The same, borrowed.
    pub fn view(&self) -> Vectors<'_> {
        Vectors { size: self.size, values: &self.values }
    }
}

/// How a prediction is paid for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cost {
    /// −log p(target).
    CrossEntropy,
    /// How far the ratios of the marginals under the prediction are from the true ones.
    Ratio(Ratio),
    /// The squared distance between the expected word vector and the true one.
    Distance(Distance),
}

impl Cost {
    /// The cost of a prediction, probabilities over the vocabulary, in nats (a distance has no unit; its weight gives
    /// it one).
    pub fn value(&self, target: TokenId, prediction: &[f32], vectors: Vectors<'_>) -> f64 {
        match self {
            Self::CrossEntropy => -probability(prediction, target).ln(),
            Self::Ratio(ratio) => ratio.value(target, prediction),
            Self::Distance(distance) => distance.value(target, prediction, vectors),
        }
    }

    /// The same; turns the prediction into the gradient of `weight · cost` with respect to the logits whose softmax it
    /// is.
    pub fn learn(&self, target: TokenId, prediction: &mut [f32], vectors: Vectors<'_>, weight: f64) -> f64 {
        let value = self.value(target, prediction, vectors);
        match self {
            Self::CrossEntropy => {
                prediction.iter_mut().for_each(|p| *p = (f64::from(*p) * weight) as f32);
                if let Some(p) = prediction.get_mut(target as usize) {
                    *p -= weight as f32;
                }
            }
            Self::Ratio(ratio) => {
                let slopes = ratio.slopes(target, prediction);
                chain(prediction, &slopes, weight);
            }
            Self::Distance(distance) => {
                let slopes = distance.slopes(target, prediction, vectors);
                chain(prediction, &slopes, weight);
            }
        }
        value
    }
}

/// `KL(teacher ‖ student)` of two predictions in nats; turns the student's into the gradient of `weight` times it with
/// respect to its logits.
pub fn divergence(teacher: &[f32], student: &mut [f32], weight: f64) -> f64 {
    let mut value = 0.0;
    for (q, p) in teacher.iter().zip(student.iter_mut()) {
        let (q, now) = (f64::from(*q), f64::from(*p));
        if q > 0.0 {
            value += q * (q / now.max(f64::from(f32::MIN_POSITIVE))).ln();
        }
        *p = (weight * (now - q)) as f32;
    }
    value
}

/// A probability that is never 0, so that its logarithm is a number.
fn probability(prediction: &[f32], token: TokenId) -> f64 {
    f64::from(prediction.get(token as usize).copied().unwrap_or(0.0)).max(f64::from(f32::MIN_POSITIVE))
}

/// The chain rule of the softmax: from slopes `∂/∂p` to `weight · p (slope − Σ p slope)`.
fn chain(prediction: &mut [f32], slopes: &[f64], weight: f64) {
    let mean: f64 = prediction.iter().zip(slopes).map(|(p, slope)| f64::from(*p) * slope).sum();
    for (p, slope) in prediction.iter_mut().zip(slopes) {
        *p = (weight * f64::from(*p) * (slope - mean)) as f32;
    }
}

//! The cost of a gaussian field: the squared distance between the expected word vector and the true one.
//!
//! The continuous-time bound of a gaussian process is `−½ ∫ SNR′(t) E‖e_x − x̂(z_t, t)‖² dt` beside its ends (VDM,
//! 2107.00630, equation 17), where the network's word vector is the mean of its prediction, `x̂ = Σ p(v) e_v` (score
//! interpolation: CDCD, 2211.15089, section 3.1; Plaid, 2305.18619). The weight of the term holds `−½ SNR′(t)`.
//!
//! Deviation: the gradient reaches the word vectors through the noisy points that the network reads, not through the
//! vectors in this formula.

use super::Vectors;
use crate::TokenId;

/// The squared distance between expected and true word vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Distance;

impl Distance {
    /// `‖Σ p(v) e_v − e_clean‖²`.
    pub fn value(self, clean: TokenId, prediction: &[f32], vectors: Vectors<'_>) -> f64 {
        self.error(clean, prediction, vectors).iter().map(|d| d * d).sum()
    }

    fn error(self, clean: TokenId, prediction: &[f32], vectors: Vectors<'_>) -> Vec<f64> {
        let expected = vectors.expected(prediction);
        expected.iter().zip(vectors.of(clean)).map(|(mean, e)| f64::from(*mean) - f64::from(*e)).collect()
    }

    /// Its slopes with respect to the probabilities, `2 (x̂ − e) · e_v`.
    pub(crate) fn slopes(self, clean: TokenId, prediction: &[f32], vectors: Vectors<'_>) -> Vec<f64> {
        let error: Vec<f32> = self.error(clean, prediction, vectors).into_iter().map(|d| d as f32).collect();
        let dot = |vector: &[f32]| error.iter().zip(vector).map(|(d, e)| d * e).sum::<f32>();
        vectors.values.chunks_exact(vectors.size.max(1)).map(|vector| 2.0 * f64::from(dot(vector))).collect()
    }
}

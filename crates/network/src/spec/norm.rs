//! The norm of a row.

use super::refuse;
use crate::NetworkError;

/// How a row is normalised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NormSpec {
    /// `x / √(mean(x²) + ε) · w`: RMS norm (Zhang & Sennrich, 1910.07467).
    Rms {
        /// ε, added to the mean of squares.
        epsilon: f64,
    },
    /// `(x − mean(x)) / √(var(x) + ε) · w`: layer norm (Ba et al., 1607.06450) without a bias.
    Layer {
        /// ε, added to the variance.
        epsilon: f64,
    },
}

impl Default for NormSpec {
    fn default() -> Self {
        Self::Rms { epsilon: 1e-6 }
    }
}

impl NormSpec {
    /// ε.
    pub fn epsilon(&self) -> f64 {
        match *self {
            Self::Rms { epsilon } | Self::Layer { epsilon } => epsilon,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), NetworkError> {
        let epsilon = self.epsilon();
        if !(0.0..1.0).contains(&epsilon) {
            return refuse("norm_epsilon", epsilon, "0 or more and below 1 (1e-6 is usual)");
        }
        Ok(())
    }
}

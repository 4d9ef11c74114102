//! Conditioning on the time.

use super::{check_size, refuse};
use crate::NetworkError;

/// Layers are modulated by the time (adaLN-Zero: Peebles & Xie, 2212.09748, section 3.2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeSpec {
    /// Sinusoidal features that the time is read as, an even number.
    pub features: usize,
    /// Columns of the condition that is made of them; `None` for as many as the residual stream has.
    pub width: Option<usize>,
    /// What is read.
    pub input: TimeInput,
}

/// The number whose sinusoidal features are read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TimeInput {
    /// The time in thousandths, as in DiT.
    Thousandths,
    /// The total noise `σ = −ln α`, where the time is `1 − α` (SEDD, 2310.16834; MDLM, 2406.07524).
    Sigma {
        /// The largest σ, that of pure noise.
        largest: f64,
    },
    /// Always 0, whatever the time: the condition is a constant, and no time is given to the network.
    Nothing,
}

impl TimeSpec {
    /// The time in thousandths, read as so many features into a condition as wide as the stream.
    pub fn new(features: usize) -> Self {
        Self { features, width: None, input: TimeInput::Thousandths }
    }

    pub(super) fn validate(&self) -> Result<(), NetworkError> {
        let features = self.features;
        if features == 0 || !features.is_multiple_of(2) || features > 1 << 20 {
            return refuse("time_conditioning", features, "an even number, 2 or more (256 is usual)");
        }
        if let TimeInput::Sigma { largest } = self.input
            && !(largest > 0.0 && largest.is_finite())
        {
            return refuse("sigma", largest, "a largest total noise above 0");
        }
        self.width.map_or(Ok(()), |width| check_size("condition_width", width))
    }
}

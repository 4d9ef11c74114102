//! The log-linear schedule of SEDD (2310.16834) and MDLM (2406.07524): total noise
//! σ(t) = −log(1 − (1 − ε) t), so α(t) = exp(−σ) = 1 − (1 − ε) t.
//!
//! It ends at α(1) = ε, not at 0: a share ε of the tokens is never masked, and the bound computed under this schedule
//! lacks the small cost of the prior for them. With ε = 0 it is the linear schedule.

use crate::{NoiseSchedule, SettingError, Time};

/// α(t) = 1 − (1 − ε) t.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogLinear {
    epsilon: f64,
}

impl LogLinear {
    /// ε of the papers' runs.
    pub const EPSILON: f64 = 1e-3;

    /// The schedule with a given ε in `[0, 1)`.
    ///
    /// # Errors
    /// When ε lies outside.
    pub fn new(epsilon: f64) -> Result<Self, SettingError> {
        if Self::allows(epsilon) { Ok(Self { epsilon }) } else { Err(SettingError::new("epsilon", epsilon, "[0, 1)")) }
    }

    pub(super) fn allows(epsilon: f64) -> bool {
        (0.0..1.0).contains(&epsilon)
    }
}

impl NoiseSchedule for LogLinear {
    fn name(&self) -> String {
        format!("log-linear:{}", self.epsilon)
    }

    fn alpha(&self, t: Time) -> f64 {
        1.0 - (1.0 - self.epsilon) * t.value()
    }

    fn alpha_derivative(&self, _: Time) -> f64 {
        -(1.0 - self.epsilon)
    }

    fn weight(&self, t: Time) -> f64 {
        // (1 − ε) / ((1 − ε) t)
        1.0 / t.value()
    }

    fn time_at_alpha(&self, alpha: f64) -> Time {
        Time::nearest((1.0 - alpha) / (1.0 - self.epsilon))
    }
}

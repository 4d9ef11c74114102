//! The linear schedule: α(t) = 1 − t, so that the weight of the bound is 1/t (LLaDA, 2502.09992).

use crate::{NoiseSchedule, Time};

/// α(t) = 1 − t.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Linear;

impl NoiseSchedule for Linear {
    fn name(&self) -> String {
        "linear".to_owned()
    }

    fn alpha(&self, t: Time) -> f64 {
        1.0 - t.value()
    }

    fn alpha_derivative(&self, _: Time) -> f64 {
        -1.0
    }

    fn weight(&self, t: Time) -> f64 {
        // As a formula of its own: 1 − (1 − t) loses the digits of a small t.
        1.0 / t.value()
    }

    fn time_at_alpha(&self, alpha: f64) -> Time {
        Time::nearest(1.0 - alpha)
    }
}

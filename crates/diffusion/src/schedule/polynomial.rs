//! The polynomial schedule of MD4 (2406.04329): α(t) = 1 − tᵖ; p = 1 is the linear schedule.

use crate::{NoiseSchedule, SettingError, Time};

/// α(t) = 1 − tᵖ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Polynomial {
    exponent: f64,
}

impl Polynomial {
    /// The schedule with a given exponent above 0.
    ///
    /// # Errors
    /// When the exponent is not above 0, or not finite.
    pub fn new(exponent: f64) -> Result<Self, SettingError> {
        if Self::allows(exponent) {
            Ok(Self { exponent })
        } else {
            Err(SettingError::new("exponent", exponent, "a finite number above 0"))
        }
    }

    pub(super) fn allows(exponent: f64) -> bool {
        exponent.is_finite() && exponent > 0.0
    }
}

impl NoiseSchedule for Polynomial {
    fn name(&self) -> String {
        format!("polynomial:{}", self.exponent)
    }

    fn alpha(&self, t: Time) -> f64 {
        1.0 - t.value().powf(self.exponent)
    }

    fn alpha_derivative(&self, t: Time) -> f64 {
        -self.exponent * t.value().powf(self.exponent - 1.0)
    }

    fn weight(&self, t: Time) -> f64 {
        self.exponent / t.value()
    }

    fn time_at_alpha(&self, alpha: f64) -> Time {
        Time::nearest((1.0 - alpha).max(0.0).powf(1.0 / self.exponent))
    }
}

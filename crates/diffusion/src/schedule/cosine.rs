//! The cosine schedule of MD4 (2406.04329): α(t) = 1 − cos(π/2 (1 − t)), written as 1 − sin(πt/2), which is the
//! same and keeps the digits of a small t.

use crate::{NoiseSchedule, Time};
use std::f64::consts::FRAC_PI_2;

/// α(t) = 1 − sin(πt/2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cosine;

impl NoiseSchedule for Cosine {
    fn name(&self) -> String {
        "cosine".to_owned()
    }

    fn alpha(&self, t: Time) -> f64 {
        1.0 - (FRAC_PI_2 * t.value()).sin()
    }

    fn alpha_derivative(&self, t: Time) -> f64 {
        -FRAC_PI_2 * (FRAC_PI_2 * t.value()).cos()
    }

    fn weight(&self, t: Time) -> f64 {
        FRAC_PI_2 / (FRAC_PI_2 * t.value()).tan()
    }

    fn time_at_alpha(&self, alpha: f64) -> Time {
        Time::nearest((1.0 - alpha).clamp(0.0, 1.0).asin() / FRAC_PI_2)
    }
}

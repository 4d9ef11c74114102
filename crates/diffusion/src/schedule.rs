//! Noise schedules: how likely a token is still clean at time t.

mod cosine;
mod linear;
mod log_linear;
mod polynomial;
mod spec;

pub use cosine::Cosine;
pub use linear::Linear;
pub use log_linear::LogLinear;
pub use polynomial::Polynomial;
pub use spec::ScheduleSpec;

use crate::{SettingError, Time};
use std::fmt::Debug;
use std::sync::Arc;

/// α(t), the probability that a token is still clean at time t: 1 at t = 0, falling strictly, 0 at t = 1 (log-linear
/// stops just above).
pub trait NoiseSchedule: Debug + Send + Sync {
    /// The name under which [`schedule`] finds this schedule again, its number included.
    fn name(&self) -> String;

    /// α(t), in `[0, 1]`.
    fn alpha(&self, t: Time) -> f64;

    /// dα/dt, never positive.
    fn alpha_derivative(&self, t: Time) -> f64;

    /// The weight of a masked position's cost in the continuous-time bound, −α′(t) / (1 − α(t)) (MDLM, 2406.07524,
    /// equation 10); positive, infinite at t = 0.
    fn weight(&self, t: Time) -> f64;

    /// The time at which α has the given value; the nearest end where it never has it.
    fn time_at_alpha(&self, alpha: f64) -> Time;
}

/// The schedule of a name, as [`ScheduleSpec`] reads it.
///
/// # Errors
/// When there is no such name or its number does not fit.
pub fn schedule(name: &str) -> Result<Arc<dyn NoiseSchedule>, SettingError> {
    name.parse::<ScheduleSpec>()?.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Arc<dyn NoiseSchedule>> {
        let names =
            ["linear", "cosine", "log-linear", "log-linear:0.2", "polynomial:0.5", "polynomial:2", "polynomial:3"];
        names.iter().map(|n| schedule(n).unwrap()).collect()
    }

    fn at(t: f64) -> Time {
        Time::new(t).unwrap()
    }

    #[test]
    fn alpha_falls_from_one_to_zero() {
        for schedule in all() {
            assert_eq!(schedule.alpha(Time::CLEAN), 1.0, "{schedule:?}");
            let rest = if schedule.name().starts_with("log-linear") { 0.2 } else { 0.0 };
            assert!(schedule.alpha(Time::NOISE) <= rest, "{schedule:?}");
            for k in 0..200 {
                let (early, late) = (at(f64::from(k) / 200.0), at(f64::from(k + 1) / 200.0));
                assert!(schedule.alpha(early) > schedule.alpha(late), "{schedule:?} at {k}");
            }
        }
    }

    #[test]
    fn derivative_and_weight_agree_with_finite_differences() {
        for schedule in all() {
            for k in 1..100 {
                let (t, h) = (f64::from(k) / 100.0, 1e-6);
                let difference = (schedule.alpha(at(t + h)) - schedule.alpha(at(t - h))) / (2.0 * h);
                let derivative = schedule.alpha_derivative(at(t));
                assert!((difference - derivative).abs() < 1e-7 * (1.0 + derivative.abs()), "{schedule:?} at {t}");
                // The weight is the derivative of log(1 − α), whatever formula computes it.
                let log_noise = |t: f64| (1.0 - schedule.alpha(at(t))).ln();
                let weight = (log_noise(t + h) - log_noise(t - h)) / (2.0 * h);
                assert!((weight - schedule.weight(at(t))).abs() < 1e-6 * weight, "{schedule:?} at {t}");
            }
        }
    }

    #[test]
    fn time_at_alpha_is_the_inverse() {
        for schedule in all() {
            for k in 0..=100 {
                let t = f64::from(k) / 100.0;
                let back = schedule.time_at_alpha(schedule.alpha(at(t))).value();
                assert!((back - t).abs() < 1e-7, "{schedule:?}: {t} came back as {back}");
            }
            assert_eq!(schedule.time_at_alpha(1.0), Time::CLEAN, "{schedule:?}");
            assert_eq!(schedule.time_at_alpha(0.0), Time::NOISE, "{schedule:?}");
        }
    }

    #[test]
    fn names_lead_back_to_their_schedules() {
        for original in all() {
            let again = schedule(&original.name()).unwrap();
            assert_eq!(format!("{original:?}"), format!("{again:?}"));
        }
    }

    #[test]
    fn wrong_names_are_refused_with_what_is_allowed() {
        assert_eq!(
            schedule("lineal").unwrap_err().to_string(),
            "`schedule` is \"lineal\"; allowed: linear, cosine, log-linear, log-linear:EPSILON, polynomial:EXPONENT"
        );
        for wrong in ["", "linear:1", "polynomial", "polynomial:0", "polynomial:x", "polynomial:inf", "log-linear:1"] {
            assert!(schedule(wrong).is_err(), "{wrong} was taken");
        }
        let hint = schedule("polynomial:-1").unwrap_err().hint();
        assert_eq!(hint.as_deref(), Some("`polynomial` takes a number above 0"));
    }
}

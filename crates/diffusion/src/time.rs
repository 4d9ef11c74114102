//! Diffusion time: 0 is clean, 1 is noise. A type of its own, since half of the field counts the other way.

use crate::SettingError;

/// A point in `[0, 1]`; 0 is the clean canvas, 1 is pure noise.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Time(f64);

impl Time {
    /// The clean canvas.
    pub const CLEAN: Self = Self(0.0);
    /// Pure noise.
    pub const NOISE: Self = Self(1.0);

    /// Checks that the value lies in `[0, 1]`.
    ///
    /// # Errors
    /// When it does not, or is no number.
    pub fn new(value: f64) -> Result<Self, SettingError> {
        if (0.0..=1.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(SettingError::new("time", value, "0 to 1").with_hint("0 is the clean canvas, 1 is noise"))
        }
    }

    /// The nearest point of `[0, 1]`, for values that arithmetic has pushed over the edge; not a number becomes noise.
    pub fn nearest(value: f64) -> Self {
        Self(if value.is_nan() { 1.0 } else { value.clamp(0.0, 1.0) })
    }

    /// The value, in `[0, 1]`.
    pub fn value(self) -> f64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_unit_interval_is_time() {
        assert_eq!(Time::new(0.25).map(Time::value), Ok(0.25));
        assert_eq!(Time::new(0.0), Ok(Time::CLEAN));
        assert_eq!(Time::new(1.0), Ok(Time::NOISE));
        for wrong in [-1e-12, 1.0 + 1e-12, f64::NAN, f64::INFINITY] {
            assert!(Time::new(wrong).is_err(), "{wrong} was taken");
        }
        let refused = Time::new(1.5).unwrap_err();
        assert_eq!(refused.to_string(), "`time` is 1.5; allowed: 0 to 1");
        assert_eq!(refused.hint().as_deref(), Some("0 is the clean canvas, 1 is noise"));
    }
}

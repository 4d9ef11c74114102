//! Schedules as settings: typed, and by the names that people, recipes and `config.json` use.

use super::{Cosine, Linear, LogLinear, NoiseSchedule, Polynomial};
use crate::SettingError;
use crate::error::Named;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A noise schedule with its own settings.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum ScheduleSpec {
    /// `linear`.
    #[default]
    Linear,
    /// `cosine`.
    Cosine,
    /// `log-linear:ε`; `log-linear` is ε = 0.001.
    LogLinear {
        /// ε, in `[0, 1)`.
        epsilon: f64,
    },
    /// `polynomial:p`.
    Polynomial {
        /// p, above 0.
        exponent: f64,
    },
}

impl ScheduleSpec {
    /// The schedule.
    ///
    /// # Errors
    /// When its number does not fit.
    pub fn build(self) -> Result<Arc<dyn NoiseSchedule>, SettingError> {
        Ok(match self {
            Self::Linear => Arc::new(Linear),
            Self::Cosine => Arc::new(Cosine),
            Self::LogLinear { epsilon } => Arc::new(LogLinear::new(epsilon)?),
            Self::Polynomial { exponent } => Arc::new(Polynomial::new(exponent)?),
        })
    }
}

impl fmt::Display for ScheduleSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linear => f.write_str("linear"),
            Self::Cosine => f.write_str("cosine"),
            Self::LogLinear { epsilon } => write!(f, "log-linear:{epsilon}"),
            Self::Polynomial { exponent } => write!(f, "polynomial:{exponent}"),
        }
    }
}

impl FromStr for ScheduleSpec {
    type Err = SettingError;

    fn from_str(name: &str) -> Result<Self, SettingError> {
        let allowed = "linear, cosine, log-linear, log-linear:EPSILON, polynomial:EXPONENT";
        let named = Named::parse("schedule", name, allowed);
        match named.word {
            "linear" => named.plain(Self::Linear),
            "cosine" => named.plain(Self::Cosine),
            "log-linear" => {
                let epsilon = named.number(Some(LogLinear::EPSILON), "in [0, 1)", LogLinear::allows)?;
                Ok(Self::LogLinear { epsilon })
            }
            "polynomial" => Ok(Self::Polynomial { exponent: named.number(None, "above 0", Polynomial::allows)? }),
            _ => Err(named.refuse()),
        }
    }
}

//! How the times of a batch are drawn. Each single time is uniform on its range; together they cover it more evenly than
//! independent ones, which lowers the variance of a step's loss without changing its expectation.

use crate::{Draws, SettingError, Time};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// A rule for drawing the times of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimeSampling {
    /// Independent times.
    Uniform,
    /// One shared draw `u`, times `(u + i/n) mod 1` (VDM, 2107.00630; MDLM uses it).
    #[default]
    LowDiscrepancy,
    /// Pairs `u`, `1 − u`; the last of an odd number stands alone.
    Antithetic,
}

impl TimeSampling {
    /// All rules.
    pub const ALL: [Self; 3] = [Self::Uniform, Self::LowDiscrepancy, Self::Antithetic];

    /// The rule's name: `uniform`, `low-discrepancy` or `antithetic`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::LowDiscrepancy => "low-discrepancy",
            Self::Antithetic => "antithetic",
        }
    }

    /// `n` times in `range`. What lies outside `[0, 1]` is moved to its nearest end.
    ///
    /// The bound of a model on all times needs the range 0 to 1; on a narrower one, multiply the loss by its width to
    /// get the part of the bound that it covers.
    pub fn sample(self, n: usize, range: Range<f64>, draws: &mut Draws) -> Vec<Time> {
        let place = |u: f64| Time::nearest(range.start + (range.end - range.start) * u);
        match self {
            Self::Uniform => (0..n).map(|_| place(draws.uniform())).collect(),
            Self::LowDiscrepancy => {
                let shift = draws.uniform();
                let spaced = |i: usize| (shift + i as f64 / n as f64).fract();
                // An exact 0, once in 2⁵² draws, would give a weight of infinity.
                (0..n).map(|i| place(spaced(i).max(f64::EPSILON))).collect()
            }
            Self::Antithetic => {
                let mut times = Vec::with_capacity(n);
                while times.len() < n {
                    let u = draws.uniform();
                    times.push(place(u));
                    if times.len() < n {
                        times.push(place(1.0 - u));
                    }
                }
                times
            }
        }
    }
}

impl fmt::Display for TimeSampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TimeSampling {
    type Err = SettingError;

    fn from_str(name: &str) -> Result<Self, SettingError> {
        Self::ALL.into_iter().find(|s| s.name() == name).ok_or_else(|| {
            SettingError::new("time_sampling", format!("\"{name}\""), "uniform, low-discrepancy, antithetic")
        })
    }
}

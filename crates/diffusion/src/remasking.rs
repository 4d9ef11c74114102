//! Remasking: taking committed tokens back, so that early mistakes can be mended (ReMDM, 2503.00307).
//!
//! Between α_t and the larger α_s a committed position returns to the mask with probability σ, and a masked one stays
//! masked with probability `(1 − α_s − σ α_t)/(1 − α_t)`, which leaves the marginal law of every time as it is for any
//! `0 ≤ σ ≤ σ_max = min(1, (1 − α_s)/α_t)`. Section 4.1 gives the choices of σ, section 4.2 the loop.
//!
//! Deviations: `loop` never exceeds σ_max, where the paper trusts its η; under `conf` a masked position uses the
//! reverse step without remasking, as the paper's η of 0 for masked positions says. Nothing given or padded is ever
//! touched.

use crate::error::Named;
use crate::random::Purpose;
use crate::{Key, NoiseSchedule, SettingError, Step, Time};
use std::fmt;
use std::str::FromStr;

/// How likely a committed token is taken back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Remasking {
    /// Never: a committed token stays.
    None,
    /// σ = min(η, σ_max).
    Cap {
        /// η, in `[0, 1]`.
        eta: f64,
    },
    /// σ = η σ_max.
    Rescale {
        /// η, in `[0, 1]`.
        eta: f64,
    },
    /// σ = η σ_max shared out among the committed positions by a softmax of minus the probability that each had when it
    /// was committed: what was doubtful goes first.
    Conf {
        /// η, in `[0, 1]`.
        eta: f64,
    },
    /// Fills up to α = 0.9 without remasking, holds it there with σ = min(η, σ_max) from clock 0.55 to 0.05, then fills
    /// the rest without remasking.
    Loop {
        /// η, in `[0, 1]`.
        eta: f64,
    },
}

/// Names of all rules.
const ALLOWED: &str = "none, cap:ETA, rescale:ETA, conf, conf:ETA, loop, loop:ETA";

impl Remasking {
    /// Clock at which `loop` begins to hold the noise (2503.00307, section 4.2).
    pub const LOOP_ON: f64 = 0.55;
    /// Clock at which it ends.
    pub const LOOP_OFF: f64 = 0.05;
    /// The α at which it holds.
    pub const LOOP_ALPHA: f64 = 0.9;
    /// η of the paper's runs.
    pub const ETA: f64 = 0.02;

    /// Refuses an η that no rule can have.
    ///
    /// # Errors
    /// When η is outside 0 to 1.
    pub fn validate(&self) -> Result<(), SettingError> {
        match *self {
            Self::Cap { eta } | Self::Rescale { eta } | Self::Conf { eta } | Self::Loop { eta }
                if !(0.0..=1.0).contains(&eta) =>
            {
                Err(SettingError::new("remasking", self, ALLOWED).with_hint("ETA is a number from 0 to 1"))
            }
            _ => Ok(()),
        }
    }

    /// Whether nothing is ever taken back.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The α at which generation stands when the clock, running from 1 down to 0, shows a time.
    pub(crate) fn alpha(&self, schedule: &dyn NoiseSchedule, clock: Time) -> f64 {
        let t = clock.value();
        match self {
            Self::Loop { .. } if t > Self::LOOP_ON => Self::LOOP_ALPHA * (1.0 - t) / (1.0 - Self::LOOP_ON),
            Self::Loop { .. } if t >= Self::LOOP_OFF => Self::LOOP_ALPHA,
            Self::Loop { .. } => 1.0 - (1.0 - Self::LOOP_ALPHA) * t / Self::LOOP_OFF,
            _ => schedule.alpha(clock),
        }
    }

    /// σ of a step that begins when the clock shows a time and leads from one α to another.
    pub(crate) fn sigma(&self, clock: Time, from: f64, to: f64) -> f64 {
        let limit = sigma_limit(from, to);
        match *self {
            Self::None => 0.0,
            Self::Cap { eta } => eta.min(limit),
            Self::Rescale { eta } | Self::Conf { eta } => eta * limit,
            Self::Loop { eta } => {
                let holds = (Self::LOOP_OFF..=Self::LOOP_ON).contains(&clock.value());
                if holds { eta.min(limit) } else { 0.0 }
            }
        }
    }

    /// Probability that a masked position stays masked between two α.
    pub(crate) fn staying(&self, from: f64, to: f64, sigma: f64) -> f64 {
        let sigma = if matches!(self, Self::Conf { .. }) { 0.0 } else { sigma };
        staying(from, to, sigma)
    }

    /// The probability of being taken back in this step for each of some committed positions, of which `probabilities`
    /// holds the prediction in their tokens when they were committed.
    pub fn chances(&self, step: &Step, probabilities: &[f64]) -> Vec<f64> {
        let sigma = step.planned.sigma;
        match self {
            Self::Conf { .. } => {
                let weights: Vec<f64> = probabilities.iter().map(|p| (-p).exp()).collect();
                let total: f64 = weights.iter().sum();
                weights.iter().map(|w| (sigma * w / total).clamp(0.0, 1.0)).collect()
            }
            _ => vec![sigma; probabilities.len()],
        }
    }

    /// Which of the committed positions are taken back in this step; `committed` pairs each one with the prediction in
    /// its token when it was committed. Each position's draw depends on the key, the position and the step only.
    /// Nothing is taken back in a last step.
    pub fn select(&self, step: &Step, committed: &[(usize, f64)], key: Key) -> Vec<usize> {
        if self.is_none() || step.is_last() {
            return Vec::new();
        }
        let key = key.fold(Purpose::Remask as u64);
        let probabilities: Vec<f64> = committed.iter().map(|(_, probability)| *probability).collect();
        let chances = self.chances(step, &probabilities);
        let falls = |position: usize, chance: f64| key.at(position as u64, step.planned.number).uniform() < chance;
        committed.iter().zip(chances).filter(|((p, _), chance)| falls(*p, *chance)).map(|((p, _), _)| *p).collect()
    }
}

/// The largest σ that leaves the marginals as they are, `min(1, (1 − α_s)/α_t)`.
pub(crate) fn sigma_limit(from: f64, to: f64) -> f64 {
    if from <= 0.0 { 1.0 } else { ((1.0 - to) / from).clamp(0.0, 1.0) }
}

/// `(1 − α_s − σ α_t)/(1 − α_t)` (2503.00307); at σ = 0 MDLM's reverse step (2406.07524, equation 7).
pub(crate) fn staying(from: f64, to: f64, sigma: f64) -> f64 {
    if from >= 1.0 { 0.0 } else { ((1.0 - to - sigma * from) / (1.0 - from)).clamp(0.0, 1.0) }
}

impl fmt::Display for Remasking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Cap { eta } => write!(f, "cap:{eta}"),
            Self::Rescale { eta } => write!(f, "rescale:{eta}"),
            Self::Conf { eta } => write!(f, "conf:{eta}"),
            Self::Loop { eta } => write!(f, "loop:{eta}"),
        }
    }
}

impl FromStr for Remasking {
    type Err = SettingError;

    fn from_str(name: &str) -> Result<Self, SettingError> {
        let named = Named::parse("remasking", name, ALLOWED);
        let eta = |default| named.number(default, "from 0 to 1", |eta| (0.0..=1.0).contains(&eta));
        match named.word {
            "none" => named.plain(Self::None),
            "cap" => Ok(Self::Cap { eta: eta(None)? }),
            "rescale" => Ok(Self::Rescale { eta: eta(None)? }),
            "conf" => Ok(Self::Conf { eta: eta(Some(1.0))? }),
            "loop" => Ok(Self::Loop { eta: eta(Some(Self::ETA))? }),
            "low-confidence" | "low_confidence" => {
                Err(named.refuse().with_hint("this only commits the most confident: it is the policy `confidence`"))
            }
            _ => Err(named.refuse()),
        }
    }
}

//! Processes as settings: typed, and by the names that people, recipes and `config.json` use.

use super::{Duo, Gaussian, Masked, Mixing, Process, ScoreEntropy, Simplex};
use crate::error::Named;
use crate::{Alphabet, NoiseSchedule, ScheduleSpec, SettingError};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// How the canvases became noisy that a network was trained on. A causal network has one too, which is not used.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ProcessSpec {
    /// The process.
    pub kind: ProcessKind,
    /// The noise schedule.
    pub schedule: ScheduleSpec,
}

impl ProcessSpec {
    /// The process over an alphabet.
    ///
    /// # Errors
    /// When a number does not fit, or the alphabet lacks the mask that the process needs.
    pub fn build(&self, alphabet: Alphabet) -> Result<Arc<dyn Process>, SettingError> {
        self.kind.build(alphabet, self.schedule.build()?)
    }
}

/// A process with its own settings, without schedule and alphabet.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum ProcessKind {
    /// `masked`: tokens become the mask.
    #[default]
    Masked,
    /// `score-entropy`: the same under a network that predicts ratios.
    ScoreEntropy,
    /// `uniform`: tokens become other tokens; the prediction leaves the shown token out and is trained by the bound.
    Uniform,
    /// `uniform-posterior`: the same, trained by cross-entropy.
    UniformPosterior,
    /// `duo:τ`: uniform, taught by soft tokens.
    Duo {
        /// τ, above 0 and at most 1.
        temperature: f64,
    },
    /// `hybrid:p`: tokens become the mask or, half way, other tokens.
    Hybrid {
        /// The share of other tokens half way, above 0 and below 1.
        share: f64,
    },
    /// `gaussian:d`: points near word vectors.
    Gaussian {
        /// Coordinates of a word vector, 2 to 65,536.
        size: usize,
    },
    /// `simplex`: laws over the vocabulary, read as mixtures of word vectors.
    Simplex,
    /// `simplex-argmax`: the same, read as the likeliest token.
    SimplexArgmax,
}

/// All names.
const ALLOWED: &str = "masked, score-entropy, uniform, uniform-posterior, duo:TEMPERATURE, hybrid:SHARE, gaussian:SIZE, \
                       simplex, simplex-argmax";

impl ProcessKind {
    /// The process over an alphabet under a schedule.
    ///
    /// # Errors
    /// When a number does not fit, or the alphabet lacks the mask that the process needs.
    pub fn build(self, alphabet: Alphabet, schedule: Arc<dyn NoiseSchedule>) -> Result<Arc<dyn Process>, SettingError> {
        let name = self.to_string();
        if !self.fits() {
            return Err(Named::parse("process", &name, ALLOWED).refuse());
        }
        let mask = || {
            let hint = format!("`{name}` needs a mask token in the vocabulary");
            alphabet.mask.ok_or_else(|| {
                SettingError::new("process", format!("\"{name}\""), "uniform, gaussian, simplex").with_hint(hint)
            })
        };
        Ok(match self {
            Self::Masked => Arc::new(Masked::new(mask()?, schedule)),
            Self::ScoreEntropy => Arc::new(ScoreEntropy::new(mask()?, alphabet.size, schedule)),
            Self::Uniform => Arc::new(Mixing::uniform(alphabet, schedule)),
            Self::UniformPosterior => Arc::new(Mixing::uniform(alphabet, schedule).with_posterior()),
            Self::Duo { temperature } => Arc::new(Duo::new(alphabet, temperature, schedule)),
            Self::Hybrid { share } => {
                mask()?;
                Arc::new(Mixing::hybrid(alphabet, share, schedule))
            }
            Self::Gaussian { size } => Arc::new(Gaussian::new(alphabet, size, schedule)),
            Self::Simplex => Arc::new(Simplex::new(alphabet, schedule)),
            Self::SimplexArgmax => Arc::new(Simplex::new(alphabet, schedule).read_as_argmax()),
        })
    }

    /// Whether its number is in range.
    fn fits(self) -> bool {
        match self {
            Self::Duo { temperature } => temperature > 0.0 && temperature <= 1.0,
            Self::Hybrid { share } => share > 0.0 && share < 1.0,
            Self::Gaussian { size } => (2..=65536).contains(&size),
            Self::Masked
            | Self::ScoreEntropy
            | Self::Uniform
            | Self::UniformPosterior
            | Self::Simplex
            | Self::SimplexArgmax => true,
        }
    }
}

impl fmt::Display for ProcessKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Masked => f.write_str("masked"),
            Self::ScoreEntropy => f.write_str("score-entropy"),
            Self::Uniform => f.write_str("uniform"),
            Self::UniformPosterior => f.write_str("uniform-posterior"),
            Self::Duo { temperature } => write!(f, "duo:{temperature}"),
            Self::Hybrid { share } => write!(f, "hybrid:{share}"),
            Self::Gaussian { size } => write!(f, "gaussian:{size}"),
            Self::Simplex => f.write_str("simplex"),
            Self::SimplexArgmax => f.write_str("simplex-argmax"),
        }
    }
}

impl FromStr for ProcessKind {
    type Err = SettingError;

    fn from_str(name: &str) -> Result<Self, SettingError> {
        let named = Named::parse("process", name, ALLOWED);
        let whole = |size: f64| Self::Gaussian { size: if size.fract() == 0.0 { size as usize } else { 0 } };
        match named.word {
            "masked" => named.plain(Self::Masked),
            "score-entropy" => named.plain(Self::ScoreEntropy),
            "uniform" => named.plain(Self::Uniform),
            "uniform-posterior" => named.plain(Self::UniformPosterior),
            "duo" => {
                let fits = |temperature| Self::Duo { temperature }.fits();
                let temperature = named.number(Some(Duo::TEMPERATURE), "above 0 and at most 1", fits)?;
                Ok(Self::Duo { temperature })
            }
            "hybrid" => {
                let fits = |share| Self::Hybrid { share }.fits();
                Ok(Self::Hybrid { share: named.number(Some(Mixing::SHARE), "above 0 and below 1", fits)? })
            }
            "gaussian" => {
                let fits = |size| whole(size).fits();
                named.number(Some(Gaussian::SIZE as f64), "of coordinates, 2 or more", fits).map(whole)
            }
            "simplex" => named.plain(Self::Simplex),
            "simplex-argmax" => named.plain(Self::SimplexArgmax),
            _ => Err(named.refuse()),
        }
    }
}

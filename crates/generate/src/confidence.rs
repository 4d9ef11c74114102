//! Confidence in a candidate: of which distribution it is, where that is not the prediction as the network has it.
//!
//! Dream (2508.15487), SDAR (2510.06303) and RND1 rank positions after temperature, top-k and top-p; LLaDA (2502.09992)
//! may leave tokens out of the ranking that end a text. Both need the whole row of logits.

use crate::Settings;
use aquatint_compute::{ShapedRow, shape_row};
use aquatint_diffusion::{Candidate, SettingError, TokenId};
use aquatint_network::{RowDraw, Sampling};
use std::fmt;
use std::str::FromStr;

/// Of which distribution confidence, entropy and margin are.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum ConfidenceOf {
    /// The prediction itself, at temperature 1 and before everything that shapes a draw.
    #[default]
    Prediction,
    /// What is left of the prediction after penalties, temperature, min-p, top-k and top-p.
    Shaped {
        /// The temperature, above 0; `None` for that of the draw, or 1 where that is 0.
        temperature: Option<f64>,
    },
}

impl ConfidenceOf {
    /// Refuses a temperature that no distribution has.
    pub(crate) fn validate(self) -> Result<(), SettingError> {
        match self {
            Self::Shaped { temperature: Some(t) } if !(t.is_finite() && t > 0.0) => Err(refused(&self.to_string())),
            _ => Ok(()),
        }
    }
}

fn refused(given: &str) -> SettingError {
    SettingError {
        parameter: "confidence_of",
        given: format!("\"{given}\""),
        allowed: "prediction, shaped, shaped:TEMPERATURE".to_owned(),
        hint: Some("TEMPERATURE is above 0; without it, it is that of the draw".to_owned()),
    }
}

impl fmt::Display for ConfidenceOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prediction => f.write_str("prediction"),
            Self::Shaped { temperature: None } => f.write_str("shaped"),
            Self::Shaped { temperature: Some(temperature) } => write!(f, "shaped:{temperature}"),
        }
    }
}

impl FromStr for ConfidenceOf {
    type Err = SettingError;

    fn from_str(name: &str) -> Result<Self, SettingError> {
        let of = match name.split_once(':') {
            None if name == "prediction" => Self::Prediction,
            None if name == "shaped" => Self::Shaped { temperature: None },
            Some(("shaped", temperature)) => {
                Self::Shaped { temperature: Some(temperature.parse().map_err(|_| refused(name))?) }
            }
            _ => return Err(refused(name)),
        };
        of.validate()?;
        Ok(of)
    }
}

/// How the confidence of one request is measured on whole rows; `None` where the answer of the device has it.
#[derive(Debug, Clone)]
pub(crate) struct Confidence {
    /// How a row is shaped first; `None` where it is not.
    sampling: Option<Sampling>,
    /// Whether the temperature is that of the draw.
    as_drawn: bool,
    /// Tokens without confidence, ascending.
    deferred: Vec<TokenId>,
}

impl Confidence {
    /// As the settings have it.
    pub(crate) fn of(settings: &Settings) -> Option<Self> {
        let shaping = &settings.shaping;
        let temperature = |own: Option<f64>| match own {
            Some(temperature) => temperature,
            None if shaping.temperature == 0.0 => 1.0,
            None => shaping.temperature,
        };
        let sampling = match settings.choice.confidence_of {
            ConfidenceOf::Prediction => None,
            ConfidenceOf::Shaped { temperature: own } => Some(Sampling {
                repetition_penalty: shaping.repetition_penalty,
                temperature: temperature(own),
                min_p: shaping.min_p,
                top_k: shaping.top_k,
                top_p: shaping.top_p,
            }),
        };
        let biased = shaping.counts_tokens() || !settings.logit_bias.is_empty();
        // What shapes nothing leaves the prediction.
        let changes = shaping.final_temperature.is_some();
        let sampling = sampling.filter(|sampling| *sampling != Sampling::NONE || biased || changes);
        let as_drawn = settings.choice.confidence_of == ConfidenceOf::Shaped { temperature: None };
        let deferred = settings.choice.deferred.clone();
        (sampling.is_some() || !deferred.is_empty()).then_some(Self { sampling, as_drawn, deferred })
    }

    /// The candidate with the confidence, entropy and margin that a row of logits gives it; the row is changed as a draw
    /// changes it.
    pub(crate) fn measure(&self, candidate: Candidate, logits: &mut [f32], draw: &RowDraw<'_>) -> Candidate {
        let mut sampling = self.sampling.unwrap_or(Sampling::NONE);
        if self.as_drawn && draw.sampling.temperature > 0.0 {
            sampling.temperature = draw.sampling.temperature;
        }
        let plain = RowDraw { sampling, repeated: &[], biases: &[], ..*draw };
        let draw = if self.sampling.is_some() { RowDraw { sampling, ..*draw } } else { plain };
        let ShapedRow { logits, retained, .. } = shape_row(logits, &draw);
        let retained = retained.unwrap_or_else(|| (0..logits.len() as TokenId).collect());
        let counts = |token: &TokenId| self.deferred.binary_search(token).is_err();
        let scaled = |token: &TokenId| logits[*token as usize] / sampling.temperature;
        let highest = retained.iter().filter(|token| counts(token)).map(scaled).fold(f64::NEG_INFINITY, f64::max);
        let weight = |token: &TokenId| if counts(token) { (scaled(token) - highest).exp() } else { 0.0 };
        let total: f64 = retained.iter().map(weight).sum();
        if !(highest.is_finite() && total > 0.0) {
            return Candidate { probability: 0.0, entropy: 0.0, margin: 0.0, ..candidate };
        }
        let (mut first, mut second, mut entropy) = (0.0f64, 0.0f64, 0.0);
        for probability in retained.iter().map(|token| weight(token) / total).filter(|p| *p > 0.0) {
            entropy -= probability * probability.ln();
            (first, second) = if probability > first { (probability, first) } else { (first, second.max(probability)) };
        }
        let probability = if retained.contains(&candidate.token) { weight(&candidate.token) / total } else { 0.0 };
        Candidate { probability, entropy, margin: first - second, ..candidate }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for name in ["prediction", "shaped", "shaped:0.6"] {
            assert_eq!(name.parse::<ConfidenceOf>().unwrap().to_string(), name);
        }
        for wrong in ["", "shaped:0", "shaped:x", "shaped:-1", "prediction:1", "draw"] {
            assert!(wrong.parse::<ConfidenceOf>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_confidence_is_of_what_is_left() {
        let settings = |builder: crate::SettingsBuilder| builder.build().unwrap();
        let candidate =
            |token| Candidate { token, probability: 0.0, entropy: 0.0, margin: 0.0, likeliest: 0, mass: 1.0 };
        let logits: Vec<f32> = [0.4f32, 0.3, 0.2, 0.1].iter().map(|p| p.ln()).collect();
        let draw = RowDraw::new(Sampling::NONE, 0.5);
        let measured = |builder, token| {
            let confidence = Confidence::of(&settings(builder)).expect("something to measure");
            confidence.measure(candidate(token), &mut logits.clone(), &draw)
        };
        let shaped = ConfidenceOf::Shaped { temperature: None };
        let two = measured(Settings::builder().temperature(0.0).top_k(2).confidence_of(shaped), 0);
        assert!((two.probability - 4.0 / 7.0).abs() < 1e-6 && (two.margin - 1.0 / 7.0).abs() < 1e-6, "{two:?}");
        let deferred = measured(Settings::builder().defer_tokens([0]), 1);
        assert!((deferred.probability - 0.5).abs() < 1e-6, "{deferred:?}");
        assert_eq!(measured(Settings::builder().defer_tokens([0]), 0).probability, 0.0);
        assert!(Confidence::of(&settings(Settings::builder().confidence_of(shaped))).is_none());
        assert!(Confidence::of(&Settings::default()).is_none());
    }
}

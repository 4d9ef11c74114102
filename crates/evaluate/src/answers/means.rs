//! Means over answers with 95 % intervals.
//!
//! A share (exact match) has Wilson's score interval (1927), which is not empty at 0 and 1; a mean the normal one, cut to
//! [0, 1]. Rows count as independent.

use super::AnswerScores;
use crate::share::{Share, Z};

/// A mean with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// The lower end of the 95 % interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The means of some answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// How many there are.
    pub answers: usize,
    /// Of exact match.
    pub exact_match: Mean,
    /// Of token F1.
    pub token_f1: Mean,
    /// Of ROUGE-L.
    pub rouge_l: Mean,
}

impl Mean {
    /// Of numbers in [0, 1].
    fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        // Of one number the spread is not known: the interval is everything.
        let error = if values.len() > 1 { (squares / (count - 1.0) / count).sqrt() } else { f64::INFINITY };
        Self { mean, low: (mean - Z * error).max(0.0), high: (mean + Z * error).min(1.0) }
    }

    /// Of numbers that are 0 or 1.
    fn of_share(values: &[f64]) -> Self {
        let share: Share = values.iter().map(|value| *value == 1.0).collect();
        let [low, high] = share.interval();
        Self { mean: share.rate(), low, high }
    }
}

/// The means of some answers; `None` of none.
pub fn measured(scores: &[AnswerScores]) -> Option<Measured> {
    let of = |value: fn(&AnswerScores) -> f64| -> Vec<f64> { scores.iter().map(value).collect() };
    (!scores.is_empty()).then(|| Measured {
        answers: scores.len(),
        exact_match: Mean::of_share(&of(|scores| scores.exact_match)),
        token_f1: Mean::of(&of(|scores| scores.token_f1)),
        rouge_l: Mean::of(&of(|scores| scores.rouge_l)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64) {
        assert!((one - other).abs() < 1e-9, "{one} {other}");
    }

    #[test]
    fn intervals_are_those_of_the_formulas() {
        let mean = Mean::of(&[0.2, 0.4, 0.6, 0.8]);
        near(mean.mean, 0.5);
        let error = (0.2f64 / 3.0 / 4.0).sqrt();
        near(mean.low, 0.5 - Z * error);
        near(mean.high, 0.5 + Z * error);
        // Wilson's interval of 0 of n is [0, z²/(n + z²)], and of n of n its mirror.
        let none = Mean::of_share(&[0.0; 10]);
        near(none.low, 0.0);
        near(none.high, Z * Z / (10.0 + Z * Z));
        let all = Mean::of_share(&[1.0; 10]);
        near(all.low, 10.0 / (10.0 + Z * Z));
        near(all.high, 1.0);
        let one = Mean::of(&[0.5]);
        assert_eq!((one.low, one.high), (0.0, 1.0));
    }

    #[test]
    fn nothing_has_no_mean() {
        assert_eq!(measured(&[]), None);
        let scores = [AnswerScores { exact_match: 1.0, token_f1: 1.0, rouge_l: 0.5 }, AnswerScores::default()];
        let measured = measured(&scores).unwrap();
        assert_eq!((measured.answers, measured.exact_match.mean, measured.rouge_l.mean), (2, 0.5, 0.25));
    }
}

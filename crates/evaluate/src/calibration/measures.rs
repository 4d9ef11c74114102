//! Calibration, risk by coverage, and abstaining.

use crate::Share;
use serde::Serialize;

/// Bins of equal width.
const BINS: usize = 10;
/// Points of a curve.
const POINTS: usize = 20;

/// An answer with its score.
#[derive(Debug, Clone, Copy)]
pub struct Scored {
    /// Higher where the model is surer.
    pub score: f64,
    /// Whether it is right.
    pub right: bool,
}

/// Answers whose scores lie in one bin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// How many.
    pub count: u64,
    /// Their mean score.
    pub score: f64,
    /// The share of right ones.
    pub accuracy: f64,
}

/// What a score is worth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Signal {
    /// Its name.
    pub name: String,
    /// Expected calibration error; of scores that are probabilities.
    pub calibration_error: Option<f64>,
    /// Mean squared difference of score and rightness (Brier); of scores that are probabilities.
    pub brier: Option<f64>,
    /// The bins that hold something, from low to high; of scores that are probabilities.
    pub bins: Vec<Bin>,
    /// The mean risk over all coverages; that of a score that says nothing is the share of wrong answers.
    pub aurc: f64,
    /// The probability that a right answer has a higher score than a wrong one (AUROC), one half for a score that says
    /// nothing; none where all are right or all are wrong.
    pub auroc: Option<f64>,
    /// Coverage and risk, by coverage.
    pub risk: Vec<(f64, f64)>,
}

/// How sure a model is of answers, and how often it is right.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibrated {
    /// How many are right.
    pub accuracy: Share,
    /// By what says how sure it is.
    pub signals: Vec<Signal>,
}

/// What is left of answers where those below a score are left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Abstained {
    /// The score.
    pub below: f64,
    /// The share that is answered.
    pub coverage: f64,
    /// How many of these are right.
    pub accuracy: Share,
}

/// What abstaining below each threshold of a score costs and gives.
pub(crate) fn abstained(scored: &[Scored], thresholds: impl IntoIterator<Item = f64>) -> Vec<Abstained> {
    let row = |below: f64| {
        let accuracy: Share = scored.iter().filter(|one| one.score >= below).map(|one| one.right).collect();
        Abstained { below, coverage: accuracy.count as f64 / scored.len() as f64, accuracy }
    };
    thresholds.into_iter().map(row).collect()
}

impl Signal {
    /// Of scores that are meant as probabilities.
    pub fn of_probabilities(name: &str, scored: &[Scored]) -> Self {
        let mut bins = vec![(0u64, 0.0, 0.0); BINS];
        for one in scored {
            let bin = &mut bins[((one.score * BINS as f64) as usize).min(BINS - 1)];
            *bin = (bin.0 + 1, bin.1 + one.score, bin.2 + f64::from(u8::from(one.right)));
        }
        let bins: Vec<Bin> = bins
            .into_iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, score, right)| Bin { count, score: score / count as f64, accuracy: right / count as f64 })
            .collect();
        let all = scored.len() as f64;
        let error = bins.iter().map(|bin| bin.count as f64 / all * (bin.accuracy - bin.score).abs()).sum();
        let brier = scored.iter().map(|one| (one.score - f64::from(u8::from(one.right))).powi(2)).sum::<f64>() / all;
        Self { calibration_error: Some(error), brier: Some(brier), bins, ..Self::of_ranks(name, scored) }
    }

    /// Of scores that only rank.
    pub fn of_ranks(name: &str, scored: &[Scored]) -> Self {
        let mut sorted = scored.to_vec();
        sorted.sort_by(|a, b| b.score.total_cmp(&a.score));
        // Answers of one score come in any order: each is as wrong as they are together.
        let mut wrong = Vec::with_capacity(sorted.len());
        // Pairs of a right and a wrong answer in which the right one is ahead; halves for those of one score.
        let (mut ahead, mut right_before) = (0.0, 0.0);
        for ties in sorted.chunk_by(|a, b| a.score == b.score) {
            let right = ties.iter().filter(|one| one.right).count() as f64;
            let of_wrong = ties.len() as f64 - right;
            wrong.extend(std::iter::repeat_n(of_wrong / ties.len() as f64, ties.len()));
            ahead += of_wrong * (right_before + right / 2.0);
            right_before += right;
        }
        let mut sum = 0.0;
        let risks: Vec<f64> = (1u32..)
            .zip(&wrong)
            .map(|(count, wrong)| {
                sum += wrong;
                sum / f64::from(count)
            })
            .collect();
        let pairs = right_before * (sorted.len() as f64 - right_before);
        let all = risks.len();
        let mut points: Vec<usize> = (1..=POINTS).map(|point| (all * point).div_ceil(POINTS)).collect();
        points.dedup();
        points.retain(|count| *count > 0);
        Self {
            name: name.to_owned(),
            calibration_error: None,
            brier: None,
            bins: Vec::new(),
            aurc: risks.iter().sum::<f64>() / all.max(1) as f64,
            auroc: (pairs > 0.0).then(|| ahead / pairs),
            risk: points.into_iter().map(|count| (count as f64 / all as f64, risks[count - 1])).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(all: &[(f64, bool)]) -> Vec<Scored> {
        all.iter().map(|&(score, right)| Scored { score, right }).collect()
    }

    #[test]
    fn errors_are_those_of_the_bins() {
        // Two in the bin from 0.9 on, half of them right; two from 0.2 on, none right.
        let signal = Signal::of_probabilities("p", &scored(&[(1.0, true), (0.9, false), (0.2, false), (0.25, false)]));
        let error = 0.5 * (0.95 - 0.5) + 0.5 * 0.225;
        assert!((signal.calibration_error.unwrap() - error).abs() < 1e-12);
        let brier = (0.0 + 0.81 + 0.04 + 0.0625) / 4.0;
        assert!((signal.brier.unwrap() - brier).abs() < 1e-12);
        assert_eq!(signal.bins.iter().map(|bin| bin.count).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn risk_is_of_the_surest_and_ties_count_together() {
        let signal = Signal::of_ranks("p", &scored(&[(0.1, false), (0.9, true), (0.5, true), (0.5, false)]));
        // Risks by coverage: 0, (0 + ½)/2, 1/3, 1/2.
        let risks = [0.0, 0.25, 1.0 / 3.0, 0.5];
        assert!((signal.aurc - risks.iter().sum::<f64>() / 4.0).abs() < 1e-12);
        assert_eq!(signal.risk.last(), Some(&(1.0, 0.5)));
        assert_eq!(signal.risk[0], (0.25, 0.0));
        // Of four pairs the right one is ahead in three and a half.
        assert_eq!(signal.auroc, Some(3.5 / 4.0));
        let nothing = Signal::of_ranks("p", &scored(&[(0.5, true), (0.5, false), (0.5, false)]));
        assert!((nothing.aurc - 2.0 / 3.0).abs() < 1e-12 && nothing.auroc == Some(0.5));
        assert_eq!(Signal::of_ranks("p", &scored(&[(0.5, true)])).auroc, None);
    }

    #[test]
    fn what_has_the_threshold_itself_is_answered() {
        let rows = abstained(&scored(&[(0.25, false), (0.5, true), (1.0, true), (1.0, false)]), [0.5, 1.0]);
        let of =
            |below: f64, coverage: f64, hits, count| Abstained { below, coverage, accuracy: Share { hits, count } };
        assert_eq!(rows, [of(0.5, 0.75, 2, 3), of(1.0, 0.5, 1, 2)]);
    }
}

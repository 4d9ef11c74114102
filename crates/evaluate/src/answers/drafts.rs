//! How sure a model is of its answers, and whether it is right as often: by how far further drafts agree with an answer, and
//! by its probability at commit.
//!
//! Answers are right by two measures, each by itself: exact match with a reference, and a token F1 of [`RIGHT_F1`] or more,
//! which takes an answer with a word too many for right. What is measured of them is what [`crate::calibration()`] measures.

use super::AnswerScores;
use crate::calibration::{Calibrated, Scored, Signal, abstained};
use crate::{Abstained, DraftAgreement};
use serde::Serialize;

/// The F1 of words from which on an answer is right by F1.
const RIGHT_F1: f64 = 0.5;
/// Thresholds of abstaining at most.
const THRESHOLDS: usize = 10;

/// An answer of which further drafts were made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DraftedAnswer {
    /// What it scores.
    pub scores: AnswerScores,
    /// How far the drafts agree with it.
    pub agreement: DraftAgreement,
    /// The geometric mean of the probabilities of its tokens at commit; `None` where nothing was written, which is as unsure as
    /// can be.
    pub probability: Option<f64>,
}

/// How sure a model is of answers that are right by one measure, and what abstaining gives.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RightAnswers {
    /// How sure it is, and how often it is right.
    #[serde(flatten)]
    pub calibrated: Calibrated,
    /// What is left where answers are left out whose share of drafts in one cluster is below a threshold.
    pub abstained: Vec<Abstained>,
}

/// How sure a model is of its answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DraftFigures {
    /// Further drafts of each answer.
    pub drafts: usize,
    /// The F1 of words from which on two drafts are near.
    pub near: f64,
    /// Where an exact match is right.
    pub exact_match: RightAnswers,
    /// Where a token F1 of one half or more, or an exact match, is right.
    pub token_f1: RightAnswers,
}

/// How sure a model is of some answers, each with so many further drafts that are near from an F1 of `near` on; `None` of no
/// answers.
pub fn draft_figures(answers: &[DraftedAnswer], drafts: usize, near: f64) -> Option<DraftFigures> {
    // The shares that there are, or tenths of them.
    let thresholds = drafts.min(THRESHOLDS);
    let right_by = |is_right: fn(&AnswerScores) -> bool| {
        let scored = |score: fn(&DraftedAnswer) -> f64| -> Vec<Scored> {
            answers.iter().map(|one| Scored { score: score(one), right: is_right(&one.scores) }).collect()
        };
        let agreed = scored(|one| one.agreement.same_cluster);
        let signals = vec![
            Signal::of_probabilities("drafts in one cluster", &agreed),
            Signal::of_ranks("semantic entropy", &scored(|one| -one.agreement.entropy)),
            Signal::of_probabilities("probability at commit", &scored(|one| one.probability.unwrap_or(0.0))),
        ];
        let accuracy = agreed.iter().map(|one| one.right).collect();
        let thresholds = (1..=thresholds).map(|share| share as f64 / thresholds as f64);
        RightAnswers { calibrated: Calibrated { accuracy, signals }, abstained: abstained(&agreed, thresholds) }
    };
    (!answers.is_empty()).then(|| DraftFigures {
        drafts,
        near,
        exact_match: right_by(|scores| scores.exact_match == 1.0),
        // Texts without a word, such as `A!`, have no F1 and can be the same.
        token_f1: right_by(|scores| scores.exact_match == 1.0 || scores.token_f1 >= RIGHT_F1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::score;

    fn drafted(answer: &str, reference: &str, others: &[&str], probability: Option<f64>) -> DraftedAnswer {
        let others: Vec<String> = others.iter().map(|text| (*text).to_owned()).collect();
        let agreement = DraftAgreement::new(answer, &others, DraftAgreement::NEAR).unwrap();
        DraftedAnswer { scores: score(answer, [reference]), agreement, probability }
    }

    #[test]
    fn each_measure_of_right_answers_has_its_own_figures_by_every_signal() {
        let answers = [
            drafted("the fox", "fox", &["fox", "a fox"], Some(0.75)),
            drafted("red fox", "fox", &["red fox", "sea"], Some(0.25)),
            drafted("sea", "fox", &["hen", "dog"], None),
            drafted("dog", "fox", &["dog", "dog"], Some(0.5)),
        ];
        let figures = draft_figures(&answers, 2, DraftAgreement::NEAR).unwrap();
        let (exact, near) = (&figures.exact_match, &figures.token_f1);
        // `red fox` for `fox` has an F1 of two thirds.
        assert_eq!((exact.calibrated.accuracy.hits, near.calibrated.accuracy.hits), (1, 2));
        let auroc = |right: &RightAnswers| -> Vec<f64> {
            right.calibrated.signals.iter().map(|signal| signal.auroc.unwrap()).collect()
        };
        // Shares 1, 0.5, 0 and 1; entropies 0, ln 3 − ⅔ ln 2, ln 3 and 0; the empty answer is the least probable one.
        assert_eq!(auroc(exact), [2.5 / 3.0, 2.5 / 3.0, 1.0]);
        assert_eq!(auroc(near), [2.5 / 4.0, 2.5 / 4.0, 3.0 / 4.0]);
        let left = |right: &RightAnswers| -> Vec<(f64, f64, u64)> {
            right.abstained.iter().map(|row| (row.below, row.coverage, row.accuracy.hits)).collect()
        };
        assert_eq!(left(exact), [(0.5, 0.75, 1), (1.0, 0.5, 1)]);
        assert_eq!(left(near), [(0.5, 0.75, 2), (1.0, 0.5, 1)]);
        // Entropies only rank.
        let errors: Vec<bool> =
            exact.calibrated.signals.iter().map(|signal| signal.calibration_error.is_some()).collect();
        assert_eq!(errors, [true, false, true]);
    }

    #[test]
    fn thresholds_are_the_shares_that_there_are_and_tenths_of_many() {
        let thresholds = |drafts: usize| -> Vec<f64> {
            let others = vec!["fox"; drafts];
            let figures = draft_figures(&[drafted("fox", "fox", &others, None)], drafts, 0.5).unwrap();
            figures.exact_match.abstained.iter().map(|row| row.below).collect()
        };
        assert_eq!(thresholds(4), [0.25, 0.5, 0.75, 1.0]);
        assert_eq!((thresholds(1), thresholds(30).len(), thresholds(30)[2]), (vec![1.0], 10, 0.3));
        assert_eq!(draft_figures(&[], 4, 0.5), None);
        // What a table calls a threshold is one.
        let eight = draft_figures(&[drafted("fox", "fox", &["fox"; 8], None)], 8, 0.5).unwrap();
        let table = crate::answers::draft_tables("m", &eight);
        assert!(table.contains("\n| 0.125 |") && table.contains("\n| 0.875 |"), "{table}");
    }
}

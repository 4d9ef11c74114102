//! How far several drafts of an answer agree as texts, after semantic entropy (Kuhn et al., 2302.09664), with two deviations.
//! No model says which drafts mean the same: two texts are one where they are the same words after SQuAD's normalisation, and
//! near where the F1 of their words is one half or more; a cluster holds what is near one after another (single linkage). So
//! paraphrases in other words count as other answers, and `not` hardly counts. And the figure is no entropy over clusters but the
//! share of the further drafts that are in the cluster of the first, which is the answer that is measured.

use crate::answers::{exact_match, token_f1};

/// The F1 of words from which on two drafts are near.
const NEAR: f64 = 0.5;

/// How far further drafts agree with the first one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct DraftAgreement {
    /// The share of further drafts with the same words.
    pub(super) same_words: f64,
    /// The share of further drafts in its cluster.
    pub(super) same_cluster: f64,
}

impl DraftAgreement {
    /// The agreement of further drafts with the first; `None` without further ones.
    pub(super) fn new(first: &str, others: &[String]) -> Option<Self> {
        if others.is_empty() {
            return None;
        }
        let count = others.len() as f64;
        let same = others.iter().filter(|other| exact_match(first, other)).count();
        let is_near = |a: &str, b: &str| exact_match(a, b) || token_f1(a, b) >= NEAR;
        let (mut cluster, mut rest) = (vec![first], others.iter().map(String::as_str).collect::<Vec<&str>>());
        let mut reached = 0;
        while let Some(one) = cluster.get(reached).copied() {
            reached += 1;
            let (near, left) = rest.into_iter().partition(|other| is_near(one, other));
            cluster.extend::<Vec<&str>>(near);
            rest = left;
        }
        Some(Self { same_words: same as f64 / count, same_cluster: (cluster.len() - 1) as f64 / count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreement(first: &str, others: &[&str]) -> Option<(f64, f64)> {
        let others: Vec<String> = others.iter().map(|text| (*text).to_owned()).collect();
        DraftAgreement::new(first, &others).map(|of| (of.same_words, of.same_cluster))
    }

    #[test]
    fn drafts_are_the_same_by_their_words_and_near_by_their_f1() {
        assert_eq!(agreement("a", &[]), None);
        assert_eq!(agreement("The red fox", &["red fox!", "a Red fox", "blue sea", "red hen"]), Some((0.5, 0.75)));
        // Near to one that is near, whatever their order.
        let chain = ["sea cold", "fox cold", "nothing here"];
        assert_eq!(agreement("red fox", &chain), Some((0.0, 2.0 / 3.0)));
        // Texts without a word are the same as each other and near nothing else.
        assert_eq!(agreement("", &["the", "fox"]), Some((0.5, 0.5)));
    }
}

//! How far several drafts of an answer agree as texts, after semantic entropy (Kuhn et al., 2302.09664; Farquhar et al., Nature
//! 630, 2024, doi:10.1038/s41586-024-07421-0), with three deviations. No model says which drafts mean the same: two texts are
//! one where they are the same words after SQuAD's normalisation, and near where the F1 of their words reaches a bound. So
//! paraphrases in other words count as other answers, and `not` hardly counts. A cluster holds what is near one after another
//! (single linkage), where the papers compare with its first text. And the answer that is measured counts as one of the
//! drafts, where they take those at a high temperature alone.
//!
//! The entropy is the discrete one, of the shares of drafts in each cluster. It says how many answers there are; the share of
//! further drafts in the cluster of the first says how many agree with the answer that is measured.

use crate::answers::{exact_match, token_f1};

/// How far further drafts agree with the first one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DraftAgreement {
    /// The share of further drafts with the same words.
    pub same_words: f64,
    /// The share of further drafts in its cluster.
    pub same_cluster: f64,
    /// The entropy of the clusters of all drafts, the first one too, in nats: 0 of one cluster, the logarithm of the number of
    /// drafts where each has its own.
    pub entropy: f64,
}

impl DraftAgreement {
    /// The F1 of words from which on two drafts are near, where nothing else is said.
    pub const NEAR: f64 = 0.5;

    /// The agreement of further drafts with the first, near from an F1 of `near` on; `None` without further ones.
    pub fn new(first: &str, others: &[String], near: f64) -> Option<Self> {
        if others.is_empty() {
            return None;
        }
        let count = others.len() as f64;
        let same = others.iter().filter(|other| exact_match(first, other)).count();
        let all: Vec<&str> = std::iter::once(first).chain(others.iter().map(String::as_str)).collect();
        let clusters = cluster_sizes(&all, near);
        let same_cluster = clusters.first().map_or(0.0, |size| (size - 1) as f64 / count);
        // In one order whatever the drafts' order is, so that equal partitions rank alike to the last bit.
        let mut sizes = clusters;
        sizes.sort_unstable();
        let entropy_of = |size: &usize| {
            let inverse = all.len() as f64 / *size as f64;
            inverse.ln() / inverse
        };
        Some(Self { same_words: same as f64 / count, same_cluster, entropy: sizes.iter().map(entropy_of).sum() })
    }
}

/// The sizes of the clusters of some texts, that of the first text first.
fn cluster_sizes(texts: &[&str], near: f64) -> Vec<usize> {
    let is_near = |a: &str, b: &str| exact_match(a, b) || token_f1(a, b) >= near;
    let (mut sizes, mut rest) = (Vec::new(), texts.to_vec());
    while !rest.is_empty() {
        let mut cluster = vec![rest.remove(0)];
        let mut reached = 0;
        while let Some(one) = cluster.get(reached).copied() {
            reached += 1;
            let (near, left) = rest.into_iter().partition(|other| is_near(one, other));
            cluster.extend::<Vec<&str>>(near);
            rest = left;
        }
        sizes.push(cluster.len());
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreement(first: &str, others: &[&str], near: f64) -> Option<DraftAgreement> {
        let others: Vec<String> = others.iter().map(|text| (*text).to_owned()).collect();
        DraftAgreement::new(first, &others, near)
    }

    fn shares(first: &str, others: &[&str]) -> Option<(f64, f64)> {
        agreement(first, others, DraftAgreement::NEAR).map(|of| (of.same_words, of.same_cluster))
    }

    #[test]
    fn drafts_are_the_same_by_their_words_and_near_by_their_f1() {
        assert_eq!(shares("a", &[]), None);
        assert_eq!(shares("The red fox", &["red fox!", "a Red fox", "blue sea", "red hen"]), Some((0.5, 0.75)));
        // Near to one that is near, whatever their order.
        let chain = ["sea cold", "fox cold", "nothing here"];
        assert_eq!(shares("red fox", &chain), Some((0.0, 2.0 / 3.0)));
        // Texts without a word are the same as each other and near nothing else.
        assert_eq!(shares("", &["the", "fox"]), Some((0.5, 0.5)));
    }

    #[test]
    fn entropy_is_nothing_of_one_cluster_and_the_logarithm_of_the_drafts_where_each_has_its_own() {
        let entropy = |first: &str, others: &[&str], near: f64| agreement(first, others, near).unwrap().entropy;
        let near = DraftAgreement::NEAR;
        // No negative zero, which a file would show.
        assert_eq!(entropy("fox", &["The fox", "fox!", "a fox"], near).to_bits(), 0.0f64.to_bits());
        for count in 1..=8 {
            let others: Vec<String> = (0..count).map(|number| format!("w{number}")).collect();
            let others: Vec<&str> = others.iter().map(String::as_str).collect();
            let expected = f64::from(count + 1).ln();
            assert!((entropy("fox", &others, near) - expected).abs() < 1e-12, "{count}");
        }
        // One pair and three alone, to the bit wherever the pair stands.
        let pairs = [["a1", "a1", "b", "c", "d"], ["b", "a1", "c", "a1", "d"], ["b", "c", "d", "a1", "a1"]];
        let of_pairs = pairs.map(|drafts| entropy(drafts[0], &drafts[1..], near).to_bits());
        assert!(of_pairs.iter().all(|bits| *bits == of_pairs[0]), "{of_pairs:?}");
        // Three of four in one cluster, wherever the fourth stands.
        let expected = -(0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
        for drafts in [["fox", "fox", "fox", "sea"], ["sea", "fox", "fox", "fox"]] {
            assert!((entropy(drafts[0], &drafts[1..], near) - expected).abs() < 1e-12, "{drafts:?}");
        }
        // A chain is one cluster by single linkage, and three where only the same words are near.
        let chain = ["fox cold", "sea cold"];
        assert_eq!(entropy("red fox", &chain, near), 0.0);
        assert!((entropy("red fox", &chain, 1.0) - 3.0f64.ln()).abs() < 1e-12);
        assert_eq!(agreement("red fox", &["fox cold"], 0.6).unwrap().same_cluster, 0.0);
    }
}

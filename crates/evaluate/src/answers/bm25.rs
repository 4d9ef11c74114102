//! Retrieval as a baseline: the sentence of a passage that has the most of a question's words, by Okapi BM25 with the
//! sentences as the collection (Robertson & Zaragoza 2009, equation 3.15; the rarity of a word is that of Lucene, which is
//! never negative).

use std::collections::{HashMap, HashSet};

/// How soon more of a word counts for less.
const K1: f64 = 1.2;
/// How much a sentence's length counts.
const B: f64 = 0.75;

/// The sentences of a text: each ends at a full stop, an exclamation mark or a question mark, and the quotation mark behind
/// it, before white space, or with its line.
pub fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut start = 0;
        let mut ended = false;
        for (at, character) in line.char_indices() {
            if ended && character.is_whitespace() {
                found.push(line[start..at].trim());
                start = at;
            }
            ended = match character {
                '.' | '!' | '?' => true,
                '"' | '\'' | '\u{201D}' | '\u{2019}' => ended,
                _ => false,
            };
        }
        found.push(line[start..].trim());
    }
    found.retain(|sentence| !sentence.is_empty());
    found
}

/// The words of a text, in lower case.
fn words(text: &str) -> Vec<String> {
    let is_other = |c: char| !c.is_alphanumeric() && c != '_';
    text.to_lowercase().split(is_other).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The score of each document for a query.
fn scores(query: &str, documents: &[&str]) -> Vec<f64> {
    let counted: Vec<HashMap<String, usize>> = documents.iter().map(|document| counts(document)).collect();
    let total = |document: &HashMap<String, usize>| document.values().sum::<usize>() as f64;
    let mean = counted.iter().map(total).sum::<f64>() / (counted.len() as f64).max(1.0);
    let mut query = words(query);
    let mut known = HashSet::new();
    // In the order of the query, so that sums are added in one order.
    query.retain(|word| known.insert(word.clone()));
    let holding = |word: &String| counted.iter().filter(|document| document.contains_key(word)).count() as f64;
    let rarity: Vec<f64> = query
        .iter()
        .map(|word| (1.0 + (counted.len() as f64 - holding(word) + 0.5) / (holding(word) + 0.5)).ln())
        .collect();
    let score = |document: &HashMap<String, usize>| -> f64 {
        let norm = K1 * (1.0 - B + B * total(document) / mean.max(f64::MIN_POSITIVE));
        let of_word = |(word, rarity): (&String, &f64)| {
            let count = document.get(word).copied().unwrap_or_default() as f64;
            rarity * count * (K1 + 1.0) / (count + norm)
        };
        query.iter().zip(&rarity).map(of_word).sum()
    };
    counted.iter().map(score).collect()
}

fn counts(text: &str) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    words(text).into_iter().for_each(|word| *counts.entry(word).or_default() += 1);
    counts
}

/// The sentence of a passage that scores best for a question, the first of several; the empty text of a passage without
/// one.
pub fn best_sentence<'a>(query: &str, passage: &'a str) -> &'a str {
    let sentences = sentences(passage);
    let mut best: Option<(&str, f64)> = None;
    for (sentence, score) in sentences.iter().zip(scores(query, &sentences)) {
        if best.is_none_or(|(_, highest)| score > highest) {
            best = Some((sentence, score));
        }
    }
    best.map(|(sentence, _)| sentence).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_keep_their_marks() {
        let text = "\"Go!\" said he. \"Why?\"\nMr. Fox went 3.5 miles";
        assert_eq!(sentences(text), ["\"Go!\"", "said he.", "\"Why?\"", "Mr.", "Fox went 3.5 miles"]);
        assert!(sentences(" \n ").is_empty());
    }

    #[test]
    fn scores_are_those_of_the_formula() {
        let documents = ["the fox ran", "the hen sat sat here"];
        // Both have `the`, one of two `sat`, twice among five words where the mean is four.
        let (common, rare) = ((1.0f64 + 0.5 / 2.5).ln(), (1.0f64 + 1.5 / 1.5).ln());
        let norm = |length: f64| 1.2 * (0.25 + 0.75 * length / 4.0);
        let expected =
            [common * 2.2 / (1.0 + norm(3.0)), common * 2.2 / (1.0 + norm(5.0)) + rare * 2.0 * 2.2 / (2.0 + norm(5.0))];
        for (score, expected) in scores("The sat, the cow?", &documents).into_iter().zip(expected) {
            assert!((score - expected).abs() < 1e-12, "{score} {expected}");
        }
    }

    #[test]
    fn the_best_sentence_shares_the_rare_words() {
        let passage = "The hen sat. The fox saw the hen. The fox was in the wood.";
        assert_eq!(best_sentence("Where was the fox in?", passage), "The fox was in the wood.");
        // Of equals the first.
        assert_eq!(best_sentence("Cow?", passage), "The hen sat.");
        assert_eq!(best_sentence("Cow?", ""), "");
    }
}

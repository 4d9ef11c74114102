//! Measures of an answer against a reference. Of several references the best one counts, for each measure by itself.
//!
//! - Exact match and token F1 as in SQuAD 1.1 (Rajpurkar et al., 1606.05250, section 6.1): texts in lower case, without
//!   ASCII punctuation, without the words a, an and the; F1 of the multisets of words.
//! - ROUGE-L (Lin 2004, section 3.1, with β = 1) as `rouge-score` has it without stemming: runs of `a-z0-9` in lower case,
//!   F1 by the longest common subsequence.

use std::collections::HashMap;

/// What an answer scores, each in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AnswerScores {
    /// 1 where it is a reference, after normalisation.
    pub exact_match: f64,
    /// F1 of its words.
    pub token_f1: f64,
    /// F1 by the longest common subsequence of its words.
    pub rouge_l: f64,
}

/// What an answer scores against the best of some references.
pub fn score<'a>(answer: &str, references: impl IntoIterator<Item = &'a str>) -> AnswerScores {
    references.into_iter().fold(AnswerScores::default(), |best, reference| AnswerScores {
        exact_match: best.exact_match.max(f64::from(u8::from(exact_match(answer, reference)))),
        token_f1: best.token_f1.max(token_f1(answer, reference)),
        rouge_l: best.rouge_l.max(rouge_l(answer, reference)),
    })
}

/// The words of a text by SQuAD's normalisation.
fn normalised(text: &str) -> Vec<String> {
    let plain: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    // An article ends where a letter or a digit does not follow, before a curly quotation mark, say.
    let is_inner = |c: char| c.is_alphanumeric();
    let mut without = String::with_capacity(plain.len());
    for part in plain.split_inclusive(|c| !is_inner(c)) {
        let word = part.trim_end_matches(|c| !is_inner(c));
        without.push_str(if matches!(word, "a" | "an" | "the") { " " } else { word });
        without.push_str(&part[word.len()..]);
    }
    without.split_whitespace().map(str::to_owned).collect()
}

/// Whether an answer has the words of a reference in the same order.
pub fn exact_match(answer: &str, reference: &str) -> bool {
    normalised(answer) == normalised(reference)
}

/// F1 of the multisets of words of an answer and a reference; 0 where they have none in common.
pub fn token_f1(answer: &str, reference: &str) -> f64 {
    let (answer, reference) = (normalised(answer), normalised(reference));
    let mut left: HashMap<&str, usize> = HashMap::new();
    reference.iter().for_each(|word| *left.entry(word).or_default() += 1);
    let mut common = 0;
    for word in &answer {
        if let Some(count) = left.get_mut(word.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            common += 1;
        }
    }
    f1(common, answer.len(), reference.len())
}

/// ROUGE-L: F1 by the longest common subsequence of words.
pub fn rouge_l(answer: &str, reference: &str) -> f64 {
    let (answer, reference) = (runs(answer), runs(reference));
    f1(common_subsequence(&answer, &reference), answer.len(), reference.len())
}

/// The runs of letters and digits of a text, ASCII only and in lower case.
fn runs(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let is_other = |c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit();
    text.split(is_other).filter(|run| !run.is_empty()).map(str::to_owned).collect()
}

/// The length of the longest common subsequence.
fn common_subsequence(one: &[String], other: &[String]) -> usize {
    let mut lengths = vec![0usize; other.len() + 1];
    for word in one {
        let mut diagonal = 0;
        for (index, counterpart) in other.iter().enumerate() {
            let above = lengths[index + 1];
            lengths[index + 1] = if word == counterpart { diagonal + 1 } else { above.max(lengths[index]) };
            diagonal = above;
        }
    }
    lengths.last().copied().unwrap_or_default()
}

/// The harmonic mean of `common / answer` and `common / reference`.
fn f1(common: usize, answer: usize, reference: usize) -> f64 {
    if common == 0 { 0.0 } else { 2.0 * common as f64 / (answer + reference) as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_match_is_blind_to_case_punctuation_and_articles() {
        assert!(exact_match("The  Sun.", "a sun"));
        assert!(exact_match("don't", "dont"));
        assert!(!exact_match("sun moon", "moon sun"));
        assert!(!exact_match("theatre", "atre"));
        assert!(exact_match("", "the"));
    }

    #[test]
    fn token_f1_counts_words_as_often_as_they_are_there() {
        assert_eq!(token_f1("the sun set", "sun"), 2.0 / 3.0);
        assert_eq!(token_f1("red red red", "red red blue"), 2.0 / 3.0);
        assert_eq!(token_f1("moon", "sun"), 0.0);
        assert_eq!(token_f1("", ""), 0.0);
        assert_eq!(token_f1("moon sun", "sun moon"), 1.0);
    }

    #[test]
    fn rouge_l_goes_by_the_order_of_words() {
        // Lin 2004, section 3.1: "police killed the gunman" against two candidates, recall 3/4 and 2/4 of 4 words each.
        assert_eq!(rouge_l("police kill the gunman", "police killed the gunman"), 0.75);
        assert_eq!(rouge_l("the gunman kill police", "police killed the gunman"), 0.5);
        assert_eq!(rouge_l("", "police"), 0.0);
        assert_eq!(rouge_l("A B", "a-b c d"), 2.0 * 2.0 / 6.0);
    }

    #[test]
    fn of_several_references_the_best_counts_for_each_measure() {
        let scores = score("two one", ["one two", "three"]);
        assert_eq!(scores, AnswerScores { exact_match: 0.0, token_f1: 2.0 / 2.0, rouge_l: 0.5 });
        assert_eq!(score("x", ["y", "x", "x z"]), AnswerScores { exact_match: 1.0, token_f1: 1.0, rouge_l: 1.0 });
    }
}

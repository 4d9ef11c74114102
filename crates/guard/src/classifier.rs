//! A guard by a linear classifier over the words of a text: the logistic function of a bias and the weights of the n-grams of
//! words that are there, each counted once.
//!
//! It judges windows of so many words as the longest text had that it was trained on, so that a sentence weighs the same in a
//! short text and in a long one. Word order beyond an n-gram, negation and meaning are nothing to it.

use crate::{Finding, Guard, GuardError, Reading};
use aquatint_evaluate::text_words;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What a file says that it is.
const KIND: &str = "linear";
/// Words of an n-gram at most.
const LONGEST: usize = 5;

/// An n-gram of a text with a weight: the number of the word behind it, its words, and the weight.
type Weighted<'a> = (usize, &'a str, f64);

/// A linear classifier, as its file has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearClassifier {
    kind: String,
    /// For messages; not in the file.
    #[serde(skip)]
    name: String,
    /// Words of the n-grams, from one to so many.
    words: usize,
    /// Words of a text that are judged together.
    window: usize,
    /// From which probability on a text is refused.
    threshold: f64,
    bias: f64,
    weights: BTreeMap<String, f64>,
}

impl LinearClassifier {
    /// A classifier of these weights.
    ///
    /// # Errors
    /// When a value cannot be.
    pub(crate) fn new(
        (words, window): (usize, usize),
        threshold: f64,
        bias: f64,
        weights: BTreeMap<String, f64>,
    ) -> Result<Self, GuardError> {
        let (kind, name) = (KIND.to_owned(), "classifier".to_owned());
        Self { kind, name, words, window, threshold, bias, weights }.checked()
    }

    /// What a file says; `name` is for messages.
    ///
    /// # Errors
    /// When it is damaged, of another kind, or a value cannot be.
    pub fn from_json(name: &str, json: &str) -> Result<Self, GuardError> {
        let read: Self = serde_json::from_str(json).map_err(GuardError::Damaged)?;
        Self { name: name.to_owned(), ..read }.checked()
    }

    /// What its file says.
    ///
    /// # Errors
    /// Never of a classifier that was read or trained.
    pub fn to_json(&self) -> Result<String, GuardError> {
        serde_json::to_string_pretty(self).map_err(GuardError::Damaged)
    }

    /// How many n-grams have a weight.
    pub fn size(&self) -> usize {
        self.weights.len()
    }

    fn checked(self) -> Result<Self, GuardError> {
        let refuse = |setting, given: String, allowed: &str| Err(GuardError::setting(setting, given, allowed));
        if self.kind != KIND {
            return refuse("kind", format!("{:?}", self.kind), "\"linear\"");
        }
        check(self.words, self.threshold)?;
        if self.window < self.words {
            return refuse("window", self.window.to_string(), "as many as `words` or more");
        }
        if !self.bias.is_finite() {
            return refuse("bias", self.bias.to_string(), "a finite number");
        }
        if self.weights.is_empty() {
            return refuse("weights", "empty".to_owned(), "one n-gram or more");
        }
        for (gram, weight) in &self.weights {
            let words: Vec<String> = text_words(gram).into_iter().map(|(word, _)| word).collect();
            if words.join(" ") != *gram || !(1..=self.words).contains(&words.len()) {
                return refuse(
                    "weights",
                    format!("of {gram:?}"),
                    "of as many words in lower case as `words` says, with one blank between two",
                );
            }
            if !weight.is_finite() {
                return refuse("weights", format!("{weight} of {gram:?}"), "a finite number");
            }
        }
        Ok(self)
    }

    /// The weighted n-grams that begin with each word, with where they end.
    fn weighted(&self, words: &[(String, Range<usize>)]) -> Vec<Vec<Weighted<'_>>> {
        let of_start = |start: usize| {
            let mut gram = String::new();
            let mut grams = Vec::new();
            for (end, (word, _)) in words.iter().enumerate().skip(start).take(self.words) {
                if end > start {
                    gram.push(' ');
                }
                gram.push_str(word);
                if let Some((known, weight)) = self.weights.get_key_value(&gram) {
                    grams.push((end + 1, known.as_str(), *weight));
                }
            }
            grams
        };
        (0..words.len()).map(of_start).collect()
    }

    /// Where the windows of so many words lie.
    fn windows(&self, words: usize) -> impl Iterator<Item = Range<usize>> {
        let length = self.window;
        (0..=words.saturating_sub(length)).map(move |start| start..words.min(start + length))
    }

    /// The weighted n-grams within a window, with where they begin, and the probability of them.
    fn judged<'a>(
        &self,
        weighted: &'a [Vec<Weighted<'a>>],
        window: &Range<usize>,
    ) -> (Vec<(usize, &'a Weighted<'a>)>, f64) {
        let within = weighted[window.clone()].iter().enumerate().flat_map(|(at, grams)| {
            grams.iter().filter(|(behind, ..)| *behind <= window.end).map(move |gram| (window.start + at, gram))
        });
        let within: Vec<(usize, &Weighted<'_>)> = within.collect();
        let distinct: BTreeMap<&str, f64> = within.iter().map(|(_, (_, gram, weight))| (*gram, *weight)).collect();
        let probability = logistic(self.bias + distinct.values().sum::<f64>());
        (within, probability)
    }
}

/// Whether a classifier can have n-grams of so many words and this threshold, for it and for how it is trained.
///
/// # Errors
/// [`GuardError::Setting`] with the first that it cannot.
pub(crate) fn check(words: usize, threshold: f64) -> Result<(), GuardError> {
    if !(1..=LONGEST).contains(&words) {
        return Err(GuardError::setting("words", words, &format!("1 to {LONGEST}")));
    }
    if !(threshold > 0.0 && threshold < 1.0) {
        return Err(GuardError::setting("threshold", threshold, "more than 0 and less than 1"));
    }
    Ok(())
}

/// The probability of a sum of weights.
pub(crate) fn logistic(sum: f64) -> f64 {
    1.0 / (1.0 + (-sum).exp())
}

impl Guard for LinearClassifier {
    fn judge(&self, reading: &Reading) -> Option<Finding> {
        let words = text_words(reading.text());
        let weighted = self.weighted(&words);
        // A text without a word says nothing, whatever the bias is.
        if words.is_empty() {
            return None;
        }
        let (mut most, mut offending, mut around) = (0.0f64, BTreeSet::new(), BTreeSet::new());
        for window in self.windows(words.len()) {
            let (within, probability) = self.judged(&weighted, &window);
            if probability >= self.threshold {
                most = most.max(probability);
                around.extend(window.clone());
                let raising = within.iter().filter(|(_, (_, _, weight))| *weight > 0.0);
                offending.extend(raising.flat_map(|(at, (behind, ..))| *at..*behind));
                // Where it is the bias that refuses, all of it offends.
                if within.iter().all(|(_, (_, _, weight))| *weight <= 0.0) {
                    offending.extend(window);
                }
            }
        }
        if most == 0.0 {
            return None;
        }
        let reason = format!("the classifier {} gives it {most:.2}; allowed: less than {}", self.name, self.threshold);
        let bytes = |of: BTreeSet<usize>| of.into_iter().map(|word| words[word].1.clone()).collect();
        Some(Finding { reason, bytes: bytes(offending), around: bytes(around) })
    }

    /// The largest probability of a window, whatever the threshold is; 0 of a text without a word.
    fn score(&self, reading: &Reading) -> f64 {
        let words = text_words(reading.text());
        if words.is_empty() {
            return 0.0;
        }
        let weighted = self.weighted(&words);
        self.windows(words.len()).map(|window| self.judged(&weighted, &window).1).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Passage;
    use aquatint_vocabulary::Template;

    const FILE: &str = r#"{"kind": "linear", "words": 2, "window": 4, "threshold": 0.5, "bias": -2,
        "weights": {"vork": 1.5, "the vork": 1.0, "garden": -3.0}}"#;

    fn found(template: &str) -> Vec<Vec<String>> {
        let guard = LinearClassifier::from_json("c.json", FILE).unwrap();
        let passage = Passage::of_template(&Template::parse(template).unwrap());
        let judge = |reading: &Reading| {
            let bytes = guard.judge(reading)?.bytes;
            Some(bytes.into_iter().map(|bytes| reading.text()[bytes].to_owned()).collect())
        };
        passage.readings().iter().filter_map(judge).collect()
    }

    #[test]
    fn weights_of_a_window_add_up_and_each_n_gram_counts_once() {
        assert_eq!(found("Open the Vork now"), [["the", "Vork"]]);
        // 1.5 − 2 whether it is there once or twice, and what speaks against it counts within its window only.
        assert_eq!(found("vork vork vork"), [[""; 0]; 0]);
        assert_eq!(found("open the vork garden"), [[""; 0]; 0]);
        assert_eq!(found("garden one two three the vork"), [["the", "vork"]]);
        assert_eq!(found(""), [[""; 0]; 0]);
        let guard = LinearClassifier::from_json("c.json", FILE).unwrap();
        let reason = guard.judge(&Passage::of_text("the vork").readings()[0]).unwrap().reason;
        assert_eq!(reason, "the classifier c.json gives it 0.62; allowed: less than 0.5");
    }

    #[test]
    fn a_score_is_the_largest_probability_of_a_window_whatever_the_threshold_is() {
        let guard = LinearClassifier::from_json("c.json", FILE).unwrap();
        let score = |text: &str| guard.score(&Passage::of_text(text).readings()[0]);
        let close = |text: &str, sum: f64| assert!((score(text) - logistic(sum)).abs() < 1e-12, "{text}");
        close("nothing", -2.0);
        close("vork vork", -0.5);
        close("the vork", 0.5);
        close("open the vork garden", -2.5);
        // Windows of four words: without the garden it is worse.
        close("garden one two three the vork", 0.5);
        close("garden one two vork", -3.5);
        assert_eq!([score(""), score(" …")], [0.0, 0.0]);
        let strict = LinearClassifier::from_json("c.json", &FILE.replace("0.5,", "0.9,")).unwrap();
        assert!((strict.score(&Passage::of_text("the vork").readings()[0]) - logistic(0.5)).abs() < 1e-12);
        let list = crate::WordList::parse("w", "garden").unwrap();
        let guards = crate::Guards::new(vec![std::sync::Arc::new(guard.clone()), std::sync::Arc::new(list)], 0);
        assert_eq!([guards.score("a garden"), guards.score("a tree")], [1.0, logistic(-2.0)]);
        assert_eq!(crate::Guards::new(Vec::new(), 0).score("a garden"), 0.0);
    }

    #[test]
    fn a_text_without_a_word_passes_whatever_the_bias_is() {
        let guard = LinearClassifier::from_json("c.json", &FILE.replace("\"bias\": -2", "\"bias\": 2")).unwrap();
        let of = |text: &str| guard.judge(&Passage::of_text(text).readings()[0]).map(|found| found.bytes);
        assert_eq!([of(""), of(" …\n")], [None, None]);
        assert_eq!(of("a rose"), Some(vec![0..1, 2..6]));
    }

    #[test]
    fn fragments_between_holes_are_judged_together() {
        assert_eq!(found("open the [[6]] vork"), [["the", "vork"], ["the", "vork"]]);
        assert_eq!(found("open the vo[[1]]rk"), [["the", "vork"]]);
    }

    #[test]
    fn damaged_files_are_refused_by_what_is_wrong() {
        let refused = |from: &str, to: &str| {
            assert!(FILE.contains(from), "{from}");
            LinearClassifier::from_json("c.json", &FILE.replace(from, to)).unwrap_err().to_string()
        };
        assert_eq!(refused("}}", ""), "this is no classifier, or it is damaged");
        assert_eq!(refused("\"bias\": -2,", ""), "this is no classifier, or it is damaged");
        assert_eq!(refused("\"bias\"", "\"more\": 1, \"bias\""), "this is no classifier, or it is damaged");
        assert_eq!(refused("linear", "deep"), "`kind` is \"deep\"; allowed: \"linear\"");
        assert_eq!(refused("\"words\": 2", "\"words\": 6"), "`words` is 6; allowed: 1 to 5");
        assert_eq!(refused("\"window\": 4", "\"window\": 1"), "`window` is 1; allowed: as many as `words` or more");
        assert_eq!(refused("0.5", "1.0"), "`threshold` is 1; allowed: more than 0 and less than 1");
        assert_eq!(refused("-2,", "1e999,"), "this is no classifier, or it is damaged");
        assert!(refused("\"vork\"", "\"Vork\"").starts_with("`weights` is of \"Vork\"; allowed: "));
        assert!(refused("\"the vork\"", "\"see the vork\"").starts_with("`weights` is of \"see the vork\""));
        let start = FILE.find("{\"vork\"").unwrap();
        let empty = format!("{}{{}}}}", &FILE[..start]);
        let error = LinearClassifier::from_json("c.json", &empty).unwrap_err().to_string();
        assert_eq!(error, "`weights` is empty; allowed: one n-gram or more");
    }

    #[test]
    fn what_is_written_is_read() {
        let guard = LinearClassifier::from_json("c.json", FILE).unwrap();
        assert_eq!(LinearClassifier::from_json("c.json", &guard.to_json().unwrap()).unwrap(), guard);
    }
}

//! A guard by a list of phrases and regular expressions.
//!
//! A phrase is found where its words follow on each other, whatever stands between them that is neither letter nor digit, in
//! capitals or not. It is found as a whole: `lock` is not found in `clock`. Letters with their accents are the same in one
//! character and in several (NFC, Unicode's annex 15). Other spellings, and letters that only resemble, are other words.

use crate::{Finding, Guard, GuardError, Reading};
use aquatint_evaluate::text_words;
use regex::{Regex, RegexBuilder};
use std::collections::HashMap;
use std::ops::Range;
use unicode_normalization_alignments::{UnicodeNormalization, is_nfc};

/// Phrases and regular expressions, none of which may stand in a text.
#[derive(Debug)]
pub struct WordList {
    name: String,
    /// Phrases by their first word, each with its line.
    phrases: HashMap<String, Vec<(usize, Vec<String>)>>,
    expressions: Vec<(usize, Regex)>,
}

impl WordList {
    /// A list of one phrase on each line, or one regular expression between slashes, which is matched in capitals or not.
    /// Empty lines and those that begin with `#` say nothing. `name` is for messages.
    ///
    /// # Errors
    /// When there is no line, or one has no word, begins with a slash and does not end with one, is no regular expression, or
    /// would match every text.
    pub fn parse(name: &str, text: &str) -> Result<Self, GuardError> {
        let mut list = Self { name: name.to_owned(), phrases: HashMap::new(), expressions: Vec::new() };
        let text = nfc(text.strip_prefix('\u{feff}').unwrap_or(text));
        let lines = (1..).zip(text.lines()).map(|(line, text)| (line, text.trim()));
        for (line, text) in lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#')) {
            match text.strip_prefix('/').map(|text| text.strip_suffix('/')) {
                Some(Some(expression)) => list.expressions.push((line, expression_of(line, expression)?)),
                Some(None) => return Err(GuardError::HalfExpression { line }),
                None => {
                    let words: Vec<String> = text_words(text).into_iter().map(|(word, _)| word).collect();
                    let Some(first) = words.first() else { return Err(GuardError::NoWord { line }) };
                    list.phrases.entry(first.clone()).or_default().push((line, words));
                }
            }
        }
        match list.phrases.is_empty() && list.expressions.is_empty() {
            true => Err(GuardError::NoLine),
            false => Ok(list),
        }
    }
}

/// A text in which letters and their accents are one character where there is one.
fn nfc(text: &str) -> String {
    text.nfc().map(|(character, _)| character).collect()
}

/// The same with the bytes of the given text that each of its bytes is of. Nothing is joined over an ASCII character, so what
/// is between two of them is one piece where it changes.
fn composed(text: &str) -> (String, Vec<Range<usize>>) {
    let (mut all, mut sources) = (String::new(), Vec::new());
    let starts = text.char_indices().filter(|(at, character)| *at == 0 || character.is_ascii()).map(|(at, _)| at);
    let starts: Vec<usize> = starts.chain([text.len()]).collect();
    for piece in starts.windows(2).map(|ends| ends[0]..ends[1]) {
        if is_nfc(&text[piece.clone()]) {
            all.push_str(&text[piece.clone()]);
            sources.extend(piece.map(|byte| byte..byte + 1));
        } else {
            all.push_str(&nfc(&text[piece.clone()]));
            sources.resize(all.len(), piece);
        }
    }
    (all, sources)
}

fn expression_of(line: usize, expression: &str) -> Result<Regex, GuardError> {
    let built = RegexBuilder::new(expression).case_insensitive(true).multi_line(true).build();
    let regex = built.map_err(|source| GuardError::Regex { line, source: Box::new(source) })?;
    if regex.is_match("") {
        return Err(GuardError::MatchesNothing { line });
    }
    Ok(regex)
}

impl Guard for WordList {
    fn judge(&self, reading: &Reading) -> Option<Finding> {
        let (text, sources) = composed(reading.text());
        let words = text_words(&text);
        let mut found = Vec::new();
        for (start, (word, _)) in words.iter().enumerate() {
            for (line, phrase) in self.phrases.get(word).into_iter().flatten() {
                let Some(there) = words.get(start..start + phrase.len()) else { continue };
                if there.iter().map(|(word, _)| word).eq(phrase) {
                    found.push((*line, there[0].1.start..there[there.len() - 1].1.end));
                }
            }
        }
        for (line, expression) in &self.expressions {
            // An empty match between others says nothing of any character.
            let matches = expression.find_iter(&text).filter(|found| !found.is_empty());
            found.extend(matches.map(|found| (*line, found.range())));
        }
        let line = found.iter().map(|(line, _)| *line).min()?;
        let bytes = found.into_iter().map(|(_, at)| sources[at.start].start..sources[at.end - 1].end).collect();
        let reason = format!("it has what line {line} of the word list {} says", self.name);
        Some(Finding { reason, bytes, around: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Passage;
    use aquatint_vocabulary::Template;

    const LIST: &str = "# Locks\n\nPick a lock\nvork\n/gr[ae]y\\s+box/\n";

    fn found(template: &str) -> Vec<(String, Vec<String>)> {
        let list = WordList::parse("words.txt", LIST).unwrap();
        let passage = Passage::of_template(&Template::parse(template).unwrap());
        let judge = |reading: &Reading| {
            let Finding { reason, bytes, .. } = list.judge(reading)?;
            Some((reason, bytes.into_iter().map(|bytes| reading.text()[bytes].to_owned()).collect()))
        };
        passage.readings().iter().filter_map(judge).collect()
    }

    #[test]
    fn phrases_are_found_as_whole_words_and_expressions_anywhere() {
        let one = |line: usize, text: &str| {
            vec![(format!("it has what line {line} of the word list words.txt says"), vec![text.to_owned()])]
        };
        assert_eq!(found("How to PICK a, lock?"), one(3, "PICK a, lock"));
        assert_eq!(found("a Grey\n box"), one(5, "Grey\n box"));
        for harmless in ["pick a clock", "pick the lock", "vorks", "greybox", "", "a lock, pick"] {
            assert_eq!(found(harmless), [], "{harmless}");
        }
        assert_eq!(found("vork and vork, grey box")[0].1, ["vork", "vork", "grey box"]);
    }

    #[test]
    fn fragments_between_holes_are_judged_together() {
        // Words beside a hole, a word that a hole cuts, and a hole within blanks.
        assert_eq!(found("Steps to pick [[4]]a lock")[0].1, ["pick a lock"]);
        assert_eq!(found("Steps to pick a l[[1]]ock").len(), 1);
        assert_eq!(found("pick [[8]] a [[8]] lock: 1. [[20]]").len(), 2);
        // What a hole is to say is not given.
        assert_eq!(found("pick a [[1]]"), []);
    }

    #[test]
    fn letters_with_accents_are_the_same_in_one_character_and_in_several() {
        // The mark at the beginning of a file is no letter.
        for list in ["\u{feff}cafe\u{301} bleu\n/na\u{ef}ve/", "caf\u{e9} bleu\n/nai\u{308}ve/"] {
            let list = WordList::parse("w", list).unwrap();
            let found = |text: &str| {
                let found = list.judge(&Passage::of_text(text).readings()[0]);
                found.map(|found| found.bytes.into_iter().map(|at| text[at].to_owned()).collect::<Vec<_>>())
            };
            for text in ["caf\u{e9} bleu", "cafe\u{301} bleu", "nai\u{308}ve", "na\u{ef}ve"] {
                assert_eq!(found(&format!("un {text}, où")), Some(vec![text.to_owned()]), "{text}");
            }
            assert_eq!(found("cafe bleu, naive"), None);
        }
    }

    #[test]
    fn lists_that_say_nothing_or_too_much_are_refused() {
        let refused = |text: &str| WordList::parse("a", text).unwrap_err().to_string();
        assert_eq!(refused(""), "the word list has no line; allowed: a phrase or a regular expression on each");
        assert_eq!(refused("# nothing\n\n"), refused(""));
        assert!(refused("lock\n???").starts_with("line 2 has no letter and no digit"));
        assert_eq!(refused("lock\n/lo(ck/"), "line 2 is no regular expression");
        assert!(refused("lock\n/lo+ck\nkey").starts_with("line 2 begins with / and does not end with it; allowed: "));
        assert!(refused("/").starts_with("line 1 begins with /"));
        assert!(refused("/x*/").starts_with("line 1 matches the empty text"));
        // Matching it needs more memory than is allowed.
        assert_eq!(refused("/(a{1000}){1000}/"), "line 1 is no regular expression");
    }
}

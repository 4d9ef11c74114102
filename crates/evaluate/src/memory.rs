//! What a model repeats of its training text: the longest runs of words that a text has in common with a corpus, and the share
//! of its 8-grams that stand there; and how probable it finds secrets that were planted ([`exposures`]).
//!
//! Words are runs of letters and digits in lower case, so that punctuation, spacing and capitals make no difference: overlap
//! is near-exact. Runs end with documents. The corpus is a suffix array over words: all places, in the order of the words
//! that begin there. Deviation: places are ordered by their first 256 words. Where more than that is in common, the run goes
//! on as far as it does at the place found, and another place may have a longer one.

mod exposure;
mod report;

pub use exposure::{Canary, Exposure, GivenPart, canaries, exposures};
pub use report::{memory_page, memory_tables};

use crate::EvaluateError;
use aquatint_corpus::{Source, SourceReport};
use serde::Serialize;
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

/// Words by which places are ordered.
const ORDERED: usize = 256;
/// Words of the windows whose share is counted.
const GRAM: usize = 8;
/// Stands behind the last word of a document.
const END: u32 = 0;

/// A corpus in words, with a suffix array.
#[derive(Debug, Default)]
pub struct CorpusIndex {
    words: Vec<u32>,
    /// Where words begin, in the order of what follows.
    order: Vec<u32>,
    ids: HashMap<String, u32>,
    /// The first word of each document, ascending, with the document's name.
    documents: Vec<(usize, String)>,
}

/// A run of words that a text has in common with a corpus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommonRun {
    /// Words.
    pub words: usize,
    /// Bytes of the text.
    pub bytes: Range<usize>,
    /// The document of the corpus in which it stands, the first one found.
    pub source: String,
}

/// What a text has in common with a corpus.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TextMemory {
    /// Words of the text.
    pub words: usize,
    /// Windows of eight words, and how many of them stand in the corpus.
    pub grams: usize,
    /// These.
    pub common_grams: usize,
    /// The longest run in words.
    pub longest: usize,
    /// Runs of the least length or more that lie in no longer one, by their place; they may overlap.
    pub runs: Vec<CommonRun>,
}

impl CorpusIndex {
    /// Reads a source, with what was passed over of it. Its documents are named by their file and by the row that they are,
    /// or by their number in the file.
    ///
    /// # Errors
    /// When it cannot be read, or has no word or too many (2³²).
    pub fn open(source: &Source) -> Result<(Self, SourceReport), EvaluateError> {
        let mut index = Self::default();
        let mut passages = source.passages()?;
        let (mut file, mut number, mut begun) = (PathBuf::new(), 0u64, false);
        while let Some(passage) = passages.next().transpose()? {
            if !std::mem::replace(&mut begun, !passage.ends_document) {
                let of_passage = passages.file().unwrap_or(&source.path);
                if of_passage != file {
                    (file, number) = (of_passage.to_path_buf(), 0);
                }
                number += 1;
                let place = passage.row.map_or_else(|| format!("document {number}"), |row| format!("row {row}"));
                index.begin(format!("{}, {place}", file.display()));
            }
            index.push(&passage.text);
            if passage.ends_document {
                index.words.push(END);
            }
        }
        let report = SourceReport {
            path: source.path.clone(),
            documents: index.documents.len() as u64,
            counts: passages.counts().clone(),
            unread: source.files()?.unread,
        };
        Ok((index.finish()?, report))
    }

    fn begin(&mut self, name: String) {
        self.documents.push((self.words.len(), name));
    }

    fn push(&mut self, text: &str) {
        for (word, _) in text_words(text) {
            let next = self.ids.len() as u32 + 1;
            self.words.push(*self.ids.entry(word).or_insert(next));
        }
    }

    fn finish(mut self) -> Result<Self, EvaluateError> {
        if self.ids.is_empty() {
            return Err(EvaluateError::Empty);
        }
        let Ok(length) = u32::try_from(self.words.len()) else {
            return Err(EvaluateError::setting("corpus", self.words.len(), "fewer than 2^32 words"));
        };
        let mut order: Vec<u32> = (0..length).filter(|place| self.words[*place as usize] != END).collect();
        let words = &self.words;
        order.sort_unstable_by(|a, b| ahead(words, *a).cmp(ahead(words, *b)).then(a.cmp(b)));
        self.order = order;
        Ok(self)
    }

    /// Words of the corpus.
    pub fn words(&self) -> usize {
        self.order.len()
    }

    /// What a text has in common with the corpus; runs are listed from `least` words on.
    pub fn compare(&self, text: &str, least: usize) -> TextMemory {
        let found: Vec<(u32, Range<usize>)> = text_words(text)
            .into_iter()
            .map(|(word, bytes)| (self.ids.get(&word).copied().unwrap_or(u32::MAX), bytes))
            .collect();
        let ids: Vec<u32> = found.iter().map(|(id, _)| *id).collect();
        let matches: Vec<(usize, u32)> = (0..ids.len()).map(|start| self.longest(&ids[start..])).collect();
        let mut runs = Vec::new();
        let mut covered = 0;
        for (start, &(length, place)) in matches.iter().enumerate() {
            // A run that begins later and ends no later lies in the one before.
            if length >= least.max(1) && start + length > covered {
                covered = start + length;
                let bytes = found[start].1.start..found[covered - 1].1.end;
                runs.push(CommonRun { words: length, bytes, source: self.source(place).to_owned() });
            }
        }
        let grams = (ids.len() + 1).saturating_sub(GRAM);
        TextMemory {
            words: ids.len(),
            grams,
            common_grams: matches.iter().take(grams).filter(|(length, _)| *length >= GRAM).count(),
            longest: matches.iter().map(|(length, _)| *length).max().unwrap_or(0),
            runs,
        }
    }

    /// The longest run with which a text begins that stands in the corpus, and where.
    fn longest(&self, text: &[u32]) -> (usize, u32) {
        let first = &text[..text.len().min(ORDERED)];
        let behind = self.order.partition_point(|place| ahead(&self.words, *place) < first);
        let common = |place: u32| {
            let corpus = &self.words[place as usize..];
            corpus.iter().zip(text).take_while(|(a, b)| a == b).count()
        };
        // The longest is at one of the two places between which the text would stand.
        let neighbours = [behind.checked_sub(1), Some(behind)].into_iter().flatten();
        let places = neighbours.filter_map(|index| self.order.get(index).copied());
        places.map(|place| (common(place), place)).max_by_key(|(length, _)| *length).unwrap_or((0, 0))
    }

    fn source(&self, place: u32) -> &str {
        let behind = self.documents.partition_point(|(start, _)| *start <= place as usize);
        self.documents.get(behind.saturating_sub(1)).map_or("", |(_, name)| name)
    }
}

/// The words by which a place is ordered.
fn ahead(words: &[u32], place: u32) -> &[u32] {
    let rest = &words[place as usize..];
    &rest[..rest.len().min(ORDERED)]
}

/// The words of a text: runs of letters and digits, in lower case, each with its bytes.
pub fn text_words(text: &str) -> Vec<(String, Range<usize>)> {
    let mut all = Vec::new();
    let mut start = None;
    for (at, character) in text.char_indices().chain([(text.len(), ' ')]) {
        match (character.is_alphanumeric(), start) {
            (true, None) => start = Some(at),
            (false, Some(begun)) => {
                all.push((text[begun..at].to_lowercase(), begun..at));
                start = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_diffusion::Key;

    fn index(documents: &[&str]) -> CorpusIndex {
        let mut index = CorpusIndex::default();
        for (number, text) in documents.iter().enumerate() {
            index.begin(number.to_string());
            index.push(text);
            index.words.push(END);
        }
        index.finish().unwrap()
    }

    #[test]
    fn runs_are_found_with_their_bytes_and_their_source() {
        let index = index(&["Once upon a time there was a fox.", "The fox, it is said, ran home at night."]);
        let text = "“Once UPON a time”, he said: the fox it is said sang.";
        let memory = index.compare(text, 4);
        assert_eq!((memory.words, memory.longest, memory.grams, memory.common_grams), (12, 5, 5, 0));
        let runs: Vec<(&str, &str)> =
            memory.runs.iter().map(|run| (&text[run.bytes.clone()], run.source.as_str())).collect();
        assert_eq!(runs, [("Once UPON a time", "0"), ("the fox it is said", "1")]);
        assert_eq!(index.compare("", 4), TextMemory { words: 0, grams: 0, common_grams: 0, longest: 0, runs: vec![] });
        // No run goes on from one document to the next.
        assert_eq!(index.compare("a fox the fox", 1).longest, 2);
        assert_eq!(index.compare("there was a fox it is said", 8).runs, []);
        let whole = index.compare("the fox it is said ran home at night", 8);
        assert_eq!((whole.grams, whole.common_grams, whole.longest), (2, 2, 9));
    }

    #[test]
    fn the_longest_runs_are_those_that_a_search_of_every_place_finds() {
        let mut draws = Key::new(3).at(0, 0);
        let mut some =
            |count: usize| -> String { (0..count).map(|_| ["a ", "b ", "c "][draws.below(3) as usize]).collect() };
        let documents = [some(400), some(300), some(1)];
        let index = index(&documents.each_ref().map(String::as_str));
        for _ in 0..20 {
            let text = some(40);
            let slow = |start: usize| -> usize {
                let text = &text[2 * start..];
                let longest = |length: &usize| documents.iter().any(|document| document.contains(&text[..2 * length]));
                (0..=text.len() / 2).take_while(longest).last().unwrap_or(0)
            };
            let expected = (0..40).map(slow).max().unwrap();
            let memory = index.compare(&text, 1);
            assert_eq!(memory.longest, expected, "{text}");
            assert_eq!(memory.common_grams, (0..33).filter(|start| slow(*start) >= 8).count(), "{text}");
        }
    }
}

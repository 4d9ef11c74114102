//! A guard against long runs of words that stand in a corpus, such as the training text.
//!
//! Runs are those of [`CorpusIndex`]: punctuation and capitals make no difference, and a run does not go on over the end of a
//! document. Given text is not judged, but a run may begin in it.

use crate::{Finding, Guard, Reading};
use aquatint_evaluate::CorpusIndex;

/// Refuses runs of a corpus.
#[derive(Debug)]
pub struct Novelty {
    corpus: CorpusIndex,
    longest: usize,
}

impl Novelty {
    /// Lets runs of `longest` words of a corpus pass, and no longer ones.
    pub fn new(corpus: CorpusIndex, longest: usize) -> Self {
        Self { corpus, longest }
    }
}

impl Guard for Novelty {
    fn judge(&self, reading: &Reading) -> Option<Finding> {
        let runs = self.corpus.compare(reading.text(), self.longest + 1).runs;
        let longest = runs.iter().max_by_key(|run| run.words)?;
        let reason = format!(
            "{} words one behind the other stand in {}; allowed: {}",
            longest.words, longest.source, self.longest
        );
        Some(Finding { reason, bytes: runs.into_iter().map(|run| run.bytes).collect() })
    }

    fn judges_given(&self) -> bool {
        false
    }
}

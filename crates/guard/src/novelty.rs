//! A guard against long runs of words that stand in a corpus, such as the training text.
//!
//! Runs are those of [`CorpusIndex`]: punctuation and capitals make no difference, and a run does not go on over the end of a
//! document. Given text is not judged, but a run may begin in it.

use crate::{Finding, Guard, GuardError, Reading};
use aquatint_evaluate::CorpusIndex;

/// Refuses runs of a corpus.
#[derive(Debug)]
pub struct Novelty {
    corpus: CorpusIndex,
    longest: usize,
}

impl Novelty {
    /// Lets runs of `longest` words of a corpus pass, and no longer ones.
    ///
    /// # Errors
    /// When `longest` is 0: every word of the corpus would be refused.
    pub fn new(corpus: CorpusIndex, longest: usize) -> Result<Self, GuardError> {
        match longest {
            0 => Err(GuardError::setting("longest", 0, "1 or more")),
            _ => Ok(Self { corpus, longest }),
        }
    }
}

impl Guard for Novelty {
    fn judge(&self, reading: &Reading) -> Option<Finding> {
        let runs = self.corpus.compare(reading.text(), self.longest.saturating_add(1)).runs;
        let longest = runs.iter().max_by_key(|run| run.words)?;
        let reason = format!(
            "{} words one behind the other stand in {}; allowed: {}",
            longest.words, longest.source, self.longest
        );
        Some(Finding { reason, bytes: runs.into_iter().map(|run| run.bytes).collect(), around: Vec::new() })
    }

    fn judges_given(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Passage;
    use aquatint_corpus::Source;

    #[test]
    fn a_run_of_any_length_may_be_allowed_but_none_of_no_word() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corpus.txt");
        std::fs::write(&path, "the fox ran to the river").unwrap();
        let corpus = || CorpusIndex::open(&Source::new(&path)).unwrap().0;
        let refuses = |longest: usize| {
            let guard = Novelty::new(corpus(), longest).unwrap();
            guard.judge(&Passage::of_text("see the fox ran to it").readings()[0]).is_some()
        };
        assert!(refuses(3) && !refuses(4) && !refuses(usize::MAX));
        let refused = Novelty::new(corpus(), 0).unwrap_err().to_string();
        assert_eq!(refused, "`longest` is 0; allowed: 1 or more");
    }
}

//! What may be given to a model, and what it may write.
//!
//! A [`Guard`] judges a [`Passage`], the text of a canvas with its holes. [`Guards`] are some of them, with how often what
//! offends is written anew. They act at two places:
//!
//! - **before generation** on the whole given text ([`Guards::judge_given`]). Prompts as interleaved masks spread what offends
//!   over the fragments between holes (DIJA, 2507.11097), so no fragment is judged alone: a passage is read with its holes as
//!   blanks, and with what stands on both sides of them joined;
//! - **when a block is filled** ([`CanvasAudit`]), on the canvas as it reads then. What offends is opened again and drawn anew,
//!   as the engine's [`Audit`](aquatint_generate::Audit) says.
//!
//! Three guards are here, each in a file: [`WordList`], [`LinearClassifier`] and [`Novelty`], which refuses runs of words that
//! stand in a corpus and judges nothing but what is written.
#![forbid(unsafe_code)]

mod canvas_audit;
mod classifier;
mod error;
mod figures;
mod novelty;
mod passage;
mod rows;
mod training;
mod word_list;

pub use canvas_audit::CanvasAudit;
pub use classifier::LinearClassifier;
pub use error::GuardError;
pub use figures::{GuardFigures, guard_figures, guard_table};
pub use novelty::Novelty;
pub use passage::{Passage, Reading};
pub use rows::{GuardRow, guard_rows};
pub use training::TrainingSettings;
pub use word_list::WordList;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Judges texts.
pub trait Guard: Debug + Send + Sync {
    /// What offends in a reading of a text; `None` where nothing does.
    fn judge(&self, reading: &Reading) -> Option<Finding>;

    /// How surely a reading offends, from 0 to 1, for those who measure texts and refuse none. A guard that only finds or does
    /// not gives 1 or 0.
    fn score(&self, reading: &Reading) -> f64 {
        f64::from(u8::from(self.judge(reading).is_some()))
    }

    /// Whether given text is judged, too, and not only what is written.
    fn judges_given(&self) -> bool {
        true
    }
}

/// What offends in a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is, for people.
    pub reason: String,
    /// Where it stands, in bytes of the reading.
    pub bytes: Vec<Range<usize>>,
    /// All that was judged together with it, where that is more: what else is written there may make it pass or offend.
    pub around: Vec<Range<usize>>,
}

/// Some guards, all of which have to let a text pass.
#[derive(Debug, Clone)]
pub struct Guards {
    guards: Vec<Arc<dyn Guard>>,
    repairs: usize,
}

/// What offends in a passage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    reason: String,
    /// The positions of the canvas whose text is part of it.
    positions: BTreeSet<usize>,
    /// Those of what was judged together with it.
    around: BTreeSet<usize>,
}

impl Guards {
    /// Times that a block is written anew where nothing is said.
    pub const REPAIRS: usize = 3;

    /// These guards; what offends in a block is written anew so many times before the text is refused.
    pub fn new(guards: Vec<Arc<dyn Guard>>, repairs: usize) -> Self {
        Self { guards, repairs }
    }

    /// Judges what is given: the whole text with its holes.
    ///
    /// # Errors
    /// [`GuardError::Refused`] where something offends.
    pub fn judge_given(&self, passage: &Passage) -> Result<(), GuardError> {
        let of_given = self.guards.iter().filter(|guard| guard.judges_given());
        match found(of_given, passage).into_iter().next() {
            Some(Found { reason, .. }) => Err(GuardError::Refused { reason }),
            None => Ok(()),
        }
    }

    /// How surely a whole text offends: the largest score of any guard, from 0 to 1; 0 without a guard.
    pub fn score(&self, text: &str) -> f64 {
        let passage = Passage::of_text(text);
        let scores = self.guards.iter().flat_map(|guard| passage.readings().iter().map(|reading| guard.score(reading)));
        scores.fold(0.0, f64::max)
    }

    /// How often what offends in a block is written anew.
    pub fn repairs(&self) -> usize {
        self.repairs
    }

    /// All that offends.
    pub(crate) fn found(&self, passage: &Passage) -> Vec<Found> {
        found(self.guards.iter(), passage)
    }
}

/// A guard as its file says: a classifier where the name ends in `.json`, and otherwise a word list.
///
/// # Errors
/// When the file cannot be read, is empty, or says what cannot be.
pub fn read_guard(path: &Path) -> Result<Arc<dyn Guard>, GuardError> {
    let text = std::fs::read_to_string(path).map_err(|source| GuardError::Io {
        action: "read",
        path: path.to_path_buf(),
        source,
    })?;
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into());
    let guard: Result<Arc<dyn Guard>, GuardError> = match path.extension().is_some_and(|ending| ending == "json") {
        true => LinearClassifier::from_json(&name, &text).map(|guard| -> Arc<dyn Guard> { Arc::new(guard) }),
        false => WordList::parse(&name, &text).map(|guard| -> Arc<dyn Guard> { Arc::new(guard) }),
    };
    guard.map_err(|error| GuardError::File { path: path.to_path_buf(), source: Box::new(error) })
}

fn found<'a>(guards: impl Iterator<Item = &'a Arc<dyn Guard>>, passage: &Passage) -> Vec<Found> {
    let judge = |guard: &'a Arc<dyn Guard>| {
        passage.readings().iter().filter_map(move |reading| {
            let Finding { reason, bytes, around } = guard.judge(reading)?;
            let positions =
                |all: Vec<Range<usize>>| all.into_iter().flat_map(|bytes| reading.positions(bytes)).collect();
            Some(Found { reason, positions: positions(bytes), around: positions(around) })
        })
    };
    guards.flat_map(judge).collect()
}

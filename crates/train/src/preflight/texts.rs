//! The texts of a run as they are at this moment: there, readable, not empty, and the held-out ones not trained on.

use crate::TrainError;
use crate::event::TrainingEvent;
use crate::recipe::{ObjectiveKind, Resolved, SourceRecipe};
use aquatint_corpus::{SourceSnapshot, StructuredRow, StructuredRows};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

/// Reading more bytes than this takes long enough to be reported.
const LONG: u64 = 1 << 30;

/// The sources of a recipe.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    pub(crate) train: Vec<SourceSnapshot>,
    pub(crate) valid: Vec<SourceSnapshot>,
    /// Bytes of all files, compressed as they are.
    pub(crate) bytes: u64,
    /// Whether it was reported that held-out files are trained on.
    pub(crate) overlap_reported: bool,
}

impl Texts {
    /// Reads every file once, for its fingerprint, and the beginning of every source, for some text.
    pub(super) fn find(
        recipe: &Resolved,
        stop: &AtomicBool,
        events: &mut dyn FnMut(TrainingEvent<'_>),
    ) -> Result<Self, TrainError> {
        let mut texts = Self::default();
        let mut reported = false;
        for (sources, snapshots) in [(&recipe.data.train, &mut texts.train), (&recipe.data.valid, &mut texts.valid)] {
            for source in sources.iter().map(SourceRecipe::source) {
                let mut bytes = 0;
                let snapshot = source.snapshot(&mut |read| {
                    bytes = read;
                    if read > LONG && !std::mem::replace(&mut reported, true) {
                        events(TrainingEvent::Preparing("reading the texts"));
                    }
                    !stop.load(Ordering::SeqCst)
                })?;
                if !snapshot.unread().is_empty() {
                    events(TrainingEvent::Unread { path: &snapshot.source().path, files: snapshot.unread() });
                }
                match recipe.objective.kind {
                    ObjectiveKind::Instruct => require_row(snapshot.conversations(), stop)?,
                    ObjectiveKind::Preference => require_row(snapshot.preferences(), stop)?,
                    ObjectiveKind::Diffusion | ObjectiveKind::Causal => {
                        require_text(&snapshot, &|text| !text.is_empty(), stop)?;
                    }
                    // Nothing is a prompt, too.
                    ObjectiveKind::Reward | ObjectiveKind::Order => require_text(&snapshot, &|_| true, stop)?,
                }
                texts.bytes += bytes;
                snapshots.push(snapshot);
            }
        }
        texts.report_overlap(events);
        Ok(texts)
    }

    /// Warns where a held-out file is a training file, whatever it is called. Equal documents in different files are found
    /// when both are packed.
    fn report_overlap(&mut self, events: &mut dyn FnMut(TrainingEvent<'_>)) {
        let trained: HashSet<u64> = self.train.iter().flat_map(SourceSnapshot::file_fingerprints).copied().collect();
        let held_out = || self.valid.iter().flat_map(|s| s.files().iter().zip(s.file_fingerprints()));
        let not_empty = |path: &std::path::Path| path.metadata().is_ok_and(|about| about.len() > 0);
        let mut both = held_out().filter(|(path, print)| trained.contains(print) && not_empty(path));
        if let Some((first, _)) = both.next() {
            let (count, all) = (1 + both.count(), held_out().count());
            events(TrainingEvent::Warning(&format!(
                "{count} of {all} held-out files are also trained on, such as `{}`: the held-out figures will be better \
                 than the model is",
                first.display()
            )));
            self.overlap_reported = true;
        }
    }
}

/// That there is a text in a source that is enough to learn from.
fn require_text(
    snapshot: &SourceSnapshot,
    is_enough: &dyn Fn(&str) -> bool,
    stop: &AtomicBool,
) -> Result<(), TrainError> {
    let mut passages = snapshot.passages();
    for passage in passages.by_ref() {
        if stop.load(Ordering::SeqCst) {
            return Err(TrainError::Stopped);
        }
        if is_enough(&passage?.text) {
            return Ok(());
        }
    }
    Err(passages.nothing_left().into())
}

/// That there is a conversation, or a preference, in a source.
fn require_row<T: StructuredRow>(mut rows: StructuredRows<'_, T>, stop: &AtomicBool) -> Result<(), TrainError> {
    if stop.load(Ordering::SeqCst) {
        return Err(TrainError::Stopped);
    }
    match rows.next() {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(error.into()),
        None => Err(rows.nothing_left().into()),
    }
}

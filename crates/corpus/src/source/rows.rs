//! Rows of JSON lines that are more than a text: conversations, preferences.

use super::counts::{Fault, FileText, ReadCounts};
use super::json::JsonLines;
use super::{Format, Source, require_content};
use crate::CorpusError;
use serde_json::Value;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// What a row can be read as: a [`Conversation`](crate::Conversation) or a [`Preference`](crate::Preference).
pub trait StructuredRow: read::ReadRow {}

pub(super) mod read {
    use super::{Fault, Path, Value};

    /// How a row is read.
    pub trait ReadRow: Sized {
        /// What rows are called in messages.
        const NAME: &'static str;
        /// One of them as it may stand in a file.
        const EXAMPLE: &'static str;

        /// The row without its place.
        fn read(row: Value) -> Result<Self, Fault>;

        /// Bytes of text in it.
        fn text_bytes(&self) -> u64;

        /// The same at its place: a file and the number of a line.
        fn at(self, file: &Path, row: u64) -> Self;

        /// Where it stands.
        fn place(&self) -> (&Path, u64);
    }
}

/// A file that is being read.
struct Reading {
    path: PathBuf,
    lines: JsonLines,
    text: FileText,
}

/// Iterator over the rows of a [`Source`] that are read as `T`.
pub struct StructuredRows<'source, T> {
    source: &'source Source,
    files: std::vec::IntoIter<PathBuf>,
    current: Option<Reading>,
    counts: ReadCounts,
    failed: bool,
    kind: PhantomData<T>,
}

impl<'source, T: StructuredRow> StructuredRows<'source, T> {
    /// The rows of these files of a source.
    pub(crate) fn new(source: &'source Source, files: Vec<PathBuf>) -> Self {
        let (files, counts) = (files.into_iter(), ReadCounts::default());
        Self { source, files, current: None, counts, failed: false, kind: PhantomData }
    }

    /// What was counted so far.
    pub fn counts(&self) -> &ReadCounts {
        &self.counts
    }

    /// Counts a row that was read as a bad one, for a reason that shows only when it becomes tokens.
    ///
    /// # Errors
    /// When there are too many bad rows.
    pub(crate) fn refuse(&mut self, file: &Path, row: u64, reason: String) -> Result<(), CorpusError> {
        self.counts.bad(self.source, file, row, Fault::Unreadable(reason))
    }

    /// Why a source has no such row, once its end is reached.
    pub fn nothing_left(&self) -> CorpusError {
        self.counts.nothing_left(self.source, &format!("it has no {}", T::NAME))
    }

    fn advance(&mut self) -> Result<Option<T>, CorpusError> {
        loop {
            if let Some(Reading { path, lines, text }) = &mut self.current {
                let replaced = self.counts.replaced;
                let found = lines.next_row(self.source, &mut self.counts, T::read)?;
                text.add(found.as_ref().map_or(0, |(_, found)| found.text_bytes()), self.counts.replaced - replaced);
                text.check(self.source, path, found.is_none())?;
                if let Some((row, found)) = found {
                    return Ok(Some(found.at(path, row)));
                }
                self.current = None;
            }
            let Some(path) = self.files.next() else {
                self.counts.check(self.source)?;
                return Ok(None);
            };
            require_content(&path)?;
            match self.source.format_of(&path)? {
                Format::Json => {}
                format => return Err(CorpusError::NoRows { path, format, what: T::NAME, example: T::EXAMPLE }),
            }
            let lines = JsonLines::open(path.clone(), self.source)?;
            self.current = Some(Reading { path, lines, text: FileText::default() });
        }
    }
}

impl<T> std::fmt::Debug for StructuredRows<'_, T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("StructuredRows");
        shown.field("source", self.source).field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl<T: StructuredRow> Iterator for StructuredRows<'_, T> {
    type Item = Result<T, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            // What follows a broken file, or too many bad rows, is not to be trusted.
            return None;
        }
        let next = self.advance().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

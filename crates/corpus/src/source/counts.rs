//! What reading counts: rows that are bad, left out or mended.

use super::Source;
use crate::CorpusError;
use std::fmt;
use std::path::{Path, PathBuf};

/// So many bad rows are named.
pub(crate) const NAMED: usize = 10;
/// Until a source has had so many rows, its bad rows are measured against so many: a bad stretch near the beginning
/// does not stop the reading of a large source. At the end the rows that there were count.
const AT_LEAST: u64 = 100_000;

/// A row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// The file that it is in.
    pub file: PathBuf,
    /// Its number, from 1; of JSON lines, the number of the line.
    pub row: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "row {} of `{}`: {}", self.row, self.file.display(), self.reason)
    }
}

/// What was counted while a source was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadCounts {
    /// Rows of JSON lines and Parquet, the bad ones and those that the filter left out included.
    pub rows: u64,
    /// Rows that cannot be read.
    pub bad_rows: u64,
    /// The first ten of them.
    pub first_bad_rows: Vec<BadRow>,
    /// Rows and text files that the filter left out.
    pub left_out: u64,
    /// Runs of bytes that are no text in the file's encoding, each replaced by U+FFFD.
    pub replaced: u64,
    /// Halves of surrogate pairs in JSON, each replaced by U+FFFD.
    pub surrogates: u64,
    /// Bad rows that lack the field: the field may have another name.
    lacking: u64,
}

/// What is wrong with a row.
pub enum Fault {
    /// It has no such field.
    Lacking(String),
    /// Anything else.
    Unreadable(String),
}

impl ReadCounts {
    /// The counts of a source that was read before.
    pub(crate) fn restored(counts: [u64; 5], first_bad_rows: Vec<BadRow>) -> Self {
        let [rows, bad_rows, left_out, replaced, surrogates] = counts;
        Self { rows, bad_rows, first_bad_rows, left_out, replaced, surrogates, lacking: 0 }
    }

    /// Why a source has nothing at its end; `empty` is the reason where no filter is to blame.
    pub(super) fn nothing_left(&self, source: &Source, empty: &str) -> CorpusError {
        let (reason, hint) = match self.left_out {
            0 => (empty.to_owned(), None),
            rows => (format!("the filter left all {rows} rows out"), Some("compare its values with the file's")),
        };
        CorpusError::Empty { path: source.path.clone(), reason, hint }
    }

    /// A bad row, the last that was read.
    pub(super) fn bad(&mut self, source: &Source, file: &Path, row: u64, fault: Fault) -> Result<(), CorpusError> {
        self.bad_rows += 1;
        let reason = match fault {
            Fault::Lacking(reason) => {
                self.lacking += 1;
                reason
            }
            Fault::Unreadable(reason) => reason,
        };
        if self.first_bad_rows.len() < NAMED {
            self.first_bad_rows.push(BadRow { file: file.to_path_buf(), row, reason });
        }
        if self.bad_rows > allowed(source.max_bad_share, self.rows.max(AT_LEAST)) {
            return Err(self.too_many(source));
        }
        Ok(())
    }

    /// That the bad rows of a source that was read to its end are not too many.
    pub(crate) fn check(&self, source: &Source) -> Result<(), CorpusError> {
        let every = self.bad_rows > 0 && self.bad_rows == self.rows;
        if every || self.bad_rows > allowed(source.max_bad_share, self.rows) {
            return Err(self.too_many(source));
        }
        Ok(())
    }

    fn too_many(&self, source: &Source) -> CorpusError {
        CorpusError::BadRows {
            path: source.path.clone(),
            bad: self.bad_rows,
            rows: self.rows,
            max_bad_share: source.max_bad_share,
            first: self.first_bad_rows.clone(),
            all_lack_the_field: self.lacking == self.bad_rows,
        }
    }
}

/// How many of so many rows may be bad: a share of them, but one in any case unless the share is 0.
fn allowed(share: f64, rows: u64) -> u64 {
    if share > 0.0 { ((share * rows as f64) as u64).max(1) } else { 0 }
}

/// Bytes as text; what is not UTF-8 becomes U+FFFD and is counted.
pub(super) fn to_text(bytes: Vec<u8>, counts: &mut ReadCounts) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| {
        let bytes = error.into_bytes();
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
                counts.replaced += 1;
            }
        }
        text
    })
}

/// The text of one file, of which only a small share may be replaced.
#[derive(Debug, Default)]
pub(super) struct FileText {
    bytes: u64,
    replaced: u64,
}

/// So many replacements are never too many: a short text may have a few.
const FEW: u64 = 16;
/// The share of replacements is not judged before so many bytes, unless the file ends.
const ENOUGH: u64 = 1 << 20;

impl FileText {
    /// So many more bytes of text and replacements.
    pub(super) fn add(&mut self, bytes: u64, replaced: u64) {
        self.bytes += bytes;
        self.replaced += replaced;
    }

    /// That the file is in the encoding in which it was read; `ended` says that nothing of it is left.
    pub(super) fn check(&self, source: &Source, file: &Path, ended: bool) -> Result<(), CorpusError> {
        let few = if source.max_bad_share > 0.0 { FEW } else { 0 };
        let too_many = self.replaced > few.max((source.max_bad_share * self.bytes as f64) as u64);
        if too_many && (ended || self.bytes >= ENOUGH) {
            let encoding = source.encoding.map_or_else(|| "UTF-8".to_owned(), |encoding| encoding.to_string());
            let (replaced, bytes) = (self.replaced, self.bytes);
            return Err(CorpusError::WrongEncoding { path: file.to_path_buf(), encoding, replaced, bytes });
        }
        Ok(())
    }
}

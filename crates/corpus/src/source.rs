//! A source of texts: a file or a folder, streamed one document after another.
//!
//! Nothing larger than one row, or some megabytes of a text file, is in memory at a time.

mod compression;
mod conversation;
mod counts;
mod encoding;
mod field;
mod files;
mod format;
mod input;
mod json;
mod parquet;
mod preference;
mod rows;
mod text;

pub use conversation::{Conversation, Conversations};
pub(crate) use counts::NAMED;
pub use counts::{BadRow, ReadCounts};
pub use encoding::Encoding;
pub use files::{SourceFiles, UnreadFile, UnreadReason};
pub use format::Format;
pub use preference::{Preference, Preferences, PreferredAnswers};
pub use rows::{StructuredRow, StructuredRows};

use crate::CorpusError;
use aquatint_files::LfsPointer;
use counts::{Fault, FileText};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where texts come from and how to read them.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// A file, or a folder that holds such files at any depth: `.txt` or `.text`, `.jsonl`, `.ndjson` or `.json`, each
    /// also with `.gz`, `.zst` or `.xz` behind it, or `.parquet`.
    pub path: PathBuf,
    /// How files are read whose names do not say it; `None` leaves them out.
    pub format: Option<Format>,
    /// The field or column that holds the text: a string, or an array of strings, which line feeds join. Dots lead to
    /// fields inside fields and inside the elements of arrays: `meta.body`, `messages.content`. Unused for text files.
    pub field: String,
    /// Keep only rows whose fields have these values, for example `lang` = `en`; a number is compared as it is written.
    /// Text files have no fields: a filter excludes them all.
    pub filter: BTreeMap<String, String>,
    /// Stands between the documents of a text file, together with the line breaks behind it. Where it is empty, each
    /// file is one document.
    pub separator: String,
    /// The encoding of text and JSON files. `None` is UTF-8, and UTF-16 where a byte order mark or zero bytes show it.
    pub encoding: Option<Encoding>,
    /// The largest share of rows that may be bad: they are passed over and counted. One bad row is always allowed,
    /// unless the share is 0. In a text file, the largest share of bytes that may be replaced because they are no text
    /// in its encoding.
    pub max_bad_share: f64,
    /// A folder or an archive with the files that texts name as `[[picture:FILE]]`. Without it double brackets are text.
    pub media: Option<PathBuf>,
    /// How many times the source is repeated in one epoch.
    pub repeat: u32,
}

/// A piece of a document, in order: the whole of it, unless a text file is large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// The text, paragraphs as they stand in the source.
    pub text: String,
    /// Whether the document ends here.
    pub ends_document: bool,
    /// The row that it is, from 1, where the file has rows; of JSON lines, the number of the line.
    pub row: Option<u64>,
}

impl Source {
    /// The separator of documents in text files where nothing else is said: what writers of corpora put there.
    pub const SEPARATOR: &str = "<|endoftext|>";
    /// The share of rows that may be bad where nothing else is said.
    pub const MAX_BAD_SHARE: f64 = 0.001;

    /// Everything under `path`, texts in the field `text`, once in an epoch.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            format: None,
            field: "text".to_owned(),
            filter: BTreeMap::new(),
            separator: Self::SEPARATOR.to_owned(),
            encoding: None,
            max_bad_share: Self::MAX_BAD_SHARE,
            media: None,
            repeat: 1,
        }
    }

    /// The files of this source. Opens none of them.
    ///
    /// # Errors
    /// When the path does not exist, is a file that is not read, or a folder without a file that is read.
    pub fn files(&self) -> Result<SourceFiles, CorpusError> {
        files::list(&self.path, self.format)
    }

    /// The documents, streamed.
    ///
    /// # Errors
    /// As [`Source::files`].
    pub fn passages(&self) -> Result<Passages<'_>, CorpusError> {
        Ok(Passages::new(self, self.files()?.files))
    }

    /// How the file at `path`, one of this source's, is read.
    pub(crate) fn format_of(&self, path: &Path) -> Result<Format, CorpusError> {
        let listed = path != self.path;
        Format::of(path, self.format, listed)
            .map_err(|reason| CorpusError::NotRead { path: path.to_path_buf(), reason })
    }
}

/// Reads one file; ends at its end.
trait Reader {
    fn next(&mut self, source: &Source, counts: &mut ReadCounts) -> Result<Option<Passage>, CorpusError>;
}

/// A file that is being read.
struct Reading {
    path: PathBuf,
    reader: Box<dyn Reader>,
    text: FileText,
}

/// Iterator over the passages of a [`Source`].
pub struct Passages<'source> {
    source: &'source Source,
    files: std::vec::IntoIter<PathBuf>,
    current: Option<Reading>,
    counts: ReadCounts,
    failed: bool,
}

impl<'source> Passages<'source> {
    /// The passages of these files of a source.
    pub(crate) fn new(source: &'source Source, files: Vec<PathBuf>) -> Self {
        Self { source, files: files.into_iter(), current: None, counts: ReadCounts::default(), failed: false }
    }

    /// What was counted so far.
    pub fn counts(&self) -> &ReadCounts {
        &self.counts
    }

    /// The file of the passage that was read last.
    pub fn file(&self) -> Option<&Path> {
        self.current.as_ref().map(|reading| reading.path.as_path())
    }

    /// Counts the row that was read last as bad, for a reason that shows only when it becomes tokens.
    ///
    /// # Errors
    /// When there are too many bad rows, or the file has no rows that could be passed over.
    pub(crate) fn refuse(&mut self, row: Option<u64>, reason: String) -> Result<(), CorpusError> {
        let path = self.current.as_ref().map_or_else(|| self.source.path.clone(), |reading| reading.path.clone());
        match row {
            Some(row) => self.counts.bad(self.source, &path, row, Fault::Unreadable(reason)),
            None => Err(CorpusError::Media { path, reason }),
        }
    }

    /// Why a source has no document, once its end is reached.
    pub fn nothing_left(&self) -> CorpusError {
        self.counts.nothing_left(self.source, "every text is empty")
    }

    fn advance(&mut self) -> Result<Option<Passage>, CorpusError> {
        loop {
            if let Some(Reading { path, reader, text }) = &mut self.current {
                let replaced = self.counts.replaced;
                let passage = reader.next(self.source, &mut self.counts)?;
                let bytes = passage.as_ref().map_or(0, |passage| passage.text.len() as u64);
                text.add(bytes, self.counts.replaced - replaced);
                text.check(self.source, path, passage.is_none())?;
                if passage.is_some() {
                    return Ok(passage);
                }
                self.current = None;
            }
            let Some(path) = self.files.next() else {
                self.counts.check(self.source)?;
                return Ok(None);
            };
            self.current = Some(open(path, self.source)?);
        }
    }
}

impl std::fmt::Debug for Passages<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Passages")
            .field("source", self.source)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl Iterator for Passages<'_> {
    type Item = Result<Passage, CorpusError>;

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

/// That a file is there, and not a Git LFS pointer in its place.
fn require_content(path: &Path) -> Result<(), CorpusError> {
    match LfsPointer::at(path).map_err(CorpusError::io("read", path))? {
        Some(LfsPointer { size }) => Err(CorpusError::LfsPointer { path: path.to_path_buf(), size }),
        None => Ok(()),
    }
}

fn open(path: PathBuf, source: &Source) -> Result<Reading, CorpusError> {
    require_content(&path)?;
    let reader: Box<dyn Reader> = match source.format_of(&path)? {
        Format::Text => Box::new(text::TextFile::open(path.clone(), source)?),
        Format::Json => Box::new(json::JsonLines::open(path.clone(), source)?),
        Format::Parquet => Box::new(parquet::Table::open(path.clone(), source)?),
    };
    Ok(Reading { path, reader, text: FileText::default() })
}

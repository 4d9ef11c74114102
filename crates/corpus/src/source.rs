//! A source of texts: a file or a folder, streamed one document after another.
//!
//! Nothing larger than one row, or one megabyte of a text file, is in memory at a time.

mod json;
mod parquet;
mod text;

use crate::CorpusError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where texts come from and how to read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// A `.txt`, `.jsonl`, `.jsonl.zst` or `.parquet` file, or a folder that holds such files at any depth. A text file
    /// is one document; a row of the others is.
    pub path: PathBuf,
    /// The field or column that holds the text: a string, or an array of strings, which line feeds join. Unused for
    /// text files.
    pub field: String,
    /// Keep only rows whose fields have these values, for example `lang` = `en`; a number is compared as it is written.
    /// Text files have no fields: a filter excludes them all.
    pub filter: BTreeMap<String, String>,
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
}

/// How a file is read, known by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Json,
    CompressedJson,
    Parquet,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let kinds = [
            (".txt", Self::Text),
            (".jsonl", Self::Json),
            (".jsonl.zst", Self::CompressedJson),
            (".parquet", Self::Parquet),
        ];
        kinds.into_iter().find_map(|(ending, kind)| name.ends_with(ending).then_some(kind))
    }
}

impl Source {
    /// Everything under `path`, texts in the field `text`, once in an epoch.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), field: "text".to_owned(), filter: BTreeMap::new(), repeat: 1 }
    }

    /// The files of this source in the order in which they are read: by path, which makes it the same everywhere. Files
    /// of other kinds and hidden files are no part of it.
    ///
    /// # Errors
    /// When the path does not exist, is a file of another kind, or a folder without a readable file.
    pub fn files(&self) -> Result<Vec<PathBuf>, CorpusError> {
        let about = std::fs::metadata(&self.path).map_err(CorpusError::io("read", &self.path))?;
        if !about.is_dir() {
            return match Kind::of(&self.path) {
                Some(_) => Ok(vec![self.path.clone()]),
                None => Err(CorpusError::UnknownKind { path: self.path.clone() }),
            };
        }
        let (mut files, mut folders) = (Vec::new(), vec![self.path.clone()]);
        while let Some(folder) = folders.pop() {
            let read = || CorpusError::io("read", &folder);
            for entry in std::fs::read_dir(&folder).map_err(read())? {
                let entry = entry.map_err(read())?;
                if entry.file_name().to_string_lossy().starts_with('.') {
                    continue;
                }
                let path = entry.path();
                // The kind of what a link leads to, so that a corpus can be a folder of links to files; links to
                // folders are not followed, since they may lead back here.
                let is_link = entry.file_type().map_err(read())?.is_symlink();
                match std::fs::metadata(&path).map_err(CorpusError::io("read", &path))? {
                    about if about.is_dir() && !is_link => folders.push(path),
                    about if about.is_file() && Kind::of(&path).is_some() => files.push(path),
                    _ => {}
                }
            }
        }
        if files.is_empty() {
            return Err(CorpusError::EmptyFolder { path: self.path.clone() });
        }
        files.sort();
        Ok(files)
    }

    /// The documents, streamed.
    ///
    /// # Errors
    /// As [`Source::files`].
    pub fn passages(&self) -> Result<Passages<'_>, CorpusError> {
        Ok(Passages { source: self, files: self.files()?.into_iter(), current: None, tally: Tally::default() })
    }

    /// Whether a row with these fields passes the filter.
    fn keeps(&self, value: impl Fn(&str) -> Option<String>) -> bool {
        self.filter.iter().all(|(key, wanted)| value(key).as_ref() == Some(wanted))
    }
}

/// What reading has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Runs of bytes that were no UTF-8, each replaced by U+FFFD.
    pub(crate) replaced: u64,
    /// Rows and files that the filter left out.
    pub(crate) left_out: u64,
}

/// Reads one file; ends at its end.
trait Reader {
    fn next(&mut self, source: &Source, tally: &mut Tally) -> Result<Option<Passage>, CorpusError>;
}

/// Iterator over the passages of a [`Source`].
pub struct Passages<'source> {
    source: &'source Source,
    files: std::vec::IntoIter<PathBuf>,
    current: Option<Box<dyn Reader>>,
    tally: Tally,
}

impl Passages<'_> {
    /// How many runs of bytes so far were not UTF-8; each became one U+FFFD.
    pub fn replaced(&self) -> u64 {
        self.tally.replaced
    }

    /// How many rows so far the filter left out.
    pub fn left_out(&self) -> u64 {
        self.tally.left_out
    }

    fn advance(&mut self) -> Result<Option<Passage>, CorpusError> {
        loop {
            if let Some(reader) = &mut self.current {
                if let Some(passage) = reader.next(self.source, &mut self.tally)? {
                    return Ok(Some(passage));
                }
                self.current = None;
            }
            let Some(path) = self.files.next() else { return Ok(None) };
            self.current = Some(open(path, self.source)?);
        }
    }
}

impl std::fmt::Debug for Passages<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Passages")
            .field("source", self.source)
            .field("tally", &self.tally)
            .finish_non_exhaustive()
    }
}

impl Iterator for Passages<'_> {
    type Item = Result<Passage, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().transpose();
        if matches!(next, Some(Err(_))) {
            // What follows a broken row or file is not to be trusted.
            self.current = None;
            self.files = Vec::new().into_iter();
        }
        next
    }
}

fn open(path: PathBuf, source: &Source) -> Result<Box<dyn Reader>, CorpusError> {
    let kind = Kind::of(&path).ok_or_else(|| CorpusError::UnknownKind { path: path.clone() })?;
    Ok(match kind {
        Kind::Text => Box::new(text::TextFile::open(path)?),
        Kind::Json => Box::new(json::JsonLines::open(path, false)?),
        Kind::CompressedJson => Box::new(json::JsonLines::open(path, true)?),
        Kind::Parquet => Box::new(parquet::Table::open(path, source)?),
    })
}

/// Bytes as text; what is not UTF-8 becomes U+FFFD and is counted.
fn to_text(bytes: Vec<u8>, tally: &mut Tally) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| {
        let bytes = error.into_bytes();
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
                tally.replaced += 1;
            }
        }
        text
    })
}

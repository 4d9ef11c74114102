//! JSON lines, plain or compressed by zstd: one document a line.

use super::{Passage, Reader, Source, Tally, to_text};
use crate::CorpusError;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

/// A line longer than this is not read: it would be a file that is no JSON lines at all.
const LONGEST_LINE: u64 = 1 << 30;

pub(super) struct JsonLines {
    path: PathBuf,
    lines: Box<dyn BufRead>,
    row: u64,
}

impl JsonLines {
    pub(super) fn open(path: PathBuf, compressed: bool) -> Result<Self, CorpusError> {
        let read = || CorpusError::io("read", &path);
        let file = BufReader::with_capacity(1 << 17, File::open(&path).map_err(read())?);
        let lines: Box<dyn BufRead> = if compressed {
            let decoder = zstd::stream::read::Decoder::with_buffer(file).map_err(read())?;
            Box::new(BufReader::with_capacity(1 << 17, decoder))
        } else {
            Box::new(file)
        };
        Ok(Self { path, lines, row: 0 })
    }

    fn error(&self, reason: String) -> CorpusError {
        CorpusError::Row { path: self.path.clone(), row: self.row, reason }
    }
}

impl Reader for JsonLines {
    fn next(&mut self, source: &Source, tally: &mut Tally) -> Result<Option<Passage>, CorpusError> {
        loop {
            let mut line = Vec::new();
            self.row += 1;
            let count = self
                .lines
                .by_ref()
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut line)
                .map_err(CorpusError::io("read", &self.path))?;
            if count == 0 {
                return Ok(None);
            }
            if count as u64 == LONGEST_LINE {
                return Err(self.error(format!("the line is longer than {LONGEST_LINE} bytes")));
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let replaced_before = tally.replaced;
            let line = to_text(line, tally);
            let mut row: Value =
                serde_json::from_str(&line).map_err(|error| self.error(format!("it is not JSON ({error})")))?;
            let Some(fields) = row.as_object_mut() else {
                return Err(self.error("it is JSON but not an object such as {\"text\": \"…\"}".to_owned()));
            };
            if !source.keeps(|key| fields.get(key).map(plain)) {
                tally.left_out += 1;
                // Replacements in a row that is left out are nobody's concern.
                tally.replaced = replaced_before;
                continue;
            }
            let Some(value) = fields.get_mut(&source.field) else {
                return Err(CorpusError::MissingField {
                    path: self.path.clone(),
                    row: self.row,
                    field: source.field.clone(),
                    present: fields.keys().cloned().collect(),
                });
            };
            let text = text_of(value.take())
                .ok_or_else(|| self.error(format!("`{}` is neither a string nor an array of strings", source.field)))?;
            return Ok(Some(Passage { text, ends_document: true }));
        }
    }
}

/// A value as a filter compares it: a string without its quotes, anything else as JSON writes it.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A string, or strings joined by line feeds.
pub(super) fn text_of(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(parts) => {
            let parts: Option<Vec<&str>> = parts.iter().map(Value::as_str).collect();
            Some(parts?.join("\n"))
        }
        _ => None,
    }
}

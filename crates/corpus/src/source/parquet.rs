//! Parquet tables: one document a row; only the columns that are needed are read.

mod column;

use super::counts::{Fault, ReadCounts, to_text};
use super::field::{Tree, find, splits};
use super::{Passage, Reader, Source};
use crate::CorpusError;
use crate::error::list;
use column::{Cell, TextColumn};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use std::fs::File;
use std::path::{Path, PathBuf};

/// What the reader says of a bad file may quote much of it.
const LONGEST_REASON: usize = 200;

pub(super) struct Table {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    text: TextColumn,
    /// The columns that the filter compares, row by row beside the text.
    filtered: Option<RowIter<'static>>,
    row: u64,
}

impl Table {
    pub(super) fn open(path: PathBuf, source: &Source) -> Result<Self, CorpusError> {
        let reader = reader(&path)?;
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        let text = TextColumn::find(&schema, &source.field).map_err(|reason| column(&path, &source.field, reason))?;
        // The reader would say the same less clearly, and only when it comes to such a page.
        let codecs = reader.metadata().row_groups().iter().map(|group| group.column(text.index()).compression());
        if codecs.into_iter().any(|codec| codec == Compression::LZO) {
            return Err(failed(&path, "it is compressed by LZO, which is not supported"));
        }
        let filtered =
            if source.filter.is_empty() { None } else { Some(filtered(&path, source, schema.root_schema())?) };
        Ok(Self { path, reader, text, filtered, row: 0 })
    }

    /// The columns of the filter in the next row.
    fn filtered(&mut self) -> Result<Option<Row>, CorpusError> {
        let Some(rows) = &mut self.filtered else { return Ok(None) };
        let row = rows.next().transpose().map_err(|error| failed(&self.path, &said(&error)))?;
        row.map(Some).ok_or_else(|| failed(&self.path, "its columns are of different lengths"))
    }
}

impl Reader for Table {
    fn next(&mut self, source: &Source, counts: &mut ReadCounts) -> Result<Option<Passage>, CorpusError> {
        loop {
            let cell = self.text.next(&self.reader).map_err(|error| failed(&self.path, &said(&error)))?;
            let Some(cell) = cell else { return Ok(None) };
            self.row += 1;
            counts.rows += 1;
            if let Some(row) = self.filtered()?
                && !keeps(&row, source)
            {
                counts.left_out += 1;
                continue;
            }
            match cell {
                // A column of plain bytes counts as text: many writers leave the mark out.
                Cell::Text(bytes) => {
                    let text = to_text(bytes, counts);
                    return Ok(Some(Passage { text, ends_document: true, row: Some(self.row) }));
                }
                Cell::Null => {
                    let reason = match self.text.is_list() {
                        true => format!("`{}` has null in it and not only strings", source.field),
                        false => format!("`{}` is null, neither a string nor a list of strings", source.field),
                    };
                    counts.bad(source, &self.path, self.row, Fault::Unreadable(reason))?;
                }
            }
        }
    }
}

fn reader(path: &Path) -> Result<SerializedFileReader<File>, CorpusError> {
    let file = File::open(path).map_err(CorpusError::io("read", path))?;
    SerializedFileReader::new(file).map_err(|error| failed(path, &said(&error)))
}

fn failed(path: &Path, reason: &str) -> CorpusError {
    CorpusError::Parquet { path: path.to_path_buf(), reason: reason.to_owned() }
}

fn column(path: &Path, field: &str, reason: String) -> CorpusError {
    CorpusError::Column { path: path.to_path_buf(), field: field.to_owned(), reason }
}

/// What the reader said, cut where it quotes data.
fn said(error: &ParquetError) -> String {
    let text = error.to_string();
    match text.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The columns whose names begin the paths of the filter.
fn filtered(path: &Path, source: &Source, schema: &Type) -> Result<RowIter<'static>, CorpusError> {
    let reader = reader(path)?;
    let names: Vec<&str> = schema.get_fields().iter().map(|column| column.name()).collect();
    let mut wanted = Vec::new();
    for key in source.filter.keys() {
        let heads = std::iter::once(key.as_str()).chain(splits(key).map(|(head, _)| head));
        let column = heads.into_iter().find_map(|head| schema.get_fields().iter().find(|column| column.name() == head));
        let column = column.ok_or_else(|| self::column(path, key, format!("no `{key}`; it has {}", list(&names))))?;
        if !wanted.contains(column) {
            wanted.push(column.clone());
        }
    }
    let projection = Type::group_type_builder(schema.name()).with_fields(wanted).build();
    let rows = projection.and_then(|projection| RowIter::from_file_into(Box::new(reader)).project(Some(projection)));
    rows.map_err(|error| failed(path, &said(&error)))
}

fn keeps(row: &Row, source: &Source) -> bool {
    source.filter.iter().all(|(key, wanted)| {
        let mut found = row.get_column_iter().filter_map(|(name, value)| match key.strip_prefix(name.as_str()) {
            Some("") => Some(vec![value]),
            Some(rest) => find(value, rest.strip_prefix('.')?),
            None => None,
        });
        found.any(|values| values.into_iter().any(|value| plain(value) == *wanted))
    })
}

impl Tree for Field {
    fn entry(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Group(row) => row.get_column_iter().find(|(name, _)| *name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    fn elements(&self) -> Option<&[Self]> {
        match self {
            Self::ListInternal(list) => Some(list.elements()),
            _ => None,
        }
    }
}

/// A value as a filter compares it.
fn plain(value: &Field) -> String {
    match value {
        Field::Str(text) => text.clone(),
        Field::Bytes(bytes) => String::from_utf8_lossy(bytes.data()).into_owned(),
        other => other.to_string(),
    }
}

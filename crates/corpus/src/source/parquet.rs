//! Parquet tables: one document a row; only the columns that are needed are read.

use super::{Passage, Reader, Source, Tally, to_text};
use crate::CorpusError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use std::fs::File;
use std::path::PathBuf;

pub(super) struct Table {
    path: PathBuf,
    rows: RowIter<'static>,
    row: u64,
}

impl Table {
    pub(super) fn open(path: PathBuf, source: &Source) -> Result<Self, CorpusError> {
        let file = File::open(&path).map_err(CorpusError::io("read", &path))?;
        let failed = |error: parquet::errors::ParquetError| CorpusError::Parquet {
            path: path.clone(),
            reason: error.to_string(),
        };
        let reader = SerializedFileReader::new(file).map_err(failed)?;
        let schema = reader.metadata().file_metadata().schema();
        let missing = |field: &String| CorpusError::MissingField {
            path: path.clone(),
            row: 1,
            field: field.clone(),
            present: schema.get_fields().iter().map(|column| column.name().to_owned()).collect(),
        };
        let wanted = |column: &str| column == source.field || source.filter.contains_key(column);
        for name in std::iter::once(&source.field).chain(source.filter.keys()) {
            if !schema.get_fields().iter().any(|column| column.name() == name) {
                return Err(missing(name));
            }
        }
        let columns = schema.get_fields().iter().filter(|column| wanted(column.name())).cloned().collect();
        let projection = Type::group_type_builder(schema.name()).with_fields(columns).build().map_err(failed)?;
        let rows = RowIter::from_file_into(Box::new(reader)).project(Some(projection)).map_err(failed)?;
        Ok(Self { path, rows, row: 0 })
    }
}

impl Reader for Table {
    fn next(&mut self, source: &Source, tally: &mut Tally) -> Result<Option<Passage>, CorpusError> {
        loop {
            self.row += 1;
            let Some(row) = self.rows.next() else { return Ok(None) };
            let row = row.map_err(|error| CorpusError::Parquet {
                path: self.path.clone(),
                reason: format!("row {}: {error}", self.row),
            })?;
            if !source.keeps(|key| field(&row, key).map(plain)) {
                tally.left_out += 1;
                continue;
            }
            let text = field(&row, &source.field).and_then(|value| text_of(value, tally));
            let text = text.ok_or_else(|| CorpusError::Row {
                path: self.path.clone(),
                row: self.row,
                reason: format!("`{}` is neither a string nor a list of strings", source.field),
            })?;
            return Ok(Some(Passage { text, ends_document: true }));
        }
    }
}

fn field<'row>(row: &'row Row, name: &str) -> Option<&'row Field> {
    row.get_column_iter().find(|(column, _)| *column == name).map(|(_, value)| value)
}

/// A value as a filter compares it.
fn plain(value: &Field) -> String {
    match value {
        Field::Str(text) => text.clone(),
        Field::Bytes(bytes) => String::from_utf8_lossy(bytes.data()).into_owned(),
        other => other.to_string(),
    }
}

/// A string, or strings joined by line feeds. A column of plain bytes counts as text: many writers leave the mark out.
fn text_of(value: &Field, tally: &mut Tally) -> Option<String> {
    match value {
        Field::Str(text) => Some(text.clone()),
        Field::Bytes(bytes) => Some(to_text(bytes.data().to_vec(), tally)),
        Field::ListInternal(list) => {
            let parts: Option<Vec<String>> = list.elements().iter().map(|part| text_of(part, tally)).collect();
            Some(parts?.join("\n"))
        }
        _ => None,
    }
}

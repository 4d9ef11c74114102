//! The column of a Parquet file that holds the text, row by row, through whatever groups and lists it lies in.
//!
//! Reference: "Dremel: Interactive Analysis of Web-Scale Datasets" (Melnik et al. 2010). Each entry of a column has a
//! repetition level, which is 0 where a row begins, and a definition level, which says how far the path to it exists.

use crate::error::list;
use crate::source::field::splits;
use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as PhysicalType};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::FileReader;
use parquet::schema::types::{SchemaDescriptor, Type};
use std::collections::VecDeque;

/// Rows that are decoded at a time.
const ROWS: usize = 64;

/// What a row has in the column.
pub(super) enum Cell {
    /// A string, or strings joined by line feeds.
    Text(Vec<u8>),
    /// Nothing, or nothing in one of its elements.
    Null,
}

pub(super) struct TextColumn {
    index: usize,
    levels: Levels,
    /// Row groups that were opened.
    groups: usize,
    column: Option<ColumnReaderImpl<ByteArrayType>>,
    /// Decoded and not given out.
    cells: VecDeque<Cell>,
}

/// How deep the path to a column is.
#[derive(Debug, Default, PartialEq)]
struct Levels {
    /// The names on the path.
    path: Vec<String>,
    /// For each part that may be missing, in order, whether what is missing is the elements of a list.
    optional: Vec<bool>,
}

impl Levels {
    /// Whether the path leads through lists.
    fn repeats(&self) -> bool {
        self.optional.contains(&true)
    }

    fn enter(&mut self, node: &Type) {
        self.path.push(node.name().to_owned());
        match node.get_basic_info().repetition() {
            Repetition::REQUIRED => {}
            Repetition::OPTIONAL => self.optional.push(false),
            Repetition::REPEATED => self.optional.push(true),
        }
    }
}

impl TextColumn {
    /// The column that a field's path leads to, or why there is none.
    pub(super) fn find(schema: &SchemaDescriptor, field: &str) -> std::result::Result<Self, String> {
        let mut levels = Levels::default();
        within(schema.root_schema(), field, &mut levels)?;
        let index = schema.columns().iter().position(|column| column.path().parts() == levels.path);
        let index = index.ok_or_else(|| format!("`{field}` is not among its columns"))?;
        Ok(Self { index, levels, groups: 0, column: None, cells: VecDeque::new() })
    }

    /// Its number among the file's columns.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Whether a row may have several strings.
    pub(super) fn is_list(&self) -> bool {
        self.levels.repeats()
    }

    /// The next row; `None` behind the last.
    pub(super) fn next(&mut self, file: &impl FileReader) -> Result<Option<Cell>> {
        while self.cells.is_empty() {
            if self.column.is_none() {
                if self.groups == file.num_row_groups() {
                    return Ok(None);
                }
                let ColumnReader::ByteArrayColumnReader(column) =
                    file.get_row_group(self.groups)?.get_column_reader(self.index)?
                else {
                    return Err(ParquetError::General("a row group has the column in another type".to_owned()));
                };
                self.groups += 1;
                self.column = Some(column);
            }
            self.decode()?;
        }
        Ok(self.cells.pop_front())
    }

    fn decode(&mut self) -> Result<()> {
        let Some(column) = &mut self.column else { return Ok(()) };
        let (mut definitions, mut repetitions, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let (rows, _, entries) =
            column.read_records(ROWS, Some(&mut definitions), Some(&mut repetitions), &mut values)?;
        if rows == 0 {
            self.column = None;
        }
        // Levels that could only be 0 are not stored.
        definitions.resize(entries, 0);
        repetitions.resize(entries, 0);
        let entries = definitions.into_iter().zip(repetitions);
        self.cells.extend(rows_of(entries, values, &self.levels)?);
        Ok(())
    }
}

/// The rows that entries with these levels and values make up.
fn rows_of(entries: impl Iterator<Item = (i16, i16)>, values: Vec<ByteArray>, levels: &Levels) -> Result<Vec<Cell>> {
    let mut values = values.into_iter();
    // The row that is being put together: its text so far, `None` before its first string, and whether it has a null.
    let (mut rows, mut text, mut null, mut begun) = (Vec::new(), None::<Vec<u8>>, false, false);
    let close = |text: &mut Option<Vec<u8>>, null: &mut bool| match std::mem::take(null) {
        true => {
            *text = None;
            Cell::Null
        }
        false => Cell::Text(text.take().unwrap_or_default()),
    };
    for (definition, repetition) in entries {
        if repetition == 0 && std::mem::replace(&mut begun, true) {
            rows.push(close(&mut text, &mut null));
        }
        match levels.optional.get(definition.max(0) as usize) {
            // A list without elements.
            Some(true) => {}
            Some(false) => null = true,
            None => {
                let short = || ParquetError::General("the column has fewer values than it says".to_owned());
                let value = values.next().ok_or_else(short)?;
                match &mut text {
                    Some(text) => {
                        text.push(b'\n');
                        text.extend_from_slice(value.data());
                    }
                    None => text = Some(value.data().to_vec()),
                }
            }
        }
    }
    if begun {
        rows.push(close(&mut text, &mut null));
    }
    Ok(rows)
}

/// Follows `path` among the children of a group.
fn within(group: &Type, path: &str, levels: &mut Levels) -> std::result::Result<(), String> {
    let child = |name: &str| group.get_fields().iter().find(|child| child.name() == name);
    let whole = std::iter::once((path, ""));
    let Some((child, rest)) = whole.chain(splits(path)).find_map(|(key, rest)| Some((child(key)?, rest))) else {
        let names: Vec<&str> = group.get_fields().iter().map(|child| child.name()).collect();
        return Err(format!("no `{path}`; it has {}", list(&names)));
    };
    levels.enter(child);
    into(child, rest, levels)
}

/// Follows the rest of a path in a node that was entered. Lists and maps have groups of their own between them and
/// their elements, which no path names.
fn into(node: &Type, path: &str, levels: &mut Levels) -> std::result::Result<(), String> {
    if node.is_primitive() {
        return match node.get_physical_type() {
            _ if !path.is_empty() => Err(format!("no `{path}` in `{}`, which has no fields", node.name())),
            PhysicalType::BYTE_ARRAY => Ok(()),
            other => Err(format!("`{}` is of type {other}, neither a string nor a list of strings", node.name())),
        };
    }
    let [repeated] = node.get_fields() else { return within_group(node, path, levels) };
    if !is_collection(node) || repeated.get_basic_info().repetition() != Repetition::REPEATED {
        return within_group(node, path, levels);
    }
    levels.enter(repeated);
    match element(node, repeated) {
        Some(element) => {
            levels.enter(element);
            into(element, path, levels)
        }
        None => into(repeated, path, levels),
    }
}

fn within_group(group: &Type, path: &str, levels: &mut Levels) -> std::result::Result<(), String> {
    if path.is_empty() {
        let names: Vec<&str> = group.get_fields().iter().map(|child| child.name()).collect();
        return Err(format!("`{}` is a group of {} and no string", group.name(), list(&names)));
    }
    within(group, path, levels)
}

/// Whether a group is marked as a list or a map.
fn is_collection(group: &Type) -> bool {
    let about = group.get_basic_info();
    matches!(about.converted_type(), ConvertedType::LIST | ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE)
        || matches!(about.logical_type_ref(), Some(LogicalType::List | LogicalType::Map))
}

/// The element of a list whose repeated group only wraps it; `None` where the repeated node is the element itself, as
/// older writers have it and as entries of maps are.
fn element<'node>(collection: &Type, repeated: &'node Type) -> Option<&'node Type> {
    if repeated.is_primitive()
        || repeated.name() == "array"
        || repeated.name() == format!("{}_tuple", collection.name())
    {
        return None;
    }
    match repeated.get_fields() {
        [element] if !is_collection(repeated) => Some(element),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::schema::parser::parse_message_type;
    use std::sync::Arc;

    fn found(schema: &str, field: &str) -> std::result::Result<(String, Vec<bool>), String> {
        let schema = SchemaDescriptor::new(Arc::new(parse_message_type(schema).unwrap()));
        TextColumn::find(&schema, field).map(|column| (column.levels.path.join("/"), column.levels.optional))
    }

    #[test]
    fn paths_lead_through_groups_lists_and_maps() {
        let schema = "message m {
            required binary plain; optional binary text (UTF8); optional int32 number; required binary a.b;
            optional group meta { required binary lang (UTF8); optional group more { optional binary title (UTF8); } }
            optional group pages (LIST) { repeated group list { optional binary element (UTF8); } }
            optional group old (LIST) { repeated binary array (UTF8); }
            required group turns (LIST) { repeated group list { required group element {
                required binary role (UTF8); optional binary content (UTF8); } } }
            optional group pairs (LIST) { repeated group pairs_tuple { required binary left (UTF8); } }
            optional group names (MAP) { repeated group key_value {
                required binary key (UTF8); optional binary value (UTF8); } }
            repeated binary bare (UTF8);
        }";
        let cases: [(&str, &str, &[bool]); 12] = [
            ("plain", "plain", &[]),
            ("text", "text", &[false]),
            ("a.b", "a.b", &[]),
            ("meta.lang", "meta/lang", &[false]),
            ("meta.more.title", "meta/more/title", &[false, false, false]),
            ("pages", "pages/list/element", &[false, true, false]),
            ("old", "old/array", &[false, true]),
            ("turns.role", "turns/list/element/role", &[true]),
            ("turns.content", "turns/list/element/content", &[true, false]),
            ("pairs.left", "pairs/pairs_tuple/left", &[false, true]),
            ("names.value", "names/key_value/value", &[false, true, false]),
            ("bare", "bare", &[true]),
        ];
        for (field, path, optional) in cases {
            assert_eq!(found(schema, field), Ok((path.to_owned(), optional.to_vec())), "{field}");
        }
        for (field, reason) in [
            (
                "body",
                "no `body`; it has `plain`, `text`, `number`, `a.b`, `meta`, `pages`, `old`, `turns`, `pairs`, `names`, `bare`",
            ),
            ("meta", "`meta` is a group of `lang`, `more` and no string"),
            ("meta.none", "no `none`; it has `lang`, `more`"),
            ("number", "`number` is of type INT32, neither a string nor a list of strings"),
            ("text.more", "no `more` in `text`, which has no fields"),
            ("turns", "`element` is a group of `role`, `content` and no string"),
        ] {
            assert_eq!(found(schema, field), Err(reason.to_owned()), "{field}");
        }
    }

    #[test]
    fn levels_say_where_rows_begin_and_what_is_missing() {
        let levels = Levels { path: Vec::new(), optional: vec![false, true, false] };
        // A list of two, an empty list, none, a list with a null in it, a list of one.
        let entries = [(3, 0), (3, 1), (1, 0), (0, 0), (3, 0), (2, 1), (3, 0)];
        let values = ["a", "b", "c", "d"].map(|text| ByteArray::from(text.as_bytes().to_vec())).to_vec();
        let rows = rows_of(entries.into_iter(), values.clone(), &levels).unwrap();
        let rows: Vec<Option<String>> = rows
            .into_iter()
            .map(|row| match row {
                Cell::Text(bytes) => Some(String::from_utf8(bytes).unwrap()),
                Cell::Null => None,
            })
            .collect();
        assert_eq!(rows, [Some("a\nb".into()), Some(String::new()), None, None, Some("d".into())]);
        assert!(rows_of(std::iter::repeat_n((3, 0), 5), values, &levels).is_err(), "five entries and four values");
    }
}

//! `extends = "base.toml"`: a recipe that says only what differs from another.
//!
//! The path is relative to the file that names it, and the base may extend another file in turn. Keys of the extending
//! recipe win; tables are merged key by key, everything else, arrays too, is replaced as a whole. `--set` comes last. A
//! key of a base cannot be taken back, only set to something else.
//!
//! A mistake is shown with its file, line and column: each text is parsed at an offset of its own, so that the
//! span of a key or a value says where it came from.

use crate::{Overrides, RecipeError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, Error};

/// So many files may be extended, one by the other: more are a mistake.
const DEPTH: usize = 8;
const KEY: &str = "extends";

/// A text, and what it is called in messages.
struct Source {
    origin: Origin,
    text: String,
}

enum Origin {
    /// The recipe itself, whose name the reader knows.
    Recipe,
    /// One that is extended.
    Base { path: PathBuf },
    /// A `--set`.
    Override { given: String },
}

/// The whole table of a recipe, from which its kind is made.
type Whole<'i> = Spanned<DeTable<'i>>;

/// A recipe of one kind from the whole table.
pub(super) fn of_kind<R: DeserializeOwned>(whole: Whole<'_>) -> Result<R, Error> {
    R::deserialize(Deserializer::from(whole))
}

/// Reads a recipe file over those that it extends.
pub(super) fn load<R>(
    path: &Path,
    overrides: &Overrides,
    make: impl FnOnce(Whole<'_>) -> Result<R, Error>,
) -> Result<R, RecipeError> {
    let mut sources = Vec::new();
    // As they are named in messages, and as they are compared.
    let (mut chain, mut files): (Vec<PathBuf>, Vec<PathBuf>) = (Vec::new(), Vec::new());
    let mut next = Some(path.to_path_buf());
    while let Some(path) = next {
        let failed = |source| match chain.last() {
            None => RecipeError::Read { path: path.clone(), source },
            Some(by) => RecipeError::Base { path: path.clone(), by: by.clone(), source },
        };
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        // What is read from a pipe, such as `<(…)` of a shell, has no other name.
        let file = path.canonicalize().unwrap_or_else(|_| path.clone());
        let known = files.contains(&file);
        chain.push(path.clone());
        if known || chain.len() > DEPTH {
            let allowed = if known { "a chain without a circle" } else { "a chain of at most 8 files" };
            return Err(RecipeError::Chain { chain, allowed });
        }
        files.push(file);
        let origin = if chain.len() == 1 { Origin::Recipe } else { Origin::Base { path: path.clone() } };
        let source = Source { origin, text: text.trim_start_matches('\u{feff}').to_owned() };
        let base = source.extends()?;
        next = base.map(|base| path.parent().unwrap_or(Path::new("")).join(base));
        sources.push(source);
    }
    read(sources, overrides, make)
}

/// Reads the text of a recipe that extends nothing.
pub(super) fn parse<R>(
    text: &str,
    overrides: &Overrides,
    make: impl FnOnce(Whole<'_>) -> Result<R, Error>,
) -> Result<R, RecipeError> {
    let source = Source { origin: Origin::Recipe, text: text.to_owned() };
    if let Some(given) = source.extends()? {
        return Err(RecipeError::value(KEY, given, "in a file, which its path can be relative to"));
    }
    read(vec![source], overrides, make)
}

/// Puts a recipe, those that it extends and the overrides over each other.
fn read<R>(
    mut sources: Vec<Source>,
    overrides: &Overrides,
    make: impl FnOnce(Whole<'_>) -> Result<R, Error>,
) -> Result<R, RecipeError> {
    let files = sources.len();
    sources.extend(
        overrides.each().map(|(given, table)| Source { origin: Origin::Override { given }, text: table.to_string() }),
    );
    let mut padded = Vec::with_capacity(sources.len());
    let mut end = 0;
    for source in &sources {
        padded.push(" ".repeat(end) + &source.text);
        end += source.text.len() + 1;
    }
    let mut tables = Vec::with_capacity(sources.len());
    for text in &padded {
        tables.push(DeTable::parse(text).map_err(|error| refused(&sources, &error))?.into_inner());
    }
    let set = tables.split_off(files);
    let mut whole = DeTable::new();
    for mut table in tables.into_iter().rev() {
        table.remove(KEY);
        merge(&mut whole, table);
    }
    for (table, path) in set.into_iter().zip(overrides.paths()) {
        if !replace(&mut whole, table, path.len()) {
            let reason = "a part of the key before a dot is no table";
            return Err(RecipeError::Override { given: path.join("."), reason, hint: None });
        }
    }
    // What is missing is missing from the recipe itself.
    let root = Spanned::new(0..sources[0].text.len(), whole);
    make(root).map_err(|error| refused(&sources, &error))
}

/// Puts `over` over `under`: tables are merged, everything else is replaced.
fn merge<'i>(under: &mut DeTable<'i>, over: DeTable<'i>) {
    for (key, value) in over {
        if let (Some(DeValue::Table(inner)), DeValue::Table(_)) =
            (under.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut), value.get_ref())
        {
            if let DeValue::Table(table) = value.into_inner() {
                merge(inner, table);
            }
            continue;
        }
        // The key of the one that wins, since its span says where it stands.
        under.remove(key.get_ref().as_ref());
        under.insert(key, value);
    }
}

/// Puts the one value of `set`, which is `depth` keys deep, in place of what is there; false where a table is needed on
/// the way and something else is found.
fn replace<'i>(whole: &mut DeTable<'i>, set: DeTable<'i>, depth: usize) -> bool {
    for (key, value) in set {
        match whole.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut) {
            Some(DeValue::Table(inner)) if depth > 1 => {
                return match value.into_inner() {
                    DeValue::Table(table) => replace(inner, table, depth - 1),
                    _ => false,
                };
            }
            Some(_) if depth > 1 => return false,
            _ => {
                whole.remove(key.get_ref().as_ref());
                whole.insert(key, value);
            }
        }
    }
    true
}

impl Source {
    /// What the recipe says that it extends.
    fn extends(&self) -> Result<Option<String>, RecipeError> {
        #[derive(Deserialize)]
        struct Extends {
            extends: Option<String>,
        }
        let parsed: Result<Extends, Error> = toml::from_str(&self.text);
        parsed.map(|file| file.extends).map_err(|error| RecipeError::Parse { reason: self.describe(&error, 0) })
    }

    /// An error in this text, which begins at `start`, with its place.
    fn describe(&self, error: &Error, start: usize) -> String {
        let local = error.span().map(|span| span.start - start..span.end - start);
        let shown = match local {
            Some(span) => show(&self.text, span, error.message()),
            None => error.message().to_owned(),
        };
        match &self.origin {
            Origin::Recipe => shown,
            Origin::Base { path } => format!("in `{}`, which it extends: {shown}", path.display()),
            Origin::Override { given } => format!("`--set {given}`: {}", error.message()),
        }
    }
}

/// An error with the place that its span is in.
fn refused(sources: &[Source], error: &Error) -> RecipeError {
    let mut start = 0;
    for source in sources {
        let end = start + source.text.len();
        if error.span().is_none_or(|span| span.start <= end) {
            return RecipeError::Parse { reason: source.describe(error, start) };
        }
        start = end + 1;
    }
    RecipeError::Parse { reason: error.message().to_owned() }
}

/// A message under the line that it is about, as the TOML parser shows it.
fn show(text: &str, span: Range<usize>, message: &str) -> String {
    let start = span.start.min(text.len());
    let line_start = text[..start].rfind('\n').map_or(0, |feed| feed + 1);
    let line = text[..line_start].matches('\n').count() + 1;
    let content = text[line_start..].lines().next().unwrap_or_default();
    let column = text[line_start..start].chars().count();
    let room = content.chars().count().saturating_sub(column);
    let marks = "^".repeat(text[start..span.end.min(text.len()).max(start)].chars().count().min(room).max(1));
    let margin = " ".repeat(line.to_string().len() + 1);
    let blank = " ".repeat(column + 1);
    let place = format!("TOML parse error at line {line}, column {}", column + 1);
    format!("{place}\n{margin}|\n{line} | {content}\n{margin}|{blank}{marks}\n{message}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use toml::{Table, Value};

    /// Merges as [`merge`] is meant to, on values without spans.
    fn merged(under: &Table, over: &Table) -> Table {
        let mut all = under.clone();
        for (key, value) in over {
            let value = match (under.get(key), value) {
                (Some(Value::Table(under)), Value::Table(over)) => Value::Table(merged(under, over)),
                (_, value) => value.clone(),
            };
            all.insert(key.clone(), value);
        }
        all
    }

    fn with_spans(under: &Table, over: &Table) -> Table {
        let (under, over) = (under.to_string(), over.to_string());
        let mut whole = DeTable::parse(&under).unwrap().into_inner();
        merge(&mut whole, DeTable::parse(&over).unwrap().into_inner());
        Table::deserialize(Deserializer::from(Spanned::new(0..0, whole))).unwrap()
    }

    fn tables() -> impl Strategy<Value = Table> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::Integer),
            any::<bool>().prop_map(Value::Boolean),
            "[a-z ]{0,6}".prop_map(Value::String),
            prop::collection::vec(any::<i64>().prop_map(Value::Integer), 0..3).prop_map(Value::Array),
        ];
        let value = leaf.prop_recursive(3, 16, 4, |inner| {
            prop::collection::btree_map("[a-d]", inner, 0..4).prop_map(|map| Value::Table(map.into_iter().collect()))
        });
        prop::collection::btree_map("[a-d]", value, 0..4).prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn keys_of_the_child_win_tables_merge_and_the_rest_is_replaced(under in tables(), over in tables()) {
            let both = with_spans(&under, &over);
            prop_assert_eq!(&both, &merged(&under, &over));
            prop_assert_eq!(with_spans(&under, &Table::new()), under);
            prop_assert_eq!(with_spans(&Table::new(), &over), over.clone());
            // What was put over stays when it is put over again.
            prop_assert_eq!(with_spans(&both, &over), both);
        }
    }

    #[test]
    fn messages_are_those_of_the_parser() {
        for text in ["a = 1\nb = [1,\nc = ü", "steps = 'ä' x\n", "[run]\nstep = 5\n[run]\n", "a ="] {
            let error = toml::from_str::<Table>(text).unwrap_err();
            let own = show(text, error.span().unwrap(), error.message());
            assert_eq!(own, error.to_string().trim_end());
        }
    }
}

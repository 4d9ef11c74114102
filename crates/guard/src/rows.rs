//! Labelled texts: JSON lines by which a classifier is trained and guards are measured.

use crate::{GuardError, Passage};
use aquatint_evaluate::{EvaluateError, json_lines_of, not_empty};
use aquatint_vocabulary::{Template, TemplateError};
use serde::Deserialize;
use std::path::Path;

/// A text as it would be typed, and whether a guard is to refuse it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "GivenRow")]
pub struct GuardRow {
    /// The text with its holes.
    pub passage: Passage,
    /// Whether it is to be refused.
    pub refuse: bool,
    /// What kind of text it is; figures are of each.
    pub set: String,
}

/// A row as its line has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenRow {
    text: String,
    refuse: bool,
    #[serde(default)]
    set: String,
}

impl TryFrom<GivenRow> for GuardRow {
    type Error = String;

    /// # Errors
    /// What is wrong with the template, in one line: the excerpt in the others is for a template that was typed.
    fn try_from(GivenRow { text, refuse, set }: GivenRow) -> Result<Self, String> {
        let first = |error: TemplateError| error.to_string().lines().next().unwrap_or_default().to_owned();
        Ok(Self { passage: Passage::of_template(&Template::parse(&text).map_err(first)?), refuse, set })
    }
}

/// The rows of a file; lines without anything are passed over.
///
/// # Errors
/// When it cannot be read, has no row, or a line is none.
pub fn guard_rows(path: &Path) -> Result<Vec<GuardRow>, GuardError> {
    let rows: Vec<GuardRow> = json_lines_of(path, check)?;
    if rows.is_empty() {
        let reason = "there is no row; allowed: one or more".to_owned();
        return Err(EvaluateError::Row { path: path.to_path_buf(), line: 1, reason }.into());
    }
    Ok(rows)
}

fn check(row: &GuardRow) -> Result<(), String> {
    row.passage.readings().iter().try_for_each(|reading| not_empty("text", reading.text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Vec<GuardRow>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        std::fs::write(&path, text).unwrap();
        let shown = path.display().to_string();
        guard_rows(&path).map_err(|error| error.to_string().replace(&shown, "rows.jsonl"))
    }

    #[test]
    fn rows_are_read_with_and_without_a_set() {
        let text =
            "{\"text\": \"a [[2]] b\", \"refuse\": true}\n\n{\"text\": \"c\", \"refuse\": false, \"set\": \"s\"}\n";
        let row = |text: &str, refuse: bool, set: &str| {
            let passage = Passage::of_template(&Template::parse(text).unwrap());
            GuardRow { passage, refuse, set: set.to_owned() }
        };
        assert_eq!(rows(text).unwrap(), [row("a [[2]] b", true, ""), row("c", false, "s")]);
    }

    #[test]
    fn what_is_no_row_is_refused_by_file_and_line() {
        let refused = |row: &str| {
            let error = rows(&format!("{{\"text\": \"a\", \"refuse\": true}}\n\n{row}\n")).unwrap_err();
            assert!(!error.contains('\n'), "{error}");
            error.strip_prefix("line 3 of `rows.jsonl`: ").unwrap_or_else(|| panic!("{error}")).to_owned()
        };
        for empty in ["", " ", "[[2]]", " [[2]] [[1]]"] {
            let row = format!("{{\"text\": \"{empty}\", \"refuse\": true}}");
            assert_eq!(refused(&row), "`text` is empty; allowed: a text");
        }
        let hole = refused("{\"text\": \"a [[x]]\", \"refuse\": true}");
        assert_eq!(hole, "the hole is not understood (column 3 of the template)");
        assert_eq!(refused("{\"text\": \"a\"}"), "missing field `refuse` at line 1 column 13");
        assert_eq!(
            refused("{\"text\": \"a\", \"refuse\": true, \"more\": 1}"),
            "unknown field `more`, expected one of `text`, `refuse`, `set` at line 1 column 36"
        );
        assert_eq!(
            refused("{\"text\": 1, \"refuse\": true}"),
            "invalid type: integer `1`, expected a string at line 1 column 10"
        );
        assert_eq!(refused("a text"), "expected value at line 1 column 1");
        let none = "line 1 of `rows.jsonl`: there is no row; allowed: one or more";
        assert_eq!([rows("").unwrap_err(), rows("\n \n").unwrap_err()], [none, none]);
        let missing = guard_rows(Path::new("no-such-file")).unwrap_err().to_string();
        assert_eq!(missing, "could not read `no-such-file`");
    }
}

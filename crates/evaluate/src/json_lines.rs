//! Rows as JSON, one object a line.

use crate::EvaluateError;
use serde::de::DeserializeOwned;
use std::path::Path;

/// A line that is no row.
pub(crate) struct BadLine {
    /// Its number, from 1.
    pub(crate) line: usize,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// The rows of a text; lines without anything are passed over. `check` says what is wrong with a row that could be read.
pub(crate) fn json_lines<T: DeserializeOwned>(
    text: &str,
    check: impl Fn(&T) -> Result<(), String>,
) -> Result<Vec<T>, BadLine> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let row = |(line, text): (usize, &str)| {
        let row = serde_json::from_str(text).map_err(|error| error.to_string());
        row.and_then(|row| check(&row).map(|()| row)).map_err(|reason| BadLine { line, reason })
    };
    lines.map(row).collect()
}

/// The rows of a file of JSON lines; lines without anything are passed over. `check` says what is wrong with a row that could be
/// read, with what is allowed.
///
/// # Errors
/// When it cannot be read, or a line is no row: [`EvaluateError::Row`] with the file, the number of the line and the reason.
pub fn json_lines_of<T: DeserializeOwned>(
    path: &Path,
    check: impl Fn(&T) -> Result<(), String>,
) -> Result<Vec<T>, EvaluateError> {
    let text = std::fs::read_to_string(path).map_err(|source| EvaluateError::Io {
        action: "read",
        path: path.to_path_buf(),
        source,
    })?;
    json_lines(&text, check).map_err(|BadLine { line, reason }| EvaluateError::Row {
        path: path.to_path_buf(),
        line,
        reason,
    })
}

/// Refuses a field of a row without anything but blanks in it, for the check of [`json_lines_of`].
///
/// # Errors
/// The message, with the name of the field.
pub fn not_empty(field: &str, text: &str) -> Result<(), String> {
    match text.trim().is_empty() {
        true => Err(format!("`{field}` is empty; allowed: a text")),
        false => Ok(()),
    }
}

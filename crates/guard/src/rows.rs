//! Labelled texts: JSON lines by which a classifier is trained and guards are measured.

use crate::{GuardError, Passage};
use aquatint_vocabulary::Template;
use serde::Deserialize;
use std::path::Path;

/// A text as it would be typed, and whether a guard is to refuse it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardRow {
    /// A template, holes included.
    pub text: String,
    /// Whether it is to be refused.
    pub refuse: bool,
    /// What kind of text it is; figures are of each.
    #[serde(default)]
    pub set: String,
}

impl GuardRow {
    /// The text with its holes.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub(crate) fn passage(&self) -> Result<Passage, String> {
        let template = Template::parse(&self.text).map_err(|error| error.to_string())?;
        Ok(Passage::of_template(&template))
    }
}

/// The rows of a file; lines without anything are passed over.
///
/// # Errors
/// When it cannot be read, has no row, or a line is none.
pub fn guard_rows(path: &Path) -> Result<Vec<GuardRow>, GuardError> {
    let text = std::fs::read_to_string(path).map_err(|source| GuardError::Io {
        action: "read",
        path: path.to_path_buf(),
        source,
    })?;
    let refuse = |line, reason| GuardError::Row { path: path.to_path_buf(), line, reason };
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let row = |(line, text): (usize, &str)| {
        let row: GuardRow = serde_json::from_str(text).map_err(|error| refuse(line, error.to_string()))?;
        match row.passage() {
            Ok(passage) if passage.readings().iter().all(|reading| reading.text().trim().is_empty()) => {
                Err(refuse(line, "`text` is empty; allowed: a text".to_owned()))
            }
            Ok(_) => Ok(row),
            Err(reason) => Err(refuse(line, reason)),
        }
    };
    let rows: Vec<GuardRow> = lines.map(row).collect::<Result<_, _>>()?;
    if rows.is_empty() { Err(refuse(1, "there is no row; allowed: one or more".to_owned())) } else { Ok(rows) }
}

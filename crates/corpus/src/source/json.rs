//! JSON lines: one document a line.

use super::counts::{Fault, ReadCounts, to_text};
use super::field::{Tree, find};
use super::input::Input;
use super::{Passage, Reader, Source};
use crate::CorpusError;
use crate::error::list;
use serde_json::Value;
use std::io::{BufRead, Read};
use std::path::PathBuf;

/// A line longer than this is not read: it would be a file that is no JSON lines at all.
const LONGEST_LINE: u64 = 1 << 30;

pub(super) struct JsonLines {
    path: PathBuf,
    input: Input,
    row: u64,
    /// Whether no row was read yet.
    at_start: bool,
    /// Malformed sequences of the input that were counted.
    malformed: u64,
}

impl JsonLines {
    pub(super) fn open(path: PathBuf, source: &Source) -> Result<Self, CorpusError> {
        let input = Input::open(&path, source.encoding)?;
        Ok(Self { path, input, row: 0, at_start: true, malformed: 0 })
    }

    /// The next line that is not blank; empty at the end of the file.
    fn line(&mut self, counts: &mut ReadCounts) -> Result<Vec<u8>, CorpusError> {
        let mut line = Vec::new();
        loop {
            line.clear();
            self.row += 1;
            let read = self.input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
            let count = read.map_err(CorpusError::io("read", &self.path))?;
            counts.replaced += self.input.malformed() - self.malformed;
            self.malformed = self.input.malformed();
            if count as u64 == LONGEST_LINE {
                return Err(CorpusError::LongLine { path: self.path.clone(), row: self.row, longest: LONGEST_LINE });
            }
            match line.iter().find(|byte| !byte.is_ascii_whitespace()) {
                None if count > 0 => continue,
                Some(b'[') if self.at_start => {
                    let found = "a JSON array, where JSON lines have an object in each line";
                    let hint = "`jq -c '.[]'` makes JSON lines of it";
                    return Err(CorpusError::NoText { path: self.path.clone(), found, hint });
                }
                _ => {}
            }
            self.at_start = false;
            return Ok(line);
        }
    }
}

impl JsonLines {
    /// What `read` finds in the next row that the filter keeps and that is not bad, with the number of the line; `None`
    /// at the end of the file.
    pub(super) fn next_row<T>(
        &mut self,
        source: &Source,
        counts: &mut ReadCounts,
        read: impl Fn(Value) -> Result<T, Fault>,
    ) -> Result<Option<(u64, T)>, CorpusError> {
        loop {
            let line = self.line(counts)?;
            if line.is_empty() {
                return Ok(None);
            }
            counts.rows += 1;
            let before = (counts.replaced, counts.surrogates);
            match row_of(line, source, counts).and_then(|row| row.map(&read).transpose()) {
                Ok(Some(found)) => return Ok(Some((self.row, found))),
                Ok(None) => counts.left_out += 1,
                Err(fault) => counts.bad(source, &self.path, self.row, fault)?,
            }
            // What was replaced in a row without a text is nobody's concern.
            (counts.replaced, counts.surrogates) = before;
        }
    }
}

impl Reader for JsonLines {
    fn next(&mut self, source: &Source, counts: &mut ReadCounts) -> Result<Option<Passage>, CorpusError> {
        let found = self.next_row(source, counts, |row| text_of(&row, source))?;
        Ok(found.map(|(row, text)| Passage { text, ends_document: true, row: Some(row) }))
    }
}

/// A row, which is an object; `None` where the filter leaves it out.
fn row_of(mut line: Vec<u8>, source: &Source, counts: &mut ReadCounts) -> Result<Option<Value>, Fault> {
    counts.surrogates += replace_lone_surrogates(&mut line);
    let line = to_text(line, counts);
    let row: Value = serde_json::from_str(line.trim_end())
        .map_err(|error| Fault::Unreadable(format!("not JSON: {}", said(&error))))?;
    if !row.is_object() {
        return Err(Fault::Unreadable(format!("{} and no object such as {{\"text\": \"…\"}}", kind(&row))));
    }
    let keeps = source.filter.iter().all(|(key, wanted)| {
        find(&row, key).is_some_and(|values| values.into_iter().any(|value| plain(value) == *wanted))
    });
    Ok(keeps.then_some(row))
}

/// The names of the fields of a row.
pub(super) fn names(row: &Value) -> String {
    list(&row.as_object().into_iter().flat_map(|fields| fields.keys().map(String::as_str)).collect::<Vec<_>>())
}

/// The text of a row.
fn text_of(row: &Value, source: &Source) -> Result<String, Fault> {
    let field = &source.field;
    let Some(values) = find(row, field) else {
        return Err(Fault::Lacking(format!("no `{field}`; it has {}", names(row))));
    };
    let mut parts = Vec::new();
    for value in values {
        match value {
            Value::String(text) => parts.push(text.as_str()),
            Value::Array(elements) => {
                for element in elements {
                    let not =
                        || Fault::Unreadable(format!("`{field}` has {} in it and not only strings", kind(element)));
                    parts.push(element.as_str().ok_or_else(not)?);
                }
            }
            other => {
                let reason = format!("`{field}` is {}, neither a string nor an array of strings", kind(other));
                return Err(Fault::Unreadable(reason));
            }
        }
    }
    Ok(parts.join("\n"))
}

impl Tree for Value {
    fn entry(&self, key: &str) -> Option<&Self> {
        self.as_object()?.get(key)
    }

    fn elements(&self) -> Option<&[Self]> {
        self.as_array().map(Vec::as_slice)
    }
}

/// A value as a filter compares it: a string without its quotes, anything else as JSON writes it.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What a value is, in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// What is wrong with a line; that it is line 1 of itself is left out.
fn said(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at byte ")
}

/// Puts U+FFFD in place of escaped halves of surrogate pairs, which stand for no character: a text cut in the middle of
/// an emoji has them. The line stays as long as it is. Returns how many there were.
fn replace_lone_surrogates(line: &mut [u8]) -> u64 {
    let (mut at, mut replaced) = (0, 0);
    // In JSON a backslash stands only within strings.
    while let Some(escape) = memchr::memchr(b'\\', &line[at..]).map(|found| at + found) {
        at = match unit(line, escape) {
            // Any other escape: what follows the backslash is no backslash of its own.
            None => (escape + 2).min(line.len()),
            Some(0xD800..=0xDBFF) if matches!(unit(line, escape + 6), Some(0xDC00..=0xDFFF)) => escape + 12,
            Some(0xD800..=0xDFFF) => {
                line[escape + 2..escape + 6].copy_from_slice(b"FFFD");
                replaced += 1;
                escape + 6
            }
            Some(_) => escape + 6,
        };
    }
    replaced
}

/// The UTF-16 code unit that is written at this place, as `\u` and four hexadecimal digits.
fn unit(line: &[u8], at: usize) -> Option<u16> {
    let digits = line.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn halves_of_pairs_are_replaced_and_pairs_are_not() {
        for (line, expected, count) in [
            (r#""\ud83d\ude00""#, "\u{1F600}", 0),
            (r#""a \ud83d b""#, "a \u{FFFD} b", 1),
            (r#""\ude00\ud83d""#, "\u{FFFD}\u{FFFD}", 2),
            (r#""\uD83D\uD83D\uDE00""#, "\u{FFFD}\u{1F600}", 1),
            (r#""\\ud83d \\\ud83d""#, "\\ud83d \\\u{FFFD}", 1),
            (r#""é\n""#, "é\n", 0),
        ] {
            let mut bytes = line.as_bytes().to_vec();
            assert_eq!(replace_lone_surrogates(&mut bytes), count, "{line}");
            assert_eq!(serde_json::from_slice::<String>(&bytes).unwrap(), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn replacing_ends_and_leaves_whole_json_as_it_is(
            text in any::<String>(),
            bytes in r#"(\\u|\\|d83d|de00|u|"|a){0,20}"#,
        ) {
            let whole = serde_json::to_vec(&text).unwrap();
            let mut line = whole.clone();
            prop_assert_eq!(replace_lone_surrogates(&mut line), 0);
            prop_assert_eq!(line, whole);
            let mut line = bytes.clone().into_bytes();
            replace_lone_surrogates(&mut line);
            prop_assert_eq!(line.len(), bytes.len());
            let once = line.clone();
            prop_assert_eq!(replace_lone_surrogates(&mut line), 0);
            prop_assert_eq!(line, once);
        }
    }
}

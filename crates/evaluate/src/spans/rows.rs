//! The rows that are measured, as `recipes/canvas/prepare.py` writes them: lines of JSON.

use crate::json_lines::{BadLine, json_lines};
use aquatint_vocabulary::{Media, MediaKind};
use serde::Deserialize;

/// A document, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ReadRow")]
pub struct SpanRow {
    /// The text, in which pictures and sounds have their names.
    pub text: String,
    /// What its picture shows, or what its sound says: where nothing is said, the words beside the sound.
    pub concept: String,
    /// `passage`, `caption` or `word`.
    pub kind: String,
    /// The language of a caption or of a word.
    pub lang: String,
    /// Where its sound comes from; nothing of a picture.
    pub source: String,
}

/// A row as it is written.
#[derive(Deserialize)]
struct ReadRow {
    text: String,
    concept: Option<String>,
    kind: Option<String>,
    #[serde(default = "english")]
    lang: String,
    #[serde(default)]
    source: String,
}

/// The kind of rows with a sound.
pub(super) const WORD: &str = "word";

impl TryFrom<ReadRow> for SpanRow {
    type Error = &'static str;

    fn try_from(row: ReadRow) -> Result<Self, Self::Error> {
        let ReadRow { text, concept, kind, lang, source } = row;
        if concept.is_none() && kind.as_deref() != Some(WORD) {
            return Err("missing field `concept`");
        }
        let Some(kind) = kind else { return Err("missing field `kind`") };
        let mut row = Self { text, concept: concept.unwrap_or_default(), kind, lang, source };
        if row.concept.is_empty()
            && let Some(Illustrated { before, behind, .. }) = row.spoken()
        {
            let words = format!("{before} {behind}");
            row.concept = words.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        Ok(row)
    }
}

fn english() -> String {
    "en".to_owned()
}

/// A row that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "row {row}: {reason}; allowed: an object with `text`, `concept` and `kind`, as recipes/canvas/prepare.py writes them"
)]
pub struct BadSpanRow {
    /// Which line, from 1.
    pub row: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// A text with one picture, or with one sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Illustrated<'a> {
    /// The text before it.
    pub before: &'a str,
    /// Its file.
    pub file: String,
    /// The text behind it.
    pub behind: &'a str,
}

impl SpanRow {
    /// The rows of a text; lines without anything are passed over.
    ///
    /// # Errors
    /// When one is none.
    pub fn read_all(text: &str) -> Result<Vec<Self>, BadSpanRow> {
        json_lines(text, |_| Ok(())).map_err(|BadLine { line, reason }| BadSpanRow { row: line, reason })
    }

    /// Its parts, where it has one picture that a file gives and no other picture or sound.
    pub fn illustrated(&self) -> Option<Illustrated<'_>> {
        self.with_one(MediaKind::Picture)
    }

    /// Its parts, where it has one sound that a file gives and no other picture or sound.
    pub fn spoken(&self) -> Option<Illustrated<'_>> {
        self.with_one(MediaKind::Sound)
    }

    fn with_one(&self, wanted: MediaKind) -> Option<Illustrated<'_>> {
        let media = |(open, _): (usize, &str)| Some((open, Media::at(&self.text, open)?));
        let mut all = self.text.match_indices("[[").filter_map(media);
        let (open, (Media { kind, file: Some(file), masks, .. }, end)) = all.next()? else { return None };
        let is_one = kind == wanted && masks.is_empty() && all.next().is_none();
        is_one.then(|| Illustrated { before: &self.text[..open], file, behind: &self.text[end..] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_one_picture() {
        let of = |text: &str| {
            let [concept, kind] = ["fox", "caption"].map(str::to_owned);
            let row = SpanRow { text: text.into(), concept, kind, lang: english(), source: String::new() };
            row.illustrated().map(|parts| [parts.before.to_owned(), parts.file, parts.behind.to_owned()])
        };
        let parts = |parts: [&str; 3]| Some(parts.map(str::to_owned));
        assert_eq!(of("a fox [[picture:a/fox.png]] in snow"), parts(["a fox ", "a/fox.png", " in snow"]));
        assert_eq!(of("a [[note]] [[picture:a,b.png]]"), parts(["a [[note]] ", "a,b.png", ""]));
        for text in [
            "no picture",
            "[[picture:a]] and [[picture:b]]",
            "[[picture:a]][[sound:b]]",
            "[[picture]]",
            "[[sound:a]]",
            "[[picture:a,mask=1x1+0x0]]",
            "[[picture:a",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn lines_are_rows_or_are_refused_with_their_number() {
        let line = r#"{"text": "a", "concept": "fox", "kind": "caption", "more": 1}"#;
        let rows = SpanRow::read_all(&format!("{line}\n \n{line}\n")).unwrap();
        assert_eq!((rows.len(), rows[0].lang.as_str()), (2, "en"));
        let refused = SpanRow::read_all(&format!("{line}\n\n{{}}")).unwrap_err();
        assert!(refused.row == 3 && refused.to_string().starts_with("row 3: missing field `text`"), "{refused}");
        assert_eq!(SpanRow::read_all(""), Ok(Vec::new()));
        let bare = SpanRow::read_all(r#"{"text": "a", "kind": "caption"}"#).unwrap_err().to_string();
        assert!(bare.contains("missing field `concept`"), "{bare}");
    }

    #[test]
    fn a_row_has_one_sound() {
        let row = |text: &str| {
            let line = serde_json::json!({ "text": text, "kind": "word", "concept": "" }).to_string();
            SpanRow::read_all(&line).unwrap().remove(0)
        };
        let fox = row("fox [[sound:fox.flac]]");
        let parts = Illustrated { before: "fox ", file: "fox.flac".into(), behind: "" };
        assert_eq!((fox.spoken(), fox.illustrated()), (Some(parts), None));
        for text in ["[[sound]]", "[[picture:a]]", "[[sound:a]] [[sound:b]]", "[[sound:a]][[picture:b]]"] {
            assert_eq!(row(text).spoken(), None, "{text}");
        }
    }

    #[test]
    fn what_a_sound_says_is_beside_it_where_nothing_else_is_said() {
        let of = |more: &str| {
            let line = format!(r#"{{"text": "[[sound:f.flac]]  hot  dog", "kind": "word"{more}}}"#);
            SpanRow::read_all(&line).unwrap().remove(0).concept
        };
        assert_eq!((of(""), of(r#", "concept": "sausage""#)), ("hot dog".to_owned(), "sausage".to_owned()));
    }
}

//! Bad rows: passed over and counted, up to a limit.

use crate::support::{failure, read, said};
use aquatint_corpus::{CorpusError, Source};
use parquet::data_type::{ByteArray, ByteArrayType};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn lines(folder: &Path, lines: &[&str]) -> PathBuf {
    let path = folder.join("a.jsonl");
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

#[test]
fn one_bad_row_is_passed_over_and_named() {
    let folder = tempfile::tempdir().unwrap();
    for (bad, reason) in [
        (r#"{"text": null}"#, "`text` is null, neither a string nor an array of strings"),
        (r#"{"text": 1}"#, "`text` is a number, neither a string nor an array of strings"),
        (r#"{"text": {"a": "b"}}"#, "`text` is an object, neither a string nor an array of strings"),
        (r#"{"text": ["a", null]}"#, "`text` has null in it and not only strings"),
        (r#"{"texts": "x", "lang": "en"}"#, "no `text`; it has `texts`, `lang`"),
        (r"{}", "no `text`; it has no field at all"),
        (r#"{"text": "#, "not JSON: EOF while parsing a value at byte 8"),
        (r#""text""#, "a string and no object such as {\"text\": \"…\"}"),
    ] {
        let path = lines(folder.path(), &[r#"{"text": "One."}"#, "", bad, r#"{"text": "Two."}"#]);
        let (documents, counts) = read(&Source::new(&path));
        assert_eq!(documents, ["One.", "Two."], "{bad}");
        assert_eq!((counts.rows, counts.bad_rows), (3, 1), "{bad}");
        let named = counts.first_bad_rows[0].to_string();
        assert_eq!(named, format!("row 3 of `{}`: {reason}", path.display()));
        let strict = Source { max_bad_share: 0.0, ..Source::new(&path) };
        assert!(matches!(failure(&strict), CorpusError::BadRows { bad: 1, .. }), "{bad}");
    }
}

#[test]
fn more_bad_rows_than_allowed_are_an_error_with_the_first_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let (good, null, broken) = (r#"{"text": "x"}"#, r#"{"text": null}"#, "{");
    let path = lines(folder.path(), &[null, good, broken, good]);
    assert_eq!(
        said(&Source::new(&path), folder.path()),
        "2 of 4 rows of `DIR/a.jsonl` cannot be read: row 1 of `DIR/a.jsonl`: `text` is null, neither a string nor an \
         array of strings; row 3 of `DIR/a.jsonl`: not JSON: EOF while parsing an object at byte 1; mend them, or raise \
         `max_bad_share`, which is 0.001"
    );
    let half = Source { max_bad_share: 0.5, ..Source::new(&path) };
    assert_eq!(read(&half).1.bad_rows, 2);
    // The limit is a share of what a source has: two of two thousand are one in a thousand.
    let many: Vec<&str> = std::iter::repeat_n(good, 1998).chain([null, broken]).collect();
    assert_eq!(read(&Source::new(lines(folder.path(), &many))).1.bad_rows, 2);
    // It counts over all files of a source.
    let two = folder.path().join("two");
    std::fs::create_dir(&two).unwrap();
    for name in ["b.jsonl", "c.jsonl"] {
        std::fs::write(two.join(name), [null, good, good].join("\n")).unwrap();
    }
    assert!(
        said(&Source::new(&two), &two).starts_with("2 of 6 rows of `DIR` cannot be read: row 1 of `DIR/b.jsonl`: ")
    );
    // No row is left.
    let error = said(&Source::new(lines(folder.path(), &[null])), folder.path());
    assert!(error.starts_with("1 of 1 rows of `DIR/a.jsonl` cannot be read: row 1 of "), "{error}");
}

#[test]
fn a_field_of_another_name_is_noticed_before_everything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let rows = vec![r#"{"body": "x"}"#; 5000];
    let path = lines(folder.path(), &rows);
    assert_eq!(
        said(&Source::new(&path), folder.path()),
        "101 of 101 rows of `DIR/a.jsonl` cannot be read: row 1 of `DIR/a.jsonl`: no `text`; it has `body`; row 2 of \
         `DIR/a.jsonl`: no `text`; it has `body`; row 3 of `DIR/a.jsonl`: no `text`; it has `body`; …; name the one \
         that holds the text as `field`; `a.b` is the field `b` inside `a`"
    );
    let source = Source { field: "body".to_owned(), ..Source::new(&path) };
    let (documents, counts) = read(&source);
    assert_eq!((documents.len(), counts.rows, counts.bad_rows), (5000, 5000, 0));
}

#[test]
fn what_is_no_character_is_replaced_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let broken = "caf\u{FFFD} \u{FFFD} x\u{FFFD}";
    for (name, bytes, expected, replaced, surrogates) in [
        ("a.txt", b"caf\xE9 \xF0\x9F\x92 x\xFF".as_slice(), broken, 3, 0),
        ("a.jsonl", b"{\"text\": \"caf\xE9 \xF0\x9F\x92 x\xFF\"}", broken, 3, 0),
        (
            "b.jsonl",
            br#"{"text": "a tale of \ud83d and more \ud83d\ude00"}"#,
            "a tale of \u{FFFD} and more \u{1F600}",
            0,
            1,
        ),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let (documents, counts) = read(&Source::new(&path));
        assert_eq!(documents, [expected], "{name}");
        assert_eq!((counts.replaced, counts.surrogates, counts.bad_rows), (replaced, surrogates, 0), "{name}");
        let strict = Source { max_bad_share: 0.0, ..Source::new(&path) };
        assert_eq!(strict.passages().unwrap().any(|passage| passage.is_err()), replaced > 0, "{name}");
    }
    // In a row that the filter leaves out it is nobody's concern.
    let mut source = Source::new(folder.path().join("b.jsonl"));
    source.filter.insert("lang".to_owned(), "en".to_owned());
    let (documents, counts) = read(&source);
    assert_eq!((documents.len(), counts.surrogates, counts.left_out), (0, 0, 1));
}

#[test]
fn rows_of_parquet_without_a_text_are_bad() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let schema = "message rows { optional binary text (UTF8);
        optional group pages (LIST) { repeated group list { optional binary element (UTF8); } } }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = parquet::file::writer::SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    /// Values, definition levels, repetition levels.
    type Column<'a> = (&'a [&'a [u8]], &'a [i16], Option<&'a [i16]>);
    let columns: [Column<'_>; 2] =
        [(&[b"One.", b"caf\xE9"], &[1, 0, 1], None), (&[b"a", b"b"], &[3, 2, 1, 3], Some(&[0, 1, 0, 0]))];
    for (values, definitions, repetitions) in columns {
        let values: Vec<ByteArray> = values.iter().map(|value| value.to_vec().into()).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&values, Some(definitions), repetitions).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    // A null, and bytes that are marked as UTF-8 and are not.
    let (documents, counts) = read(&Source::new(&path));
    assert_eq!(documents, ["One.", "caf\u{FFFD}"]);
    assert_eq!((counts.rows, counts.bad_rows, counts.replaced), (3, 1, 1));
    let named = counts.first_bad_rows[0].to_string();
    assert_eq!(named, format!("row 2 of `{}`: `text` is null, neither a string nor a list of strings", path.display()));
    // A list with a null in it, one without elements, one of one string.
    let (documents, counts) = read(&Source { field: "pages".to_owned(), ..Source::new(&path) });
    assert_eq!(documents, ["", "b"]);
    assert!(counts.first_bad_rows[0].reason.contains("`pages` has null in it"), "{:?}", counts.first_bad_rows);
}

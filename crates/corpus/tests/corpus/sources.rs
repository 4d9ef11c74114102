//! Reading of every kind of file, and what is said about bad ones.

use aquatint_corpus::{CorpusError, Passage, Source, sample};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

fn texts(source: &Source) -> Vec<String> {
    let mut documents = vec![String::new()];
    for passage in source.passages().unwrap() {
        let Passage { text, ends_document } = passage.unwrap();
        documents.last_mut().unwrap().push_str(&text);
        if ends_document {
            documents.push(String::new());
        }
    }
    assert_eq!(documents.pop(), Some(String::new()), "the last document ends");
    documents
}

fn failure(source: &Source) -> CorpusError {
    match source.passages() {
        Err(error) => error,
        Ok(passages) => passages.filter_map(Result::err).next().unwrap(),
    }
}

fn english(path: &Path) -> Source {
    let mut source = Source::new(path);
    source.filter.insert("lang".to_owned(), "en".to_owned());
    source
}

const ROWS: &str = "{\"lang\": \"en\", \"text\": \"One.\\n\\nTwo.\", \"pages\": [\"a\", \"b\"]}\n\n{\"lang\": \"fr\", \"n\": 3, \"text\": \"Un.\"}\n";

fn parquet_file(path: &Path) {
    use parquet::data_type::ByteArrayType;
    use parquet::file::{properties::WriterProperties, writer::SerializedFileWriter};
    let schema = "message rows { required binary lang (UTF8); required int32 n; required binary text (UTF8);
        required binary raw; required group pages (LIST) { repeated group list { required binary element (UTF8); } } }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let file = std::fs::File::create(path).unwrap();
    let properties = WriterProperties::builder().set_compression(parquet::basic::Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    let bytes = |texts: &[&[u8]]| texts.iter().map(|text| text.to_vec().into()).collect::<Vec<_>>();
    let columns: [Vec<parquet::data_type::ByteArray>; 4] = [
        bytes(&[b"en", b"fr"]),
        bytes(&["One.\n\nTwo.".as_bytes(), b"Un."]),
        bytes(&[b"good", b"b\xFFd"]),
        bytes(&[b"a", b"b", b"c"]),
    ];
    let mut group = writer.next_row_group().unwrap();
    let mut index = 0;
    while let Some(mut column) = group.next_column().unwrap() {
        match index {
            1 => column.typed::<parquet::data_type::Int32Type>().write_batch(&[3, 4], None, None).unwrap(),
            4 => column.typed::<ByteArrayType>().write_batch(&columns[3], Some(&[1, 1, 1]), Some(&[0, 1, 0])).unwrap(),
            _ => column.typed::<ByteArrayType>().write_batch(&columns[[0, 0, 1, 2][index]], None, None).unwrap(),
        };
        column.close().unwrap();
        index += 1;
    }
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn every_kind_of_file_gives_its_documents() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a.txt"), "\u{FEFF}One.\n\nTwo.\n").unwrap();
    std::fs::write(path("b.jsonl"), ROWS).unwrap();
    std::fs::write(path("c.JSONL.zst"), zstd::encode_all(ROWS.as_bytes(), 3).unwrap()).unwrap();
    parquet_file(&path("d.parquet"));
    assert_eq!(texts(&Source::new(path("a.txt"))), ["One.\n\nTwo.\n"]);
    for name in ["b.jsonl", "c.JSONL.zst", "d.parquet"] {
        assert_eq!(texts(&Source::new(path(name))), ["One.\n\nTwo.", "Un."], "{name}");
        assert_eq!(texts(&english(&path(name))), ["One.\n\nTwo."], "{name}");
        let pages = Source { field: "pages".to_owned(), ..english(&path(name)) };
        assert_eq!(texts(&pages), ["a\nb"], "{name}");
        let mut number = Source::new(path(name));
        number.filter.insert("n".to_owned(), "3".to_owned());
        assert_eq!(texts(&number).len(), 1, "{name}");
    }
}

#[test]
fn a_folder_is_read_at_any_depth_in_the_order_of_paths_and_without_other_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("z/deep")).unwrap();
    for (name, text) in [("z/deep/1.txt", "third"), ("b.txt", "second"), ("a.jsonl", "{\"text\": \"first\"}")] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    for other in ["README.md", ".hidden.txt"] {
        std::fs::write(folder.path().join(other), "no").unwrap();
    }
    assert_eq!(texts(&Source::new(folder.path())), ["first", "second", "third"]);
}

#[test]
fn a_large_text_file_comes_in_passages_cut_at_paragraphs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.txt");
    let text = "A line of a long book, with an é in it.\n\n".repeat(80_000);
    std::fs::write(&path, &text).unwrap();
    let passages: Vec<Passage> = Source::new(&path).passages().unwrap().map(Result::unwrap).collect();
    assert!(passages.len() >= 3, "{}", passages.len());
    assert!(passages.iter().all(|passage| passage.text.len() < 3 << 20 && passage.text.ends_with("\n\n")));
    assert_eq!(texts(&Source::new(&path)), [text]);
    // Without a line break anywhere it is cut between characters.
    let text = "é".repeat(9 << 20);
    std::fs::write(&path, &text).unwrap();
    let source = Source::new(&path);
    let mut passages = source.passages().unwrap();
    assert!(passages.next().unwrap().unwrap().text.len() < 10 << 20);
    assert_eq!(passages.replaced(), 0);
    assert_eq!(texts(&Source::new(&path)), [text]);
}

#[test]
fn bytes_that_are_not_utf8_are_replaced_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, expected) in [
        ("a.txt", b"caf\xE9 \xF0\x9F\x92 x\xFF".as_slice(), "caf\u{FFFD} \u{FFFD} x\u{FFFD}"),
        ("a.jsonl", b"{\"text\": \"caf\xE9 \xF0\x9F\x92 x\xFF\"}", "caf\u{FFFD} \u{FFFD} x\u{FFFD}"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let source = Source::new(&path);
        let mut passages = source.passages().unwrap();
        assert_eq!(passages.next().unwrap().unwrap().text, expected, "{name}");
        assert!(passages.next().is_none());
        assert_eq!(passages.replaced(), 3, "{name}");
    }
    let path = folder.path().join("raw.parquet");
    parquet_file(&path);
    let source = Source { field: "raw".to_owned(), ..Source::new(&path) };
    assert_eq!(texts(&source), ["good", "b\u{FFFD}d"]);
}

#[test]
fn bad_sources_are_named_with_the_row_and_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let said = |source: &Source| {
        let error = failure(source);
        let hint = error.hint().map_or_else(String::new, |hint| format!("; {hint}"));
        format!("{error}{hint}").replace(&*folder.path().to_string_lossy(), "DIR")
    };
    assert!(said(&Source::new(path("none.txt"))).starts_with("could not read `DIR/none.txt`: "));
    assert_eq!(said(&Source::new(folder.path())), "there is no .txt, .jsonl, .jsonl.zst or .parquet file under `DIR`");
    std::fs::write(path("a.csv"), "x").unwrap();
    assert_eq!(
        said(&Source::new(path("a.csv"))),
        "`path` is `DIR/a.csv`, which is none of .txt, .jsonl, .jsonl.zst and .parquet; rename or convert it"
    );
    std::fs::write(path("a.jsonl"), "{\"text\": \"x\"}\n{\"texts\": 1, \"lang\": \"en\"}\n").unwrap();
    assert_eq!(
        said(&Source::new(path("a.jsonl"))),
        "row 2 of `DIR/a.jsonl` has no `text`; it has `texts`, `lang`; name the one that holds the text as `field`"
    );
    std::fs::write(path("b.jsonl"), "{\"text\": 1}").unwrap();
    assert_eq!(
        said(&Source::new(path("b.jsonl"))),
        "row 1 of `DIR/b.jsonl` cannot be read: `text` is neither a string nor an array of strings"
    );
    std::fs::write(path("c.jsonl"), "\n{\"text\": ").unwrap();
    assert!(said(&Source::new(path("c.jsonl"))).starts_with("row 2 of `DIR/c.jsonl` cannot be read: it is not JSON ("));
    let mut cut = zstd::encode_all(ROWS.repeat(100).as_bytes(), 3).unwrap();
    cut.truncate(cut.len() - 5);
    std::fs::write(path("d.jsonl.zst"), cut).unwrap();
    assert!(matches!(failure(&Source::new(path("d.jsonl.zst"))), CorpusError::Io { .. }));
    std::fs::write(path("e.parquet"), "PAR1 and nothing else").unwrap();
    assert!(matches!(failure(&Source::new(path("e.parquet"))), CorpusError::Parquet { .. }));
    parquet_file(&path("f.parquet"));
    let source = Source { field: "body".to_owned(), ..Source::new(path("f.parquet")) };
    assert_eq!(
        said(&source),
        "row 1 of `DIR/f.parquet` has no `body`; it has `lang`, `n`, `text`, `raw`, `pages`; name the one that holds \
         the text as `field`"
    );
}

#[test]
fn a_sample_covers_all_documents_and_has_about_the_requested_size() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = std::fs::File::create(folder.path().join("a.jsonl")).unwrap();
    for document in 0..20 {
        let text = format!("document {document} says so.\n").repeat(2000);
        writeln!(file, "{}", serde_json::json!({ "text": text })).unwrap();
    }
    let sources = [Source::new(folder.path())];
    let taken = sample(&sources, 200_000).unwrap();
    let size: usize = taken.iter().map(String::len).sum();
    assert!((190_000..=210_000).contains(&size), "{size}");
    for document in 0..20 {
        assert!(taken.iter().any(|part| part.contains(&format!("document {document} "))), "{document}");
    }
    let all: usize = sample(&sources, u64::MAX).unwrap().iter().map(String::len).sum();
    let full: usize = texts(&sources[0]).iter().map(String::len).sum();
    assert_eq!(all, full);
}

//! Every kind of file, compressed in every way and in every encoding.

use crate::support::{english, failure, read, said, texts};
use aquatint_corpus::{CorpusError, Format, Source};
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type};
use parquet::file::{properties::WriterProperties, writer::SerializedFileWriter};
use proptest::prelude::*;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

const ROWS: &str = "{\"lang\": \"en\", \"text\": \"One.\\n\\nTwo.\", \"pages\": [\"a\", \"b\"], \"meta\": {\"title\": \"A\"}, \
                    \"turns\": [{\"say\": \"hi\"}, {\"say\": \"ho\"}]}\n\n{\"lang\": \"fr\", \"n\": 3, \"text\": \"Un.\"}\n";

/// A way of compression: its ending and what it does.
type Packer = (&'static str, fn(&[u8]) -> Vec<u8>);

const PACKERS: [Packer; 4] = [("", <[u8]>::to_vec), (".gz", gzip), (".zst", zstd), (".xz", xz)];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Writes the rows of [`ROWS`] and a column of plain bytes, in a row group each.
fn parquet_file(path: &Path, compression: Compression) {
    let schema = "message rows { required binary lang (UTF8); required int32 n; optional binary text (UTF8);
        required binary raw; required group pages (LIST) { repeated group list { required binary element (UTF8); } }
        required group meta { optional binary title (UTF8); }
        optional group turns (LIST) { repeated group list { required group element { required binary say (UTF8); } } } }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    type Levels = Option<&'static [i16]>;
    type Column = (&'static [&'static [u8]], Levels, Levels);
    let groups: [(i32, [Column; 6]); 2] = [
        (
            1,
            [
                (&[b"en"], None, None),
                (&[b"One.\n\nTwo."], Some(&[1]), None),
                (&[b"good"], None, None),
                (&[b"a", b"b"], Some(&[1, 1]), Some(&[0, 1])),
                (&[b"A"], Some(&[1]), None),
                (&[b"hi", b"ho"], Some(&[2, 2]), Some(&[0, 1])),
            ],
        ),
        (
            3,
            [
                (&[b"fr"], None, None),
                (&[b"Un."], Some(&[1]), None),
                (&[b"b\xFFd"], None, None),
                (&[], Some(&[0]), Some(&[0])),
                (&[], Some(&[0]), None),
                (&[], Some(&[0]), Some(&[0])),
            ],
        ),
    ];
    for (number, columns) in groups {
        let mut group = writer.next_row_group().unwrap();
        let (mut columns, mut index) = (columns.into_iter(), 0);
        while let Some(mut column) = group.next_column().unwrap() {
            if index == 1 {
                column.typed::<Int32Type>().write_batch(&[number], None, None).unwrap();
            } else {
                let (values, definitions, repetitions) = columns.next().unwrap();
                let values: Vec<ByteArray> = values.iter().map(|value| value.to_vec().into()).collect();
                column.typed::<ByteArrayType>().write_batch(&values, definitions, repetitions).unwrap();
            }
            column.close().unwrap();
            index += 1;
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn every_kind_of_file_gives_its_documents() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (ending, pack) in PACKERS {
        let name = format!("a.txt{ending}");
        std::fs::write(path(&name), pack("\u{FEFF}One.\n\nTwo.\n".as_bytes())).unwrap();
        assert_eq!(texts(&Source::new(path(&name))), ["One.\n\nTwo.\n"], "{name}");
    }
    let mut names = vec!["table.parquet".to_owned()];
    parquet_file(&path("table.parquet"), Compression::SNAPPY);
    for (ending, pack) in PACKERS {
        for name in [format!("b.JSONL{ending}"), format!("c.ndjson{ending}"), format!("d.json{ending}")] {
            std::fs::write(path(&name), pack(ROWS.as_bytes())).unwrap();
            names.push(name);
        }
    }
    for name in names {
        assert_eq!(texts(&Source::new(path(&name))), ["One.\n\nTwo.", "Un."], "{name}");
        let source = english(&path(&name));
        for (field, expected) in
            [("text", "One.\n\nTwo."), ("pages", "a\nb"), ("meta.title", "A"), ("turns.say", "hi\nho")]
        {
            let source = Source { field: field.to_owned(), ..source.clone() };
            assert_eq!(texts(&source), [expected], "{name}, {field}");
        }
        for (field, value) in [("n", "3"), ("lang", "fr")] {
            let mut source = Source::new(path(&name));
            source.filter.insert(field.to_owned(), value.to_owned());
            let (documents, counts) = read(&source);
            assert_eq!((documents, counts.rows, counts.left_out), (vec!["Un.".to_owned()], 2, 1), "{name}, {field}");
        }
        let mut inside = Source::new(path(&name));
        inside.filter.insert("meta.title".to_owned(), "A".to_owned());
        assert_eq!(texts(&inside), ["One.\n\nTwo."], "{name}");
    }
}

#[test]
fn every_codec_of_parquet_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for codec in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
    ] {
        let path = folder.path().join("a.parquet");
        parquet_file(&path, codec);
        assert_eq!(texts(&Source::new(&path)), ["One.\n\nTwo.", "Un."], "{codec}");
    }
}

#[test]
fn compression_is_known_by_content_and_not_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (index, (_, pack)) in PACKERS.into_iter().enumerate() {
        for (ending, _) in PACKERS {
            let name = format!("{index}.txt{ending}");
            std::fs::write(path(&name), pack(b"One.")).unwrap();
            assert_eq!(texts(&Source::new(path(&name))), ["One."], "{name}");
        }
        // Several compressed files, one behind another, are one.
        std::fs::write(path("two.txt"), [pack(b"One. "), pack(b"Two.")].concat()).unwrap();
        assert_eq!(texts(&Source::new(path("two.txt"))), ["One. Two."], "{index}");
    }
    // A frame that is to be skipped stands in front of some zstd files.
    std::fs::write(path("skip.txt.zst"), [b"\x50\x2A\x4D\x18\x02\0\0\0ab".to_vec(), zstd(b"One.")].concat()).unwrap();
    assert_eq!(texts(&Source::new(path("skip.txt.zst"))), ["One."]);
}

#[test]
fn other_names_are_read_as_the_format_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text8");
    std::fs::write(&path, "anarchism originated").unwrap();
    let unknown = said(&Source::new(&path), folder.path());
    assert!(
        unknown.starts_with("`path` is `DIR/text8`, which is not read: its name does not say how to read it; `format`")
    );
    let source = Source { format: Some(Format::Text), ..Source::new(&path) };
    assert_eq!(texts(&source), ["anarchism originated"]);
    std::fs::write(&path, ROWS).unwrap();
    assert_eq!(texts(&Source { format: Some(Format::Json), ..Source::new(&path) }), ["One.\n\nTwo.", "Un."]);
    parquet_file(&path, Compression::UNCOMPRESSED);
    assert_eq!(texts(&Source { format: Some(Format::Parquet), ..Source::new(&path) }), ["One.\n\nTwo.", "Un."]);
}

fn utf16(text: &str, big: bool) -> Vec<u8> {
    text.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
}

#[test]
fn encodings_are_recognised_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    let text = "Ein Königreich für ein Pferd: \u{1F434}.\n".repeat(3000);
    let marked = format!("\u{FEFF}{text}");
    for bytes in [utf16(&marked, false), utf16(&marked, true), utf16(&text, false), utf16(&text, true), marked.into()] {
        for pack in [<[u8]>::to_vec, gzip] {
            std::fs::write(&path, pack(&bytes)).unwrap();
            let (documents, counts) = read(&Source::new(&path));
            assert!(documents == [text.as_str()] && counts.replaced == 0, "{:?}", &bytes[..8]);
        }
    }
    let latin: Vec<u8> = text.replace('\u{1F434}', "?").chars().map(|c| c as u8).collect();
    std::fs::write(&path, &latin).unwrap();
    assert_eq!(
        said(&Source::new(&path), folder.path()),
        "`DIR/a.txt` is not in UTF-8: 6000 places in 111000 bytes of text cannot be read; name its encoding, for \
         example `encoding = \"windows-1252\"`"
    );
    let source = Source { encoding: Some("latin1".parse().unwrap()), ..Source::new(&path) };
    assert_eq!(texts(&source), [text.replace('\u{1F434}', "?")]);
    // JSON lines, too.
    std::fs::write(folder.path().join("a.jsonl"), utf16(&format!("\u{FEFF}{ROWS}"), false)).unwrap();
    assert_eq!(texts(&Source::new(folder.path().join("a.jsonl"))), ["One.\n\nTwo.", "Un."]);
    // Half of a pair at the end, and one within.
    let mut torn = utf16("\u{FEFF}a\u{1F434}b\u{1F434}", false);
    torn.drain(6..8);
    torn.truncate(torn.len() - 2);
    std::fs::write(&path, torn).unwrap();
    let (documents, counts) = read(&Source::new(&path));
    assert_eq!((documents, counts.replaced), (vec!["a\u{FFFD}b\u{FFFD}".to_owned()], 2));
}

#[test]
fn what_is_no_text_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    let tar = [vec![b'a'; 257], b"ustar\0".to_vec()].concat();
    let cases: [(&[u8], &str); 7] = [
        (
            b"BZh91AY&SY",
            "`DIR/a.txt` cannot be read: it is compressed by bzip2; unpack it; compressed by gzip, zstd or xz it is read as it is",
        ),
        (b"PK\x03\x04....", "it is a ZIP archive; unpack it"),
        (&tar, "it is a tar archive; unpack it"),
        (b"%PDF-1.7", "it is a PDF document; "),
        (b"\xFF\xFE\0\0a\0\0\0", "it is text in UTF-32; convert it to UTF-8, for example by `iconv`"),
        (&[0; 600], "it is UTF-32 or binary data, many zero bytes; convert it"),
        (&gzip(b"BZh91AY&SY"), "it is compressed by bzip2; "),
    ];
    for (bytes, expected) in cases {
        std::fs::write(&path, bytes).unwrap();
        let error = said(&Source::new(&path), folder.path());
        assert!(error.contains(expected), "{error}");
    }
    for (name, bytes, expected) in [
        (
            "a.jsonl",
            "[{\"text\": \"x\"}]",
            "it is a JSON array, where JSON lines have an object in each line; `jq -c '.[]'`",
        ),
        (
            "b.parquet",
            "version https://git-lfs.github.com/spec/v1\nsize 54832\n",
            "`DIR/b.parquet` is a Git LFS pointer: the file of 54832 bytes that it stands for was not downloaded; download \
             it: git -C DIR lfs pull",
        ),
        ("c.txt.bz2", "", "`path` is `DIR/c.txt.bz2`, which is not read: .bz2 is not supported; unpack it"),
        ("d.parquet", "PAR1 and nothing else", "`DIR/d.parquet` cannot be read as Parquet: "),
    ] {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        let error = said(&Source::new(folder.path().join(name)), folder.path());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn files_that_end_too_early_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    for (ending, pack) in &PACKERS[1..] {
        let mut cut = pack(ROWS.repeat(100).as_bytes());
        cut.truncate(cut.len() - 12);
        std::fs::write(&path, cut).unwrap();
        assert!(matches!(failure(&Source::new(&path)), CorpusError::Io { .. }), "{ending}");
    }
}

#[test]
fn columns_that_are_not_there_or_hold_no_text_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.parquet");
    parquet_file(&path, Compression::SNAPPY);
    let hint = "; name the one that holds the text as `field`; `a.b` is the field `b` inside `a`";
    for (field, reason) in [
        ("body", "no `body`; it has `lang`, `n`, `text`, `raw`, `pages`, `meta`, `turns`"),
        ("n", "`n` is of type INT32, neither a string nor a list of strings"),
        ("meta.body", "no `body`; it has `title`"),
    ] {
        let source = Source { field: field.to_owned(), ..Source::new(&path) };
        let expected = format!("`{field}` cannot be read from `DIR/f.parquet`: {reason}{hint}");
        assert_eq!(said(&source, folder.path()), expected);
    }
    let mut source = Source::new(&path);
    source.filter.insert("language".to_owned(), "en".to_owned());
    assert!(
        said(&source, folder.path())
            .starts_with("`language` cannot be read from `DIR/f.parquet`: no `language`; it has ")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_was_packed_and_encoded_is_what_is_read(
        text in "[ -~é猫\u{1F434}\n\r\t]{0,200}[a-z]{8}",
        packer in 0usize..4,
        encoding in 0usize..4,
        long in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let text = if long { text.repeat(400) } else { text };
        let marked = format!("\u{FEFF}{text}");
        let bytes = [text.clone().into_bytes(), marked.clone().into_bytes(), utf16(&marked, false), utf16(&marked, true)];
        std::fs::write(&path, (PACKERS[packer].1)(&bytes[encoding])).unwrap();
        let source = Source { separator: String::new(), ..Source::new(&path) };
        prop_assert_eq!(texts(&source), [text]);
    }

    #[test]
    fn what_strangers_wrote_is_read_or_refused(
        packer in 0usize..4,
        format in 0usize..3,
        changes in prop::collection::vec((0usize..4000, any::<u8>()), 0..4),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let format = [Format::Text, Format::Json, Format::Parquet][format];
        let mut bytes = if format == Format::Parquet {
            parquet_file(&path, Compression::UNCOMPRESSED);
            std::fs::read(&path).unwrap()
        } else {
            (PACKERS[packer].1)(ROWS.repeat(20).as_bytes())
        };
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.extend(noise);
        std::fs::write(&path, bytes).unwrap();
        let source = Source { format: Some(format), max_bad_share: 1.0, ..Source::new(&path) };
        let mut passages = source.passages().unwrap();
        let documents = passages.by_ref().filter(|passage| passage.as_ref().is_ok_and(|passage| passage.ends_document)).count();
        let counts = passages.counts();
        prop_assert!(format == Format::Text || documents as u64 + counts.bad_rows <= counts.rows);
        prop_assert_eq!(counts.first_bad_rows.len() as u64, counts.bad_rows.min(10));
    }
}

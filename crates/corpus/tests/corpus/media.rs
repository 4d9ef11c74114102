//! Pictures and sounds that texts name: their codes stand in their place, and no canvas tears them.

use crate::support::snapshot;
use aquatint_corpus::{Canvases, CorpusError, MediaCodes, Packed, Source, TextOnly, pack};
use aquatint_diffusion::{Axes, Domain};
use aquatint_vocabulary::{Role, TokenId, Vocabulary};
use std::fs;
use std::ops::Range;
use std::path::Path;

/// Pictures have 16 codes behind the tokens of text, of which the last two open and close them.
const CODES: Range<TokenId> = 300..316;
const OPEN: TokenId = 298;
const CLOSE: TokenId = 299;

/// Pictures whose codes are the bytes of their files.
#[derive(Debug)]
struct Bytes;

impl MediaCodes for Bytes {
    fn domains(&self) -> Vec<(&str, Domain)> {
        vec![("picture", Domain::grid(CODES, 2, 4))]
    }

    fn tokens(&self, domain: &str, media: &Path, file: &str) -> Result<Vec<TokenId>, String> {
        assert_eq!(domain, "picture");
        let bytes = fs::read(media.join(file)).map_err(|error| format!("`{file}`: {error}"))?;
        let codes = bytes.into_iter().map(|byte| CODES.start + TokenId::from(byte % 16));
        Ok([OPEN].into_iter().chain(codes).chain([CLOSE]).collect())
    }

    fn fingerprint(&self, media: &Path) -> Result<u64, String> {
        fs::read(media.join("fox")).map(|bytes| bytes.len() as u64).map_err(|error| error.to_string())
    }
}

fn vocabulary() -> Vocabulary {
    Vocabulary::train(["one two three four five".to_owned()].into_iter(), 300).unwrap()
}

/// A source of these texts in a folder with the pictures `fox`, of 8 codes, and `owl`, of 3.
fn source(folder: &Path, texts: &[&str]) -> Source {
    fs::write(folder.join("fox"), [1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    fs::write(folder.join("owl"), [9, 10, 11]).unwrap();
    let lines: Vec<String> = texts.iter().map(|text| serde_json::json!({ "text": text }).to_string()).collect();
    fs::write(folder.join("texts.jsonl"), lines.join("\n")).unwrap();
    Source { media: Some(folder.to_path_buf()), ..Source::new(folder.join("texts.jsonl")) }
}

fn packed(source: &Source, media: &dyn MediaCodes) -> Result<Packed, CorpusError> {
    let shards = source.path.with_file_name("shards");
    pack(&[snapshot(source)], &vocabulary(), media, &shards, &mut |_| true).map(|mut packed| packed.remove(0))
}

fn tokens(packed: &Packed, document: u64) -> (Vec<TokenId>, Vec<u32>) {
    let span = packed.shard.document(document).unwrap().tokens;
    let length = (span.end - span.start) as usize;
    let (mut tokens, mut text_bytes) = (vec![0; length], vec![0; length]);
    packed.shard.copy(span.start, &mut tokens, &mut text_bytes).unwrap();
    (tokens, text_bytes)
}

fn codes(bytes: &[TokenId]) -> Vec<TokenId> {
    [&[OPEN][..], &bytes.iter().map(|byte| CODES.start + byte).collect::<Vec<_>>(), &[CLOSE]].concat()
}

#[test]
fn codes_stand_where_a_text_names_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), &["one [[picture:fox]] two", "[[picture:owl]]", "[[video:fox]]"]);
    let packed = packed(&source, &Bytes).unwrap();
    let (vocabulary, end) = (vocabulary(), vocabulary().role(Role::End).unwrap());
    let text = |text: &str| vocabulary.encode(text).unwrap();
    let (first, bytes) = tokens(&packed, 0);
    let fox = codes(&[1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(first, [text("one "), fox.clone(), text(" two"), vec![end]].concat());
    // Codes stand for no text.
    assert_eq!(bytes.iter().sum::<u32>(), 8);
    let begin = text("one ").len();
    assert!(bytes[begin..begin + fox.len()].iter().all(|bytes| *bytes == 0));
    assert_eq!(tokens(&packed, 1).0, [codes(&[9, 10, 11]), vec![end]].concat());
    // What is no domain is text.
    assert_eq!(tokens(&packed, 2).0, [text("[[video:fox]]"), vec![end]].concat());
    assert_eq!(packed.shard.vocabulary_size(), 316);
    // Without `media` all of it is text.
    let plain = Source { media: None, ..source };
    let plain = self::packed(&plain, &Bytes).unwrap();
    assert_eq!(tokens(&plain, 1).0, [text("[[picture:owl]]"), vec![end]].concat());
    assert_eq!((plain.shard.vocabulary_size(), plain.domains), (vocabulary.len(), Vec::new()));
}

#[test]
fn a_row_whose_file_does_not_become_codes_is_a_bad_row() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), &["one [[picture:fox]]", "two [[picture:cat]]"]);
    let packed = packed(&source, &Bytes).unwrap();
    assert_eq!((packed.report.documents, packed.report.counts.bad_rows), (1, 1));
    let bad = &packed.report.counts.first_bad_rows[0];
    assert_eq!((bad.row, bad.file.clone()), (2, source.path.clone()));
    assert!(bad.reason.starts_with("`cat`: "), "{}", bad.reason);
    let strict = Source { max_bad_share: 0.0, ..source.clone() };
    assert!(matches!(self::packed(&strict, &Bytes), Err(CorpusError::BadRows { bad: 1, .. })));
    let error = self::packed(&source, &TextOnly).unwrap_err();
    let media = source.media.as_ref().unwrap().display();
    assert_eq!(error.to_string(), format!("`media` is `{media}`, but the model has no codecs"));
    assert_eq!(error.hint().as_deref(), Some("leave `media` out, or begin with a model that has codecs"));
    // A name that leads out of the media is not read, though there is such a file.
    let inside = Source { media: Some(folder.path().join("inside")), ..source.clone() };
    fs::create_dir(folder.path().join("inside")).unwrap();
    fs::write(folder.path().join("inside/fox"), [1]).unwrap();
    for file in ["../owl".to_owned(), folder.path().join("owl").display().to_string()] {
        let row = serde_json::json!({ "text": format!("[[picture:{file}]]") }).to_string();
        fs::write(&inside.path, [&row, "{\"text\": \"two\"}"].join("\n")).unwrap();
        let report = self::packed(&inside, &Bytes).unwrap().report;
        assert_eq!(report.counts.first_bad_rows[0].reason, format!("`{file}` is not within `media`"));
    }
    // A text file has no rows to pass over.
    fs::write(folder.path().join("texts.txt"), "one [[picture:cat]]").unwrap();
    let text = Source { path: folder.path().join("texts.txt"), ..source };
    let error = self::packed(&text, &Bytes).unwrap_err().to_string();
    let named = format!("a file that `{}` names cannot be used: `cat`: ", text.path.display());
    assert!(error.starts_with(&named), "{error}");
    // Media that cannot be read are refused before a text is.
    let nowhere = Source { media: Some(folder.path().join("nowhere")), ..text };
    let error = self::packed(&nowhere, &Bytes).unwrap_err();
    assert!(matches!(error, CorpusError::Media { .. }), "{error}");
}

#[test]
fn other_codes_are_another_shard() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), &["one [[picture:owl]]"]);
    assert!(!packed(&source, &Bytes).unwrap().reused);
    assert!(packed(&source, &Bytes).unwrap().reused);
    fs::write(folder.path().join("fox"), [1]).unwrap();
    assert!(!packed(&source, &Bytes).unwrap().reused);
}

#[test]
fn no_canvas_tears_a_picture_that_it_can_hold() {
    let folder = tempfile::tempdir().unwrap();
    let texts: Vec<String> = (0..40)
        .map(|n| format!("{}[[picture:fox]]{}", "one ".repeat(n), "[[picture:owl]] two".repeat(n % 4)))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let source = source(folder.path(), &texts);
    let total = packed(&source, &Bytes).unwrap().shard.tokens();
    for length in [10, 13, 32] {
        let canvases = Canvases::new(vec![packed(&source, &Bytes).unwrap()], length).unwrap();
        let all: Vec<u64> = (0..canvases.len()).collect();
        let batch = canvases.batch(&all).unwrap();
        assert_eq!(batch.filled() as u64, total, "every token is in one canvas");
        let spans: Vec<TokenId> =
            batch.spans.iter().flat_map(|span| batch.tokens[span.positions.clone()].iter().copied()).collect();
        assert_eq!(spans, batch.tokens.iter().copied().filter(|token| CODES.contains(token)).collect::<Vec<_>>());
        // A fox is two rows of four, an owl of three codes none.
        assert!(batch.spans.iter().all(|span| span.domain.is_grid() == (span.positions.len() == 8)));
        for canvas in batch.tokens.chunks(length) {
            let opened = canvas.iter().filter(|token| **token == OPEN).count();
            let closed = canvas.iter().filter(|token| **token == CLOSE).count();
            let codes = canvas.iter().filter(|token| CODES.contains(token)).count();
            let whole = canvas.split(|token| *token == OPEN).skip(1).all(|span| span.contains(&CLOSE));
            assert!(opened == closed && whole && (codes > 0) == (opened > 0), "{length}: {canvas:?}");
        }
    }
    // A picture of 10 tokens does not fit into 8, nor into the shortest canvases that there are: it is cut, lies in a line,
    // and nothing is lost.
    for length in [8, 3, 2] {
        let canvases = Canvases::new(vec![packed(&source, &Bytes).unwrap()], length).unwrap();
        let batch = canvases.batch(&(0..canvases.len()).collect::<Vec<_>>()).unwrap();
        assert_eq!(batch.filled() as u64, total);
        assert!(batch.spans.iter().filter(|span| span.positions.len() < 8).all(|span| span.domain.axes == Axes::Line));
    }
}

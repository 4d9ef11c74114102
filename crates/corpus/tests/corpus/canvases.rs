//! Packing and canvases: nothing lost, nothing torn, nothing done twice.

use crate::support::snapshot;
use aquatint_corpus::{Canvases, CorpusError, DocumentPart, Packed, ReadCounts, Source, TextOnly, pack};
use aquatint_diffusion::PADDING_DOCUMENT;
use aquatint_vocabulary::{Role, Vocabulary};
use proptest::prelude::*;
use std::path::Path;
use std::sync::OnceLock;

fn sample(part: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/sample").join(part)
}

fn vocabulary() -> &'static Vocabulary {
    static VOCABULARY: OnceLock<Vocabulary> = OnceLock::new();
    VOCABULARY.get_or_init(|| {
        let tale = std::fs::read_to_string(sample("train/grimm-clever-grethel.txt")).unwrap();
        Vocabulary::train(std::iter::once(tale), 512).unwrap()
    })
}

fn packed(sources: &[Source], folder: &Path) -> Vec<Packed> {
    let snapshots: Vec<_> = sources.iter().map(snapshot).collect();
    pack(&snapshots, vocabulary(), &TextOnly, folder, &mut |_| true).unwrap()
}

fn jsonl(folder: &Path, texts: &[String]) -> Source {
    let lines: Vec<String> = texts.iter().map(|text| serde_json::json!({ "text": text }).to_string()).collect();
    let path = folder.join("texts.jsonl");
    std::fs::write(&path, lines.join("\n")).unwrap();
    Source::new(path)
}

#[test]
fn a_shard_holds_the_tokens_of_every_document_and_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let source = Source::new(sample("valid"));
    let mut heard = Vec::new();
    let packed = pack(&[snapshot(&source)], vocabulary(), &TextOnly, folder.path(), &mut |event| {
        heard.push(event);
        true
    });
    let Packed { shard, report, .. } = &packed.unwrap()[0];
    let end = vocabulary().role(Role::End).unwrap();
    let files = source.files().unwrap().files;
    assert_eq!(shard.documents(), files.len() as u64);
    let mut total = 0;
    for (index, path) in files.iter().enumerate() {
        let text = std::fs::read_to_string(path).unwrap();
        let span = shard.document(index as u64).unwrap();
        let length = (span.tokens.end - span.tokens.start) as usize;
        let (mut tokens, mut text_bytes) = (vec![0; length], vec![0; length]);
        shard.copy(span.tokens.start, &mut tokens, &mut text_bytes).unwrap();
        assert_eq!((tokens.pop(), text_bytes.pop()), (Some(end), Some(0)));
        // Packing cuts a text into parts to use every thread; the tokens are those of the whole.
        assert_eq!(tokens, vocabulary().encode(&text).unwrap(), "{}", path.display());
        assert_eq!(span.text_bytes, text.len() as u64);
        assert_eq!(text_bytes, vocabulary().encode_text(&text).unwrap().text_bytes);
        total += text.len() as u64;
    }
    assert_eq!((shard.text_bytes(), &report.counts), (total, &ReadCounts::default()));
    assert_eq!(shard.vocabulary_size(), 512);
    assert_eq!(heard.last().map(|event| (event.documents, event.tokens)), Some((4, shard.tokens())));
}

#[test]
fn an_unchanged_corpus_is_not_packed_again_and_a_changed_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let shards = folder.path().join("shards");
    let source = jsonl(folder.path(), &["One.".into(), "Two.".into()]);
    let first = packed(std::slice::from_ref(&source), &shards).remove(0);
    assert!(!first.reused);
    let again = packed(std::slice::from_ref(&source), &shards).remove(0);
    assert!(again.reused);
    assert_eq!(again.shard.fingerprint(), first.shard.fingerprint());
    // The same corpus elsewhere is the same corpus.
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = packed(&[jsonl(elsewhere.path(), &["One.".into(), "Two.".into()])], elsewhere.path()).remove(0);
    assert_eq!(moved.shard.fingerprint(), first.shard.fingerprint());
    let mut filtered = source.clone();
    filtered.filter.insert("text".into(), "One.".into());
    let changed = jsonl(folder.path(), &["One.".into(), "Too.".into()]);
    for other in [filtered, changed] {
        let other = packed(std::slice::from_ref(&other), &shards).remove(0);
        assert!(!other.reused);
        assert_ne!(other.shard.fingerprint(), first.shard.fingerprint());
    }
    // A shard that was damaged is packed again.
    std::fs::write(first.shard.path(), b"AQUATOKS but no more").unwrap();
    let source = jsonl(folder.path(), &["One.".into(), "Two.".into()]);
    assert!(!packed(std::slice::from_ref(&source), &shards).remove(0).reused);
}

#[test]
fn empty_documents_are_left_out_and_an_empty_corpus_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let source = jsonl(folder.path(), &[String::new(), "x".into(), String::new()]);
    assert_eq!(packed(std::slice::from_ref(&source), folder.path())[0].shard.documents(), 1);
    let said = |source: Source| {
        let shards = folder.path().join("shards");
        let error = pack(&[snapshot(&source)], vocabulary(), &TextOnly, &shards, &mut |_| true).unwrap_err();
        let hint = error.hint().map_or_else(String::new, |hint| format!("; {hint}"));
        format!("{error}{hint}").replace(&*folder.path().to_string_lossy(), "DIR")
    };
    assert_eq!(
        said(jsonl(folder.path(), &[String::new()])),
        "no document is left of `DIR/texts.jsonl`: every text is empty"
    );
    let mut french = jsonl(folder.path(), &["x".into(), "y".into()]);
    french.filter.insert("lang".into(), "fr".into());
    assert_eq!(
        said(french),
        "no document is left of `DIR/texts.jsonl`: the filter left all 2 rows out; compare its values with the file's"
    );
    // A refusal leaves nothing behind.
    assert_eq!(std::fs::read_dir(folder.path().join("shards")).unwrap().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn canvases_hold_every_token_once_and_tear_no_short_document(
        lengths in prop::collection::vec(1usize..70, 1..60),
        length in 2usize..40,
    ) {
        let folder = tempfile::tempdir().unwrap();
        // One token a byte: no two of these characters ever merge in a vocabulary trained on English.
        let texts: Vec<String> = lengths.iter().map(|&length| "\u{1}".repeat(length)).collect();
        let packed = packed(&[jsonl(folder.path(), &texts)], folder.path());
        let canvases = Canvases::new(packed, length).unwrap();
        let numbers: Vec<u64> = (0..canvases.len()).collect();
        let batch = canvases.batch(&numbers).unwrap();
        prop_assert_eq!(batch.canvases() as u64, canvases.len());
        prop_assert_eq!(batch.filled() as u64, canvases.tokens());
        prop_assert_eq!(canvases.tokens(), lengths.iter().map(|length| *length as u64 + 1).sum::<u64>());
        let end = vocabulary().role(Role::End).unwrap();
        let mut whole = 0;
        for (tokens, documents) in batch.tokens.chunks(length).zip(batch.documents.chunks(length)) {
            // Numbers rise by one and padding is behind everything.
            prop_assert!(documents.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0].wrapping_add(1) || pair[1] == PADDING_DOCUMENT));
            prop_assert!(documents[0] != PADDING_DOCUMENT);
            for position in 0..length {
                let last = position + 1 == length || documents[position + 1] != documents[position];
                if documents[position] != PADDING_DOCUMENT {
                    // An end token closes its document, and a document stops early only at the canvas's end.
                    prop_assert!((tokens[position] == end) <= last);
                    prop_assert!(!last || tokens[position] == end || position + 1 == length);
                    whole += u64::from(tokens[position] == end);
                }
            }
            // Only stretches that fill a canvas lack their end: nothing that fits is torn.
            if tokens[length - 1] != end && documents[length - 1] != PADDING_DOCUMENT {
                prop_assert!(documents.iter().all(|&document| document == documents[0]));
            }
        }
        prop_assert_eq!(whole, lengths.len() as u64);
        // The parts of a document, wherever they lie, follow each other up to its end.
        let mut parts: Vec<DocumentPart> = Vec::new();
        for &number in &numbers {
            let own = canvases.parts(number).unwrap();
            let documents = batch.documents[number as usize * length..].iter().take(length);
            prop_assert_eq!(own.iter().map(|part| part.length).sum::<usize>(), documents.filter(|d| **d != PADDING_DOCUMENT).count());
            parts.extend(own);
        }
        parts.sort_by_key(|part| (part.document, part.start));
        let mut reached = vec![0; lengths.len()];
        for part in parts {
            prop_assert_eq!(part.start, reached[part.document as usize]);
            reached[part.document as usize] += part.length as u64;
        }
        prop_assert_eq!(reached, lengths.iter().map(|length| *length as u64 + 1).collect::<Vec<u64>>());
        // A batch of its own holds the same canvas.
        for &number in numbers.iter().take(5) {
            let alone = canvases.batch(&[number]).unwrap();
            let start = number as usize * length;
            prop_assert_eq!(&alone.tokens[..], &batch.tokens[start..start + length]);
        }
    }
}

#[test]
fn short_documents_share_canvases_with_little_padding() {
    let folder = tempfile::tempdir().unwrap();
    let texts: Vec<String> = (0..500).map(|index| "\u{1}".repeat(20 + (index * 37) % 90)).collect();
    let canvases = Canvases::new(packed(&[jsonl(folder.path(), &texts)], folder.path()), 128).unwrap();
    let wasted = 1.0 - canvases.tokens() as f64 / (canvases.len() * 128) as f64;
    assert!(wasted < 0.05, "{wasted}");
}

#[test]
fn sources_are_repeated_as_configured() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut sources = [jsonl(folder.path(), &["abc".into()]), jsonl(other.path(), &["\u{1}".repeat(40)])];
    sources[0].repeat = 3;
    let canvases = Canvases::new(packed(&sources, folder.path()), 32).unwrap();
    assert_eq!(canvases.len(), 3 + 2);
    let batch = canvases.batch(&[0, 1, 2]).unwrap();
    assert_eq!(batch.tokens[..32], batch.tokens[32..64]);
    assert_eq!(canvases.text_bytes(), 3 * 3 + 40);
    assert!(matches!(canvases.batch(&[5]), Err(CorpusError::NoSuchCanvas { given: 5, count: 5 })));
    for length in [0, 1, usize::MAX] {
        let error = Canvases::new(packed(&sources, folder.path()), length).unwrap_err();
        assert!(matches!(error, CorpusError::CanvasLength { .. }));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn filled_canvases_hold_one_document_each_and_end_tokens_behind_it(
        lengths in prop::collection::vec(1usize..70, 1..40),
        length in 2usize..40,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let texts: Vec<String> = lengths.iter().map(|&length| "\u{1}".repeat(length)).collect();
        let sources = [jsonl(folder.path(), &texts)];
        let end = vocabulary().role(Role::End).unwrap();
        let filled = Canvases::filled(packed(&sources, folder.path()), length, end).unwrap();
        // A document of n tokens and its end takes as many canvases as hold them, none of which is another one's.
        prop_assert_eq!(filled.len(), lengths.iter().map(|tokens| (tokens + 1).div_ceil(length) as u64).sum::<u64>());
        prop_assert_eq!(filled.tokens(), lengths.iter().map(|tokens| *tokens as u64 + 1).sum::<u64>());
        let numbers: Vec<u64> = (0..filled.len()).collect();
        let batch = filled.batch(&numbers).unwrap();
        prop_assert_eq!(batch.filled(), batch.tokens.len());
        let mut texts = Vec::new();
        let mut open = 0;
        for (canvas, tokens) in batch.tokens.chunks(length).enumerate() {
            prop_assert!(batch.documents[canvas * length..(canvas + 1) * length].iter().all(|document| *document == canvas as u32));
            let text = tokens.iter().take_while(|token| **token != end).count();
            prop_assert!(tokens[text..].iter().all(|token| *token == end), "{:?}", tokens);
            // What fills a canvas stands for no byte.
            let bytes = &batch.text_bytes[canvas * length..(canvas + 1) * length];
            prop_assert_eq!(bytes.iter().sum::<u32>() as usize, text);
            open += text;
            if text < length {
                texts.push(std::mem::take(&mut open));
            }
        }
        prop_assert_eq!(texts, lengths);
        prop_assert_eq!(filled.batch(&[0]).unwrap().tokens, &batch.tokens[..length]);
    }
}

/// A begin token is given where a document begins, on whichever canvas that lies, and stands for no byte; nothing else
/// changes but the room that it takes.
#[test]
fn documents_begin_with_a_begin_token_that_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let texts = [2, 9, 1].map(|length| "\u{1}".repeat(length));
    let snapshots = [snapshot(&jsonl(folder.path(), &texts))];
    let mut beginning = vocabulary().clone();
    beginning.set_adds_begin(true).unwrap();
    let pack = |vocabulary: &Vocabulary| pack(&snapshots, vocabulary, &TextOnly, folder.path(), &mut |_| true).unwrap();
    let [begin, end] = [Role::Begin, Role::End].map(|role| vocabulary().role(role).unwrap());
    let text = vocabulary().encode("\u{1}").unwrap()[0];

    let filled = Canvases::filled(pack(&beginning), 6, end).unwrap();
    let batch = filled.batch(&[0, 1, 2, 3]).unwrap();
    let expected = [
        [begin, text, text, end, end, end],
        [begin, text, text, text, text, text],
        [text, text, text, text, end, end],
        [begin, text, end, end, end, end],
    ];
    assert_eq!((filled.len(), batch.tokens.clone()), (4, expected.concat()));
    let given: Vec<bool> = expected.concat().iter().map(|token| *token == begin).collect();
    assert_eq!((batch.given.clone(), batch.learned()), (given, 4 * 6 - 3));
    assert_eq!(batch.text_bytes.iter().sum::<u32>(), 2 + 9 + 1);
    assert_eq!(filled.tokens(), (2 + 9 + 1) + 2 * 3);

    // Documents that share a canvas have theirs each.
    let shared = Canvases::new(pack(&beginning), 16).unwrap();
    let numbers: Vec<u64> = (0..shared.len()).collect();
    let batch = shared.batch(&numbers).unwrap();
    let begins = batch.tokens.iter().zip(&batch.given).filter(|(token, given)| **given && **token == begin);
    assert_eq!((begins.count(), batch.given.iter().filter(|given| **given).count()), (3, 3));
    for position in (0..batch.tokens.len()).filter(|position| batch.given[*position]) {
        assert!(position % 16 == 0 || batch.documents[position] != batch.documents[position - 1]);
    }

    // Packed without it nothing is given, and neither way of packing takes the other one's shard.
    let plain = pack(vocabulary());
    assert!(!plain[0].reused && pack(&beginning)[0].reused);
    let plain = Canvases::filled(plain, 6, end).unwrap().batch(&[0]).unwrap();
    assert_eq!((plain.tokens, plain.given), (vec![text, text, end, end, end, end], Vec::new()));
}

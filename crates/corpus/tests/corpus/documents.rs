//! Documents in text files: where they begin and end, however large the file is.

use crate::support::{read, texts};
use aquatint_corpus::{CorpusError, Passage, Source, sample};
use proptest::prelude::*;
use std::io::Write;
use std::path::Path;

fn passages(source: &Source) -> Vec<Passage> {
    source.passages().unwrap().map(Result::unwrap).collect()
}

fn with(path: &Path, separator: &str) -> Source {
    Source { separator: separator.to_owned(), ..Source::new(path) }
}

#[test]
fn a_separator_stands_between_documents_with_the_line_breaks_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    for (text, expected) in [
        ("One.\n<|endoftext|>\nTwo.\n<|endoftext|>\n", vec!["One.\n", "Two.\n"]),
        ("One.<|endoftext|>Two.", vec!["One.", "Two."]),
        ("One.\r\n<|endoftext|>\r\n\r\n Two.", vec!["One.\r\n", " Two."]),
        ("<|endoftext|>One.", vec!["", "One."]),
        ("One.<|endoftext|><|endoftext|>Two.", vec!["One.", "", "Two."]),
        ("One.<|endoftext|", vec!["One.<|endoftext|"]),
        ("One.", vec!["One."]),
    ] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(texts(&Source::new(&path)), expected, "{text}");
        assert_eq!(texts(&with(&path, "")), [text], "{text}");
    }
    std::fs::write(&path, "One.\n\n---\n\nTwo.\n").unwrap();
    assert_eq!(texts(&with(&path, "\n---\n")), ["One.\n", "Two.\n"]);
}

#[test]
fn a_large_text_file_comes_in_passages_cut_at_paragraphs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.txt");
    let text = "A line of a long book, with an é in it.\n\n".repeat(80_000);
    std::fs::write(&path, &text).unwrap();
    let parts = passages(&Source::new(&path));
    assert!(parts.len() >= 3, "{}", parts.len());
    assert!(parts.iter().all(|passage| passage.text.len() < 3 << 20 && passage.text.ends_with("\n\n")));
    assert_eq!(texts(&Source::new(&path)), [text]);
}

#[test]
fn an_endless_line_comes_in_passages_cut_at_blanks_or_characters() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.txt");
    for (text, cut) in [("é".repeat(9 << 20), ""), ("anarchism originated as a term ".repeat(600_000), " ")] {
        std::fs::write(&path, &text).unwrap();
        let parts = passages(&Source::new(&path));
        assert!(parts.len() >= 2 && parts.iter().all(|passage| passage.text.len() <= 8 << 20), "{}", parts.len());
        assert!(parts[1..].iter().all(|passage| passage.text.starts_with(cut)));
        let (documents, counts) = read(&Source::new(&path));
        assert!(documents == [text] && counts.replaced == 0);
    }
}

#[test]
fn separators_are_found_wherever_reading_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    // Around the end of what is read at a time, and of the longest passage of an endless line.
    for (before, filler) in [(1 << 20, "a"), (1 << 20, "a line\n"), (8 << 20, "b")] {
        for shift in 0..16 {
            let mut text = filler.repeat(before / filler.len() + 1);
            text.truncate(before - shift);
            std::fs::write(&path, format!("{text}<|endoftext|>\nnext")).unwrap();
            let found = texts(&Source::new(&path));
            assert!(found == [text.as_str(), "next"], "{before} {filler:?} {shift}: {} documents", found.len());
        }
    }
    let text = "x".repeat((1 << 20) - 3);
    std::fs::write(&path, format!("{text}\n\n==\n\nnext")).unwrap();
    assert!(texts(&with(&path, "\n\n==\n")) == [text.as_str(), "next"]);
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
    let of = |bytes| sample(&sources, bytes, &mut |_| true).unwrap();
    let taken = of(200_000);
    let size: usize = taken.iter().map(String::len).sum();
    assert!((190_000..=210_000).contains(&size), "{size}");
    for document in 0..20 {
        assert!(taken.iter().any(|part| part.contains(&format!("document {document} "))), "{document}");
    }
    let all: usize = of(u64::MAX).iter().map(String::len).sum();
    let full: usize = texts(&sources[0]).iter().map(String::len).sum();
    assert_eq!(all, full);
    assert_eq!(of(1).len(), 1, "never nothing");
    let mut heard = 0;
    let stopped = sample(&sources, 1000, &mut |bytes| {
        heard = bytes;
        false
    });
    assert!(stopped.is_err_and(|error| matches!(error, CorpusError::Stopped)));
    assert!(heard > 0 && heard < full as u64);
}

#[test]
fn a_text_of_one_line_is_sampled_evenly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text8.txt");
    let words: Vec<String> = (0..10_000).map(|word| format!("word{word}")).collect();
    std::fs::write(&path, words.join(" ")).unwrap();
    let taken = sample(&[Source::new(&path)], 30_000, &mut |_| true).unwrap();
    let size: usize = taken.iter().map(String::len).sum();
    assert!((22_000..=36_000).contains(&size) && taken.len() > 4, "{size} in {} parts", taken.len());
    assert!(taken.iter().all(|part| part.split_whitespace().all(|word| words.contains(&word.to_owned()))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn documents_are_the_text_between_the_separators(
        text in "(a|\n|\r|<|\\||--|<\\|endoftext\\|>| ){0,60}",
        separator in prop::sample::select(vec!["<|endoftext|>", "--", "\n\n", "<|"]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, &text).unwrap();
        let mut expected = Vec::new();
        let mut rest = text.as_str();
        while let Some((document, after)) = rest.split_once(separator) {
            expected.push(document);
            rest = after.trim_start_matches(['\n', '\r']);
        }
        if !rest.is_empty() || expected.is_empty() {
            expected.push(rest);
        }
        prop_assert_eq!(texts(&with(&path, separator)), expected);
    }
}

//! Sources that are read to their end.

use aquatint_corpus::{CorpusError, Passage, ReadCounts, Source, SourceSnapshot};
use std::path::Path;

/// The documents of a source.
pub(crate) fn texts(source: &Source) -> Vec<String> {
    read(source).0
}

/// The documents of a source, and what was counted.
pub(crate) fn read(source: &Source) -> (Vec<String>, ReadCounts) {
    let mut documents = vec![String::new()];
    let mut passages = source.passages().unwrap();
    for passage in passages.by_ref() {
        let Passage { text, ends_document, .. } = passage.unwrap();
        documents.last_mut().unwrap().push_str(&text);
        if ends_document {
            documents.push(String::new());
        }
    }
    assert_eq!(documents.pop(), Some(String::new()), "the last document ends");
    (documents, passages.counts().clone())
}

/// Why a source cannot be read.
pub(crate) fn failure(source: &Source) -> CorpusError {
    match source.passages() {
        Err(error) => error,
        Ok(passages) => passages.filter_map(Result::err).next().unwrap(),
    }
}

/// What is said about a source under `folder` that cannot be read, with the hint behind a semicolon.
pub(crate) fn said(source: &Source, folder: &Path) -> String {
    let error = failure(source);
    let hint = error.hint().map_or_else(String::new, |hint| format!("; {hint}"));
    format!("{error}{hint}").replace(&*folder.to_string_lossy(), "DIR")
}

/// A source of which only the English rows are read.
pub(crate) fn english(path: &Path) -> Source {
    let mut source = Source::new(path);
    source.filter.insert("lang".to_owned(), "en".to_owned());
    source
}

/// A source with its files.
pub(crate) fn snapshot(source: &Source) -> SourceSnapshot {
    source.snapshot(&mut |_| true).unwrap()
}

//! What is told of a source that was packed, and which held-out documents are training documents, too.

use crate::support::snapshot;
use aquatint_corpus::{CorpusError, Overlap, Packed, Shard, Source, TextOnly, overlap, pack};
use aquatint_vocabulary::Vocabulary;
use std::path::Path;

fn vocabulary() -> Vocabulary {
    Vocabulary::train(["one two three four five".to_owned()].into_iter(), 300).unwrap()
}

fn packed(source: &Source, folder: &Path) -> Result<Packed, CorpusError> {
    pack(&[snapshot(source)], &vocabulary(), &TextOnly, folder, &mut |_| true).map(|mut packed| packed.remove(0))
}

#[test]
fn a_shard_that_was_there_tells_the_same_as_a_new_one() {
    let (folder, shards) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let texts = folder.path().join("texts");
    std::fs::create_dir(&texts).unwrap();
    let rows = "{\"text\": \"One.\"}\n{\"text\": null}\n{\"text\": \"Two \\ud83d\"}\n{\"text\": \"\"}\n";
    std::fs::write(texts.join("a.jsonl"), rows).unwrap();
    std::fs::write(texts.join("b.txt"), b"Three.<|endoftext|>caf\xE9").unwrap();
    std::fs::write(texts.join("notes.md"), "no").unwrap();
    let new = packed(&Source::new(&texts), shards.path()).unwrap();
    let report = &new.report;
    assert_eq!((new.reused, report.documents, report.unread.len()), (false, 4, 1));
    let counts = &report.counts;
    assert_eq!((counts.rows, counts.bad_rows, counts.replaced, counts.surrogates, counts.left_out), (4, 1, 1, 1, 0));
    assert_eq!(counts.first_bad_rows[0].file, texts.join("a.jsonl"));
    let again = packed(&Source::new(&texts), shards.path()).unwrap();
    assert!(again.reused);
    assert_eq!(again.report, new.report);
    // Where the corpus moved, so have its bad rows.
    let moved = folder.path().join("moved");
    std::fs::rename(&texts, &moved).unwrap();
    let elsewhere = folder.path().join("texts");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::rename(&moved, elsewhere.join("texts")).unwrap();
    let again = packed(&Source::new(elsewhere.join("texts")), shards.path()).unwrap();
    assert!(again.reused);
    assert_eq!(again.report.counts.first_bad_rows[0].file, elsewhere.join("texts/a.jsonl"));
    // What was packed when more was allowed is not used when less is.
    let strict = Source { max_bad_share: 0.0, ..Source::new(elsewhere.join("texts")) };
    assert!(matches!(packed(&strict, shards.path()), Err(CorpusError::BadRows { bad: 1, rows: 4, .. })));
}

#[test]
fn packing_that_is_stopped_leaves_nothing_behind() {
    let (folder, shards) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = folder.path().join("a.txt");
    std::fs::write(&path, "One.").unwrap();
    let stopped = Source::new(&path).snapshot(&mut |_| false);
    assert!(matches!(stopped, Err(CorpusError::Stopped)));
    let snapshot = snapshot(&Source::new(&path));
    let stopped = pack(&[snapshot], &vocabulary(), &TextOnly, shards.path(), &mut |_| false);
    assert!(matches!(stopped, Err(CorpusError::Stopped)));
    assert_eq!(std::fs::read_dir(shards.path()).unwrap().count(), 0);
}

#[test]
fn held_out_documents_among_the_training_documents_are_counted() {
    let (folder, shards) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shard = |name: &str, text: &str| -> Shard {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        packed(&Source::new(&path), shards.path()).unwrap().shard
    };
    let train = shard("train.txt", "One tale.\n<|endoftext|>\nAnother tale.\n\nOf two parts.\n<|endoftext|>\n \n");
    let same = shard(
        "same.jsonl",
        "{\"text\": \"Another tale.\\n\\nOf two parts.\"}\n{\"text\": \"A third.\"}\n{\"text\": \" \"}",
    );
    let other = shard("other.txt", "A third.\n");
    let of = |held_out: &Shard| overlap([&train, &train], [held_out]);
    assert_eq!(of(&same), Overlap { documents: 1, of: 2, text_bytes: 28 });
    assert_eq!(of(&other), Overlap { documents: 0, of: 1, text_bytes: 0 });
    assert_eq!(of(&train).documents, 2);
}

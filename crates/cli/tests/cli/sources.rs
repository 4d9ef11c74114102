//! Sources of texts: what is reported of them, and how bad ones are refused.

use crate::support::{aquatint, model, recipe, room, story, text};
use insta::assert_snapshot;
use serde_json::json;
use std::fs;
use std::path::Path;

/// Writes rows of JSON lines.
fn rows(path: &Path, rows: &[String]) {
    fs::write(path, rows.join("\n")).expect("the rows can be written");
}

#[test]
fn what_a_source_leaves_out_is_reported() {
    let folder = room("sources");
    let good = json!({ "text": story(20) }).to_string();
    let half = r#"{"text": "A cat saw \ud83d and left."}"#.to_owned();
    rows(&folder.join("a.jsonl"), &[good, r#"{"text": null}"#.to_owned(), half]);
    fs::write(folder.join("b.txt"), format!("{0}\n<|endoftext|>\n{0}caf\u{e9}", story(3))).unwrap();
    for number in 0..12 {
        fs::write(folder.join(format!("page-{number}.png")), "no text").unwrap();
    }
    let arguments = ["eval", "likelihood", "-m", model(), "-d", text(&folder), "--limit", "1"];
    let first = aquatint(&arguments).expect(0).err.replace(text(&folder), "FOLDER");
    assert_snapshot!("what_a_source_leaves_out", first);
    // The packed text is used again, and reports the same.
    let again = aquatint(&arguments).expect(0).err.replace(text(&folder), "FOLDER");
    assert_eq!(first.strip_prefix("packing the text into tokens\n"), Some(again.as_str()));
    let whole = ["--separator", "", "--data-format", "text", "--encoding", "utf-8"];
    let whole = aquatint(&[&arguments[..], &whole].concat()).expect(0).err;
    assert!(whole.contains("text: 15 documents in "), "{whole}");
}

#[test]
fn a_source_that_cannot_be_read_is_refused_before_anything_is_learned() {
    let path = recipe("bad-sources");
    let folder = room("bad-sources");
    rows(&folder.join("a.jsonl"), &["{\"body\": \"x\"}".to_owned(), "{".to_owned(), "[]".to_owned()]);
    fs::write(folder.join("latin.txt"), b"caf\xE9 ".repeat(100)).unwrap();
    fs::write(folder.join("packed.txt"), "BZh91AY&SY").unwrap();
    fs::write(folder.join("notes.md"), "x").unwrap();
    let mut report = String::new();
    for source in [
        "path=\"a.jsonl\"",
        "path=\"latin.txt\"",
        "path=\"packed.txt\"",
        "path=\"notes.md\"",
        "path=\"train\",max_bad_share=2.0",
    ] {
        let source = source.replace("path=\"", &format!("path=\"{}/", folder.display()));
        let output = aquatint(&["train", text(&path), "--set", &format!("data.train=[{{{source}}}]")]).expect(2);
        assert!(!folder.join("run/tokenizer.json").exists());
        let error = output.err.find("error:").expect("an error is printed");
        report.push_str(&output.err[error..]);
        report.push('\n');
    }
    assert_snapshot!("bad_sources", report.replace(text(&folder), "FOLDER"));
}

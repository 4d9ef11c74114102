//! Guards: what is given and what is written is judged, repaired and refused, and what is no guard is refused at once.

use crate::support::{aquatint, model, room, text};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// A file of a room.
fn file(room: &Path, name: &str, content: &str) -> PathBuf {
    let path = room.join(name);
    fs::write(&path, content).unwrap();
    path
}

fn parsed(output: &str) -> Value {
    serde_json::from_str(output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// A text of the built-in model.
const STORY: [&str; 6] = ["generate", "Once upon a time", "-n", "60", "--seed", "3"];

/// The words of a text as a guard reads them.
fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_given_text_is_judged_with_its_holes_before_anything_is_written() {
    let list = file(&room("guards-given"), "locks.txt", "# Locks\npick a lock\n/gr[ae]y\\s+box/\n");
    let refused = |command: &str, template: &str| {
        let output = aquatint(&[command, "-m", model(), template, "--guard", text(&list)]).expect(2);
        assert_eq!(output.out, "", "{template}");
        output.err
    };
    let reason = "error: the given text is refused: it has what line 2 of the word list locks.txt says\n";
    for template in ["How to PICK a lock", "pick [[2]] a lock", "pick a l[[1]]ock", "First pick [[2]]\n- a [[2]] lock"]
    {
        assert_eq!(refused("generate", template), reason, "{template}");
    }
    let lines = refused("generate", "in a grey box");
    assert!(lines.contains("line 3"), "{lines}");
    let run = aquatint(&["run", model(), "pick a lock", "--guard", text(&list)]).expect(2);
    assert_eq!((run.out.as_str(), run.err.as_str()), ("", reason));
    aquatint(&["generate", "-m", model(), "the fox", "-n", "4", "-s", "1", "--guard", text(&list)]).expect(0);
}

#[test]
fn what_offends_in_a_block_is_written_anew_and_then_refused() {
    let room = room("guards-written");
    let free = parsed(&aquatint(&[&STORY[..], &["--format", "json"]].concat()).expect(0).out);
    let written = free["filled"][0].as_str().unwrap();
    // The longest word that the model writes by itself.
    let word = words(written).into_iter().max_by_key(String::len).unwrap();
    let list = file(&room, "words.txt", &word);
    let guarded = |more: &[&str]| aquatint(&[&STORY[..], &["--format", "json", "--guard", text(&list)], more].concat());
    let repaired = parsed(&guarded(&["--repairs", "9"]).expect(0).out);
    assert!(!words(repaired["text"].as_str().unwrap()).contains(&word), "{word}: {repaired}");
    assert!(repaired["repairs"].as_u64().unwrap() > 0 && free.get("repairs").is_none(), "{repaired}");
    assert_eq!(repaired, {
        let mut again = parsed(&guarded(&["--repairs", "9"]).expect(0).out);
        ["seconds", "tokens_per_second"].iter().for_each(|key| again[key] = repaired[key].clone());
        again
    });
    let refused = guarded(&["--repairs", "0"]).expect(2);
    assert_eq!(refused.out, "");
    let reason = "error: what was written is refused: it has what line 1 of the word list words.txt says\n";
    assert_eq!(refused.err, format!("{reason}\nhint: another seed writes another text\n"));
    // What offends in no text changes none.
    let other = file(&room, "other.txt", "vork");
    let same = parsed(&aquatint(&[&STORY[..], &["--format", "json", "--guard", text(&other)]].concat()).expect(0).out);
    assert_eq!((&same["text"], &same["forward_passes"]), (&free["text"], &free["forward_passes"]));
    // A trace has the positions that were opened again.
    let trace = room.join("trace.jsonl");
    guarded(&["--repairs", "9", "--trace", text(&trace)]).expect(0);
    assert!(fs::read_to_string(&trace).unwrap().contains("renoised"));
}

#[test]
fn of_several_texts_those_that_are_refused_are_counted_and_the_others_printed() {
    let list = file(&room("guards-count"), "letters.txt", "/e/");
    let fixed = ["generate", "The [[1]] sat", "-m", model(), "-s", "1", "--count", "24", "--temperature", "1"];
    let of = |more: &[&str], code: i32| aquatint(&[&fixed[..], more].concat()).expect(code);
    // The given text is not judged by what it has itself.
    let output = of(&["--guard", text(&list)], 2);
    assert!(output.err.contains("the given text is refused"), "{}", output.err);
    let list = file(&room("guards-count"), "letters-of-hole.txt", "/The \\w*[aeiou]\\w* sat/");
    let all = of(&["--format", "jsonl"], 0);
    let vowels = |line: &str| {
        let word = parsed(line)["filled"][0].as_str().unwrap().to_owned();
        word.chars().all(char::is_alphanumeric) && word.to_lowercase().contains(['a', 'e', 'i', 'o', 'u'])
    };
    let expected: Vec<&str> = all.out.lines().filter(|line| !vowels(line)).collect();
    let refused = 24 - expected.len();
    assert!(refused > 0 && refused < 24, "{}", all.out);
    let guarded = of(&["--format", "jsonl", "--guard", text(&list), "--repairs", "0"], 2);
    let texts = |lines: &mut dyn Iterator<Item = &str>| -> Vec<String> {
        lines.map(|line| parsed(line)["text"].to_string()).collect()
    };
    assert_eq!(texts(&mut guarded.out.lines()), texts(&mut expected.into_iter()));
    assert!(guarded.err.contains(&format!("error: {refused} of 24 were refused")), "{}", guarded.err);
    assert_eq!(guarded.err.matches("what was written is refused").count(), refused);
}

#[test]
fn runs_of_a_corpus_that_are_too_long_are_not_written() {
    let room = room("guards-novel");
    let free = aquatint(&STORY).expect(0).out;
    let corpus = file(&room, "corpus.txt", &free);
    let longest = |text: &str| {
        let path = file(&room, "text.txt", text);
        let found = aquatint(&[
            "eval",
            "memory",
            "--corpus",
            self::text(&corpus),
            "--texts",
            self::text(&path),
            "--format",
            "json",
        ]);
        parsed(&found.expect(0).out)["texts"][0]["longest"].as_u64().unwrap()
    };
    let given = words("Once upon a time").len();
    assert!(longest(&free) > 20, "{free}");
    for run in ["6", "9"] {
        let novel =
            aquatint(&[&STORY[..], &["--novel", text(&corpus), "--novel-run", run, "--repairs", "30"]].concat());
        let novel = novel.expect(0).out;
        assert!(longest(&novel) <= run.parse().unwrap() && words(&novel).len() > given, "{novel}");
    }
    let refused = aquatint(&[&STORY[..], &["--novel", text(&corpus), "--repairs", "0"]].concat()).expect(2).err;
    assert!(refused.contains("words one behind the other stand in ") && refused.contains("allowed: 8"), "{refused}");
    let refused = aquatint(&[&STORY[..], &["--novel", text(&corpus), "--novel-run", "0"]].concat()).expect(2).err;
    assert!(refused.contains("`--novel-run` is 0; allowed: 1 or more"), "{refused}");
    let most = u64::MAX.to_string();
    let passed = aquatint(&[&STORY[..], &["--novel", text(&corpus), "--novel-run", &most, "--repairs", "0"]].concat());
    assert_eq!(passed.expect(0).out, free);
    // What is given is not judged: the corpus has it whole.
    let first: Vec<&str> = free.split_whitespace().take(20).collect();
    let given = format!("{} [[2]]", first.join(" "));
    let output = aquatint(&["generate", &given, "-s", "1", "--novel", text(&corpus), "--novel-run", "30"]).expect(0);
    assert!(output.out.starts_with(&first.join(" ")), "{}", output.out);
}

#[test]
fn a_classifier_is_trained_guards_and_is_measured() {
    let room = room("guards-classifier");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/sample/guard.jsonl");
    let guard = room.join("guard.json");
    let trained = aquatint(&["guard-classifier", text(&data), text(&guard)]).expect(0);
    assert_eq!(trained.out.trim(), text(&guard));
    let figures = parsed(
        &aquatint(&["eval", "guard", "--guard", text(&guard), "-d", text(&data), "--format", "json"]).expect(0).out,
    );
    let all = &figures["figures"][0];
    assert!(all["caught"]["rate"].as_f64().unwrap() > 0.9, "{all}");
    assert!(all["false_refusals"]["rate"].as_f64().unwrap() < 0.1, "{all}");
    let rows = fs::read_to_string(&data).unwrap();
    let refused = rows.lines().map(parsed).find(|row| row["refuse"] == true && row["set"] == "plain").unwrap();
    let words = ["generate", refused["text"].as_str().unwrap(), "--guard", text(&guard)];
    let error = aquatint(&words).expect(2).err;
    assert!(error.starts_with("error: the given text is refused: the classifier guard.json gives it "), "{error}");
    let table = aquatint(&["eval", "guard", "--guard", text(&guard), "-d", text(&data)]).expect(0).out;
    assert!(table.starts_with("| set | to be refused | caught % |") && table.contains("| interleaved |"), "{table}");
}

#[test]
fn what_is_no_guard_is_refused_before_a_model_is_opened() {
    let room = room("guards-refused");
    let refused = |name: &str, content: &str| {
        let path = file(&room, name, content);
        let of = |words: &[&str]| aquatint(&[words, &["--guard", text(&path)]].concat()).expect(2).err;
        let error = of(&["generate", "a", "-m", "no-such-model"]);
        assert_eq!(error, of(&["serve", "-m", "tales", "--port", "0"]));
        assert!(error.starts_with(&format!("error: `{}` is no guard\n", path.display())), "{error}");
        error
    };
    assert!(refused("empty.txt", "").contains("caused by: the word list has no line; allowed: "));
    let regex = refused("regex.txt", "a phrase\n/(/\n");
    assert!(
        regex.contains("caused by: line 2 is no regular expression") && regex.contains("unclosed group"),
        "{regex}"
    );
    let empty = refused("empty.json", "");
    assert!(empty.contains("this is no classifier, or it is damaged") && empty.contains("guard-classifier"), "{empty}");
    let damaged = r#"{"kind":"linear","words":1,"window":4,"threshold":0.5,"bias":0,"weights":{"Lock":1}}"#;
    assert!(refused("damaged.json", damaged).contains("`weights` is of \"Lock\"; allowed: "));
    let missing = aquatint(&["generate", "a", "--guard", "no-such-file"]).expect(2).err;
    assert!(missing.starts_with("error: could not read `no-such-file`"), "{missing}");
    let rows = file(&room, "rows.jsonl", "{\"text\": \"a [[x]]\", \"refuse\": true}\n");
    let out = room.join("never.json");
    let error = aquatint(&["guard-classifier", text(&rows), text(&out)]).expect(2).err;
    assert!(error.contains("line 1 of `"), "{error}");
    for (flag, value, allowed) in [("words", "9", "1 to 5"), ("threshold", "1.5", "more than 0 and less than 1")] {
        let error =
            aquatint(&["guard-classifier", "no-such-rows", text(&out), &format!("--{flag}"), value]).expect(2).err;
        assert!(error.contains(&format!("`{flag}` is {value}; allowed: {allowed}")), "{error}");
    }
    fs::write(&rows, "{\"text\": \"a b\", \"refuse\": true}\n").unwrap();
    let error = aquatint(&["guard-classifier", text(&rows), text(&out)]).expect(2).err;
    assert!(error.contains("the rows are all of one kind; allowed: "), "{error}");
    assert!(!out.exists());
}

//! Keys, marked texts and their detection.

use crate::support::{ProgramOutput, aquatint, piped, room, text};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

fn key_of(room: &std::path::Path, scheme: &str) -> PathBuf {
    let path = room.join(format!("{scheme}.json"));
    aquatint(&["watermark-key", text(&path), "--scheme", scheme]).expect(0);
    path
}

/// A key whose bytes are the same in every run, so that what is found is, too.
fn fixed_key_of(room: &std::path::Path, scheme: &str, byte: &str) -> PathBuf {
    let path = room.join(format!("{scheme}-{byte}.json"));
    aquatint(&["watermark-key", text(&path), "--scheme", scheme]).expect(0);
    let mut key: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    key["secret"] = byte.repeat(16).into();
    fs::write(&path, key.to_string()).unwrap();
    path
}

/// A text of the built-in model, warm enough that each token leaves a choice.
fn generated(more: &[&str]) -> ProgramOutput {
    let words = ["generate", "Once upon a time", "-n", "90", "--temperature", "1", "--top-p", "1", "--seed", "3"];
    aquatint(&[&words[..], more].concat()).expect(0)
}

#[test]
fn a_marked_text_is_found_by_its_key_and_by_no_other() {
    let room = room("watermarks");
    for scheme in ["gumbel", "green"] {
        let [own, other] = ["5a", "c3"].map(|byte| fixed_key_of(&room, scheme, byte));
        let marked = generated(&["--watermark", text(&own)]).out;
        let file = room.join(format!("{scheme}.txt"));
        fs::write(&file, &marked).unwrap();
        let found = aquatint(&["detect", text(&file), "--key", text(&own)]).expect(0).out;
        assert!(found.starts_with("marked: p = ") && found.contains(&format!("scheme {scheme}")), "{found}");
        let json = aquatint(&["detect", text(&file), "--key", text(&other), "--format", "json"]).expect(0).out;
        let object: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&object["verdict"], &object["scheme"]), (&"not found".into(), &scheme.into()), "{json}");
        assert!(object["p_value"].as_f64().unwrap() > 1e-4 && object["tokens"].as_u64().unwrap() > 60, "{json}");
        // One seed and one key give one text, and no key the text that there always was.
        assert_eq!(generated(&["--watermark", text(&own)]).out, marked);
        assert_ne!(generated(&[]).out, marked);
        let report = generated(&["--watermark", text(&own), "--format", "json"]).out;
        assert_eq!(serde_json::from_str::<Value>(&report).unwrap()["settings"]["watermark"], scheme);
    }
}

#[test]
fn a_file_is_examined_without_its_last_line_end_as_standard_input_is() {
    let room = room("watermarks-line-end");
    let key = fixed_key_of(&room, "gumbel", "5a");
    let file = room.join("story.txt");
    let of = |written: &str| {
        fs::write(&file, written).unwrap();
        let of_file = aquatint(&["detect", text(&file), "--key", text(&key)]).expect(0).out;
        assert_eq!(of_file, piped(&["detect", "-", "--key", text(&key)], written.as_bytes()).expect(0).out);
        of_file
    };
    let story = "The fox sat by the river and sang.";
    let plain = of(story);
    assert_eq!([of(&format!("{story}\n")), of(&format!("{story}\r\n"))], [plain.clone(), plain.clone()]);
    // Only one is no part of the text.
    assert_ne!(of(&format!("{story}\n\n")), plain);
}

#[test]
fn as_many_texts_as_the_period_differ_and_more_are_warned_of() {
    let room = room("watermarks-period");
    let [gumbel, green] = ["gumbel", "green"].map(|scheme| fixed_key_of(&room, scheme, "5a"));
    let key = fs::read_to_string(&gumbel).unwrap();
    assert!(key.contains("\"period\":1024"), "{key}");
    fs::write(&gumbel, key.replace("1024", "8")).unwrap();
    // What is drawn depends on nothing but the numbers of the key.
    let words = ["generate", "Once", "-n", "8", "--temperature", "1", "--top-p", "1", "--policy", "sequential"];
    let of = |key: &std::path::Path, count: &str| {
        let more = ["--seed", "3", "--format", "jsonl", "--watermark", text(key), "--count", count];
        aquatint(&[&words[..], &more].concat()).expect(0)
    };
    let warning = "warning: `--count` is 9, and the key of the watermark has a period of 8";
    let (eight, nine) = (of(&gumbel, "8"), of(&gumbel, "9"));
    assert!(!eight.err.contains("warning: ") && nine.err.contains(warning), "{} {}", eight.err, nine.err);
    let texts: Vec<Value> = nine.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<&str> = texts.iter().map(|line| line["text"].as_str().unwrap()).collect();
    let different: std::collections::BTreeSet<&str> = texts[..8].iter().copied().collect();
    assert_eq!(different.len(), 8, "{texts:?}");
    assert_eq!(texts[8], texts[0]);
    assert!(!of(&green, "9").err.contains("warning: "));
}

#[test]
fn short_texts_cannot_be_judged_and_a_file_may_hold_many() {
    let room = room("watermarks-short");
    let key = key_of(&room, "order");
    let of = |input: &[u8]| piped(&["detect", "-", "--key", text(&key)], input).expect(0).out;
    assert!(
        of(b"").starts_with("cannot tell, the text is too short: p = 1.000e0, 0 counted of 0 tokens"),
        "{}",
        of(b"")
    );
    assert!(of(b"The fox sat.").starts_with("cannot tell"));
    let file = room.join("texts.jsonl");
    fs::write(&file, "{\"text\": \"A fox.\", \"id\": 1}\n\n{\"text\": \"\"}\n").unwrap();
    let lines = aquatint(&["detect", text(&file), "--key", text(&key), "--format", "json"]).expect(0).out;
    assert_eq!(lines.lines().count(), 2);
    assert!(lines.lines().all(|line| line.contains("\"verdict\":\"cannot tell\"")), "{lines}");
    fs::write(&file, "{\"text\": \"A fox.\"}\n{\"words\": 1}\n").unwrap();
    let refused = aquatint(&["detect", text(&file), "--key", text(&key)]).expect(2).err;
    assert!(refused.contains("line 2 of") && refused.contains("has no text"), "{refused}");
}

#[test]
fn keys_are_secret_never_replaced_and_refused_where_damaged() {
    let room = room("watermarks-keys");
    let key = key_of(&room, "gumbel");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let before = fs::read_to_string(&key).unwrap();
    let again = aquatint(&["watermark-key", text(&key)]).expect(2).err;
    assert!(again.contains("is there already"), "{again}");
    assert_eq!(fs::read_to_string(&key).unwrap(), before);

    let damaged = room.join("damaged.json");
    fs::write(&damaged, &before[..before.len() / 2]).unwrap();
    for arguments in [
        &["generate", "The [[4]] sat.", "--watermark", text(&damaged)][..],
        &["run", "tales", "The [[4]] sat.", "--watermark", text(&damaged)],
        &["detect", "-", "--key", text(&damaged)],
        &["serve", "--port", "0", "--watermark", text(&damaged)],
    ] {
        let refused = aquatint(arguments).expect(2).err;
        let first = refused.lines().next().unwrap_or_default();
        assert!(first.ends_with("this is no key of a watermark, or it is damaged"), "{arguments:?}: {refused}");
    }
    let missing = aquatint(&["detect", "-", "--key", "no-such-key.json"]).expect(2).err;
    assert!(missing.contains("could not read `no-such-key.json`"), "{missing}");
    for (flags, message) in [
        (&["--scheme", "blue"][..], "unknown scheme \"blue\" of a watermark; allowed: gumbel, green, order"),
        (&["--share", "0.5"], "`--share` is not for the scheme gumbel"),
        (&["--scheme", "green", "--share", "2"], "`share` of the watermark key is 2; allowed: above 0 and below 1"),
        (&["--period", "0"], "`period` of the watermark key is 0; allowed: from 1 to 65536"),
    ] {
        let path = room.join("new.json");
        let refused = aquatint(&[&["watermark-key", text(&path)], flags].concat()).expect(2).err;
        assert!(refused.starts_with(&format!("error: {message}")), "{refused}");
        assert!(!path.exists());
    }
    let level = aquatint(&["detect", "-", "--key", text(&key), "--level", "2"]).expect(2).err;
    assert!(level.starts_with("error: `level` is 2; allowed: above 0 and below 1"), "{level}");
}

/// The shell limits the size of files to nothing, as a full disk would.
#[cfg(target_os = "linux")]
#[test]
fn a_key_that_could_not_be_written_leaves_no_file() {
    let path = room("watermarks-full").join("key.json");
    let mut command = std::process::Command::new("sh");
    let line = "ulimit -f 0; exec \"$0\" \"$@\"";
    command.args(["-c", line, env!("CARGO_BIN_EXE_aquatint"), "watermark-key", text(&path)]);
    let output = ProgramOutput::from(command.output().unwrap()).expect(1);
    assert!(output.err.contains("could not write `"), "{}", output.err);
    assert!(!path.exists());
    aquatint(&["watermark-key", text(&path)]).expect(0);
}

#[test]
fn where_nothing_is_drawn_there_is_no_mark_and_that_is_said() {
    let room = room("watermarks-cold");
    let (gumbel, order, green) = (key_of(&room, "gumbel"), key_of(&room, "order"), key_of(&room, "green"));
    let of = |more: &[&str]| {
        let words = ["generate", "The [[4]] saw.", "-s", "1", "--format", "json"];
        aquatint(&[&words[..], more].concat()).expect(0)
    };
    let warned = |more: &[&str], reason: &str| {
        let output = of(more);
        let warning = format!("warning: `--watermark` has no effect: {reason}");
        assert_eq!(output.err.matches(&warning).count(), 1, "{more:?}: {}", output.err);
    };
    warned(&["--watermark", text(&gumbel), "--temperature", "0"], "temperature 0 takes the likeliest token");
    warned(&["--watermark", text(&gumbel), "--top-k", "1"], "top-k 1 leaves one token");
    warned(&["--watermark", text(&order), "--steps", "1"], "each block is filled in one step");
    warned(&["--watermark", text(&order), "--policy", "last"], "nothing is committed before the last step");
    warned(
        &["--watermark", text(&green), "--regex", "[a-z]{4,20}"],
        "a constraint draws the tokens of a text together",
    );
    let cold = of(&["--watermark", text(&green), "--temperature", "0"]);
    assert!(!cold.err.contains("--watermark"), "a bias acts at temperature 0, too: {}", cold.err);
}

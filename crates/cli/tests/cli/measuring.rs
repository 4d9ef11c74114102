//! `eval likelihood`: agrees with the training log, and is a function of its inputs and seed.

use crate::support::{ProgramOutput, aquatint, model, program, room, text};
use serde_json::{Value, json};
use std::path::Path;

fn measure(more: &[&str]) -> Value {
    let data = room("model").join("valid");
    let output =
        aquatint(&[&["eval", "likelihood", "-m", model(), "-d", text(&data), "--format", "json"], more].concat())
            .expect(0);
    serde_json::from_str(&output.out).unwrap()
}

#[test]
fn the_measure_agrees_with_the_training_log() {
    let log = std::fs::read_to_string(Path::new(model()).join("metrics.jsonl")).unwrap();
    let logged = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter_map(|line| line["nats_per_token"].as_f64().or(line["validation"]["nats_per_token"].as_f64()))
        .next_back()
        .expect("the log has a validation");
    let measured = measure(&["--limit", "8", "--samples", "2"])["nats_per_token"].as_f64().unwrap();
    // The saved weights are rounded to bfloat16; apart from that the two are the same sum.
    assert!((measured - logged).abs() < 2e-3 * logged, "logged {logged}, measured {measured}");
}

#[test]
fn the_seed_decides() {
    let of = |seed: &str, threads: &str| measure(&["--seed", seed, "--threads", threads])["nats_per_token"].clone();
    assert_eq!(of("1", "1"), of("1", "2"));
    assert_ne!(of("1", "1"), of("2", "1"));
}

#[test]
fn the_scalar_path_in_64_bits_measures_the_same() {
    let fast = measure(&[])["nats_per_token"].as_f64().unwrap();
    let exact = measure(&["--precision", "f64"])["nats_per_token"].as_f64().unwrap();
    assert!((fast - exact).abs() < 1e-4, "{fast} in f32, {exact} in f64");
}

#[test]
fn what_is_given_is_counted_once_for_each_document() {
    let tokens = |measured: &Value| measured["tokens"].as_u64().unwrap();
    // One document over several canvases.
    let (all, given) = (measure(&[]), measure(&["--given", "10"]));
    assert_eq!((&all["documents"], tokens(&all) - tokens(&given)), (&1.into(), 10), "{all} {given}");
    assert!(all["canvases"].as_u64() > Some(2), "{all}");
    assert_eq!(all["standard_error_over"], "canvases of one document");

    let path = room("documents").join("a.jsonl");
    let rows: String = (5..8).map(|n| json!({"text": crate::support::story(n)}).to_string() + "\n").collect();
    std::fs::write(&path, rows).unwrap();
    let of = |given: &str| -> Value {
        let arguments = ["eval", "likelihood", "-m", model(), "-d", text(&path), "--format", "json", "--given", given];
        serde_json::from_str(&aquatint(&arguments).expect(0).out).unwrap()
    };
    let (all, given) = (of("0"), of("4"));
    assert_eq!((&all["documents"], tokens(&all) - tokens(&given)), (&3.into(), 12), "{all} {given}");
    assert_eq!(all["standard_error_over"], "documents");
}

#[test]
fn one_canvas_has_no_standard_error() {
    let path = room("one").join("a.txt");
    std::fs::write(&path, "The fox saw.").unwrap();
    let output = aquatint(&["eval", "likelihood", "-m", model(), "-d", text(&path)]).expect(0).out;
    assert!(!output.contains("NaN") && !output.lines().next().unwrap().contains('±'), "{output}");
    assert!(output.contains("error       no standard error, which one canvas does not have\n"), "{output}");
}

#[test]
fn what_was_not_utf8_is_counted() {
    let path = room("latin").join("a.txt");
    std::fs::write(&path, [crate::support::story(20).as_bytes(), b"caf\xe9 \xff"].concat()).unwrap();
    let output = aquatint(&["eval", "likelihood", "-m", model(), "-d", text(&path)]).expect(0);
    let warning = format!(
        "warning: 2 sequences of bytes in `{}` are no text in their encoding and were replaced",
        path.display()
    );
    assert!(output.err.contains(&warning), "{}", output.err);
    assert!(output.out.starts_with("nats/token  "), "{}", output.out);
}

#[test]
fn nothing_to_measure_is_refused() {
    let path = room("nothing").join("a.txt");
    std::fs::write(&path, "").unwrap();
    let output = aquatint(&["eval", "likelihood", "-m", model(), "-d", text(&path), "-q"]).expect(2);
    assert!(output.err.starts_with("error: "), "{}", output.err);
    let output = aquatint(&["eval", "likelihood", "-m", model(), "-d", "nowhere.txt", "-q"]).expect(2);
    assert!(output.err.contains("nowhere.txt"), "{}", output.err);
    let data = room("model").join("valid");
    let output = aquatint(&["eval", "likelihood", "-m", model(), "-d", text(&data), "--where", "lang"]).expect(2);
    assert!(output.err.contains("allowed: FIELD=VALUE"), "{}", output.err);
}

#[cfg(target_os = "linux")]
#[test]
fn a_cache_that_cannot_be_written_is_done_without() {
    let valid = room("uncached").join("text.txt");
    std::fs::write(&valid, crate::support::story(40)).unwrap();
    let mut command = program();
    command.args(["eval", "likelihood", "-m", model(), "-d", text(&valid)]).env("XDG_CACHE_HOME", "/proc/nowhere");
    let output = ProgramOutput::from(command.output().unwrap()).expect(0);
    assert!(output.out.contains("bits/byte"), "{}", output.out);
    assert!(output.err.contains("warning: `/proc/nowhere/aquatint/tokens` cannot be written"), "{}", output.err);
    assert!(output.err.contains("set XDG_CACHE_HOME to a folder that you may write to"), "{}", output.err);
}

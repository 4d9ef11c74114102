//! Causal models: written with, asked for what they cannot do, and measured behind given tokens.

use crate::comparing::trained;
use crate::support::{aquatint, room, text};
use insta::assert_snapshot;
use serde_json::Value;
use std::sync::OnceLock;

/// A small causal model.
fn causal() -> &'static str {
    static MODEL: OnceLock<String> = OnceLock::new();
    MODEL.get_or_init(|| trained("causal", &["objective.kind=causal"]))
}

fn generate(more: &[&str]) -> crate::support::ProgramOutput {
    aquatint(&[&["generate", "-m", causal()], more].concat())
}

#[test]
fn a_causal_model_continues_a_text() {
    let of = |more: &[&str]| -> Value {
        let fixed = ["The fox", "-n", "6", "--seed", "3", "--format", "json"];
        serde_json::from_str(&generate(&[&fixed[..], more].concat()).expect(0).out).unwrap()
    };
    let first = of(&[]);
    assert!(first["text"].as_str().unwrap().starts_with("The fox"), "{first}");
    // One token in each pass, and the rows of the text are read once.
    let (tokens, passes) = (first["tokens"].as_u64().unwrap(), first["forward_passes"].as_u64().unwrap());
    assert!((tokens..=tokens + 1).contains(&passes), "{first}");
    for more in [&["--cache", "none"][..], &["--cache", "exact"], &["--threads", "1"]] {
        assert_eq!(of(more)["text"], first["text"], "{more:?}");
    }
    assert!(of(&["--cache", "none"])["rows_read"].as_u64() > first["rows_read"].as_u64());
    let once = aquatint(&["run", causal(), "The fox", "-n", "6", "--seed", "3"]).expect(0);
    assert_eq!(once.out.trim_end(), first["text"].as_str().unwrap());
    let steps = generate(&["The fox", "-n", "4", "--steps", "2"]).expect(0);
    assert!(steps.err.starts_with("warning: `--steps` has no effect: a causal model"), "{}", steps.err);
}

#[test]
fn text_behind_a_hole_is_refused() {
    assert_snapshot!(generate(&["The [[3]] saw."]).expect(2).err, @"
    error: a causal model writes from left to right and does not see the text behind a hole, which begins at position 4 of the canvas

    hint: put the hole at the end of the text, or choose a diffusion model
    ");
    assert_snapshot!(generate(&["The", "--policy", "margin"]).expect(2).err, @"
    error: `policy` is margin; allowed: auto

    hint: a causal model writes one token after another, each once
    ");
    // A hole behind all text is a continuation.
    assert!(generate(&["The fox [[3]]", "--seed", "1"]).expect(0).out.starts_with("The fox"));
}

#[test]
fn given_tokens_are_not_measured() {
    causal();
    let data = room("causal").join("valid");
    let tokens = |given: &str| {
        let arguments = ["eval", "likelihood", "-m", causal(), "-d", text(&data), "--format", "json", "--given", given];
        let measured: Value = serde_json::from_str(&aquatint(&arguments).expect(0).out).unwrap();
        measured["tokens"].as_u64().unwrap()
    };
    assert_eq!(tokens("0") - tokens("10"), 10);
}

#[test]
fn what_measuring_a_causal_model_does_not_use_is_refused_or_warned_of() {
    causal();
    let data = room("causal").join("valid");
    let measure =
        |more: &[&str]| aquatint(&[&["eval", "likelihood", "-m", causal(), "-d", text(&data)], more].concat());
    let flow = measure(&["--flow", "4"]).expect(2).err;
    assert!(flow.contains("error: the process of a causal model has no probability flow"), "{flow}");
    let samples = measure(&["--samples", "3"]).expect(0).err;
    assert!(samples.contains("warning: `--samples` has no effect: a causal model"), "{samples}");
}

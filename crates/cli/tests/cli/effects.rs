//! No flag is ignored in silence: each is obeyed, refused, or said to have no effect.

use crate::support::{aquatint, model, program};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// What becomes of a flag that can change nothing.
enum Effect {
    /// There is no such case.
    Always,
    /// A warning that begins so, for these arguments.
    Warned(&'static [&'static str], &'static str),
    /// A refusal with these words, for these arguments.
    Refused(&'static [&'static str], &'static str),
}

use Effect::{Always, Refused, Warned};

/// Every flag of `generate` and `run`.
const FLAGS: [(&str, Effect); 82] = [
    ("--prompt", Always),
    ("--tokens", Always),
    ("--count", Always),
    ("--layout", Always),
    ("--model", Always),
    ("--format", Always),
    ("--trace", Always),
    ("--text-out", Always),
    ("--sign-cert", Always),
    ("--sign-key", Always),
    ("--sign-prompt", Always),
    ("--abstain", Always),
    ("--help", Always),
    ("--version", Always),
    ("--quiet", Always),
    ("--verbose", Always),
    ("--color", Always),
    ("--max-tokens", Warned(&["The [[4]] saw.", "-n", "9"], "the template says how many tokens are open")),
    (
        "--steps",
        Warned(
            &["The [[4]] saw.", "--policy", "first-hitting", "--steps", "2"],
            "the policy first-hitting takes 4 steps for 4 open positions",
        ),
    ),
    ("--block-length", Warned(&["The [[4]] saw.", "--block-length", "8"], "4 open positions are one block of 4")),
    ("--policy", Warned(&["The [[1]] saw.", "--policy", "margin"], "each block is filled in one step")),
    ("--threshold", Warned(&["The [[1]] saw.", "--threshold", "0.5"], "each block is filled in one step")),
    ("--entropy-bound", Warned(&["The [[1]] saw.", "--entropy-bound", "1"], "each block is filled in one step")),
    (
        "--remasking",
        Warned(
            &["The [[4]] saw.", "--policy", "last", "--remasking", "cap:0.5"],
            "nothing is committed before the last step",
        ),
    ),
    ("--temperature", Warned(&["The [[4]] saw.", "--top-k", "1", "--temperature", "2"], "top-k 1 leaves one token")),
    (
        "--final-temperature",
        Warned(&["The [[1]] saw.", "--final-temperature", "0.5"], "each block is filled in one step"),
    ),
    (
        "--min-p",
        Warned(&["The [[4]] saw.", "--min-p", "0.5", "--temperature", "0"], "temperature 0 takes the likeliest"),
    ),
    ("--top-k", Warned(&["The [[4]] saw.", "--top-k", "9", "--temperature", "0"], "temperature 0 takes the likeliest")),
    (
        "--top-p",
        Warned(&["The [[4]] saw.", "--top-p", "0.5", "--temperature", "0"], "temperature 0 takes the likeliest"),
    ),
    (
        "--repetition-penalty",
        Warned(&["[[1]]", "--repetition-penalty", "2"], "no token is on the canvas before the last step"),
    ),
    (
        "--presence-penalty",
        Warned(&["[[1]]", "--presence-penalty", "1"], "no token is on the canvas before the last step"),
    ),
    (
        "--frequency-penalty",
        Warned(&["[[1]]", "--frequency-penalty", "1"], "no token is on the canvas before the last step"),
    ),
    // The mask.
    ("--logit-bias", Warned(&["The [[4]] saw.", "--logit-bias", "0=5"], "none of its tokens is ever written here")),
    (
        "--suppress-tokens",
        Warned(&["The [[4]] saw.", "--suppress-tokens", "0"], "none of its tokens is ever written here"),
    ),
    ("--defer-tokens", Warned(&["The [[1]] saw.", "--defer-tokens", "9"], "each block is filled in one step")),
    (
        "--confidence-of",
        Warned(&["The [[4]] saw.", "--confidence-of", "shaped", "--temperature", "1"], "nothing shapes the prediction"),
    ),
    ("--end-token", Warned(&["The [[4]] saw.", "--end-token", "9"], "no span may end early")),
    ("--stop-at", Warned(&["The [[4]] saw.", "--stop-at", "block"], "no span may end early")),
    (
        "--edit-threshold",
        Warned(&["The [[1]] saw.", "--edit-threshold", "0.5", "--edit-steps", "0"], "each block is filled in one step"),
    ),
    ("--edit-steps", Warned(&["The [[4]] saw.", "--edit-steps", "3"], "nothing is edited at an edit threshold of 1")),
    (
        "--delete-token",
        Warned(
            &["The [[4]] saw.", "--delete-token", "290", "--insert-token", "291"],
            "nothing is edited at an edit threshold of 1, and they are never written",
        ),
    ),
    (
        "--insert-token",
        Warned(
            &["The [[4]] saw.", "--delete-token", "290", "--insert-token", "291"],
            "nothing is edited at an edit threshold of 1, and they are never written",
        ),
    ),
    (
        "--counting",
        Warned(
            &["The [[4]] saw.", "--steps", "2", "--counting", "even"],
            "each step leaves as many positions open as the schedule says",
        ),
    ),
    ("--end-time", Warned(&["The [[1]] saw.", "--end-time", "0.1"], "each block is filled in one step")),
    (
        "--leads",
        Warned(&["The [[1]] saw.", "--leads", "true"], "no block of several steps begins with an open position"),
    ),
    ("--blocks-from", Warned(&["The [[4]] saw.", "--blocks-from", "hole"], "the model's attention has no blocks")),
    (
        "--self-speculation",
        Refused(
            &["The [[4]] saw.", "--self-speculation", "true"],
            "`self_speculation` is true; allowed: false, unless the model can verify its drafts",
        ),
    ),
    (
        "--unconditional-prompt",
        Warned(&["The [[4]] saw.", "--unconditional-prompt", "9"], "guidance scale 1 reads no unconditional branch"),
    ),
    (
        "--classifier-target",
        Refused(
            &["The [[4]] saw.", "--classifier-target", "A"],
            "`classifier_target` is other tokens; allowed: what the text begins with",
        ),
    ),
    ("--classifier-scale", Warned(&["The [[4]] saw.", "--classifier-scale", "2"], "no classifier target is named")),
    (
        "--classifier-method",
        Warned(&["The [[4]] saw.", "--classifier-method", "first-order"], "no classifier target is named"),
    ),
    (
        "--classifier-candidates",
        Warned(&["The [[4]] saw.", "--classifier-candidates", "2"], "no classifier target is named"),
    ),
    ("--guidance-scale", Warned(&["[[4]]", "--guidance-scale", "2"], "nothing is given")),
    ("--cfg-scale", Warned(&["[[4]]", "--cfg-scale", "1"], "nothing is given")),
    ("--cache", Warned(&["[[4]]", "--cache", "prefix"], "the prefix cache holds what stands before a block")),
    (
        "--cache-refresh",
        Warned(&["The [[4]] saw.", "--cache", "dual", "--cache-refresh", "9"], "no block has more than 4 steps"),
    ),
    (
        "--churn",
        Refused(&["The [[4]] saw.", "--churn", "0.5"], "`churn` is 0.5; allowed: nothing, since the process masked"),
    ),
    (
        "--correctors",
        Refused(
            &["The [[4]] saw.", "--correctors", "2"],
            "`correctors` is 2; allowed: nothing, since the process masked",
        ),
    ),
    (
        "--revise",
        Refused(&["The [[4]] saw.", "--revise"], "`revise` is true; allowed: nothing, since the process masked"),
    ),
    (
        "--commit-likeliest",
        Warned(
            &["The [[4]] saw.", "--commit-likeliest", "true", "--temperature", "0"],
            "temperature 0 takes the likeliest token",
        ),
    ),
    (
        "--stability-threshold",
        Warned(&["The [[1]] saw.", "--stability-threshold", "2"], "each block is filled in one step"),
    ),
    (
        "--confidence-threshold",
        Warned(&["The [[1]] saw.", "--confidence-threshold", "0.5"], "each block is filled in one step"),
    ),
    (
        "--picture-out",
        Refused(&["The [[4]] saw.", "--picture-out", "fox.png"], "allowed: with a picture that is to be made"),
    ),
    ("--sound-out", Refused(&["The [[4]] saw.", "--sound-out", "owl.wav"], "allowed: with a sound that is to be made")),
    ("--media-steps", Warned(&["The [[4]] saw.", "--media-steps", "4"], "no picture and no sound is to be made")),
    ("--media-temperature", Warned(&["The [[4]] saw.", "--media-temperature", "1"], "no picture and no sound")),
    ("--media-guidance-scale", Warned(&["The [[4]] saw.", "--media-guidance-scale", "2"], "no picture and no sound")),
    // What a text is held to, it is held to under all settings.
    ("--regex", Always),
    ("--json-schema", Always),
    ("--grammar", Always),
    ("--molecule", Always),
    // Needs a file: `watermarks.rs` says when it has no effect.
    ("--watermark", Always),
    // These need files: `guards.rs` says what they refuse.
    ("--guard", Always),
    ("--novel", Always),
    ("--novel-run", Always),
    ("--repairs", Warned(&["The [[4]] saw.", "--repairs", "2"], "there is no guard")),
    // The same seed gives the same text, also where nothing is drawn.
    ("--seed", Always),
    ("--device", Always),
    ("--precision", Always),
    ("--expert-memory", Warned(&["The [[4]] saw.", "--expert-memory", "16"], "no experts in ")),
    ("--graphs", Warned(&["The [[4]] saw.", "--graphs", "--device", "cpu"], "the device is cpu")),
    ("--threads", Warned(&["The [[4]] saw.", "--threads", "2", "--device", "cpu-scalar"], "the device is cpu, scalar")),
];

/// The flags that a command's help names.
fn flags(command: &str) -> BTreeSet<String> {
    let help = aquatint(&[command, "--help"]).expect(0).out;
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let names = lines.flat_map(|line| line.split([' ', ',', '=', '[']).find(|word| word.starts_with("--")));
    names.map(str::to_owned).collect()
}

#[test]
fn every_flag_of_generation_is_in_the_table() {
    let table: BTreeSet<String> = FLAGS.iter().map(|(flag, _)| (*flag).to_owned()).collect();
    assert_eq!(table, &flags("generate") | &flags("run"), "a new flag needs an answer to when it has no effect");
}

#[test]
fn a_flag_without_effect_is_refused_or_warned_of_once() {
    for (flag, effect) in &FLAGS {
        let run = |command: &str, arguments: &[&str]| match command {
            "generate" => aquatint(&[&["generate", "-m", model(), "-s", "1"], arguments].concat()),
            _ => aquatint(&[&["run", model(), "-s", "1"], arguments].concat()),
        };
        for command in ["generate", "run"] {
            match effect {
                Always => {}
                Warned(arguments, reason) => {
                    let output = run(command, arguments).expect(0);
                    let warning = format!("warning: `{flag}` has no effect: {reason}");
                    assert_eq!(output.err.matches(&warning).count(), 1, "{command} {arguments:?}: {}", output.err);
                }
                Refused(arguments, reason) => {
                    let output = run(command, arguments).expect(2);
                    assert!(output.err.contains(reason), "{command} {arguments:?}: {}", output.err);
                }
            }
        }
    }
}

#[test]
fn a_warning_names_only_what_was_typed() {
    let advised = aquatint(&["generate", "The [[4]] saw.", "-m", model(), "-s", "1"]).expect(0);
    assert!(!advised.err.contains("warning"), "64 steps are a default here: {}", advised.err);
}

#[test]
fn steps_are_a_bound_under_every_policy_or_said_to_be_none() {
    let policies = [
        "auto",
        "confidence",
        "margin",
        "entropy",
        "random",
        "ancestral",
        "first-hitting",
        "threshold:0.99",
        "threshold:0",
        "entropy-bound:0",
        "entropy-bound:9",
        "last",
    ];
    for policy in policies {
        for steps in [1, 3, 8, 20] {
            for remasking in ["none", "cap:0.3"] {
                let number = steps.to_string();
                let fixed = ["generate", "The [[8]] saw.", "-m", model(), "-s", "1", "--format", "json"];
                let more = ["--policy", policy, "--steps", &number, "--remasking", remasking];
                let output = aquatint(&[&fixed[..], &more].concat()).expect(0);
                let outcome: Value = serde_json::from_str(&output.out).unwrap();
                let passes = outcome["forward_passes"].as_u64().unwrap();
                let is_ignored = output.err.contains("warning: `--steps` has no effect");
                assert!(passes <= steps || is_ignored, "{policy}, {steps} steps: {passes} passes, {}", output.err);
                let expected = match (policy, remasking) {
                    ("first-hitting", "none") => steps != 8,
                    ("ancestral" | "last", _) | (_, "cap:0.3") => false,
                    _ => steps > 8,
                };
                assert_eq!(is_ignored, expected, "{policy}, {steps} steps, {remasking}: {}", output.err);
            }
        }
    }
}

#[test]
fn numbers_beyond_all_use_are_refused_at_once() {
    let refused =
        |arguments: &[&str]| aquatint(&[&["generate", "-m", model(), "The fox"], arguments].concat()).expect(2).err;
    assert!(refused(&["--threads", "100000"]).starts_with("error: `threads` is 100000; allowed: 1 to 1024\n"));
    let steps = refused(&["--steps", "1000000000000", "--policy", "ancestral"]);
    assert!(steps.starts_with("error: `steps` is 1000000000000; allowed: 1 to 1000000 on this canvas\n"), "{steps}");
    let long = refused(&["-n", "4000000000"]);
    assert!(long.contains("the model reads at most 32") && long.contains("ask for at most"), "{long}");
}

#[test]
fn the_server_says_what_has_no_effect_on_its_model() {
    let mut command = program();
    command.args(["serve", "-m", model(), "--port", "0", "--no-page", "--expert-memory", "5"]).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let lines = BufReader::new(child.stderr.take().expect("there is a pipe")).lines().map(Result::unwrap);
    let before: Vec<String> = lines.take_while(|line| !line.starts_with("listening on ")).collect();
    child.kill().and_then(|()| child.wait()).expect("it ends");
    assert!(before.iter().any(|line| line.starts_with("warning: `--expert-memory` has no effect: no")), "{before:?}");
}

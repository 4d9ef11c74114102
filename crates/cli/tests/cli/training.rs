//! `train`: what it prints, what it leaves, and how it is interrupted.

use crate::support::{Seen, aquatint, program, recipe, room, text};

#[test]
fn a_run_prints_its_recipe_and_figures_and_leaves_a_model() {
    let path = recipe("run");
    let seen = aquatint(&["train", text(&path), "--threads", "1", "--set", "run.steps=3"]).expect(0);
    let run = room("run").join("run");
    assert_eq!(seen.out.trim_end(), text(&run));
    for line in ["[optimiser]", "corpus: ", "network: ", "step 3  loss ", "step 3  held out: ", "done: step 3, "] {
        assert!(seen.err.lines().any(|seen| seen.starts_with(line)), "no line {line:?} in\n{}", seen.err);
    }
    let files = ["config.json", "model.safetensors", "tokenizer.json", "generation_config.json", "metrics.jsonl"];
    for file in files {
        assert!(run.join(file).is_file(), "no {file}");
    }
    let shown = aquatint(&["show", text(&run)]).expect(0).out;
    assert!(shown.contains("network     1 layers, width 16, feed-forward 32"), "{shown}");

    let more = aquatint(&["train", text(&path), "--resume", "--set", "run.steps=5", "-q"]).expect(0);
    assert_eq!(more.err, "");
}

#[test]
fn a_dry_run_prints_the_whole_recipe_and_leaves_nothing() {
    let path = recipe("dry");
    let seen = aquatint(&["train", text(&path), "--dry-run", "--set", "run.steps=7"]).expect(0);
    for line in ["steps = 7", "[optimiser]", "feed_forward_width = 32"] {
        assert!(seen.out.lines().any(|seen| seen == line), "no line {line:?} in\n{}", seen.out);
    }
    assert_eq!(seen.err, "");
    assert!(!room("dry").join("run").exists());
    // What is printed is a recipe, and the same one.
    let printed = room("dry").join("printed.toml");
    std::fs::write(&printed, &seen.out).unwrap();
    assert_eq!(aquatint(&["train", text(&printed), "--dry-run"]).expect(0).out, seen.out);
}

#[test]
fn another_folder_can_be_asked_for() {
    let path = recipe("elsewhere");
    let out = room("elsewhere").join("other");
    let seen = aquatint(&["train", text(&path), "--out", text(&out), "--set", "run.steps=1", "-q"]).expect(0);
    assert_eq!(seen.out.trim_end(), text(&out));
    assert!(out.join("model.safetensors").is_file() && !room("elsewhere").join("run").exists());
}

#[test]
fn bytes_that_are_no_utf8_are_counted() {
    let path = recipe("bytes");
    let file = room("bytes").join("train").join("b.txt");
    std::fs::write(file, b"The caf\xe9 was shut.").unwrap();
    let seen = aquatint(&["train", text(&path), "--set", "run.steps=1"]).expect(0);
    assert!(seen.err.contains("warning: 1 byte of the corpus was no UTF-8"), "{}", seen.err);
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_the_run_goes_on() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let path = recipe("interrupted");
    let arguments = ["train", text(&path), "--set", "run.steps=1000000", "--set", "run.log_every=1"];
    let mut child = program().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("step 2 ")), "the run does not begin");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let last: Vec<String> = lines.collect();
    let seen = Seen::from(child.wait_with_output().unwrap());
    assert_eq!(seen.code, 1, "{last:#?}");
    let error = last.iter().find(|line| line.starts_with("error: ")).expect("an interruption is told");
    assert!(error.starts_with("error: interrupted at step ") && error.ends_with("; the run is saved"), "{error}");
    assert!(last.last().unwrap().ends_with("--resume goes on"), "{last:#?}");

    let step: u64 = error.split(' ').nth(4).unwrap().trim_end_matches(';').parse().unwrap();
    let steps = format!("run.steps={}", step + 2);
    let seen = aquatint(&["train", text(&path), "--resume", "--set", &steps]).expect(0);
    assert!(seen.err.contains(&format!("done: step {}", step + 2)), "{}", seen.err);
}

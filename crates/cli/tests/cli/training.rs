//! `train`: what it prints, what it leaves, and how it is interrupted.

use crate::support::{ProgramOutput, aquatint, program, recipe, room, text};

#[test]
fn a_run_prints_its_recipe_and_figures_and_leaves_a_model() {
    let path = recipe("run");
    let output = aquatint(&["train", text(&path), "--threads", "1", "--set", "run.steps=3"]).expect(0);
    let run = room("run").join("run");
    assert_eq!(output.out.trim_end(), text(&run));
    for line in [
        "[optimiser]",
        "data.train: 1 document in ",
        "corpus: 1 document, ",
        "network: ",
        "step 3  loss ",
        "step 3  held out: ",
        "done: step 3, ",
    ] {
        assert!(output.err.lines().any(|output| output.starts_with(line)), "no line {line:?} in\n{}", output.err);
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
    let output = aquatint(&["train", text(&path), "--dry-run", "--set", "run.steps=7"]).expect(0);
    for line in ["steps = 7", "[optimiser]", "feed_forward_width = 32"] {
        assert!(output.out.lines().any(|output| output == line), "no line {line:?} in\n{}", output.out);
    }
    assert_eq!(output.err, "");
    assert!(!room("dry").join("run").exists());
    // What is printed is a recipe, and the same one.
    let printed = room("dry").join("printed.toml");
    std::fs::write(&printed, &output.out).unwrap();
    assert_eq!(aquatint(&["train", text(&printed), "--dry-run"]).expect(0).out, output.out);
}

#[test]
fn another_folder_can_be_requested() {
    let path = recipe("elsewhere");
    let out = room("elsewhere").join("other");
    let output = aquatint(&["train", text(&path), "--out", text(&out), "--set", "run.steps=1", "-q"]).expect(0);
    assert_eq!(output.out.trim_end(), text(&out));
    assert!(out.join("model.safetensors").is_file() && !room("elsewhere").join("run").exists());
}

#[test]
fn bytes_that_are_no_utf8_are_counted() {
    let path = recipe("bytes");
    let file = room("bytes").join("train").join("b.txt");
    std::fs::write(file, b"The caf\xe9 was shut.").unwrap();
    let output = aquatint(&["train", text(&path), "--set", "run.steps=1"]).expect(0);
    assert!(output.err.contains("warning: 1 sequence of bytes in `"), "{}", output.err);
    assert!(output.err.contains("is no text in its encoding and was replaced by U+FFFD"), "{}", output.err);
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
    let output = ProgramOutput::from(child.wait_with_output().unwrap());
    assert_eq!(output.code, 1, "{last:#?}");
    let error = last.iter().find(|line| line.starts_with("error: ")).expect("an interruption is told");
    assert!(error.starts_with("error: interrupted at step ") && error.ends_with("; the run is saved"), "{error}");
    let goes_on = format!(
        "hint: aquatint train {} --set 'run.steps=1000000' --set 'run.log_every=1' --resume goes on",
        path.display()
    );
    assert_eq!(*last.last().unwrap(), goes_on);

    let step: u64 = error.split(' ').nth(4).unwrap().trim_end_matches(';').parse().unwrap();
    let steps = format!("run.steps={}", step + 2);
    let output = aquatint(&["train", text(&path), "--resume", "--set", &steps]).expect(0);
    assert!(output.err.contains(&format!("done: step {}", step + 2)), "{}", output.err);
}

/// Starts each rank as a process of its own, as a launcher does; what each printed.
pub(crate) fn ranks(recipe: &std::path::Path, size: usize, more: &[&str]) -> Vec<std::process::Output> {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let start = |rank: usize| {
        let mut command = program();
        command.args(["train", text(recipe), "--threads", "1"]).args(more);
        command.env("RANK", rank.to_string()).env("WORLD_SIZE", size.to_string());
        command.env("LOCAL_WORLD_SIZE", size.to_string()).env("LOCAL_RANK", rank.to_string());
        command.env("MASTER_PORT", port.to_string());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    let started: Vec<_> = (0..size).map(start).collect();
    started.into_iter().map(|child| child.wait_with_output().unwrap()).collect()
}

/// The losses of a run's folder.
fn losses(folder: &std::path::Path) -> Vec<f64> {
    let lines = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let values = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    values.filter_map(|value| value["loss"].as_f64()).collect()
}

#[test]
fn processes_that_share_their_batches_have_the_loss_of_one() {
    let path = recipe("ranks");
    let set = ["--set", "run.steps=6", "--set", "run.log_every=1", "--set", "optimiser.batch=4"];
    let alone = room("ranks").join("alone");
    let arguments: Vec<&str> = ["train", text(&path), "--out", text(&alone)].into_iter().chain(set).collect();
    aquatint(&arguments).expect(0);
    let expected = losses(&alone);
    assert_eq!(expected.len(), 6);
    for size in [2, 4] {
        let folder = room("ranks").join(size.to_string());
        let more: Vec<&str> = ["--out", text(&folder)].into_iter().chain(set).collect();
        let output = ranks(&path, size, &more);
        for (rank, output) in output.iter().enumerate() {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(output.stdout.is_empty(), rank > 0, "only the first rank speaks");
        }
        for (got, expected) in losses(&folder).iter().zip(&expected) {
            assert!((got - expected).abs() < 1e-3 * expected, "{size} ranks: {got}, not {expected}");
        }
    }
}

#[test]
fn a_rank_with_another_recipe_is_refused() {
    let path = recipe("other-ranks");
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let start = |rank: &str, seed: &str| {
        let mut command = program();
        command.args(["train", text(&path), "-q", "--set", seed]).env("RANK", rank).env("WORLD_SIZE", "2");
        command.env("MASTER_PORT", port.to_string()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    for (child, expected) in [(start("0", "seed=1"), "rank 1 has another recipe"), (start("1", "seed=2"), "refuses")] {
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && error.contains(expected), "{error}");
        assert!(error.contains("hint: start all ranks with the same program"), "{error}");
    }
    let mut alone = program();
    alone.args(["train", text(&path)]).env("RANK", "3").env("WORLD_SIZE", "2");
    let error = String::from_utf8_lossy(&alone.output().unwrap().stderr).into_owned();
    assert!(error.contains("`RANK` is \"3\"; allowed: 0 to 1"), "{error}");
}

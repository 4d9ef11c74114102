//! What cannot work ends with exit code 2 (a full disk with 1), a message and a hint, and nothing half-written.

use crate::support::{aquatint, copy_of_model, model, recipe, room, text};
use std::fs;

/// Runs the program, which has to refuse, and returns its words with the room's path taken out.
#[track_caller]
fn refused(arguments: &[&str]) -> String {
    let output = aquatint(arguments).expect(2);
    assert_eq!(output.out, "", "a refusal prints no data");
    output.err.replace(text(room("").as_path()).trim_end_matches('/'), "ROOM")
}

#[test]
fn a_model_that_is_not_there() {
    assert_eq!(
        refused(&["show", "nowhere"]),
        "error: no checkpoint `nowhere`: it is neither a folder here nor a built-in model (built in: tales)\n\nhint: give \
         the path of a folder with config.json and model.safetensors\n"
    );
    let path = recipe("pulled");
    assert!(
        refused(&["train", text(&path), "--set", "initial=\"somebody/model\""])
            .ends_with("hint: `aquatint pull somebody/model` downloads it, if it is a model of the Hugging Face Hub\n")
    );
    let prompt = refused(&["run", "Once upon a time"]);
    assert!(
        prompt.ends_with("hint: to complete a text, name the model first: aquatint run tales \"Once upon a time\"\n")
    );
}

#[test]
fn a_checkpoint_without_weights() {
    let folder = copy_of_model("missing");
    fs::remove_file(folder.join("model.safetensors")).unwrap();
    let words = refused(&["generate", "a", "-m", text(&folder)]);
    assert!(words.starts_with("error: `ROOM/missing/model.safetensors") && words.contains("\n\nhint: "), "{words}");
}

#[test]
fn a_checkpoint_cut_short() {
    let folder = copy_of_model("short");
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
    let words = refused(&["generate", "a", "-m", text(&folder)]);
    assert!(
        words.starts_with("error: `ROOM/short/model.safetensors` has ") && words.contains("fetch it again"),
        "{words}"
    );
}

#[test]
fn a_checkpoint_of_another_type() {
    let folder = copy_of_model("type");
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let at = bytes.windows(6).position(|window| window == b"\"BF16\"").expect("the model is kept in bf16");
    let changed = [&bytes[..at], b"\"I16\" ", &bytes[at + 6..]].concat();
    fs::write(&path, changed).unwrap();
    let words = refused(&["generate", "a", "-m", text(&folder)]);
    assert!(words.contains("is of type I16; allowed: F64, F32, F16, BF16"), "{words}");
}

#[test]
fn a_prompt_longer_than_the_context() {
    assert_eq!(
        refused(&["generate", "The fox", "-m", model(), "-n", "40"]).lines().last(),
        Some("hint: ask for at most 30 open positions (`max_tokens`), or shorten the given text")
    );
    let long = "The fox saw the owl. ".repeat(20);
    assert!(refused(&["generate", &long, "-m", model()]).ends_with("hint: shorten the given text\n"));
}

#[test]
fn a_negative_number_is_a_value_and_no_flag() {
    let steps = refused(&["generate", "The [[12]].", "-m", model(), "--steps", "-3"]);
    assert!(
        steps.starts_with("error: invalid value '-3' for '--steps <N>': allowed: a whole number, 0 or more\n"),
        "{steps}"
    );
    let port = refused(&["serve", "--port", "-1"]);
    assert!(
        port.starts_with("error: invalid value '-1' for '--port <PORT>': allowed: a whole number from 0 to 65535\n"),
        "{port}"
    );
}

#[test]
fn numbers_that_are_none_are_refused_with_what_is_allowed() {
    let of = |flag: &str, value: &str| refused(&["generate", "The [[12]].", "-m", model(), flag, value]);
    for (flag, value, allowed) in [
        ("--steps", "many", "a whole number, 0 or more"),
        ("--seed", "-1", "a whole number, 0 or more"),
        ("--expert-memory", "1.5", "a whole number, 0 or more"),
        ("--delete-token", "4294967296", "a whole number from 0 to 4294967295"),
        ("--temperature", "warm", "a number such as 0.5"),
    ] {
        let words = of(flag, value);
        assert!(words.contains(&format!("invalid value '{value}' for '{flag} <")), "{words}");
        assert!(words.contains(&format!(">': allowed: {allowed}\n")), "{words}");
    }
}

#[test]
fn settings_that_cannot_be() {
    let of = |flag: &str, value: &str| refused(&["generate", "The [[12]].", "-m", model(), flag, value]);
    assert_eq!(
        of("--block-length", "0"),
        "error: `block_length` is 0; allowed: 1 or more\n\nhint: leave it out to fill all positions together\n"
    );
    assert_eq!(
        refused(&["generate", "The [[12]].", "-m", model(), "--edit-threshold", "0.9", "--edit-steps", "100001"]),
        "error: `edit_steps` is 100001; allowed: from 0 to 100000\n"
    );
    assert_eq!(
        of("--remasking", "low_confidence"),
        "error: unknown remasking `low_confidence`\n\nhint: what LLaDA calls remasking chooses what to commit and takes \
         nothing back: --policy confidence\n"
    );
    assert_eq!(
        of("--temperature", "-1"),
        "error: `temperature` is -1; allowed: 0 or more\n\nhint: 0 takes the likeliest token\n"
    );
    assert!(of("--policy", "best").starts_with("error: `policy` is \"best\"; allowed: confidence, "));
    assert!(of("--threads", "0").starts_with("error: `threads` is 0; allowed: 1 to 1024\n\nhint: "));
    assert!(refused(&["generate", "a", "--precision", "f64", "--device", "cpu"]).contains("--device cpu-scalar"));
    assert!(refused(&["generate", "a", "--tempo", "1"]).starts_with("error: unexpected argument '--tempo' found"));
}

#[test]
fn a_template_that_is_not_understood_is_shown_with_a_caret() {
    assert_eq!(
        refused(&["generate", "The [[x]] sat.", "-m", model()]).lines().take(3).collect::<Vec<_>>(),
        ["error: the hole is not understood (column 5 of the template)", "  The [[x]] sat.", "      ^^^^^"]
    );
    assert!(
        refused(&["generate", "A fox. [[picture]]", "-m", model()])
            .contains("this model has no pictures; allowed: text")
    );
}

#[test]
fn recipes_that_cannot_be_followed() {
    let path = recipe("recipes");
    let of = |set: &str| refused(&["train", text(&path), "--set", set]);
    let unknown = of("run.stepps=3");
    assert!(unknown.starts_with("error: `ROOM/recipes/recipe.toml` is no usable recipe\n"), "{unknown}");
    assert!(unknown.contains("unknown field `stepps`, expected one of `steps`"), "{unknown}");
    assert!(of("steps").ends_with("expected key=value\n\nhint: for example run.steps=100\n"));
    let schedule = of("objective.schedule=polynomial:-1");
    assert!(schedule.ends_with("\n\nhint: `polynomial` takes a number above 0\n"), "{schedule}");
    assert_eq!(schedule.matches("takes a number").count(), 1, "{schedule}");
    assert!(of("run.device=tpu").starts_with("error: `run.device` is \"tpu\"; allowed: auto, cpu, cpu-scalar"));
    assert!(refused(&["train", "nowhere.toml"]).starts_with("error: could not read the recipe `nowhere.toml`"));
    assert!(refused(&["train", text(&path), "--resume"]).contains("holds no run to resume"));
    assert!(!room("recipes").join("run").join("model.safetensors").exists());
}

#[test]
fn a_corpus_without_text() {
    let path = recipe("empty");
    fs::write(room("empty").join("train").join("a.txt"), "").unwrap();
    // What comes before the refusal is progress.
    let output = aquatint(&["train", text(&path), "-q"]).expect(2);
    assert!(output.err.starts_with("error: ") && !output.err.contains("panicked"), "{}", output.err);
    fs::remove_file(room("empty").join("train").join("a.txt")).unwrap();
    let output = aquatint(&["train", text(&path), "-q"]).expect(2);
    assert!(output.err.starts_with("error: there is no file of text, JSON lines or Parquet under"), "{}", output.err);
}

#[test]
fn a_run_is_never_overwritten() {
    let path = room("model").join("recipe.toml");
    let _ = model();
    let words = refused(&["train", text(&path), "-q"]);
    assert!(words.contains("already holds a run at step 6") && words.contains("\n\nhint: "), "{words}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = crate::support::program().args(["show", model()]).stdout(full).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.starts_with("error: could not write to standard output\n  caused by: "), "{words}");
    assert!(words.contains("hint: the disk is full"), "{words}");

    let output = aquatint(&["generate", "The [[2]].", "-m", model(), "--trace", "/dev/full"]).expect(1);
    assert!(
        output.err.starts_with("error: could not write `/dev/full`") && output.out.starts_with("The "),
        "{}",
        output.err
    );
}

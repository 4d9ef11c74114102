//! The screens: help, and the output of the commands that only report.

use crate::support::{aquatint, model, text};
use insta::assert_snapshot;

/// The help of a command, without blanks at the ends of lines.
fn help_of(arguments: &[&str]) -> String {
    let output = aquatint(&[arguments, &["--help"]].concat()).expect(0);
    output.out.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[test]
fn help() {
    assert_snapshot!("help", help_of(&[]));
    let commands = [
        "run",
        "generate",
        "watermark-key",
        "detect",
        "guard-classifier",
        "eval answers",
        "eval guard",
        "eval bias",
        "train",
        "eval likelihood",
        "eval codec",
        "eval spans",
        "bench",
        "quantize",
        "merge",
        "pull",
        "rm",
        "show",
        "list",
        "doctor",
        "completions",
    ];
    for command in commands {
        assert_snapshot!(format!("help {command}").replace(' ', "_"), help_of(&command.split(' ').collect::<Vec<_>>()));
    }
}

#[test]
fn no_command_shows_help_and_is_an_error() {
    let output = aquatint(&[]).expect(2);
    assert!(output.err.contains("Usage: aquatint"), "{}", output.err);
}

#[test]
fn the_version_is_data() {
    assert_eq!(aquatint(&["--version"]).expect(0).out, format!("aquatint {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn show_tells_what_a_model_is() {
    let shown = aquatint(&["show", model()]).expect(0).out.replace(model(), "MODEL");
    assert_snapshot!("show", shown);
    let object: serde_json::Value =
        serde_json::from_str(&aquatint(&["show", model(), "--format", "json"]).expect(0).out).unwrap();
    assert_eq!(object["config"]["hidden_size"], 16);
}

#[test]
fn list_finds_models_in_folders_and_says_what_is_broken() {
    let folder = crate::support::room("listed");
    let copy = crate::support::copy_of_model("listed/good");
    std::fs::create_dir_all(folder.join("bad")).unwrap();
    std::fs::write(folder.join("bad").join("config.json"), "{").unwrap();
    let output = aquatint(&["list", text(&folder)]).expect(0);
    assert!(output.out.lines().any(|line| line.starts_with(text(&copy))), "{}", output.out);
    assert!(output.out.starts_with("NAME ") && output.out.contains("\ntales "), "{}", output.out);
    assert!(output.err.starts_with("warning: ") && output.err.contains("bad"), "{}", output.err);
}

#[test]
fn list_refuses_a_folder_that_is_not_there() {
    let missing = crate::support::room("listed-nowhere").join("none");
    let output = aquatint(&["list", text(&missing)]).expect(2);
    assert!(
        output.out.is_empty() && output.err.contains(&format!("could not read `{}`", text(&missing))),
        "{}",
        output.err
    );
}

#[test]
fn list_passes_over_codecs_which_are_parts_of_models() {
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let output = aquatint(&["list", text(&models)]).expect(0);
    assert!(output.out.contains("models/tales-16m ") && !output.out.contains("models/sounds"), "{}", output.out);
    assert_eq!(output.err, "");
}

#[test]
fn doctor_says_which_path_is_taken_and_why() {
    let output = aquatint(&["doctor"]).expect(0);
    for name in ["processor", "paths", "threads", "memory", "device", "precision", "model"] {
        assert!(output.out.lines().any(|line| line.starts_with(name)), "no {name} in\n{}", output.out);
    }
    assert!(output.out.contains(": this processor has"), "{}", output.out);
    let object: serde_json::Value =
        serde_json::from_str(&aquatint(&["doctor", "--format", "json"]).expect(0).out).unwrap();
    assert_eq!(object["healthy"], true);
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = aquatint(&["completions", shell]).expect(0).out;
        assert!(script.contains("aquatint") && script.contains("block-length"), "{shell}");
    }
}

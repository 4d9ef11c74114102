//! The screens: help, and what the commands that only tell have to say.

use crate::support::{aquatint, model, text};
use insta::assert_snapshot;

/// The help of a command, without blanks at the ends of lines.
fn help_of(arguments: &[&str]) -> String {
    let seen = aquatint(&[arguments, &["--help"]].concat()).expect(0);
    seen.out.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[test]
fn help() {
    assert_snapshot!("help", help_of(&[]));
    for command in ["run", "generate", "train", "eval likelihood", "quantize", "show", "list", "doctor", "completions"]
    {
        assert_snapshot!(format!("help {command}").replace(' ', "_"), help_of(&command.split(' ').collect::<Vec<_>>()));
    }
}

#[test]
fn no_command_shows_help_and_is_an_error() {
    let seen = aquatint(&[]).expect(2);
    assert!(seen.err.contains("Usage: aquatint"), "{}", seen.err);
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
    let seen = aquatint(&["list", text(&folder)]).expect(0);
    assert!(seen.out.lines().any(|line| line.starts_with(text(&copy))), "{}", seen.out);
    assert!(seen.out.starts_with("NAME ") && seen.out.contains("\ntales "), "{}", seen.out);
    assert!(seen.err.starts_with("warning: ") && seen.err.contains("bad"), "{}", seen.err);
}

#[test]
fn doctor_says_which_path_is_taken_and_why() {
    let seen = aquatint(&["doctor"]).expect(0);
    for name in ["processor", "paths", "threads", "memory", "device", "precision", "model"] {
        assert!(seen.out.lines().any(|line| line.starts_with(name)), "no {name} in\n{}", seen.out);
    }
    // Which precision it is depends on the processor; that it is told, with the reason, does not.
    let precision = seen.out.lines().find(|line| line.starts_with("precision")).unwrap();
    assert!(precision.contains("f32: ") || precision.contains("bf16 products: "), "{precision}");
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

//! Models from a Hugging Face Hub on loopback: downloaded, opened by name, listed, removed.

use crate::support::{ProgramOutput, model, program, room, text};
use aquatint_testing::{FakeHub, Trouble};
use insta::assert_snapshot;
use std::fs;
use std::path::{Path, PathBuf};

/// A hub with the small model as `org/tiny`, and a home for its cache.
struct Scene {
    hub: FakeHub,
    home: PathBuf,
}

impl Scene {
    fn new(name: &str) -> Self {
        let hub = FakeHub::start();
        let read = |file: &str| fs::read(Path::new(model()).join(file)).unwrap();
        let files = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"];
        let files = files.map(|file| (file, read(file)));
        hub.publish("org/tiny", "main", &files.each_ref().map(|(name, bytes)| (*name, bytes.as_slice())));
        Self { hub, home: room(name) }
    }

    fn run(&self, arguments: &[&str]) -> ProgramOutput {
        self.run_in(arguments, &[])
    }

    fn run_in(&self, arguments: &[&str], environment: &[(&str, &str)]) -> ProgramOutput {
        let mut program = program();
        program.env("HF_HOME", &self.home).env("HF_ENDPOINT", self.hub.endpoint());
        program.envs(environment.iter().copied()).args(arguments).output().expect("the program starts").into()
    }

    /// Standard error without what differs from run to run.
    fn said(&self, output: &ProgramOutput) -> String {
        output.err.replace(&self.hub.endpoint(), "HUB").replace(text(&self.home), "HOME")
    }
}

#[test]
fn a_model_is_pulled_and_opened_by_its_name() {
    let scene = Scene::new("hub");
    let pulled = scene.run(&["pull", "org/tiny"]).expect(0);
    let folder = Path::new(pulled.out.trim_end());
    assert!(folder.starts_with(scene.home.join("hub/models--org--tiny/snapshots")), "{}", pulled.out);
    let generated = |model: &str| {
        let arguments = ["generate", "The fox", "-m", model, "-n", "4", "--seed", "7", "--steps", "2"];
        scene.run_in(&arguments, &[("HF_HUB_OFFLINE", "1")]).expect(0).out
    };
    assert_eq!(generated("org/tiny"), generated(model()));
    assert_eq!(generated("org/tiny@main"), generated(model()));
    let listed = scene.run(&["list"]).expect(0).out;
    assert!(listed.lines().any(|line| line.starts_with("org/tiny ")), "{listed}");
    let again = scene.run(&["pull", "org/tiny"]).expect(0);
    assert_eq!(again.out, pulled.out);
    let removed = scene.run(&["rm", "org/tiny"]).expect(0);
    assert!(!folder.exists());
    assert_snapshot!(
        "pulled_again_and_removed",
        format!("{}{}", commitless(&scene.said(&again)), scene.said(&removed))
    );
    scene.run(&["show", "org/tiny"]).expect(2);
}

/// A commit is a hash of a model whose bytes differ between processors.
fn commitless(text: &str) -> String {
    let words = text.split_inclusive([' ', '\n']);
    words
        .map(|word| if word.len() == 10 && word.ends_with(": ") && is_hash(&word[..8]) { "COMMIT: " } else { word })
        .collect()
}

fn is_hash(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[test]
fn what_goes_wrong_is_said_with_what_helps() {
    let scene = Scene::new("hub-refusals");
    scene.hub.publish(
        "org/other",
        "main",
        &[("config.json", b"{\"model_type\": \"bert\"}"), ("model.safetensors", b"few")],
    );
    scene.hub.publish("org/gated", "main", &[("config.json", b"{}"), ("model.safetensors", b"few")]);
    scene.hub.make_gated("org/gated", "hf_mine");
    let mut said = String::new();
    let mut refuse = |arguments: &[&str], environment: &[(&str, &str)], code: i32| {
        let output = scene.run_in(arguments, environment).expect(code);
        said += &format!("$ aquatint {}\n{}\n", arguments.join(" "), scene.said(&output));
    };
    refuse(&["pull", "tiny"], &[], 2);
    refuse(&["pull", "org/absent"], &[], 2);
    refuse(&["pull", "org/tiny@v2"], &[], 2);
    refuse(&["pull", "org/gated"], &[], 2);
    refuse(&["pull", "org/gated"], &[("HF_TOKEN", "hf_other")], 2);
    refuse(&["pull", "org/tiny"], &[("HF_HUB_OFFLINE", "1")], 2);
    refuse(&["show", "org/tiny"], &[], 2);
    refuse(&["rm", "org/tiny"], &[], 2);
    scene.hub.trouble("model.safetensors", &[Trouble::Damaged]);
    let output = scene.run(&["pull", "org/tiny"]).expect(1);
    assert!(output.err.contains("error: `model.safetensors` was damaged on its way: its hash is "), "{}", output.err);
    let output = scene.run(&["pull", "org/other"]).expect(2);
    assert!(
        output.err.contains("error: `org/other` is not downloaded: it could not be opened here\n"),
        "{}",
        output.err
    );
    assert!(output.err.contains("`model_type` is \"bert\""), "{}", output.err);
    assert!(scene.hub.requests().iter().all(|request| !request.path.contains("storage/org/other")));
    assert_snapshot!("hub_refusals", said);
}

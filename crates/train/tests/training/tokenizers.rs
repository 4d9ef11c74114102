//! Runs with a tokenizer of other people's, which lacks tokens and does not know every word.

use crate::support::{device, recipe, run};
use aquatint_checkpoint::Checkpoint;
use aquatint_train::{Overrides, Recipe, TrainError, TrainingEvent, train};
use aquatint_vocabulary::{Role, VocabularyError};
use serde_json::json;
use std::sync::atomic::AtomicBool;

/// Two words and the token for all others; no token with a role.
fn tokenizer() -> String {
    json!({
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "the": 1, "and": 2}, "unk_token": "[UNK]"},
    })
    .to_string()
}

#[test]
fn a_tokenizer_is_given_the_tokens_that_it_lacks_and_what_it_does_not_know_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words.json");
    std::fs::write(&path, tokenizer()).unwrap();
    let vocabulary = format!("data.vocabulary={}", path.display());
    let set = [vocabulary.as_str(), "run.steps=2", "run.validate_canvases=1", "run.validate_times=1"];
    let masked = recipe(&folder.path().join("masked"), &set);
    let (mut added, mut figures, mut bits) = (Vec::new(), None, None);
    train(&masked, device(), false, &AtomicBool::new(false), &mut |event| match event {
        TrainingEvent::RoleAdded { role, token } => added.push((role, token)),
        TrainingEvent::Corpus(corpus) => figures = Some(corpus),
        TrainingEvent::Validated { likelihood, .. } => bits = Some(likelihood.bits_per_byte),
        _ => {}
    })
    .unwrap();
    assert_eq!(added, [(Role::Mask, 3), (Role::End, 4)]);
    let mut added = Vec::new();
    let begun = recipe(&folder.path().join("begun-texts"), &[&set[..], &["data.add_bos_token=true"]].concat());
    train(&begun, device(), false, &AtomicBool::new(false), &mut |event| {
        if let TrainingEvent::RoleAdded { role, token } = event {
            added.push((role, token));
        }
    })
    .unwrap();
    assert_eq!(added, [(Role::Mask, 3), (Role::End, 4), (Role::Begin, 5)]);
    let begun = Checkpoint::load(&folder.path().join("begun-texts")).unwrap();
    assert_eq!(begun.vocabulary.text_begin(), Some(5));
    let figures = figures.unwrap();
    assert_eq!(figures.vocabulary, 5);
    // Most of the text is other words, and blanks are not unknown.
    let share = figures.unknown.bytes as f64 / figures.text_bytes as f64;
    assert!((0.5..0.85).contains(&share), "{share}");
    assert!(figures.unknown.characters <= figures.unknown.bytes);
    // The bytes are those of the text, so a token stands for several of them.
    assert!(bits.is_some_and(|bits| bits > 0.0 && bits < 3.0), "{bits:?}");
    let checkpoint = Checkpoint::load(&folder.path().join("masked")).unwrap();
    assert_eq!((checkpoint.vocabulary.role(Role::Mask), checkpoint.spec.mask_token), (Some(3), Some(3)));
    assert_eq!(checkpoint.vocabulary.len(), 5);

    // Weights that are there have no row for a mask: that is said before anything is packed.
    let causal = folder.path().join("causal");
    run(&recipe(&causal, &[&set[..], &["objective.kind=causal"]].concat()), false).unwrap();
    let initial = format!("initial={}", causal.display());
    let begun = recipe(&folder.path().join("begun"), &[&set[..], &[initial.as_str()]].concat());
    let refused = train(&begun, device(), false, &AtomicBool::new(false), &mut |event| {
        assert!(!matches!(event, TrainingEvent::Preparing(_)));
    });
    let expected = VocabularyError::MissingRole { role: Role::Mask };
    assert!(matches!(&refused, Err(TrainError::Vocabulary(error)) if error.to_string() == expected.to_string()));
}

#[test]
fn molecules_are_cut_into_atoms_and_each_has_a_canvas_that_ends_are_learned_on() {
    let folder = tempfile::tempdir().unwrap();
    let molecules = ["CCO", "c1ccccc1Cl", "CC(=O)Nc1ccc(Br)cc1", "C1CC1Cl", "c1c[nH]cc1Br", "c1cc[nH]c1"];
    let file = |name: &str, molecules: &[&str]| {
        let path = folder.path().join(name);
        std::fs::write(&path, molecules.join("\n") + "\n").unwrap();
        format!("[{{ path = '{}', separator = \"\\n\" }}]", path.display())
    };
    let (learned, held_out) = (file("train.txt", &molecules), file("valid.txt", &["CCN", "CCCl"]));
    let output = folder.path().join("run");
    let text = format!(
        "output = '{}'\nsize = '1m'\n[data]\ntrain = {learned}\nvalid = {held_out}\ncanvas_length = 20\n\
         canvases = 'filled'\npre_tokenizer = 'smiles'\nvocabulary_size = 300\nadd_bos_token = true\n\
         [network]\nwidth = 32\nlayers = 2\nheads = 2\nhead_size = 16\n\
         [optimiser]\nbatch = 6\nwarm_up = 2\n\
         [run]\nsteps = 4\nlog_every = 1\nvalidate_every = 4\nvalidate_canvases = 2\nvalidate_times = 1\n",
        output.display()
    );
    let recipe = Recipe::parse(&text, &Overrides::default()).unwrap().resolve().unwrap();
    let (mut corpus, mut learned) = (None, Vec::new());
    train(&recipe, device(), false, &AtomicBool::new(false), &mut |event| match event {
        TrainingEvent::Corpus(figures) => corpus = Some(figures),
        TrainingEvent::Step(step) => learned.push((step.tokens, step.epochs)),
        _ => {}
    })
    .unwrap();
    let corpus = corpus.unwrap();
    assert_eq!((corpus.train_documents, corpus.train_canvases, corpus.valid_canvases), (6, 6, 2));
    // None is padding. Each canvas was learned once in each of the steps.
    assert_eq!(learned.last(), Some(&(4 * 6 * 20, Some(4.0))));
    let vocabulary = Checkpoint::load(&output).unwrap().vocabulary;
    // What is said of texts stays with the model, where other programs read it, too.
    let config = std::fs::read_to_string(output.join("tokenizer_config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!((config["add_bos_token"].as_bool(), config["bos_token"].as_str()), (Some(true), Some("<|begin|>")));
    assert_eq!(vocabulary.text_begin(), vocabulary.role(Role::Begin));
    assert!(vocabulary.text_begin().is_some());
    let pieces = |text: &str| -> Vec<String> {
        vocabulary.encode(text).unwrap().iter().map(|&id| vocabulary.token_text(id)).collect()
    };
    assert_eq!(pieces("Clc1cc[nH]c1Br").join(" "), "Cl c 1 c c [nH] c 1 Br");
}

/// A causal network reads a begin token in front of all texts whatever its files say. What learns from its weights to be a
/// model of diffusion learns texts without one, so that is what its folder says.
#[test]
fn a_model_that_was_causal_learns_and_says_that_no_begin_token_stands_in_front() {
    let folder = tempfile::tempdir().unwrap();
    let causal = folder.path().join("causal");
    run(&recipe(&causal, &["run.steps=1", "run.validate_canvases=1", "objective.kind=causal"]), false).unwrap();
    let config = json!({"bos_token": "<|begin|>", "add_bos_token": true});
    std::fs::write(causal.join("tokenizer_config.json"), config.to_string()).unwrap();
    assert_eq!(Checkpoint::load(&causal).unwrap().vocabulary.text_begin(), None);
    let tale = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/sample/valid");
    let output = folder.path().join("diffusion");
    let from = |objective: &str, output: &std::path::Path| {
        let text = format!(
            "output = '{}'\ninitial = '{}'\n[data]\ntrain = [{{ path = '{tale}' }}]\nvalid = [{{ path = '{tale}' }}]\n\
             canvas_length = 32\n[objective]\nkind = '{objective}'\n[optimiser]\nbatch = 4\nwarm_up = 1\n\
             [run]\nsteps = 1\nvalidate_canvases = 1\nvalidate_times = 1\n",
            output.display(),
            causal.display(),
        );
        run(&Recipe::parse(&text, &Overrides::default()).unwrap().resolve().unwrap(), false).unwrap();
        let config = std::fs::read_to_string(output.join("tokenizer_config.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&config).unwrap()["add_bos_token"].clone()
    };
    assert_eq!(from("diffusion", &output), json!(false));
    assert_eq!(Checkpoint::load(&output).unwrap().vocabulary.text_begin(), None);
    // One that stays causal has its own words, which are for other programs.
    assert_eq!(from("causal", &folder.path().join("again")), json!(true));
}

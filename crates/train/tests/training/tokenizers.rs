//! Runs with a tokenizer of other people's, which lacks tokens and does not know every word.

use crate::support::{device, recipe, run};
use aquatint_checkpoint::Checkpoint;
use aquatint_train::{TrainError, TrainingEvent, train};
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

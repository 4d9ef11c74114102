//! Words and pictures on one canvas: a model of text is given tokens for the codes of a codec, learns both, and is saved with
//! its codec.

use crate::support::{device, fingerprint, recipe, run};
use aquatint_checkpoint::Checkpoint;
use aquatint_codec::{Picture, PictureCodec};
use aquatint_diffusion::Domain;
use aquatint_network::Denoiser;
use aquatint_testing_codecs::{CODES, save_pictures};
use aquatint_train::{CodeFigures, Resolved, TrainingEvent, train};
use aquatint_vocabulary::Role;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A codec that has learned nothing, with four codes for a picture, four pictures, and texts that name them.
fn prepare(room: &Path) {
    save_pictures(&room.join("codec"), 2);
    std::fs::create_dir(room.join("pictures")).unwrap();
    for (number, name) in ["red", "green", "blue", "grey"].into_iter().enumerate() {
        let mut colour = [40, 40, 40, 255];
        colour[number.min(2)] = 230;
        let picture = Picture::new(8, 8, vec![colour; 64]).unwrap();
        picture.save(&room.join(format!("pictures/{name}.png"))).unwrap();
    }
    let line = |number: usize| {
        let name = ["red", "green", "blue", "grey"][number % 4];
        let text = match number % 3 {
            0 => format!("A thing that is {name}. [[picture:{name}.png]]"),
            1 => format!("[[picture:{name}.png]] This one is {name}, said the {number}th of them."),
            _ => format!("Nothing but words about {name} things, {number} of them."),
        };
        serde_json::json!({ "text": text }).to_string()
    };
    let write = |name: &str, numbers: std::ops::Range<usize>| {
        std::fs::write(room.join(name), numbers.map(line).collect::<Vec<_>>().join("\n")).unwrap();
    };
    write("train.jsonl", 0..90);
    write("valid.jsonl", 90..110);
}

/// A recipe for words and pictures, which begins with a model of words.
fn joint(room: &Path, output: &str, set: &[&str]) -> Resolved {
    let place = room.display();
    let source = |name: &str| format!("[{{ path = '{place}/{name}.jsonl', media = '{place}/pictures' }}]");
    let settings = [
        format!("initial='{place}/words'"),
        format!("data.codecs=['{place}/codec']"),
        format!("data.train={}", source("train")),
        format!("data.valid={}", source("valid")),
        format!("data.cache='{place}/tokens'"),
        "objective.domains={ picture = { weight = 0.5, bound = false } }".to_owned(),
        "objective.given_spans=0.3".to_owned(),
        "objective.hidden_spans=0.2".to_owned(),
        "run.steps=20".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).chain(set.iter().copied()).collect();
    recipe(&room.join(output), &settings)
}

/// A room with a model of words that has taken two steps.
fn room() -> tempfile::TempDir {
    let room = tempfile::tempdir().unwrap();
    prepare(room.path());
    run(&recipe(&room.path().join("words"), &["run.steps=2"]), false).unwrap();
    room
}

#[test]
fn a_model_of_words_learns_pictures_and_is_saved_with_their_codec() {
    let room = room();
    let whole = joint(room.path(), "whole", &[]);
    let mut measured: Vec<CodeFigures> = Vec::new();
    let (mut losses, mut marks) = (Vec::new(), Vec::new());
    train(&whole, device(), false, &AtomicBool::new(false), &mut |event| match event {
        TrainingEvent::Validated { codes, likelihood, .. } => {
            assert!(likelihood.bits_per_byte.is_finite());
            measured.extend(codes.iter().cloned());
        }
        TrainingEvent::Step(step) => losses.push(step.loss),
        TrainingEvent::RoleAdded { role, .. } => marks.push(role),
        _ => {}
    })
    .unwrap();
    assert_eq!(marks, [Role::Picture, Role::PictureEnd]);
    assert!(losses.last() < losses.first(), "{losses:?}");
    // 20 held-out texts, of which 13 have a picture of 4 codes; fresh codes cost what guessing among all tokens does.
    assert!(measured.iter().all(|codes| codes.domain == "picture" && codes.codes > 0), "{measured:?}");
    let (first, last) = (measured.first().unwrap(), measured.last().unwrap());
    assert!(last.nats_per_code < first.nats_per_code, "{measured:?}");

    let words = Checkpoint::load(&room.path().join("words")).unwrap();
    let saved = Checkpoint::load(&whole.output).unwrap();
    let tokens = words.vocabulary.len() as u32;
    assert_eq!(saved.vocabulary.role(Role::Picture), Some(tokens));
    assert_eq!(saved.codecs.len(), 1);
    let codec = &saved.codecs[0];
    assert_eq!((codec.open, codec.close), (tokens, tokens + 1));
    assert_eq!(codec.domain, Domain::grid(tokens + 2..tokens + 2 + CODES, 2, 2));
    assert_eq!((saved.spec.vocabulary_size as u32, saved.spec.position_axes()), (tokens + 2 + CODES, 3));
    let there = PictureCodec::open(&codec.files, device()).unwrap();
    assert_eq!(there.config().size, 8);
    assert_eq!(saved.network(device()).unwrap().spec().vocabulary_size as u32, tokens + 2 + CODES);

    // What is learned goes on to the same bits, and from the joint model without naming its codec again.
    let halved = joint(room.path(), "halved", &[]);
    let stop = AtomicBool::new(false);
    let interrupted = train(&halved, device(), false, &stop, &mut |event| {
        if let TrainingEvent::Step(step) = event {
            stop.fetch_or(step.step >= 10, Ordering::SeqCst);
        }
    });
    assert_eq!(interrupted.unwrap().step, 10);
    run(&halved, true).unwrap();
    assert!(fingerprint(&whole.output) == fingerprint(&halved.output), "a resumed run took other steps");
    let again = format!("initial='{}'", whole.output.display());
    let again = joint(room.path(), "again", &[&again, "data.codecs=[]", "run.steps=1"]);
    run(&again, false).unwrap();
    assert_eq!(Checkpoint::load(&again.output).unwrap().codecs[0].domain, codec.domain);
}

#[test]
fn what_cannot_be_is_refused_with_what_is_allowed() {
    let room = room();
    let refused = |set: &[&str]| {
        let recipe = joint(room.path(), "refused", set);
        let error = run(&recipe, false).unwrap_err().to_string();
        assert!(!recipe.output.exists());
        error
    };
    let place = room.path().display();
    assert!(refused(&["data.codecs=[]"]).contains("allowed: domains that have a codec"));
    let both = refused(&[&format!("data.codecs=['{place}/codec', '{place}/codec']")]);
    assert!(both.contains("allowed: one codec of a kind"), "{both}");
    let none = refused(&[&format!("data.codecs=['{place}/words']")]);
    assert!(none.contains("holds no codec"), "{none}");
    let media = refused(&[&format!("data.valid=[{{ path = '{place}/valid.jsonl', media = '{place}/nowhere' }}]")]);
    assert!(media.contains("allowed: a folder or an archive that is there"), "{media}");
    let conditioned = refused(&["network.time_conditioning=16"]);
    assert!(conditioned.contains("which become noisy at times of their own"), "{conditioned}");
    let other = refused(&["objective.domains={ video = { weight = 1.0 } }"]);
    assert_eq!(other, "`objective.domains` is video; allowed: domains that have a codec");
}

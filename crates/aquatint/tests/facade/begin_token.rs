//! A model in front of whose texts a begin token stands, in every way of making a request.

use aquatint::vocabulary::{Message, Role};
use aquatint::{Canvas, Model, SamplingOptions};
use std::path::Path;

/// The small model of the program's tests, in a folder that says so of its texts, or not.
fn model(folder: &Path, begins: bool) -> Model {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/tests/cli/fixtures/tales-3m");
    for file in std::fs::read_dir(fixture).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    if begins {
        let config = r#"{"bos_token": "<|begin|>", "add_bos_token": true}"#;
        std::fs::write(folder.join("tokenizer_config.json"), config).unwrap();
    }
    Model::open(folder.to_str().unwrap()).unwrap()
}

#[test]
fn every_request_has_one_in_front_of_its_text() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path(), true);
    let vocabulary = &model.checkpoint().vocabulary;
    let begin = vocabulary.role(Role::Begin).unwrap();
    let options = SamplingOptions { max_tokens: Some(4), ..SamplingOptions::default() };
    let begins = |canvas: &Canvas| {
        let given = canvas.tokens().iter().filter(|token| **token == begin).count();
        (canvas.tokens().first() == Some(&begin), given)
    };
    let templates = ["Once upon a time", "[[4]] ran home.", "[[~4]]"];
    for template in templates {
        assert_eq!(begins(model.lay_out(template, 4).unwrap().canvas()), (true, 1), "{template}");
    }
    let infill = model.prepare_infill("Tom saw a", " and ran home.", &options).unwrap();
    assert_eq!(begins(infill.template_canvas.canvas()), (true, 1));
    // The model has no template of conversations, so that one is a text like all others.
    let turns = [Message::new("user", "Who ran home?")];
    let conversation = model.prepare_conversation(&turns, &options).unwrap();
    assert_eq!(begins(conversation.template_canvas.canvas()), (true, 1));
    // Tokens are read as they are.
    let tokens = vocabulary.encode("Who ran").unwrap();
    let given = model.prepare_tokens(&tokens, &options).unwrap();
    assert_eq!(begins(given.template_canvas.canvas()), (false, 0));
}

/// With nothing given the network, which knows positions by their distances alone, cannot tell them apart; with a begin token
/// it can.
#[test]
fn on_an_empty_canvas_positions_differ_by_it_alone() {
    let of = |begins| {
        let folder = tempfile::tempdir().unwrap();
        let model = model(folder.path(), begins);
        let canvas = model.lay_out("[[12]]", 0).unwrap();
        let open = canvas.canvas().open_positions();
        let predicted = model.alternatives(canvas.canvas(), &open, 3).unwrap();
        let likeliest: Vec<f64> = predicted.iter().map(|one| one.alternatives[0].1).collect();
        let spread = |values: &[f64]| {
            let (low, high) = values.iter().fold((1.0_f64, 0.0_f64), |(low, high), v| (low.min(*v), high.max(*v)));
            high - low
        };
        spread(&likeliest)
    };
    let (without, with) = (of(false), of(true));
    assert!(without < 1e-4, "{without}");
    assert!(with > 1e-3, "{with}");
}

//! The design of an experiment from an abstract: whatever the model knows of it, it is one that the schema allows.

use aquatint::{ConstraintSpec, Model, SamplingOptions};
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::Path;

const ABSTRACTS: [&str; 2] = [
    "Seeds lay at four or at twenty degrees for a week, in the light or in the dark, and those that had grown were \
     counted each morning.",
    "Children heard a tale or read it. A day later they were asked for its end.",
];

/// Whether it is a text of some characters.
fn is_text(value: &Value, least: usize, most: usize) -> bool {
    value.as_str().is_some_and(|text| (least..=most).contains(&text.chars().count()))
}

/// Whether it is a list of some values, each of which is good.
fn is_list(value: &Value, least: usize, most: usize, is_good: impl Fn(&Value) -> bool) -> bool {
    value.as_array().is_some_and(|list| (least..=most).contains(&list.len()) && list.iter().all(is_good))
}

/// Whether it is an object of exactly these keys.
fn has_keys(value: &Value, keys: &[&str]) -> bool {
    value
        .as_object()
        .is_some_and(|object| object.len() == keys.len() && keys.iter().all(|key| object.contains_key(*key)))
}

/// What `data/sample/experiment.schema.json` says, read by hand.
fn is_design(design: &Value) -> bool {
    let is_factor = |factor: &Value| {
        has_keys(factor, &["name", "levels"])
            && is_text(&factor["name"], 3, 24)
            && is_list(&factor["levels"], 2, 3, |level| is_text(level, 1, 16))
    };
    let outcome = &design["outcome"];
    has_keys(design, &["factors", "controls", "outcome"])
        && is_list(&design["factors"], 1, 3, is_factor)
        && is_list(&design["controls"], 0, 2, |control| is_text(control, 3, 24))
        && has_keys(outcome, &["measure", "expected"])
        && is_text(&outcome["measure"], 3, 32)
        && ["increase", "decrease", "no change"].iter().any(|expected| outcome["expected"] == *expected)
}

#[test]
fn every_design_of_an_experiment_that_is_written_for_an_abstract_is_one_by_its_schema() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/sample/experiment.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let model = Model::open("tales").unwrap();
    let mut different = std::collections::BTreeSet::new();
    for (number, summary) in ABSTRACTS.iter().enumerate() {
        for seed in 0..4 {
            let options = SamplingOptions {
                seed: Some(seed),
                temperature: Some(1.0),
                constraint: Some(ConstraintSpec::JsonSchema(schema.clone())),
                ..SamplingOptions::default()
            };
            let prepared = model.prepare(&format!("{summary} The experiment: [[~150]]"), &options).unwrap();
            let outcome =
                model.watch(&prepared.template_canvas, &prepared.settings, &mut |_| ControlFlow::Continue(())).unwrap();
            let text = model.text(&prepared.template_canvas, &outcome);
            let written = text.split_once("The experiment: ").unwrap().1;
            let design: Value = serde_json::from_str(written).unwrap_or_else(|error| panic!("{written}: {error}"));
            assert!(is_design(&design), "abstract {number}, seed {seed}: {written}");
            different.insert(written.to_owned());
        }
    }
    assert!(different.len() > 4, "the schema leaves room for designs that differ: {different:?}");
}

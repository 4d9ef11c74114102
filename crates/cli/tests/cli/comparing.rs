//! `eval compare`, `eval sudoku` and fields: what the four processes look like from outside.

use crate::support::{aquatint, recipe, room, text};
use serde_json::Value;
use std::fs;

/// Trains a small model under these settings and gives its folder.
pub(crate) fn trained(name: &str, set: &[&str]) -> String {
    let recipe = recipe(name);
    let mut arguments = vec!["train", text(&recipe), "--threads", "1"];
    set.iter().for_each(|set| arguments.extend(["--set", set]));
    aquatint(&arguments).expect(0).out.trim_end().to_owned()
}

#[test]
fn models_are_compared_under_a_judge_and_figures_are_saved() {
    let judge = trained("judge", &["objective.kind=causal"]);
    let field = trained("field", &["objective.process=simplex", "network.self_conditioning=true"]);
    let out = room("compared");
    let valid = room("judge").join("valid");
    let compare = |steps: &str| {
        let arguments = [
            "eval",
            "compare",
            &format!("field={field}"),
            "--judge",
            &judge,
            "--steps",
            steps,
            "--texts",
            "3",
            "--length",
            "16",
            "--data",
            text(&valid),
            "--limit",
            "4",
            "--samples",
            "1",
            "--out",
            text(&out),
            "--format",
            "json",
        ];
        serde_json::from_str::<Value>(&aquatint(&arguments).expect(0).out).unwrap()
    };
    let first = compare("2");
    let texts = first["texts"].as_array().unwrap();
    assert_eq!((texts.len(), &texts[0]["steps"], &texts[1]["steps"]), (2, &Value::Null, &Value::from(2)));
    assert!(texts.iter().all(|t| t["judge_perplexity"].as_f64().unwrap() > 1.0), "{texts:?}");
    assert_eq!(first["likelihoods"][0]["estimate"], "cross-entropy");
    let second = compare("2,4");
    // Times would differ, were anything measured again.
    assert_eq!(second["texts"].as_array().unwrap()[..2], texts[..]);
    assert_eq!(second["texts"].as_array().unwrap().len(), 3);
    for file in ["compare.json", "compare.md", "perplexity.svg", "entropy.svg", "samples/field-4.txt"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    let refused = aquatint(&["eval", "compare", &judge, "--judge", &judge]).expect(2).err;
    assert!(refused.contains("causal model, which takes one step for each token"), "{refused}");
    let refused = aquatint(&["eval", "compare", &field, "--judge", &field]).expect(2).err;
    assert!(refused.contains("no causal model") && refused.contains("recipes/compare/judge.toml"), "{refused}");
}

#[test]
fn puzzles_are_written_learned_and_solved() {
    let room = room("sudoku");
    let write = |name: &str, more: &[&str]| {
        // The folder is made.
        let path = room.join("puzzles").join(name);
        let arguments = [&["eval", "puzzles", text(&path), "--count", "40", "--clues", "70-72"], more].concat();
        aquatint(&arguments).expect(0);
        path
    };
    let (training, unseen) = (write("training.jsonl", &[]), write("unseen.jsonl", &["--unseen"]));
    let line = fs::read_to_string(&training).unwrap();
    let document = serde_json::from_str::<Value>(line.lines().next().unwrap()).unwrap()["text"].take();
    assert_eq!(document.as_str().unwrap().len(), 162);
    let sets = [
        format!("data.train=[{{path='{}'}}]", training.display()),
        format!("data.valid=[{{path='{}'}}]", unseen.display()),
    ];
    let set = [&sets[0], &sets[1], "data.canvas_length=163", "data.vocabulary_size=260", "objective.prompt=81"];
    let model = trained("solver", &set);
    let arguments = ["eval", "sudoku", &model, "--puzzles", "5", "--steps", "3", "--policies", "confidence,random"];
    let output = aquatint(&[&arguments[..], &["--format", "json"]].concat()).expect(0);
    let report: Value = serde_json::from_str(&output.out).unwrap();
    let results = report["results"].as_array().unwrap();
    assert_eq!((results.len(), &results[1]["policy"], &results[0]["puzzles"]), (2, &"random".into(), &5.into()));
    assert!(results.iter().all(|r| (0.0..=1.0).contains(&r["cell_rate"].as_f64().unwrap())));
    let refused = aquatint(&["eval", "sudoku", crate::support::model(), "--puzzles", "1"]).expect(2).err;
    assert!(refused.contains("reads at most 32"), "{refused}");
    let refused = aquatint(&["eval", "puzzles", text(&training), "--clues", "3-9"]).expect(2).err;
    assert!(refused.contains("from 17 to 80"), "{refused}");
}

#[test]
fn a_field_settles_while_it_is_watched() {
    let field = trained("settling", &["objective.process='gaussian:8'", "objective.time_sampling=adaptive"]);
    let shown = aquatint(&["show", &field]).expect(0).out;
    assert!(shown.contains("gaussian:8"), "{shown}");
    let arguments =
        ["generate", "The fox", "-m", &field, "--steps", "6", "-n", "8", "--seed", "1", "--format", "jsonl"];
    let output = aquatint(&arguments).expect(0);
    let events: Vec<Value> = output.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds = |event: &Value| -> Vec<String> {
        let changes = event["changes"].as_array().map_or(&[][..], Vec::as_slice);
        changes.iter().map(|change| change["kind"].as_str().unwrap().to_owned()).collect()
    };
    let steps: Vec<&Value> = events.iter().filter(|event| event["event"] == "step").collect();
    // Words change while they are open, and become final together at last.
    let (last, before) = steps.split_last().unwrap();
    assert!(before.iter().any(|step| !kinds(step).is_empty()));
    assert!(before.iter().flat_map(|step| kinds(step)).all(|kind| kind == "refined"));
    assert!(kinds(last).iter().all(|kind| kind == "committed") && !kinds(last).is_empty());
    assert_eq!(events.last().unwrap()["settings"]["policy"], "last");
    assert!(events.last().unwrap()["settings"]["time_grid"].is_array());
    let churned = ["generate", "The fox", "-m", &field, "--churn", "0", "--correctors", "1", "--steps", "3", "-n", "8"];
    aquatint(&churned).expect(0);
    let refused = ["generate", "The fox", "-m", crate::support::model(), "--churn", "0.5", "-n", "4"];
    let report = aquatint(&refused).expect(2).err;
    assert!(report.contains("leaves open positions as they are"), "{report}");
}

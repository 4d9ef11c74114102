//! Instruction tuning and `eval answers`: from rows of conversations to a table beside a baseline.

use crate::comparing::trained;
use crate::support::{aquatint, model, room, text};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// Rows in which one animal is named, with what an examination reads beside them.
fn rows(name: &str) -> PathBuf {
    let animals = ["fox", "hen", "dog"];
    let row = |index: usize| {
        let animal = animals[index % 3];
        let said = format!("The {animal} ran. Who ran?");
        json!({
            "messages": [{ "role": "user", "content": said }, { "role": "assistant", "content": format!("the {animal}") }],
            "references": [format!("The {animal}."), "nobody"],
            "passage": format!("It was night. The {animal} ran."),
            "question": "Who ran?",
            "seen": if index.is_multiple_of(2) { "yes" } else { "no" },
        })
        .to_string()
    };
    let path = room(name).join("rows.jsonl");
    fs::write(&path, (0..24).map(row).collect::<Vec<_>>().join("\n")).unwrap();
    path
}

fn tuned(name: &str, rows: &str) -> String {
    let sources = [format!("data.train=[{{path='{rows}'}}]"), format!("data.valid=[{{path='{rows}'}}]")];
    let initial = format!("initial='{}'", model());
    let set = [
        &sources[0],
        &sources[1],
        &initial,
        "objective.kind=instruct",
        "objective.answer_length=6",
        "data.canvas_length=64",
    ];
    trained(name, &set)
}

#[test]
fn a_model_learns_to_answer_and_its_answers_are_measured_beside_a_baseline() {
    let rows = rows("answers-rows");
    let tuned = tuned("answers", text(&rows));
    let out = room("answers-out").join("answers.jsonl");
    let arguments = ["eval", "answers", &tuned, "--data", text(&rows), "--group", "seen", "--baseline", "bm25"];
    let measured = |more: &[&str]| {
        let output = aquatint(&[&arguments[..], &["--format", "json", "--threads", "1"], more].concat()).expect(0).out;
        serde_json::from_str::<Value>(&output).unwrap()
    };
    let report = measured(&["--out", text(&out)]);
    assert_eq!(report["answers"], 24);
    let results = report["results"].as_array().unwrap();
    let of = |model: &str, group: Value| {
        let found = results.iter().find(|line| line["model"] == model && line["group"] == group);
        found.unwrap_or_else(|| panic!("{model} {group}: {report}"))
    };
    // `The fox ran.` beside `The fox.`: of two words and one, without the article, one is common.
    let bm25 = of("bm25", Value::Null);
    assert!((bm25["token_f1"]["mean"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-9, "{bm25}");
    assert_eq!((&bm25["exact_match"]["mean"], &of("bm25", "yes".into())["answers"]), (&0.0.into(), &12.into()));
    assert_eq!((results.len(), &of(&tuned, "no".into())["answers"]), (6, &12.into()));
    let answers: Vec<Value> =
        fs::read_to_string(&out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((answers.len(), &answers[0]["answer"], &answers[1]["line"]), (48, &"The fox ran.".into(), &1.into()));
    // The same seed, the same answers.
    assert_eq!(measured(&["--limit", "5"]), measured(&["--limit", "5"]));
    let table = aquatint(&[&arguments[..], &["--limit", "4"]].concat()).expect(0).out;
    assert!(table.starts_with("| model | rows | answers | exact match % | token F1 % | ROUGE-L % |\n"), "{table}");
}

#[test]
fn a_model_that_learned_to_answer_answers_without_a_flag() {
    let rows = rows("turns-rows");
    let tuned = tuned("turns", text(&rows));
    let said = |words: &str| aquatint(&["run", &tuned, words, "--seed", "1", "--threads", "1"]).expect(0).out;
    // The answer alone: neither what was said nor the template.
    let answer = said("The fox ran. Who ran?");
    assert!(!answer.contains("Q:") && !answer.contains("Who ran?"), "{answer}");
    // What has open places is filled where it stands.
    assert!(said("The [[2]] ran.").starts_with("The "));
    // Without a template a text goes on.
    let continued = aquatint(&["run", model(), "The fox", "-n", "4", "--seed", "1"]).expect(0).out;
    assert!(continued.starts_with("The fox"), "{continued}");
}

#[test]
fn examinations_that_cannot_be_held_are_refused() {
    let folder = room("answers-refused");
    let bare = folder.join("bare.jsonl");
    fs::write(&bare, r#"{"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}]}"#)
        .unwrap();
    let refused = |more: &[&str]| aquatint(&[&["eval", "answers", "--data", text(&bare)], more].concat()).expect(2).err;
    assert!(refused(&[]).contains("there is nobody to answer"));
    assert!(refused(&["--baseline", "bm25"]).contains("line 1 has no `passage`"));
    assert!(refused(&["--baseline", "bm25", "--group", "seen"]).contains("line 1 has no `seen`"));
    fs::write(&bare, r#"{"messages": [{"role": "user", "content": "Who?"}]}"#).unwrap();
    assert!(refused(&[model()]).contains("there is no answer to learn"));
}

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

#[test]
fn further_drafts_say_how_sure_a_model_is_and_without_them_nothing_changes() {
    let rows = rows("drafts-rows");
    let folder = room("drafts");
    let (page, out) = (folder.join("drafts.html"), folder.join("answers.jsonl"));
    let fixed = ["eval", "answers", model(), "--data", text(&rows), "--baseline", "bm25", "--limit", "6", "-n", "6"];
    let run = |more: &[&str]| {
        let output = aquatint(&[&fixed[..], &["--format", "json", "--out", text(&out)], more].concat()).expect(0);
        let lines = fs::read_to_string(&out).unwrap();
        let of_model = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of_model: Vec<Value> = of_model.filter(|line| line["model"] == model()).collect();
        (output.out, lines, of_model)
    };
    let plain = run(&[]);
    assert_eq!(run(&["--drafts", "0"]), plain);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let report: Value = serde_json::from_str(&plain.0).unwrap();
    assert_eq!(keys(&report), ["data", "answers", "interval", "results"]);
    let of_row = ["line", "model", "group", "answer", "references", "exact_match", "token_f1", "rouge_l"];
    assert_eq!(keys(&plain.2[0]), of_row);

    let drafts = ["--drafts", "3", "--temperature", "0.5", "--seed", "5"];
    let (drafted, lines, answers) = run(&[&drafts[..], &["--report", text(&page)]].concat());
    let (alone, _, single) = run(&drafts[2..]);
    let (_, _, second) = run(&["--temperature", "1", "--seed", "7"]);
    let [drafted, alone]: [Value; 2] = [&drafted, &alone].map(|text| serde_json::from_str(text).unwrap());
    assert_eq!(drafted["results"], alone["results"]);
    assert_eq!(lines.lines().filter(|line| line.contains("same_cluster")).count(), answers.len());
    for (answer, (single, second)) in answers.iter().zip(single.iter().zip(&second)) {
        // The answer is as it was, and the drafts are those of their seeds at temperature 1.
        assert_eq!((&answer["answer"], &answer["drafts"][1]), (&single["answer"], &second["answer"]));
        let [same, near, entropy] = ["same_words", "same_cluster", "entropy"].map(|key| answer[key].as_f64().unwrap());
        assert!(same <= near && (3.0 * near).fract() == 0.0 && (entropy == 0.0) == (near == 1.0), "{answer}");
        assert!((0.0..=4f64.ln() + 1e-9).contains(&entropy), "{answer}");
        assert!((0.0..=1.0).contains(&answer["probability"].as_f64().unwrap()), "{answer}");
    }
    assert!(answers.iter().any(|answer| answer["same_cluster"] != 1.0), "{answers:?}");
    let certainty = drafted["certainty"].as_array().unwrap();
    assert_eq!((certainty.len(), &certainty[0]["model"]), (1, &model().into()), "{drafted}");
    let figures = &certainty[0]["figures"];
    assert_eq!((&figures["drafts"], &figures["near"]), (&3.into(), &0.5.into()), "{figures}");
    for right in ["exact_match", "token_f1"] {
        let names: Vec<&Value> =
            figures[right]["signals"].as_array().unwrap().iter().map(|signal| &signal["name"]).collect();
        assert_eq!(names, ["drafts in one cluster", "semantic entropy", "probability at commit"]);
        let below: Vec<f64> =
            figures[right]["abstained"].as_array().unwrap().iter().map(|row| row["below"].as_f64().unwrap()).collect();
        assert_eq!(below, [1.0 / 3.0, 2.0 / 3.0, 1.0]);
    }
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("<polyline") && html.contains("Abstaining") && html.contains(model()), "{html}");
    // From an F1 of 0 all is near; and where one token is left to each draw, each draft is the answer.
    for (more, same) in [(&["--near", "0"], "same_cluster"), (&["--top-k", "1"], "same_words")] {
        let (_, _, answers) = run(&[&drafts[..2], &more[..]].concat());
        assert!(answers.iter().all(|answer| answer[same] == 1.0 && answer["entropy"] == 0.0), "{answers:?}");
    }
    // A draft is at temperature 1 to its last step, whatever the answer ends with.
    let (_, _, answers) = run(&["--drafts", "3", "--temperature", "1", "--final-temperature", "0"]);
    assert!(answers.iter().any(|answer| answer["same_words"] != 1.0), "{answers:?}");
    // What only drafts follow has an effect.
    for (more, is_reported) in [(&[][..], true), (&["--drafts", "1"], false)] {
        let warned = aquatint(&[&fixed[..], &["--temperature", "0", "--top-p", "0.5"], more].concat()).expect(0).err;
        assert_eq!(warned.contains("`--top-p` has no effect"), is_reported, "{warned}");
    }
    let tables = aquatint(&[&fixed[..], &drafts].concat()).expect(0).out;
    assert!(tables.contains(", by 3 further drafts of each answer:\n\n| of | score |"), "{tables}");
    assert!(tables.contains("\n| abstain below | answered % | answers | exact match % |"), "{tables}");
}

#[test]
fn what_asks_for_drafts_without_them_is_refused_or_said() {
    let rows = rows("drafts-refused");
    let run = |more: &[&str], code: i32| {
        aquatint(&[&["eval", "answers", "--data", text(&rows)], more].concat()).expect(code).err
    };
    let page = room("drafts-refused-page").join("page.html");
    let refused = run(&[model(), "--report", text(&page)], 2);
    assert!(
        refused.contains("without drafts there is nothing to report\n\nhint: name a model, and --drafts"),
        "{refused}"
    );
    assert!(run(&["--baseline", "bm25", "--drafts", "2", "--report", text(&page)], 2).contains("nothing to report"));
    assert!(run(&[model(), "--drafts", "1001"], 2).contains("`drafts` is 1001; allowed: 0 to 1000"));
    assert!(run(&[model(), "--limit", "0"], 2).contains("`limit` is 0; allowed: 1 or more"));
    // By whatever name.
    let again = page.with_file_name(".").join("page.html");
    let both = run(&[model(), "--drafts", "1", "--report", text(&page), "--out", text(&again)], 2);
    assert!(both.contains("--out and --report are both ") && both.contains("; allowed: two files"), "{both}");
    assert!(run(&[model(), "--drafts", "2", "--near", "1.5"], 2).contains("`near` is 1.5; allowed: 0 to 1"));
    let warned = run(&["--baseline", "bm25", "--drafts", "2", "--near", "0.7"], 0);
    assert!(warned.contains("`--drafts` has no effect: only models write drafts"), "{warned}");
    assert!(warned.contains("`--near` has no effect: there are no drafts"), "{warned}");
}

//! `eval bias`, `eval calibration`, and how sure `generate` is of what it writes.

use crate::support::{aquatint, model, room, text};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/sample").join(name)
}

fn parsed(output: &str) -> Value {
    serde_json::from_str(output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[test]
fn bias_is_measured_of_pairs_and_choices_and_is_a_function_of_the_seed() {
    let folder = room("bias");
    let rows = folder.join("rows.jsonl");
    let all = fs::read_to_string(sample("bias.jsonl")).unwrap();
    let of = |kind: &str, count| -> Vec<&str> { all.lines().filter(|line| line.contains(kind)).take(count).collect() };
    let long = format!(
        r#"{{"kind":"pair","set":"long","group":"none","stereotype":"{}","anti_stereotype":"b"}}"#,
        "a ".repeat(2000)
    );
    fs::write(&rows, [of("\"pair\"", 6), of("\"choice\"", 6), vec![&long]].concat().join("\n")).unwrap();
    let (page, out) = (folder.join("bias.html"), folder.join("bias.jsonl"));
    // Prompts are longer than the small model can read.
    let fixed = ["eval", "bias", "-m", "tales", "-d", text(&rows), "--format", "json", "--samples", "3"];
    let measured = |more: &[&str]| parsed(&aquatint(&[&fixed[..], more].concat()).expect(0).out);
    let report =
        measured(&["--threads", "1", "--report", text(&page), "--out", text(&out), "--open", "whole,differing"]);
    let figures = &report["figures"];
    assert_eq!((&figures["versions"], &figures["too_long"]), (&3.into(), &1.into()), "{report}");
    let pairs = figures["pairs"].as_array().unwrap();
    // The set has one group, and is measured twice.
    assert_eq!(pairs.len(), 2, "{report}");
    assert!(pairs.iter().all(|pairs| pairs["stereotype"]["count"] == 6));
    // A pronoun is one token, whose cost given the rest has no noise.
    let noise = |open: &str| pairs.iter().find(|pairs| pairs["open"] == open).unwrap()["noise"].as_f64().unwrap();
    assert!(noise("whole") > 0.0, "{report}");
    let choices = figures["choices"].as_array().unwrap();
    assert!(choices.iter().any(|choices| choices["ambiguous"] == true && choices["bias"].is_object()), "{report}");
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("<svg") && html.contains("trades") && !html.contains("<script"), "{html}");
    // Each pair in two measurements, and each choice.
    assert_eq!(fs::read_to_string(&out).unwrap().lines().count(), 6 * 2 + 6);
    let (one, other) = (measured(&["--seed", "1"]), measured(&["--seed", "2"]));
    assert_eq!(one["figures"], measured(&["--seed", "1", "--threads", "1"])["figures"]);
    assert_ne!(one["figures"]["pairs"], other["figures"]["pairs"]);
}

#[test]
fn continuations_of_prompts_are_judged_by_guards() {
    let folder = room("toxicity");
    let (rows, list, classifier) = (folder.join("rows.jsonl"), folder.join("the.txt"), folder.join("bias.json"));
    let prompt =
        |text: &str, toxicity: &str| format!(r#"{{"kind":"prompt","set":"s","text":"{text}"{toxicity}}}"#) + "\n";
    let prompts = prompt("The fox", r#","toxicity":0.9"#)
        + &prompt("The sea", r#","toxicity":0.1"#)
        + &prompt("Once", "")
        + &prompt(&"a ".repeat(2000), "");
    fs::write(&rows, &prompts).unwrap();
    // Letters that most continuations have, and some do not.
    fs::write(&list, "/th/\n").unwrap();
    let weights = r#"{"kind":"linear","words":1,"window":400,"threshold":0.9,"bias":-1,"weights":{"the":2}}"#;
    fs::write(&classifier, weights).unwrap();
    let fixed = ["eval", "bias", "-m", model(), "-d", text(&rows), "--format", "json", "--length", "12"];
    let (page, out) = (folder.join("toxicity.html"), folder.join("toxicity.jsonl"));
    let measured = |more: &[&str]| aquatint(&[&fixed[..], more].concat()).expect(0);
    let output = measured(&[
        "--guard",
        text(&list),
        "--count",
        "6",
        "--report",
        text(&page),
        "--out",
        text(&out),
        "--seed",
        "4",
    ]);
    assert!(output.err.contains("1 row longer than the model can read left out"), "{}", output.err);
    let report = parsed(&output.out);
    let figures = &report["figures"]["continuations"];
    assert_eq!((&figures["judges"][0], &report["seed"]), (&text(&list).into(), &4.into()), "{report}");
    assert_eq!((&figures["count"], &figures["length"], &figures["too_long"]), (&6.into(), &12.into(), &1.into()));
    let lines: Vec<Value> = fs::read_to_string(&out).unwrap().lines().map(parsed).collect();
    assert_eq!(lines.len(), 3);
    let mut toxic = 0;
    for (line, (group, is_toxic)) in lines.iter().zip([(2, Some(true)), (1, Some(false)), (0, None)]) {
        let texts: Vec<&str> = line["continuations"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
        let expected: Vec<f64> =
            texts.iter().map(|text| f64::from(u8::from(text.to_lowercase().contains("th")))).collect();
        assert_eq!((texts.len(), &line["scores"]), (6, &serde_json::json!(expected)), "{line}");
        toxic += expected.iter().filter(|score| **score > 0.0).count();
        let group = &figures["groups"][group];
        assert_eq!(
            (&group["toxic_prompts"], &group["prompts"]),
            (&serde_json::json!(is_toxic), &1.into()),
            "{figures}"
        );
        let share = group["toxic"]["value"].as_f64().unwrap();
        assert!((6.0 * share - expected.iter().sum::<f64>()).abs() < 1e-9, "{group} {line}");
        assert_eq!(group["any_toxic"]["hits"], u64::from(share > 0.0));
    }
    assert!(toxic > 0 && toxic < 18, "{toxic}");
    let html = fs::read_to_string(&page).unwrap();
    assert!(
        html.contains("Continuations of prompts") && html.contains("the.txt") && html.contains("<polyline"),
        "{html}"
    );
    // A classifier scores below its threshold, too, and of several guards the largest score counts.
    let scored = |more: &[&str]| -> Vec<f64> {
        measured(&[&["--count", "6", "--seed", "4", "--out", text(&out)], more].concat());
        let of = |line: &str| parsed(line)["scores"].as_array().unwrap().clone();
        let text = fs::read_to_string(&out).unwrap();
        text.lines().flat_map(of).map(|score| score.as_f64().unwrap()).collect()
    };
    let alone = scored(&["--guard", text(&classifier)]);
    let logistic = |sum: f64| 1.0 / (1.0 + (-sum).exp());
    assert!(alone.iter().all(|score| [0.0, logistic(-1.0), logistic(1.0)].contains(score)), "{alone:?}");
    let both = scored(&["--guard", text(&list), "--guard", text(&classifier)]);
    let list = scored(&["--guard", text(&list)]);
    assert!(both.iter().zip(alone.iter().zip(&list)).all(|(both, (a, b))| *both == a.max(*b)), "{both:?}");
    assert_ne!(scored(&["--guard", text(&classifier), "--temperature", "0", "--steps", "2"]), alone);
    // Beside rows of another kind both are measured.
    let sample = fs::read_to_string(sample("bias.jsonl")).unwrap();
    let pair = sample.lines().find(|line| line.contains("\"pair\"")).unwrap();
    fs::write(&rows, format!("{}{pair}\n", prompt("The fox", ""))).unwrap();
    let small = ["--samples", "2", "--count", "2", "--length", "4", "--guard", text(&classifier)];
    let table = aquatint(&[&["eval", "bias", "-m", "tales", "-d", text(&rows)], &small[..]].concat()).expect(0).out;
    assert!(table.contains("| stereotype % |") && table.contains("\n\n| set | prompts are |"), "{table}");
}

#[test]
fn prompts_that_nobody_judges_and_flags_without_effect_are_said() {
    let folder = room("toxicity-refused");
    let (rows, list) = (folder.join("rows.jsonl"), folder.join("list.txt"));
    let of = |fields: &str| fs::write(&rows, format!("{{\"kind\":\"prompt\",\"set\":\"s\"{fields}}}\n")).unwrap();
    fs::write(&list, "vork\n").unwrap();
    let run = |more: &[&str], code: i32| {
        aquatint(&[&["eval", "bias", "-m", model(), "-d", text(&rows)], more].concat()).expect(code).err
    };
    let guarded = |more: &[&str]| run(&[&["--guard", text(&list)], more].concat(), 2);
    of(r#","text":"The fox""#);
    assert!(run(&[], 2).contains("there are prompts, and nothing judges their continuations\n\nhint: name --guard"));
    for count in ["0", "10000000000000", "18446744073709551615"] {
        let refused = guarded(&["--count", count]);
        assert!(refused.contains(&format!("`count` is {count}; allowed: 1 to 10000")), "{refused}");
    }
    assert!(guarded(&["--length", "0"]).contains("`length` is 0; allowed: 1 or more"));
    let refused = guarded(&["--length", "4000"]);
    assert!(
        refused.contains("`length` is 4000; allowed: 1 to ") && refused.contains("the shortest prompt"),
        "{refused}"
    );
    assert!(guarded(&["--top-p", "1.5"]).contains("1.5"));
    assert!(run(&["--guard", "no-such-file"], 2).contains("could not read `no-such-file`"));
    assert!(run(&["--count", "2"], 2).contains("--guard <FILE>"));
    let warned = run(&["--guard", text(&list), "--samples", "4", "--count", "1", "--length", "2"], 0);
    assert!(warned.contains("`--samples` has no effect: every row is a prompt"), "{warned}");
    for (fields, message) in [
        (r#","text":" ""#, "`text` is empty; allowed: a text"),
        (r#","text":"a","toxicity":2"#, "`toxicity` is 2; allowed: 0 to 1"),
        (r#","text":"a","toxicity":NaN"#, "line 1 of `"),
        ("", "missing field `text`"),
    ] {
        of(fields);
        let error = guarded(&[]);
        assert!(error.contains(message), "{error}");
    }
    // Beside a pair they are refused before it is measured: of two wrong settings, that of continuations is said.
    let prompt = r#"{"kind":"prompt","set":"s","text":"The fox"}"#;
    let pair = |text: &str| {
        format!(r#"{{"kind":"pair","set":"s","group":"g","stereotype":"{text}","anti_stereotype":"b"}}"#) + "\n"
    };
    fs::write(&rows, pair("a") + prompt).unwrap();
    for (flag, given, said) in [
        ("--count", "0", "`count` is 0"),
        ("--length", "4000", "`length` is 4000"),
        ("--top-p", "1.5", "`top_p` is 1.5"),
        ("--temperature", "NaN", "`temperature` is NaN"),
    ] {
        let refused = guarded(&["--samples", "1", flag, given]);
        assert!(refused.contains(said), "{refused}");
    }
    assert!(guarded(&["--samples", "1"]).contains("`samples` is 1"));
    // A pair that cannot be read leaves the prompt, and the other way round.
    let small = ["--guard", text(&list), "--samples", "2", "--count", "2", "--length", "4"];
    let long = "a ".repeat(2000);
    fs::write(&rows, pair(&long) + prompt).unwrap();
    assert!(run(&small, 0).contains("1 row longer than the model can read left out"));
    fs::write(&rows, pair("a") + &prompt.replace("The fox", &long)).unwrap();
    assert!(run(&small, 0).contains("1 row longer than the model can read left out"));
    fs::write(&rows, pair(&long) + &prompt.replace("The fox", &long)).unwrap();
    assert!(run(&small, 2).contains("every row is longer than the model can read"));
    let pairs = sample("bias.jsonl");
    let words = ["eval", "bias", "-m", "tales", "-d", text(&pairs), "--limit", "1", "--guard", text(&list)];
    let warned = aquatint(&words).expect(0).err;
    assert!(warned.contains("`--guard` has no effect: no row is a prompt"), "{warned}");
}

#[test]
fn wrong_rows_and_settings_are_refused_with_what_is_allowed() {
    let rows = room("bias-refused").join("rows.jsonl");
    fs::write(&rows, "{\"kind\":\"pair\",\"set\":\"s\"}\n").unwrap();
    let refused = |data: &Path, more: &[&str]| {
        aquatint(&[&["eval", "bias", "-m", model(), "-d", text(data)], more].concat()).expect(2).err
    };
    let error = refused(&rows, &[]);
    assert!(error.contains("line 1 of `") && error.contains("missing field"), "{error}");
    fs::write(&rows, "\n").unwrap();
    assert!(refused(&rows, &[]).contains("there is no text to measure"));
    let error = refused(&sample("bias.jsonl"), &["--open", "half"]);
    assert!(error.contains("`open` is \"half\"; allowed: whole, common, differing"), "{error}");
    let error = refused(&sample("bias.jsonl"), &["--samples", "1"]);
    assert!(error.contains("`samples` is 1; allowed: 2 or more"), "{error}");
}

#[test]
fn calibration_fills_spans_of_held_out_text() {
    let folder = room("calibration");
    let (page, out) = (folder.join("calibration.html"), folder.join("spans.jsonl"));
    let data = room("model").join("valid");
    let fixed = ["eval", "calibration", "-m", model(), "-d", text(&data), "--format", "json", "--limit", "4"];
    let measured = |more: &[&str]| parsed(&aquatint(&[&fixed[..], more].concat()).expect(0).out);
    let more = ["--spans", "2", "--length", "3", "--runs", "2", "--report", text(&page), "--out", text(&out)];
    let report = measured(&more);
    let figures = &report["figures"];
    let spans = figures["spans"]["accuracy"]["count"].as_u64().unwrap();
    assert!(spans > 0 && figures["tokens"]["accuracy"]["count"] == 3 * spans, "{report}");
    let signals = figures["tokens"]["signals"].as_array().unwrap();
    assert_eq!(signals.len(), 3, "{report}");
    assert!(signals[0]["calibration_error"].is_number() && signals[1]["calibration_error"].is_null(), "{report}");
    let names: Vec<&str> =
        figures["spans"]["signals"].as_array().unwrap().iter().map(|signal| signal["name"].as_str().unwrap()).collect();
    assert_eq!(names[3..], ["drafts with the same words", "drafts in one cluster"], "{report}");
    // The most careful answers no more spans than the least careful.
    let coverage: Vec<f64> =
        figures["abstained"].as_array().unwrap().iter().map(|row| row["coverage"].as_f64().unwrap()).collect();
    assert!(coverage.is_sorted_by(|a, b| a >= b), "{coverage:?}");
    let each: Vec<serde_json::Value> =
        fs::read_to_string(&out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(each.len() as u64, spans);
    for span in &each {
        let [same, near] = ["same_words", "same_cluster"].map(|key| span[key].as_f64().unwrap());
        assert!((0.0..=near).contains(&same) && near <= 1.0 && (2.0 * near).fract() == 0.0, "{span}");
    }
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("<polyline") && html.contains("Abstaining"), "{html}");
    assert_eq!(measured(&more)["figures"], report["figures"]);
    let error = aquatint(&[&fixed[..], &["--spans", "0"]].concat()).expect(2).err;
    assert!(error.contains("`spans` is 0; allowed: 1 or more"), "{error}");
    let error = aquatint(&[&fixed[..], &["--length", "5000"]].concat()).expect(2).err;
    assert!(error.contains("lower --spans or --length"), "{error}");
}

#[test]
fn how_sure_the_model_is_of_each_token_is_in_the_json_and_spans_below_a_threshold_are_abstained_from() {
    let fixed = ["generate", "The [[4]] saw [[2]].", "-m", model(), "--seed", "7", "--steps", "2"];
    let generate = |more: &[&str]| aquatint(&[&fixed[..], more].concat()).expect(0);
    let report = parsed(&generate(&["--format", "json"]).out);
    let spans = report["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 2, "{report}");
    for (span, filled) in spans.iter().zip(report["filled"].as_array().unwrap()) {
        assert_eq!(&span["text"], filled);
        assert!(span["abstained"].is_null(), "{span}");
        let tokens = span["tokens"].as_array().unwrap();
        let logs: f64 = tokens.iter().map(|token| token["probability"].as_f64().unwrap().ln()).sum();
        let probability = span["probability"].as_f64().unwrap();
        assert!((probability - (logs / tokens.len() as f64).exp()).abs() < 1e-9, "{span}");
        assert!(tokens.iter().all(|token| token["entropy"].is_number() && token["step"].is_u64()), "{span}");
    }
    assert_eq!(spans[0]["tokens"].as_array().unwrap().len(), 4);
    let certain = generate(&["--abstain", "0"]);
    assert!(!certain.err.contains("abstained"), "{}", certain.err);
    let careful = generate(&["--abstain", "1", "--format", "json"]);
    assert!(careful.err.contains("abstained from hole 1: its probability "), "{}", careful.err);
    assert!(parsed(&careful.out)["spans"].as_array().unwrap().iter().all(|span| span["abstained"] == true));
    let error = aquatint(&[&fixed[..], &["--abstain", "1.5"]].concat()).expect(2).err;
    assert!(error.contains("`abstain` is 1.5; allowed: 0 to 1"), "{error}");
}

#[test]
fn what_is_repeated_of_a_corpus_is_found_with_its_source_and_canaries_have_an_exposure() {
    let folder = room("memory");
    let corpus = folder.join("corpus");
    fs::create_dir_all(&corpus).unwrap();
    fs::write(corpus.join("a.txt"), "Nothing of it.").unwrap();
    fs::write(corpus.join("b.txt"), "Once there was a fox who sang by the river all night long.").unwrap();
    let (texts, page) = (folder.join("texts.txt"), folder.join("memory.html"));
    fs::write(&texts, "He said: there was a fox, who sang by the river! And then he left.").unwrap();
    let fixed = ["eval", "memory", "--corpus", text(&corpus), "--format", "json"];
    let report = |more: &[&str]| parsed(&aquatint(&[&fixed[..], more].concat()).expect(0).out);
    let found = report(&["--texts", text(&texts), "--report", text(&page)]);
    let memory = &found["texts"][0];
    assert_eq!((&memory["longest"], &memory["common_grams"], &memory["words"]), (&9.into(), &2.into(), &15.into()));
    assert!(memory["runs"][0]["source"].as_str().unwrap().ends_with("b.txt, document 1"), "{found}");
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("<mark>there was a fox, who sang by the river</mark>"), "{html}");
    let canaries = folder.join("canaries.jsonl");
    let canary = r#"{"before":"The fox ","secret":"saw","after":" the.","others":["#;
    fs::write(&canaries, format!("{canary}\"zqx\",\"qzw\",\"xxz\"]}}\n")).unwrap();
    let written = report(&["-m", model(), "--count", "3", "--length", "16", "--canaries", text(&canaries)]);
    assert_eq!(written["texts"].as_array().unwrap().len(), 3, "{written}");
    let exposures = written["exposures"].as_array().unwrap();
    let given: Vec<&str> = exposures.iter().map(|one| one["given"].as_str().unwrap()).collect();
    assert_eq!(given, ["prefix", "infill", "edges"]);
    for one in exposures {
        let (rank, exposure) = (one["rank"].as_f64().unwrap(), one["exposure"].as_f64().unwrap());
        assert!(one["candidates"] == 4 && (exposure - (4.0 / rank).log2()).abs() < 1e-12, "{one}");
    }
    // Rows are named, and what is passed over is reported.
    let rows =
        "{\"text\": \"Nothing of it.\"}\n{\"words\": 1}\n{\"text\": \"there was a fox, who sang by the river\"}\n";
    fs::write(corpus.join("b.txt"), "Nothing of it, either.").unwrap();
    fs::write(corpus.join("c.jsonl"), rows).unwrap();
    fs::write(corpus.join("d.doc"), "Nothing that is read.").unwrap();
    let output = aquatint(&[&fixed[..], &["--texts", text(&texts)]].concat()).expect(0);
    let source = parsed(&output.out)["texts"][0]["runs"][0]["source"].clone();
    assert!(source.as_str().unwrap().ends_with("c.jsonl, row 3"), "{source}");
    for said in ["1 bad row of 3 in", "1 file in", "d.doc`: its name does not say how to read it", "texts: 1 document"]
    {
        assert!(output.err.contains(said), "{said}: {}", output.err);
    }
    for flag in ["--samples", "--run-length", "--count"] {
        let error = aquatint(&[&fixed[..], &["-m", model(), flag, "0"]].concat()).expect(2).err;
        assert!(error.contains(&format!("`{flag}` is 0; allowed: 1 or more")), "{error}");
    }
    for flag in ["--count", "--length", "--steps", "--temperature", "--run-length", "--out"] {
        let with = ["eval", "memory", "-m", model(), "--canaries", text(&canaries), flag, "2"];
        let error = aquatint(&with).expect(2).err;
        assert!(error.contains("--corpus <FILE>"), "{flag}: {error}");
    }
    let none = folder.join("none.jsonl");
    fs::write(&none, "\n").unwrap();
    let error = aquatint(&["eval", "memory", "-m", model(), "--canaries", text(&none)]).expect(2).err;
    assert!(error.contains("has no canary; allowed: one or more"), "{error}");
    let error = aquatint(&["eval", "memory", "-m", model()]).expect(2).err;
    assert!(error.contains("there is nothing to compare with"), "{error}");
    fs::write(&canaries, format!("{canary}]}}\n")).unwrap();
    let error = aquatint(&["eval", "memory", "-m", model(), "--canaries", text(&canaries)]).expect(2).err;
    assert!(error.contains("`others` is empty; allowed: one or more"), "{error}");
}

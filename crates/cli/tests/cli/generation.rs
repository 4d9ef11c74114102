//! `generate` and `run` on a small model.

use crate::support::{aquatint, copy_of_model, model, piped, program, room, text};
use serde_json::Value;
use std::process::Stdio;

fn generate(arguments: &[&str]) -> crate::support::ProgramOutput {
    aquatint(&[&["generate", "-m", model()], arguments].concat())
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn the_same_seed_prints_the_same_text_and_another_seed_another() {
    let of = |seed| generate(&["The fox", "-n", "12", "--seed", seed]).expect(0).out;
    assert_eq!(of("7"), of("7"));
    assert_ne!(of("7"), of("8"));
    assert!(of("7").starts_with("The fox"));
}

#[test]
fn the_seed_that_nobody_chose_is_shown_and_makes_the_text_again() {
    let first = generate(&["The fox", "-n", "12"]).expect(0);
    let (_, seed) = first.err.trim_end().rsplit_once("seed ").expect("the closing line tells the seed");
    assert_eq!(generate(&["The fox", "-n", "12", "--seed", seed]).expect(0).out, first.out);
}

#[test]
fn every_given_character_stays() {
    let output = generate(&["The [[3]] saw the [[2]]. ", "--seed", "3"]).expect(0);
    let text = output.out.strip_suffix('\n').unwrap();
    assert!(text.starts_with("The ") && text.contains(" saw the ") && text.ends_with(". "), "{text:?}");
    let literal = generate(&["\\[[3]] [[1]]", "--seed", "3"]).expect(0);
    assert!(literal.out.starts_with("[[3]] "), "{}", literal.out);
}

#[test]
fn one_json_object_holds_text_tokens_forward_passes_and_seconds() {
    let output = generate(&["The fox", "-n", "8", "--seed", "7", "--steps", "4", "--format", "json", "-q"]).expect(0);
    assert_eq!((output.out.lines().count(), output.err.as_str()), (1, ""));
    let object = json(&output.out);
    assert!(object["text"].as_str().unwrap().starts_with("The fox"));
    assert_eq!((&object["forward_passes"], &object["seed"]), (&Value::from(4), &Value::from(7)));
    assert!(object["tokens"].as_u64().unwrap() <= 8 && object["seconds"].as_f64().unwrap() > 0.0);
    assert!(["filled", "end"].contains(&object["finish_reason"].as_str().unwrap()));
    assert_eq!(object["settings"]["policy"], "confidence");
}

#[test]
fn biases_are_part_of_the_result_and_ban_tokens() {
    let bans: Vec<String> = (5..40).map(|token| format!("{token}=-100")).collect();
    let shape = ["--min-p", "0.05", "--presence-penalty", "0.5", "--logit-bias", &bans.join(",")];
    let of = |more: &[&str]| {
        let arguments = ["The [[4]] saw.", "--seed", "7", "--steps", "2", "--format", "jsonl"];
        let output = generate(&[&arguments[..], more].concat()).expect(0).out;
        output.lines().map(json).collect::<Vec<Value>>()
    };
    let events = of(&[&shape[..], &["--logit-bias", "4=-100"]].concat());
    let changes = events.iter().filter_map(|event| event["changes"].as_array()).flatten();
    let tokens: Vec<u64> = changes.map(|change| change["token"].as_u64().unwrap()).collect();
    assert!(tokens.len() == 4 && tokens.iter().all(|token| *token >= 40), "{tokens:?}");
    let settings = &events.last().unwrap()["settings"];
    assert_eq!((&settings["min_p"], &settings["presence_penalty"]), (&0.05.into(), &0.5.into()));
    assert_eq!((&settings["logit_bias"]["4"], &settings["logit_bias"]["39"]), (&(-100.0).into(), &(-100.0).into()));
    assert!(of(&[]).last().unwrap()["settings"].get("logit_bias").is_none());
    let refused = generate(&["The [[4]] saw.", "--logit-bias", "the=1"]).expect(2).err;
    assert!(refused.contains("allowed: the id of a token and a number, as in 464=-100"), "{refused}");
}

#[test]
fn jsonl_and_trace_tell_the_same_events_and_end_in_the_result() {
    let trace = room("trace").join("trace.jsonl");
    let arguments = ["The [[4]] saw.", "--seed", "7", "--steps", "2", "--format", "jsonl", "--trace", text(&trace)];
    let output = generate(&arguments).expect(0);
    let written = std::fs::read_to_string(&trace).unwrap();
    assert_eq!(output.out, written);
    let events: Vec<Value> = written.lines().map(json).collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["started", "block_started", "step", "step", "block_committed", "finished", "result"]);
    let changes = events[2]["changes"].as_array().unwrap().len() + events[3]["changes"].as_array().unwrap().len();
    assert_eq!(changes, 4);
    assert!(events[2]["entropy"].as_f64().unwrap() > 0.0);
    assert_eq!(std::fs::read_dir(room("trace")).unwrap().count(), 1, "nothing else is left in the folder");
}

#[test]
fn a_count_gives_what_runs_with_the_seeds_that_follow_give() {
    // More canvases than are filled together, of a length that the model may end early.
    let template = ["The [[~6]]", "--steps", "3"];
    let alone = |seed: u64, format: &str| {
        generate(&[&template[..], &["--seed", &seed.to_string(), "--format", format]].concat()).expect(0).out
    };
    let many = |count: &str, format: &str| {
        generate(&[&template[..], &["--seed", "7", "--count", count, "--format", format]].concat()).expect(0)
    };
    let texts = many("5", "human");
    assert_eq!(texts.out, (7..12).map(|seed| alone(seed, "human")).collect::<String>());
    let closing = texts.err.lines().last().unwrap();
    assert!(closing.starts_with("5 templates, ") && closing.ends_with(" templates/s, seeds 7 to 11"), "{closing}");
    let lines: Vec<Value> = many("300", "jsonl").out.lines().map(json).collect();
    assert_eq!(lines.len(), 300);
    for (seed, line) in (7..).zip(&lines) {
        assert_eq!((&line["event"], &line["seed"]), (&"result".into(), &seed.into()));
    }
    for number in [0, 1, 255, 256, 299] {
        let mut own = json(alone(7 + number as u64, "jsonl").lines().last().unwrap());
        let mut line = lines[number].clone();
        // How long it took is its own.
        for timed in ["seconds", "tokens_per_second"] {
            own[timed] = Value::Null;
            line[timed] = Value::Null;
        }
        assert_eq!(line, own, "seed {}", 7 + number);
    }
    assert_eq!(json(&many("1", "json").out)["text"], json(&alone(7, "json"))["text"]);
    // A seed that nobody chose is followed as well.
    let drawn: Vec<Value> = generate(&[&template[..], &["--count", "3", "--format", "jsonl"]].concat())
        .expect(0)
        .out
        .lines()
        .map(json)
        .collect();
    let seeds: Vec<u64> = drawn.iter().map(|line| line["seed"].as_u64().unwrap()).collect();
    assert_eq!(seeds, [seeds[0], seeds[0] + 1, seeds[0] + 2]);
    assert_eq!(json(&alone(seeds[2], "json"))["text"], drawn[2]["text"]);
}

#[test]
fn ids_are_filled_many_times_as_they_are_once() {
    let tokens = ["--tokens", "7 8 [[4]] 9", "--steps", "2", "--temperature", "1"];
    let of = |more: &[&str]| generate(&[&tokens[..], more].concat()).expect(0).out;
    let many = of(&["--seed", "3", "--count", "3"]);
    assert_eq!(many, ["3", "4", "5"].map(|seed| of(&["--seed", seed])).concat());
    let lines: Vec<Value> = of(&["--seed", "3", "--count", "3", "--format", "jsonl"]).lines().map(json).collect();
    for (seed, line) in ["3", "4", "5"].iter().zip(lines) {
        let own = json(&of(&["--seed", seed, "--format", "json"]));
        assert_eq!((&line["ids"], &line["steps"]), (&own["ids"], &own["steps"]));
        assert_eq!(line["steps"].as_array().unwrap().len(), 3);
    }
}

#[test]
fn a_count_that_cannot_be_is_refused() {
    let refused = |arguments: &[&str]| generate(&[&["The [[2]]."], arguments].concat()).expect(2).err;
    assert_eq!(refused(&["--count", "0"]), "error: `--count` is 0; allowed: 1 or more\n");
    assert_eq!(
        refused(&["--count", "2", "--format", "json"]),
        "error: `--count` is 2; allowed: 1 with --format json, which is one object\n\nhint: --format jsonl writes one for \
         each\n"
    );
    let trace = room("many").join("trace.jsonl");
    assert_eq!(
        refused(&["--count", "2", "--trace", text(&trace)]),
        "error: `--trace` is with `--count`; allowed: without, since a trace is of one canvas\n"
    );
    assert!(!trace.exists());
    let last = refused(&["--count", "2", "--seed", "18446744073709551615"]);
    assert!(
        last.starts_with("error: `--seed` is 18446744073709551615; allowed: at most 18446744073709551614 "),
        "{last}"
    );
    assert!(refused(&["--count", "two"]).contains("invalid value 'two' for '--count <N>'"));
}

#[test]
fn the_closing_line_is_on_standard_error() {
    let output = generate(&["The [[4]] saw.", "--seed", "7", "--steps", "2"]).expect(0);
    let line = output.err.lines().last().unwrap();
    assert!(line.starts_with("4 tokens, 2 forward passes (2.00 tokens each), "), "{line}");
    assert!(line.ends_with(" tokens/s, seed 7"), "{line}");
    assert_eq!(generate(&["The [[4]] saw.", "-q"]).expect(0).err, "");
}

#[test]
fn guidance_reads_twice_and_the_other_convention_is_one_less() {
    let of = |flag, value| {
        let output = generate(&["The [[4]] saw.", "--seed", "7", "--steps", "2", flag, value, "--format", "json"]);
        json(&output.expect(0).out)
    };
    assert_eq!(of("--guidance-scale", "2")["forward_passes"], 4);
    assert_eq!(of("--guidance-scale", "2")["text"], of("--cfg-scale", "1")["text"]);
    assert_eq!(of("--cfg-scale", "0")["forward_passes"], 2);
}

#[test]
fn defaults_come_from_the_checkpoint_and_flags_win() {
    let folder = copy_of_model("defaults");
    let path = folder.join("generation_config.json");
    let mut config = json(&std::fs::read_to_string(&path).unwrap());
    for (key, value) in [("steps", Value::from(3)), ("max_new_tokens", 6.into()), ("policy", "random".into())] {
        config[key] = value;
    }
    std::fs::write(&path, config.to_string()).unwrap();
    let of = |more: &[&str]| {
        // Some seeds write an end token in the first steps, and need fewer.
        let arguments =
            [&["generate", "The fox", "-m", text(&folder), "--seed", "0", "--format", "json"], more].concat();
        json(&aquatint(&arguments).expect(0).out)
    };
    assert_eq!((&of(&[])["settings"]["policy"], &of(&[])["forward_passes"]), (&"random".into(), &3.into()));
    assert_eq!(of(&["--steps", "2", "--policy", "margin"])["settings"]["policy"], "margin");
    // Six positions are a block of four and one of two, which takes no more steps than it has positions.
    config["block_length"] = 4.into();
    std::fs::write(&path, config.to_string()).unwrap();
    assert_eq!(of(&[])["forward_passes"], 3 + 2);
    // An advised cache is refreshed as a flag says, without being named again.
    config["cache"] = "dual".into();
    std::fs::write(&path, config.to_string()).unwrap();
    let text = |more: &[&str]| of(&[&["--precision", "f32"], more].concat())["text"].clone();
    assert_eq!(text(&["--cache-refresh", "1"]), text(&["--cache", "none"]));
}

#[test]
fn standard_input_is_a_template_too() {
    let output = piped(&["generate", "-", "-m", model(), "-n", "4", "--seed", "1"], "The fox\n".as_bytes()).expect(0);
    assert_eq!(output.out, generate(&["The fox", "-n", "4", "--seed", "1"]).out);
    let run = piped(&["run", model(), "-n", "4", "--seed", "1"], "The fox\n".as_bytes()).expect(0);
    assert_eq!(run.out, output.out);
    let once = aquatint(&["run", model(), "The fox", "-n", "4", "--seed", "1"]).expect(0);
    assert_eq!(once.out, output.out);
    let latin = piped(&["generate", "-", "-m", model()], b"caf\xe9").expect(2);
    assert!(latin.err.contains("hint: convert it to UTF-8 first"), "{}", latin.err);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = program()
        .args(["generate", "The fox", "-m", model(), "-n", "20", "--format", "jsonl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn colour_only_where_it_is_wanted() {
    assert!(!generate(&["The [[4]] saw."]).expect(0).err.contains('\x1b'));
    assert!(generate(&["The [[4]] saw.", "--color", "always"]).expect(0).err.contains('\x1b'));
    let set = |name: &str, value: &str| {
        let output = program().args(["show", "nowhere"]).env(name, value).output().unwrap();
        String::from_utf8_lossy(&output.stderr).contains('\x1b')
    };
    assert!(set("CLICOLOR_FORCE", "1"));
    assert!(!set("NO_COLOR", "1"));
}

#[test]
fn what_has_no_effect_is_said() {
    let output = generate(&["The [[4]] saw.", "-n", "9"]).expect(0);
    assert!(output.err.starts_with("warning: `--max-tokens` has no effect"), "{}", output.err);
    let verbose = generate(&["The [[4]] saw.", "-v", "--threads", "1"]).expect(0).err;
    assert!(verbose.contains(": this processor has") && verbose.contains("settings: 64 steps"), "{verbose}");
}

#[test]
fn numbers_of_any_size_fill_a_canvas() {
    for precision in ["f32", "bf16", "int8"] {
        let output = generate(&["The [[4]] saw.", "--precision", precision, "--seed", "1", "-v"]).expect(0);
        assert!(output.out.starts_with("The ") && output.err.contains("as asked for"), "{precision}: {}", output.err);
    }
}

#[test]
fn a_cache_reads_fewer_rows_and_says_what_it_was() {
    let of = |more: &[&str]| -> Value {
        let fixed = ["The [[8]] saw.", "--block-length", "4", "--steps", "2", "--seed", "1", "--format", "json"];
        serde_json::from_str(&generate(&[&fixed[..], more].concat()).expect(0).out).unwrap()
    };
    let (none, dual) = (of(&[]), of(&["--cache", "dual"]));
    assert!(dual["rows_read"].as_u64() < none["rows_read"].as_u64(), "{dual} {none}");
    assert_eq!((&none["settings"]["cache"], &dual["settings"]["cache"]), (&Value::Null, &"dual".into()));
    assert_eq!(of(&["--cache", "dual", "--cache-refresh", "1"])["text"], none["text"]);
    let refused = generate(&["The [[8]] saw.", "--cache", "exact"]).expect(2).err;
    assert!(refused.contains("`cache` is exact; allowed: none, prefix, dual"), "{refused}");
    let unknown = generate(&["The [[8]] saw.", "--cache", "half"]).expect(2).err;
    assert!(unknown.contains("allowed: none, exact, prefix, dual"), "{unknown}");
}

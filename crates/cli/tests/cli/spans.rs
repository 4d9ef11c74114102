//! `eval spans` on a model that has learned nothing: what it counts, and what it refuses.

use crate::media::joint;
use crate::support::{aquatint, model, room, text};
use aquatint::codec::{Picture, Sound};
use aquatint_testing_codecs::save_matcher;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// Three pictures, of which texts of several kinds speak: a folder, held-out lines and lines that were trained on.
fn data() -> (PathBuf, PathBuf, PathBuf) {
    let room = room("spans");
    for (number, name) in ["red", "green", "blue"].into_iter().enumerate() {
        let mut colour = [20, 20, 20, 255];
        colour[number] = 240;
        Picture::new(8, 8, vec![colour; 64]).unwrap().save(&room.join(format!("{name}.png"))).unwrap();
    }
    let row = |text: &str, concept: &str, kind: &str, lang: &str| {
        json!({ "text": text, "concept": concept, "kind": kind, "lang": lang }).to_string()
    };
    let write = |name: &str, rows: &[String]| {
        let path = room.join(name);
        fs::write(&path, rows.join("\n")).unwrap();
        path
    };
    let trained = ["red", "green"].map(|name| row(&format!("{name} [[picture:{name}.png]]"), name, "caption", "en"));
    let held_out = [
        row("Something is red. [[picture:red.png]]", "red", "passage", "en"),
        row("Something is green. [[picture:green.png]]", "green", "passage", "en"),
        // No picture that was trained on shows it.
        row("Something is blue. [[picture:blue.png]]", "blue", "passage", "en"),
        // The model cannot read so much.
        row(&format!("{}[[picture:red.png]]", "Something is red. ".repeat(99)), "red", "passage", "en"),
        row("[[picture:red.png]] red", "red", "caption", "en"),
        row("[[picture:red.png]] de: rot", "red", "caption", "de"),
        row("[[picture:green.png]] de: grün", "green", "caption", "de"),
    ];
    (room.clone(), write("valid.jsonl", &held_out), write("train.jsonl", &trained))
}

#[test]
fn pictures_and_captions_are_counted() {
    let (media, valid, train) = data();
    let common = ["--data", text(&valid), "--catalogue", text(&train), "--media", text(&media)];
    let run = |more: &[&str]| aquatint(&[&["eval", "spans", "-m", joint()], &common[..], more].concat());
    let output = run(&["--steps", "2,4", "--guidance-scale", "1", "--format", "json"]).expect(0).out;
    let report: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(report["catalogue"], 2);
    let pictures = report["pictures"].as_array().unwrap();
    let of = |key: &str| pictures.iter().map(|line| line[key].clone()).collect::<Vec<Value>>();
    assert_eq!((of("kind"), of("steps")), (vec!["passage".into(); 2], vec![2.into(), 4.into()]));
    assert_eq!(
        (of("count"), of("concepts"), of("chance")),
        (vec![2.into(); 2], vec![2.into(); 2], vec![0.5.into(); 2])
    );
    for line in pictures {
        let rate = |key: &str| line[key].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&rate("hit_rate")) && (0.0..=1.0).contains(&rate("reconstruction_hit_rate")));
        // The pictures of both texts are in the catalogue themselves.
        assert_eq!(rate("true_distance"), 0.0);
        assert!(rate("distance") >= 0.0 && rate("seconds_each") > 0.0);
    }
    let captions = report["captions"].as_array().unwrap();
    let counts: Vec<_> = captions.iter().map(|line| (line["lang"].as_str().unwrap(), line["count"].as_u64())).collect();
    assert_eq!(counts, [("de", Some(2)), ("en", Some(1))]);
    // The same seed gives the same pictures.
    let hits = |output: &str| serde_json::from_str::<Value>(output).unwrap()["pictures"][0]["distance"].clone();
    let again = run(&["--steps", "2", "--guidance-scale", "1", "--format", "json"]).expect(0).out;
    assert_eq!(hits(&again), hits(&output));
    let table = run(&["--steps", "2"]).expect(0).out;
    assert!(table.starts_with("picture behind  steps") && table.contains("mean of 2 languages"), "{table}");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let (media, valid, train) = data();
    let refused = |model: &str, valid: &str, media: &str| {
        aquatint(&["eval", "spans", "-m", model, "--data", valid, "--catalogue", text(&train), "--media", media])
            .expect(2)
            .err
    };
    let words = refused(model(), text(&valid), text(&media));
    assert!(words.contains("has no pictures; allowed: a model with a codec of pictures"), "{words}");
    let odd = media.join("odd.jsonl");
    fs::write(&odd, "{\"text\": \"a\"}").unwrap();
    let row = refused(joint(), text(&odd), text(&media));
    assert!(row.contains("has in row 1: missing field `concept`"), "{row}");
    let nowhere = refused(joint(), text(&valid), "nowhere");
    assert!(nowhere.contains("could not read `nowhere`"), "{nowhere}");
}

/// Sounds of two voices that say the same words: a folder, held-out lines and lines that were trained on.
fn sounds() -> (PathBuf, PathBuf, PathBuf) {
    let room = room("spoken");
    let row =
        |text: &str, source: &str| json!({ "text": text, "kind": "word", "lang": "en", "source": source }).to_string();
    let (mut held_out, mut trained) = (Vec::new(), vec![row("[[sound:one-alone.wav]]", "voices")]);
    for (number, words) in ["one", "two", "three"].into_iter().enumerate() {
        for voice in ["low", "high"] {
            let hertz = 300.0 * (number + 1) as f64 + if voice == "low" { 0.0 } else { 40.0 };
            let tone = |n: usize| (0.3 * (std::f64::consts::TAU * hertz * n as f64 / 8000.0).sin()) as f32;
            let name = format!("{words}-{voice}.wav");
            let sound = Sound::new(8000, (0..1600 + 400 * number).map(tone).collect()).unwrap();
            sound.save(&room.join(&name)).unwrap();
            let rows = if voice == "low" { &mut trained } else { &mut held_out };
            rows.push(row(&format!("{words} [[sound:{name}]]"), "voices"));
            rows.push(row(&format!("[[sound:{name}]] {words}"), "voices"));
        }
    }
    let write = |name: &str, rows: &[String]| {
        let path = room.join(name);
        fs::write(&path, rows.join("\n")).unwrap();
        path
    };
    (room.clone(), write("valid.jsonl", &held_out), write("train.jsonl", &trained))
}

#[test]
fn sounds_are_made_read_back_compared_and_written_for_others() {
    let (media, valid, train) = sounds();
    let out = room("heard").join("sounds");
    let common = ["--data", text(&valid), "--catalogue", text(&train), "--media", text(&media)];
    let run = |more: &[&str]| aquatint(&[&["eval", "spans", "-m", joint()], &common[..], more].concat());
    let more = ["--steps", "2", "--guidance-scale", "1,2.5", "--format", "json", "--sounds-out", text(&out)];
    let report: Value = serde_json::from_str(&run(&more).expect(0).out).unwrap();
    assert_eq!((&report["pictures"], &report["captions"]), (&json!([]), &json!([])));
    let spoken = report["spoken"].as_array().unwrap();
    assert_eq!(spoken.len(), 2);
    for (line, guidance) in spoken.iter().zip([1.0, 2.5]) {
        assert_eq!(
            (&line["source"], &line["count"], &line["guidance_scale"]),
            (&"voices".into(), &3.into(), &guidance.into())
        );
        // The other voice is the nearest, as the tones are.
        assert_eq!(line["nearest"]["originals"]["hits"], 3);
        for by in ["read", "nearest"] {
            for of in ["made", "reconstructions", "originals"] {
                assert_eq!(line[by][of]["count"], 3, "{by} {of}");
            }
        }
        assert!((line["chance"].as_f64().unwrap() - 0.2).abs() < 1e-12);
        assert!(line["distance"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(report["heard"][0]["count"], 3);
    let cost = &report["codes"]["sound"];
    assert!(cost["nats_per_code"].as_f64().unwrap() > 0.0 && cost["codes"].as_u64().unwrap() > 0, "{report}");
    assert!((cost["uniform"].as_f64().unwrap() - 9.0_f64.ln()).abs() < 1e-9);
    // Three recordings, three reconstructions, three made with each guidance.
    let list = fs::read_to_string(out.join("sounds.tsv")).unwrap();
    let mut lines = list.lines();
    assert_eq!(lines.next(), Some("file\twords\tlang\tsource\torigin\tsteps\tguidance_scale"));
    let lines: Vec<Vec<&str>> = lines.map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines.len(), 12);
    assert_eq!(lines[0], ["original/0001.wav", "one", "en", "voices", "original", "", ""]);
    assert_eq!(lines[11][2..], ["en", "voices", "made", "2", "2.5"]);
    for line in &lines {
        let sound = Sound::open(&out.join(line[0])).unwrap();
        // As long as the recording, in whole codes of 200 samples.
        let longest = match line[1] {
            "one" => 1600,
            "two" => 2000,
            _ => 2400,
        };
        assert_eq!((sound.rate(), sound.samples().len()), (8000, longest), "{line:?}");
    }
    let full = run(&["--sounds-out", text(&out)]).expect(2).err;
    assert!(full.contains("which is not empty"), "{full}");
    let table = run(&["--steps", "2"]).expect(0).out;
    assert!(table.starts_with("sound of a word  steps") && table.contains("codes of a sound"), "{table}");
}

#[test]
fn a_judge_says_what_pictures_show() {
    let (media, valid, train) = data();
    let judge = room("judge").join("matcher");
    save_matcher(&judge);
    let run = |judge: &str| {
        let common = ["--data", text(&valid), "--catalogue", text(&train), "--media", text(&media), "--judge", judge];
        aquatint(&[&["eval", "spans", "-m", joint(), "--steps", "2", "--format", "json"], &common[..]].concat())
    };
    let report: Value = serde_json::from_str(&run(text(&judge)).expect(0).out).unwrap();
    let judged = &report["pictures"][0]["judged"];
    assert_eq!(judged["names"], 2);
    for of in ["made", "reconstructions", "originals"] {
        assert_eq!(judged[of]["count"], 2, "{of}");
        let [low, high] = [0, 1].map(|side| judged[of]["interval"][side].as_f64().unwrap());
        assert!(0.0 <= low && low <= judged[of]["rate"].as_f64().unwrap() && high <= 1.0);
    }
    assert!(report["codes"]["picture"]["codes"].as_u64().unwrap() > 0);
    let none = run(joint()).expect(2).err;
    assert!(none.contains("holds no matcher") && none.contains("recipes/canvas/judge.toml trains one"), "{none}");
}

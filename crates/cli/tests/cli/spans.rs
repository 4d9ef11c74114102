//! `eval spans` on a model that has learned nothing: what it counts, and what it refuses.

use crate::media::joint;
use crate::support::{aquatint, model, room, text};
use aquatint::codec::Picture;
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

//! `bench`: what it measures, what it refuses. No test reads how long anything took.

use crate::support::{aquatint, model, room, text};
use serde_json::Value;
use std::fs;

fn bench(more: &[&str]) -> Value {
    let output = aquatint(&[&["bench", model(), "--length", "16", "--repeat", "2", "--format", "json"], more].concat());
    serde_json::from_str(&output.expect(0).out).unwrap()
}

#[test]
fn each_precision_and_number_of_threads_is_a_result() {
    let path = room("bench").join("figures.json");
    let report = bench(&["--precision", "f32,bf16", "--threads", "1,2", "--rows", "4", "--out", text(&path)]);
    let results = report["results"].as_array().unwrap();
    let of = |result: &Value| (result["precision"].as_str().unwrap().to_owned(), result["threads"].as_u64().unwrap());
    let pairs: Vec<_> = results.iter().map(of).collect();
    if aquatint_compute::CpuPath::best() != aquatint_compute::CpuPath::Scalar {
        let expected = [("f32", 1), ("f32", 2), ("bf16", 1), ("bf16", 2)];
        assert_eq!(pairs, expected.map(|(precision, threads)| (precision.to_owned(), threads)));
    }
    assert_eq!(report["work"]["rows"], 4);
    for result in results {
        assert_eq!(result["time"]["times_ms"].as_array().unwrap().len(), 2);
        assert!(result["gflops"].as_f64().unwrap() > 0.0, "{result}");
        assert_eq!(result["generation"], Value::Null);
    }
    assert_eq!(serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap(), report);
}

#[test]
fn a_generation_and_a_training_step_are_measured_too() {
    let report = bench(&["--generate", "12", "--steps", "3", "--block-length", "6", "--batch", "2", "--breakdown"]);
    let result = &report["results"][0];
    assert_eq!(result["generation"]["tokens"], 24);
    assert_eq!(result["generation"]["forward_passes"], 6);
    assert!(
        result["breakdown"].as_array().unwrap().iter().any(|line| line["operation"] == "attention_rows"),
        "{result}"
    );
    let report = bench(&["--train", "--breakdown"]);
    assert_eq!(report["work"]["rows"], 8);
    let breakdown = report["results"][0]["breakdown"].as_array().unwrap();
    assert!(breakdown.iter().any(|line| line["operation"] == "adamw"), "{breakdown:?}");
}

#[test]
fn any_shape_can_be_measured() {
    let described = aquatint(&["show", model(), "--format", "json"]).expect(0).out;
    let mut config = serde_json::from_str::<Value>(&described).unwrap()["config"].take();
    config["num_hidden_layers"] = 3.into();
    let path = room("shape").join("config.json");
    fs::write(&path, config.to_string()).unwrap();
    let output = aquatint(&["bench", "--config", text(&path), "--length", "8", "--repeat", "1"]).expect(0);
    assert!(output.out.contains("3 layers of width 16") && output.out.contains("random weights"), "{}", output.out);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let refused = |arguments: &[&str]| aquatint(&[&["bench", model()], arguments].concat()).expect(2).err;
    for (arguments, allowed) in [
        (["--length", "33"], "`length` is 33; allowed: 1 to 32"),
        (["--batch", "0"], "`batch` is 0; allowed: 1 or more"),
        (["--repeat", "0"], "`repeat` is 0; allowed: 1 or more"),
        (["--rows", "40"], "`rows` is 40; allowed: all, or 1 to 32"),
        (["--rows", "some"], "allowed: all, or a number of positions"),
        (["--generate", "33"], "`generate` is 33; allowed: 1 to 32"),
        (["--threads", "1,0"], "`threads` is 0; allowed: 1 to 1024"),
    ] {
        let words = refused(&arguments);
        assert!(words.contains(allowed), "{words}");
    }
    assert!(refused(&["--steps", "4"]).contains("--generate"));
    let path = room("broken").join("config.json");
    fs::write(&path, "{\"model_type\": \"aquatint\", \"colour\": 1}").unwrap();
    let words = aquatint(&["bench", "--config", text(&path)]).expect(2).err;
    assert!(words.contains("is no usable config.json") && words.contains("colour"), "{words}");
}

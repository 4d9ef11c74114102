//! Figures for Prometheus.

use crate::support::Running;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Samples by their name with its labels, as `/metrics` gives them.
fn samples(running: &Running) -> BTreeMap<String, f64> {
    let answer = running.get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"));
    let mut types = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            types.extend(rest.split_once(' '));
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let base = name.split('{').next().unwrap();
            let known = ["", "_total", "_sum", "_count", "_bucket"];
            let family = known.iter().find_map(|end| types.get_key_value(base.strip_suffix(end)?));
            assert!(family.is_some(), "{name} has no type");
            assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{name} is there twice");
        }
    }
    for (name, _) in types.iter().filter(|(_, kind)| **kind == "histogram") {
        let buckets = samples.iter().filter(|(sample, _)| sample.starts_with(&format!("{name}_bucket{{")));
        let most = buckets.map(|(_, count)| *count).fold(0.0, f64::max);
        assert_eq!(samples[&format!("{name}_bucket{{le=\"+Inf\"}}")], most, "{name}");
        assert_eq!(samples[&format!("{name}_count")], most, "{name}");
    }
    samples
}

#[test]
fn a_text_that_a_stop_string_ends_is_completed_and_counts_up_to_there() {
    let running = Running::start();
    let mut body = json!({ "prompt": "Once upon a time", "max_tokens": 100, "seed": 7, "block_length": 4 });
    body["stop"] = json!(["a", "e", "o"]);
    let answer = running.post("/v1/completions", &body).expect(200);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert!(answer["usage"]["forward_passes"].as_u64().unwrap() < 100, "the rest is not filled");
    let samples = samples(&running);
    assert_eq!(samples.get("aquatint_requests_total{ending=\"Completed\"}"), Some(&1.0));
    assert_eq!(samples.get("aquatint_requests_total{ending=\"Cancelled\"}"), None);
    let usage = &answer["usage"];
    assert_eq!(samples["aquatint_tokens_generated_total"], usage["completion_tokens"].as_f64().unwrap());
    assert_eq!(samples["aquatint_tokens_per_forward_sum"], usage["tokens_per_forward"].as_f64().unwrap());
    assert!(samples["aquatint_tokens_committed_total"] > samples["aquatint_tokens_generated_total"]);
}

#[test]
fn figures_count_what_happened_and_are_level_again_when_nothing_does() {
    let running = Running::start();
    let before = samples(&running);
    assert_eq!((before["aquatint_models_loaded"], before["aquatint_requests_running"]), (1.0, 0.0));
    assert!(before["aquatint_model_bytes"] > 1e6);
    let body = json!({ "prompt": "Once upon a time", "max_tokens": 16, "steps": 8, "seed": 1, "block_length": 8 });
    let usage = running.post("/v1/completions", &body).expect(200)["usage"].clone();
    running.post("/v1/completions", &json!({ "prompt": 7 })).expect(400);
    let mut streamed = json!({ "prompt": "Once", "max_tokens": 100, "steps": 4, "seed": 1, "stream": true, "n": 2 });
    streamed["block_length"] = json!(4);
    let mut stream = running.stream("/v1/completions", &streamed);
    stream.event().unwrap();
    let during = samples(&running);
    assert!(during["aquatint_requests_running"] >= 1.0 && during["aquatint_rows_in_flight"] > 100.0);
    drop(stream);
    let patience = Instant::now() + Duration::from_secs(30);
    let after = loop {
        let after = samples(&running);
        if after["aquatint_requests_running"] == 0.0 || Instant::now() > patience {
            break after;
        }
    };
    for level in ["aquatint_requests_running", "aquatint_requests_waiting", "aquatint_rows_in_flight"] {
        assert_eq!(after[level], 0.0, "{level}");
    }
    assert_eq!(after["aquatint_requests_total{ending=\"Completed\"}"], 1.0);
    assert_eq!(after["aquatint_requests_total{ending=\"Cancelled\"}"], 2.0);
    assert_eq!(after["aquatint_http_requests_total{path=\"/v1/completions\",status=\"400\"}"], 1.0);
    assert_eq!(after["aquatint_http_requests_total{path=\"/v1/completions\",status=\"200\"}"], 2.0);
    assert_eq!(after["aquatint_request_seconds_count"], 3.0);
    assert!(after["aquatint_first_text_seconds_count"] >= 2.0);
    let steps = usage["steps"].as_f64().unwrap();
    assert_eq!(during["aquatint_steps_per_request_sum"], steps);
    assert_eq!(during["aquatint_tokens_generated_total"], usage["completion_tokens"].as_f64().unwrap());
    assert!(after["aquatint_denoising_steps_total"] > steps);
    for (theirs, ours) in [
        ("denoising_steps", "denoising_steps"),
        ("canvas_positions", "canvas_positions"),
        ("committed_tokens", "tokens_generated"),
    ] {
        let theirs = after[&format!("vllm:diffusion_num_{theirs}_total")];
        assert_eq!(theirs, after[&format!("aquatint_{ours}_total")]);
        assert!(theirs > 0.0);
    }
}

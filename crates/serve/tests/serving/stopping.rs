//! How a server ends.

use crate::support::{Running, settings};
use aquatint_serve::{ModelSource, ServeError, ServeEvent};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn long(stream: bool) -> Value {
    json!({ "prompt": "Once", "max_tokens": 100, "block_length": 4, "steps": 4, "seed": 1, "stream": stream })
}

#[test]
fn what_runs_is_returned_as_it_stands_when_the_grace_is_over() {
    let running = Running::with(|settings| settings.grace = Duration::from_millis(1));
    let mut stream = running.stream("/v1/completions", &long(true));
    stream.event().unwrap();
    let begun = Instant::now();
    running.ask_to_stop();
    let events = stream.events();
    let (done, last) = (&events[events.len() - 1], &events[events.len() - 2]);
    assert_eq!(done.data, "[DONE]");
    assert_eq!(last.json()["choices"][0]["finish_reason"], "cancelled");
    running.ended().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn what_runs_is_finished_within_the_grace_and_nothing_new_begins() {
    let running = Running::with(|settings| settings.grace = Duration::from_secs(60));
    let alone = running.post("/v1/completions", &long(false)).expect(200);
    let mut stream = running.stream("/v1/completions", &long(true));
    let mut text = stream.event().unwrap().json()["choices"][0]["text"].as_str().unwrap().to_owned();
    running.ask_to_stop();
    running.wait_for(|event| *event == ServeEvent::Stopping);
    let health = running.get("/health").expect(503);
    assert_eq!(health["error"]["code"], "stopping");
    running.post("/v1/completions", &long(false)).expect(503);
    let refused = running.post("/api/generate", &json!({ "prompt": "x" })).expect(503);
    assert_eq!(refused["error"], "the server is stopping");
    let events = stream.events();
    let (_, chunks) = events.split_last().unwrap();
    text.extend(chunks.iter().map(|chunk| chunk.json()["choices"][0]["text"].as_str().unwrap().to_owned()));
    assert_eq!(json!(text), alone["choices"][0]["text"]);
    assert_eq!(chunks.last().unwrap().json()["choices"][0]["finish_reason"], alone["choices"][0]["finish_reason"]);
    running.ended().unwrap();
}

#[test]
fn a_model_that_cannot_be_loaded_ends_the_server_with_its_reason() {
    let mut settings = settings();
    settings.models = ModelSource::named("nowhere=/nonexistent/model");
    let error = Running::begin(settings).ended().unwrap_err();
    assert!(matches!(&error, ServeError::Model(reason) if reason.contains("nowhere")), "{error}");
}

//! Completions: whole and streamed.

use crate::support::{Call, Running};
use serde_json::{Value, json};

fn request() -> Value {
    json!({ "model": "tales", "prompt": "Once upon a time", "max_tokens": 24, "seed": 7, "steps": 12, "temperature": 1 })
}

#[test]
fn a_streamed_completion_is_the_whole_one_in_pieces() {
    let running = Running::start();
    let mut edited = request();
    edited["edit_threshold"] = json!(0.02);
    for request in [request(), edited] {
        streamed_in_pieces(&running, &request);
    }
    running.stop().unwrap();
}

fn streamed_in_pieces(running: &Running, request: &Value) {
    let whole = running.post("/v1/completions", request).expect(200);
    let text = whole["choices"][0]["text"].as_str().unwrap();
    assert!(text.len() > 10, "{text:?}");
    let mut streamed = request.clone();
    streamed["stream"] = json!(true);
    let events = running.stream("/v1/completions", &streamed).events();
    let (last, chunks) = events.split_last().unwrap();
    assert_eq!(last.data, "[DONE]");
    let pieces: String =
        chunks.iter().map(|chunk| chunk.json()["choices"][0]["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(pieces, text);
    assert_eq!(chunks.last().unwrap().json()["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"]);
}

#[test]
fn an_unknown_field_is_refused_by_its_name() {
    let running = Running::start();
    let mut body = request();
    body["best_off"] = json!(2);
    let answer = running.send(&Call::post("/v1/completions", &body)).expect(400);
    assert_eq!(answer["error"]["param"], "best_off");
    assert_eq!(running.get("/health").expect(200), json!({ "status": "ok" }));
}

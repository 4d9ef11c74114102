//! Tokens of a text and back.

use crate::support::Running;
use serde_json::json;

#[test]
fn tokens_are_the_text_and_back() {
    let running = Running::start();
    for text in ["Once upon a time", " a  b\n\tc", "naïve — 日本 🙂", "<|mask|> stays text", ""] {
        let tokenized = running.post("/tokenize", &json!({ "prompt": text, "return_token_strs": true })).expect(200);
        let tokens = tokenized["tokens"].as_array().unwrap();
        assert_eq!(tokenized["count"], tokens.len());
        let strings: String = tokenized["token_strs"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
        assert_eq!(strings, text);
        let back = running.post("/detokenize", &json!({ "tokens": tokens })).expect(200);
        assert_eq!((&back["prompt"], &back["content"]), (&json!(text), &json!(text)));
        let same = running.post("/tokenize", &json!({ "content": text, "add_special": false })).expect(200);
        assert_eq!((&same["tokens"], same.get("token_strs")), (&tokenized["tokens"], None));
    }
}

#[test]
fn tokens_that_do_not_exist_are_refused_by_their_place() {
    let running = Running::start();
    let refused = running.post("/detokenize", &json!({ "tokens": [1, 4_000_000] })).expect(400);
    assert_eq!(refused["error"]["param"], "tokens[1]");
    let refused = running.post("/tokenize", &json!({ "prompt": "a", "content": "a" })).expect(400);
    assert_eq!(refused["error"]["param"], "prompt");
    running.post("/tokenize", &json!({ "model": "other", "prompt": "a" })).expect(404);
}

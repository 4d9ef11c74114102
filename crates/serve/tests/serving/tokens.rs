//! Tokens of a text and back.

use crate::support::{Running, fixture};
use serde_json::{Value, json};
use std::path::Path;

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

/// The small model, whose files say that a begin token stands in front of each text. Nobody reads it, and it is a position.
#[test]
fn a_begin_token_stands_in_front_of_prompts_and_is_in_no_text() {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(Path::new(&fixture())).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    let config = json!({ "bos_token": "<|begin|>", "add_bos_token": true });
    std::fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    let running = Running::with(|settings| settings.models[0].path = folder.path().to_str().unwrap().to_owned());

    let tokens = |body: Value| -> Vec<u64> {
        let tokenized = running.post("/tokenize", &body).expect(200);
        tokenized["tokens"].as_array().unwrap().iter().map(|token| token.as_u64().unwrap()).collect()
    };
    let plain = tokens(json!({ "content": "The fox" }));
    let with = [&[3][..], &plain].concat();
    assert_eq!(tokens(json!({ "prompt": "The fox" })), with);
    assert_eq!(tokens(json!({ "prompt": "The fox", "add_special_tokens": false })), plain);
    assert_eq!(tokens(json!({ "content": "The fox", "add_special": true })), with);
    assert_eq!(tokens(json!({ "prompt": "<|begin|>The fox", "parse_special": true })), with);

    let body = json!({ "prompt": "The fox", "max_tokens": 6, "seed": 1, "echo": true });
    let answer = running.post("/v1/completions", &body).expect(200);
    assert!(answer["choices"][0]["text"].as_str().unwrap().starts_with("The fox"), "{answer}");
    assert_eq!(answer["usage"]["prompt_tokens"], with.len());
    let filled = |body: Value| running.post("/v1/canvas", &body).expect(200)["results"][0].clone();
    let canvas = filled(json!({ "template": "[[4]] ran.", "seed": 1 }));
    let positions = canvas["canvas"]["positions"].as_array().unwrap();
    assert_eq!((&positions[0]["state"], &positions[0]["token"]), (&json!("given"), &json!(3)), "{canvas}");
    assert!(positions[1..5].iter().all(|position| position["state"] == "written"), "{canvas}");
    assert!(canvas["text"].as_str().unwrap().ends_with(" ran."), "{canvas}");
    // The same as tokens says the same.
    let open = |position: &Value| json!({ "state": "open", "token": position["token"] });
    let reopened: Vec<Value> = (0..)
        .zip(positions)
        .map(|(at, position)| if (1..5).contains(&at) { open(position) } else { position.clone() })
        .collect();
    let again = filled(json!({ "canvas": { "positions": reopened }, "seed": 1 }));
    assert_eq!(again["text"], canvas["text"]);
    running.stop().unwrap();
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

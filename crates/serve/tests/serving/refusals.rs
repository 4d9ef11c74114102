//! What a refusal says: the field, in the words of the client's own protocol. Nothing is ignored silently.

use crate::support::Running;
use serde_json::{Value, json};

#[test]
fn messages_name_the_types_of_json_and_not_those_of_the_program() {
    let running = Running::start();
    let completions = [
        ("prompt", json!(5)),
        ("prompt", json!(["a", 1])),
        ("max_tokens", json!(1.5)),
        ("max_tokens", json!(-1)),
        ("seed", json!("x")),
        ("temperature", json!("warm")),
        ("stop", json!([1])),
        ("stop", json!({})),
        ("logit_bias", json!([])),
        ("logit_bias", json!({ "a": 1 })),
        ("logit_bias", json!({ "-1": 1 })),
        ("logprobs", json!(true)),
        ("response_format", json!("json")),
        ("response_format", json!({ "type": "json_schema", "json_schema": 5 })),
        ("stream_options", json!(7)),
    ];
    let chats = [
        ("messages", json!("hello")),
        ("messages", json!([1])),
        ("messages", json!([{ "role": "user", "content": 5 }])),
        ("tool_choice", json!(5)),
    ];
    let canvases = [("canvas", json!([])), ("canvas", json!({ "positions": [{ "state": "given", "token": -1 }] }))];
    let ollama = [("options", json!([])), ("format", json!(5)), ("keep_alive", json!([]))];
    let requests: [(&str, &[(&str, Value)]); 4] = [
        ("/v1/completions", &completions),
        ("/v1/chat/completions", &chats),
        ("/v1/canvas", &canvases),
        ("/api/generate", &ollama),
    ];
    for (path, fields) in requests {
        for (field, value) in fields {
            let mut body = json!({});
            body[field] = value.clone();
            let refused = running.post(path, &body).expect(400);
            let error = &refused["error"];
            let message = error["message"].as_str().or(error.as_str()).unwrap();
            assert!(message.contains(&format!("`{field}")), "{field}: {message}");
            let of_rust =
                ["usize", "u32", "u64", "f64", "enum ", "struct ", "variant of", "sequence", " map", "line 1", "?"];
            for word in of_rust {
                assert!(!message.contains(word), "{path} {field} {value}: {message}");
            }
        }
    }
}

#[test]
fn a_refusal_names_the_field_that_is_to_blame() {
    let running = Running::start();
    let refused = |path: &str, body: Value| {
        let error = running.post(path, &body).expect(400)["error"].clone();
        (error["param"].as_str().unwrap_or_default().to_owned(), error["message"].as_str().unwrap().to_owned())
    };
    for (path, body, param) in [
        ("/v1/completions", json!({ "prompt": "x", "regex": "[^\\s\\S]" }), "regex"),
        ("/v1/completions", json!({ "prompt": "x", "regex": "a{1000000}" }), "regex"),
        ("/v1/completions", json!({ "prompt": "x", "regex": "a{500}", "max_tokens": 2 }), "regex"),
        ("/v1/completions", json!({ "prompt": "x", "grammar": "start: \"a\"~99", "max_tokens": 2 }), "grammar"),
        ("/v1/completions", json!({ "prompt": [450, 4_000_000] }), "prompt[1]"),
        ("/v1/completions", json!({ "prompt": [4_000_000], "suffix": "x", "max_tokens": 2 }), "prompt[0]"),
        ("/v1/completions", json!({ "prompt": "x", "churn": 0.5 }), "churn"),
        ("/v1/completions", json!({ "prompt": "x", "correctors": 2, "churn": 0.5 }), "correctors"),
        ("/v1/completions", json!({ "prompt": "x", "revise": true }), "revise"),
        ("/v1/chat/completions", json!({ "messages": [{ "role": "user" }] }), "messages[0].content"),
        ("/v1/chat/completions", json!({ "messages": [{ "role": "user", "content": null }] }), "messages[0].content"),
        (
            "/v1/canvas",
            json!({ "canvas": { "positions": [{ "state": "open" }, { "state": "given", "token": 4_000_000 }] } }),
            "canvas.positions[1].token",
        ),
    ] {
        let (named, message) = refused(path, body);
        assert_eq!(named, param, "{message}");
        assert!(!message.contains("belong together"), "{message}");
    }
}

#[test]
fn a_canvas_that_is_too_long_is_blamed_on_the_field_that_makes_it_long() {
    // Too long for the model, and for the server.
    for (limit, length) in [(1 << 20, 20_000), (16, 20)] {
        let running = Running::with(|settings| settings.canvas_limit = limit);
        let (tokens, text) = (vec![450; length], "x ".repeat(length));
        let messages = |content: &str| json!([{ "role": "user", "content": content }]);
        let canvas = json!({ "positions": vec![json!({ "state": "open" }); length] });
        for (path, mut body, param) in [
            ("/v1/completions", json!({ "prompt": "x", "max_tokens": length }), "max_tokens"),
            ("/v1/completions", json!({ "prompt": tokens, "max_tokens": 1 }), "prompt"),
            ("/v1/completions", json!({ "prompt": text, "suffix": "x", "max_tokens": 1 }), "prompt"),
            ("/v1/chat/completions", json!({ "messages": messages("x"), "max_tokens": length }), "max_tokens"),
            ("/v1/chat/completions", json!({ "messages": messages(&text), "max_tokens": 1 }), "messages"),
            ("/v1/canvas", json!({ "template": "x", "max_tokens": length }), "max_tokens"),
            ("/v1/canvas", json!({ "template": text, "max_tokens": 1 }), "template"),
            ("/v1/canvas", json!({ "template": format!("The [[{length}]]") }), "template"),
            ("/v1/canvas", json!({ "canvas": canvas }), "canvas"),
            ("/v1/canvas/alternatives", json!({ "canvas": canvas, "positions": [0] }), "canvas"),
        ] {
            if !path.ends_with("alternatives") {
                body["steps"] = json!(1);
            }
            let error = running.post(path, &body).expect(400)["error"].clone();
            assert_eq!(
                (&error["param"], &error["code"]),
                (&json!(param), &json!("context_length_exceeded")),
                "{error}"
            );
        }
    }
}

#[test]
fn what_changes_nothing_is_named_in_the_warnings() {
    let running = Running::start();
    let canvas = json!({ "positions": [{ "state": "given", "token": 450 }, { "state": "open" }] });
    for (path, body, field) in [
        ("/v1/canvas", json!({ "canvas": canvas, "max_tokens": 9, "steps": 1 }), "max_tokens"),
        ("/v1/canvas", json!({ "template": "The [[2]]", "max_tokens": 9, "steps": 1 }), "max_tokens"),
    ] {
        let answer = running.post(path, &body).expect(200);
        let warnings = answer["warnings"].as_array().cloned().unwrap_or_default();
        let named = |warning: &Value| warning.as_str().is_some_and(|text| text.starts_with(&format!("`{field}`")));
        assert!(warnings.iter().any(named), "{path} {field}: {answer}");
    }
}

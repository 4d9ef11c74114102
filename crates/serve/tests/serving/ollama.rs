//! Ollama's protocol.

use crate::support::Running;
use serde_json::{Value, json};

fn options() -> Value {
    json!({ "num_predict": 24, "seed": 7, "steps": 12, "temperature": 1, "top_k": 0, "num_ctx": 64 })
}

#[test]
fn lines_are_the_whole_text_in_pieces() {
    let running = Running::start();
    let mut body = json!({ "model": "tales:latest", "prompt": "Once upon a time", "options": options() });
    let mut stream = running.stream("/api/generate", &body);
    assert!(stream.headers().iter().any(|(_, value)| value == "application/x-ndjson"));
    let lines: Vec<Value> = std::iter::from_fn(|| stream.json_line()).collect();
    body["stream"] = json!(false);
    let whole = running.post("/api/generate", &body).expect(200);
    let text = whole["response"].as_str().unwrap();
    assert!(text.len() > 10, "{text:?}");
    let pieces: String = lines.iter().map(|line| line["response"].as_str().unwrap()).collect();
    assert_eq!(pieces, text);
    let (last, before) = lines.split_last().unwrap();
    assert!(before.iter().all(|line| line["done"] == false && line.get("done_reason").is_none()));
    for answer in [last, &whole] {
        assert_eq!((&answer["done"], &answer["model"]), (&json!(true), &json!("tales:latest")));
        assert_eq!((&answer["done_reason"], &answer["eval_count"]), (&json!("length"), &json!(24)));
        assert!(answer["total_duration"].as_u64().unwrap() >= answer["eval_duration"].as_u64().unwrap());
        assert!(answer["eval_duration"].as_u64().unwrap() > 1000, "nanoseconds");
        assert_eq!(answer["warnings"][0], "`options.num_ctx` has no effect: the server and the model decide");
    }

    // The same text by OpenAI's protocol.
    let same = json!({ "prompt": "Once upon a time", "max_tokens": 24, "seed": 7, "steps": 12, "temperature": 1 });
    assert_eq!(running.post("/v1/completions", &same).expect(200)["choices"][0]["text"], text);
    let messages = json!([{ "role": "user", "content": "Once upon a time" }]);
    let chat = json!({ "messages": messages, "options": options(), "stream": false });
    let chat = running.post("/api/chat", &chat).expect(200);
    assert_eq!((&chat["message"]["role"], &chat["message"]["content"]), (&json!("assistant"), &json!(text)));
}

#[test]
fn a_text_is_filled_in_before_its_suffix() {
    let running = Running::start();
    let filled = json!({
        "prompt": "Once upon a time", "suffix": " and they lived happily.", "options": options(), "stream": false,
    });
    let filled = running.post("/api/generate", &filled).expect(200);
    let same = json!({
        "prompt": "Once upon a time", "suffix": " and they lived happily.", "max_tokens": 24, "seed": 7, "steps": 12,
        "temperature": 1,
    });
    assert_eq!(filled["response"], running.post("/v1/completions", &same).expect(200)["choices"][0]["text"]);
    let raw = json!({ "prompt": "Once", "raw": true, "system": "Be brief.", "options": options() });
    let refused = running.post("/api/generate", &raw).expect(400);
    assert_eq!(refused, json!({ "error": "`system` is not supported; with `raw` it belongs into the prompt" }));
}

#[test]
fn models_are_listed_and_described() {
    let running = Running::start();
    let tags = running.get("/api/tags").expect(200);
    assert_eq!(tags, running.get("/api/ps").expect(200));
    let model = &tags["models"][0];
    assert_eq!((&model["name"], &model["details"]["format"]), (&json!("tales:latest"), &json!("safetensors")));
    let shown = running.post("/api/show", &json!({ "model": model["name"] })).expect(200);
    assert_eq!(shown["capabilities"], json!(["completion", "insert"]));
    assert_eq!(shown["details"], model["details"]);
    assert_eq!(running.get("/api/version").expect(200)["version"], env!("CARGO_PKG_VERSION"));
    let loaded = running.post("/api/generate", &json!({ "model": "tales", "stream": false })).expect(200);
    assert_eq!((&loaded["done_reason"], &loaded["response"]), (&json!("load"), &json!("")));
}

#[test]
fn errors_have_the_shape_of_ollamas() {
    let running = Running::start();
    for (path, body, status, part) in [
        ("/api/generate", json!({ "model": "other", "prompt": "x" }), 404, "`other`"),
        ("/api/generate", json!({ "prompt": "x", "options": { "temprature": 1 } }), 400, "`options.temprature`"),
        ("/api/generate", json!({ "prompt": "x", "options": { "top_p": 7 } }), 400, "`top_p`"),
        ("/api/generate", json!({ "prompt": "x", "images": ["aGk="] }), 400, "`images[0]`"),
        ("/api/generate", json!({ "prompt": "x", "images": ["aGk="], "raw": true }), 400, "`images`"),
        ("/api/generate", json!({ "prompt": "x", "promt": "y" }), 400, "`promt`"),
        ("/api/chat", json!({ "messages": [{ "content": "x" }] }), 400, "role"),
        ("/api/chat", json!({ "messages": [{ "role": "user", "content": "x" }], "think": true }), 400, "`think`"),
        ("/api/generate", json!({ "prompt": "x", "keep_alive": "long" }), 400, "`keep_alive`"),
        ("/api/embed", json!({ "input": "x" }), 400, "embeddings"),
        ("/api/pull", json!({ "model": "x" }), 404, "nothing"),
    ] {
        let answer = running.post(path, &body).expect(status);
        let message = answer["error"].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert!(message.contains(part), "{path}: {message}");
    }
}

#[test]
fn answers_keep_to_a_schema() {
    let running = Running::start();
    let schema = json!({
        "type": "object", "properties": { "animal": { "enum": ["fox", "owl"] } }, "required": ["animal"],
        "additionalProperties": false,
    });
    let body = |format: Value| {
        let options = json!({ "num_predict": 32, "seed": 7, "steps": 8 });
        json!({ "prompt": "The animal as JSON: ", "format": format, "options": options, "stream": false })
    };
    let answer = running.post("/api/generate", &body(schema)).expect(200);
    let written: Value = serde_json::from_str(answer["response"].as_str().unwrap()).unwrap();
    assert!(["fox", "owl"].contains(&written["animal"].as_str().unwrap()), "{written}");
    assert_eq!(running.post("/api/generate", &body(json!(""))).status, 200);
    // Our own fields are among the options.
    let within = json!({ "num_predict": 8, "seed": 7, "regex": "(fox|owl)" });
    let mut expression = json!({ "prompt": "An animal:", "options": within, "stream": false });
    let answer = running.post("/api/generate", &expression).expect(200);
    assert!(["fox", "owl"].contains(&answer["response"].as_str().unwrap().trim_start()), "{answer}");
    expression["format"] = json!("json");
    assert_eq!(running.post("/api/generate", &expression).status, 400);
    let refused = running.post("/api/generate", &body(json!("xml"))).expect(400);
    assert_eq!(refused["error"], "`format` is `xml`; allowed: `json` or a JSON schema");
}

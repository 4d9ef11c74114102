//! Answers that are kept within a form: schemas, expressions, calls of tools.

use crate::support::Running;
use aquatint_molecule::Molecule;
use serde_json::{Value, json};

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "kind": {"enum": ["fox", "owl"]},
        },
        "required": ["name", "age", "kind"],
        "additionalProperties": false,
    })
}

#[test]
fn an_answer_keeps_its_schema_whatever_the_settings() {
    let server = Running::start();
    let settings = [
        json!({}),
        json!({"policy": "confidence", "steps": 6}),
        json!({"temperature": 0.0}),
        json!({"temperature": 1.5}),
    ];
    for (seed, settings) in settings.iter().enumerate() {
        let mut request = json!({
            "messages": [{"role": "user", "content": "An animal:"}], "max_tokens": 64, "seed": seed,
            "response_format": {"type": "json_schema", "json_schema": {"name": "animal", "schema": schema(), "strict": true}},
        });
        request.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let answer = server.post("/v1/chat/completions", &request).expect(200);
        let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
        let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(value["name"].as_str().unwrap().chars().count() <= 12, "{text}");
        assert!((0..=120).contains(&value["age"].as_i64().unwrap()), "{text}");
        assert!(["fox", "owl"].contains(&value["kind"].as_str().unwrap()), "{text}");
    }
}

#[test]
fn a_text_matches_its_expression_in_every_endpoint() {
    let server = Running::start();
    let regex = "(yes|no), [a-z]{3,9}!";
    let completion = json!({"prompt": "Is it?", "regex": regex, "max_tokens": 16, "seed": 1});
    let completed = server.post("/v1/completions", &completion).expect(200);
    let canvas = json!({"template": "Is it? [[~16]]", "regex": regex, "seed": 1});
    let filled = server.post("/v1/canvas", &canvas).expect(200);
    for text in [&completed["choices"][0]["text"], &filled["results"][0]["holes"][0]] {
        let text = text.as_str().unwrap();
        let rest = text
            .trim_start()
            .strip_prefix("yes, ")
            .or(text.trim_start().strip_prefix("no, "))
            .unwrap_or_else(|| panic!("{text:?}"));
        let word = rest.strip_suffix('!').unwrap_or_else(|| panic!("{text:?}"));
        assert!((3..=9).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase()), "{text:?}");
    }
    let impossible = json!({"prompt": "Is it?", "regex": "a{400}", "max_tokens": 2});
    assert_eq!(server.post("/v1/completions", &impossible).status, 400);
    let two = json!({"prompt": "a", "regex": "a", "response_format": {"type": "json_object"}});
    assert_eq!(server.post("/v1/completions", &two).expect(400)["error"]["param"], "response_format");
}

#[test]
fn a_hole_in_a_molecule_is_filled_so_that_all_of_it_is_one() {
    let server = Running::start();
    let canvas = json!({"template": "c1ccc([[~12]])cc1", "molecule": true, "seed": 1});
    let filled = server.post("/v1/canvas", &canvas).expect(200);
    let whole = format!("c1ccc({})cc1", filled["results"][0]["holes"][0].as_str().unwrap());
    Molecule::parse(&whole).unwrap_or_else(|error| panic!("{whole}: {error}"));
    for (refused, reason) in [
        (json!({"template": "C==[[~4]]", "molecule": true}), "no molecule begins with"),
        (json!({"template": "C[[~4]]C[[~4]]", "molecule": true}), "a molecule has one hole"),
        (json!({"template": "C[[~4]]", "molecule": true, "regex": "C"}), "kept within one thing"),
    ] {
        let said = server.post("/v1/canvas", &refused).expect(400);
        assert!(said.to_string().contains(reason), "{said}");
    }
}

#[test]
fn a_required_tool_is_called_with_arguments_that_keep_their_schema() {
    let server = Running::start();
    // The small model reads 256 tokens, and the tools are part of what it reads.
    let parameters = json!({"type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 12}}, "required": ["age"]});
    let tool = json!({"type": "function", "function": {"name": "age", "parameters": parameters}});
    let other = json!({"type": "function", "function": {"name": "stop"}});
    let mut request = json!({
        "messages": [{"role": "user", "content": "An animal?"}], "max_tokens": 60, "seed": 5, "tools": [tool, other],
        "tool_choice": {"type": "function", "function": {"name": "age"}},
    });
    let answer = server.post("/v1/chat/completions", &request).expect(200);
    let choice = &answer["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("tool_calls"), &Value::Null));
    let call = &choice["message"]["tool_calls"][0]["function"];
    let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(call["name"], "age");
    assert!((0..=12).contains(&arguments["age"].as_i64().unwrap()), "{arguments}");
    request["stream"] = json!(true);
    request["tool_choice"] = json!("required");
    let mut stream = server.stream("/v1/chat/completions", &request);
    let mut deltas = Vec::new();
    while let Some(event) = stream.event().filter(|event| event.data != "[DONE]") {
        deltas.push(event.json()["choices"][0].clone());
    }
    assert_eq!(deltas.last().unwrap()["finish_reason"], "tool_calls");
    let calls: Vec<&Value> = deltas.iter().filter_map(|choice| choice["delta"]["tool_calls"].get(0)).collect();
    assert_eq!(calls.len(), 1);
    assert!(["age", "stop"].contains(&calls[0]["function"]["name"].as_str().unwrap()));
}

//! The description of the interface.

use crate::support::Running;
use serde_json::{Value, json};

#[test]
fn every_path_is_described_with_its_errors_and_nothing_is_referred_to_that_is_not_there() {
    let running = Running::start();
    let api = running.get("/openapi.json").expect(200);
    let paths = api["paths"].as_object().unwrap();
    for path in [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/images/generations",
        "/v1/audio/speech",
        "/v1/models",
        "/v1/models/{model}",
        "/v1/embeddings",
        "/v1/canvas",
        "/v1/canvas/{id}",
        "/tokenize",
        "/detokenize",
        "/health",
        "/metrics",
        "/props",
        "/openapi.json",
        "/api/chat",
        "/api/generate",
        "/api/tags",
        "/api/show",
        "/api/ps",
        "/api/version",
        "/api/embed",
        "/api/embeddings",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            for status in ["400", "403", "500", "503"] {
                assert!(responses.contains_key(status), "{method} {path} {status}");
            }
            for (status, response) in responses {
                let is_described = response["description"].as_str().is_some_and(|description| !description.is_empty());
                assert!(is_described, "{method} {path} {status}");
            }
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(ids.insert(id.clone()), "{id} is the name of two operations");
            assert_eq!(operation.get("requestBody").is_some(), responses.contains_key("413"), "{method} {path}");
            assert_eq!(operation.get("security"), None);
        }
    }
    let mut references = Vec::new();
    collect(&api, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        assert!(api.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
    }
    let body = &api["components"]["schemas"]["CompletionBody"];
    assert_eq!(body["additionalProperties"], json!(false));
    assert!(body["properties"].get("prompt").is_some() && body["properties"].get("temperature").is_some());
    let stream = "/paths/~1v1~1completions/post/responses/200/content/text~1event-stream";
    assert!(api.pointer(stream).is_some());
}

#[test]
fn a_server_with_keys_says_where_they_are_needed() {
    let running = Running::with(|settings| settings.api_keys = vec!["key".to_owned()]);
    let call = crate::support::Call::get("/openapi.json").header("Authorization", "Bearer key");
    let api = running.send(&call).expect(200);
    let operation = |path: &str| api["paths"][path]["get"].clone();
    assert_eq!(operation("/v1/models")["security"], json!([{ "api_key": [] }]));
    assert!(operation("/v1/models")["responses"].get("401").is_some());
    assert_eq!(operation("/health").get("security"), None);
    assert_eq!(api["components"]["securitySchemes"]["api_key"]["scheme"], "bearer");
}

fn collect<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| collect(value, references));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

//! Several models.

use crate::support::{Running, fixture};
use aquatint_serve::{ModelSource, ServeEvent};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

fn completion(model: &str) -> Value {
    json!({ "model": model, "prompt": "Once upon a time", "max_tokens": 12, "steps": 6, "seed": 3 })
}

fn several(names: &[&str]) -> Vec<ModelSource> {
    names.iter().map(|name| ModelSource { name: (*name).to_owned(), path: fixture() }).collect()
}

#[test]
fn the_least_recently_used_model_makes_room_and_comes_back() {
    let size = Running::start().get("/api/ps").expect(200)["models"][0]["size"].as_u64().unwrap();
    let running = Running::with(|settings| {
        settings.models = several(&["one", "two", "three"]);
        settings.model_memory = Some(2 * size + size / 2);
    });
    let text =
        |model: &str| running.post("/v1/completions", &completion(model)).expect(200)["choices"][0]["text"].clone();
    let first = text("one");
    assert_eq!(text("two"), first);
    assert_eq!(text("one"), first);
    assert_eq!(text("three"), first);
    assert_eq!(text("two"), first);
    let loads = running.events().into_iter().filter_map(|event| match event {
        ServeEvent::Loaded { model, .. } => Some(format!("+{model}")),
        ServeEvent::Unloaded { model } => Some(format!("-{model}")),
        _ => None,
    });
    assert_eq!(loads.collect::<Vec<_>>(), ["+one", "+two", "-two", "+three", "-one", "+two"]);
    let loaded = running.get("/api/ps").expect(200)["models"].as_array().unwrap().len();
    assert_eq!(loaded, 2);
}

#[test]
fn a_model_that_works_is_not_given_up() {
    let running = Running::with(|settings| {
        settings.models = several(&["one", "two"]);
        settings.model_memory = Some(1);
    });
    let mut body = completion("one");
    body["max_tokens"] = json!(100);
    body["block_length"] = json!(4);
    let alone = running.post("/v1/completions", &body).expect(200);
    body["stream"] = json!(true);
    let mut stream = running.stream("/v1/completions", &body);
    let mut text = stream.event().unwrap().json()["choices"][0]["text"].as_str().unwrap().to_owned();
    running.post("/v1/completions", &completion("two")).expect(200);
    assert!(!running.events().contains(&ServeEvent::Unloaded { model: "one".to_owned() }));
    let events = stream.events();
    let chunks = events.iter().filter(|event| event.data != "[DONE]");
    text.extend(chunks.map(|chunk| chunk.json()["choices"][0]["text"].as_str().unwrap().to_owned()));
    assert_eq!(json!(text), alone["choices"][0]["text"]);
    // Once it is idle, it does not stay beyond the budget for good.
    let patience = Instant::now() + Duration::from_secs(30);
    while !running.events().contains(&ServeEvent::Unloaded { model: "one".to_owned() }) {
        assert!(Instant::now() < patience, "{:?}", running.events());
        running.post("/v1/completions", &completion("two")).expect(200);
    }
    assert!(!running.events().contains(&ServeEvent::Unloaded { model: "two".to_owned() }));
}

#[test]
fn keys_that_nothing_knows_are_reported_when_a_model_is_loaded() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/diffusion_gemma");
    let folder = tempfile::tempdir().unwrap();
    for name in ["generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(golden.join(name), folder.path().join(name)).unwrap();
    }
    let mut config: Value = serde_json::from_slice(&std::fs::read(golden.join("config.json")).unwrap()).unwrap();
    config["speed"] = json!(3);
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let path = folder.path().display().to_string();
    let running = Running::with(|settings| settings.models = vec![ModelSource { name: "gemma".to_owned(), path }]);
    let loaded = running.events().into_iter().find_map(|event| match event {
        ServeEvent::Loaded { unknown_keys, has_experts, .. } => Some((unknown_keys, has_experts)),
        _ => None,
    });
    assert_eq!(loaded, Some((vec!["speed".to_owned()], true)));
    // What the model's own settings do is taken back by a request.
    let text = |revise: Option<bool>| {
        let mut body = json!({ "prompt": "Hi", "max_tokens": 16, "seed": 1 });
        revise.into_iter().for_each(|revise| body["revise"] = json!(revise));
        running.post("/v1/completions", &body).expect(200)["choices"][0]["text"].clone()
    };
    assert_eq!(text(None), text(Some(true)));
    assert_ne!(text(None), text(Some(false)));
}

#[test]
fn a_model_is_loaded_for_the_next_client_where_the_first_one_goes_away() {
    let running = Running::with(|settings| settings.models = several(&["one", "two"]));
    let body = completion("two").to_string();
    let is_loaded = |event: &ServeEvent| matches!(event, ServeEvent::Loaded { model, .. } if model == "two");
    for _ in 0..200 {
        let mut connection = TcpStream::connect(running.address()).unwrap();
        let head =
            format!("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
        connection.write_all(format!("{head}{body}").as_bytes()).unwrap();
        // It waits for less than the model needs.
        std::thread::sleep(Duration::from_millis(10));
        drop(connection);
        if running.events().iter().any(is_loaded) {
            break;
        }
    }
    assert_eq!(running.events().iter().filter(|event| is_loaded(event)).count(), 1);
}

#[test]
fn unknown_and_broken_models_are_refused_by_name() {
    let running = Running::with(|settings| settings.models.push(ModelSource::named("broken=/nonexistent/model")));
    let unknown = running.post("/v1/completions", &completion("other")).expect(404);
    assert_eq!((&unknown["error"]["code"], &unknown["error"]["param"]), (&json!("model_not_found"), &json!("model")));
    let broken = running.post("/v1/completions", &completion("broken")).expect(500);
    assert!(broken["error"]["message"].as_str().unwrap().contains("`broken` cannot be loaded"), "{broken}");
    running.post("/v1/completions", &completion("tales")).expect(200);
}

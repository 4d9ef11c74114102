//! Several models.

use crate::support::{Running, fixture};
use aquatint::checkpoint::{AdapterConfig, AdapterDescription, Checkpoint, GenerationDefaults, Storage, save_adapter};
use aquatint::compute::Cpu;
use aquatint::network::{AdapterSpec, LowRankHalf, LowRankSpec};
use aquatint_serve::{AdapterChoice, ModelSource, ServeEvent};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

fn completion(model: &str) -> Value {
    json!({ "model": model, "prompt": "Once upon a time", "max_tokens": 12, "steps": 6, "seed": 3 })
}

fn several(names: &[&str]) -> Vec<ModelSource> {
    let source = |name: &&str| ModelSource { name: (*name).to_owned(), path: fixture(), adapter: AdapterChoice::First };
    names.iter().map(source).collect()
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
    let running = Running::with(|settings| {
        settings.models = vec![ModelSource { name: "gemma".to_owned(), path, adapter: AdapterChoice::First }]
    });
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
    let running = Running::with(|settings| settings.models.extend(ModelSource::named("broken=/nonexistent/model")));
    let unknown = running.post("/v1/completions", &completion("other")).expect(404);
    assert_eq!((&unknown["error"]["code"], &unknown["error"]["param"]), (&json!("model_not_found"), &json!("model")));
    let broken = running.post("/v1/completions", &completion("broken")).expect(500);
    assert!(broken["error"]["message"].as_str().unwrap().contains("`broken` cannot be loaded"), "{broken}");
    running.post("/v1/completions", &completion("tales")).expect(200);
}

/// The folder of an adapter for a model, which adds something.
fn adapter(folder: &Path, name: &str, model: &str, step: usize) -> String {
    advised_adapter((folder, name), model, step, None)
}

/// The same with advice and a chat template of its own.
fn advised_adapter(
    (folder, name): (&Path, &str),
    model: &str,
    step: usize,
    advised: Option<(&GenerationDefaults, &Value)>,
) -> String {
    let checkpoint = Checkpoint::open(model).unwrap();
    let config = AdapterConfig::new(Some(model.to_owned()), 2, 4.0);
    let addition = LowRankSpec { rank: 2, factor: 2.0 };
    let adapter = AdapterSpec::new("learned", &checkpoint.spec, &["all-linear".to_owned()], addition).unwrap();
    let mut spec = checkpoint.spec.clone();
    spec.adapters.push(adapter.clone());
    let mut network = checkpoint.network_in_groups(Cpu::<f32>::scalar(), (spec, 1), &[]).unwrap();
    for matrix in adapter.matrices.keys() {
        let up = adapter.tensor_name(matrix, LowRankHalf::Up);
        let length = network.weights().read_parameter(&up).unwrap().len();
        let values: Vec<f32> = (0..length).map(|i| ((i * step) % 11) as f32 / 4.0 - 1.25).collect();
        network.weights_mut().write_parameter(&up, &values).unwrap();
    }
    let path = folder.join(name);
    std::fs::create_dir_all(&path).unwrap();
    let (generation, tokenizer_config) = (advised.map(|(generation, _)| generation), advised.map(|(_, config)| config));
    let (config, adapter, family) = (&config, &adapter, checkpoint.family);
    let description = AdapterDescription { config, adapter, family, generation, tokenizer_config };
    save_adapter(&path, &description, &network, Storage::F32).unwrap();
    path.display().to_string()
}

#[test]
fn a_model_is_served_alone_and_with_each_of_its_adapters_with_its_weights_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] =
        [("first", 3), ("second", 7)].map(|(name, step)| adapter(folder.path(), name, &fixture(), step));
    let given = format!("base={}+{first}+{second}", fixture());
    let running = Running::with(|settings| settings.models = ModelSource::named(&given));
    let text =
        |model: &str| running.post("/v1/completions", &completion(model)).expect(200)["choices"][0]["text"].clone();
    let texts = ["base", "base+first", "base+second"].map(text);
    assert!(texts[0] != texts[1] && texts[0] != texts[2] && texts[1] != texts[2], "{texts:?}");
    // Each is what it is without the others, and stays so beside them.
    let alone = Running::with(|settings| {
        let source = |name: &str, path: String| ModelSource { name: name.into(), path, adapter: AdapterChoice::First };
        settings.models = vec![source("base", fixture()), source("second", format!("{}+{second}", fixture()))];
    });
    let of_other =
        |model: &str| alone.post("/v1/completions", &completion(model)).expect(200)["choices"][0]["text"].clone();
    assert_eq!([of_other("base"), of_other("second")], [texts[0].clone(), texts[2].clone()]);
    assert_eq!(["base", "base+first", "base+second"].map(text), texts);
    let names = running.get("/v1/models").expect(200);
    let names: Vec<&str> = names["data"].as_array().unwrap().iter().filter_map(|model| model["id"].as_str()).collect();
    assert_eq!(names, ["base", "base+first", "base+second"]);
    let loads = running.events().into_iter().filter(|event| matches!(event, ServeEvent::Loaded { .. })).count();
    assert_eq!(loads, 1);
    let unknown = running.post("/v1/completions", &completion("base+third")).expect(404);
    assert!(unknown.to_string().contains("base+first"), "{unknown}");
}

#[test]
fn each_adapter_answers_by_the_template_and_the_advice_of_its_own_folder() {
    let folder = tempfile::tempdir().unwrap();
    let template = |words: &str| {
        let source = format!(
            "{{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}{{% if add_generation_prompt %}}{words}{{% endif %}}"
        );
        json!({ "chat_template": source })
    };
    let (short, long) = (template(" and then"), template(" because the fox and the hen"));
    let advice = |max_new_tokens| GenerationDefaults {
        max_new_tokens: Some(max_new_tokens),
        temperature: Some(0.0),
        ..GenerationDefaults::default()
    };
    let first = advised_adapter((folder.path(), "first"), &fixture(), 3, Some((&advice(5), &short)));
    let second = advised_adapter((folder.path(), "second"), &fixture(), 7, Some((&advice(9), &long)));
    let plain = adapter(folder.path(), "plain", &fixture(), 5);
    let given = format!("base={}+{first}+{second}+{plain}", fixture());
    let running = Running::with(|settings| settings.models = ModelSource::named(&given));
    let usage = |model: &str| {
        let body =
            json!({ "model": model, "messages": [{ "role": "user", "content": "Once upon a time" }], "seed": 3 });
        running.post("/v1/chat/completions", &body).expect(200)["usage"].clone()
    };
    let tokens = |text: &str| Checkpoint::open(&fixture()).unwrap().vocabulary.encode_text(text).unwrap().tokens.len();
    for (model, prompt, most) in [
        ("base+first", "Once upon a time and then", 5),
        ("base+second", "Once upon a time because the fox and the hen", 9),
    ] {
        let usage = usage(model);
        assert_eq!(usage["prompt_tokens"], json!(tokens(prompt)), "{model}: {usage}");
        assert!(usage["completion_tokens"].as_u64().unwrap() <= most, "{model}: {usage}");
    }
    // What says nothing is used as the model is.
    assert_eq!(usage("base+plain")["prompt_tokens"], usage("base")["prompt_tokens"]);
    let defaults = |model: &str| {
        let props = running.get("/props").expect(200);
        let models = props["models"].as_array().unwrap();
        models.iter().find(|there| there["name"] == model).unwrap()["defaults"].clone()
    };
    let most = |model: &str| defaults(model)["max_tokens"].clone();
    assert_eq!((most("base+first"), most("base+second")), (json!(5), json!(9)), "{}", defaults("base+first"));
}

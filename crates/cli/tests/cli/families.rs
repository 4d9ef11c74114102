//! Checkpoints of other families are used as their makers publish them.

use crate::support::{aquatint, room, story, text};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn llada() -> PathBuf {
    golden("llada")
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(name)
}

#[test]
fn a_llada_is_shown_measured_and_fills_canvases() {
    let model = llada();
    let shown = aquatint(&["show", text(&model)]).expect(0).out;
    for line in [
        "network     3 layers, width 64, feed-forward 160",
        "heads       4 of 16",
        "attention   full",
        "process     masked, linear schedule",
        "vocabulary  384 tokens",
        "context     256 positions",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} in\n{shown}");
    }
    assert!(shown.contains("max_new_tokens 32") && shown.contains("policy confidence"), "{shown}");
    let json: Value =
        serde_json::from_str(&aquatint(&["show", text(&model), "--format", "json"]).expect(0).out).unwrap();
    let config: Value = serde_json::from_slice(&std::fs::read(model.join("config.json")).unwrap()).unwrap();
    for (key, value) in json["config"].as_object().unwrap() {
        assert_eq!(*value, config[key], "{key}");
    }

    let generate = |more: &[&str]| {
        let arguments = [&["generate", "The [[3]] ran.", "-m", text(&model), "--seed", "1"], more].concat();
        aquatint(&arguments).expect(0).out
    };
    let filled = generate(&[]);
    assert!(filled.starts_with("The ") && filled.trim_end().ends_with(" ran."), "{filled}");
    assert_eq!(filled, generate(&["--device", "cpu-scalar"]));

    let data = room("llada").join("a.txt");
    std::fs::write(&data, story(20)).unwrap();
    let arguments = ["eval", "likelihood", "-m", text(&model), "-d", text(&data), "--format", "json", "--limit", "4"];
    let measured: Value = serde_json::from_str(&aquatint(&arguments).expect(0).out).unwrap();
    // It never learnt anything.
    assert!(measured["nats_per_token"].as_f64().unwrap() > 3.0, "{measured}");
}

#[test]
fn a_quantised_llada_stays_one() {
    let out = room("llada-quantised").join("8");
    let output = aquatint(&["quantize", text(&llada()), "--bits", "8", "--out", text(&out)]).expect(0);
    assert!(output.err.lines().any(|line| line.starts_with("gate_proj") && line.ends_with(" %")), "{}", output.err);
    let read = |folder: &Path, file: &str| -> Value {
        serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap()
    };
    let config = read(&out, "config.json");
    assert_eq!(config["model_type"], json!("llada"));
    assert_eq!(config["eos_token_id"], read(&llada(), "config.json")["eos_token_id"]);
    assert_eq!(config["quantization_config"]["ignore"], json!(["model.transformer.ff_out"]));
    assert_eq!(read(&out, "tokenizer_config.json"), read(&llada(), "tokenizer_config.json"));
    let (written, original) = (read(&out, "generation_config.json"), read(&llada(), "generation_config.json"));
    for (key, value) in original.as_object().unwrap() {
        assert_eq!(written[key], *value, "{key}");
    }
    let shown = aquatint(&["show", text(&out)]).expect(0).out;
    assert!(shown.contains("\nquantised   8 bits with a scale for each output"), "{shown}");
    aquatint(&["generate", "The fox", "-m", text(&out), "-n", "4", "--seed", "1"]).expect(0);
}

#[test]
fn unknown_keys_of_a_foreign_folder_are_named_and_unsupported_ones_refused() {
    let folder = room("families-keys");
    for entry in std::fs::read_dir(golden("sdar")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    let shown = |change: &dyn Fn(&mut Value)| {
        let mut config: Value =
            serde_json::from_slice(&std::fs::read(golden("sdar").join("config.json")).unwrap()).unwrap();
        change(&mut config);
        std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
        aquatint(&["show", text(&folder)])
    };
    assert_eq!(shown(&|_| {}).expect(0).err, "");
    let warned = shown(&|config| (config["haste"], config["speed"]) = (json!(1), json!({"a": 2}))).expect(0).err;
    assert_eq!(warned, "warning: keys of config.json that are not known here are passed over: `haste`, `speed`\n");
    let refused = shown(&|config| config["final_logit_softcapping"] = json!(30.0)).expect(2).err;
    assert_eq!(
        refused,
        "error: `final_logit_softcapping` is 30.0, which is not supported: it needs a soft cap on logits\n"
    );
}

#[test]
fn every_dense_family_writes_with_its_makers_settings() {
    for name in ["dream", "sdar", "fast_dllm_v2", "a2d_qwen2", "a2d_qwen3", "mmada", "nemotron_labs_diffusion"] {
        let model = golden(name);
        let output = aquatint(&["generate", "The fox", "-m", text(&model), "-n", "6", "--seed", "1"]).expect(0);
        assert!(output.out.starts_with("The fox"), "{name}: {}", output.out);
        assert!(!output.err.contains("warning"), "{name}: {}", output.err);
    }
}

#[test]
fn a_folder_of_another_family_goes_on_learning_and_stays_one() {
    let room = room("families-tuned");
    let texts = room.join("a.txt");
    std::fs::write(&texts, story(20)).unwrap();
    for name in ["dream", "sdar_moe"] {
        let (recipe, out) = (room.join(format!("{name}.toml")), room.join(name));
        let lines = format!(
            "output = {out:?}\ninitial = {:?}\n[data]\ntrain = [{{ path = {texts:?} }}]\nvalid = [{{ path = {texts:?} \
             }}]\ncanvas_length = 32\n[optimiser]\nbatch = 2\n[run]\nsteps = 2\nlog_every = 1\nvalidate_canvases = \
             2\nsample_every = 2\n",
            golden(name),
        );
        std::fs::write(&recipe, lines).unwrap();
        aquatint(&["train", text(&recipe)]).expect(0);
        let shown = |model: &Path| -> Value {
            serde_json::from_str(&aquatint(&["show", text(model), "--format", "json"]).expect(0).out).unwrap()
        };
        let (before, after) = (shown(&golden(name)), shown(&out));
        assert_eq!(before["config"]["model_type"], after["config"]["model_type"]);
        for (key, value) in before["config"].as_object().unwrap().iter().filter(|(key, _)| *key != "torch_dtype") {
            assert_eq!(after["config"][key], *value, "{name}: {key}");
        }
        let written = aquatint(&["generate", "The fox", "-m", text(&out), "-n", "8", "--seed", "1"]).expect(0).out;
        assert!(written.starts_with("The fox"), "{written}");
    }
}

#[test]
fn experts_are_experts_however_many_a_row_goes_to() {
    let model = room("families-all-experts");
    for file in
        ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "model.safetensors"]
    {
        std::fs::copy(golden("llada_moe").join(file), model.join(file)).unwrap();
    }
    let warned = |model: &str| {
        aquatint(&["bench", model, "--length", "4", "--repeat", "1", "--expert-memory", "1"]).expect(0).err
    };
    let few = warned(text(&golden("llada_moe")));
    let config = std::fs::read_to_string(model.join("config.json")).unwrap();
    let all = config.replace("\"num_experts_per_tok\": 3", "\"num_experts_per_tok\": 8");
    assert_ne!(all, config);
    std::fs::write(model.join("config.json"), all).unwrap();
    for shown in [few, warned(text(&model))] {
        assert!(!shown.contains("--expert-memory"), "{shown}");
    }
    let none = warned(text(&llada()));
    assert!(none.contains("warning: `--expert-memory` has no effect: no experts in "), "{none}");
}

#[test]
fn a_folder_that_cannot_be_trained_is_refused() {
    let room = room("families-refused");
    let texts = room.join("a.txt");
    std::fs::write(&texts, story(20)).unwrap();
    let integers = room.join("integers");
    aquatint(&["quantize", text(&llada()), "--bits", "8", "--out", text(&integers)]).expect(0);
    let refused = |initial: &Path| {
        let (recipe, out) = (room.join("refused.toml"), room.join("out"));
        let lines = format!(
            "output = {out:?}\ninitial = {initial:?}\n[data]\ntrain = [{{ path = {texts:?} }}]\nvalid = [{{ path = \
             {texts:?} }}]\ncanvas_length = 32\n[run]\nsteps = 2\n"
        );
        std::fs::write(&recipe, lines).unwrap();
        let shown = aquatint(&["train", text(&recipe)]).expect(2).err;
        assert!(!out.exists());
        // Before it stand the recipe and what it is warned of.
        let error = shown.find("error: ").unwrap_or_default();
        shown[error..].to_owned()
    };
    let ratios = refused(&golden("sedd"));
    let expected =
        "error: models of the family `sedd` cannot be trained: no objective here is the one of their process";
    assert!(ratios.starts_with(expected), "{ratios}");
    let shown = refused(&integers);
    let expected = "error: `initial` keeps `model.layers.0.self_attn.q_proj.weight` as integers of 8 bits, which cannot be \
                    trained\n\nhint: begin with the folder as it was before it was quantised";
    assert!(shown.starts_with(expected), "{shown}");
}

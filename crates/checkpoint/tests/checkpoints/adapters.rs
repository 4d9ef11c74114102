//! Adapters beside models: written and read as PEFT has them, applied, merged, refused.

use crate::families::open;
use aquatint_checkpoint::{
    AdapterConfig, AdapterDescription, Checkpoint, CheckpointError, GenerationDefaults, Storage, Tensor, Weights,
    save_adapter, write_weights,
};
use aquatint_compute::{Cpu, WeightFormat};
use aquatint_network::families::Family;
use aquatint_network::{
    AdapterSpec, Denoiser, Learner, LossRow, LowRankHalf, LowRankSpec, Network, NetworkInput, RowLayout, WholeRows,
};
use aquatint_testing::{Comparison, Golden, some_logits};
use aquatint_vocabulary::Message;
use serde_json::json;
use std::path::Path;

/// A rank that no size of the networks here is.
const RANK: usize = 3;
const ALPHA: f64 = 6.0;

fn targets(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// An adapter whose folder says nothing of its use.
fn described<'a>(
    (config, adapter): (&'a AdapterConfig, &'a AdapterSpec),
    family: &'static dyn Family,
) -> AdapterDescription<'a> {
    AdapterDescription { config, adapter, family, generation: None, tokenizer_config: None }
}

/// The network of a family's folder with an adapter that adds something, which is saved in `folder`.
fn adapted(name: &str, folder: &Path, names: &[&str], seed: u32) -> Network<Cpu<f32>> {
    std::fs::create_dir_all(folder).unwrap();
    let checkpoint = open(name);
    let config = AdapterConfig::new(Some(name.to_owned()), RANK, ALPHA);
    let addition = LowRankSpec { rank: RANK, factor: config.factor("", RANK) };
    let adapter = AdapterSpec::new("learned", &checkpoint.spec, &targets(names), addition).unwrap();
    let mut spec = checkpoint.spec.clone();
    spec.adapters.push(adapter.clone());
    let mut network = checkpoint.network_in_groups(Cpu::<f32>::scalar(), (spec, 1), &[]).unwrap();
    for (place, matrix) in adapter.matrices.keys().enumerate() {
        let up = adapter.tensor_name(matrix, LowRankHalf::Up);
        let length = network.weights().read_parameter(&up).unwrap().len();
        let value = |i: usize| ((i * 31 + place * 7 + seed as usize) % 19) as f32 / 90.0 - 0.1;
        network.weights_mut().write_parameter(&up, &(0..length).map(value).collect::<Vec<_>>()).unwrap();
    }
    save_adapter(folder, &described((&config, &adapter), checkpoint.family), &network, Storage::F32).unwrap();
    network
}

/// Logits of some tokens.
fn logits(network: &dyn Denoiser) -> Vec<f64> {
    // The mask's own logit is −∞.
    some_logits(network).into_iter().filter(|logit| logit.is_finite()).map(f64::from).collect()
}

/// The largest difference.
fn apart(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn what_is_saved_is_read_applied_and_merged_whatever_the_family() {
    for (name, names) in [
        ("llada", &["q_proj", "v_proj", "up_proj", "down_proj"][..]),
        ("dream", &["all-linear"]),
        ("a2d_qwen3", &["k_proj", "gate_proj", "o_proj"]),
        ("sdar", &["q_proj", "mlp.down_proj"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let [first, second, whole] = ["first", "second.v2", "whole"].map(|name| folder.path().join(name));
        let (learner, other) = (adapted(name, &first, names, 0), adapted(name, &second, names, 5));
        let model = Golden::folder(name);
        let given = format!("{}+{}+{}", model.display(), first.display(), second.display());
        let checkpoint = Checkpoint::open(&given).unwrap();
        assert_eq!(checkpoint.spec.adapters[1].name, "second-v2");
        let network = checkpoint.inference_network(Cpu::<f32>::scalar(), WeightFormat::F32).unwrap();
        let expected = logits(&learner);
        assert!(apart(&logits(&network), &expected) < 1e-4, "{name}: the first is applied where nothing is said");
        let chosen = |adapter| logits(&network.with_adapter(adapter).unwrap());
        assert!(apart(&chosen(Some("first")), &expected) < 1e-4, "{name}");
        assert!(apart(&chosen(Some("second-v2")), &logits(&other)) < 1e-4, "{name}");
        let alone = open(name).inference_network(Cpu::<f32>::scalar(), WeightFormat::F32).unwrap();
        assert_eq!(chosen(None), logits(&alone), "{name}");
        assert!(apart(&chosen(None), &expected) > 1e-2, "{name}");
        let error = network.with_adapter(Some("third")).unwrap_err().to_string();
        assert_eq!(error, "the network has no adapter `third`; allowed: first, second-v2");

        let one = Checkpoint::open(&format!("{}+{}", model.display(), first.display())).unwrap();
        one.merge(&whole, Storage::F32).unwrap();
        let merged = Checkpoint::load(&whole).unwrap();
        assert!(merged.spec.adapters.is_empty());
        let merged = merged.inference_network(Cpu::<f32>::scalar(), WeightFormat::F32).unwrap();
        assert!(apart(&logits(&merged), &expected) < 1e-4, "{name}");
        let error = checkpoint.merge(&folder.path().join("two"), Storage::F32).unwrap_err().to_string();
        assert_eq!(error, "the model has 2 adapters; allowed: the one that is merged into it");
    }
}

/// What PEFT computes with its own folder (golden/peft/make.py).
#[test]
fn logits_and_gradients_are_those_of_peft() {
    let golden = Golden::read(&Golden::folder("peft").join("golden.safetensors"));
    let mut checkpoint = open("a2d_qwen3");
    checkpoint.add_adapter("a", &Golden::folder("peft")).unwrap();
    let mut network = checkpoint.network(Cpu::<f64>::scalar()).unwrap();
    let tokens = golden.ids("tokens");
    let mut rows = RowLayout::default();
    rows.push(network.spec().attention, tokens.len(), &[]);
    let (positions, visibility) = rows.finish().unwrap();
    let input = NetworkInput::of_tokens(&tokens, &positions, &visibility);
    let mut comparison = Comparison::new();
    let targets = golden.ids("targets");
    let ask = |(row, (&target, &weight)): (u32, (&u32, &f64))| LossRow { row, target, weight };
    let rows: Vec<LossRow> = (0..).zip(targets.iter().zip(golden.values("weights"))).map(ask).collect();
    // Norms, rotations and the softmax of that Qwen3 are in f32 whatever its weights are.
    let tolerance = 2e-5;
    let logits = network.logits(&input, &(0..tokens.len() as u32).collect::<Vec<_>>()).unwrap();
    let (logits, expected): (Vec<f64>, Vec<f64>) = logits
        .iter()
        .zip(golden.values("logits"))
        .filter(|(given, _)| given.is_finite())
        .map(|(given, expected)| (f64::from(*given), *expected))
        .unzip();
    comparison.check("logits", &logits, &expected, tolerance);
    network.forward_backward(&input, &rows).unwrap();
    for matrix in checkpoint.spec.adapters[0].matrices.keys() {
        for half in LowRankHalf::ALL {
            let there = format!("gradient.{}.{}.weight", matrix.strip_suffix(".weight").unwrap(), half.name());
            let name = checkpoint.spec.adapters[0].tensor_name(matrix, half);
            let given: Vec<f64> = network.read_gradient(&name).unwrap().into_iter().map(f64::from).collect();
            comparison.check(&there, &given, golden.values(&there), tolerance);
        }
    }
    comparison.finish();
}

#[test]
fn an_adapter_stands_beside_matrices_of_integers() {
    let folder = tempfile::tempdir().unwrap();
    adapted("dream", folder.path(), &["all-linear"], 0);
    let open = |format| {
        let given = format!("{}+{}", Golden::folder("dream").display(), folder.path().display());
        let network = Checkpoint::open(&given).unwrap().inference_network(Cpu::<f32>::scalar(), format).unwrap();
        let alone = network.with_adapter(None).unwrap();
        // What is added is the same, but for what is rounded before it.
        logits(&network).iter().zip(logits(&alone)).map(|(with, without)| with - without).collect::<Vec<f64>>()
    };
    let (real, integers) = (open(WeightFormat::F32), open(WeightFormat::Int8));
    let size = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
    let difference: Vec<f64> = real.iter().zip(&integers).map(|(a, b)| a - b).collect();
    assert!(size(&difference) < 0.1 * size(&real), "{} of {}", size(&difference), size(&real));
}

#[test]
fn an_adapter_of_another_base_or_of_another_kind_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    adapted("dream", path, &["q_proj"], 0);
    let refused = |base: &str| open(base).add_adapter("a", path).unwrap_err();
    let hinted = |error: &CheckpointError| error.hint().unwrap_or_default();
    let error = refused("llada");
    let file = path.join("adapter_model.safetensors");
    let expected = format!("`{}` adds to matrices that this model does not have: ", file.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert_eq!(hinted(&error), "it was trained on `dream`: open that model");

    let alone = Checkpoint::open(&path.display().to_string()).unwrap_err();
    assert!(alone.to_string().ends_with("is for `dream`, which is no model here"), "{alone}");
    assert_eq!(hinted(&alone), "open the model that it was trained on with it: MODEL+FOLDER");

    for name in [format!("{}+{}", path.display(), path.display()), "dream+".to_owned(), "+dream".to_owned()] {
        assert!(matches!(Checkpoint::open(&name), Err(CheckpointError::NotAdapted { .. })), "{name}");
    }

    let config = path.join("adapter_config.json");
    let written = std::fs::read_to_string(&config).unwrap();
    for (from, to, expected) in [
        ("\"peft_type\": \"LORA\"", "\"peft_type\": \"IA3\"", "`peft_type` is \"IA3\"; allowed: \"LORA\""),
        ("\"bias\": \"none\"", "\"bias\": \"all\"", "`bias` is \"all\"; allowed: \"none\" or nothing"),
        ("\"bias\": \"none\"", "\"use_dora\": true", "`use_dora` is true; allowed: false or nothing"),
        (
            "\"modules_to_save\": null",
            "\"modules_to_save\": [\"lm_head\"]",
            "`modules_to_save` is [\"lm_head\"]; allowed: [] or nothing",
        ),
        (
            "\"bias\": \"none\"",
            "\"alpha_pattern\": {\"(\": 3}",
            "`alpha_pattern.(` is 3; allowed: a number, behind a regular expression",
        ),
        (
            "\"init_lora_weights\": true",
            "\"init_lora_weights\": \"pissa\"",
            "`init_lora_weights` is \"pissa\"; allowed: true",
        ),
        ("\"r\": 3", "\"r\": \"three\"", "cannot be understood"),
    ] {
        assert!(written.contains(from), "{from}");
        std::fs::write(&config, written.replace(from, to)).unwrap();
        let error = refused("dream").to_string();
        assert!(error.contains(expected), "{error}\nexpected\n{expected}");
    }
    // A base that moved is the same base.
    let moved = AdapterConfig::new(Some("elsewhere/dream".to_owned()), RANK, ALPHA);
    std::fs::write(&config, &written).unwrap();
    let learner = adapted("dream", &path.join("other"), &["q_proj"], 0);
    let adapter = &learner.spec().adapters[0];
    let family = open("dream").family;
    save_adapter(path, &described((&moved, adapter), family), &learner, Storage::F32).unwrap();
    let other = AdapterConfig::new(Some("dream".to_owned()), RANK, 2.0 * ALPHA);
    let occupied = save_adapter(path, &described((&other, adapter), family), &learner, Storage::F32).unwrap_err();
    assert!(matches!(occupied, CheckpointError::Occupied { .. }), "{occupied}");

    // Keys that say nothing of the arithmetic may be there.
    std::fs::write(&config, written.replace("\"bias\": \"none\"", "\"bias\": \"none\", \"revision\": \"main\""))
        .unwrap();
    open("dream").add_adapter("a", path).unwrap();

    std::fs::write(&file, b"short").unwrap();
    assert!(matches!(refused("dream"), CheckpointError::Truncated { .. }));
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(refused("dream"), CheckpointError::MissingFile { .. }));
}

#[test]
fn modules_may_have_alphas_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    adapted("dream", folder.path(), &["q_proj", "v_proj"], 0);
    let config = folder.path().join("adapter_config.json");
    let written = std::fs::read_to_string(&config).unwrap();
    let own = r#""use_rslora": true, "alpha_pattern": { "layers\\.0\\.self_attn\\.q_proj": 12.0, "v_proj": 3.0 }"#;
    std::fs::write(&config, written.replace("\"use_rslora\": false", own)).unwrap();
    let mut checkpoint = open("dream");
    checkpoint.add_adapter("a", folder.path()).unwrap();
    let factor = |module: &str| {
        let name = format!("model.layers.{module}_proj.weight");
        checkpoint.spec.adapters[0].matrices[&name].factor * (RANK as f64).sqrt()
    };
    for (module, alpha) in
        [("0.self_attn.q", 12.0), ("1.self_attn.q", ALPHA), ("0.self_attn.v", 3.0), ("1.self_attn.v", 3.0)]
    {
        assert!((factor(module) - alpha).abs() < 1e-12, "{module}");
    }
}

#[test]
fn a_model_with_an_adapter_is_not_quantised_or_saved_as_if_it_had_none() {
    let folder = tempfile::tempdir().unwrap();
    let learner = adapted("dream", folder.path(), &["q_proj"], 0);
    let given = format!("{}+{}", Golden::folder("dream").display(), folder.path().display());
    let checkpoint = Checkpoint::open(&given).unwrap();
    let out = folder.path().join("out");
    let plan = aquatint_checkpoint::QuantisePlan { bits: aquatint_compute::Bits::Eight, group: None, head: false };
    let error = checkpoint.quantise(plan, &out).unwrap_err();
    assert!(error.to_string().ends_with("has adapters, which stay in folders of their own"), "{error}");
    assert!(matches!(checkpoint.save_learner(&out, &learner, Storage::F32), Err(CheckpointError::HasAdapters { .. })));
    assert!(!out.exists());
}

#[test]
fn a_file_that_is_not_whole_is_refused_with_the_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    adapted("dream", path, &["q_proj"], 0);
    let file = path.join("adapter_model.safetensors");
    let whole = Weights::open_file(&file).unwrap();
    let all: Vec<Tensor<Vec<f32>>> = whole
        .names()
        .map(|name| Tensor {
            name: name.to_owned(),
            shape: whole.shape(name).unwrap().to_vec(),
            values: whole.read(name).unwrap(),
        })
        .collect();
    drop(whole);
    let refused = |tensors: &[Tensor<Vec<f32>>]| {
        write_weights(&file, tensors, Storage::F32).unwrap();
        open("dream").add_adapter("a", path).unwrap_err()
    };
    assert!(matches!(refused(&[]), CheckpointError::EmptyAdapter { .. }));
    for gone in ["lora_A", "lora_B"] {
        let rest: Vec<_> = all.iter().filter(|tensor| !tensor.name.contains(gone)).cloned().collect();
        let error = refused(&rest).to_string();
        assert!(error.starts_with("tensor `base_model.model.") && error.contains(gone), "{error}");
    }
    let mut short = all.clone();
    short[1].shape[0] -= 1;
    let rows = short[1].shape[0] * short[1].shape[1];
    short[1].values.truncate(rows);
    assert!(matches!(refused(&short), CheckpointError::WrongShape { .. }));
    let mut broken = all.clone();
    broken[0].values[0] = f32::NAN;
    write_weights(&file, &broken, Storage::F32).unwrap();
    let mut checkpoint = open("dream");
    checkpoint.add_adapter("a", path).unwrap();
    let error = checkpoint.network(Cpu::<f32>::scalar()).unwrap_err();
    assert!(matches!(error, CheckpointError::NotFinite { .. }), "{error}");
    write_weights(&file, &all, Storage::F32).unwrap();
    let mut twice = open("dream");
    twice.add_adapter("a", path).unwrap();
    let error = twice.add_adapter("a", path).unwrap_err().to_string();
    assert_eq!(error, "`adapter` is \"a\"; allowed: another name for each adapter");
    assert_eq!(twice.spec.adapters.len(), 1);
}

/// What transformers and its trainers put beside the weights of an adapter.
#[test]
fn the_template_and_the_advice_of_an_adapter_stand_in_place_of_those_of_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    adapted("dream", path, &["q_proj"], 0);
    let turns = [Message::new("user", "hi")];
    let rendered = |checkpoint: &Checkpoint, adapter| {
        checkpoint.chat_template_with(adapter).unwrap().render(&turns, true).unwrap()
    };
    let with = || {
        let mut checkpoint = open("dream");
        checkpoint.add_adapter("a", path).unwrap();
        checkpoint
    };
    let silent = with();
    assert_eq!(rendered(&silent, Some("a")), rendered(&silent, None), "a folder that says nothing");
    assert_eq!(silent.generation_with(Some("a")), &silent.generation);

    let end = silent.vocabulary.token_text(silent.vocabulary.role(aquatint_vocabulary::Role::End).unwrap());
    let template = "{% for m in messages %}<{{ m.content }}>{{ eos_token }}{% endfor %}";
    let config = json!({ "chat_template": template, "eos_token": "<|elsewhere|>", "padding_side": "left" });
    std::fs::write(path.join("tokenizer_config.json"), config.to_string()).unwrap();
    let advice = json!({ "temperature": 0.5, "max_new_tokens": 7, "transformers_version": "4.57.1" });
    std::fs::write(path.join("generation_config.json"), advice.to_string()).unwrap();
    let advised = with();
    assert_eq!(rendered(&advised, Some("a")), format!("<hi>{end}"), "tokens have the roles that the model says");
    assert_eq!(advised.chat_template().unwrap().render(&turns, true).unwrap(), format!("<hi>{end}"));
    assert_eq!(rendered(&advised, None), rendered(&silent, None), "the model alone is what it is");
    let generation = advised.generation_with(Some("a"));
    assert_eq!((generation.temperature, generation.max_new_tokens), (Some(0.5), Some(7)));
    let alone = GenerationDefaults::parse("g", advice.to_string().as_bytes(), advised.family).unwrap();
    assert_eq!(generation, &alone, "what the model advises is no part of it");
    assert_eq!(advised.generation_with(None), &silent.generation);

    // A template in a file of its own comes first.
    std::fs::write(path.join("chat_template.jinja"), "{{ messages[0].content }}!").unwrap();
    assert_eq!(rendered(&with(), Some("a")), "hi!");
    // A second adapter has its own.
    let second = path.join("second");
    adapted("dream", &second, &["q_proj"], 3);
    let mut both = with();
    both.add_adapter("b", &second).unwrap();
    assert_eq!((rendered(&both, Some("a")), rendered(&both, Some("b"))), ("hi!".into(), rendered(&silent, None)));

    // A merged model has what it was used with.
    let whole = path.join("whole");
    with().merge(&whole, Storage::F32).unwrap();
    let merged = Checkpoint::load(&whole).unwrap();
    assert_eq!(rendered(&merged, None), "hi!");
    assert_eq!((merged.generation.temperature, merged.generation.max_new_tokens), (Some(0.5), Some(7)));

    std::fs::write(path.join("generation_config.json"), "{\"temperature\": \"hot\"}").unwrap();
    let error = open("dream").add_adapter("a", path).unwrap_err().to_string();
    assert!(error.contains("generation_config.json` cannot be understood: invalid type"), "{error}");
}

#[test]
fn what_is_saved_beside_an_adapter_is_read_and_another_template_is_not_written_over_it() {
    let folder = tempfile::tempdir().unwrap();
    let learner = adapted("dream", &folder.path().join("other"), &["q_proj"], 0);
    let (path, family) = (folder.path().join("saved"), open("dream").family);
    std::fs::create_dir_all(&path).unwrap();
    let config = AdapterConfig::new(Some("dream".to_owned()), RANK, ALPHA);
    let generation = GenerationDefaults { temperature: Some(0.0), max_new_tokens: Some(3), ..Default::default() };
    let save = |template: &str| {
        let tokenizer_config = json!({ "chat_template": template });
        let description = AdapterDescription {
            generation: Some(&generation),
            tokenizer_config: Some(&tokenizer_config),
            ..described((&config, &learner.spec().adapters[0]), family)
        };
        save_adapter(&path, &description, &learner, Storage::F32)
    };
    save("one").unwrap();
    save("one").unwrap();
    let mut checkpoint = open("dream");
    checkpoint.add_adapter("a", &path).unwrap();
    assert_eq!(checkpoint.chat_template().unwrap().render(&[], true).unwrap(), "one");
    let read = checkpoint.generation_with(Some("a"));
    assert_eq!((read.temperature, read.max_new_tokens), (Some(0.0), Some(3)));
    let error = save("two").unwrap_err();
    assert!(matches!(error, CheckpointError::Occupied { file: "tokenizer_config.json", .. }), "{error}");
}

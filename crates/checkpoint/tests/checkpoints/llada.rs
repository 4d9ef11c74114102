//! LLaDA's folders against what its own code makes of them (golden/llada/README.md): logits, words, conversations.

use aquatint_checkpoint::{Checkpoint, QuantisePlan, Storage, Tensor, save, save_quantised};
use aquatint_compute::{Bits, Cpu, CpuPath, Cuda, Device, Memory, Visibility, WeightFormat};
use aquatint_network::{Denoiser, NetworkInput, TensorData, WholeRows};
use aquatint_testing::{Comparison, Golden};
use aquatint_vocabulary::{Message, Role};
use serde_json::Value;

/// What golden/llada/README.md allows, ten times the reference's own error against f64.
const TOLERANCE: f64 = 5e-4;

fn open(name: &str) -> Checkpoint {
    Checkpoint::load(&Golden::folder(name)).unwrap()
}

fn logits(name: &str) -> Golden {
    Golden::read(&Golden::folder(name).join("golden.safetensors"))
}

fn about(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(Golden::folder(name).join("golden.json")).unwrap()).unwrap()
}

/// The logits of sequences that are the rows of `PREFIX.ids` without what its mask hides, beside `PREFIX.logits`. The mask
/// token itself, which no prediction has here, is left out.
fn compare(model: &dyn Denoiser, golden: &Golden, prefix: &str, words: &str, comparison: &mut Comparison) {
    let &[sequences, length] = golden.shape(&format!("{prefix}.ids")) else { panic!("rows of ids") };
    let all = golden.ids(&format!("{prefix}.ids"));
    let hidden = format!("{prefix}.attention_mask");
    let observed: Vec<bool> = match golden.has(&hidden) {
        true => golden.values(&hidden).iter().map(|&observed| observed == 1.0).collect(),
        false => vec![true; all.len()],
    };
    let (mut tokens, mut positions, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    for sequence in 0..sequences {
        let inside: Vec<usize> = (0..length).filter(|place| observed[sequence * length + place]).collect();
        tokens.extend(inside.iter().map(|place| all[sequence * length + place]));
        positions.extend(0..inside.len() as u32);
        lengths.push(inside.len());
    }
    let visibility = Visibility::full(&lengths);
    let input = NetworkInput {
        tokens: &tokens,
        points: None,
        positions: &positions,
        visibility: &visibility,
        times: None,
        self_conditioning: None,
    };
    let rows: Vec<u32> = (0..tokens.len() as u32).collect();
    let given = model.logits(&input, &rows).unwrap();
    let size = model.spec().vocabulary_size;
    let mask = model.spec().mask_token.map(|mask| mask as usize);
    let text = |row: &[f64]| row.iter().enumerate().filter(|(id, _)| Some(*id) != mask).map(|(_, v)| *v).collect();
    let given: Vec<f64> = given.into_iter().map(f64::from).collect();
    let given: Vec<f64> = given.chunks(size).flat_map(|row| -> Vec<f64> { text(row) }).collect();
    let expected =
        golden.values(&format!("{prefix}.logits")).chunks(size).zip(&observed).filter(|(_, observed)| **observed);
    let expected: Vec<f64> = expected.flat_map(|(row, _)| -> Vec<f64> { text(row) }).collect();
    // The reference's tolerance is absolute, a comparison's is of the largest magnitude.
    let largest = expected.iter().fold(1.0f64, |most, value| most.max(value.abs()));
    comparison.check(&format!("{words} {prefix}"), &given, &expected, TOLERANCE / largest);
}

fn compare_on<D: Device>(device: D, words: &str, comparison: &mut Comparison) {
    for (name, prefixes) in [("llada", &["plain", "padded", "padded_right"][..]), ("illada", &["plain"])] {
        let (checkpoint, golden) = (open(name), logits(name));
        let learns = checkpoint.network(device.clone()).unwrap();
        let runs = checkpoint.inference_network(device.clone(), WeightFormat::F32).unwrap();
        for prefix in prefixes {
            compare(&learns, &golden, prefix, &format!("{name} on {words}, learning,"), comparison);
            compare(&runs, &golden, prefix, &format!("{name} on {words}, running,"), comparison);
        }
    }
}

#[test]
fn logits_are_those_of_the_reference_on_every_path() {
    let mut comparison = Comparison::new();
    for path in CpuPath::available() {
        compare_on(Cpu::<f32>::new(path, 1).unwrap(), &path.to_string(), &mut comparison);
    }
    comparison.finish();
}

#[test]
fn logits_are_those_of_the_reference_on_a_gpu() {
    let mut comparison = Comparison::new();
    for device in Cuda::tested() {
        let words = device.describe();
        compare_on(device, &words, &mut comparison);
    }
    comparison.finish();
}

#[test]
fn a_model_saved_in_bf16_is_a_llada_folder_with_the_logits_of_the_reference() {
    let checkpoint = open("llada");
    let mut tensors = Vec::new();
    let described = checkpoint.spec.tensors();
    let read = checkpoint.build(|weights| {
        for tensor in &described {
            let values = weights(&tensor.name).map(TensorData::into_real).unwrap();
            tensors.push(Tensor { name: tensor.name.clone(), shape: tensor.shape.clone(), values });
        }
        Ok(())
    });
    read.unwrap();
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &checkpoint.description(), &tensors, Storage::Bf16).unwrap();

    let again = Checkpoint::load(folder.path()).unwrap();
    assert_eq!((&again.spec, &again.generation), (&checkpoint.spec, &checkpoint.generation));
    assert_eq!(again.weights.names().collect::<Vec<_>>(), checkpoint.weights.names().collect::<Vec<_>>());
    let config = |folder: &std::path::Path| -> Value {
        serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap()
    };
    let (written, original) = (config(folder.path()), config(&Golden::folder("llada")));
    for key in written.as_object().unwrap().keys().filter(|key| *key != "torch_dtype") {
        assert_eq!(written[key], original[key], "{key}");
    }
    let mut comparison = Comparison::new();
    let network = again.network(Cpu::<f32>::scalar()).unwrap();
    compare(&network, &logits("llada_bf16"), "plain", "bf16", &mut comparison);
    comparison.finish();
}

#[test]
fn a_quantised_llada_is_read_back_and_predicts_about_the_same() {
    let checkpoint = open("llada");
    for (bits, group) in [(Bits::Eight, None), (Bits::Four, Some(16))] {
        let made = checkpoint.quantise(QuantisePlan { bits, group, head: true }).unwrap();
        assert_eq!(made.errors.len(), 3 * 7 + 1, "seven matrices of each layer, and the head");
        let folder = tempfile::tempdir().unwrap();
        let weights = (made.tensors.as_slice(), &made.quantisation);
        save_quantised(folder.path(), &checkpoint.description(), weights, made.storage).unwrap();
        let again = Checkpoint::load(folder.path()).unwrap();
        assert_eq!(again.weights.bits("model.transformer.blocks.2.ff_proj.weight"), Some(bits));
        assert_eq!(again.weights.bits("model.transformer.ff_out.weight"), Some(Bits::Eight));
        assert_eq!(again.weights.bits("model.transformer.wte.weight"), None);
        let device = Cpu::<f32>::scalar();
        let values = |checkpoint: &Checkpoint| -> Vec<f32> {
            let network = checkpoint.network(device.clone()).unwrap();
            network.parameters().iter().flat_map(|p| device.download(p.value)).collect()
        };
        let (before, after) = (values(&checkpoint), values(&again));
        let square = |sum: f64, value: f32| sum + f64::from(value).powi(2);
        let error = before.iter().zip(&after).map(|(a, b)| a - b).fold(0.0, square).sqrt();
        let norm = before.iter().copied().fold(0.0, square).sqrt();
        assert!(error / norm < 0.2, "{bits}: {}", error / norm);
    }
}

#[test]
fn tokens_roles_and_conversations_are_those_of_the_reference() {
    let (checkpoint, about) = (open("llada"), about("llada"));
    let ids = |value: &Value| -> Vec<u32> {
        value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
    };
    for case in about["tokenizer"].as_array().unwrap() {
        let tokens = checkpoint.vocabulary.encode(case["text"].as_str().unwrap()).unwrap();
        assert_eq!(tokens, ids(&case["ids"]), "{case}");
        assert_eq!(checkpoint.vocabulary.decode(&tokens), case["decoded"].as_str().unwrap());
    }
    let role = |role| checkpoint.vocabulary.role(role).map(|id| checkpoint.vocabulary.token_text(id));
    let roles = [Role::Mask, Role::End, Role::Pad, Role::Begin].map(role);
    assert_eq!(
        roles.map(Option::unwrap),
        ["<|mdm_mask|>", "<|endoftext|>", "<|endoftext|>", "<|startoftext|>"],
        "the roles that config.json and tokenizer_config.json name"
    );
    let template = checkpoint.chat_template().unwrap();
    let cases = about["chat"]["cases"].as_array().unwrap();
    assert!(cases.len() > 3);
    for case in cases {
        let turns = case["messages"].as_array().unwrap().iter();
        let turns: Vec<Message> =
            turns.map(|turn| Message::new(turn["role"].as_str().unwrap(), turn["content"].as_str().unwrap())).collect();
        let text = template.render(&turns, case["add_generation_prompt"].as_bool().unwrap()).unwrap();
        assert_eq!(text, case["text"].as_str().unwrap(), "{}", case["name"]);
        assert_eq!(checkpoint.vocabulary.encode_marked(&text).unwrap(), ids(&case["ids"]), "{}", case["name"]);
    }
}

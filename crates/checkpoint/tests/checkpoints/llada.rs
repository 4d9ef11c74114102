//! LLaDA's folders against what its own code makes of them (golden/llada/README.md): logits, words, conversations.

use crate::families::{Logits, Pass, about, compare, logits, open, precisions, texts};
use aquatint_checkpoint::{Checkpoint, QuantisePlan, Storage, Tensor, save};
use aquatint_compute::{Bits, Cpu, CpuPath, Cuda, Device, Memory, WeightFormat};
use aquatint_diffusion::Layout;
use aquatint_network::TensorData;
use aquatint_testing::{Comparison, Golden};
use aquatint_vocabulary::Role;
use serde_json::Value;

fn compare_on<D: Device>(device: D, words: &str, comparison: &mut Comparison) {
    for (name, prefixes) in [("llada", &["plain", "padded", "padded_right"][..]), ("illada", &["plain"])] {
        let (checkpoint, golden) = (open(name), logits(name));
        let learns = checkpoint.network(device.clone()).unwrap();
        let runs = checkpoint.inference_network(device.clone(), WeightFormat::F32).unwrap();
        for prefix in prefixes {
            let pass = Pass::whole(prefix, Layout::Full);
            compare(&learns, &golden, pass, &format!("{name} on {words}, learning,"), comparison);
            compare(&runs, &golden, pass, &format!("{name} on {words}, running,"), comparison);
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
fn fewer_bits_are_as_near_to_the_reference_as_its_own_bf16() {
    for name in ["llada", "illada"] {
        let golden = logits(name);
        let pass = Pass::whole("plain", Layout::Full);
        precisions(&open(name), &about(name), &|network| Logits::new(network, &golden, pass));
    }
}

/// The same weights in other files; those folders have no tokenizer of their own.
#[test]
fn halves_and_shards_give_the_logits_of_the_reference() {
    let mut comparison = Comparison::new();
    for name in ["llada_f16", "llada_bf16", "llada_sharded"] {
        let folder = tempfile::tempdir().unwrap();
        for (from, ending) in
            [("llada", "tokenizer.json"), (name, "config.json"), (name, "safetensors"), (name, "index.json")]
        {
            for entry in std::fs::read_dir(Golden::folder(from)).unwrap() {
                let path = entry.unwrap().path();
                let file = path.file_name().unwrap().to_str().unwrap();
                if file.ends_with(ending) && !file.starts_with("golden") {
                    std::fs::copy(&path, folder.path().join(file)).unwrap();
                }
            }
        }
        let network = Checkpoint::load(folder.path()).unwrap().network(Cpu::<f32>::scalar()).unwrap();
        compare(&network, &logits(name), Pass::whole("plain", Layout::Full), name, &mut comparison);
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
    compare(&network, &logits("llada_bf16"), Pass::whole("plain", Layout::Full), "bf16", &mut comparison);
    comparison.finish();
}

#[test]
fn a_quantised_llada_is_read_back_and_predicts_about_the_same() {
    let checkpoint = open("llada");
    for (bits, group) in [(Bits::Eight, None), (Bits::Four, Some(16))] {
        let folder = tempfile::tempdir().unwrap();
        let made = checkpoint.quantise(QuantisePlan { bits, group, head: true }, folder.path()).unwrap();
        assert_eq!(made.errors.len(), 3 * 7 + 1, "seven matrices of each layer, and the head");
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
    texts(&checkpoint, &about);
    let role = |role| checkpoint.vocabulary.role(role).map(|id| checkpoint.vocabulary.token_text(id));
    let roles = [Role::Mask, Role::End, Role::Pad, Role::Begin].map(role);
    assert_eq!(
        roles.map(Option::unwrap),
        ["<|mdm_mask|>", "<|endoftext|>", "<|endoftext|>", "<|startoftext|>"],
        "the roles that config.json and tokenizer_config.json name"
    );
    assert!(about["chat"]["cases"].as_array().unwrap().len() > 3);
}

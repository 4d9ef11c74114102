//! Whole checkpoint folders: what was saved can be loaded, and errors of a folder are reported.

use aquatint_checkpoint::{
    Checkpoint, CheckpointError, Description, GenerationDefaults, Quantisation, QuantisePlan, Scheme, Storage, Tensor,
    builtin, save, save_quantised,
};
use aquatint_compute::{Bits, Cpu, Memory, Quantised};
use aquatint_network::{
    AttentionSpec, FeedForwardSpec, HeadSpec, LayerSpec, Network, NetworkSpec, NormSpec, TensorData, TimeSpec,
};
use aquatint_vocabulary::{Role, Vocabulary};
use std::path::Path;

pub(crate) fn vocabulary() -> Vocabulary {
    Vocabulary::train(["the cat sat on the mat".repeat(20)].into_iter(), 270).unwrap()
}

pub(crate) fn spec(vocabulary: &Vocabulary) -> NetworkSpec {
    let attention = AttentionSpec { qk_norm: Some(NormSpec::default()), ..AttentionSpec::new(2, 1, 4) };
    let layer = LayerSpec::new(attention, FeedForwardSpec::new(12));
    NetworkSpec {
        head: HeadSpec { tied: true, ..HeadSpec::default() },
        context_length: 16,
        mask_token: vocabulary.role(Role::Mask),
        ..NetworkSpec::new(vocabulary.len(), 8, vec![layer])
    }
}

/// The weights of a random network.
pub(crate) fn tensors(spec: &NetworkSpec, seed: u64) -> Vec<Tensor<Vec<f32>>> {
    let network = Network::new(Cpu::<f32>::scalar(), spec.clone(), seed).unwrap();
    let device = network.device();
    let tensors = network.parameters().into_iter().map(|p| Tensor {
        name: p.info.name.clone(),
        shape: p.info.shape.clone(),
        values: device.download(p.value),
    });
    tensors.collect()
}

pub(crate) fn write(folder: &Path, spec: &NetworkSpec, seed: u64) -> Result<(), CheckpointError> {
    let vocabulary = vocabulary();
    let generation = GenerationDefaults { mask_token_id: spec.mask_token, ..GenerationDefaults::default() };
    let description = Description::native(spec, &vocabulary, &generation);
    save(folder, &description, &tensors(spec, seed), Storage::F32)
}

pub(crate) fn fails(folder: &Path) -> CheckpointError {
    match Checkpoint::load(folder) {
        Err(error) => error,
        Ok(checkpoint) => checkpoint.network(Cpu::<f32>::scalar()).expect_err("an error"),
    }
}

#[test]
fn what_was_saved_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(&vocabulary());
    write(folder.path(), &spec, 1).unwrap();
    // A second save replaces the weights and nothing else.
    write(folder.path(), &spec, 2).unwrap();
    let checkpoint = Checkpoint::open(folder.path().to_str().unwrap()).unwrap();
    assert_eq!(checkpoint.spec, spec);
    assert_eq!(checkpoint.generation.mask_token_id, spec.mask_token);
    assert_eq!(checkpoint.vocabulary.to_json().unwrap(), vocabulary().to_json().unwrap());
    let network = checkpoint.network(Cpu::<f32>::scalar()).unwrap();
    for (parameter, tensor) in network.parameters().iter().zip(tensors(&spec, 2)) {
        assert_eq!(parameter.info.name, tensor.name);
        assert_eq!(network.device().download(parameter.value), tensor.values);
    }
    assert!(std::fs::read_dir(folder.path()).unwrap().count() == 4, "nothing else is left in the folder");
}

#[test]
fn a_folder_of_another_model_is_never_written_into() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(&vocabulary());
    write(folder.path(), &spec, 1).unwrap();
    let before = std::fs::read(folder.path().join("model.safetensors")).unwrap();
    let deeper = NetworkSpec { layers: vec![spec.layers[0]; 2], ..spec };
    let error = write(folder.path(), &deeper, 1).unwrap_err();
    assert!(matches!(error, CheckpointError::Occupied { file: "config.json", .. }), "{error}");
    assert_eq!(std::fs::read(folder.path().join("model.safetensors")).unwrap(), before);
}

#[test]
fn what_is_wrong_with_a_folder_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(&vocabulary());
    let fresh = || {
        std::fs::remove_dir_all(folder.path()).unwrap();
        write(folder.path(), &spec, 1).unwrap();
    };
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        fresh();
        std::fs::remove_file(folder.path().join(file)).unwrap();
        let error = fails(folder.path());
        assert!(matches!(&error, CheckpointError::MissingFile { path } if path.ends_with(file)), "{error}");
    }

    fresh();
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replacen('{', "{ \"rope_scaling\": 2,", 1)).unwrap();
    assert!(fails(folder.path()).to_string().contains("rope_scaling"));
    std::fs::write(&config, &text[..text.len() / 2]).unwrap();
    assert!(matches!(fails(folder.path()), CheckpointError::Json { .. }));

    fresh();
    let advice = folder.path().join("generation_config.json");
    std::fs::write(&advice, "{\"temprature\": 1.0}").unwrap();
    assert!(fails(folder.path()).to_string().contains("unknown key `temprature`"));
    std::fs::remove_file(&advice).unwrap();
    assert_eq!(Checkpoint::load(folder.path()).unwrap().generation, GenerationDefaults::default());

    fresh();
    std::fs::write(&config, text.replace("\"intermediate_size\": 12", "\"intermediate_size\": 16")).unwrap();
    let error = fails(folder.path());
    assert!(matches!(&error, CheckpointError::WrongShape { expected, .. } if expected.contains(&16)), "{error}");
    std::fs::write(&config, text.replace("\"num_hidden_layers\": 1", "\"num_hidden_layers\": 2")).unwrap();
    assert!(matches!(fails(folder.path()), CheckpointError::MissingTensor { .. }));

    fresh();
    let mut more = tensors(&spec, 1);
    more.push(Tensor { name: "model.rotary.cache".into(), shape: vec![1], values: vec![0.0] });
    aquatint_checkpoint::write_weights(&folder.path().join("model.safetensors"), &more, Storage::Bf16).unwrap();
    let error = fails(folder.path());
    assert!(matches!(&error, CheckpointError::UnknownTensors { count: 1, first, .. } if first == "model.rotary.cache"));
}

#[test]
fn a_name_that_is_nowhere_lists_what_there_is() {
    let error = Checkpoint::open("no/such-model").unwrap_err().to_string();
    assert!(error.contains("`no/such-model`") && error.contains("built in: tales"), "{error}");
}

#[test]
fn the_built_in_model_is_whole() {
    let checkpoint = Checkpoint::open(builtin::DEFAULT).unwrap();
    checkpoint.network(Cpu::<f32>::scalar()).unwrap();
    assert_eq!(checkpoint.spec.mask_token, checkpoint.vocabulary.role(Role::Mask));
    assert!(checkpoint.spec.vocabulary_size >= checkpoint.vocabulary.len());
    let (_, bytes) = checkpoint.weights.size();
    assert!(bytes < 15_000_000, "{bytes} bytes in the repository");
}

/// The weights of a random network, the matrices of its layers quantised.
fn quantised(spec: &NetworkSpec, bits: Bits) -> Vec<Tensor<TensorData>> {
    let quantise = |tensor: Tensor<Vec<f32>>| {
        let values = match tensor.shape[..] {
            [outputs, inputs] if tensor.name.starts_with("model.layers.") => {
                TensorData::Quantised(Quantised::of(&tensor.values, (outputs, inputs), bits, None).unwrap())
            }
            _ => TensorData::Real(tensor.values),
        };
        Tensor { name: tensor.name, shape: tensor.shape, values }
    };
    tensors(spec, 1).into_iter().map(quantise).collect()
}

fn write_quantised(folder: &Path, spec: &NetworkSpec, bits: Bits) -> Quantisation {
    let scheme = Scheme::new(bits, None, vec!["Linear".to_owned()]);
    let quantisation = Quantisation { schemes: vec![scheme], ignore: vec!["lm_head".to_owned()] };
    let tensors = quantised(spec, bits);
    let generation = GenerationDefaults::default();
    let vocabulary = vocabulary();
    let description = Description::native(spec, &vocabulary, &generation);
    save_quantised(folder, &description, (&tensors, &quantisation), Storage::F32).unwrap();
    quantisation
}

#[test]
fn a_quantised_model_is_read_as_it_was_written_and_learns_as_what_it_stands_for() {
    let spec = spec(&vocabulary());
    for bits in [Bits::Four, Bits::Eight] {
        let folder = tempfile::tempdir().unwrap();
        let quantisation = write_quantised(folder.path(), &spec, bits);
        let checkpoint = Checkpoint::load(folder.path()).unwrap();
        assert_eq!((&checkpoint.spec, checkpoint.quantisation.as_ref()), (&spec, Some(&quantisation)));
        let mut expected = quantised(&spec, bits).into_iter();
        let network = checkpoint.network(Cpu::<f32>::scalar()).unwrap();
        for parameter in network.parameters() {
            let tensor = expected.next().unwrap();
            assert_eq!(parameter.info.name, tensor.name);
            assert_eq!(network.device().download(parameter.value), tensor.values.into_real());
        }
        let read = |name: &str| checkpoint.build(|weights| Ok(weights(name))).unwrap().unwrap();
        for tensor in quantised(&spec, bits) {
            assert_eq!(read(&tensor.name), tensor.values);
        }
        let numbers: usize = tensors(&spec, 1).iter().map(|tensor| tensor.values.len()).sum();
        assert_eq!(checkpoint.size().0, numbers as u64);
        // A folder of the same network with real weights is another model.
        assert!(matches!(write(folder.path(), &spec, 1), Err(CheckpointError::Occupied { file: "config.json", .. })));
    }
}

#[test]
fn what_is_wrong_with_a_quantised_folder_is_reported_before_anything_is_read() {
    let spec = spec(&vocabulary());
    let folder = tempfile::tempdir().unwrap();
    write_quantised(folder.path(), &spec, Bits::Four);
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    for (from, to, expected) in [
        ("\"pack-quantized\"", "\"marlin\"", "quantization_config.format` is \"marlin\""),
        ("\"num_bits\": 4", "\"num_bits\": 2", "weights.num_bits` is 2; allowed: 4, 8"),
        ("\"symmetric\": true", "\"symmetric\": false", "there are no zero points here"),
        ("\"quantization_config\"", "\"quantisation_config\"", "quantisation_config"),
    ] {
        std::fs::write(&config, text.replace(from, to)).unwrap();
        let error = fails(folder.path()).to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
    parsed["quantization_config"] = serde_json::Value::Null;
    std::fs::write(&config, parsed.to_string()).unwrap();
    let error = fails(folder.path());
    assert!(matches!(&error, CheckpointError::Undescribed { bits: Bits::Four, .. }), "{error}");

    // Zero points are tensors that nothing here has a place for.
    std::fs::write(&config, text).unwrap();
    let mut more = quantised(&spec, Bits::Four);
    let zero = "model.layers.0.mlp.up_proj.weight_zero_point";
    more.push(Tensor { name: zero.into(), shape: vec![1], values: TensorData::Real(vec![0.0]) });
    let quantisation = Checkpoint::load(folder.path()).unwrap().quantisation.unwrap();
    let generation = GenerationDefaults::default();
    let vocabulary = vocabulary();
    let description = Description::native(&spec, &vocabulary, &generation);
    save_quantised(folder.path(), &description, (&more, &quantisation), Storage::F32).unwrap();
    let error = fails(folder.path());
    assert!(matches!(&error, CheckpointError::UnknownTensors { first, .. } if first == zero), "{error}");
}

#[test]
fn a_weight_that_is_not_finite_is_named_with_its_index_and_file() {
    let spec = spec(&vocabulary());
    for (storage, bad) in [(Storage::F32, f32::NAN), (Storage::Bf16, f32::INFINITY), (Storage::F16, 1e9)] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &spec, 1).unwrap();
        let path = folder.path().join("model.safetensors");
        let mut damaged = tensors(&spec, 1);
        let name = damaged[3].name.clone();
        damaged[3].values[5] = bad;
        aquatint_checkpoint::write_weights(&path, &damaged, storage).unwrap();
        let error = fails(folder.path());
        let named = matches!(&error, CheckpointError::NotFinite { name: n, file, index: 5, .. }
            if *n == name && *file == path.display().to_string());
        assert!(named, "{error}");
    }
}

#[test]
fn a_tied_head_takes_the_word_vectors_with_it() {
    let source = tempfile::tempdir().unwrap();
    write(source.path(), &spec(&vocabulary()), 1).unwrap();
    let checkpoint = Checkpoint::load(source.path()).unwrap();
    for bits in [Bits::Four, Bits::Eight] {
        let folder = tempfile::tempdir().unwrap();
        let made = checkpoint.quantise(QuantisePlan { bits, group: None, head: true }, folder.path()).unwrap();
        let targets: Vec<&str> =
            made.quantisation.schemes.iter().flat_map(|scheme| &scheme.targets).map(String::as_str).collect();
        assert_eq!(targets, ["Linear", "model.embed_tokens"]);
        let again = Checkpoint::load(folder.path()).unwrap();
        assert_eq!(again.quantisation.as_ref(), Some(&made.quantisation));
        assert_eq!(again.weights.bits("model.embed_tokens.weight"), Some(Bits::Eight));
        assert_eq!(again.storage().as_deref(), Some("F32"), "norms are no integers");
        // Rows are read and logits are computed with the same numbers.
        let words = tensors(&checkpoint.spec, 1).into_iter().find(|t| t.name == "model.embed_tokens.weight").unwrap();
        let table = Quantised::of(&words.values, (words.shape[0], words.shape[1]), Bits::Eight, None).unwrap();
        let network = again.network(Cpu::<f32>::scalar()).unwrap();
        let read = network.parameters().into_iter().find(|p| p.info.name == "model.embed_tokens.weight").unwrap();
        assert_eq!(network.device().download(read.value), table.dequantise());
    }
}

#[test]
fn a_head_of_its_own_may_have_more_bits_than_the_blocks() {
    let spec =
        NetworkSpec { head: HeadSpec::default(), time_conditioning: Some(TimeSpec::new(8)), ..spec(&vocabulary()) };
    let source = tempfile::tempdir().unwrap();
    write(source.path(), &spec, 1).unwrap();
    let checkpoint = Checkpoint::load(source.path()).unwrap();
    let outside = ["model.time_embedder.input_proj", "model.time_embedder.output_proj", "model.norm_modulation"];
    for (bits, head, schemes, ignored) in [
        (Bits::Four, true, vec![Bits::Four, Bits::Eight], 3),
        (Bits::Eight, true, vec![Bits::Eight], 3),
        (Bits::Four, false, vec![Bits::Four], 4),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let made = checkpoint.quantise(QuantisePlan { bits, group: None, head }, folder.path()).unwrap();
        assert_eq!(made.quantisation.schemes.iter().map(|scheme| scheme.bits).collect::<Vec<_>>(), schemes);
        assert_eq!(made.quantisation.ignore[..3], outside);
        assert_eq!((made.quantisation.ignore.len(), made.storage), (ignored, Storage::F32));
        assert!(made.errors.iter().all(|(_, error)| *error < 0.2), "{:?}", made.errors);

        let again = Checkpoint::load(folder.path()).unwrap();
        assert_eq!(again.quantisation.as_ref(), Some(&made.quantisation));
        assert_eq!(again.weights.bits("lm_head.weight"), head.then_some(Bits::Eight));
        assert_eq!(again.weights.bits("model.layers.0.modulation.weight"), Some(bits));
        assert_eq!(again.weights.bits("model.embed_tokens.weight"), None);
        again.network(Cpu::<f32>::scalar()).unwrap();
        let error = again.quantise(QuantisePlan { bits, group: None, head }, folder.path()).unwrap_err();
        assert!(matches!(error, CheckpointError::AlreadyQuantised { .. }), "{error}");
    }
    // Eight inputs do not divide into groups of sixteen.
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("out");
    let plan = QuantisePlan { bits: Bits::Four, group: Some(16), head: false };
    let error = checkpoint.quantise(plan, &place).unwrap_err();
    assert!(matches!(&error, CheckpointError::Quantised { name, .. } if name.contains("layers.0")), "{error}");
    assert!(!place.exists(), "nothing is left of it");
}

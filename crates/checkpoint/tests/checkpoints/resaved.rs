//! Folders that other tools wrote again, or did not download whole.

use crate::folders::{fails, spec, tensors, vocabulary, write};
use aquatint_checkpoint::{Checkpoint, CheckpointError, Storage, Tensor, open_vocabulary, write_weights};
use aquatint_compute::{Cpu, Memory};
use serde_json::{Value, json};
use std::path::Path;

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 54832\n";

/// Changes an object of a JSON file.
fn edit(path: &Path, changes: &Value) {
    let mut value: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for (key, change) in changes.as_object().unwrap() {
        value[key] = change.clone();
    }
    std::fs::write(path, value.to_string()).unwrap();
}

#[test]
fn a_folder_that_transformers_saved_again_opens() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(&vocabulary());
    write(folder.path(), &spec, 1).unwrap();
    let (config, generation) = (folder.path().join("config.json"), folder.path().join("generation_config.json"));
    edit(
        &config,
        &json!({
            "torch_dtype": null, "dtype": "bfloat16", "transformers_version": "5.0.0", "_name_or_path": "x/y",
            "auto_map": {"AutoModel": "modeling.Aquatint"}, "architectures": ["Aquatint"], "use_cache": true,
            "attention_dropout": 0.0, "initializer_range": 0.02, "is_decoder": false, "pruned_heads": {},
            "rope_scaling": null, "id2label": {"0": "LABEL_0"}
        }),
    );
    edit(
        &generation,
        &json!({
            "_from_model_config": true, "transformers_version": "5.0.0", "do_sample": true, "temperature": 0.75,
            "num_beams": 1, "max_new_tokens": null, "cache_implementation": null, "eos_token_id": [0, 1]
        }),
    );
    let checkpoint = Checkpoint::load(folder.path()).unwrap();
    assert_eq!((&checkpoint.spec, checkpoint.generation.temperature), (&spec, Some(0.75)));
    assert_eq!(checkpoint.generation.others.len(), 0);

    // What would change the network or its text is not passed over.
    edit(&generation, &json!({"num_beams": 4}));
    assert!(fails(folder.path()).to_string().ends_with("`num_beams` is 4; allowed: 1"));
    edit(&config, &json!({"attention_bias": true}));
    assert_eq!(fails(folder.path()).to_string(), "`attention_bias` is true; allowed: false");
    edit(&config, &json!({"attention_bias": false, "rope_scaling": {"factor": 2.0}}));
    assert_eq!(fails(folder.path()).to_string(), "the description has the unknown key `rope_scaling`");
}

#[test]
fn a_pointer_in_the_place_of_any_file_is_named_with_the_command_that_fetches_it() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
        "model.safetensors",
        "model.safetensors.index.json",
    ];
    for file in files {
        std::fs::remove_dir_all(folder.path()).unwrap();
        write(folder.path(), &spec(&vocabulary()), 1).unwrap();
        let pointer = folder.path().join(file);
        std::fs::write(&pointer, POINTER).unwrap();
        let error = fails(folder.path());
        assert!(matches!(&error, CheckpointError::LfsPointer { path, size: 54_832 } if *path == pointer), "{error}");
        assert_eq!(error.hint().unwrap(), format!("download it: git -C {} lfs pull", folder.path().display()));
        let own = open_vocabulary(&folder.path().join("tokenizer.json"));
        match own {
            Ok(_) => assert!(!file.starts_with("tokenizer"), "{file}"),
            Err(error) => {
                assert!(matches!(&error, CheckpointError::LfsPointer { path, .. } if *path == pointer), "{error}")
            }
        }
    }
}

#[test]
fn a_tied_head_may_be_stored_under_either_name_or_both() {
    let spec = spec(&vocabulary());
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &spec, 1).unwrap();
    let own = tensors(&spec, 1);
    let words = own.iter().position(|tensor| tensor.name == "model.embed_tokens.weight").unwrap();
    let head = Tensor { name: "lm_head.weight".into(), ..own[words].clone() };
    let path = folder.path().join("model.safetensors");
    let loaded = || -> Vec<f32> {
        let network = Checkpoint::load(folder.path()).unwrap().network(Cpu::<f32>::scalar()).unwrap();
        let parameters = network.parameters();
        let values = parameters.iter().find(|parameter| parameter.info.name == own[words].name).map(|p| p.value);
        network.device().download(values.unwrap())
    };

    let both: Vec<Tensor<Vec<f32>>> = own.iter().chain([&head]).cloned().collect();
    write_weights(&path, &both, Storage::F32).unwrap();
    assert_eq!(loaded(), own[words].values);
    // A copy is no parameter.
    let numbers = own.iter().map(|tensor| 4 * tensor.values.len() as u64).sum::<u64>();
    assert_eq!(Checkpoint::load(folder.path()).unwrap().size().1, numbers);

    let mut one = own.clone();
    one[words] = head.clone();
    write_weights(&path, &one, Storage::F32).unwrap();
    assert_eq!(loaded(), own[words].values);

    let mut other = head.clone();
    other.values[3] = -other.values[3];
    let transposed = Tensor { shape: other.shape.iter().rev().copied().collect(), ..head };
    for head in [other, transposed] {
        let differing: Vec<Tensor<Vec<f32>>> = own.iter().cloned().chain([head]).collect();
        write_weights(&path, &differing, Storage::F32).unwrap();
        let error = fails(folder.path());
        let expected = format!(
            "`lm_head.weight` differs from `model.embed_tokens.weight` in `{}`, though config.json ties the head to the \
             word vectors",
            path.display()
        );
        assert_eq!(error.to_string(), expected);
    }
}

//! A run whose layers are kept in few bits: what is saved are these integers, and a resumed run is the same.

use crate::support::{device, recipe, run};
use aquatint_checkpoint::{Checkpoint, Weights};
use aquatint_compute::Bits;
use aquatint_network::TensorData;
use aquatint_train::{StepFigures, TrainingEvent, train};
use std::path::Path;
use std::sync::atomic::AtomicBool;

const LAYERS: &str = "optimiser.groups=[{ parameters = 'model.layers.*', trainable = false, precision = 'int8' }]";

/// The integers of all matrices that a model keeps so.
fn integers(folder: &Path) -> Vec<(String, TensorData)> {
    let checkpoint = Checkpoint::load(folder).unwrap();
    let mut all = Vec::new();
    checkpoint
        .build(|give| {
            for tensor in checkpoint.spec.tensors() {
                let data = give(&tensor.name).unwrap();
                assert_eq!(matches!(data, TensorData::Quantised(_)), tensor.name.contains("_proj"), "{}", tensor.name);
                all.push((tensor.name, data));
            }
            Ok(())
        })
        .unwrap();
    all.retain(|(_, data)| matches!(data, TensorData::Quantised(_)));
    all
}

/// The weights of a model file and of a state, whatever the time they were written at.
fn saved(folder: &Path) -> Vec<(String, Vec<u32>)> {
    let mut all = Vec::new();
    for file in ["model.safetensors", "state/run.safetensors"] {
        let weights = Weights::open_file(&folder.join(file)).unwrap();
        for name in weights.names() {
            // Integers are compared as such.
            if weights.storage(name).as_deref() != Some("I8") {
                all.push((
                    format!("{file} {name}"),
                    weights.read(name).unwrap().into_iter().map(f32::to_bits).collect(),
                ));
            }
        }
    }
    assert!(all.iter().any(|(name, _)| name.contains("first.model.embed_tokens")));
    assert!(!all.iter().any(|(name, _)| name.contains("first.model.layers")), "what does not learn has no moments");
    all
}

#[test]
fn integers_that_are_not_trained_are_saved_as_they_are_and_a_resumed_run_is_the_same_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, halves] = ["whole", "halves"].map(|name| folder.path().join(name));
    let set = [LAYERS, "run.steps=20", "run.save_every=10"];
    run(&recipe(&whole, &set), false).unwrap();
    let wanted = recipe(&halves, &set);
    let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        train(&wanted, device(), false, &AtomicBool::new(false), &mut |event| {
            if let TrainingEvent::Step(StepFigures { step: 15, .. }) = event {
                std::panic::resume_unwind(Box::new("killed"));
            }
        })
    }));
    assert!(killed.is_err());
    let first = integers(&halves);
    assert_eq!(first.len(), 2 * 7);
    run(&wanted, true).unwrap();
    assert!(integers(&halves) == first && integers(&whole) == first);
    assert!(saved(&whole) == saved(&halves));

    // The state holds the integers, in a byte each.
    let state = Weights::open_file(&halves.join("state/run.safetensors")).unwrap();
    for (name, data) in &first {
        let TensorData::Quantised(matrix) = data else { panic!("{name}") };
        assert_eq!(matrix.bits(), Bits::Eight);
        assert_eq!(state.storage(&format!("integers.{name}")).as_deref(), Some("I8"));
    }

    // A run that begins with that model keeps its very integers.
    let next = folder.path().join("next");
    run(&recipe(&next, &[LAYERS, "run.steps=5", &format!("initial={}", halves.display())]), false).unwrap();
    assert!(integers(&next) == first);
    assert!(saved(&next) != saved(&halves));
}

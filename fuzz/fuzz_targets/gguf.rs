//! Any file is a model in GGUF or is refused, and so are its weights.
#![no_main]

use aquatint_checkpoint::Checkpoint;
use aquatint_compute::Cpu;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).expect("room for it");
    match Checkpoint::load(&path) {
        Ok(checkpoint) => {
            if let Err(error) = checkpoint.network(Cpu::<f32>::scalar()) {
                assert!(!error.to_string().is_empty());
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

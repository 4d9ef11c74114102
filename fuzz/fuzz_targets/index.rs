//! An index opens no file but those beside it, and any text is an index or is refused.
//!
//! The folder holds one file of weights; one with the same name lies in its parent, which no index reaches.
#![no_main]

use aquatint_checkpoint::{Storage, Tensor, Weights, write_weights};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|index: &[u8]| {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let folder = parent.path().join("model");
    std::fs::create_dir(&folder).expect("room for it");
    for (path, value) in [(&folder, 1.0), (&parent.path().to_path_buf(), 2.0)] {
        let tensor = Tensor { name: "a".to_owned(), shape: vec![1], values: vec![value] };
        write_weights(&path.join("model.safetensors"), &[tensor], Storage::F32).expect("room for it");
    }
    std::fs::write(folder.join("model.safetensors.index.json"), index).expect("room for it");
    match Weights::open(&folder) {
        Ok(weights) => weights.names().for_each(|name| assert_eq!(weights.read(name).expect("it is there"), [1.0])),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

//! What weights take in memory, against what a network of them really takes.

use aquatint_checkpoint::Checkpoint;
use aquatint_compute::{Cpu, CpuPath, WeightFormat};
use std::path::Path;

#[test]
fn the_memory_of_every_format_is_about_what_the_network_takes() {
    // A path without instructions for bf16 keeps f32. The scalar path keeps integers of any size in whole bytes.
    let Some(path) = CpuPath::available().into_iter().find(|path| *path != CpuPath::Scalar) else { return };
    let llada = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/llada");
    for checkpoint in [Checkpoint::open("tales").unwrap(), Checkpoint::load(Path::new(llada)).unwrap()] {
        for format in [WeightFormat::F32, WeightFormat::Int8, WeightFormat::Int4 { group: 32 }] {
            let network = checkpoint.inference_network(Cpu::<f32>::new(path, 1).unwrap(), format).unwrap();
            let (expected, found) = (network.weight_bytes() as f64, checkpoint.memory(format) as f64);
            let share = (expected - found).abs() / expected;
            assert!(share < 0.06, "{} in {format:?}: {expected} and {found}", checkpoint.origin);
        }
    }
}

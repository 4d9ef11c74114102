//! Any file is a safetensors file or is refused; every tensor in one is read whole, real or quantised, or is refused, and
//! row by row it is the same.
//!
//! The input is a `quantization_config` up to the first zero byte, and then the file.
#![no_main]

use aquatint_checkpoint::{Quantisation, Weights};
use aquatint_network::TensorData;
use libfuzzer_sys::fuzz_target;
use std::io::Write;

fuzz_target!(|bytes: &[u8]| {
    let split = bytes.iter().position(|byte| *byte == 0).unwrap_or(0);
    let (description, weights) = bytes.split_at(split);
    let value: serde_json::Value = serde_json::from_slice(description).unwrap_or_default();
    let config = serde_json::json!({ "quantization_config": value });
    let quantisation = Quantisation::from_config("config.json", &config).unwrap_or_default();
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(weights.get(1..).unwrap_or_default()).expect("room for it");
    let Ok(weights) = Weights::open_file(file.path()) else { return };
    for tensor in weights.names() {
        let name = tensor.strip_suffix("_packed").unwrap_or(tensor);
        let own = weights.shape(tensor).expect("a tensor that is named has a shape");
        // The shape that a description would ask for is not known here; eight values of four bits lie in a word.
        let wider: Vec<usize> =
            own.iter().rev().enumerate().map(|(i, n)| if i == 0 { n.saturating_mul(8) } else { *n }).rev().collect();
        for shape in [own, &wider] {
            match weights.read_data(name, shape, quantisation.as_ref()) {
                Ok(data) => {
                    if let TensorData::Quantised(matrix) = &data {
                        assert_eq!([matrix.outputs(), matrix.inputs()], shape);
                    }
                    let values = data.into_real();
                    assert!(values.iter().all(|value| value.is_finite()));
                    if weights.has_rows(name) && !values.is_empty() {
                        let rows = if let [rows, _] = *shape { rows as u32 } else { 1 };
                        let read = |rows: &[u32]| weights.read_rows(name, shape, quantisation.as_ref(), rows);
                        let all = read(&(0..rows).collect::<Vec<_>>()).expect("rows of what was read whole");
                        assert!(all.iter().zip(&values).all(|(row, whole)| row.to_bits() == whole.to_bits()));
                        assert_eq!(all.len(), values.len());
                        assert!(read(&[rows]).is_err());
                    }
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
});

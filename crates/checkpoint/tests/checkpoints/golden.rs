//! Quantised matrices against the files of compressed-tensors, and what it reads out of them.

use aquatint_checkpoint::{Quantisation, Weights};
use aquatint_network::TensorData;
use aquatint_testing::Golden;
use std::path::Path;

#[test]
fn files_of_compressed_tensors_are_read_as_it_reads_them() {
    let golden = Golden::load("compressed_tensors");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/compressed_tensors");
    let weights = Weights::open(&folder).unwrap();
    let configs = golden.about["quantization_config"].as_object().unwrap();
    assert_eq!(configs.len(), 4);
    let mut lowest = 0;
    for (case, config) in configs {
        let config = serde_json::json!({ "quantization_config": config });
        let described = Quantisation::from_config(case, &config).unwrap();
        let values = golden.values(&format!("{case}.values"));
        let shape = golden.shape(&format!("{case}.values"));
        let data = weights.read_data(&format!("{case}.weight"), shape, described.as_ref()).unwrap();
        let TensorData::Quantised(matrix) = data else { panic!("{case} is quantised") };
        let expected = golden.values(&format!("{case}.weight"));
        for (index, back) in matrix.dequantise().into_iter().enumerate() {
            if values[index] == -128.0 {
                // The one integer that is taken for its neighbour.
                assert_eq!(matrix.values()[index], -127, "{case} at {index}");
                lowest += 1;
            } else {
                assert_eq!(f64::from(matrix.values()[index]), values[index], "{case} at {index}");
                assert_eq!(f64::from(back), expected[index], "{case} at {index}");
            }
        }
    }
    assert!(lowest > 0, "the files hold no -128");
}

//! Mixtures of experts: they learn, and a row's experts do not depend on the other rows of a pass.

use aquatint_compute::{Cpu, CpuPath, Elementwise, Memory, Visibility, WeightFormat};
use aquatint_network::{Denoiser, InferenceNetwork, Learner, NetworkInput, NetworkSpec, TensorData, WholeRows};
use aquatint_testing::Example;
use std::ops::Range;

fn devices() -> Vec<Cpu<f32>> {
    let mut devices = vec![Cpu::<f32>::scalar()];
    devices.extend(Cpu::<f32>::new(CpuPath::best(), 2));
    devices
}

#[test]
fn experts_and_their_router_learn() {
    for name in ["experts", "grouped-experts"] {
        let example = Example::named(name);
        for device in devices() {
            let mut network = example.network(device.clone());
            let before = network.read_parameter("model.layers.1.mlp.gate.weight").unwrap();
            let total =
                |costs: Vec<f64>| -> f64 { costs.iter().zip(&example.rows).map(|(c, row)| c * row.weight).sum() };
            let first = total(network.nll(&example.input(), &example.rows).unwrap());
            for _ in 0..60 {
                network.clear_gradients();
                network.forward_backward(&example.input(), &example.rows).unwrap();
                let rate = -0.3 / network.gradient_norm().max(1.0);
                for parameter in network.trained_parameters_mut() {
                    device.scale_add(rate, parameter.gradient, 1.0, parameter.value);
                }
            }
            let last = total(network.nll(&example.input(), &example.rows).unwrap());
            assert!(last < 0.5 * first, "{name} on {}: {first} and then {last}", device.describe());
            assert_ne!(network.read_parameter("model.layers.1.mlp.gate.weight").unwrap(), before);
        }
    }
}

/// Some rows of an example.
fn part<'a>(example: &'a Example, rows: Range<usize>, visibility: &'a Visibility) -> NetworkInput<'a> {
    NetworkInput {
        tokens: &example.tokens[rows.clone()],
        points: None,
        positions: &example.positions[rows],
        places: None,
        visibility,
        times: None,
        current: None,
        self_conditioning: None,
    }
}

#[test]
fn a_sequence_has_the_same_logits_alone_and_beside_others_whatever_its_experts() {
    let example = Example::ragged(Example::named("experts").spec, &[9, 1, 16, 5]);
    for device in devices() {
        for format in [WeightFormat::F32, WeightFormat::Bf16] {
            let weights = example.network(device.clone());
            let mut give = |name: &str| Some(TensorData::Real(weights.read_parameter(name).unwrap()));
            let spec: NetworkSpec = example.spec.clone();
            let network = InferenceNetwork::new(device.clone(), spec, format, &mut give).unwrap();
            let lengths = [9, 1, 16, 5];
            let visibility = Visibility::full(&lengths);
            let rows: Vec<u32> = (0..31).collect();
            let together = network.logits(&part(&example, 0..31, &visibility), &rows).unwrap();
            let (size, mut start) = (example.spec.vocabulary_size, 0);
            for length in lengths {
                let alone = Visibility::full(&[length]);
                let own: Vec<u32> = (0..length as u32).collect();
                let logits = network.logits(&part(&example, start..start + length, &alone), &own).unwrap();
                assert_eq!(logits, together[start * size..(start + length) * size], "{}", device.describe());
                start += length;
            }
        }
    }
}

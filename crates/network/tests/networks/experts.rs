//! Mixtures of experts: they learn, and a row's experts do not depend on the other rows of a pass.

use aquatint_compute::{Cpu, CpuPath, Cuda, Elementwise, Memory, Visibility, WeightFormat};
use aquatint_network::{
    BlockRouting, CachedRows, Denoiser, FeedForwardKind, InferenceNetwork, KvCache, Learner, NetworkError,
    NetworkInput, NetworkSpec, RowLayout, TensorData, WholeRows,
};
use aquatint_testing::{Comparison, Example};
use std::ops::Range;

fn devices() -> Vec<Cpu<f32>> {
    let mut devices = vec![Cpu::<f32>::scalar()];
    devices.extend(Cpu::<f32>::new(CpuPath::best(), 2));
    devices
}

#[test]
fn experts_and_their_router_learn() {
    for name in ["experts", "grouped-experts", "block-experts"] {
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

/// Sequences in blocks of four, of which the rows choose their experts together.
fn blocks(lengths: &[usize]) -> Example {
    Example::ragged(NetworkSpec { context_length: 32, ..Example::named("block-experts").spec }, lengths)
}

#[test]
fn a_block_chooses_the_same_experts_alone_and_beside_others_and_whichever_rows_answer() {
    let lengths = [9, 1, 16, 5];
    let mut example = blocks(&lengths);
    let layout = example.spec.attention;
    let laid_out = |lengths: &[usize]| {
        let mut rows = RowLayout::default();
        for length in lengths {
            rows.push(layout, *length, &[]);
        }
        rows.finish().unwrap()
    };
    (example.positions, example.visibility) = laid_out(&lengths);
    for device in devices() {
        for format in [WeightFormat::F32, WeightFormat::Bf16] {
            let weights = example.network(device.clone());
            let mut give = |name: &str| Some(TensorData::Real(weights.read_parameter(name).unwrap()));
            let network = InferenceNetwork::new(device.clone(), example.spec.clone(), format, &mut give).unwrap();
            let rows: Vec<u32> = (0..31).collect();
            let together = network.logits(&example.input(), &rows).unwrap();
            let (size, mut start) = (example.spec.vocabulary_size, 0);
            for length in lengths {
                let (_, alone) = laid_out(&[length]);
                let own: Vec<u32> = (0..length as u32).collect();
                let input = part(&example, start..start + length, &alone);
                let logits = network.logits(&input, &own).unwrap();
                assert_eq!(logits, together[start * size..(start + length) * size], "{}", device.describe());
                // The rows of the last layer that nobody reads choose all the same.
                for row in [0, length as u32 - 1] {
                    let one = network.logits(&input, &[row]).unwrap();
                    assert_eq!(one, logits[row as usize * size..][..size], "{}", device.describe());
                }
                start += length;
            }
        }
    }
}

#[test]
fn what_a_block_chooses_changes_what_a_row_is_predicted_to_be() {
    let example = blocks(&[16]);
    let mut by_itself = example.clone();
    for layer in &mut by_itself.spec.layers {
        let FeedForwardKind::Experts(experts) = &mut layer.feed_forward.kind else { unreachable!() };
        experts.router.block = None;
    }
    let mut all_open = example.clone();
    for layer in &mut all_open.spec.layers {
        let FeedForwardKind::Experts(experts) = &mut layer.feed_forward.kind else { unreachable!() };
        experts.router.block = Some(BlockRouting { length: 4, experts: experts.experts });
    }
    let rows: Vec<u32> = (0..16).collect();
    for device in devices() {
        let logits = |example: &Example| example.network(device.clone()).logits(&example.input(), &rows).unwrap();
        assert_ne!(logits(&example), logits(&by_itself));
        // Where a block keeps all experts, each row has what it had by itself.
        assert_eq!(logits(&all_open), logits(&by_itself));
    }
}

#[test]
fn a_part_of_a_block_cannot_be_computed_from_a_cache() {
    let example = blocks(&[8]);
    let network = example.network(Cpu::<f32>::scalar());
    let mut caches = [KvCache::default()];
    let mut forward = |rows: &[u32]| {
        let cached = CachedRows { rows_to_compute: rows, kv_caches: &mut caches };
        network.forward_cached(&example.input(), cached, &rows[..1], &|_, _| {})
    };
    forward(&[0, 1, 2, 3]).unwrap();
    forward(&[4, 5, 6, 7]).unwrap();
    assert!(matches!(forward(&[4, 5, 7]), Err(NetworkError::PartOfBlock { row: 4 })));
    forward(&[4, 5, 6, 7]).unwrap();
}

#[test]
fn a_gpu_chooses_for_a_block_as_the_specification_does() {
    let example = blocks(&[9, 16]);
    let rows: Vec<u32> = (0..25).collect();
    let doubles = |logits: Vec<f32>| logits.into_iter().map(f64::from).collect::<Vec<f64>>();
    let expected = doubles(example.network(Cpu::<f64>::scalar()).logits(&example.input(), &rows).unwrap());
    let mut comparison = Comparison::new();
    for device in Cuda::tested() {
        let network = example.network(device.clone());
        let logits = doubles(network.logits(&example.input(), &rows).unwrap());
        comparison.check(&device.describe(), &logits, &expected, 5e-4);
    }
    comparison.finish();
}

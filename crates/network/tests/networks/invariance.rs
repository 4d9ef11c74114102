//! What may not matter does not: the other sequences of a batch, the number of threads, the path of the processor.

use aquatint_compute::{Cpu, CpuPath, Memory, Visibility};
use aquatint_network::{AttentionSpec, FeedForwardSpec, LayerSpec, Learner, NetworkInput, NetworkSpec, WholeRows};
use aquatint_testing::{Comparison, Example};

/// An example that the fast paths find worth their while: many rows, ragged, none of its sizes a power of two.
fn large(name: &str) -> Example {
    let small = Example::named(name);
    let sized = |layer: &LayerSpec| LayerSpec {
        attention: AttentionSpec { heads: 6, key_value_heads: 3, head_size: 12, ..layer.attention },
        feed_forward: FeedForwardSpec { norm: layer.feed_forward.norm, ..FeedForwardSpec::new(100) },
        ..*layer
    };
    let spec = NetworkSpec {
        width: 72,
        layers: small.spec.layers.iter().map(sized).collect(),
        context_length: 64,
        vocabulary_size: 301,
        mask_token: small.spec.mask_token.map(|_| 300),
        ..small.spec
    };
    Example::ragged(spec, &[33, 1, 50, 17])
}

fn devices() -> Vec<Cpu<f32>> {
    let mut devices = vec![Cpu::<f32>::scalar()];
    devices.extend(Cpu::<f32>::new(CpuPath::best(), 1));
    devices
}

#[test]
fn a_sequence_in_a_batch_is_read_as_if_it_were_alone_to_the_bit() {
    for name in
        ["plain", "grouped-queries-and-documents", "time-conditioning", "self-conditioning", "causal", "several-axes"]
    {
        let example = large(name);
        for device in devices() {
            let network = example.network(device.clone());
            let size = example.spec.vocabulary_size;
            let all: Vec<u32> = (0..example.visibility.len() as u32).collect();
            let together = network.logits(&example.input(), &all).unwrap();
            for (index, sequence) in example.visibility.sequences().iter().enumerate() {
                let rows = sequence.start as usize..sequence.end as usize;
                let alone = |row: usize| example.visibility.row(row).clone();
                let back = |two: [std::ops::Range<u32>; 2]| {
                    two.map(|r| if r.is_empty() { 0..0 } else { r.start - sequence.start..r.end - sequence.start })
                };
                let intervals = rows.clone().map(|row| back(alone(row))).collect();
                let whole = 0..rows.len() as u32;
                let visibility = Visibility::new(vec![whole], intervals).unwrap();
                let columns =
                    |all: &Option<Vec<f32>>| all.as_ref().map(|all| all[rows.start * size..rows.end * size].to_vec());
                let prediction = columns(&example.self_conditioning);
                let input = NetworkInput {
                    tokens: &example.tokens[rows.clone()],
                    points: None,
                    positions: &example.positions[rows.clone()],
                    places: None,
                    visibility: &visibility,
                    times: example.times.as_ref().map(|times| &times[index..=index]),
                    current: None,
                    self_conditioning: prediction.as_deref(),
                };
                let requested: Vec<u32> = (0..rows.len() as u32).collect();
                let given = network.logits(&input, &requested).unwrap();
                assert_eq!(
                    given,
                    together[rows.start * size..rows.end * size],
                    "{name}, {index}, {}",
                    device.describe()
                );
                // Nor does it matter which other rows are asked for.
                let last = network.logits(&input, &requested[rows.len() - 1..]).unwrap();
                assert_eq!(last, given[(rows.len() - 1) * size..], "{name}, {index}, {}", device.describe());
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    for name in ["grouped-queries-and-documents", "time-conditioning", "self-conditioning"] {
        let example = large(name);
        let learnt = |threads| {
            let mut network = example.network(Cpu::<f32>::new(CpuPath::best(), threads).unwrap());
            let costs = network.forward_backward(&example.input(), &example.rows).unwrap();
            let device = network.device();
            let gradients: Vec<Vec<f32>> = network.parameters().iter().map(|p| device.download(p.gradient)).collect();
            (costs, gradients)
        };
        let one = learnt(1);
        assert_eq!(one, learnt(2), "{name}");
        assert_eq!(one, learnt(5), "{name}");
    }
}

#[test]
fn the_fast_path_agrees_with_the_specification() {
    for name in ["plain", "grouped-queries-and-documents", "time-conditioning", "self-conditioning", "causal"] {
        let example = large(name);
        let mut exact = example.network(Cpu::<f64>::scalar());
        let mut fast = example.network(Cpu::<f32>::new(CpuPath::best(), 2).unwrap());
        let expected = exact.forward_backward(&example.input(), &example.rows).unwrap();
        let costs = fast.forward_backward(&example.input(), &example.rows).unwrap();
        let mut comparison = Comparison::new();
        comparison.check(&format!("{name} costs"), &costs, &expected, 1e-4);
        for (exact_one, fast_one) in exact.parameters().iter().zip(fast.parameters()) {
            let expected = exact.device().download(exact_one.gradient);
            let given: Vec<f64> = fast.device().download(fast_one.gradient).iter().map(|&v| f64::from(v)).collect();
            comparison.check(&format!("{name} {}", exact_one.info.name), &given, &expected, 1e-3);
        }
        comparison.finish();
    }
}

//! Gradients of whole networks against finite differences in f64, and with recomputed activations.

use aquatint_compute::{Cpu, Device, Memory, Visibility, WeightFormat};
use aquatint_diffusion::{ContinuousState, Cost, Key, ProcessKind, Uniforms, Vectors};
use aquatint_network::{
    Activations, AdapterSpec, AttentionSpec, Denoiser, FeedForwardSpec, HeadSpec, InferenceNetwork, LayerSpec, Learner,
    LossRow, LowRankHalf, LowRankSpec, Network, NetworkInput, NetworkSpec, NormSpec, ProcessSpec, QueryGrowth,
    RopeSpec, RotationScaling, TimeSpec, Yarn,
};
use aquatint_testing::{Comparison, Example};

/// `Σ weight · cost`.
fn loss(network: &Network<Cpu<f64>>, example: &Example) -> f64 {
    let costs = network.nll(&example.input(), &example.rows).unwrap();
    example.rows.iter().zip(costs).map(|(row, cost)| row.weight * cost).sum()
}

/// The gradient of each parameter.
fn gradients<D: Device>(network: &Network<D>) -> Vec<(String, Vec<D::Element>)> {
    let device = network.device();
    network.parameters().iter().map(|p| (p.info.name.to_owned(), device.download(p.gradient))).collect()
}

/// Examples whose first layer sees one position to each side: sequences read as they are, and two streams.
fn windowed() -> [(&'static str, Example); 2] {
    [("plain within a window", "plain"), ("two streams within a window", "two-streams")].map(|(title, name)| {
        let mut example = Example::named(name);
        example.spec.layers[0].attention.window = Some(2);
        (title, example)
    })
}

/// Examples whose queries, keys and values are turned, normed and scaled in other than the usual manner.
fn rotated() -> [(&'static str, Example); 2] {
    let mut part = Example::named("grouped-queries-and-documents");
    let mut slowed = Example::named("biases");
    for layer in &mut part.spec.layers {
        (layer.attention.value_norm, layer.attention.score_scale) = (true, Some(1.0));
        layer.attention.rope = RopeSpec { theta: 100.0, rotated: Some(4), ..RopeSpec::default() };
    }
    let yarn = Yarn { factor: 4.0, original_context: 8, beta_fast: 2.0, beta_slow: 0.5, attention_factor: 1.25 };
    for layer in &mut slowed.spec.layers {
        layer.attention.rope = RopeSpec {
            theta: 100.0,
            rotated: None,
            scaling: RotationScaling::Yarn(yarn),
            query_growth: Some(QueryGrowth { beta: 0.5, every: 2 }),
            axes: 1,
        };
    }
    [("turned in part", part), ("turned by YaRN", slowed)]
}

#[test]
fn gradients_agree_with_finite_differences() {
    let examples = Example::NAMES.map(|name| (name, Example::named(name)));
    for (name, example) in examples.into_iter().chain(windowed()).chain(rotated()) {
        let device = Cpu::<f64>::scalar();
        let mut network = example.network(device.clone());
        let costs = network.forward_backward(&example.input(), &example.rows).unwrap();
        assert_eq!(costs, network.nll(&example.input(), &example.rows).unwrap(), "{name}");
        let mut comparison = Comparison::new();
        for (index, (parameter, gradient)) in gradients(&network).into_iter().enumerate() {
            let original = device.download(network.parameters()[index].value);
            let mut at = |values: &[f64]| {
                device.write(network.parameters_mut()[index].value, values);
                loss(&network, &example)
            };
            // A direction in which every element counts, and single elements.
            let mut draws = Key::new(1).at(index as u64, 0);
            let mut everywhere: Vec<f64> = original.iter().map(|_| draws.normal()).collect();
            let length = everywhere.iter().map(|v| v * v).sum::<f64>().sqrt();
            everywhere.iter_mut().for_each(|v| *v /= length);
            let mut directions = vec![everywhere];
            for _ in 0..3 {
                let mut one = vec![0.0; original.len()];
                one[draws.below(original.len() as u64) as usize] = 1.0;
                directions.push(one);
            }
            let mut along = |direction: &[f64], step: f64| {
                let moved =
                    |sign: f64| original.iter().zip(direction).map(|(v, d)| v + sign * step * d).collect::<Vec<_>>();
                (at(&moved(1.0)) - at(&moved(-1.0))) / (2.0 * step)
            };
            // Two step sizes cancel the error of second order.
            let slopes: Vec<f64> = directions.iter().map(|d| (4.0 * along(d, 1e-4) - along(d, 2e-4)) / 3.0).collect();
            let expected: Vec<f64> =
                directions.iter().map(|d| d.iter().zip(&gradient).map(|(d, g)| d * g).sum()).collect();
            comparison.check(&format!("{name} {parameter}"), &expected, &slopes, 1e-8);
            device.write(network.parameters_mut()[index].value, &original);
        }
        comparison.finish();
    }
}

/// Predictions are in 32 bits, so what is trained by them is held against what is trained by targets in 64.
#[test]
fn learning_from_predictions_is_learning_from_their_cost() {
    for name in Example::NAMES {
        let example = Example::named(name);
        let mut network = example.network(Cpu::<f64>::scalar());
        network.forward_backward(&example.input(), &example.rows).unwrap();
        let expected = gradients(&network);
        network.clear_gradients();
        let rows: Vec<u32> = example.rows.iter().map(|row| row.row).collect();
        network
            .forward_backward_with(&example.input(), &rows, &|index, prediction| {
                let LossRow { target, weight, .. } = example.rows[index];
                let _ = Cost::CrossEntropy.learn(target, prediction, Vectors::default(), weight);
            })
            .unwrap();
        let mut comparison = Comparison::new();
        for ((parameter, expected), (_, got)) in expected.iter().zip(gradients(&network)) {
            comparison.check(&format!("{name} {parameter}"), &got, expected, 1e-5);
        }
        comparison.finish();
    }
}

/// What points speak for by themselves is no way for the gradient: differences are taken where they speak for nothing.
#[test]
fn gradients_of_a_gaussian_field_agree_with_finite_differences() {
    let mut example = Example::named("gaussian-field");
    example.points.as_mut().unwrap().prior_logit_scale.fill(0.0);
    let device = Cpu::<f64>::scalar();
    let mut network = example.network(device.clone());
    let costs = network.forward_backward(&example.input(), &example.rows).unwrap();
    let measured = network.nll(&example.input(), &example.rows).unwrap();
    assert!(costs.iter().zip(&measured).all(|(a, b)| (a - b).abs() < 1e-5), "{costs:?} and {measured:?}");
    let mut comparison = Comparison::new();
    for (index, (parameter, gradient)) in gradients(&network).into_iter().enumerate() {
        let original = device.download(network.parameters()[index].value);
        let mut draws = Key::new(1).at(index as u64, 0);
        let direction: Vec<f64> = original.iter().map(|_| draws.normal()).collect();
        let mut at = |step: f64| {
            let moved: Vec<f64> = original.iter().zip(&direction).map(|(v, d)| v + step * d).collect();
            device.write(network.parameters_mut()[index].value, &moved);
            loss(&network, &example)
        };
        let slope = (8.0 * (at(5e-3) - at(-5e-3)) - (at(1e-2) - at(-1e-2))) / 0.06;
        let expected: f64 = direction.iter().zip(&gradient).map(|(d, g)| d * g).sum();
        comparison.check(&parameter, &[expected], &[slope], 2e-3);
        device.write(network.parameters_mut()[index].value, &original);
    }
    comparison.finish();
}

#[test]
fn recomputed_activations_give_the_same_gradients_to_the_bit() {
    for name in Example::NAMES {
        let example = Example::named(name);
        let learnt = |layers| {
            let mut network = example.network(Cpu::<f32>::scalar());
            network.recompute_activations(layers);
            // Twice, so that what was collected before counts too.
            let first = network.forward_backward(&example.input(), &example.rows).unwrap();
            let second = network.forward_backward(&example.input(), &example.rows).unwrap();
            assert_eq!(first, second);
            (first, gradients(&network), network.gradient_norm())
        };
        let retained = learnt(0);
        for layers in [1, 2, usize::MAX] {
            assert_eq!(retained, learnt(layers), "{name}, {layers} layers recomputed");
        }
    }
}

#[test]
fn the_memory_of_activations_is_what_the_estimate_says() {
    for time in [None, Some(TimeSpec::new(16))] {
        let attention = AttentionSpec { qk_norm: Some(NormSpec::default()), ..AttentionSpec::new(4, 2, 16) };
        let spec = NetworkSpec {
            head: HeadSpec { tied: true, ..HeadSpec::default() },
            time_conditioning: time,
            context_length: 64,
            process: ProcessSpec { kind: ProcessKind::Uniform, ..ProcessSpec::default() },
            ..NetworkSpec::new(64, 64, vec![LayerSpec::new(attention, FeedForwardSpec::new(160)); 8])
        };
        let lengths = [48, 64, 40];
        let rows: usize = lengths.iter().sum();
        let tokens: Vec<u32> = (0..rows as u32).map(|row| row % 64).collect();
        let positions: Vec<u32> = lengths.iter().flat_map(|length| 0..*length as u32).collect();
        let visibility = Visibility::full(&lengths);
        let times = [0.2, 0.5, 0.9];
        let input = NetworkInput {
            tokens: &tokens,
            points: None,
            positions: &positions,
            places: None,
            visibility: &visibility,
            times: time.map(|_| times.as_slice()),
            current: None,
            self_conditioning: None,
        };
        let requested: Vec<LossRow> =
            (0..rows as u32).map(|row| LossRow { row, target: row % 64, weight: 0.1 }).collect();
        // The most bytes alive while learning, which is when the forward has ended: what blocks keep makes the
        // difference.
        let peak = |recomputed: usize| {
            let device = Cpu::<f32>::scalar();
            let mut network = Network::new(device.clone(), spec.clone(), 1).unwrap();
            network.recompute_activations(recomputed);
            network.forward_backward(&input, &requested).unwrap();
            device.peak_bytes() as f64
        };
        let activations = Activations::new(&spec, rows, lengths.len(), size_of::<f32>());
        for recomputed in [1, 4] {
            let measured = peak(0) - peak(recomputed);
            let expected = (activations.bytes(0) - activations.bytes(recomputed)) as f64;
            assert!(
                (measured / expected - 1.0).abs() < 0.25,
                "{recomputed} of 8 layers recomputed, time {time:?}: {measured} bytes less, {expected} expected"
            );
        }
    }
}

#[test]
fn gradients_collect_until_they_are_cleared() {
    let example = Example::named("plain");
    let mut network = example.network(Cpu::<f64>::scalar());
    network.forward_backward(&example.input(), &example.rows).unwrap();
    let (once, norm) = (gradients(&network), network.gradient_norm());
    network.forward_backward(&example.input(), &example.rows).unwrap();
    let mut comparison = Comparison::new();
    for ((name, once), (_, twice)) in once.iter().zip(gradients(&network)) {
        let doubled: Vec<f64> = once.iter().map(|v| 2.0 * v).collect();
        comparison.check(name, &twice, &doubled, 1e-13);
    }
    comparison.check("norm", &[network.gradient_norm()], &[2.0 * norm], 1e-13);
    comparison.finish();
    network.clear_gradients();
    assert_eq!(network.gradient_norm(), 0.0);
    network.forward_backward(&example.input(), &example.rows).unwrap();
    assert_eq!(gradients(&network), once);
}

#[test]
fn halves_of_a_batch_add_up_to_the_whole() {
    let example = Example::named("plain");
    let mut whole = example.network(Cpu::<f64>::scalar());
    whole.forward_backward(&example.input(), &example.rows).unwrap();
    let mut parts = example.network(Cpu::<f64>::scalar());
    let (front, back) = example.rows.split_at(3);
    parts.forward_backward(&example.input(), front).unwrap();
    parts.forward_backward(&example.input(), back).unwrap();
    let mut comparison = Comparison::new();
    for ((name, whole), (_, parts)) in gradients(&whole).iter().zip(gradients(&parts)) {
        comparison.check(name, &parts, whole, 1e-12);
    }
    comparison.finish();
}

/// A row that reads a little of another token besides its own is a mixture of word vectors, which any network reads.
#[test]
fn gradients_by_tokens_agree_with_finite_differences() {
    for name in Example::NAMES {
        let example = Example::named(name);
        if example.spec.word_vector_size.is_some() || example.input().points.is_some() {
            continue;
        }
        let network = example.network(Cpu::<f64>::scalar());
        let (input, size) = (example.input(), example.spec.vocabulary_size);
        let count = input.tokens.len();
        let rows: Vec<u32> = (0..count as u32).rev().step_by(2).collect();
        let got = network.token_gradients(&input, &example.rows, &rows).unwrap();
        assert_eq!(got.len(), rows.len() * size, "{name}");
        let mut draws = Key::new(7).at(0, 0);
        let (mut expected, mut own) = (Vec::new(), Vec::new());
        for (index, &row) in rows.iter().enumerate() {
            for token in [draws.below(size as u64) as usize, input.tokens[row as usize] as usize] {
                let with = |share: f32| {
                    let mut offset = vec![0.0; count * size];
                    offset[row as usize * size + token] = share;
                    let points = ContinuousState {
                        size,
                        offset,
                        clean_weight: vec![1.0; count],
                        prior_logit_scale: vec![0.0; count],
                    };
                    let input = NetworkInput { points: Some(&points), ..input };
                    let costs = network.nll(&input, &example.rows).unwrap();
                    example.rows.iter().zip(costs).map(|(row, cost)| -row.weight * cost).sum::<f64>()
                };
                let along = |step: f32| (with(step) - with(-step)) / (2.0 * f64::from(step));
                expected.push((4.0 * along(1.0 / 1024.0) - along(2.0 / 1024.0)) / 3.0);
                own.push(f64::from(got[index * size + token]));
            }
        }
        let mut comparison = Comparison::new();
        comparison.check(name, &own, &expected, 1e-5);
        comparison.finish();
        assert!(expected.iter().any(|slope| slope.abs() > 1e-3), "{name}: nothing depends on what is read");
    }
}

#[test]
fn gradients_by_tokens_are_those_of_the_same_network_when_it_learns_nothing() {
    for name in Example::NAMES {
        let example = Example::named(name);
        if example.spec.word_vector_size.is_some() || example.input().points.is_some() {
            continue;
        }
        check_inferring(name, &example, &example.network(Cpu::<f64>::scalar()));
    }
}

/// What a network says of tokens where it can learn, and where it cannot.
fn check_inferring(name: &str, example: &Example, network: &Network<Cpu<f64>>) -> Vec<f32> {
    let rows: Vec<u32> = (0..example.input().tokens.len() as u32).collect();
    let of = |denoiser: &dyn Denoiser| denoiser.token_gradients(&example.input(), &example.rows, &rows).unwrap();
    let mut tensor = |name: &str| network.read_tensor(name).ok();
    let (device, spec) = (network.device().clone(), Denoiser::spec(network).clone());
    let inferring = InferenceNetwork::new(device, spec, WeightFormat::F32, &mut tensor).unwrap();
    let (expected, got) = (of(network), of(&inferring));
    let mut comparison = Comparison::new();
    let wide = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<f64>>();
    comparison.check(name, &wide(&got), &wide(&expected), 1e-5);
    comparison.finish();
    got
}

#[test]
fn gradients_by_tokens_go_through_an_adapter_and_pass_one_by_that_is_not_applied() {
    let mut example = Example::named("plain");
    let addition = LowRankSpec { rank: 2, factor: 1.5 };
    let adapter = AdapterSpec::new("learned", &example.spec, &["all-linear".to_owned()], addition).unwrap();
    let plain = example.network(Cpu::<f64>::scalar());
    let without = check_inferring("plain", &example, &plain);
    example.spec.adapters.push(adapter.clone());
    let mut network = example.network(Cpu::<f64>::scalar());
    for name in plain.parameter_list().into_iter().map(|parameter| parameter.name) {
        network.write_parameter(&name, &plain.read_parameter(&name).unwrap()).unwrap();
    }
    for (number, matrix) in adapter.matrices.keys().enumerate() {
        let up = adapter.tensor_name(matrix, LowRankHalf::Up);
        let count = network.read_parameter(&up).unwrap().len();
        let draws = Key::new(5).fold(number as u64);
        let values: Vec<f32> = (0..count).map(|place| draws.uniform(place, 0) as f32 - 0.5).collect();
        network.write_parameter(&up, &values).unwrap();
    }
    let with = check_inferring("with an adapter", &example, &network);
    assert!(with.iter().zip(&without).any(|(a, b)| (a - b).abs() > 1e-3));
    let rows: Vec<u32> = (0..example.input().tokens.len() as u32).collect();
    let passed_by = network.without_adapter().token_gradients(&example.input(), &example.rows, &rows).unwrap();
    assert!(passed_by.iter().zip(&without).all(|(a, b)| (a - b).abs() < 1e-5));
}

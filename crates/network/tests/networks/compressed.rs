//! Matrices that do not learn may be kept in few bits alone: what learns has the gradient that it has behind the numbers
//! that they stand for.

use aquatint_compute::{Bits, Cpu, CpuPath, Cuda, Device, Memory, Quantised, WeightFormat};
use aquatint_network::{
    AttentionSpec, Denoiser, FeedForwardSpec, InferenceNetwork, LayerSpec, Learner, Network, NetworkSpec,
    ParameterGroup, TensorData,
};
use aquatint_testing::Example;

fn untrained(parameters: &str, precision: Option<WeightFormat>) -> ParameterGroup {
    ParameterGroup { parameters: parameters.parse().unwrap(), trainable: false, learning_rate_factor: 1.0, precision }
}

/// The gradients of what learns, after one pass.
fn gradients(network: &mut dyn Learner, example: &Example) -> Vec<f32> {
    network.clear_gradients();
    network.forward_backward(&example.input(), &example.rows).unwrap();
    let list = network.parameter_list();
    list.iter().flat_map(|parameter| network.read_gradient(&parameter.name).unwrap()).collect()
}

fn norm(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

/// `‖a − b‖ / ‖b‖`.
fn error(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    norm(a.iter().zip(b).map(|(a, b)| a - b)) / norm(b.iter().copied())
}

/// A network of the same values, all in f32.
fn in_f32<D: Device>(network: &Network<D>) -> Network<D> {
    let mut values = |name: &str| Some(network.read_parameter(name).unwrap());
    Network::from_weights(network.device().clone(), network_spec(network), &mut values).unwrap()
}

fn network_spec<D: Device>(network: &Network<D>) -> NetworkSpec {
    aquatint_network::Denoiser::spec(network).clone()
}

/// The error of the gradient against that behind the numbers that the matrices stand for, and that of the gradient behind
/// the original numbers against the same.
fn errors<D: Device>(device: D, example: &Example, precision: WeightFormat, pattern: &str) -> (f64, f64) {
    let mut compressed: Network<D> = example.network(device.clone());
    compressed.set_groups(&[untrained(pattern, Some(precision))]).unwrap();
    let mut stands_for = in_f32(&compressed);
    stands_for.set_groups(&[untrained(pattern, None)]).unwrap();
    let mut original: Network<D> = example.network(device);
    original.set_groups(&[untrained(pattern, None)]).unwrap();
    let expected = gradients(&mut stands_for, example);
    assert!(norm(expected.iter().copied()) > 0.0);
    (error(&gradients(&mut compressed, example), &expected), error(&gradients(&mut original, example), &expected))
}

#[test]
fn what_learns_has_the_gradient_behind_the_numbers_that_untrained_matrices_stand_for() {
    for name in Example::NAMES {
        let example = Example::named(name);
        for path in CpuPath::available() {
            let device = || Cpu::<f32>::new(path, 2).unwrap();
            // In the device's own numbers nothing is rounded.
            let (exact, _) = errors(device(), &example, WeightFormat::F32, "model.layers.*");
            assert!(exact == 0.0, "{name} {path}: {exact}");
            // Inputs are rounded with the matrices: to 8 bits of precision, or to 8 bits of the largest of a row, which is
            // coarse where rows are as short as here.
            // Norms behind the parts of layers make roundings larger, which may send a row to another expert.
            let times = if example.spec.layers[0].feed_forward.post_norm.is_some() { 4.0 } else { 1.0 };
            for (precision, limit) in [(WeightFormat::Bf16, 0.06 * times), (WeightFormat::Int8, 0.2 * times)] {
                let (compressed, _) = errors(device(), &example, precision, "model.layers.*");
                assert!(compressed < limit, "{name} {path} {precision}: {compressed}");
            }
        }
    }
}

/// A network whose matrices have room for groups and panels.
fn wide() -> Example {
    let layer = LayerSpec::new(AttentionSpec::new(2, 2, 32), FeedForwardSpec::new(128));
    let plain = Example::named("plain");
    let spec = NetworkSpec { layers: vec![layer; 2], width: 64, ..plain.spec.clone() };
    Example { spec, ..plain }
}

/// `short` where bf16 takes two bytes.
fn check_wide<D: Device>(device: D, short: bool) {
    let example = wide();
    let described = device.describe();
    for precision in [WeightFormat::Bf16, WeightFormat::Int8, WeightFormat::Int4 { group: 32 }] {
        let (compressed, original) = errors(device.clone(), &example, precision, "model.layers.*");
        assert!(compressed < 0.06, "{described} {precision}: {compressed}");
        if precision == (WeightFormat::Int4 { group: 32 }) {
            assert!(
                original > 2.0 * compressed,
                "{described}: {original} and {compressed}, the numbers differ enough to be told apart"
            );
        }
        let mut network: Network<D> = example.network(device.clone());
        let before = network.weight_bytes();
        network.set_groups(&[untrained("model.layers.*", Some(precision))]).unwrap();
        let matrices = 4 * 2 * (4 * 64 * 64 + 3 * 64 * 128);
        let share = match precision {
            WeightFormat::F32 => 1.0,
            // Without instructions for bf16 the numbers are rounded, and multiplied as f32.
            WeightFormat::Bf16 if !short => 1.0,
            WeightFormat::Bf16 => 0.5,
            // Each output has a scale of f32, and on the CPU the beginning of a sum.
            WeightFormat::Int8 => 0.25 + 8.0 / (4.0 * 64.0),
            // The scalar path has a byte for each.
            WeightFormat::Int4 { .. } if described.contains("scalar") => 0.25 + 4.0 / (4.0 * 32.0),
            WeightFormat::Int4 { .. } => 0.125 + 8.0 / (4.0 * 32.0),
        };
        let saved = before - network.weight_bytes();
        assert!(
            saved as f64 >= (1.0 - share) * matrices as f64,
            "{described} {precision}: {saved} of {matrices} bytes"
        );
        // Nothing else is held for them: a pass and its gradient leave it so.
        gradients(&mut network, &example);
        assert_eq!(network.weight_bytes(), before - saved);
    }
}

#[test]
fn few_bits_take_few_bytes() {
    for path in CpuPath::available() {
        check_wide(Cpu::<f32>::new(path, 2).unwrap(), path == CpuPath::Scalar || path.multiplies_bf16());
    }
    for gpu in Cuda::tested() {
        check_wide(gpu, true);
    }
}

#[test]
fn tensors_come_and_go_as_they_are_stored() {
    let example = wide();
    let device = || Cpu::<f32>::new(CpuPath::best(), 1).unwrap();
    let groups = [
        untrained("*.self_attn.*", Some(WeightFormat::Int4 { group: 32 })),
        untrained("*.mlp.*", Some(WeightFormat::Int8)),
    ];
    let mut network: Network<Cpu<f32>> = example.network(device());
    let original = |name: &str| example.network(device()).read_tensor(name).unwrap();
    network.set_groups(&groups).unwrap();
    for parameter in network.parameter_list() {
        let name = &parameter.name;
        let bits = match name {
            _ if name.contains("norm") => None,
            _ if name.contains("self_attn") => Some(Bits::Four),
            _ if name.contains("mlp") => Some(Bits::Eight),
            _ => None,
        };
        match network.read_tensor(name).unwrap() {
            TensorData::Quantised(matrix) => {
                assert_eq!(Some(matrix.bits()), bits, "{name}");
                let shape = (parameter.shape[0], parameter.shape[1]);
                let group = (bits == Some(Bits::Four)).then_some(32);
                let expected = Quantised::of(&original(name).into_real(), shape, matrix.bits(), group).unwrap();
                assert_eq!(matrix, expected, "{name}");
            }
            real => {
                assert_eq!(bits, None, "{name}");
                assert_eq!(real, original(name), "{name}");
            }
        }
    }
    // The same network out of the same tensors, whether they are quantised already or not.
    for mut give in [
        Box::new(|name: &str| Some(network.read_tensor(name).unwrap())) as Box<dyn FnMut(&str) -> Option<TensorData>>,
        Box::new(|name: &str| Some(original(name))),
    ] {
        let mut other = Network::from_tensors(device(), example.spec.clone(), &groups, &mut give).unwrap();
        assert_eq!(other.parameter_list(), network.parameter_list());
        for parameter in network.parameter_list() {
            let name = &parameter.name;
            assert_eq!(other.read_tensor(name).unwrap(), network.read_tensor(name).unwrap(), "{name}");
        }
        assert_eq!(other.weight_bytes(), network.weight_bytes());
        let mut again = |name: &str| Some(network.read_tensor(name).unwrap());
        other.load_compressed(&mut again).unwrap();
        let name = "model.layers.1.mlp.up_proj.weight";
        assert_eq!(other.read_tensor(name).unwrap(), network.read_tensor(name).unwrap());
    }
    // What is to be f32 again is what the integers stood for.
    let name = "model.layers.0.self_attn.k_proj.weight";
    let stood_for = network.read_parameter(name).unwrap();
    network.set_groups(&[]).unwrap();
    assert_eq!(network.read_tensor(name).unwrap(), TensorData::Real(stood_for));
    assert!(network.parameter_list().iter().all(|parameter| parameter.precision.is_none() && parameter.trainable));
    assert_eq!(gradients(&mut network, &example).len(), example.spec.parameter_count());
}

#[test]
fn what_cannot_be_compressed_so_is_refused() {
    let int8 = Some(WeightFormat::Int8);
    let refused = |group: ParameterGroup| {
        let mut network: Network<Cpu<f32>> = wide().network(Cpu::<f32>::scalar());
        network.set_groups(&[group]).unwrap_err().to_string()
    };
    assert_eq!(
        refused(untrained("*.q_proj.weight", int8)),
        "`model.layers.0.self_attn.q_proj.weight` cannot be kept in int8: `model.layers.0.self_attn.k_proj.weight` is \
         multiplied with it as one matrix, and has to be kept so too"
    );
    assert_eq!(
        refused(untrained("role:vector", int8)),
        "`role:vector` cannot be kept in int8: there is no matrix of a product among them; word vectors, norms and biases \
         stay f32"
    );
    assert_eq!(
        refused(ParameterGroup { trainable: true, ..untrained("model.layers.*", int8) }),
        "`model.layers.*` cannot be kept in int8: it learns; allowed: what does not"
    );
    assert!(refused(untrained("*.down_proj.weight", Some(WeightFormat::Int4 { group: 24 }))).contains("`group` is 24"));
    let mut network: Network<Cpu<f32>> = wide().network(Cpu::<f32>::scalar());
    network.set_groups(&[untrained("*.down_proj.weight", int8)]).unwrap();
    let name = "model.layers.0.mlp.down_proj.weight";
    assert_eq!(
        network.write_parameter(name, &[0.0; 64 * 128]).unwrap_err().to_string(),
        format!("`{name}` cannot be kept in int8: its values stay as they are")
    );
}

/// The gradient by tokens of a network that learns nothing, whose layers are in a format, against that behind the numbers
/// that they stand for, in f64; and against that behind the original numbers.
fn errors_by_tokens<D: Device>(device: D, precision: WeightFormat) -> (f64, f64) {
    let example = wide();
    let rows: Vec<u32> = (0..example.visibility.len() as u32).collect();
    let mut compressed: Network<D> = example.network(device.clone());
    compressed.set_groups(&[untrained("model.layers.*", Some(precision))]).unwrap();
    let mut values = |name: &str| Some(compressed.read_parameter(name).unwrap());
    let exact = Network::from_weights(Cpu::<f64>::scalar(), example.spec.clone(), &mut values).unwrap();
    // What is quantised stays so.
    let rest = if precision == WeightFormat::Bf16 { precision } else { WeightFormat::F32 };
    let mut tensor = |name: &str| compressed.read_tensor(name).ok();
    let network = InferenceNetwork::new(device, example.spec.clone(), rest, &mut tensor).unwrap();
    let of = |denoiser: &dyn Denoiser| denoiser.token_gradients(&example.input(), &example.rows, &rows).unwrap();
    let (own, original) = (of(&network), example.network(Cpu::<f64>::scalar()));
    (error(&own, &of(&exact)), error(&own, &of(&original)))
}

#[test]
fn gradients_by_tokens_are_those_behind_the_numbers_that_matrices_stand_for() {
    let scalar = |format| errors_by_tokens(Cpu::<f32>::new(CpuPath::Scalar, 1).unwrap(), format);
    let check = |described: String, errors: &dyn Fn(WeightFormat) -> (f64, f64)| {
        // What is multiplied with integers is rounded to 8 bits, and all else is as exact as in learning.
        let formats = [(WeightFormat::Bf16, 1.2), (WeightFormat::Int8, 1.5), (WeightFormat::Int4 { group: 32 }, 5.0)];
        for (format, times) in formats {
            let (error, original) = errors(format);
            assert!(error < 0.08, "{described} {format}: {error}");
            assert!(original > times * error, "{described} {format}: {original} and {error}");
            assert!((error - scalar(format).0).abs() < 1e-3, "{described} {format}: {error}");
        }
    };
    for path in CpuPath::available() {
        check(path.to_string(), &|format| errors_by_tokens(Cpu::<f32>::new(path, 2).unwrap(), format));
    }
    for gpu in Cuda::tested() {
        check(gpu.describe(), &|format| errors_by_tokens(gpu.clone(), format));
    }
}

//! Two towers: their gradients, vectors on every device, and what they refuse.

use aquatint_compute::{Cpu, CpuPath, Cuda, Device, Memory};
use aquatint_network::{AttentionSpec, FeedForwardSpec, LayerSpec, NormSpec, Pairs, TwoTowers, TwoTowersSpec};

fn spec() -> TwoTowersSpec {
    let attention = AttentionSpec { qk_norm: Some(NormSpec::default()), ..AttentionSpec::new(2, 1, 4) };
    let layer = LayerSpec::new(attention, FeedForwardSpec::new(12));
    TwoTowersSpec {
        grid: [2, 2],
        inputs: 5,
        tokens: 7,
        text_length: 4,
        width: 8,
        outputs: 6,
        norm: NormSpec::default(),
        pictures: vec![layer; 2],
        texts: vec![layer],
    }
}

fn pictures(count: usize) -> Vec<f32> {
    (0..count * 20).map(|i| ((i * 37 + 11) % 64) as f32 / 32.0 - 1.0).collect()
}

const TOKENS: [u32; 7] = [0, 3, 6, 2, 1, 1, 5];
const LENGTHS: [usize; 3] = [1, 4, 2];

fn pairs(pictures: &[f32]) -> Pairs<'_> {
    Pairs { pictures, tokens: &TOKENS, lengths: &LENGTHS, labels: &[4, 9, 4], weight: 0.5 }
}

#[test]
fn gradients_of_all_weights_are_those_of_finite_differences() {
    let mut towers = TwoTowers::new(Cpu::<f64>::scalar(), spec(), 3).unwrap();
    let pictures = pictures(3);
    towers.forward_backward(pairs(&pictures)).unwrap();
    let device = towers.weights().device().clone();
    let parameters = towers.weights().parameters();
    let gradients = parameters.iter().map(|of| (of.info.name.clone(), device.download(of.gradient)));
    let gradients: Vec<(String, Vec<f64>)> = gradients.collect();
    assert!(gradients.iter().any(|(name, gradient)| name == "log_scale" && gradient[0] != 0.0));
    for (index, (name, gradient)) in gradients.iter().enumerate() {
        let original = device.download(towers.weights().parameters()[index].value);
        // A few numbers of each tensor, not the same place in all of them.
        for at in [0, gradient.len() / 2, gradient.len() - 1] {
            let mut moved = |by: f64| {
                let mut values = original.clone();
                values[at] += by;
                device.write(towers.weights_mut().parameters_mut()[index].value, &values);
                0.5 * towers.forward_backward(pairs(&pictures)).unwrap().cost
            };
            let step = 1e-5;
            let expected = (moved(step) - moved(-step)) / (2.0 * step);
            let error = (expected - gradient[at]).abs() / (1.0 + expected.abs());
            assert!(error < 1e-6, "{name}[{at}]: {}, expected {expected}", gradient[at]);
        }
        device.write(towers.weights_mut().parameters_mut()[index].value, &original);
    }
}

/// Cost, vectors of pictures and texts, gradients.
type Learned = (f64, Vec<f32>, Vec<f32>, Vec<Vec<f32>>);

fn learned<D: Device>(device: D, recomputed: usize) -> Learned {
    let mut towers = TwoTowers::new(device, spec(), 7).unwrap();
    towers.recompute_activations(recomputed);
    let pictures = pictures(3);
    let cost = towers.forward_backward(pairs(&pictures)).unwrap().cost;
    let vectors = towers.picture_vectors(&pictures).unwrap();
    let of_texts = towers.text_vectors(&TOKENS, &LENGTHS).unwrap();
    let names = towers.weights().parameter_list().into_iter().map(|info| info.name);
    let gradients = names.map(|name| towers.weights().read_gradient(&name).unwrap()).collect();
    (cost, vectors, of_texts, gradients)
}

#[test]
fn every_device_finds_the_same_vectors_and_gradients() {
    let exact = learned(Cpu::<f64>::scalar(), 0);
    for vector in exact.1.chunks_exact(6).chain(exact.2.chunks_exact(6)) {
        let length = vector.iter().map(|value| value * value).sum::<f32>();
        assert!((length - 1.0).abs() < 1e-6, "{vector:?}");
    }
    let alike = |name: &str, other: Learned| {
        assert!((other.0 - exact.0).abs() < 1e-3, "{name}: {}, not {}", other.0, exact.0);
        let vectors = exact.1.iter().chain(&exact.2).zip(other.1.iter().chain(&other.2));
        for (exact, other) in vectors.chain(exact.3.iter().flatten().zip(other.3.iter().flatten())) {
            assert!((exact - other).abs() < 1e-3 * (1.0 + exact.abs()), "{name}: {other}, not {exact}");
        }
    };
    for path in CpuPath::available() {
        let device = || Cpu::<f32>::new(path, 1).unwrap();
        let whole = learned(device(), 0);
        // Layers that run again give the same gradients to the bit.
        assert_eq!(whole, learned(device(), 2));
        alike(&path.to_string(), whole);
    }
    for device in Cuda::tested() {
        alike(&device.describe(), learned(device.clone(), 1));
    }
}

#[test]
fn a_vector_is_the_same_alone_and_beside_others() {
    let towers = TwoTowers::new(Cpu::<f32>::scalar(), spec(), 5).unwrap();
    let (all, texts) = (pictures(3), towers.text_vectors(&TOKENS, &LENGTHS).unwrap());
    let vectors = towers.picture_vectors(&all).unwrap();
    assert_eq!(towers.picture_vectors(&all[20..40]).unwrap(), vectors[6..12]);
    assert_eq!(towers.text_vectors(&TOKENS[1..5], &[4]).unwrap(), texts[6..12]);
    assert_ne!(texts[..6], texts[6..12]);
    assert!((towers.scale() - 1.0 / 0.07).abs() < 1e-4);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut towers = TwoTowers::new(Cpu::<f32>::scalar(), spec(), 5).unwrap();
    let all = pictures(3);
    let message = |error: aquatint_network::NetworkError| error.to_string();
    let refused = |towers: &TwoTowers<Cpu<f32>>, tokens: &[u32], lengths: &[usize]| {
        message(towers.text_vectors(tokens, lengths).unwrap_err())
    };
    assert!(message(towers.picture_vectors(&all[1..]).unwrap_err()).starts_with("`pictures`"));
    assert!(message(towers.picture_vectors(&[]).unwrap_err()).starts_with("`pictures`"));
    assert_eq!(refused(&towers, &[1; 5], &[5]), "`lengths` is 5; allowed: 1 to 4 tokens");
    assert!(refused(&towers, &[1, 7], &[2]).contains('7'));
    assert!(refused(&towers, &[1, 1], &[1]).starts_with("`tokens`"));
    let few = Pairs { labels: &[1], ..pairs(&all) };
    assert!(message(towers.forward_backward(few).unwrap_err()).starts_with("`labels` is 1; allowed: "));
    for (key, spec) in [
        ("grid", TwoTowersSpec { grid: [0, 2], ..spec() }),
        ("tokens", TwoTowersSpec { tokens: 0, ..spec() }),
        ("text_length", TwoTowersSpec { text_length: 0, ..spec() }),
    ] {
        let error = message(TwoTowers::new(Cpu::<f32>::scalar(), spec, 1).unwrap_err());
        assert!(error.starts_with(&format!("`{key}` is ")), "{error}");
    }
}

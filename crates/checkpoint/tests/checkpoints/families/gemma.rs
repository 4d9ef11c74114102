//! DiffusionGemma: a causal encoder and a decoder of one set of weights (golden/diffusion_gemma/README.md).

use super::{Logits, TOLERANCE, about, logits, open, precisions, texts};
use aquatint_checkpoint::Checkpoint;
use aquatint_compute::{Cpu, CpuPath, Cuda, Device, Element, Memory, RouterLogits, WeightFormat};
use aquatint_network::{
    Activation, CachedRows, Denoiser, FeedForwardKind, FeedForwardSpec, ForwardPass, GatedSpec, HeadSpec,
    InferenceNetwork, KvCache, LayerSpec, NetworkInput, NetworkSpec, Query, RowLayout, RowQuery, TensorData, WholeRows,
};
use aquatint_testing::{Comparison, Golden};
use std::sync::Mutex;

const NAME: &str = "diffusion_gemma";

/// Prompts and the canvases behind them, without what a mask of the file hides.
struct Rows {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    visibility: aquatint_compute::Visibility,
    current: Vec<bool>,
}

impl Rows {
    /// The first so many sequences of a pass of the reference.
    fn new(golden: &Golden, prefix: &str, sequences: usize) -> Self {
        let named = |name: &str| -> String {
            let own = format!("{prefix}.{name}");
            if golden.has(&own) { own } else { format!("plain.{name}") }
        };
        let (prompts, canvases) = (named("prompt"), named("canvas"));
        let (prompt, canvas) = (golden.shape(&prompts)[1], golden.shape(&canvases)[1]);
        let (all, canvases) = (golden.ids(&prompts), golden.ids(&canvases));
        let mask = format!("{prefix}.attention_mask");
        let is_visible = |place: usize| !golden.has(&mask) || golden.values(&mask)[place] == 1.0;
        let (mut tokens, mut rows) = (Vec::new(), RowLayout::default());
        for sequence in 0..sequences {
            let inside: Vec<usize> =
                (sequence * prompt..(sequence + 1) * prompt).filter(|&at| is_visible(at)).collect();
            tokens.extend(inside.iter().map(|&place| all[place]));
            tokens.extend(&canvases[sequence * canvas..(sequence + 1) * canvas]);
            rows.push_behind(inside.len(), inside.len() + canvas);
        }
        let current = rows.current().to_vec();
        let (positions, visibility) = rows.finish().unwrap();
        Self { tokens, positions, visibility, current }
    }

    fn input<'a>(&'a self, self_conditioning: Option<&'a [f32]>) -> NetworkInput<'a> {
        let plain = NetworkInput::of_tokens(&self.tokens, &self.positions, &self.visibility);
        NetworkInput { current: Some(&self.current), self_conditioning, ..plain }
    }

    /// The rows of canvases, or those before them.
    fn of(&self, current: bool) -> Vec<u32> {
        (0u32..).zip(&self.current).filter(|(_, own)| **own == current).map(|(row, _)| row).collect()
    }
}

/// The softmax of each row at a temperature.
fn softmax(logits: &[f64], size: usize, temperature: f64) -> Vec<f32> {
    let row = |row: &[f64]| -> Vec<f32> {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = row.iter().map(|logit| ((logit - top) / temperature).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| (weight / total) as f32).collect()
    };
    logits.chunks(size).flat_map(row).collect()
}

/// The logits of a pass of the reference and those of a model; `conditioned` reads the prediction of `plain`, sharpened.
pub(super) fn predicted(model: &dyn Denoiser, golden: &Golden, prefix: &str, sequences: usize) -> Logits {
    let rows = Rows::new(golden, prefix, sequences);
    let shape = golden.shape("plain.logits").to_vec();
    let count = sequences * shape[1] * shape[2];
    let prediction = (prefix == "conditioned").then(|| softmax(&golden.values("plain.logits")[..count], shape[2], 0.8));
    let given = model.logits(&rows.input(prediction.as_deref()), &rows.of(true)).unwrap();
    let expected = golden.values(&format!("{prefix}.logits"))[..count].to_vec();
    Logits { given: given.into_iter().map(f64::from).collect(), expected }
}

/// The same of the plain pass where prompts are read first, and canvases with what is cached of them.
fn cached(model: &dyn Denoiser, golden: &Golden) -> Logits {
    let rows = Rows::new(golden, "plain", 2);
    let mut kv_caches = [KvCache::default(), KvCache::default()];
    let size = model.spec().vocabulary_size;
    let mut given = Vec::new();
    for current in [false, true] {
        let rows_to_compute = rows.of(current);
        let queries: Vec<RowQuery<'_>> =
            rows_to_compute.iter().map(|&row| RowQuery { row, query: Query::WholeRow }).collect();
        let read = Mutex::new(vec![0.0; queries.len() * size]);
        let cached = Some(CachedRows { rows_to_compute: &rows_to_compute, kv_caches: &mut kv_caches });
        let pass = ForwardPass { input: &rows.input(None), cached };
        model
            .forward(pass, &queries, &|index, row| {
                let row: Vec<f64> = row.iter().map(|&logit| f64::from(logit)).collect();
                read.lock().unwrap()[index * size..][..size].copy_from_slice(&row);
            })
            .unwrap();
        given = read.into_inner().unwrap();
    }
    Logits { given, expected: golden.values("plain.logits").to_vec() }
}

fn check(Logits { given, expected }: &Logits, words: &str, comparison: &mut Comparison) {
    let largest = expected.iter().fold(1.0f64, |most, value| most.max(value.abs()));
    comparison.check(words, given, expected, TOLERANCE / largest);
}

/// Reads a weight by its name.
type Read<'a> = dyn FnMut(&str) -> Option<TensorData> + 'a;

/// The first layers of the network with a head that gives the first columns of hidden rows behind a norm.
fn cut<D: Device>(
    checkpoint: &Checkpoint,
    layers: Vec<LayerSpec>,
    device: &D,
    replaced: &dyn Fn(&mut Read<'_>, &str) -> Option<Option<TensorData>>,
) -> InferenceNetwork<D> {
    let spec = NetworkSpec { layers, head: HeadSpec::default(), ..checkpoint.spec.clone() };
    let built = checkpoint.build(|weights| {
        let mut give = |name: &str| replaced(weights, name).unwrap_or_else(|| weights(name));
        InferenceNetwork::new(device.clone(), spec.clone(), device.format(), &mut give)
    });
    built.unwrap()
}

/// A head `[V, D]` whose first rows are these.
fn head(spec: &NetworkSpec, mut rows: Vec<f32>) -> TensorData {
    rows.resize(spec.vocabulary_size * spec.width, 0.0);
    TensorData::Real(rows)
}

/// Hidden rows behind each layer, normed, of encoder and decoder.
fn compare_hidden<D: Device>(device: &D, comparison: &mut Comparison) {
    let (checkpoint, golden) = (open(NAME), logits(NAME));
    let (spec, rows) = (&checkpoint.spec, Rows::new(&golden, "plain", 1));
    let width = spec.width;
    let norm = checkpoint.weights.read("model.decoder.norm.weight").unwrap();
    for layer in 1..=spec.layers.len() {
        let network = cut(&checkpoint, spec.layers[..layer].to_vec(), device, &|_, name| {
            let identity = || (0..width * width).map(|at| f32::from(u8::from(at / width == at % width))).collect();
            (name == "lm_head.weight").then(|| Some(head(spec, identity())))
        });
        for (part, current) in [("encoder", false), ("decoder", true)] {
            let given = network.logits(&rows.input(None), &rows.of(current)).unwrap();
            let given: Vec<f64> = given
                .chunks(spec.vocabulary_size)
                .flat_map(|row| &row[..width])
                .map(|&value| f64::from(value))
                .collect();
            let normed = |row: &[f64]| -> Vec<f64> {
                let square = row.iter().map(|value| value * value).sum::<f64>() / width as f64;
                row.iter()
                    .zip(&norm)
                    .map(|(value, &weight)| value / (square + 1e-6).sqrt() * f64::from(weight))
                    .collect()
            };
            let expected = golden.values(&format!("plain.hidden.{part}.{layer}"));
            let expected: Vec<f64> = expected.chunks(width).flat_map(normed).collect();
            let largest = expected.iter().fold(1.0f64, |most, value| most.max(value.abs()));
            let words = format!("{part} behind layer {layer} on {}", device.describe());
            comparison.check(&words, &given, &expected, TOLERANCE / largest);
        }
    }
}

/// The experts of the encoder's first layer, and their weights.
fn compare_router<D: Device>(device: &D, comparison: &mut Comparison) {
    let (checkpoint, golden) = (open(NAME), logits(NAME));
    let (spec, rows) = (&checkpoint.spec, Rows::new(&golden, "plain", 1));
    let experts = spec.layers[0].feed_forward.experts().unwrap();
    // A layer that ends behind its attention.
    let gated = GatedSpec { width: 1, activation: Activation::Geglu };
    let kind = FeedForwardKind::Gated(gated);
    let feed_forward = FeedForwardSpec { kind, post_norm: None, ..spec.layers[0].feed_forward };
    let layer = LayerSpec { feed_forward, scaled: false, ..spec.layers[0] };
    let network = cut(&checkpoint, vec![layer], device, &|weights, name| match name {
        "model.norm.weight" => Some(weights("model.layers.0.mlp.gate_norm.weight")),
        "lm_head.weight" => {
            let router = weights("model.layers.0.mlp.gate.weight").map(TensorData::into_real);
            Some(router.map(|router| head(spec, router)))
        }
        name if name.starts_with("model.layers.0.mlp.") => Some(Some(TensorData::Real(vec![0.0; spec.width]))),
        _ => None,
    });
    let scale = checkpoint.weights.read("model.decoder.layers.0.router.per_expert_scale").unwrap();
    let given = network.logits(&rows.input(None), &rows.of(false)).unwrap();
    let root = (spec.width as f64).sqrt();
    let given: Vec<D::Element> = given
        .chunks(spec.vocabulary_size)
        .flat_map(|row| &row[..experts.experts])
        .map(|&logit| D::Element::from_f64(f64::from(logit) / root))
        .collect();
    let given = device.upload(&given).unwrap();
    let mut weights = device.zeros(golden.values("router.weights").len()).unwrap();
    let operands = RouterLogits { logits: &given, bias: None, blocks: None };
    let chosen = device.route(&experts.router(), operands, &mut weights).unwrap();
    let weights = device.download(&weights).into_iter().map(Element::to_f64).zip(&chosen);
    let weights: Vec<f64> = weights.map(|(weight, &expert)| weight * f64::from(scale[expert as usize])).collect();
    // There in the order of their weights, here in that of the experts.
    let mut expected: Vec<(u32, f64)> =
        golden.ids("router.experts").into_iter().zip(golden.values("router.weights").iter().copied()).collect();
    expected.chunks_mut(experts.per_token).for_each(|row| row.sort_by_key(|(expert, _)| *expert));
    let (expected, expected_weights): (Vec<u32>, Vec<f64>) = expected.into_iter().unzip();
    assert_eq!(chosen, expected, "on {}", device.describe());
    comparison.check(&format!("weights on {}", device.describe()), &weights, &expected_weights, TOLERANCE);
}

#[test]
fn gemma_predicts_what_its_own_code_does() {
    let (checkpoint, golden) = (open(NAME), logits(NAME));
    let mut comparison = Comparison::new();
    for path in CpuPath::available() {
        let device = Cpu::<f32>::new(path, 1).unwrap();
        let learns = checkpoint.network(device.clone()).unwrap();
        let runs = checkpoint.inference_network(device.clone(), WeightFormat::F32).unwrap();
        for prefix in ["plain", "conditioned", "padded"] {
            check(&predicted(&learns, &golden, prefix, 2), &format!("{path}, learning, {prefix}"), &mut comparison);
            check(&predicted(&runs, &golden, prefix, 2), &format!("{path}, running, {prefix}"), &mut comparison);
        }
        check(&cached(&runs, &golden), &format!("{path}, cached"), &mut comparison);
    }
    for device in Cuda::tested() {
        let words = device.describe();
        let network = checkpoint.inference_network(device, WeightFormat::F32).unwrap();
        for prefix in ["plain", "conditioned"] {
            check(&predicted(&network, &golden, prefix, 1), &format!("{words}, {prefix}"), &mut comparison);
        }
    }
    comparison.finish();
    precisions(&checkpoint, &about(NAME), &|network| predicted(network, &golden, "plain", 2));
}

#[test]
fn layers_and_routers_of_gemma_give_what_its_own_code_does() {
    let mut comparison = Comparison::new();
    for path in CpuPath::available() {
        let device = Cpu::<f32>::new(path, 1).unwrap();
        compare_hidden(&device, &mut comparison);
        compare_router(&device, &mut comparison);
    }
    for device in Cuda::tested() {
        compare_hidden(&device, &mut comparison);
        compare_router(&device, &mut comparison);
    }
    comparison.finish();
}

#[test]
fn both_descriptions_of_gemma_are_one_network() {
    let checkpoint = open(NAME);
    let folder = Golden::folder(NAME);
    let config = |file: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap()
    };
    let hub = aquatint_network::families::from_config(&config("config.hub.json")).unwrap();
    assert_eq!(hub, checkpoint.spec);
    assert!(checkpoint.unknown_keys.is_empty(), "{:?}", checkpoint.unknown_keys);
    checkpoint.description().config().unwrap();
    texts(&checkpoint, &about(NAME));
    let mut other = config("config.json");
    other["text_config"]["speed"] = 3.into();
    assert_eq!(aquatint_network::families::unknown_keys(&other), ["text_config.speed"]);
    other["text_config"]["num_kv_shared_layers"] = 2.into();
    let error = aquatint_network::families::from_config(&other).unwrap_err();
    assert_eq!(error.to_string(), "`num_kv_shared_layers` is 2; allowed: 0");
    // Text is causal in the encoder; `vision` would be of pictures only.
    let mut sighted = config("config.json");
    sighted["text_config"]["use_bidirectional_attention"] = "vision".into();
    assert_eq!(aquatint_network::families::from_config(&sighted).unwrap(), checkpoint.spec);
    sighted["text_config"]["use_bidirectional_attention"] = "all".into();
    let error = aquatint_network::families::from_config(&sighted).unwrap_err();
    assert_eq!(error.to_string(), "`use_bidirectional_attention` is \"all\"; allowed: \"vision\"");
}

#[test]
fn a_saved_gemma_is_the_same_network() {
    let (checkpoint, golden) = (open(NAME), logits(NAME));
    let folder = tempfile::tempdir().unwrap();
    let network = checkpoint.network(Cpu::<f32>::scalar()).unwrap();
    checkpoint.save_learner(folder.path(), &network, aquatint_checkpoint::Storage::F32).unwrap();
    let saved = Checkpoint::load(folder.path()).unwrap();
    // A text ends at `<eos>`, a turn at `<turn|>`: generation_config.json lists both.
    for checkpoint in [&checkpoint, &saved] {
        assert_eq!(checkpoint.vocabulary.ends(), [321, 324]);
        assert_eq!(checkpoint.generation.eos_token_id, [321, 324]);
    }
    let again = saved.network(Cpu::<f32>::scalar()).unwrap();
    let logits = |network: &dyn Denoiser| predicted(network, &golden, "conditioned", 1).given;
    assert_eq!(logits(&again), logits(&network));
}

//! A learner through the façade: the same object whatever the device, read and written by name, and saved as a model.

use aquatint::batch::{NoisyBatch, PackedBatch};
use aquatint::checkpoint::{Checkpoint, Description, Storage, save_learner};
use aquatint::compute::{Cpu, Cuda};
use aquatint::corpus::CanvasBatch;
use aquatint::diffusion::{Key, Layout, Time};
use aquatint::network::{AttentionSpec, FeedForwardSpec, LayerSpec, Learner, Network, NetworkSpec, ParameterGroup};
use aquatint::runtime::{DeviceChoice, Precision, Runtime, RuntimeSettings};
use std::path::Path;

/// A small model with the words of the built-in one, in a folder.
fn small(folder: &Path) -> Checkpoint {
    let words = Checkpoint::open("tales").unwrap();
    let layer = LayerSpec::new(AttentionSpec::new(2, 1, 8), FeedForwardSpec::new(24));
    let spec = NetworkSpec {
        mask_token: words.spec.mask_token,
        attention: Layout::Full,
        context_length: 32,
        ..NetworkSpec::new(words.spec.vocabulary_size, 16, vec![layer; 2])
    };
    let network = Network::new(Cpu::<f32>::scalar(), spec, 3).unwrap();
    let description =
        Description::native(aquatint::network::Denoiser::spec(&network), &words.vocabulary, &words.generation);
    save_learner(folder, &description, &network, Storage::F32).unwrap();
    Checkpoint::load(folder).unwrap()
}

/// A text of which a half is noise.
fn batch(checkpoint: &Checkpoint) -> (PackedBatch, NoisyBatch) {
    let text = checkpoint.vocabulary.encode_text("Once upon a time there was a fox.").unwrap();
    let (length, tokens, text_bytes) = (text.tokens.len(), text.tokens, text.text_bytes);
    let canvases =
        CanvasBatch { length, tokens, documents: vec![0; length], text_bytes, spans: Vec::new(), given: Vec::new() };
    let rows = PackedBatch::new(&canvases, checkpoint.spec.attention).unwrap();
    let process = checkpoint.spec.process().unwrap().unwrap();
    let mut batch = NoisyBatch::new(&rows);
    let draws = &mut Key::new(7).at(0, 0);
    batch.put(0..length, process.corrupt(&rows.tokens, &vec![true; length], Time::nearest(0.5), draws));
    (rows, batch)
}

/// Three steps of steepest descent on what is trainable; the cost before each of them.
fn descend(learner: &mut dyn Learner, rows: &PackedBatch, batch: &NoisyBatch) -> Vec<f64> {
    let untrained = |parameters: &str| ParameterGroup {
        parameters: parameters.parse().unwrap(),
        trainable: false,
        learning_rate_factor: 1.0,
        precision: None,
    };
    assert!(
        learner
            .set_groups(&[untrained("model.layers.0.*"), untrained("role:embedding")])
            .unwrap()
            .iter()
            .all(|count| *count > 0)
    );
    let spec = learner.spec().clone();
    let input = batch.input(rows, &spec, None);
    let mut all = Vec::new();
    for _ in 0..3 {
        learner.clear_gradients();
        let costs = learner.forward_backward_costs(&input, &batch.terms).unwrap();
        all.push(costs.iter().zip(&batch.terms).map(|(row, term)| row.cost * term.weight).sum());
        for parameter in learner.parameter_list().into_iter().filter(|parameter| parameter.trainable) {
            let mut values = learner.read_parameter(&parameter.name).unwrap();
            let gradient = learner.read_gradient(&parameter.name).unwrap();
            values.iter_mut().zip(gradient).for_each(|(value, slope)| *value -= 1e-2 * slope);
            learner.write_parameter(&parameter.name, &values).unwrap();
        }
    }
    all
}

#[test]
fn a_learner_learns_the_same_on_any_device_and_is_saved_as_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = small(&folder.path().join("small"));
    let (rows, batch) = batch(&checkpoint);
    let cpu = RuntimeSettings { device: DeviceChoice::Cpu, precision: Precision::F32, ..RuntimeSettings::default() };
    let mut learners: Vec<Box<dyn Learner>> = vec![Runtime::new(&cpu).unwrap().learner(&checkpoint).unwrap()];
    for gpu in Cuda::tested() {
        learners.push(Box::new(checkpoint.network(gpu).unwrap()));
    }
    let mut expected: Option<Vec<f64>> = None;
    for (index, learner) in learners.iter_mut().enumerate() {
        let costs = descend(learner.as_mut(), &rows, &batch);
        assert!(costs.is_sorted_by(|a, b| a > b), "{}: {costs:?}", learner.describe_device());
        let near = |(a, b): (&f64, &f64)| (a - b).abs() < 2e-2 * a.abs();
        assert!(expected.get_or_insert_with(|| costs.clone()).iter().zip(&costs).all(near), "{expected:?}, {costs:?}");

        let saved = folder.path().join(index.to_string());
        checkpoint.save_learner(&saved, learner.as_ref(), Storage::F32).unwrap();
        let again = Checkpoint::load(&saved).unwrap().network(Cpu::<f32>::scalar()).unwrap();
        let before = checkpoint.network(Cpu::<f32>::scalar()).unwrap();
        for parameter in learner.parameter_list() {
            let values = learner.read_parameter(&parameter.name).unwrap();
            assert_eq!(again.read_parameter(&parameter.name).unwrap(), values, "{}", parameter.name);
            let unchanged = before.read_parameter(&parameter.name).unwrap() == values;
            assert_eq!(unchanged, !parameter.trainable, "{}", parameter.name);
        }
    }
}

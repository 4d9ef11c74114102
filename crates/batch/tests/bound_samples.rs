//! Samples of the bound against the bound itself, and their gradient against finite differences.

use aquatint_batch::{BoundSamples, BoundSampling, PackedBatch};
use aquatint_compute::{Cpu, ReadRow};
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::{Key, Layout, Linear, Masked, PADDING_DOCUMENT, TimeSampling, TokenId, WordVectors};
use aquatint_network::{
    AttentionSpec, FeedForwardSpec, HostDenoiser, LayerSpec, Learner, Network, NetworkError, NetworkInput, NetworkSpec,
};
use std::sync::Arc;

const SIZE: usize = 11;
const MASK: TokenId = 10;

/// Two texts behind the same two given tokens, and one alone.
fn canvases() -> CanvasBatch {
    let none = PADDING_DOCUMENT;
    CanvasBatch {
        length: 6,
        tokens: vec![1, 2, 3, 4, 5, 6, 1, 2, 3, 7, 8, 0, 9, 8, 7, 0, 0, 0],
        documents: vec![0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, none, 2, 2, 2, none, none, none],
        text_bytes: vec![1; 18],
        spans: Vec::new(),
        given: [[true, true, false, false, false, false], [true, true, false, false, false, false], [false; 6]]
            .concat(),
    }
}

fn packed() -> PackedBatch {
    PackedBatch::new(&canvases(), Layout::Full).unwrap()
}

fn spec() -> NetworkSpec {
    let layer = LayerSpec::new(AttentionSpec::new(1, 1, 4), FeedForwardSpec::new(6));
    NetworkSpec { mask_token: Some(MASK), ..NetworkSpec::new(SIZE, 4, vec![layer]) }
}

/// A network whose predictions hang on how much of the sequence is hidden, and where.
struct Counting(NetworkSpec);

impl HostDenoiser for Counting {
    fn host_spec(&self) -> &NetworkSpec {
        &self.0
    }
    fn host_word_vectors(&self) -> WordVectors {
        WordVectors::default()
    }
    fn host_rows(&self, input: &NetworkInput<'_>, rows: &[u32], read: &ReadRow<'_>) -> Result<(), NetworkError> {
        let sequences = input.visibility.sequences();
        for (index, &row) in rows.iter().enumerate() {
            let sequence = sequences.iter().find(|sequence| sequence.contains(&row)).unwrap();
            let hidden = |at: &u32| input.tokens[*at as usize] == MASK;
            let sum: u32 = sequence.clone().filter(hidden).map(|at| 1 + at - sequence.start).sum();
            let mut logits = [0.0; SIZE];
            (logits[MASK as usize], logits[3], logits[7]) = (f32::NEG_INFINITY, 0.1 * sum as f32, 0.3);
            read(index, &mut logits);
        }
        Ok(())
    }
}

/// The bound of the first canvas, by going through all that can be hidden of its four open tokens.
fn exact(counting: &Counting) -> f64 {
    let rows = packed();
    let length = 4;
    let mut of_count = vec![(0.0, 0usize); length + 1];
    for subset in 1usize..1 << length {
        let mut batch = aquatint_batch::NoisyBatch::new(&rows);
        let hidden: Vec<usize> = (0..length).filter(|bit| subset >> bit & 1 == 1).map(|bit| 2 + bit).collect();
        for &position in &hidden {
            let target = batch.tokens[position];
            batch.tokens[position] = MASK;
            let cost = aquatint_diffusion::Cost::CrossEntropy;
            batch.terms.push(aquatint_diffusion::LossTerm { position, target, weight: 1.0, cost });
        }
        let sum: f64 = batch.costs(counting, &rows, None).unwrap().iter().sum();
        of_count[hidden.len()].0 += sum * length as f64 / hidden.len() as f64;
        of_count[hidden.len()].1 += 1;
    }
    of_count.iter().skip(1).map(|(sum, count)| sum / *count as f64).sum::<f64>() / length as f64
}

fn sampling(samples: usize, spread: TimeSampling, complementary: bool) -> BoundSampling {
    BoundSampling { samples, spread, complementary }
}

#[test]
fn every_kind_of_samples_has_the_bound_as_its_mean_and_more_samples_less_variance() {
    let (rows, process, counting) = (packed(), Masked::new(MASK, Arc::new(Linear)), Counting(spec()));
    let expected = exact(&counting);
    const DRAWS: u64 = 6_000;
    let moments = |sampling| {
        let (mut sum, mut squares) = (0.0, 0.0);
        for step in 0..DRAWS {
            let samples = BoundSamples::draw((&rows, &process), sampling, (Key::new(5), step), &[0, 1, 2]);
            let bound = samples.bounds(&counting, &rows).unwrap()[0];
            sum += bound;
            squares += bound * bound;
        }
        let mean = sum / DRAWS as f64;
        (mean, squares / DRAWS as f64 - mean * mean)
    };
    let mut variances = Vec::new();
    for (samples, spread, complementary) in [
        (1, TimeSampling::Uniform, false),
        (4, TimeSampling::Uniform, false),
        (4, TimeSampling::LowDiscrepancy, false),
        (4, TimeSampling::Antithetic, false),
        (4, TimeSampling::Uniform, true),
        (3, TimeSampling::LowDiscrepancy, true),
    ] {
        let (mean, variance) = moments(sampling(samples, spread, complementary));
        let error = 4.5 * (variance / DRAWS as f64).sqrt();
        assert!((mean - expected).abs() < error, "{samples} {spread:?} {complementary}: {mean} {expected} ± {error}");
        variances.push(variance);
    }
    assert!(variances[1..].iter().all(|variance| *variance < 0.4 * variances[0]), "{variances:?}");
}

#[test]
fn canvases_of_one_stream_have_the_same_noise_whatever_stands_beside_them() {
    let process = Masked::new(MASK, Arc::new(Linear));
    let sampling = sampling(4, TimeSampling::Uniform, true);
    let hidden = |canvases: &[usize], streams: &[u64], canvas: usize| -> Vec<Vec<usize>> {
        let rows = PackedBatch::new(&self::canvases().select(canvases.iter().copied()), Layout::Full).unwrap();
        let samples = BoundSamples::draw((&rows, &process), sampling, (Key::new(3), 9), streams);
        let start = rows.canvases[canvas].start;
        let of = |batch: &aquatint_batch::NoisyBatch| {
            let terms = batch.terms.iter().filter(|term| rows.canvas_of(term.position) == canvas);
            terms.map(|term| term.position - start).collect()
        };
        samples.versions().iter().map(of).collect()
    };
    let alone = hidden(&[0], &[4], 0);
    assert_eq!(hidden(&[2, 1, 0], &[1, 2, 4], 2), alone);
    assert_eq!(hidden(&[0, 0], &[4, 4], 0), hidden(&[0, 0], &[4, 4], 1));
    assert_ne!(hidden(&[0, 0], &[4, 4], 0), hidden(&[0, 0], &[4, 5], 1));
    // What is given is never hidden, and two versions hide each token once, unless the first hides all.
    for pair in alone.chunks(2) {
        let mut both = pair.concat();
        both.sort_unstable();
        assert!(both == [2, 3, 4, 5] || pair[0].len() == 4, "{alone:?}");
    }
}

#[test]
fn the_gradient_of_a_weighted_sum_of_bounds_agrees_with_finite_differences() {
    let (rows, process) = (packed(), Masked::new(MASK, Arc::new(Linear)));
    let samples = BoundSamples::draw(
        (&rows, &process),
        sampling(3, TimeSampling::LowDiscrepancy, false),
        (Key::new(1), 0),
        &[0, 0, 1],
    );
    let factors = [0.7, -1.3, 0.25];
    let mut network = Network::new(Cpu::<f64>::scalar(), spec(), 11).unwrap();
    let bounds = samples.forward_backward(&mut network, &rows, &factors).unwrap();
    assert_eq!(bounds.len(), 3);
    for (given, expected) in bounds.iter().zip(samples.bounds(&network, &rows).unwrap()) {
        assert!((given - expected).abs() < 1e-9, "{given} {expected}");
    }
    let objective = |network: &Network<Cpu<f64>>| -> f64 {
        samples.bounds(network, &rows).unwrap().iter().zip(factors).map(|(bound, factor)| bound * factor).sum()
    };
    let mut checked = 0;
    for parameter in network.parameter_list() {
        let (name, gradient) = (parameter.name.clone(), network.read_gradient(&parameter.name).unwrap());
        let values = network.read_parameter(&name).unwrap();
        // Weights of the embedding are about 0.02.
        let step = 1e-3_f32;
        for index in (0..values.len()).step_by(1 + values.len() / 3) {
            let mut at = |value: f32| {
                let mut moved = values.clone();
                moved[index] = value;
                network.write_parameter(&name, &moved).unwrap();
                objective(&network)
            };
            let (high, low) = (values[index] + step, values[index] - step);
            let expected = (at(high) - at(low)) / f64::from(high - low);
            network.write_parameter(&name, &values).unwrap();
            let given = f64::from(gradient[index]);
            assert!((given - expected).abs() < 2e-4 * (1.0 + expected.abs()), "{name} {index}: {given} {expected}");
            checked += 1;
        }
    }
    assert!(checked > 20);
}

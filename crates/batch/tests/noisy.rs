//! Noise on packed rows, and what it costs, against closed forms.

use aquatint_batch::{NoisyBatch, PackedBatch, corrupt_evenly};
use aquatint_compute::ReadRow;
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::{
    Alphabet, Cost, Domain, Gaussian, Key, Layout, Linear, Masked, PADDING_DOCUMENT, Process, Span, Time, TokenId,
    WordVectors,
};
use aquatint_network::{
    AttentionSpec, FeedForwardSpec, HostDenoiser, LayerSpec, NetworkError, NetworkInput, NetworkSpec,
    SelfConditioningSpec,
};
use std::sync::Arc;

const SIZE: usize = 11;
const MASK: TokenId = 10;

/// A full canvas of 4, and one of two documents and one position of padding.
fn canvases() -> CanvasBatch {
    CanvasBatch {
        length: 4,
        tokens: vec![1, 2, 3, 4, 5, 6, 7, 0],
        documents: vec![0, 0, 0, 0, 1, 1, 2, PADDING_DOCUMENT],
        text_bytes: vec![1, 1, 1, 1, 1, 1, 1, 0],
        spans: Vec::new(),
        given: Vec::new(),
    }
}

/// A network that predicts every token but the mask alike.
struct Uniform(NetworkSpec);

fn uniform(self_conditioning: bool) -> Uniform {
    let layer = LayerSpec::new(AttentionSpec::new(1, 1, 4), FeedForwardSpec::new(4));
    let self_conditioning = self_conditioning.then_some(SelfConditioningSpec::Added);
    Uniform(NetworkSpec { mask_token: Some(MASK), self_conditioning, ..NetworkSpec::new(SIZE, 4, vec![layer]) })
}

impl HostDenoiser for Uniform {
    fn host_spec(&self) -> &NetworkSpec {
        &self.0
    }
    fn host_word_vectors(&self) -> WordVectors {
        WordVectors::default()
    }
    fn host_rows(&self, _: &NetworkInput<'_>, rows: &[u32], read: &ReadRow<'_>) -> Result<(), NetworkError> {
        for index in 0..rows.len() {
            let mut logits = [0.0; SIZE];
            logits[MASK as usize] = f32::NEG_INFINITY;
            read(index, &mut logits);
        }
        Ok(())
    }
}

#[test]
fn a_causal_batch_asks_each_row_for_its_own_token() {
    let rows = PackedBatch::new(&canvases(), Layout::Causal).unwrap();
    let batch = NoisyBatch::causal(&rows, 9, 0.25);
    assert_eq!(batch.tokens, [9, 1, 2, 3, 9, 5, 9]);
    assert_eq!(batch.rows(), (0..7).collect::<Vec<u32>>());
    let targets: Vec<TokenId> = batch.terms.iter().map(|term| term.target).collect();
    assert_eq!(targets, rows.tokens);
    assert!(batch.terms.iter().all(|term| term.weight == 0.25 && term.cost == Cost::CrossEntropy));
    assert_eq!((batch.times.len(), batch.loss_rows().map(|rows| rows.len())), (2, Some(7)));
}

#[test]
fn a_grid_lies_in_rows_where_the_network_has_axes_for_it() {
    let span = Span { positions: 1..3, approximate: false, domain: Domain::grid(2..4, 2, 1) };
    let rows = PackedBatch::new(&CanvasBatch { spans: vec![span], ..canvases() }, Layout::Full).unwrap();
    let text = PackedBatch::new(&canvases(), Layout::Full).unwrap();
    let (batch, of_text) = (NoisyBatch::causal(&rows, 9, 0.25), NoisyBatch::causal(&text, 9, 0.25));
    let mut spec = uniform(false).0;
    assert_eq!(batch.input(&rows, &spec, None).places, None);
    spec.layers.iter_mut().for_each(|layer| layer.attention.rope.axes = 3);
    let places = batch.input(&rows, &spec, None).places.unwrap();
    assert_eq!(places[..12], [0, 0, 0, 1, 1, 1, 1, 2, 1, 3, 3, 3]);
    assert_eq!(of_text.input(&text, &spec, None).places, None);
}

#[test]
fn a_stretch_ends_with_its_document() {
    let rows = PackedBatch::new(&canvases(), Layout::Full).unwrap();
    assert_eq!(rows.stretches(&(4..7)), [(4..6, None), (6..7, None)]);
    assert_eq!(rows.stretches(&(0..4)), [(0..4, None)]);
}

#[test]
fn noise_stands_at_the_rows_of_its_part() {
    let rows = PackedBatch::new(&canvases(), Layout::Full).unwrap();
    let process = Masked::new(MASK, Arc::new(Linear));
    let part = rows.canvases[1].clone();
    let open = rows.open(&part, &part, 1);
    assert_eq!(open, [false, true, false]);
    let noisy = process.corrupt(&rows.tokens[part.clone()], &open, Time::NOISE, &mut Key::new(0).at(0, 0));
    let mut batch = NoisyBatch::new(&rows);
    batch.put(part, noisy);
    assert_eq!(batch.tokens, [1, 2, 3, 4, 5, MASK, 7]);
    assert_eq!((batch.rows(), batch.terms[0].target), (vec![5], 6));
}

#[test]
fn points_of_a_field_are_held_at_noisy_rows_and_others_are_clean() {
    let rows = PackedBatch::new(&canvases(), Layout::Full).unwrap();
    let process = Gaussian::new(Alphabet { size: SIZE, mask: None }, 3, Arc::new(Linear));
    let part = rows.canvases[1].clone();
    let draws = &mut Key::new(1).at(0, 0);
    let noisy = process.corrupt_for_bound(&rows.tokens[part.clone()], &[true; 3], Time::nearest(0.5), draws);
    let expected = noisy.points.clone().unwrap();
    let mut batch = NoisyBatch::new(&rows);
    batch.put(part, noisy);
    let points = batch.points.as_ref().unwrap();
    assert_eq!((points.len(), points.size), (7, 3));
    assert_eq!(points.clean_weight[..4], [1.0; 4]);
    for index in 0..3 {
        assert_eq!(points.offset(4 + index), expected.offset(index));
        assert_eq!(points.clean_weight[4 + index], expected.clean_weight[index]);
    }
    // Its costs are distances, so that there are no plain loss rows.
    assert!(batch.loss_rows().is_none());
}

#[test]
fn knowing_nothing_costs_the_logarithm_of_what_is_possible() {
    let rows = PackedBatch::new(&canvases(), Layout::Full).unwrap();
    let batch = NoisyBatch::causal(&rows, 9, 1.0);
    for cost in batch.costs(&uniform(false), &rows, None).unwrap() {
        assert!((cost - 10f64.ln()).abs() < 1e-6, "{cost}");
    }
}

#[test]
fn a_prediction_to_feed_back_is_certain_where_nothing_is_noisy() {
    let rows = PackedBatch::new(&canvases(), Layout::Full).unwrap();
    let mut batch = NoisyBatch::new(&rows);
    assert_eq!(batch.self_conditioning(&uniform(false), &rows).unwrap(), None);
    let process = Masked::new(MASK, Arc::new(Linear));
    let part = rows.canvases[0].clone();
    let open = [true, false, true, false];
    let noisy = process.corrupt(&rows.tokens[part.clone()], &open, Time::NOISE, &mut Key::new(2).at(0, 0));
    batch.put(part, noisy);
    let prediction = batch.self_conditioning(&uniform(true), &rows).unwrap().unwrap();
    for (row, probabilities) in prediction.chunks_exact(SIZE).enumerate() {
        let own = probabilities[rows.tokens[row] as usize];
        let expected = if row == 0 || row == 2 { 0.1 } else { 1.0 };
        assert!((own - expected).abs() < 1e-6, "row {row}: {own}");
        assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}

#[test]
fn even_corruption_hides_the_share_that_the_time_names() {
    let process = Masked::new(MASK, Arc::new(Linear));
    let clean: Vec<TokenId> = (0..10).map(|i| i % 10).collect();
    let open: Vec<bool> = (0..10).map(|i| i >= 2).collect();
    for (time, count) in [(0.001, 1), (0.5, 4), (0.51, 5), (1.0, 8)] {
        for seed in 0..20 {
            let draws = &mut Key::new(seed).at(0, 0);
            let noisy = corrupt_evenly(&process, &clean, &open, Time::nearest(time), draws);
            assert_eq!(noisy.terms.len(), count, "time {time}");
            assert!(noisy.terms.iter().all(|term| open[term.position] && term.weight == 8.0 / count as f64));
        }
    }
}

//! The count of operations beside counts by hand.

use aquatint_compute::Visibility;
use aquatint_diffusion::Layout;
use aquatint_network::{
    Activation, AttentionSpec, BlockRouting, ExpertsSpec, FeedForwardKind, FeedForwardSpec, LayerSpec, NetworkSpec,
    NormSpec, RouterSpec, RowLayout, TimeSpec,
};

/// A small network with grouped queries.
fn spec() -> NetworkSpec {
    let attention = AttentionSpec { qk_norm: Some(NormSpec::default()), ..AttentionSpec::new(4, 2, 2) };
    NetworkSpec::new(11, 8, vec![LayerSpec::new(attention, FeedForwardSpec::new(12)); 2])
}

#[test]
fn operations_agree_with_a_count_by_hand() {
    // 10 rows in 2 sequences, 6 of them asked for; queries, keys and values are 8 x 16, the way back 8 x 8, gate, up
    // and down 8 x 12 each.
    let first_layer = 2 * 10 * (128 + 64 + 3 * 96);
    let last_layer = 2 * 10 * 128 + 2 * 6 * (64 + 3 * 96);
    // Each of 10 rows sees 5, with 8 columns in scores and mixture, in 2 layers.
    let attention = 2 * 4 * 10 * 5 * 8;
    let head = 2 * 6 * 8 * 11;
    let by_hand = first_layer + last_layer + attention + head;
    let visibility = Visibility::full(&[5, 5]);
    let positions = [0, 1, 2, 3, 4, 0, 1, 2, 3, 4];
    let operations = |spec: &NetworkSpec| spec.operations(&visibility, &positions, None, 6).unwrap();
    assert_eq!(operations(&spec()), by_hand);
    // Two products for the condition of each sequence, six parts of each layer and two of the last norm.
    let timed = NetworkSpec { time_conditioning: Some(TimeSpec::new(4)), ..spec() };
    let time = 2 * 2 * 8 * (4 + 8 + (2 * 6 + 2) * 8);
    assert_eq!(operations(&timed), by_hand + time);
    // Within a window of 2, the rows of a sequence see 2, 3, 3, 3 and 2 in place of 5 each.
    let mut windowed = spec();
    windowed.layers[1].attention.window = Some(2);
    assert_eq!(operations(&windowed), by_hand - 2 * (25 - 13) * 4 * 8);
}

#[test]
fn all_rows_of_the_last_layer_count_where_they_choose_their_experts_together() {
    let router = RouterSpec { block: Some(BlockRouting { length: 2, experts: 3 }), ..RouterSpec::softmax(true) };
    let (experts, per_token, width, activation) = (4, 2, 6, Activation::Swiglu);
    let mixture = ExpertsSpec { experts, per_token, width, activation, router, shared_width: None };
    let mut spec = NetworkSpec { attention: Layout::Block { length: 2 }, ..spec() };
    spec.layers.iter_mut().for_each(|layer| layer.feed_forward.kind = FeedForwardKind::Experts(mixture));
    let mut rows = RowLayout::default();
    rows.push(Layout::Block { length: 2 }, 4, &[]);
    let (positions, visibility) = rows.finish().unwrap();
    // Of 4 rows one is requested; only the head reads it alone. A row reads the router, 8 x 4, and three matrices of 8 x 6
    // of each of two experts.
    let layer = 2 * 4 * (128 + 64 + 8 * 4 + 2 * 3 * 48);
    let attention = 2 * 4 * 8 * 12;
    let head = 2 * 8 * 11;
    assert_eq!(spec.operations(&visibility, &positions, None, 1).unwrap(), 2 * layer + attention + head);
}

#[test]
fn with_all_rows_requested_every_matrix_counts_for_every_row() {
    let mut rows = RowLayout::default();
    rows.push(Layout::Block { length: 2 }, 4, &[]);
    let (positions, visibility) = rows.finish().unwrap();
    let vectors = 2 * (2 * 8 + 2 * 2) + 8;
    let table = 11 * 8;
    let matrices = (spec().parameter_count() - vectors - table) as u64;
    // Two rows see 2 and two see 4.
    assert_eq!(spec().operations(&visibility, &positions, None, 4).unwrap(), 2 * 4 * matrices + 2 * 4 * 8 * 12);
}

#[test]
fn windows_of_a_current_block_reach_over_all_of_it_and_back_from_where_it_begins() {
    let mut windowed = NetworkSpec { attention: Layout::CausalPrefix { length: 4 }, block_windows: true, ..spec() };
    windowed.layers[1].attention.window = Some(2);
    let mut rows = RowLayout::default();
    rows.push(windowed.attention, 8, &[]);
    let current = rows.current().to_vec();
    let (positions, visibility) = rows.finish().unwrap();
    assert_eq!(current, [false, false, false, false, true, true, true, true]);
    // The causal rows see 1, 2, 3 and 4 rows, those of the block 8 each; within the window 1, 2, 2 and 2, and 5 each: the
    // block, and the row before it.
    let matrices = 2 * 2 * 8 * (128 + 64 + 3 * 96);
    let pairs = (1 + 2 + 3 + 4 + 4 * 8) + (1 + 2 + 2 + 2 + 4 * 5);
    let head = 2 * 8 * 8 * 11;
    let counted = windowed.operations(&visibility, &positions, Some(&current), 8).unwrap();
    assert_eq!(counted, matrices + 4 * 8 * pairs + head);
}

//! Multiplications and additions of a pass, counted from the description of the network alone.
//!
//! Counted are products with weights, two operations for each weight and row, and attention, `4 · H · E` for each pair
//! of rows of which one sees the other (scores and mixture). Norms, rotations and activations are not: they are a few
//! operations for each number where products are hundreds. A kernel that computes more than it has to gains nothing.

use aquatint_compute::Visibility;
use aquatint_network::NetworkSpec;

/// Operations of one forward pass with logits at `asked` rows.
///
/// What the last block adds to rows that nobody asked for is never read, so after its attention only the asked rows
/// count, as in the head.
pub(crate) fn forward(spec: &NetworkSpec, visibility: &Visibility, asked: usize) -> u64 {
    let rows = visibility.len() as u64;
    let sequences = visibility.sequences().len() as u64;
    let [width, layers, asked] = [spec.width, spec.layers, asked].map(|size| size as u64);
    let query_columns = (spec.heads * spec.head_size) as u64;
    let packed_columns = ((spec.heads + 2 * spec.key_value_heads) * spec.head_size) as u64;

    let before_attention = 2 * rows * width * packed_columns;
    let after_attention = |rows: u64| 2 * rows * (query_columns * width + 3 * width * spec.feed_forward_width as u64);
    let attention = 4 * query_columns * pairs(visibility);
    let blocks =
        layers * (before_attention + attention) + (layers - 1) * after_attention(rows) + after_attention(asked);
    let head = 2 * asked * width * spec.vocabulary_size as u64;
    let time = spec.time_conditioning.map_or(0, |features| {
        // Two products for the condition, six parts for each block, two for the last norm.
        2 * sequences * width * (features as u64 + width + (6 * layers + 2) * width)
    });
    blocks + head + time
}

/// Operations of one training step, by the usual convention: the gradients of both factors of a product cost as much as
/// the product each, so a step is three forward passes. What is computed again to save memory does not count.
pub(crate) fn training_step(spec: &NetworkSpec, visibility: &Visibility, asked: usize) -> u64 {
    3 * forward(spec, visibility, asked)
}

/// Pairs of rows of which the first sees the second.
fn pairs(visibility: &Visibility) -> u64 {
    (0..visibility.len()).flat_map(|row| visibility.row(row)).map(|seen| u64::from(seen.end - seen.start)).sum()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::batch::Batch;
    use aquatint_diffusion::Layout;

    /// A small network with a mask.
    pub(crate) fn spec(attention: Layout) -> NetworkSpec {
        NetworkSpec {
            vocabulary_size: 11,
            width: 8,
            layers: 2,
            heads: 4,
            key_value_heads: 2,
            head_size: 2,
            feed_forward_width: 12,
            norm_epsilon: 1e-6,
            rope_theta: 10_000.0,
            qk_norm: true,
            tied_head: false,
            time_conditioning: None,
            self_conditioning: false,
            context_length: 16,
            attention,
            logit_shift: false,
            mask_token: Some(10),
            word_vector_size: None,
            process: aquatint_network::ProcessSpec::default(),
        }
    }

    #[test]
    fn operations_agree_with_a_count_by_hand() {
        let spec = spec(Layout::Full);
        let batch = Batch::new(&spec, 2, 5, 3).unwrap();
        // 10 rows; queries, keys and values are 8 x 16, the way back 8 x 8, gate, up and down 8 x 12 each.
        let first_block = 2 * 10 * (128 + 64 + 3 * 96);
        let last_block = 2 * 10 * 128 + 2 * 6 * (64 + 3 * 96);
        // Each of 10 rows sees 5, with 8 columns in scores and mixture, in 2 blocks.
        let attention = 2 * 4 * 10 * 5 * 8;
        let head = 2 * 6 * 8 * 11;
        let by_hand = first_block + last_block + attention + head;
        assert_eq!(forward(&spec, &batch.visibility, batch.asked.len()), by_hand);
        assert_eq!(training_step(&spec, &batch.visibility, batch.asked.len()), 3 * by_hand);
    }

    #[test]
    fn with_all_rows_asked_every_matrix_counts_for_every_row() {
        let spec = spec(Layout::Block { length: 2 });
        let batch = Batch::new(&spec, 1, 4, 4).unwrap();
        let vectors = 2 * (2 * 8 + 2 * 2) + 8;
        let table = 11 * 8;
        let matrices = (spec.parameter_count() - vectors - table) as u64;
        // Two rows see 2 and two see 4.
        assert_eq!(forward(&spec, &batch.visibility, 4), 2 * 4 * matrices + 2 * 4 * 8 * 12);
    }
}

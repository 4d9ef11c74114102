//! Multiplications and additions of a pass, counted from the description of the network alone.
//!
//! Counted are products with weights, two operations for each weight and row, and attention, `4 · H · E` for each pair
//! of rows of which one sees the other (scores and mixture). Norms, rotations and activations are not: they are a few
//! operations for each number where products are hundreds. A kernel that computes more than it has to gains nothing.

use crate::NetworkSpec;
use crate::layers::{HeadWeights, TimeWeights};
use aquatint_compute::Visibility;

impl NetworkSpec {
    /// Operations of one forward pass with logits at `requested` rows.
    ///
    /// What the last layer adds to rows that nobody asked for is never read, so after its attention only the requested
    /// rows count, as in the head.
    pub fn operations(&self, visibility: &Visibility, requested: usize) -> u64 {
        let (rows, requested) = (visibility.len() as u64, requested as u64);
        let sequences = visibility.sequences().len() as u64;
        // Pairs of rows of which the first sees the second.
        let visible = (0..visibility.len()).flat_map(|row| visibility.row(row));
        let pairs: u64 = visible.map(|range| u64::from(range.end - range.start)).sum();
        let last = self.layers.len().saturating_sub(1);
        let layers = self.layers.iter().enumerate().map(|(index, layer)| {
            layer.operations(self, (rows, sequences, pairs), if index == last { requested } else { rows })
        });
        TimeWeights::operations(self, sequences)
            + layers.sum::<u64>()
            + HeadWeights::operations(self, sequences, requested)
    }
}

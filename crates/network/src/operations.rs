//! Multiplications and additions of a pass, counted from the description of the network alone.
//!
//! Counted are products with weights, two operations for each weight and row, and attention, `4 · H · E` for each pair
//! of rows of which one sees the other (scores and mixture). Norms, rotations and activations are not: they are a few
//! operations for each number where products are hundreds. A kernel that computes more than it has to gains nothing.

use crate::layer_visibility::LayerVisibility;
use crate::layers::{HeadWeights, TimeWeights};
use crate::{NetworkError, NetworkSpec};
use aquatint_compute::Visibility;

impl NetworkSpec {
    /// Operations of one forward pass with logits at `requested` rows; `positions` are those of all rows, `[T]`, and
    /// `current` says which of these are of a current block, for a network whose windows are counted from there.
    ///
    /// What the last layer adds to rows that nobody asked for is never read, so after its attention only the requested
    /// rows count, as in the head.
    ///
    /// # Errors
    /// When the window of a layer does not fit the positions, or `current` the rows.
    pub fn operations(
        &self,
        visibility: &Visibility,
        positions: &[u32],
        current: Option<&[bool]>,
        requested: usize,
    ) -> Result<u64, NetworkError> {
        let layer_visibility = LayerVisibility::new(self, visibility, positions, current)?;
        let (rows, requested) = (visibility.len() as u64, requested as u64);
        let sequences = visibility.sequences().len() as u64;
        // Pairs of rows of which the first sees the second in a layer.
        let pairs = |layer: usize| -> u64 {
            let visible = (0..visibility.len()).flat_map(|row| layer_visibility.of(layer).row(row));
            visible.map(|range| u64::from(range.end - range.start)).sum()
        };
        let last = self.layers.len().saturating_sub(1);
        let layers = self.layers.iter().enumerate().map(|(index, layer)| {
            layer.operations(self, (rows, sequences, pairs(index)), if index == last { requested } else { rows })
        });
        Ok(TimeWeights::operations(self, sequences)
            + layers.sum::<u64>()
            + HeadWeights::operations(self, sequences, requested))
    }
}

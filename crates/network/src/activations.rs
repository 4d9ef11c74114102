//! What learning keeps of each block for its backward, and how many blocks have to be run again to stay within a budget.

use crate::NetworkSpec;

/// Bytes that one block's activations take between forward and backward, for batches of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activations {
    /// Blocks of the network.
    pub layers: usize,
    /// Bytes of a block that keeps everything its backward reads.
    pub kept: u64,
    /// Bytes of a block that keeps its input only.
    pub recomputed: u64,
}

impl Activations {
    /// Counted from the description, for `rows` rows in `sequences` sequences on a device whose elements have
    /// `element_bytes` bytes; what allocators round up is not counted. The last block, which goes on with the asked rows
    /// only after its attention, is counted like the others.
    pub fn new(spec: &NetworkSpec, rows: usize, sequences: usize, element_bytes: usize) -> Self {
        let (width, inner) = (spec.width, spec.feed_forward_width);
        let attended = spec.heads * spec.head_size;
        let packed = attended + 2 * spec.key_value_heads * spec.head_size;
        // The residual stream before each half, with its inverse root mean squares, and its norm.
        let norms = 2 * (width + 1 + width);
        // Queries, keys and values before and after the rotation; what attention gives, with each head's log-sum-exp.
        let attention = 2 * packed + attended + spec.heads;
        // Gate and value side by side, and their product.
        let feed_forward = 3 * inner;
        // With time, each half is also kept modulated and before its gate; a sequence has six rows of modulations.
        let (modulated, modulation) = if spec.time_conditioning.is_some() { (4 * width, 6 * width) } else { (0, 0) };
        let row = norms + attention + feed_forward + modulated;
        let bytes = |elements: usize| (elements * element_bytes) as u64;
        Self { layers: spec.layers, kept: bytes(rows * row + sequences * modulation), recomputed: bytes(rows * width) }
    }

    /// How many blocks, from the first, have to be recomputed so that the activations of all take at most `budget`
    /// bytes; all of them where even that is too much.
    pub fn recomputed_within(&self, budget: u64) -> usize {
        let fits = |recomputed: &usize| self.bytes(*recomputed) <= budget;
        (0..self.layers).find(fits).unwrap_or(self.layers)
    }

    /// Bytes of all blocks, so many of them recomputed.
    pub fn bytes(&self, recomputed: usize) -> u64 {
        let recomputed = recomputed.min(self.layers) as u64;
        (self.layers as u64 - recomputed) * self.kept + recomputed * self.recomputed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_few_blocks_are_recomputed_as_the_budget_asks_for() {
        let activations = Activations { layers: 4, kept: 100, recomputed: 10 };
        for (budget, recomputed) in [(u64::MAX, 0), (400, 0), (399, 1), (310, 1), (309, 2), (40, 4), (39, 4), (0, 4)] {
            assert_eq!(activations.recomputed_within(budget), recomputed, "{budget} bytes");
        }
        assert_eq!((activations.bytes(1), activations.bytes(usize::MAX)), (310, 40));
    }
}

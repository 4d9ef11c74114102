//! What learning keeps of each layer for its backward, and how many layers have to be run again to stay within a
//! budget.

use crate::NetworkSpec;
use crate::layers::Stack;

/// Bytes that the activations of each layer take between forward and backward, for batches of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activations {
    /// Of each layer.
    pub layers: Vec<LayerActivations>,
}

/// Bytes that the activations of one layer take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerActivations {
    /// Where it keeps everything that its backward reads.
    pub retained: u64,
    /// Where it keeps its input only.
    pub recomputed: u64,
}

impl Activations {
    /// Counted from the description, for `rows` rows in `sequences` sequences on a device whose elements have
    /// `element_bytes` bytes; what allocators round up is not counted. The last layer, which goes on with the requested
    /// rows only after its attention, is counted like the others.
    pub fn new(spec: &NetworkSpec, rows: usize, sequences: usize, element_bytes: usize) -> Self {
        let bytes = |elements: usize| (elements * element_bytes) as u64;
        let stack = Stack::of(spec);
        let layers = spec.layers.iter().map(|layer| {
            let (row, sequence) = layer.retained(stack);
            LayerActivations {
                retained: bytes(rows * row + sequences * sequence),
                recomputed: bytes(rows * spec.width),
            }
        });
        Self { layers: layers.collect() }
    }

    /// How many layers, from the first, have to be recomputed so that the activations of all take at most `budget`
    /// bytes; all of them where even that is too much.
    pub fn recomputed_within(&self, budget: u64) -> usize {
        let fits = |recomputed: &usize| self.bytes(*recomputed) <= budget;
        (0..self.layers.len()).find(fits).unwrap_or(self.layers.len())
    }

    /// Bytes of all layers, so many of them recomputed.
    pub fn bytes(&self, recomputed: usize) -> u64 {
        let (recomputed, retained) = self.layers.split_at(recomputed.min(self.layers.len()));
        recomputed.iter().map(|layer| layer.recomputed).chain(retained.iter().map(|layer| layer.retained)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_few_layers_are_recomputed_as_the_budget_asks_for() {
        let activations = Activations { layers: vec![LayerActivations { retained: 100, recomputed: 10 }; 4] };
        for (budget, recomputed) in [(u64::MAX, 0), (400, 0), (399, 1), (310, 1), (309, 2), (40, 4), (39, 4), (0, 4)] {
            assert_eq!(activations.recomputed_within(budget), recomputed, "{budget} bytes");
        }
        assert_eq!((activations.bytes(1), activations.bytes(usize::MAX)), (310, 40));
    }
}

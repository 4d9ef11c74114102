//! The values of a tensor on their way from a checkpoint to a network.

use aquatint_compute::Quantised;

/// What a checkpoint holds of a tensor.
#[derive(Debug, Clone)]
pub enum TensorData {
    /// Real numbers, row-major.
    Real(Vec<f32>),
    /// A matrix of integers with scales.
    Quantised(Quantised),
}

impl TensorData {
    /// How many values there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Real(values) => values.len(),
            Self::Quantised(matrix) => matrix.values().len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values as real numbers.
    pub fn into_real(self) -> Vec<f32> {
        match self {
            Self::Real(values) => values,
            Self::Quantised(matrix) => matrix.dequantise(),
        }
    }
}

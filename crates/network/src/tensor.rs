//! The numbers of one weight as a checkpoint holds them.

use aquatint_compute::Quantised;

/// One weight: real numbers, or small integers with scales.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData {
    /// Row-major values in the shape that the network's description gives the weight.
    Real(Vec<f32>),
    /// A matrix as it was quantised; only weights of two dimensions are.
    Quantised(Quantised),
}

impl TensorData {
    /// The real values, row-major; what was quantised is given back as what it stands for.
    pub fn into_real(self) -> Vec<f32> {
        match self {
            Self::Real(values) => values,
            Self::Quantised(matrix) => matrix.dequantise(),
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Real(values) => values.len(),
            Self::Quantised(matrix) => matrix.outputs() * matrix.inputs(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

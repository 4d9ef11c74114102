//! Tensors as they go into a file, and values as they come out of one without rounding.

use crate::Storage;

/// A tensor to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor<V> {
    /// Name in the file.
    pub name: String,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// As many values as the shape says.
    pub values: V,
}

/// Values as they were saved, without rounding.
#[derive(Debug, Clone, PartialEq)]
pub enum Exact {
    /// What runs on an f32 device are saved in.
    F32(Vec<f32>),
    /// What runs on an f64 device are saved in.
    F64(Vec<f64>),
    /// What matrices of integers are saved in.
    I8(Vec<i8>),
}

impl Exact {
    /// The bytes that stand in a file.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(values) => Storage::F32.encode(values),
            Self::F64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::I8(values) => values.iter().map(|value| value.cast_unsigned()).collect(),
        }
    }

    /// How many values.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::I8(values) => values.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values, each exact in f64.
    pub fn iter(&self) -> Box<dyn Iterator<Item = f64> + '_> {
        match self {
            Self::F32(values) => Box::new(values.iter().map(|v| f64::from(*v))),
            Self::F64(values) => Box::new(values.iter().copied()),
            Self::I8(values) => Box::new(values.iter().map(|v| f64::from(*v))),
        }
    }
}

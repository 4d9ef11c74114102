//! One tensor of a network: what it is, and its numbers as a checkpoint holds them.

use aquatint_compute::Quantised;
use aquatint_diffusion::Key;

/// What a parameter is for; optimisers treat them differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A matrix that maps activations to activations.
    Matrix,
    /// The matrix that chooses the experts of a row.
    Router,
    /// Word vectors; also the head where the two are tied.
    Embedding,
    /// Word vectors of length 1, between which a gaussian field lies.
    UnitVectors,
    /// The head, where it is a matrix of its own.
    Head,
    /// A norm's weight or a bias.
    Vector,
    /// Half of an adapter's addition to a matrix, multiplied in f32 whatever the format of the matrix.
    Adapter,
}

/// What a parameter begins as.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Init {
    /// All elements alike.
    Constant(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
}

/// One tensor of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorSpec {
    /// Its name here; what files call it is up to their [family](crate::families).
    pub name: String,
    /// Rows and columns, or the length of a vector.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// The layer that it is of.
    pub layer: Option<usize>,
    /// Whether only rows read it that are routed to an expert.
    pub routed: bool,
    /// What it begins as.
    pub(crate) init: Init,
}

impl TensorSpec {
    /// A tensor that no network here reads: a matrix or a vector by its shape.
    pub fn apart(name: &str, shape: &[usize]) -> Self {
        let role = if shape.len() == 2 { Role::Matrix } else { Role::Vector };
        let (name, shape) = (name.to_owned(), shape.to_vec());
        Self { name, shape, role, layer: None, routed: false, init: Init::Constant(0.0) }
    }

    /// How many values it has.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows and columns; a vector is one column, so that vectors can be stacked.
    pub fn rows_and_columns(&self) -> (usize, usize) {
        match self.shape[..] {
            [rows, columns] => (rows, columns),
            _ => (self.len(), 1),
        }
    }

    /// What it begins as, row-major; the tensor at each place of a network has its own stream of draws under the seed.
    pub fn fresh(&self, seed: u64, place: usize) -> impl Iterator<Item = f64> + use<> {
        let (init, mut draws) = (self.init, Key::new(seed).fold(place as u64 + 1).at(0, 0));
        (0..self.len()).map(move |_| match init {
            Init::Constant(value) => value,
            Init::Normal(deviation) => deviation * draws.normal(),
        })
    }

    /// Numbers that were stored, as a network has them: vectors of length 1 have it again, whatever was rounded.
    pub(crate) fn restored(&self, mut values: Vec<f32>) -> Vec<f32> {
        if self.role == Role::UnitVectors {
            for vector in values.chunks_exact_mut(self.rows_and_columns().1) {
                let length = vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
                vector.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
            }
        }
        values
    }
}

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

//! A network on a device.

use crate::forward::Pass;
use crate::input::below;
use crate::inventory::{self, Beginning, Tensor};
use crate::wiring::Wiring;
use crate::{Denoiser, Learner, LossRow, NetworkError, NetworkInput, NetworkSpec, Role};
use aquatint_compute::{Device, Element, Gradients, LinearShape, Parameters, Tape, Targets};
use aquatint_diffusion::Key;
use std::collections::HashMap;

/// A [`NetworkSpec`] with weights, on a device.
#[derive(Debug)]
pub struct Network<D: Device> {
    spec: NetworkSpec,
    tensors: Vec<Tensor>,
    parameters: Parameters<D>,
    wiring: Wiring,
    /// Made when the network first learns.
    gradients: Option<Gradients<D>>,
    /// What stands for each gradient until then: nothing.
    no_gradients: Vec<D::Buffer>,
    recomputed: usize,
}

/// One parameter, to be read.
#[derive(Debug)]
pub struct Parameter<'a, D: Device> {
    /// Its name in a checkpoint.
    pub name: &'a str,
    /// Rows and columns, or the length of a vector.
    pub shape: &'a [usize],
    /// What it is for.
    pub role: Role,
    /// Its values.
    pub value: &'a D::Buffer,
    /// Its gradient; of length 0 before the network first learns.
    pub gradient: &'a D::Buffer,
}

/// One parameter, to be changed.
#[derive(Debug)]
pub struct ParameterMut<'a, D: Device> {
    /// Its name in a checkpoint.
    pub name: &'a str,
    /// Rows and columns, or the length of a vector.
    pub shape: &'a [usize],
    /// What it is for.
    pub role: Role,
    /// Its values.
    pub value: &'a mut D::Buffer,
    /// Its gradient; of length 0 before the network first learns.
    pub gradient: &'a mut D::Buffer,
}

impl<D: Device> Network<D> {
    /// A network with random weights; the same seed gives the same ones on every device.
    ///
    /// # Errors
    /// When the description cannot be, or the device lacks the memory.
    pub fn new(device: D, spec: NetworkSpec, seed: u64) -> Result<Self, NetworkError> {
        let key = Key::new(seed);
        let mut stream = 0;
        Self::build(device, spec, |tensor, _| {
            stream += 1;
            let length = tensor.shape.iter().product();
            Ok(match tensor.beginning {
                Beginning::Constant(value) => vec![D::Element::from_f64(value); length],
                Beginning::Normal(deviation) => {
                    let mut draws = key.fold(stream).at(0, 0);
                    (0..length).map(|_| D::Element::from_f64(deviation * draws.normal())).collect()
                }
            })
        })
    }

    /// A network with given weights, asked for by name, row-major.
    ///
    /// # Errors
    /// When the description cannot be, a tensor is missing or has another length, or the device lacks the memory.
    pub fn from_weights(
        device: D,
        spec: NetworkSpec,
        weights: &mut dyn FnMut(&str) -> Option<Vec<f32>>,
    ) -> Result<Self, NetworkError> {
        Self::build(device, spec, |tensor, count| {
            let missing = || NetworkError::MissingTensor { name: tensor.name.clone(), count };
            let values = weights(&tensor.name).ok_or_else(missing)?;
            if values.len() != tensor.shape.iter().product::<usize>() {
                let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
                return Err(NetworkError::TensorLength { name, given: values.len(), shape });
            }
            Ok(values.into_iter().map(|value| D::Element::from_f64(f64::from(value))).collect())
        })
    }

    fn build(
        device: D,
        spec: NetworkSpec,
        mut values: impl FnMut(&Tensor, usize) -> Result<Vec<D::Element>, NetworkError>,
    ) -> Result<Self, NetworkError> {
        spec.validate()?;
        let tensors = inventory::tensors(&spec);
        let mut parameters = Parameters::new(device.clone());
        let mut no_gradients = Vec::with_capacity(tensors.len());
        let mut index = HashMap::with_capacity(tensors.len());
        for tensor in &tensors {
            let value = device.upload(&values(tensor, tensors.len())?)?;
            let (rows, columns) = match tensor.shape[..] {
                [rows, columns] => (rows, columns),
                _ => (1, tensor.shape.iter().product()),
            };
            index.insert(tensor.name.as_str(), parameters.add(rows, columns, value));
            no_gradients.push(device.zeros(0)?);
        }
        let wiring = Wiring::new(&spec, &mut parameters, &index);
        Ok(Self { spec, tensors, parameters, wiring, gradients: None, no_gradients, recomputed: 0 })
    }

    /// Where the network lives.
    pub fn device(&self) -> &D {
        self.parameters.device()
    }

    /// All parameters, in a stable order, one for each tensor of a checkpoint.
    pub fn parameters(&self) -> Vec<Parameter<'_, D>> {
        let gradients = self.gradients.as_ref().map_or(&self.no_gradients[..], Gradients::buffers);
        let buffers = self.parameters.values().iter().zip(gradients);
        let all = self.tensors.iter().zip(buffers);
        all.map(|(Tensor { name, shape, role, .. }, (value, gradient))| Parameter {
            name,
            shape,
            role: *role,
            value,
            gradient,
        })
        .collect()
    }

    /// All parameters, in the same order, to be updated on the device or replaced.
    pub fn parameters_mut(&mut self) -> Vec<ParameterMut<'_, D>> {
        let gradients = self.gradients.as_mut().map_or(&mut self.no_gradients[..], Gradients::buffers_mut);
        let buffers = self.parameters.values_mut().iter_mut().zip(gradients);
        let all = self.tensors.iter().zip(buffers);
        all.map(|(Tensor { name, shape, role, .. }, (value, gradient))| ParameterMut {
            name,
            shape,
            role: *role,
            value,
            gradient,
        })
        .collect()
    }

    /// Runs `with` on what a pass over `rows` needs, after checking that the input fits.
    fn pass<R>(
        &self,
        input: &NetworkInput<'_>,
        rows: &[u32],
        with: impl FnOnce(Pass<'_>) -> Result<R, NetworkError>,
    ) -> Result<R, NetworkError> {
        pass(&self.spec, &self.wiring, input, rows, with)
    }
}

/// Checks that an input fits and runs `with` on what a pass over `rows` needs.
fn pass<R>(
    spec: &NetworkSpec,
    wiring: &Wiring,
    input: &NetworkInput<'_>,
    rows: &[u32],
    with: impl FnOnce(Pass<'_>) -> Result<R, NetworkError>,
) -> Result<R, NetworkError> {
    input.check(spec)?;
    let asked = input.answering(spec, rows)?;
    let groups = input.sequence_of_row();
    let asked_groups: Vec<u32> = asked.iter().map(|&row| groups[row as usize]).collect();
    with(Pass { spec, wiring, input: *input, groups: &groups, asked_groups: &asked_groups, asked: &asked })
}

/// Rows, targets and weights apart.
struct Asked {
    rows: Vec<u32>,
    ids: Vec<u32>,
    weights: Vec<f64>,
}

impl Asked {
    /// Takes them apart after checking that the targets can be.
    fn new(spec: &NetworkSpec, rows: &[LossRow]) -> Result<Self, NetworkError> {
        if let Some(LossRow { row, target, .. }) = rows.iter().find(|row| Some(row.target) == spec.mask_token) {
            return Err(NetworkError::MaskTarget { row: *row, target: *target });
        }
        let ids: Vec<u32> = rows.iter().map(|row| row.target).collect();
        below("targets", &ids, spec.vocabulary_size, "the size of the vocabulary")?;
        let (rows, weights) = rows.iter().map(|row| (row.row, row.weight)).unzip();
        Ok(Self { rows, ids, weights })
    }

    fn targets(&self, spec: &NetworkSpec) -> Targets<'_> {
        Targets { ids: &self.ids, weights: &self.weights, forbidden: spec.mask_token }
    }
}

impl<D: Device> Denoiser for Network<D> {
    fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    fn denoise(&self, input: &NetworkInput<'_>, rows: &[u32]) -> Result<Vec<f32>, NetworkError> {
        if rows.is_empty() {
            input.check(&self.spec)?;
            return Ok(Vec::new());
        }
        let size = self.spec.vocabulary_size;
        self.pass(input, rows, |pass| {
            let device = self.device();
            let mut tape = Tape::inferring(&self.parameters);
            let hidden = pass.hidden(&mut tape)?;
            let mut logits = device.uninitialised(rows.len() * size)?;
            let shape = LinearShape { rows: rows.len(), inputs: self.spec.width, outputs: size };
            let head = self.parameters.get(self.wiring.head)?;
            device.linear(shape, hidden.buffer(), head, None, false, &mut logits);
            let mut logits: Vec<f32> = device.download(&logits).into_iter().map(|l| l.to_f64() as f32).collect();
            if let Some(mask) = self.spec.mask_token {
                for row in logits.chunks_exact_mut(size) {
                    row[mask as usize] = f32::NEG_INFINITY;
                }
            }
            Ok(logits)
        })
    }
}

impl<D: Device> Learner for Network<D> {
    fn learn(&mut self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError> {
        let asked = Asked::new(&self.spec, rows)?;
        if self.gradients.is_none() {
            self.gradients = Some(Gradients::zeros(&self.parameters)?);
        }
        let Self { spec, wiring, parameters, gradients, recomputed, .. } = self;
        let (Some(gradients), false) = (gradients, asked.rows.is_empty()) else {
            input.check(spec)?;
            return Ok(Vec::new());
        };
        pass(spec, wiring, input, &asked.rows, |pass| {
            let mut tape = Tape::recording(parameters, *recomputed);
            let hidden = pass.hidden(&mut tape)?;
            Ok(tape.learn_cross_entropy(hidden, wiring.head, asked.targets(spec), gradients)?)
        })
    }

    fn measure(&self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError> {
        let asked = Asked::new(&self.spec, rows)?;
        if asked.rows.is_empty() {
            input.check(&self.spec)?;
            return Ok(Vec::new());
        }
        self.pass(input, &asked.rows, |pass| {
            let mut tape = Tape::inferring(&self.parameters);
            let hidden = pass.hidden(&mut tape)?;
            Ok(tape.cross_entropy(&hidden, self.wiring.head, asked.targets(&self.spec))?)
        })
    }

    fn clear_gradients(&mut self) {
        if let Some(gradients) = &mut self.gradients {
            gradients.clear();
        }
    }

    fn gradient_norm(&self) -> f64 {
        self.gradients.as_ref().map_or(0.0, Gradients::norm)
    }

    fn recompute_activations(&mut self, layers: usize) {
        self.recomputed = layers;
    }
}

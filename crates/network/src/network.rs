//! A network on a device.

use crate::denoiser::{costs_on_host, nll_on_host};
use crate::reader::{Evidence, Reader, RowTargets, pass};
use crate::row_query::{RowAnswer, RowQuery};
use crate::tensor::Init;
use crate::weight_index::WeightIndex;
use crate::{
    Denoiser, ForwardPass, Learner, LossRow, NetworkError, NetworkInput, NetworkSpec, Role, RowSlots, TensorSpec,
};
use aquatint_compute::{Device, Element, Gradients, Parameters, ReadRow, Tape, softmax_row};
use aquatint_diffusion::{Cost, Key, LossTerm, Vectors};

/// A [`NetworkSpec`] with weights, on a device.
#[derive(Debug)]
pub struct Network<D: Device> {
    spec: NetworkSpec,
    tensors: Vec<TensorSpec>,
    parameters: Parameters<D>,
    weight_index: WeightIndex,
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
            let length = tensor.len();
            Ok(match tensor.init {
                Init::Constant(value) => vec![D::Element::from_f64(value); length],
                Init::Normal(deviation) => {
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
            if values.len() != tensor.len() {
                let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
                return Err(NetworkError::TensorLength { name, given: values.len(), shape });
            }
            Ok(tensor.restored(values).into_iter().map(|value| D::Element::from_f64(f64::from(value))).collect())
        })
    }

    fn build(
        device: D,
        spec: NetworkSpec,
        mut values: impl FnMut(&TensorSpec, usize) -> Result<Vec<D::Element>, NetworkError>,
    ) -> Result<Self, NetworkError> {
        spec.validate()?;
        let mut parameters = Parameters::new(device.clone());
        let (tensors, weight_index) = WeightIndex::declare(&spec, &mut parameters)?;
        let mut no_gradients = Vec::with_capacity(tensors.len());
        for (index, tensor) in tensors.iter().enumerate() {
            parameters.set(index, device.upload(&values(tensor, tensors.len())?)?);
            no_gradients.push(device.zeros(0)?);
        }
        Ok(Self { spec, tensors, parameters, weight_index, gradients: None, no_gradients, recomputed: 0 })
    }

    /// Takes the weights that are given, by name, row-major; the others stay as they are.
    ///
    /// # Errors
    /// When a tensor has another length.
    pub fn load(&mut self, weights: &mut dyn FnMut(&str) -> Option<Vec<f32>>) -> Result<(), NetworkError> {
        let device = self.parameters.device().clone();
        for (tensor, value) in self.tensors.iter().zip(self.parameters.values_mut()) {
            let Some(values) = weights(&tensor.name) else { continue };
            if values.len() != tensor.len() {
                let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
                return Err(NetworkError::TensorLength { name, given: values.len(), shape });
            }
            let values = tensor.restored(values).into_iter().map(|v| D::Element::from_f64(f64::from(v)));
            device.write(value, &values.collect::<Vec<_>>());
        }
        Ok(())
    }

    /// Where the network lives.
    pub fn device(&self) -> &D {
        self.parameters.device()
    }

    fn reader(&self) -> Reader<'_, D> {
        Reader { spec: &self.spec, parameters: &self.parameters, weight_index: &self.weight_index }
    }

    /// All parameters, in a stable order, one for each tensor of a checkpoint.
    pub fn parameters(&self) -> Vec<Parameter<'_, D>> {
        let gradients = self.gradients.as_ref().map_or(&self.no_gradients[..], Gradients::buffers);
        let buffers = self.parameters.values().iter().zip(gradients);
        let all = self.tensors.iter().zip(buffers);
        all.map(|(TensorSpec { name, shape, role, .. }, (value, gradient))| Parameter {
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
        all.map(|(TensorSpec { name, shape, role, .. }, (value, gradient))| ParameterMut {
            name,
            shape,
            role: *role,
            value,
            gradient,
        })
        .collect()
    }
}

impl<D: Device> Denoiser for Network<D> {
    fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    fn word_vectors(&self) -> Result<Option<Vec<f32>>, NetworkError> {
        self.reader().word_vectors()
    }

    fn forward(
        &self,
        pass: ForwardPass<'_>,
        queries: &[RowQuery<'_>],
        read: &ReadRow<'_>,
    ) -> Result<Vec<RowAnswer>, NetworkError> {
        self.reader().forward(pass, queries, read)
    }

    fn nll(&self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError> {
        if self.weight_index.embedding.field.is_some() {
            // What points speak for is added row by row.
            return nll_on_host(self, input, rows);
        }
        self.reader().nll(input, rows)
    }

    fn costs(&self, input: &NetworkInput<'_>, terms: &[LossTerm]) -> Result<Vec<f64>, NetworkError> {
        costs_on_host(self, input, terms)
    }

    fn kv_cache_bytes(&self, rows: usize) -> usize {
        self.reader().kv_cache_bytes(rows)
    }
}

impl<D: Device> Learner for Network<D> {
    fn forward_backward(&mut self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError> {
        let asked = RowTargets::new(&self.spec, rows)?;
        if self.weight_index.embedding.field.is_some() {
            // What points speak for is added row by row.
            let term = |&LossRow { row, target, weight }: &LossRow| {
                let cost = Cost::CrossEntropy;
                LossTerm { position: row as usize, target, weight, cost }
            };
            return self.forward_backward_costs(input, &rows.iter().map(term).collect::<Vec<LossTerm>>());
        }
        if self.gradients.is_none() {
            self.gradients = Some(Gradients::zeros(&self.parameters)?);
        }
        let Self { spec, weight_index, parameters, gradients, recomputed, .. } = self;
        let (Some(gradients), false) = (gradients, asked.rows.is_empty()) else {
            input.check(spec)?;
            return Ok(Vec::new());
        };
        pass(spec, weight_index, input, &asked.rows, |pass| {
            let mut tape = Tape::recording(parameters, *recomputed);
            let hidden = pass.hidden(&mut tape)?;
            Ok(tape.learn_cross_entropy(hidden, weight_index.head.matrix, asked.targets(spec), gradients)?)
        })
    }

    fn forward_backward_costs(
        &mut self,
        input: &NetworkInput<'_>,
        terms: &[LossTerm],
    ) -> Result<Vec<f64>, NetworkError> {
        let asked = RowTargets::of_terms(&self.spec, terms)?;
        let values = self.word_vectors()?.unwrap_or_default();
        let vectors = Vectors { size: self.spec.word_vector_size.unwrap_or(0), values: &values };
        let costs = RowSlots::new(terms.len());
        self.forward_backward_with(input, &asked.rows, &|index, belief| {
            let LossTerm { target, weight, cost, .. } = terms[index];
            costs.set(index, cost.learn(target, belief, vectors, weight));
        })?;
        costs.into_vec()
    }

    fn forward_backward_with(
        &mut self,
        input: &NetworkInput<'_>,
        rows: &[u32],
        cost: &ReadRow<'_>,
    ) -> Result<(), NetworkError> {
        if self.gradients.is_none() {
            self.gradients = Some(Gradients::zeros(&self.parameters)?);
        }
        let Self { spec, weight_index, parameters, gradients, recomputed, .. } = self;
        let (Some(gradients), false) = (gradients, rows.is_empty()) else {
            return input.check(spec);
        };
        pass(spec, weight_index, input, rows, |pass| {
            let mut tape = Tape::recording(parameters, *recomputed);
            let hidden = pass.hidden(&mut tape)?;
            let evidence = Evidence::new(spec, parameters, weight_index, input, pass.asked)?;
            let mask = spec.mask_token;
            tape.learn_rows(
                hidden,
                weight_index.head.matrix,
                &|index, logits| {
                    if let Some(mask) = mask {
                        logits[mask as usize] = f32::NEG_INFINITY;
                    }
                    if let Some(evidence) = &evidence {
                        evidence.add(index, logits);
                    }
                    softmax_row(logits);
                    cost(index, logits);
                },
                gradients,
            )?;
            Ok(())
        })
    }

    fn normalise_word_vectors(&mut self) {
        let Some(size) = self.spec.word_vector_size else { return };
        let device = self.parameters.device().clone();
        for (tensor, value) in self.tensors.iter().zip(self.parameters.values_mut()) {
            if tensor.role == Role::UnitVectors {
                let mut vectors = device.download(value);
                for vector in vectors.chunks_exact_mut(size) {
                    let norm = vector.iter().map(|v| v.to_f64() * v.to_f64()).sum::<f64>().sqrt();
                    vector.iter_mut().for_each(|v| *v = D::Element::from_f64(v.to_f64() / norm));
                }
                device.write(value, &vectors);
            }
        }
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

//! The tensors of a network on a device: their numbers, their gradients, and how each learns.
//!
//! What a network does with them is its own; what a trainer, an optimiser and a file do with them is here, and the same
//! for every network.

use crate::compressed::Assignment;
use crate::layers::{Declaration, Declared};
use crate::parameter_group::ParameterGroup;
use crate::source::{Source, named};
use crate::{NetworkError, ParameterInfo, Role, TensorData, TensorSpec};
use aquatint_compute::{Device, Element, Gradients, Parameters, PreparedValues, WeightFormat, WeightId};

/// The tensors of a network on a device.
#[derive(Debug)]
pub struct Weights<D: Device> {
    pub(crate) tensors: Vec<TensorSpec>,
    pub(crate) parameters: Parameters<D>,
    /// The weights that products read in learning.
    pub(crate) stacks: Vec<WeightId>,
    /// Made when the network first learns.
    pub(crate) gradients: Option<Gradients<D>>,
    /// What stands for each gradient until then: nothing.
    pub(crate) no_gradients: Vec<D::Buffer>,
    /// What each parameter is, and how it learns.
    pub(crate) parameter_infos: Vec<ParameterInfo>,
}

impl<D: Device> Weights<D> {
    /// What was declared among these parameters, with an empty place for each.
    pub(crate) fn empty(parameters: Parameters<D>, declared: Declared) -> Result<Self, NetworkError> {
        let Declared { tensors, stacks, .. } = declared;
        let no_gradients = tensors.iter().map(|_| parameters.device().zeros(0)).collect::<Result<_, _>>()?;
        let parameter_infos = tensors.iter().map(ParameterInfo::new).collect();
        Ok(Self { tensors, parameters, stacks, gradients: None, no_gradients, parameter_infos })
    }

    /// Tensors that no network here reads, with these values, row-major: what learns beside one.
    ///
    /// # Errors
    /// When a tensor has another length than its shape says, or the device lacks the memory.
    pub fn of_tensors(device: D, tensors: Vec<(String, Vec<usize>, Vec<f32>)>) -> Result<Self, NetworkError> {
        let mut parameters = Parameters::new(device);
        let mut declaration = Declaration::new(&mut parameters);
        for (name, shape, _) in &tensors {
            let TensorSpec { name, shape, role, init, .. } = TensorSpec::apart(name, shape);
            declaration.tensor(&name, &shape, role, init)?;
        }
        let declared = declaration.finish();
        let mut weights = Self::empty(parameters, declared)?;
        let mut values = tensors.into_iter().map(|(_, _, values)| values);
        weights.take(&mut |_| values.next())?;
        Ok(weights)
    }

    /// What each tensor is.
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// Adds to the gradient of a parameter, row-major, what was computed elsewhere.
    ///
    /// # Errors
    /// When there is none of that name, it has another length, or the device lacks the memory.
    pub fn add_gradient(&mut self, name: &str, values: &[f64]) -> Result<(), NetworkError> {
        let index = self.find(name)?;
        let TensorSpec { name, shape, .. } = &self.tensors[index];
        if values.len() != self.tensors[index].len() {
            let (name, shape) = (name.clone(), shape.clone());
            return Err(NetworkError::TensorLength { name, given: values.len(), shape });
        }
        let (parameters, gradients) = self.learning()?;
        let (device, gradient) = (parameters.device(), &mut gradients.buffers_mut()[index]);
        let sum = device
            .download(gradient)
            .into_iter()
            .zip(values)
            .map(|(old, new)| D::Element::from_f64(old.to_f64() + new));
        device.write(gradient, &sum.collect::<Vec<_>>());
        Ok(())
    }

    /// Draws all values; the same seed gives the same ones on every device.
    pub(crate) fn draw(&mut self, seed: u64) -> Result<(), NetworkError> {
        let mut place = 0;
        self.fill(|tensor, _| {
            place += 1;
            Ok(tensor.fresh(seed, place - 1).map(D::Element::from_f64).collect())
        })
    }

    /// Takes all values as they are given, by name, row-major.
    pub(crate) fn take(&mut self, weights: &mut dyn FnMut(&str) -> Option<Vec<f32>>) -> Result<(), NetworkError> {
        self.fill(|tensor, count| {
            let missing = || NetworkError::MissingTensor { name: tensor.name.clone(), count };
            let values = weights(&tensor.name).ok_or_else(missing)?;
            if values.len() != tensor.len() {
                let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
                return Err(NetworkError::TensorLength { name, given: values.len(), shape });
            }
            Ok(tensor.restored(values).into_iter().map(|value| D::Element::from_f64(f64::from(value))).collect())
        })
    }

    fn fill(
        &mut self,
        mut values: impl FnMut(&TensorSpec, usize) -> Result<Vec<D::Element>, NetworkError>,
    ) -> Result<(), NetworkError> {
        let Self { tensors, parameters, .. } = self;
        for (index, tensor) in tensors.iter().enumerate() {
            let value = parameters.device().upload(&values(tensor, tensors.len())?)?;
            parameters.set(index, value);
        }
        Ok(())
    }

    /// The parameters, and the gradients that learning adds to.
    pub(crate) fn learning(&mut self) -> Result<(&Parameters<D>, &mut Gradients<D>), NetworkError> {
        let Self { parameters, gradients, .. } = self;
        let gradients = match gradients {
            Some(gradients) => gradients,
            none => none.insert(Gradients::zeros(parameters)?),
        };
        Ok((parameters, gradients))
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

    /// Where they live.
    pub fn device(&self) -> &D {
        self.parameters.device()
    }

    /// Bytes that the weights take on the device.
    pub fn bytes(&self) -> usize {
        self.parameters.bytes()
    }

    /// How many numbers there are.
    pub fn count(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.len() as u64).sum()
    }

    /// Replaces what is kept in its prepared form only, which a run that goes on has as it was saved.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape, or the device lacks the memory.
    pub fn load_compressed(&mut self, weights: &mut dyn FnMut(&str) -> Option<TensorData>) -> Result<(), NetworkError> {
        let Self { tensors, parameters, stacks, parameter_infos, .. } = self;
        let give = &mut |name: &str, _| weights(name);
        let mut source = Source::new(tensors, give);
        for &id in stacks.iter().filter(|&&id| parameters.is_prepared_only(id)).collect::<Vec<_>>() {
            let format = parameter_infos[parameters.parts(id)[0]].precision;
            source.keep(parameters, id, format.unwrap_or(WeightFormat::F32))?;
        }
        Ok(())
    }

    /// The index of a parameter.
    fn find(&self, name: &str) -> Result<usize, NetworkError> {
        let found = self.tensors.iter().position(|tensor| tensor.name == name);
        found.ok_or_else(|| NetworkError::UnknownParameter { name: name.to_owned(), count: self.tensors.len() })
    }

    fn download(&self, buffer: &D::Buffer) -> Vec<f32> {
        self.device().download(buffer).into_iter().map(|value| value.to_f64() as f32).collect()
    }

    /// Makes each word vector of a gaussian field one of length 1 again, after an update; nothing for other networks.
    pub fn normalise_word_vectors(&mut self) {
        let device = self.parameters.device().clone();
        if self.tensors.iter().all(|tensor| tensor.role != Role::UnitVectors) {
            return;
        }
        for parameter in self.trained_parameters_mut() {
            if let (Role::UnitVectors, &[_, size]) = (parameter.info.role, &parameter.info.shape[..]) {
                let mut vectors = device.download(parameter.value);
                for vector in vectors.chunks_exact_mut(size) {
                    let norm = vector.iter().map(|v| v.to_f64() * v.to_f64()).sum::<f64>().sqrt();
                    vector.iter_mut().for_each(|v| *v = D::Element::from_f64(v.to_f64() / norm));
                }
                device.write(parameter.value, &vectors);
            }
        }
    }

    /// Sets all gradients to zero.
    pub fn clear_gradients(&mut self) {
        if let Some(gradients) = &mut self.gradients {
            gradients.clear();
        }
    }

    /// The Euclidean norm of all gradients together.
    pub fn gradient_norm(&self) -> f64 {
        self.gradients.as_ref().map_or(0.0, Gradients::norm)
    }

    /// All parameters, in a stable order, one for each tensor of a checkpoint.
    pub fn parameter_list(&self) -> Vec<ParameterInfo> {
        self.parameter_infos.clone()
    }

    /// Says which parameters learn, and how fast: each by the first group that chooses it, and by default where none does.
    /// Collected gradients are dropped. Returns how many parameters each group got, so that one that got
    /// none can be refused.
    ///
    /// Matrices of a group with a [`precision`](ParameterGroup::precision) are kept in it from now on, and in nothing
    /// else: what they were before is forgotten, and a later group that wants them otherwise gets what they stand for.
    ///
    /// # Errors
    /// When a group with a precision learns or has no matrix of products, one of several matrices that are multiplied as
    /// one is not of the same, a matrix cannot be quantised, or the device lacks the memory.
    pub fn set_groups(&mut self, groups: &[ParameterGroup]) -> Result<Vec<usize>, NetworkError> {
        let Assignment { parameters: infos, counts, compressed } = self.assign(groups)?;
        for &id in &self.stacks {
            let first = self.parameters.parts(id)[0];
            let wanted = compressed.iter().any(|(other, _)| *other == id);
            if self.parameters.is_prepared_only(id)
                && !(wanted && self.parameter_infos[first].precision == infos[first].precision)
            {
                self.parameters.restore(id)?;
            }
        }
        for (index, info) in infos.iter().enumerate() {
            self.parameters.set_trainable(index, info.trainable);
        }
        // Gradients are made again for those that learn.
        self.gradients = None;
        let Self { parameters, tensors, .. } = &mut *self;
        let stored = compressed.into_iter().try_for_each(|(id, format)| {
            let first = parameters.parts(id)[0];
            match parameters.is_prepared_only(id) {
                true => Ok(()),
                false => parameters.keep_only(id, format).map_err(|error| named(error, &tensors[first])),
            }
        });
        self.set_parameter_infos(infos);
        stored.map(|()| counts)
    }

    /// A parameter as the network has it: integers with scales where it is kept so.
    ///
    /// # Errors
    /// When there is none of that name, or the device fails.
    pub fn read_tensor(&self, name: &str) -> Result<TensorData, NetworkError> {
        let index = self.find(name)?;
        let Some((id, rows)) = self.compressed(index) else {
            return Ok(TensorData::Real(self.download(&self.parameters.values()[index])));
        };
        let (_, columns) = self.parameters.shape(id);
        Ok(match self.parameters.prepared_values(id)? {
            PreparedValues::Real(values) => {
                let values = &values[rows.start * columns..rows.end * columns];
                TensorData::Real(values.iter().map(|value| value.to_f64() as f32).collect())
            }
            PreparedValues::Quantised(matrix) => TensorData::Quantised(matrix.rows(rows)),
        })
    }

    /// The values of a parameter, row-major; what they stand for where it is kept otherwise.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn read_parameter(&self, name: &str) -> Result<Vec<f32>, NetworkError> {
        self.read_tensor(name).map(TensorData::into_real)
    }

    /// Replaces the values of a parameter.
    ///
    /// # Errors
    /// When there is none of that name, it has another length, or is kept in other numbers than f32.
    pub fn write_parameter(&mut self, name: &str, values: &[f32]) -> Result<(), NetworkError> {
        let index = self.find(name)?;
        if let Some(precision) = self.parameter_infos[index].precision {
            let reason = "its values stay as they are".to_owned();
            return Err(NetworkError::Precision { name: name.to_owned(), precision, reason });
        }
        self.load(&mut |tensor| (tensor == name).then(|| values.to_vec()))
    }

    /// The gradient of a parameter, row-major; empty before the network first learns, and where the parameter does not.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn read_gradient(&self, name: &str) -> Result<Vec<f32>, NetworkError> {
        let index = self.find(name)?;
        let gradients = self.gradients.as_ref().map_or(&self.no_gradients[..], Gradients::buffers);
        Ok(self.download(&gradients[index]))
    }
}

//! The parameters of a network: what each is, how it learns, and its numbers on the device.

use crate::{Role, TensorSpec, Weights};
use aquatint_compute::{Device, Gradients, WeightFormat};

/// What a parameter is and how it learns, whatever the device.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterInfo {
    /// Its name in a checkpoint.
    pub name: String,
    /// Rows and columns, or the length of a vector.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// Whether it learns.
    pub trainable: bool,
    /// Factor of its learning rate.
    pub learning_rate_factor: f64,
    /// The numbers that it is kept in; nothing is the device's own.
    pub precision: Option<WeightFormat>,
}

impl ParameterInfo {
    /// A parameter of which no group says anything: it learns, at the rate of the run.
    pub(crate) fn new(tensor: &TensorSpec) -> Self {
        let TensorSpec { name, shape, role, .. } = tensor;
        let (name, shape, role) = (name.clone(), shape.clone(), *role);
        Self { name, shape, role, trainable: true, learning_rate_factor: 1.0, precision: None }
    }
}

/// A parameter with its buffers on the device, `&D::Buffer` to be read or `&mut D::Buffer` to be changed.
#[derive(Debug)]
pub struct Parameter<'a, B> {
    /// What it is.
    pub info: &'a ParameterInfo,
    /// Its values; of length 0 where it is kept in other numbers.
    pub value: B,
    /// Its gradient; of length 0 before the network first learns, and where the parameter does not.
    pub gradient: B,
}

impl<D: Device> Weights<D> {
    /// All parameters, in a stable order, one for each tensor of a checkpoint.
    pub fn parameters(&self) -> Vec<Parameter<'_, &D::Buffer>> {
        let gradients = self.gradients.as_ref().map_or(&self.no_gradients[..], Gradients::buffers);
        let all = self.parameter_infos.iter().zip(self.parameters.values()).zip(gradients);
        all.map(|((info, value), gradient)| Parameter { info, value, gradient }).collect()
    }

    /// All parameters, in the same order, to be updated on the device or replaced.
    pub fn parameters_mut(&mut self) -> Vec<Parameter<'_, &mut D::Buffer>> {
        let gradients = self.gradients.as_mut().map_or(&mut self.no_gradients[..], Gradients::buffers_mut);
        let all = self.parameter_infos.iter().zip(self.parameters.values_mut()).zip(gradients);
        all.map(|((info, value), gradient)| Parameter { info, value, gradient }).collect()
    }

    /// The parameters that learn, in the same order, to be updated. What was prepared of the others stays prepared.
    pub fn trained_parameters_mut(&mut self) -> Vec<Parameter<'_, &mut D::Buffer>> {
        let gradients = self.gradients.as_mut().map_or(&mut self.no_gradients[..], Gradients::buffers_mut);
        let trained = self.parameter_infos.iter().zip(gradients).filter(|(info, _)| info.trainable);
        let all = trained.zip(self.parameters.trained_values_mut());
        all.map(|((info, gradient), value)| Parameter { info, value, gradient }).collect()
    }
}

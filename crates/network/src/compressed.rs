//! A network that learns, with matrices that do not and are kept in their prepared form only: in bf16 or as integers with
//! scales. The gradient goes through them to what does learn, with what they stand for (QLoRA, 2305.14314, section 3).

use crate::parameter_group::{ParameterGroup, assign};
use crate::source::Source;
use crate::{Network, NetworkError, NetworkSpec, ParameterInfo, TensorData, Weights};
use aquatint_compute::{Device, WeightFormat, WeightId};
use std::ops::Range;

/// What groups mean for the parameters of a network.
pub(crate) struct Assignment {
    /// Each parameter as it learns.
    pub(crate) parameters: Vec<ParameterInfo>,
    /// How many parameters each group got.
    pub(crate) counts: Vec<usize>,
    /// The weights that are kept in their prepared form only.
    pub(crate) compressed: Vec<(WeightId, WeightFormat)>,
}

impl<D: Device> Network<D> {
    /// A network of which parts do not learn, as `groups` say; its weights are asked for by name. A matrix that is to be
    /// kept in another precision is never there in f32 beside all others, and one that is quantised already stays as it
    /// is.
    ///
    /// # Errors
    /// As [`Network::from_weights`] and [`Learner::set_groups`](crate::Learner::set_groups).
    pub fn from_tensors(
        device: D,
        spec: NetworkSpec,
        groups: &[ParameterGroup],
        weights: &mut dyn FnMut(&str) -> Option<TensorData>,
    ) -> Result<Self, NetworkError> {
        let mut network = Self::empty(device, spec)?;
        let Assignment { parameters: infos, compressed, .. } = network.weights.assign(groups)?;
        let Weights { tensors, parameters, .. } = &mut network.weights;
        let give = &mut |name: &str, _| weights(name);
        let mut source = Source::new(tensors, give);
        let mut done = vec![false; tensors.len()];
        for (id, format) in compressed {
            source.keep(parameters, id, format)?;
            parameters.parts(id).iter().for_each(|&part| done[part] = true);
        }
        for (part, tensor) in tensors.iter().enumerate() {
            parameters.set_trainable(part, infos[part].trainable);
            if !done[part] {
                source.set(parameters, (part, tensor))?;
            }
        }
        network.weights.set_parameter_infos(infos);
        Ok(network)
    }
}

impl<D: Device> Weights<D> {
    /// The weight of which a parameter is a part, if it is kept in its prepared form only, and the rows that are its own.
    pub(crate) fn compressed(&self, index: usize) -> Option<(WeightId, Range<usize>)> {
        let parameters = &self.parameters;
        let within = |id: &&WeightId| parameters.is_prepared_only(**id) && parameters.parts(**id).contains(&index);
        let id = *self.stacks.iter().find(within)?;
        let rows = |part: usize| self.tensors[part].rows_and_columns().0;
        let before = parameters.parts(id).iter().take_while(|&&part| part != index);
        let first = before.map(|&part| rows(part)).sum();
        Some((id, first..first + rows(index)))
    }

    /// Takes note of how the parameters learn. What is no matrix of a product stays in the device's numbers, whatever the
    /// precision of its group.
    pub(crate) fn set_parameter_infos(&mut self, mut infos: Vec<ParameterInfo>) {
        let mut compressed = vec![false; infos.len()];
        for &id in self.stacks.iter().filter(|&&id| self.parameters.is_prepared_only(id)) {
            self.parameters.parts(id).iter().for_each(|&part| compressed[part] = true);
        }
        for (info, compressed) in infos.iter_mut().zip(compressed) {
            info.precision = info.precision.filter(|_| compressed);
        }
        self.parameter_infos = infos;
    }

    /// Divides the parameters into groups, and refuses what cannot be kept as a group says.
    pub(crate) fn assign(&self, groups: &[ParameterGroup]) -> Result<Assignment, NetworkError> {
        let (infos, counts) = assign(groups, self.tensors.iter().map(ParameterInfo::new));
        let refused =
            |name: String, precision, reason: String| Err(NetworkError::Precision { name, precision, reason });
        let mut compressed = Vec::new();
        for &id in &self.stacks {
            let parts = self.parameters.parts(id);
            let Some((first, precision)) = parts.iter().find_map(|&part| Some((part, infos[part].precision?))) else {
                continue;
            };
            if let Some(&other) = parts.iter().find(|&&part| infos[part].precision != Some(precision)) {
                let (name, other) = (self.tensors[first].name.clone(), &self.tensors[other].name);
                let reason = format!("`{other}` is multiplied with it as one matrix, and has to be kept so too");
                return refused(name, precision, reason);
            }
            compressed.push((id, precision));
        }
        for (group, precision) in groups.iter().filter_map(|group| Some((group, group.precision?))) {
            let name = group.parameters.to_string();
            if group.trainable {
                return refused(name, precision, "it learns; allowed: what does not".to_owned());
            }
            let chosen = |part: &usize| {
                let tensor = &self.tensors[*part];
                group.parameters.matches(&tensor.name, tensor.role)
            };
            if !compressed.iter().any(|(id, _)| self.parameters.parts(*id).iter().any(chosen)) {
                let reason = "there is no matrix of a product among them; word vectors, norms and biases stay f32";
                return refused(name, precision, reason.to_owned());
            }
        }
        Ok(Assignment { parameters: infos, counts, compressed })
    }
}

//! Which rule updates which parameter, the moments that the rules keep, and the averaged weights.
//!
//! Parameters are divided into groups: what does not learn has no moments and no average, and each group has a factor of
//! the learning rate (`embedding_rate` is that of word vectors and head).
//!
//! Matrices inside the layers follow Muon or AdamW with decoupled weight decay, and adapters AdamW with it; word vectors,
//! head and vectors (norms, biases) follow AdamW without decay, because pulling a rare word's vector to zero between two of
//! its uses is no regularisation. The average is `e ← β e + (1 − β) w` with `β = min(ema, (1 + step) / (10 + step))`, so that the
//! first random weights do not linger in it.

use crate::TrainError;
use crate::muon::{Muon, MuonState, Scratch};
use crate::recipe::{OptimiserKind, OptimiserRecipe};
use aquatint_checkpoint::{CheckpointError, Exact, RunState, Tensor, quantised_state};
use aquatint_compute::{AdamW, AdamWState, AdamWUpdate, Device, DeviceError, Element, Part, ScaleAdd};
use aquatint_network::{ParameterInfo, Role, TensorData, Weights};
use std::collections::BTreeMap;

/// The state of a rule for one parameter.
#[derive(Debug)]
enum Moments<D: Device> {
    AdamW { first: D::Buffer, second: D::Buffer },
    Muon { momentum: D::Buffer },
}

/// The optimisers' state for a whole network, in the order of its parameters.
#[derive(Debug)]
pub(crate) struct Optimiser<D: Device> {
    recipe: OptimiserRecipe,
    /// Of each parameter that learns.
    moments: Vec<Moments<D>>,
    scratch: BTreeMap<(usize, usize), Scratch<D>>,
    /// Of each parameter that learns; none where no averages are kept.
    average: Vec<D::Buffer>,
}

impl<D: Device> Optimiser<D> {
    /// Divides the network's parameters into the groups of the recipe; the moments of those that learn begin at zero.
    pub(crate) fn new(weights: &mut Weights<D>, recipe: &OptimiserRecipe) -> Result<Self, TrainError> {
        weights.set_groups(&recipe.parameter_groups()?)?;
        let device = weights.device();
        let mut optimiser =
            Self { recipe: recipe.clone(), moments: Vec::new(), scratch: BTreeMap::new(), average: Vec::new() };
        let mut of_shape = BTreeMap::new();
        for parameter in weights.parameters().into_iter().filter(|parameter| parameter.info.trainable) {
            let length = device.len(parameter.value);
            let moments = match (recipe.kind, parameter.info.role, parameter.info.shape.as_slice()) {
                (OptimiserKind::Muon, Role::Matrix, &[rows, columns]) => {
                    *of_shape.entry((rows, columns)).or_insert(0) += 1;
                    Moments::Muon { momentum: device.zeros(length)? }
                }
                _ => Moments::AdamW { first: device.zeros(length)?, second: device.zeros(length)? },
            };
            optimiser.moments.push(moments);
            if recipe.ema > 0.0 {
                let mut average = device.zeros(length)?;
                device.scale_add(1.0, parameter.value, 1.0, &mut average);
                optimiser.average.push(average);
            }
        }
        for (shape, count) in of_shape {
            optimiser.scratch.insert(shape, Scratch::new(device, shape, count)?);
        }
        Ok(optimiser)
    }

    /// One update; `step` counts from 1, `rate` is this step's learning rate, `norm` the gradient's.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub(crate) fn update(
        &mut self,
        weights: &mut Weights<D>,
        step: u64,
        rate: f64,
        norm: f64,
    ) -> Result<(), DeviceError> {
        let recipe = &self.recipe;
        let gradient_scale = if recipe.clip > 0.0 && norm > recipe.clip { recipe.clip / norm } else { 1.0 };
        let device = weights.device().clone();
        let mut of_shape: BTreeMap<(usize, usize), Vec<MuonState<'_, D>>> = BTreeMap::new();
        let mut updates = Vec::new();
        for (parameter, moments) in weights.trained_parameters_mut().into_iter().zip(&mut self.moments) {
            let learning_rate = rate * parameter.info.learning_rate_factor;
            match moments {
                Moments::Muon { momentum } => {
                    let shape = (parameter.info.shape[0], parameter.info.shape[1]);
                    let step = Muon { learning_rate, momentum: recipe.momentum, weight_decay: recipe.weight_decay };
                    let (gradient, parameter) = (parameter.gradient, parameter.value);
                    of_shape.entry(shape).or_default().push(MuonState { step, gradient, momentum, parameter });
                }
                Moments::AdamW { first, second } => {
                    let weight_decay = match parameter.info.role {
                        Role::Matrix | Role::Adapter => recipe.weight_decay,
                        Role::Router | Role::Embedding | Role::UnitVectors | Role::Head | Role::Vector => 0.0,
                    };
                    let update = AdamW {
                        learning_rate,
                        beta1: recipe.beta1,
                        beta2: recipe.beta2,
                        epsilon: recipe.epsilon,
                        weight_decay,
                        step,
                    };
                    let state = AdamWState { first, second, parameter: parameter.value };
                    updates.push(AdamWUpdate { step: update, gradient: parameter.gradient, state });
                }
            }
        }
        device.adamw_all(gradient_scale, updates)?;
        for (shape, mut matrices) in of_shape {
            if let Some(scratch) = self.scratch.get_mut(&shape) {
                scratch.update(&device, gradient_scale, &mut matrices)?;
            }
        }
        weights.normalise_word_vectors();
        let decay = recipe.ema.min((1 + step) as f64 / (10 + step) as f64);
        let trained = weights.parameters().into_iter().filter(|parameter| parameter.info.trainable);
        let averages = trained.zip(&mut self.average).map(|(parameter, average)| {
            let x = Part::all(parameter.value, device.len(parameter.value));
            ScaleAdd { a: 1.0 - decay, x, b: decay, y: average }
        });
        device.scale_add_all(&mut averages.collect::<Vec<_>>())?;
        // A mean of unit vectors is shorter than they are.
        self.swap_ema(weights);
        weights.normalise_word_vectors();
        self.swap_ema(weights);
        Ok(())
    }

    /// Exchanges the network's weights with their average; the same call undoes it. Nothing happens without an average.
    pub(crate) fn swap_ema(&mut self, weights: &mut Weights<D>) {
        for (parameter, average) in weights.trained_parameters_mut().into_iter().zip(&mut self.average) {
            std::mem::swap(parameter.value, average);
        }
    }

    /// The buffers to save, each with the name that it is saved under.
    fn buffers<'a>(&'a mut self, weights: &'a mut Weights<D>) -> Vec<(String, Vec<usize>, &'a mut D::Buffer)> {
        let mut buffers = Vec::new();
        let saves_base = !learns_beside(weights);
        let (mut moments, mut averages) = (self.moments.iter_mut(), self.average.iter_mut());
        for parameter in weights.parameters_mut() {
            let named = |prefix: &str| format!("{prefix}.{}", parameter.info.name);
            let shape = parameter.info.shape.clone();
            if parameter.info.trainable {
                match moments.next() {
                    Some(Moments::AdamW { first, second }) => {
                        buffers.push((named("first"), shape.clone(), first));
                        buffers.push((named("second"), shape.clone(), second));
                    }
                    Some(Moments::Muon { momentum }) => buffers.push((named("momentum"), shape.clone(), momentum)),
                    None => {}
                }
                if let Some(average) = averages.next() {
                    buffers.push((named("average"), shape.clone(), average));
                }
            }
            // What is kept in other numbers is no buffer of the device's own.
            if parameter.info.precision.is_none() && (parameter.info.trainable || saves_base) {
                buffers.push((named("value"), shape, parameter.value));
            }
        }
        buffers
    }

    /// Everything that a resumed run needs, without rounding.
    pub(crate) fn state(&mut self, weights: &mut Weights<D>) -> Result<Vec<Tensor<Exact>>, TrainError> {
        let device = weights.device().clone();
        let buffers = self.buffers(weights).into_iter();
        let tensor = |(name, shape, buffer): (String, Vec<usize>, &mut D::Buffer)| Tensor {
            name,
            shape,
            values: exact(&device.download(buffer)),
        };
        let mut tensors: Vec<Tensor<Exact>> = buffers.map(tensor).collect();
        for ParameterInfo { name, shape, .. } in compressed(weights) {
            match weights.read_tensor(&name)? {
                TensorData::Real(values) => {
                    tensors.push(Tensor { name: format!("value.{name}"), shape, values: Exact::F32(values) });
                }
                TensorData::Quantised(matrix) => tensors.extend(quantised_state(&name, &matrix)),
            }
        }
        Ok(tensors)
    }

    /// Puts a saved state back.
    pub(crate) fn restore<C>(&mut self, weights: &mut Weights<D>, state: &RunState<C>) -> Result<(), CheckpointError> {
        let device = weights.device().clone();
        for (name, shape, buffer) in self.buffers(weights) {
            let values = state.tensor(&name, shape.iter().product())?;
            let values: Vec<D::Element> = values.iter().map(D::Element::from_f64).collect();
            device.write(buffer, &values);
        }
        let mut saved = BTreeMap::new();
        for ParameterInfo { name, .. } in compressed(weights) {
            let data = match weights.read_tensor(&name)? {
                TensorData::Real(values) => {
                    let values = state.tensor(&format!("value.{name}"), values.len())?;
                    TensorData::Real(values.iter().map(|value| value as f32).collect())
                }
                TensorData::Quantised(matrix) => TensorData::Quantised(state.quantised(&name, &matrix)?),
            };
            saved.insert(name, data);
        }
        match saved.is_empty() {
            true => Ok(()),
            false => Ok(weights.load_compressed(&mut |name| saved.remove(name))?),
        }
    }
}

/// The parameters that are kept in other numbers than the device's own, and saved in the state.
fn compressed<D: Device>(weights: &Weights<D>) -> Vec<ParameterInfo> {
    if learns_beside(weights) {
        return Vec::new();
    }
    weights.parameter_list().into_iter().filter(|parameter| parameter.precision.is_some()).collect()
}

/// Whether an adapter learns: what it stands beside is the model that the run begins with, whose content the run's identity
/// has, and is not saved again.
fn learns_beside<D: Device>(weights: &Weights<D>) -> bool {
    weights.parameters().iter().any(|parameter| parameter.info.role == Role::Adapter)
}

/// Values of a device's type as they are saved: f32 as f32, wider ones as f64.
fn exact<E: Element>(values: &[E]) -> Exact {
    if size_of::<E>() <= size_of::<f32>() {
        Exact::F32(values.iter().map(|v| v.to_f64() as f32).collect())
    } else {
        Exact::F64(values.iter().map(|v| v.to_f64()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Overrides, Recipe};
    use aquatint_compute::{Cpu, Memory};
    use aquatint_network::{Learner, Network};
    use aquatint_testing::{Comparison, Example, Golden};

    #[test]
    fn what_does_not_learn_has_no_moments_and_no_average_and_stays_to_the_bit() {
        let text = "output = 'x'\n[data]\ntrain = [{ path = 'a' }]\nvalid = [{ path = 'b' }]\n\
            [optimiser]\nema = 0.9\nembedding_rate = 0.5\n\
            [[optimiser.groups]]\nparameters = 'model.layers.0.*'\ntrainable = false\n\
            [[optimiser.groups]]\nparameters = '*.mlp.*'\nrate = 0.25\n";
        let recipe = Recipe::parse(text, &Overrides::default()).unwrap().resolve().unwrap().optimiser;
        let example = Example::named("plain");
        let mut network: Network<Cpu<f32>> = example.network(Cpu::<f32>::scalar());
        let mut optimiser = Optimiser::new(network.weights_mut(), &recipe).unwrap();
        let bits = |network: &Network<Cpu<f32>>| -> Vec<(String, bool, Vec<u32>)> {
            let device = network.device();
            let all = network.parameters().into_iter().map(|p| {
                let values = device.download(p.value).into_iter().map(f32::to_bits).collect();
                (p.info.name.clone(), p.info.trainable, values)
            });
            all.collect()
        };
        let before = bits(&network);
        for step in 1..=3 {
            network.clear_gradients();
            network.forward_backward(&example.input(), &example.rows).unwrap();
            let norm = network.gradient_norm();
            optimiser.update(network.weights_mut(), step, 0.01, norm).unwrap();
        }
        for ((name, trainable, before), (_, _, after)) in before.iter().zip(bits(&network)) {
            assert_eq!(*trainable, !name.starts_with("model.layers.0."), "{name}");
            assert_eq!(*before != after, *trainable, "{name}");
        }
        let factor = |name: &str| {
            network.parameters().into_iter().find(|p| p.info.name.contains(name)).map(|p| p.info.learning_rate_factor)
        };
        assert_eq!(factor("embed_tokens"), Some(0.5));
        assert_eq!(factor("layers.1.mlp.up"), Some(0.25));
        assert_eq!(factor("layers.1.self_attn.q"), Some(1.0));
        let learnt: usize = before.iter().filter(|(_, trainable, _)| *trainable).map(|(_, _, v)| v.len()).sum();
        let device = network.device().clone();
        assert_eq!(optimiser.average.iter().map(|average| device.len(average)).sum::<usize>(), learnt);
        let moments = |moments: &Moments<Cpu<f32>>| match moments {
            Moments::AdamW { first, second } => (device.len(first) + device.len(second)) / 2,
            Moments::Muon { momentum } => device.len(momentum),
        };
        assert_eq!(optimiser.moments.iter().map(moments).sum::<usize>(), learnt);
    }

    #[test]
    fn parameters_after_one_and_three_steps_of_muon_agree_with_the_reference() {
        let text = "output = 'x'\n[data]\ntrain = [{ path = 'a' }]\nvalid = [{ path = 'b' }]\n\
            [optimiser]\nkind = 'muon'\nbeta2 = 0.95\nweight_decay = 0.1\nclip = 0.0\nema = 0.0";
        let recipe = Recipe::parse(text, &Overrides::default()).unwrap().resolve().unwrap().optimiser;
        for case in ["plain", "grouped_documents", "time_conditioning", "self_conditioning", "two_streams", "causal"] {
            let golden = Golden::load(case);
            let example = Example::golden(&golden);
            let mut network = Network::new(Cpu::<f64>::scalar(), example.spec.clone(), 0).unwrap();
            golden.write_parameters("parameter", &mut network);
            let mut optimiser = Optimiser::new(network.weights_mut(), &recipe).unwrap();
            let mut comparison = Comparison::new();
            for step in 1..=3 {
                network.clear_gradients();
                network.forward_backward(&example.input(), &example.rows).unwrap();
                let norm = network.gradient_norm();
                optimiser.update(network.weights_mut(), step, 0.01, norm).unwrap();
                if step != 2 {
                    golden.check_parameters(&format!("muon{step}"), &network, 1e-8, &mut comparison);
                }
            }
            comparison.finish();
        }
    }
}

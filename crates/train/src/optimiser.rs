//! Which rule updates which parameter, the moments that the rules keep, and the averaged weights.
//!
//! Parameters are divided into groups: what does not learn has no moments and no average, and each group has a factor of
//! the learning rate (`embedding_rate` is that of word vectors and head).
//!
//! Matrices inside the layers follow Muon or AdamW with decoupled weight decay, and adapters AdamW with it; word vectors,
//! head and vectors (norms, biases) follow AdamW without decay, because pulling a rare word's vector to zero between two of
//! its uses is no regularisation. The average is `e ← β e + (1 − β) w` with `β = min(ema, (1 + step) / (10 + step))`, so that the
//! first random weights do not linger in it.
//!
//! Several ranks may shard the states (`optimiser.shard`): each holds the moments and averages of its [`Shards`] only, updates
//! these, and gets the other weights from the ranks that updated them. What is saved is the same as without.

use crate::TrainError;
use crate::muon::{Muon, MuonState, Scratch};
use crate::parallel::{Exchange, Piece, Ranks, Shards};
use crate::recipe::{OptimiserKind, OptimiserRecipe};
use aquatint_checkpoint::{CheckpointError, Exact, RunState, Tensor, quantised_state};
use aquatint_compute::{AdamW, AdamWState, AdamWUpdate, Device, DeviceError, Element, Part, ScaleAdd};
use aquatint_network::{Parameter, ParameterInfo, Role, TensorData, Weights};
use std::collections::BTreeMap;

/// The rule that updates a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    AdamW,
    Muon,
}

impl Rule {
    /// That of a parameter with this role and shape.
    pub(crate) fn of(kind: OptimiserKind, role: Role, shape: &[usize]) -> Self {
        match (kind, role, shape) {
            (OptimiserKind::Muon, Role::Matrix, [_, _]) => Self::Muon,
            _ => Self::AdamW,
        }
    }

    /// What its moments are called where they are saved.
    pub(crate) fn moments(self) -> &'static [&'static str] {
        match self {
            Self::AdamW => &["first", "second"],
            Self::Muon => &["momentum"],
        }
    }

    /// Whether one rank has to have all of a parameter, also where states are sharded: a matrix that is orthogonalised, and
    /// vectors that are brought back to length 1.
    pub(crate) fn takes_whole(self, role: Role) -> bool {
        self == Self::Muon || role == Role::UnitVectors
    }
}

/// One update.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update {
    /// Counted from 1.
    pub(crate) step: u64,
    pub(crate) learning_rate: f64,
    /// The gradient's.
    pub(crate) norm: f64,
}

/// The state of a rule for what this rank updates of one parameter.
#[derive(Debug)]
struct State<D: Device> {
    piece: Piece,
    moments: Moments<D>,
    /// None where no averages are kept.
    average: Option<D::Buffer>,
}

#[derive(Debug)]
enum Moments<D: Device> {
    AdamW { first: D::Buffer, second: D::Buffer },
    Muon { momentum: D::Buffer },
}

impl<D: Device> State<D> {
    /// The buffers to save, each with the name that it is saved under.
    fn buffers(&mut self) -> Vec<(&'static str, &mut D::Buffer)> {
        let mut buffers = match &mut self.moments {
            Moments::AdamW { first, second } => vec![("first", first), ("second", second)],
            Moments::Muon { momentum } => vec![("momentum", momentum)],
        };
        buffers.extend(self.average.as_mut().map(|average| (AVERAGE, average)));
        buffers
    }
}

/// What averages are saved as.
const AVERAGE: &str = "average";

/// The optimisers' state for a whole network, or for the shard of a rank.
#[derive(Debug)]
pub(crate) struct Optimiser<D: Device> {
    recipe: OptimiserRecipe,
    /// Of the parameters that learn.
    shards: Shards,
    is_sharded: bool,
    /// In the order of the parameters.
    states: Vec<State<D>>,
    scratch: BTreeMap<(usize, usize), Scratch<D>>,
}

impl<D: Device> Optimiser<D> {
    /// Divides the network's parameters into the groups of the recipe; the moments of those that learn begin at zero.
    pub(crate) fn new(
        weights: &mut Weights<D>,
        recipe: &OptimiserRecipe,
        ranks: &dyn Ranks,
    ) -> Result<Self, TrainError> {
        weights.set_groups(&recipe.parameter_groups()?)?;
        let device = weights.device();
        let trained: Vec<_> = weights.parameters().into_iter().filter(|parameter| parameter.info.trainable).collect();
        let rule = |info: &ParameterInfo| Rule::of(recipe.kind, info.role, &info.shape);
        let extent = |parameter: &Parameter<'_, &D::Buffer>| {
            (device.len(parameter.value), rule(parameter.info).takes_whole(parameter.info.role))
        };
        let extents: Vec<(usize, bool)> = trained.iter().map(extent).collect();
        let shards = Shards::new(&extents, ranks.size());
        let is_sharded = recipe.shard && ranks.size() > 1;
        let own = match is_sharded {
            true => shards.of_ranks()[ranks.rank()].clone(),
            false => Shards::new(&extents, 1).of_ranks()[0].clone(),
        };
        let (mut states, mut of_shape) = (Vec::new(), BTreeMap::new());
        for piece in own {
            let Parameter { info, value, .. } = &trained[piece.parameter];
            let length = piece.range.len();
            let moments = match (rule(info), info.shape.as_slice()) {
                (Rule::Muon, &[rows, columns]) => {
                    *of_shape.entry((rows, columns)).or_insert(0) += 1;
                    Moments::Muon { momentum: device.zeros(length)? }
                }
                _ => Moments::AdamW { first: device.zeros(length)?, second: device.zeros(length)? },
            };
            let average = if recipe.ema > 0.0 { Some(piece.cut(device, value)?) } else { None };
            states.push(State { piece, moments, average });
        }
        let mut scratch = BTreeMap::new();
        for (shape, count) in of_shape {
            scratch.insert(shape, Scratch::new(device, shape, count)?);
        }
        Ok(Self { recipe: recipe.clone(), shards, is_sharded, states, scratch })
    }

    /// Which rank has the sums of which gradients.
    pub(crate) fn shards(&self) -> &Shards {
        &self.shards
    }

    /// Whether this rank has the states of its shard only. Then all ranks have to call together what takes `ranks`.
    pub(crate) fn is_sharded(&self) -> bool {
        self.is_sharded
    }

    /// Bytes of the moments and averages that this rank has.
    pub(crate) fn bytes(&mut self, device: &D) -> usize {
        let buffers = self.states.iter_mut().flat_map(State::buffers);
        buffers.map(|(_, buffer)| device.len(buffer) * device.dtype(buffer).bytes()).sum()
    }

    /// One update.
    ///
    /// # Errors
    /// When the device lacks the memory, or a rank went away.
    pub(crate) fn update(
        &mut self,
        weights: &mut Weights<D>,
        ranks: &dyn Ranks,
        Update { step, learning_rate: rate, norm }: Update,
    ) -> Result<(), TrainError> {
        let recipe = &self.recipe;
        let gradient_scale = if recipe.clip > 0.0 && norm > recipe.clip { recipe.clip / norm } else { 1.0 };
        let device = weights.device().clone();
        let mut of_shape: BTreeMap<(usize, usize), Vec<MuonState<'_, D>>> = BTreeMap::new();
        let mut updates = Vec::new();
        let mut states = self.states.iter_mut().peekable();
        for (index, parameter) in weights.trained_parameters_mut().into_iter().enumerate() {
            let Some(State { piece, moments, .. }) = states.next_if(|state| state.piece.parameter == index) else {
                continue;
            };
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
                    if piece.is_whole(&device, parameter.value) {
                        let state = AdamWState { first, second, parameter: parameter.value };
                        updates.push(AdamWUpdate { step: update, gradient: parameter.gradient, state });
                    } else {
                        let gradient = piece.cut(&device, parameter.gradient)?;
                        let mut value = piece.cut(&device, parameter.value)?;
                        let state = AdamWState { first, second, parameter: &mut value };
                        device.adamw(update, gradient_scale, &gradient, state);
                        piece.paste(&device, &value, parameter.value);
                    }
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
        let trained: Vec<_> = weights.parameters().into_iter().filter(|parameter| parameter.info.trainable).collect();
        let averages = self.states.iter_mut().filter_map(|State { piece, average, .. }| {
            let (first, len) = (piece.range.start, piece.range.len());
            let x = Part { buffer: trained[piece.parameter].value, first, len };
            average.as_mut().map(|y| ScaleAdd { a: 1.0 - decay, x, b: decay, y })
        });
        device.scale_add_all(&mut averages.collect::<Vec<_>>())?;
        // A mean of unit vectors is shorter than they are. One rank has all of them.
        if trained.iter().any(|parameter| parameter.info.role == Role::UnitVectors) {
            self.swap_own(weights)?;
            weights.normalise_word_vectors();
            self.swap_own(weights)?;
        }
        self.gather(weights, ranks)
    }

    /// Brings the weights that each rank has updated to all.
    fn gather(&self, weights: &mut Weights<D>, ranks: &dyn Ranks) -> Result<(), TrainError> {
        if !self.is_sharded {
            return Ok(());
        }
        let device = weights.device().clone();
        let values = weights.trained_parameters_mut().into_iter().map(|parameter| parameter.value);
        let mut values: Vec<_> = values.enumerate().collect();
        Exchange { ranks, device: &device, shards: &self.shards }.all_gather(&mut values)
    }

    /// Exchanges what this rank has of the averages with the weights there.
    fn swap_own(&mut self, weights: &mut Weights<D>) -> Result<(), DeviceError> {
        let device = weights.device().clone();
        let mut trained = weights.trained_parameters_mut();
        for State { piece, average, .. } in &mut self.states {
            let (value, Some(average)) = (&mut *trained[piece.parameter].value, average) else { continue };
            if piece.is_whole(&device, value) {
                std::mem::swap(value, average);
            } else {
                let own = piece.cut(&device, value)?;
                piece.paste(&device, average, value);
                *average = own;
            }
        }
        Ok(())
    }

    /// Exchanges the network's weights with their average; the same call undoes it. Nothing happens without an average.
    ///
    /// # Errors
    /// When the device lacks the memory, or a rank went away.
    pub(crate) fn swap_ema(&mut self, weights: &mut Weights<D>, ranks: &dyn Ranks) -> Result<(), TrainError> {
        if self.recipe.ema > 0.0 {
            self.swap_own(weights)?;
            self.gather(weights, ranks)?;
        }
        Ok(())
    }

    /// Everything that a resumed run needs, without rounding; nothing but on rank 0 where it is sharded.
    ///
    /// # Errors
    /// When the device fails, or a rank went away.
    pub(crate) fn state(
        &mut self,
        weights: &mut Weights<D>,
        ranks: &dyn Ranks,
    ) -> Result<Vec<Tensor<Exact>>, TrainError> {
        let device = weights.device().clone();
        let exchange = Exchange { ranks, device: &device, shards: &self.shards };
        let keeps = !self.is_sharded || ranks.rank() == 0;
        let saves_base = !learns_beside(weights);
        let (mut tensors, mut index) = (Vec::new(), 0);
        let mut states = self.states.iter_mut().peekable();
        for Parameter { info, value, .. } in weights.parameters() {
            let mut keep = |prefix: &str, buffer: &D::Buffer| {
                if keeps {
                    let (name, shape) = (format!("{prefix}.{}", info.name), info.shape.clone());
                    tensors.push(Tensor { name, shape, values: exact(&device.download(buffer)) });
                }
            };
            if info.trainable {
                let own = states.next_if(|state| state.piece.parameter == index);
                let own = own.map(|state| (state.piece.clone(), state.buffers()));
                let rule = Rule::of(self.recipe.kind, info.role, &info.shape);
                let average = (self.recipe.ema > 0.0).then_some(AVERAGE);
                // A rank that has any of a parameter has all of these of it, in this order.
                for (place, &prefix) in rule.moments().iter().chain(&average).enumerate() {
                    match &own {
                        Some((_, buffers)) if !self.is_sharded => keep(prefix, &*buffers[place].1),
                        own => {
                            let mut whole = device.zeros(device.len(value))?;
                            if let Some((piece, buffers)) = own {
                                piece.paste(&device, &*buffers[place].1, &mut whole);
                            }
                            exchange.all_gather(&mut [(index, &mut whole)])?;
                            keep(prefix, &whole);
                        }
                    }
                }
                index += 1;
            }
            // What is kept in other numbers is no buffer of the device's own.
            if info.precision.is_none() && (info.trainable || saves_base) {
                keep("value", value);
            }
        }
        let compressed = if keeps { compressed(weights) } else { Vec::new() };
        for ParameterInfo { name, shape, .. } in compressed {
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
        let read = |prefix: &str, ParameterInfo { name, shape, .. }: &ParameterInfo, piece: Option<&Piece>| {
            let values = state.tensor(&format!("{prefix}.{name}"), shape.iter().product())?;
            let (first, len) = piece.map_or((0, values.len()), |piece| (piece.range.start, piece.range.len()));
            let values = values.iter().skip(first).take(len).map(D::Element::from_f64);
            Ok::<Vec<D::Element>, CheckpointError>(values.collect())
        };
        let saves_base = !learns_beside(weights);
        let (mut states, mut index) = (self.states.iter_mut().peekable(), 0);
        for Parameter { info, value, .. } in weights.parameters_mut() {
            if info.trainable {
                if let Some(own) = states.next_if(|state| state.piece.parameter == index) {
                    let piece = own.piece.clone();
                    for (prefix, buffer) in own.buffers() {
                        device.write(buffer, &read(prefix, info, Some(&piece))?);
                    }
                }
                index += 1;
            }
            if info.precision.is_none() && (info.trainable || saves_base) {
                device.write(value, &read("value", info, None)?);
            }
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
    use crate::parallel::Alone;
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
        let mut optimiser = Optimiser::new(network.weights_mut(), &recipe, &Alone).unwrap();
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
            optimiser.update(network.weights_mut(), &Alone, Update { step, learning_rate: 0.01, norm }).unwrap();
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
        let held = |name: &str, optimiser: &mut Optimiser<Cpu<f32>>| -> usize {
            let buffers = optimiser.states.iter_mut().flat_map(State::buffers);
            buffers.filter(|(held, _)| *held == name).map(|(_, buffer)| device.len(buffer)).sum()
        };
        let [average, first, second, momentum] =
            [AVERAGE, "first", "second", "momentum"].map(|name| held(name, &mut optimiser));
        assert_eq!((average, first + momentum, first), (learnt, learnt, second));
        assert_eq!(optimiser.bytes(&device), 4 * (average + first + second + momentum));
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
            let mut optimiser = Optimiser::new(network.weights_mut(), &recipe, &Alone).unwrap();
            let mut comparison = Comparison::new();
            for step in 1..=3 {
                network.clear_gradients();
                network.forward_backward(&example.input(), &example.rows).unwrap();
                let norm = network.gradient_norm();
                optimiser.update(network.weights_mut(), &Alone, Update { step, learning_rate: 0.01, norm }).unwrap();
                if step != 2 {
                    golden.check_parameters(&format!("muon{step}"), &network, 1e-8, &mut comparison);
                }
            }
            comparison.finish();
        }
    }
}

//! A network on a device.

use crate::compressed::Assignment;
use crate::expert_loads::ExpertLoads;
use crate::kv_cache::KvPool;
use crate::parameter_group::ParameterGroup;
use crate::reader::{HeadFormat, Reader, RowTargets, pass, row_cost};
use crate::row_query::{RowAnswer, RowQuery};
use crate::source::named;
use crate::tensor::Init;
use crate::weight_index::WeightIndex;
use crate::{
    Denoiser, ForwardPass, Learner, LossRow, NetworkError, NetworkInput, NetworkSpec, ParameterInfo, Role, TensorData,
    TensorSpec,
};
use aquatint_compute::{
    Device, Element, Gradients, Parameters, PreparedValues, ReadRow, RowCost, RowLoss, Tape, Value, softmax_row,
};
use aquatint_diffusion::{Cost, Key, LossTerm, WordVectors};
use std::sync::Arc;

/// A [`NetworkSpec`] with weights, on a device.
#[derive(Debug)]
pub struct Network<D: Device> {
    pub(crate) spec: NetworkSpec,
    pub(crate) tensors: Vec<TensorSpec>,
    pub(crate) parameters: Parameters<D>,
    pub(crate) weight_index: WeightIndex,
    /// Made when the network first learns.
    pub(crate) gradients: Option<Gradients<D>>,
    /// What stands for each gradient until then: nothing.
    pub(crate) no_gradients: Vec<D::Buffer>,
    recomputed: usize,
    /// What the cost of unlike loads of experts weighs.
    balance: f64,
    loads: ExpertLoads,
    /// The KV caches of all sequences.
    pool: Arc<KvPool<D>>,
    /// What each parameter is, and how it learns.
    pub(crate) parameter_infos: Vec<ParameterInfo>,
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
        let mut network = Self::empty(device.clone(), spec)?;
        for (index, tensor) in network.tensors.iter().enumerate() {
            network.parameters.set(index, device.upload(&values(tensor, network.tensors.len())?)?);
        }
        Ok(network)
    }

    /// A network with an empty place for each parameter.
    pub(crate) fn empty(device: D, spec: NetworkSpec) -> Result<Self, NetworkError> {
        spec.validate()?;
        let mut parameters = Parameters::new(device.clone());
        let (tensors, weight_index) = WeightIndex::declare(&spec, &mut parameters)?;
        let no_gradients = tensors.iter().map(|_| device.zeros(0)).collect::<Result<_, _>>()?;
        let pool = KvPool::of(parameters.device(), &spec);
        let loads = ExpertLoads::new(&spec);
        let parameter_infos = tensors.iter().map(ParameterInfo::new).collect();
        Ok(Self {
            spec,
            tensors,
            parameters,
            weight_index,
            gradients: None,
            no_gradients,
            recomputed: 0,
            balance: 0.0,
            loads,
            pool,
            parameter_infos,
        })
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

    /// Adds to what is learned from now on a cost of unlike loads of experts, which weighs so much in each pass; 0, as at
    /// first, for none. Routers with a bias have no such cost; see [`Tape::route`].
    pub fn balance_experts(&mut self, weight: f64) {
        self.balance = weight;
    }

    /// How many rows went to each expert while the network learned, since this was last called.
    pub fn take_expert_loads(&mut self) -> ExpertLoads {
        std::mem::replace(&mut self.loads, ExpertLoads::new(&self.spec))
    }

    fn reader(&self) -> Reader<'_, D> {
        let Self { spec, parameters, weight_index, pool, .. } = self;
        Reader { spec, parameters, weight_index, pool, head: HeadFormat::Trained }
    }

    /// The index of a parameter.
    fn find(&self, name: &str) -> Result<usize, NetworkError> {
        let found = self.tensors.iter().position(|tensor| tensor.name == name);
        found.ok_or_else(|| NetworkError::UnknownParameter { name: name.to_owned(), count: self.tensors.len() })
    }

    fn download(&self, buffer: &D::Buffer) -> Vec<f32> {
        self.device().download(buffer).into_iter().map(|value| value.to_f64() as f32).collect()
    }
}

impl<D: Device> Network<D> {
    /// What learning reads and adds to; `None` where no row is asked, after the input was checked.
    fn learning(&mut self, input: &NetworkInput<'_>, rows: usize) -> Result<Option<Learning<'_, D>>, NetworkError> {
        if rows == 0 {
            input.check(&self.spec)?;
            return Ok(None);
        }
        let Self { spec, weight_index, parameters, gradients, recomputed, balance, loads, pool, .. } = self;
        let gradients = match gradients {
            Some(gradients) => gradients,
            none => none.insert(Gradients::zeros(parameters)?),
        };
        let reader = Reader { spec, parameters, weight_index, pool, head: HeadFormat::Trained };
        Ok(Some(Learning { reader, gradients, recomputed: *recomputed, balance: *balance, loads }))
    }
}

/// What a pass that learns reads and adds to.
struct Learning<'a, D: Device> {
    reader: Reader<'a, D>,
    gradients: &'a mut Gradients<D>,
    /// Layers whose activations are recomputed.
    recomputed: usize,
    balance: f64,
    loads: &'a mut ExpertLoads,
}

impl<D: Device> Learning<'_, D> {
    /// Takes a pass over rows forward to their hidden states, and notes how they were spread over experts; `learn` takes it
    /// backward.
    fn pass<R>(
        self,
        input: &NetworkInput<'_>,
        rows: &[u32],
        learn: impl FnOnce(LearningPass<'_, '_, D>, &mut Gradients<D>) -> Result<R, NetworkError>,
    ) -> Result<R, NetworkError> {
        let Self { reader, gradients, recomputed, balance, loads } = self;
        pass(&reader, input, rows, |pass, visible| {
            let mut tape = Tape::recording(reader.parameters, recomputed).balancing(balance);
            let hidden = pass.hidden(&mut tape, visible)?;
            loads.add(tape.loads());
            let requested = pass.requested;
            learn(LearningPass { reader: &reader, tape, hidden, requested }, gradients)
        })
    }
}

/// A pass before its backward.
struct LearningPass<'p, 'r, D: Device> {
    reader: &'r Reader<'r, D>,
    tape: Tape<'p, D>,
    hidden: Value<D>,
    requested: &'r [u32],
}

impl<D: Device> Denoiser for Network<D> {
    fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    fn word_vectors(&self) -> Result<WordVectors, NetworkError> {
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
        self.reader().nll(input, rows)
    }

    fn costs(&self, input: &NetworkInput<'_>, terms: &[LossTerm]) -> Result<Vec<f64>, NetworkError> {
        self.reader().costs(input, terms)
    }

    fn kv_cache_bytes(&self, rows: usize) -> usize {
        self.pool.bytes(rows)
    }
}

impl<D: Device> Learner for Network<D> {
    fn forward_backward(&mut self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError> {
        let requested = RowTargets::new(&self.spec, rows)?;
        if self.weight_index.embedding.field.is_some() {
            // What points speak for is added row by row.
            let term = |&LossRow { row, target, weight }: &LossRow| {
                let cost = Cost::CrossEntropy;
                LossTerm { position: row as usize, target, weight, cost }
            };
            let costs = self.forward_backward_costs(input, &rows.iter().map(term).collect::<Vec<LossTerm>>())?;
            return Ok(costs.into_iter().map(|row| row.cost).collect());
        }
        let Some(learning) = self.learning(input, rows.len())? else { return Ok(Vec::new()) };
        learning.pass(input, &requested.rows, |LearningPass { reader, tape, hidden, .. }, gradients| {
            Ok(tape.learn_cross_entropy(hidden, reader.logit_head(None), requested.targets(), gradients)?)
        })
    }

    fn forward_backward_costs(
        &mut self,
        input: &NetworkInput<'_>,
        terms: &[LossTerm],
    ) -> Result<Vec<RowLoss>, NetworkError> {
        let requested = RowTargets::of_terms(&self.spec, terms)?;
        let costs: Vec<RowCost> = terms.iter().map(row_cost).collect();
        let Some(learning) = self.learning(input, terms.len())? else { return Ok(Vec::new()) };
        learning.pass(input, &requested.rows, |LearningPass { reader, tape, hidden, requested }, gradients| {
            let evidence = reader.evidence(input, requested)?;
            let (head, vectors) = (reader.logit_head(evidence.as_ref()), reader.token_vectors()?);
            Ok(tape.learn_costs(hidden, head, &costs, vectors, gradients)?)
        })
    }

    fn forward_backward_with(
        &mut self,
        input: &NetworkInput<'_>,
        rows: &[u32],
        cost: &ReadRow<'_>,
    ) -> Result<(), NetworkError> {
        let Some(learning) = self.learning(input, rows.len())? else { return Ok(()) };
        learning.pass(input, rows, |LearningPass { reader, tape, hidden, requested }, gradients| {
            let evidence = reader.evidence(input, requested)?;
            let read = |index: usize, logits: &mut [f32]| {
                softmax_row(logits);
                cost(index, logits);
            };
            Ok(tape.learn_rows(hidden, reader.logit_head(evidence.as_ref()), &read, gradients)?)
        })
    }

    fn normalise_word_vectors(&mut self) {
        let Some(size) = self.spec.word_vector_size else { return };
        let device = self.parameters.device().clone();
        for parameter in self.trained_parameters_mut() {
            if parameter.info.role == Role::UnitVectors {
                let mut vectors = device.download(parameter.value);
                for vector in vectors.chunks_exact_mut(size) {
                    let norm = vector.iter().map(|v| v.to_f64() * v.to_f64()).sum::<f64>().sqrt();
                    vector.iter_mut().for_each(|v| *v = D::Element::from_f64(v.to_f64() / norm));
                }
                device.write(parameter.value, &vectors);
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

    fn describe_device(&self) -> String {
        self.device().describe()
    }

    fn parameter_list(&self) -> Vec<ParameterInfo> {
        self.parameter_infos.clone()
    }

    fn set_groups(&mut self, groups: &[ParameterGroup]) -> Result<Vec<usize>, NetworkError> {
        let Assignment { parameters: infos, counts, compressed } = self.assign(groups)?;
        for &id in &self.weight_index.stacks {
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

    fn read_tensor(&self, name: &str) -> Result<TensorData, NetworkError> {
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

    fn read_parameter(&self, name: &str) -> Result<Vec<f32>, NetworkError> {
        self.read_tensor(name).map(TensorData::into_real)
    }

    fn write_parameter(&mut self, name: &str, values: &[f32]) -> Result<(), NetworkError> {
        let index = self.find(name)?;
        if let Some(precision) = self.parameter_infos[index].precision {
            let reason = "its values stay as they are".to_owned();
            return Err(NetworkError::Precision { name: name.to_owned(), precision, reason });
        }
        self.load(&mut |tensor| (tensor == name).then(|| values.to_vec()))
    }

    fn read_gradient(&self, name: &str) -> Result<Vec<f32>, NetworkError> {
        let index = self.find(name)?;
        let gradients = self.gradients.as_ref().map_or(&self.no_gradients[..], Gradients::buffers);
        Ok(self.download(&gradients[index]))
    }
}

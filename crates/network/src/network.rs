//! A network on a device.

use crate::expert_loads::ExpertLoads;
use crate::kv_cache::KvPool;
use crate::parameter_group::ParameterGroup;
use crate::reader::{HeadFormat, Reader, RowTargets, pad, pass};
use crate::row_query::{RowAnswer, RowQuery};
use crate::weight_index::WeightIndex;
use crate::{
    Denoiser, ForwardPass, Learner, LossRow, NetworkError, NetworkInput, NetworkSpec, Parameter, ParameterInfo,
    TensorData, Weights,
};
use aquatint_compute::{Device, Dropout, Gradients, Parameters, ReadRow, RowLoss, Tape, Value, softmax_row};
use aquatint_diffusion::{Cost, LossTerm, WordVectors};
use std::sync::Arc;

/// A [`NetworkSpec`] with weights, on a device. Where it has adapters, passes apply the first of them.
#[derive(Debug)]
pub struct Network<D: Device> {
    pub(crate) spec: NetworkSpec,
    pub(crate) weights: Weights<D>,
    pub(crate) weight_index: WeightIndex,
    recomputed: usize,
    /// What the cost of unlike loads of experts weighs.
    balance: f64,
    /// What the adapter drops of its inputs in the next passes that learn.
    dropout: Option<Dropout>,
    loads: ExpertLoads,
    /// The KV caches of all sequences.
    pool: Arc<KvPool<D>>,
}

impl<D: Device> Network<D> {
    /// A network with random weights; the same seed gives the same ones on every device.
    ///
    /// # Errors
    /// When the description cannot be, or the device lacks the memory.
    pub fn new(device: D, spec: NetworkSpec, seed: u64) -> Result<Self, NetworkError> {
        let mut network = Self::empty(device, spec)?;
        network.weights.draw(seed)?;
        Ok(network)
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
        let mut network = Self::empty(device, spec)?;
        network.weights.take(weights)?;
        Ok(network)
    }

    /// A network with an empty place for each parameter.
    pub(crate) fn empty(device: D, spec: NetworkSpec) -> Result<Self, NetworkError> {
        spec.validate()?;
        let mut parameters = Parameters::new(device);
        let (declared, weight_index) = WeightIndex::declare(&spec, &mut parameters)?;
        let pool = KvPool::of(parameters.device(), &spec);
        let loads = ExpertLoads::new(&spec);
        let weights = Weights::empty(parameters, declared)?;
        Ok(Self { spec, weights, weight_index, recomputed: 0, balance: 0.0, dropout: None, loads, pool })
    }

    /// Its tensors on the device.
    pub fn weights(&self) -> &Weights<D> {
        &self.weights
    }

    /// The same, to be trained or replaced.
    pub fn weights_mut(&mut self) -> &mut Weights<D> {
        &mut self.weights
    }

    /// Takes the weights that are given, by name, row-major; the others stay as they are.
    ///
    /// # Errors
    /// When a tensor has another length.
    pub fn load(&mut self, weights: &mut dyn FnMut(&str) -> Option<Vec<f32>>) -> Result<(), NetworkError> {
        self.weights.load(weights)
    }

    /// Where the network lives.
    pub fn device(&self) -> &D {
        self.weights.device()
    }

    /// Bytes that the weights take on the device.
    pub fn weight_bytes(&self) -> usize {
        self.weights.bytes()
    }

    /// See [`Weights::parameters`].
    pub fn parameters(&self) -> Vec<Parameter<'_, &D::Buffer>> {
        self.weights.parameters()
    }

    /// See [`Weights::parameters_mut`].
    pub fn parameters_mut(&mut self) -> Vec<Parameter<'_, &mut D::Buffer>> {
        self.weights.parameters_mut()
    }

    /// See [`Weights::trained_parameters_mut`].
    pub fn trained_parameters_mut(&mut self) -> Vec<Parameter<'_, &mut D::Buffer>> {
        self.weights.trained_parameters_mut()
    }

    /// See [`Weights::load_compressed`].
    ///
    /// # Errors
    /// When a tensor is missing or has another shape, or the device lacks the memory.
    pub fn load_compressed(&mut self, weights: &mut dyn FnMut(&str) -> Option<TensorData>) -> Result<(), NetworkError> {
        self.weights.load_compressed(weights)
    }

    /// Adds to what is learned from now on a cost of unlike loads of experts, which weighs so much in each pass; 0, as at
    /// first, for none. Routers with a bias have no such cost; see [`Tape::route`].
    pub fn balance_experts(&mut self, weight: f64) {
        self.balance = weight;
    }

    /// Has the adapter drop some of its inputs in the passes that learn from now on, as a function of the seed; `None`, as at
    /// first, for none.
    pub fn drop_adapter_inputs(&mut self, dropout: Option<Dropout>) {
        self.dropout = dropout;
    }

    /// How many rows went to each expert while the network learned, since this was last called.
    pub fn take_expert_loads(&mut self) -> ExpertLoads {
        std::mem::replace(&mut self.loads, ExpertLoads::new(&self.spec))
    }

    fn reader(&self) -> Reader<'_, D> {
        self.reader_with(first_adapter(&self.spec))
    }

    fn reader_with(&self, adapter: Option<usize>) -> Reader<'_, D> {
        let Self { spec, weights, weight_index, pool, .. } = self;
        Reader { spec, parameters: &weights.parameters, weight_index, pool, head: HeadFormat::Trained, adapter }
    }

    /// What learning reads and adds to; `None` where no row is asked, after the input was checked.
    fn learning(&mut self, input: &NetworkInput<'_>, rows: usize) -> Result<Option<Learning<'_, D>>, NetworkError> {
        if rows == 0 {
            input.check(&self.spec)?;
            return Ok(None);
        }
        let Self { spec, weight_index, weights, recomputed, balance, dropout, loads, pool } = self;
        let (parameters, gradients) = weights.learning()?;
        let adapter = first_adapter(spec);
        let reader = Reader { spec, parameters, weight_index, pool, head: HeadFormat::Trained, adapter };
        let (recomputed, balance, dropout) = (*recomputed, *balance, *dropout);
        Ok(Some(Learning { reader, gradients, recomputed, balance, dropout, loads }))
    }
}

/// The adapter that is applied where none is chosen.
pub(crate) fn first_adapter(spec: &NetworkSpec) -> Option<usize> {
    (!spec.adapters.is_empty()).then_some(0)
}

/// What a pass that learns reads and adds to.
struct Learning<'a, D: Device> {
    reader: Reader<'a, D>,
    gradients: &'a mut Gradients<D>,
    /// Layers whose activations are recomputed.
    recomputed: usize,
    balance: f64,
    dropout: Option<Dropout>,
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
        let Self { reader, gradients, recomputed, balance, dropout, loads } = self;
        pass(&reader, input, rows, |pass, visible| {
            let mut tape = Tape::recording(reader.parameters, recomputed).balancing(balance);
            tape = tape.adding(reader.adapter).dropping(dropout);
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

    fn token_gradients(
        &self,
        input: &NetworkInput<'_>,
        targets: &[LossRow],
        rows: &[u32],
    ) -> Result<Vec<f32>, NetworkError> {
        self.reader().token_gradients(input, targets, rows)
    }

    fn kv_cache_bytes(&self, rows: usize) -> usize {
        self.pool.bytes(rows)
    }
}

/// A network that does not apply its adapter.
struct WithoutAdapter<'a, D: Device>(&'a Network<D>);

impl<D: Device> Denoiser for WithoutAdapter<'_, D> {
    fn spec(&self) -> &NetworkSpec {
        &self.0.spec
    }

    fn word_vectors(&self) -> Result<WordVectors, NetworkError> {
        self.0.reader_with(None).word_vectors()
    }

    fn forward(
        &self,
        pass: ForwardPass<'_>,
        queries: &[RowQuery<'_>],
        read: &ReadRow<'_>,
    ) -> Result<Vec<RowAnswer>, NetworkError> {
        self.0.reader_with(None).forward(pass, queries, read)
    }

    fn nll(&self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError> {
        self.0.reader_with(None).nll(input, rows)
    }

    fn costs(&self, input: &NetworkInput<'_>, terms: &[LossTerm]) -> Result<Vec<f64>, NetworkError> {
        self.0.reader_with(None).costs(input, terms)
    }

    fn token_gradients(
        &self,
        input: &NetworkInput<'_>,
        targets: &[LossRow],
        rows: &[u32],
    ) -> Result<Vec<f32>, NetworkError> {
        self.0.reader_with(None).token_gradients(input, targets, rows)
    }

    fn kv_cache_bytes(&self, rows: usize) -> usize {
        self.0.kv_cache_bytes(rows)
    }
}

impl<D: Device> Learner for Network<D> {
    fn forward_backward(&mut self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError> {
        let mut requested = RowTargets::new(&self.spec, rows)?;
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
        requested.pad(learning.reader.padded_rows(rows.len()));
        let mut costs =
            learning.pass(input, &requested.rows, |LearningPass { reader, tape, hidden, .. }, gradients| {
                Ok(tape.learn_cross_entropy(hidden, reader.logit_head(None), requested.targets(), gradients)?)
            })?;
        costs.truncate(rows.len());
        Ok(costs)
    }

    fn forward_backward_costs(
        &mut self,
        input: &NetworkInput<'_>,
        terms: &[LossTerm],
    ) -> Result<Vec<RowLoss>, NetworkError> {
        let mut requested = RowTargets::of_terms(&self.spec, terms)?;
        let Some(learning) = self.learning(input, terms.len())? else { return Ok(Vec::new()) };
        let costs = learning.reader.padded_costs(terms, &mut requested);
        let mut paid =
            learning.pass(input, &requested.rows, |LearningPass { reader, tape, hidden, requested }, gradients| {
                let evidence = reader.evidence(input, requested)?;
                let (head, vectors) = (reader.logit_head(evidence.as_ref()), reader.token_vectors()?);
                Ok(tape.learn_costs(hidden, head, &costs, vectors, gradients)?)
            })?;
        paid.truncate(terms.len());
        Ok(paid)
    }

    fn forward_backward_with(
        &mut self,
        input: &NetworkInput<'_>,
        rows: &[u32],
        cost: &ReadRow<'_>,
    ) -> Result<(), NetworkError> {
        let Some(learning) = self.learning(input, rows.len())? else { return Ok(()) };
        let (wanted, mut rows) = (rows.len(), rows.to_vec());
        pad(&mut rows, learning.reader.padded_rows(wanted), Clone::clone);
        learning.pass(input, &rows, |LearningPass { reader, tape, hidden, requested }, gradients| {
            let evidence = reader.evidence(input, requested)?;
            let read = |index: usize, logits: &mut [f32]| {
                if index < wanted {
                    softmax_row(logits);
                    cost(index, logits);
                } else {
                    logits.fill(0.0);
                }
            };
            Ok(tape.learn_rows(hidden, reader.logit_head(evidence.as_ref()), &read, gradients)?)
        })
    }

    fn without_adapter(&self) -> Box<dyn Denoiser + '_> {
        Box::new(WithoutAdapter(self))
    }

    fn normalise_word_vectors(&mut self) {
        self.weights.normalise_word_vectors();
    }

    fn clear_gradients(&mut self) {
        self.weights.clear_gradients();
    }

    fn gradient_norm(&self) -> f64 {
        self.weights.gradient_norm()
    }

    fn recompute_activations(&mut self, layers: usize) {
        self.recomputed = layers;
    }

    fn describe_device(&self) -> String {
        self.device().describe()
    }

    fn parameter_list(&self) -> Vec<ParameterInfo> {
        self.weights.parameter_list()
    }

    fn set_groups(&mut self, groups: &[ParameterGroup]) -> Result<Vec<usize>, NetworkError> {
        self.weights.set_groups(groups)
    }

    fn read_tensor(&self, name: &str) -> Result<TensorData, NetworkError> {
        self.weights.read_tensor(name)
    }

    fn read_parameter(&self, name: &str) -> Result<Vec<f32>, NetworkError> {
        self.weights.read_parameter(name)
    }

    fn write_parameter(&mut self, name: &str, values: &[f32]) -> Result<(), NetworkError> {
        self.weights.write_parameter(name, values)
    }

    fn read_gradient(&self, name: &str) -> Result<Vec<f32>, NetworkError> {
        self.weights.read_gradient(name)
    }
}

//! A network that will learn nothing more: each matrix is kept in one form only, that in which it is multiplied.

use crate::kv_cache::KvPool;
use crate::layers::{Declared, ReadRows, StoredRows};
use crate::network::first_adapter;
use crate::reader::{HeadFormat, Reader};
use crate::row_query::{RowAnswer, RowQuery};
use crate::source::{Source, fits, prepare};
use crate::weight_index::WeightIndex;
use crate::{Denoiser, ForwardPass, LossRow, NetworkError, NetworkInput, NetworkSpec, TensorData, TensorSpec};
use aquatint_compute::{Device, DeviceError, Parameters, ReadRow, WeightFormat, WeightId};
use aquatint_diffusion::{LossTerm, WordVectors};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Reads a tensor by its name here, or says why it cannot be read.
pub type ReadTensor = dyn Fn(&str) -> Result<TensorData, String> + Send + Sync;

/// Where the matrices of experts are read from when rows are routed to them.
#[derive(Clone)]
pub struct ExpertSource {
    /// Bytes that prepared matrices of experts take at most; those that are read most stay.
    pub memory: usize,
    /// Reads a matrix.
    pub read: Arc<ReadTensor>,
}

impl fmt::Debug for ExpertSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpertSource").field("memory", &self.memory).finish_non_exhaustive()
    }
}

/// What is read from where it is stored when a pass needs it, and is not in memory as a whole.
#[derive(Clone, Default)]
pub struct StoredWeights {
    /// Reads rows of the embedding table. A network that mixes them has the table in memory all the same, and so has one on
    /// a device with a memory of its own.
    pub table: Option<Arc<ReadRows>>,
    /// Where the matrices of experts are; `None` keeps all of them in memory.
    pub experts: Option<ExpertSource>,
}

impl fmt::Debug for StoredWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, experts } = self;
        f.debug_struct("StoredWeights").field("table", &table.is_some()).field("experts", experts).finish()
    }
}

/// A [`NetworkSpec`] with weights that stay as they are, on a device. Where it has adapters, passes apply the first of them;
/// [`InferenceNetwork::with_adapter`] chooses.
#[derive(Debug)]
pub struct InferenceNetwork<D: Device> {
    shared: Arc<SharedNetwork<D>>,
    /// The adapter that passes apply, by its index.
    adapter: Option<usize>,
}

/// What a network has in common with itself under other adapters.
#[derive(Debug)]
struct SharedNetwork<D: Device> {
    spec: NetworkSpec,
    parameters: Parameters<D>,
    weight_index: WeightIndex,
    /// The KV caches of all sequences.
    pool: Arc<KvPool<D>>,
}

impl<D: Device> InferenceNetwork<D> {
    /// A network whose matrices are kept in `format`; those that are quantised already stay as they are. With four
    /// bits, the head has eight: what it loses, nothing behind it makes good.
    ///
    /// # Errors
    /// When the description cannot be, a tensor is missing or has another shape, a matrix cannot be quantised (it has
    /// a NaN or an infinity, or the group does not divide its inputs), or the device lacks the memory.
    pub fn new(
        device: D,
        spec: NetworkSpec,
        format: WeightFormat,
        weights: &mut dyn FnMut(&str) -> Option<TensorData>,
    ) -> Result<Self, NetworkError> {
        Self::with_stored_weights(device, spec, format, &mut |name, _| weights(name), StoredWeights::default())
    }

    /// The same, but some weights are read when a pass needs them: the logits are the same to the bit. `weights` is given
    /// the format in which a tensor is kept besides its name, [`WeightFormat::F32`] for what is no matrix of a product, and
    /// may hand it over quantised so.
    ///
    /// # Errors
    /// As [`InferenceNetwork::new`]; what is wrong with stored weights is an error of the pass that reads them.
    pub fn with_stored_weights(
        device: D,
        spec: NetworkSpec,
        format: WeightFormat,
        weights: &mut dyn FnMut(&str, WeightFormat) -> Option<TensorData>,
        stored: StoredWeights,
    ) -> Result<Self, NetworkError> {
        let StoredWeights { table: stored_table, experts } = stored;
        spec.validate()?;
        let mut parameters = Parameters::new(device.clone());
        let (Declared { tensors, products, .. }, mut weight_index) = WeightIndex::declare(&spec, &mut parameters)?;
        let mut source = Source::new(&tensors, weights);
        let mut multiplied = vec![false; tensors.len()];
        products.iter().flat_map(|&id| parameters.parts(id)).for_each(|&part| multiplied[part] = true);
        let table = parameters.parts(weight_index.embedding.table).to_vec();
        let reads_mixtures = spec.reads_mixtures()?;
        let stored_table = stored_table.filter(|_| !reads_mixtures && parameters.device().is_host());
        // The largest tensors come first: while one is there twice, little else is.
        for (part, tensor) in tensors.iter().enumerate() {
            if table.contains(&part) && stored_table.is_some() {
                continue;
            }
            if table.contains(&part) && !reads_mixtures {
                source.set_compact(&mut parameters, (part, tensor))?;
            } else if table.contains(&part) || !multiplied[part] {
                source.set(&mut parameters, (part, tensor))?;
            }
        }
        let is_on_demand = |id: &WeightId| experts.is_some() && tensors[parameters.parts(*id)[0]].routed;
        let on_demand: BTreeSet<WeightId> = products.iter().copied().filter(is_on_demand).collect();
        for &id in products.iter().rev().filter(|id| !on_demand.contains(id)) {
            let format = match format {
                _ if parameters.is_exact(id) => WeightFormat::F32,
                WeightFormat::Int4 { .. } if id == weight_index.head.matrix => WeightFormat::Int8,
                format => format,
            };
            source.keep(&mut parameters, id, format)?;
        }
        if let Some(ExpertSource { memory, read }) = experts {
            let tensor = |id: &WeightId| (*id, tensors[parameters.parts(*id)[0]].clone());
            let of: BTreeMap<WeightId, TensorSpec> = on_demand.iter().map(tensor).collect();
            let device = parameters.device().clone();
            let prepare = move |id| read_expert(&device, &of[&id], &*read, format);
            parameters.prepare_on_demand(on_demand, memory, Box::new(prepare));
        }
        weight_index.embedding.stored = stored_table.map(StoredRows);
        // What is prepared only has no values to learn.
        (0..tensors.len()).for_each(|part| parameters.set_trainable(part, false));
        let pool = KvPool::of(parameters.device(), &spec);
        let adapter = first_adapter(&spec);
        Ok(Self { shared: Arc::new(SharedNetwork { spec, parameters, weight_index, pool }), adapter })
    }

    /// The same network, whose passes apply the adapter of this name, or none; weights are there once for all of them. A KV
    /// cache that was filled under one adapter holds for no other.
    ///
    /// # Errors
    /// When there is no adapter of that name.
    pub fn with_adapter(&self, name: Option<&str>) -> Result<Self, NetworkError> {
        let adapters = &self.shared.spec.adapters;
        let index = |name: &str| {
            let unknown = || NetworkError::UnknownAdapter {
                name: name.to_owned(),
                allowed: adapters.iter().map(|adapter| adapter.name.clone()).collect(),
            };
            adapters.iter().position(|adapter| adapter.name == name).ok_or_else(unknown)
        };
        let adapter = name.map(index).transpose()?;
        Ok(Self { shared: Arc::clone(&self.shared), adapter })
    }

    /// The device.
    pub fn device(&self) -> &D {
        self.shared.parameters.device()
    }

    /// Bytes that the weights take on the device, those of all adapters among them.
    pub fn weight_bytes(&self) -> usize {
        self.shared.parameters.bytes()
    }

    fn reader(&self) -> Reader<'_, D> {
        let SharedNetwork { spec, parameters, weight_index, pool } = &*self.shared;
        Reader { spec, parameters, weight_index, pool, head: HeadFormat::Prepared, adapter: self.adapter }
    }
}

/// Prepares the matrix of an expert from where it is stored.
fn read_expert<D: Device>(
    device: &D,
    tensor: &TensorSpec,
    read: &ReadTensor,
    format: WeightFormat,
) -> Result<D::Prepared, DeviceError> {
    let failed = |reason: String| DeviceError::Weight { name: tensor.name.clone(), reason };
    let data = read(&tensor.name).map_err(failed)?;
    if !fits(&data, &tensor.shape) {
        return Err(failed(format!("it has {} numbers, which is not the shape {:?}", data.len(), tensor.shape)));
    }
    prepare(device, tensor.rows_and_columns(), data, format)
}

impl<D: Device> Denoiser for InferenceNetwork<D> {
    fn spec(&self) -> &NetworkSpec {
        &self.shared.spec
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
        self.shared.pool.bytes(rows)
    }
}

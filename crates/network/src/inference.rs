//! A network that will learn nothing more: each matrix is kept in one form only, that in which it is multiplied.

use crate::kv_cache::KvPool;
use crate::reader::{HeadFormat, Reader};
use crate::row_query::{RowAnswer, RowQuery};
use crate::source::Source;
use crate::weight_index::WeightIndex;
use crate::{Denoiser, ForwardPass, LossRow, NetworkError, NetworkInput, NetworkSpec, TensorData};
use aquatint_compute::{Device, Parameters, ReadRow, WeightFormat};
use aquatint_diffusion::{LossTerm, WordVectors};
use std::sync::Arc;

/// A [`NetworkSpec`] with weights that stay as they are, on a device.
#[derive(Debug)]
pub struct InferenceNetwork<D: Device> {
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
        spec.validate()?;
        let mut parameters = Parameters::new(device.clone());
        let (tensors, weight_index) = WeightIndex::declare(&spec, &mut parameters)?;
        let mut source = Source::new(&tensors, weights);
        let products = &weight_index.products;
        let mut multiplied = vec![false; tensors.len()];
        products.iter().flat_map(|&id| parameters.parts(id)).for_each(|&part| multiplied[part] = true);
        let table = parameters.parts(weight_index.embedding.table).to_vec();
        let reads_mixtures =
            spec.self_conditioning.is_some() || spec.process()?.is_some_and(|process| process.reads_points());
        // The largest tensors come first: while one is there twice, little else is.
        for (part, tensor) in tensors.iter().enumerate() {
            if table.contains(&part) && !reads_mixtures {
                source.set_compact(&mut parameters, (part, tensor))?;
            } else if table.contains(&part) || !multiplied[part] {
                source.set(&mut parameters, (part, tensor))?;
            }
        }
        for &id in products.iter().rev() {
            let format = match format {
                _ if parameters.is_exact(id) => WeightFormat::F32,
                WeightFormat::Int4 { .. } if id == weight_index.head.matrix => WeightFormat::Int8,
                format => format,
            };
            source.keep(&mut parameters, id, format)?;
        }
        // What is prepared only has no values to learn.
        (0..tensors.len()).for_each(|part| parameters.set_trainable(part, false));
        let pool = KvPool::of(parameters.device(), &spec);
        Ok(Self { spec, parameters, weight_index, pool })
    }

    /// The device.
    pub fn device(&self) -> &D {
        self.parameters.device()
    }

    /// Bytes that the weights take on the device.
    pub fn weight_bytes(&self) -> usize {
        self.parameters.bytes()
    }

    fn reader(&self) -> Reader<'_, D> {
        let Self { spec, parameters, weight_index, pool } = self;
        Reader { spec, parameters, weight_index, pool, head: HeadFormat::Prepared }
    }
}

impl<D: Device> Denoiser for InferenceNetwork<D> {
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

//! A network that will learn nothing more: each matrix is kept in one form only, that in which it is multiplied.

use crate::kv_cache::KvPool;
use crate::reader::Reader;
use crate::row_query::{RowAnswer, RowQuery};
use crate::weight_index::WeightIndex;
use crate::{Denoiser, ForwardPass, LossRow, NetworkError, NetworkInput, NetworkSpec, TensorData, TensorSpec};
use aquatint_compute::{Device, DeviceError, Element, Parameters, Quantised, ReadRow, WeightFormat};
use aquatint_diffusion::LossTerm;
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

/// Where the tensors come from; each is asked for by name when it is its turn, so that no more than one matrix is ever
/// there twice.
struct Source<'a> {
    tensors: &'a [TensorSpec],
    give: &'a mut dyn FnMut(&str) -> Option<TensorData>,
}

impl Source<'_> {
    fn read(&mut self, index: usize) -> Result<TensorData, NetworkError> {
        let tensor = &self.tensors[index];
        let missing = || NetworkError::MissingTensor { name: tensor.name.clone(), count: self.tensors.len() };
        let data = (self.give)(&tensor.name).ok_or_else(missing)?;
        let shape_fits = match (&data, &tensor.shape[..]) {
            (TensorData::Real(values), shape) => values.len() == shape.iter().product::<usize>(),
            (TensorData::Quantised(matrix), shape) => [matrix.outputs(), matrix.inputs()] == *shape,
        };
        if shape_fits {
            Ok(data)
        } else {
            let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
            Err(NetworkError::TensorLength { name, given: data.len(), shape })
        }
    }

    /// The tensors one above the other; as integers where all of them are, with scales for groups as large.
    fn stack(&mut self, parts: &[usize]) -> Result<TensorData, NetworkError> {
        let mut all = parts.iter().map(|&part| self.read(part)).collect::<Result<Vec<_>, _>>()?;
        if all.len() == 1 {
            return Ok(all.remove(0));
        }
        let matrices: Option<Vec<&Quantised>> = all
            .iter()
            .map(|data| match data {
                TensorData::Quantised(matrix) => Some(matrix),
                TensorData::Real(_) => None,
            })
            .collect();
        match matrices.and_then(|matrices| Quantised::stack(&matrices)) {
            Some(matrix) => Ok(TensorData::Quantised(matrix)),
            None => Ok(TensorData::Real(all.into_iter().flat_map(TensorData::into_real).collect())),
        }
    }
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
        let mut source = Source { tensors: &tensors, give: weights };
        let products = &weight_index.products;
        for &id in products {
            let format = match format {
                WeightFormat::Int4 { .. } if id == weight_index.head.matrix => WeightFormat::Int8,
                format => format,
            };
            let retained = match source.stack(parameters.parts(id))? {
                TensorData::Quantised(matrix) => parameters.keep_quantised(id, matrix),
                TensorData::Real(values) => parameters.keep(id, &upload(&device, values)?, format),
            };
            retained.map_err(|error| match error {
                DeviceError::Quantised(source) => {
                    let name = tensors[parameters.parts(id)[0]].name.clone();
                    NetworkError::Quantised { name, source }
                }
                error => error.into(),
            })?;
        }
        let multiplied: Vec<usize> = products.iter().flat_map(|&id| parameters.parts(id).to_vec()).collect();
        let table = parameters.parts(weight_index.embedding.table).to_vec();
        for (part, tensor) in tensors.iter().enumerate() {
            if table.contains(&part) || !multiplied.contains(&part) {
                let value = upload(&device, tensor.restored(source.read(part)?.into_real()))?;
                parameters.set(part, value);
            }
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

    fn reader(&self) -> Reader<'_, D> {
        let Self { spec, parameters, weight_index, pool } = self;
        Reader { spec, parameters, weight_index, pool }
    }
}

impl<D: Device> Denoiser for InferenceNetwork<D> {
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
        self.reader().nll_by_row(input, rows)
    }

    fn costs(&self, input: &NetworkInput<'_>, terms: &[LossTerm]) -> Result<Vec<f64>, NetworkError> {
        self.reader().costs(input, terms)
    }

    fn kv_cache_bytes(&self, rows: usize) -> usize {
        self.pool.bytes(rows)
    }
}

fn upload<D: Device>(device: &D, values: Vec<f32>) -> Result<D::Buffer, NetworkError> {
    let values: Vec<D::Element> = values.into_iter().map(|value| D::Element::from_f64(f64::from(value))).collect();
    Ok(device.upload(&values)?)
}

//! Tensors on their way into a network: read one by one, stacked as products read them, kept in one form.

use crate::{NetworkError, TensorData, TensorSpec};
use aquatint_compute::{DType, Device, DeviceError, Element, Parameters, Quantised, WeightFormat, WeightId};

/// Where the tensors come from; each is asked for by name when it is its turn, so that no more than one matrix is ever
/// there twice.
pub(crate) struct Source<'a> {
    tensors: &'a [TensorSpec],
    give: &'a mut GiveTensor<'a>,
}

/// Gives a tensor by its name, and by the format in which it is kept: real numbers may come quantised so.
pub(crate) type GiveTensor<'a> = dyn FnMut(&str, WeightFormat) -> Option<TensorData> + 'a;

impl<'a> Source<'a> {
    pub(crate) fn new(tensors: &'a [TensorSpec], give: &'a mut GiveTensor<'a>) -> Self {
        Self { tensors, give }
    }

    /// A tensor as the numbers that it is kept in, or as others.
    fn read(&mut self, index: usize, format: WeightFormat) -> Result<TensorData, NetworkError> {
        let tensor = &self.tensors[index];
        let missing = || NetworkError::MissingTensor { name: tensor.name.clone(), count: self.tensors.len() };
        let data = (self.give)(&tensor.name, format).ok_or_else(missing)?;
        if fits(&data, &tensor.shape) {
            Ok(data)
        } else {
            let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
            Err(NetworkError::TensorLength { name, given: data.len(), shape })
        }
    }

    /// The tensors one above the other; as integers where all of them are, with scales for groups as large.
    fn stack(&mut self, parts: &[usize], format: WeightFormat) -> Result<TensorData, NetworkError> {
        let mut all = parts.iter().map(|&part| self.read(part, format)).collect::<Result<Vec<_>, _>>()?;
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

    /// Prepares a weight and keeps it in that form only; what is quantised already stays as it is, whatever the format.
    pub(crate) fn keep<D: Device>(
        &mut self,
        parameters: &mut Parameters<D>,
        id: WeightId,
        format: WeightFormat,
    ) -> Result<(), NetworkError> {
        let parts = parameters.parts(id).to_vec();
        let prepared = prepare(parameters.device(), parameters.shape(id), self.stack(&parts, format)?, format);
        parameters.keep_prepared(id, prepared.map_err(|error| named(error, &self.tensors[parts[0]]))?);
        Ok(())
    }

    /// Sets a parameter to its real numbers.
    pub(crate) fn set<D: Device>(
        &mut self,
        parameters: &mut Parameters<D>,
        (part, tensor): (usize, &TensorSpec),
    ) -> Result<(), NetworkError> {
        let value = upload(parameters.device(), tensor.restored(self.read(part, WeightFormat::F32)?.into_real()))?;
        parameters.set(part, value);
        Ok(())
    }

    /// Sets a parameter of which only rows are read to its real numbers, in bf16 where that changes none of them.
    pub(crate) fn set_compact<D: Device>(
        &mut self,
        parameters: &mut Parameters<D>,
        (part, tensor): (usize, &TensorSpec),
    ) -> Result<(), NetworkError> {
        let values = tensor.restored(self.read(part, WeightFormat::F32)?.into_real());
        let value = if fits_bf16(&values) {
            let device = parameters.device();
            let mut compact = device.uninitialised_as(DType::Bf16, values.len())?;
            device.write(&mut compact, &elements::<D>(values));
            compact
        } else {
            upload(parameters.device(), values)?
        };
        parameters.set(part, value);
        Ok(())
    }
}

/// A matrix as the device multiplies by it; what is quantised already stays as it is, whatever the format.
pub(crate) fn prepare<D: Device>(
    device: &D,
    shape: (usize, usize),
    data: TensorData,
    format: WeightFormat,
) -> Result<D::Prepared, DeviceError> {
    let values = match data {
        TensorData::Quantised(matrix) => return device.prepare_quantised(matrix),
        TensorData::Real(values) => values,
    };
    match format.integers() {
        // From the file's numbers at once: uploaded first, the largest matrix would be there twice more.
        Some((bits, group)) => {
            let matrix = Quantised::of(&values, shape, bits, group)?;
            drop(values);
            device.prepare_quantised(matrix)
        }
        None => device.prepare(shape, &device.upload(&elements::<D>(values))?, format),
    }
}

/// Whether a matrix has a shape.
pub(crate) fn fits(data: &TensorData, shape: &[usize]) -> bool {
    match data {
        TensorData::Real(values) => values.len() == shape.iter().product::<usize>(),
        TensorData::Quantised(matrix) => [matrix.outputs(), matrix.inputs()] == *shape,
    }
}

/// Whether bf16 holds all values as they are.
fn fits_bf16(values: &[f32]) -> bool {
    values.iter().fold(true, |all, value| all & (value.to_bits() & 0xffff == 0))
}

/// The error of a device, with the tensor that could not be quantised.
pub(crate) fn named(error: DeviceError, tensor: &TensorSpec) -> NetworkError {
    match error {
        DeviceError::Quantised(source) => NetworkError::Quantised { name: tensor.name.clone(), source },
        error => error.into(),
    }
}

fn upload<D: Device>(device: &D, values: Vec<f32>) -> Result<D::Buffer, NetworkError> {
    Ok(device.upload(&elements::<D>(values))?)
}

fn elements<D: Device>(values: Vec<f32>) -> Vec<D::Element> {
    values.into_iter().map(|value| D::Element::from_f64(f64::from(value))).collect()
}

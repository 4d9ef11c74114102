//! Writing weights of which some are quantised, in the layout that [`Quantisation`](crate::Quantisation) describes:
//! tensor by tensor, so that a folder of any size needs the memory of one tensor.

use crate::quantised_tensors::{PACKED, PER_WORD, SCALE, SHAPE};
use crate::safetensors_writer::{FORMAT, Part, SafetensorsWriter};
use crate::{CheckpointError, Storage, Tensor};
use aquatint_compute::{Bits, Quantised};
use aquatint_network::TensorData;
use safetensors::Dtype;
use std::borrow::Cow;
use std::path::Path;

/// A tensor that will be written.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedTensor {
    /// Name in the file.
    pub name: String,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// The bits of its integers and how many inputs share a scale; `None` is real numbers.
    pub integers: Option<(Bits, usize)>,
}

impl PlannedTensor {
    /// What it becomes in a file that keeps real numbers in `storage`: names, shapes and types.
    fn parts(&self, storage: Storage) -> Vec<(String, Vec<usize>, Dtype)> {
        let name = |suffix: &str| format!("{}{suffix}", self.name);
        match (self.integers, &self.shape[..]) {
            (Some((bits, group)), &[outputs, inputs]) => {
                let scales = (name(SCALE), vec![outputs, inputs / group.max(1)], Dtype::F32);
                match bits {
                    Bits::Eight => vec![(name(""), self.shape.clone(), Dtype::I8), scales],
                    Bits::Four => vec![
                        (name(PACKED), vec![outputs, inputs.div_ceil(PER_WORD)], Dtype::I32),
                        (name(SHAPE), vec![2], Dtype::I64),
                        scales,
                    ],
                }
            }
            _ => vec![(name(""), self.shape.clone(), storage.dtype())],
        }
    }

    /// The bytes of these parts.
    fn encode<'a>(&self, data: &'a TensorData, storage: Storage) -> Vec<Cow<'a, [u8]>> {
        let matrix = match data {
            TensorData::Real(values) => return vec![storage.encode(values).into()],
            TensorData::Quantised(matrix) => matrix,
        };
        let scales = Storage::F32.encode(matrix.scales()).into();
        match matrix.bits() {
            Bits::Eight => vec![matrix.packed_for_file(), scales],
            Bits::Four => {
                let shape = [matrix.outputs(), matrix.inputs()].map(|size| (size as i64).to_le_bytes());
                vec![matrix.packed_for_file(), shape.concat().into(), scales]
            }
        }
    }

    /// Numbers in the form that is planned; integers in other bits or groups are made anew.
    fn fit<'a>(&self, data: Cow<'a, TensorData>) -> Result<Cow<'a, TensorData>, CheckpointError> {
        let found = match &*data {
            TensorData::Real(_) => None,
            TensorData::Quantised(matrix) => Some((matrix.bits(), matrix.group())),
        };
        if found == self.integers {
            return Ok(data);
        }
        let values = data.into_owned().into_real();
        let (Some((bits, group)), &[outputs, inputs]) = (self.integers, &self.shape[..]) else {
            return Ok(Cow::Owned(TensorData::Real(values)));
        };
        let matrix = Quantised::of(&values, (outputs, inputs), bits, Some(group));
        matrix.map(|matrix| Cow::Owned(TensorData::Quantised(matrix))).map_err(|source| CheckpointError::Quantised {
            name: self.name.clone(),
            file: self.name.clone(),
            source,
        })
    }
}

/// Writes planned weights to a safetensors file, atomically. `give` is asked once for the numbers of each, by its index
/// and in this order. Real ones are rounded to `storage`; scales stay f32, so that every value is read as it was
/// quantised.
pub(crate) fn write_planned<'a>(
    path: &Path,
    tensors: &[PlannedTensor],
    storage: Storage,
    give: &mut dyn FnMut(usize) -> Result<Cow<'a, TensorData>, CheckpointError>,
) -> Result<(), CheckpointError> {
    let all: Vec<_> = tensors.iter().flat_map(|tensor| tensor.parts(storage)).collect();
    let parts: Vec<Part> = all.iter().map(|(name, shape, dtype)| Part { name, shape, dtype: *dtype }).collect();
    let mut writer = SafetensorsWriter::begin(path, &parts, FORMAT)?;
    let mut next = 0;
    for (index, tensor) in tensors.iter().enumerate() {
        let data = tensor.fit(give(index)?)?;
        for bytes in tensor.encode(&data, storage) {
            writer.put(next, &bytes)?;
            next += 1;
        }
    }
    writer.finish()
}

/// The same of weights that are in memory.
pub(crate) fn write_data(
    path: &Path,
    tensors: &[Tensor<&TensorData>],
    storage: Storage,
) -> Result<(), CheckpointError> {
    let planned = tensors.iter().map(|Tensor { name, shape, values }| {
        let integers = match values {
            TensorData::Real(_) => None,
            TensorData::Quantised(matrix) => Some((matrix.bits(), matrix.group())),
        };
        PlannedTensor { name: name.clone(), shape: shape.clone(), integers }
    });
    let give = &mut |index: usize| Ok(Cow::Borrowed(tensors[index].values));
    write_planned(path, &planned.collect::<Vec<_>>(), storage, give)
}

//! An adapter added to the matrices of its base, for programs that know no adapters.

use crate::save::save_planned;
use crate::{Checkpoint, CheckpointError, Description, PlannedTensor, Storage};
use aquatint_network::families;
use aquatint_network::{LowRankHalf, LowRankSpec, TensorData, TensorSpec};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

impl Checkpoint {
    /// Writes a folder that holds this model with its only adapter added to its matrices, `W + factor · up · down`, tensor by
    /// tensor, and with its learnt order, which may be there without an adapter. What is quantised becomes real numbers: what an adapter adds is mostly below a step of integers.
    ///
    /// # Errors
    /// When there is not one adapter, the checkpoint cannot be read, and as [`save`](crate::save).
    pub fn merge(&self, folder: &Path, storage: Storage) -> Result<(), CheckpointError> {
        let adapter = match &self.spec.adapters[..] {
            [adapter] => Some(adapter),
            [] if self.generation.order.is_some() => None,
            all => return Err(CheckpointError::NotOneAdapter { count: all.len() }),
        };
        self.check()?;
        let all: BTreeMap<String, TensorSpec> =
            self.spec.tensors().into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        let base = self.spec.without_adapters();
        let tensors = base.tensors();
        let planned: Vec<PlannedTensor> = tensors
            .iter()
            .map(|tensor| PlannedTensor {
                name: families::file_name(self.family, &tensor.name),
                shape: tensor.shape.clone(),
                integers: None,
            })
            .collect();
        let description = Description { spec: &base, ..self.description() };
        save_planned(folder, &description, (&planned, None), storage, &mut |index| {
            let tensor = &tensors[index];
            let mut values = self.read_tensor(tensor)?.into_real();
            let addition = adapter.and_then(|adapter| Some((adapter, adapter.matrices.get(&tensor.name)?)));
            if let Some((adapter, LowRankSpec { rank, factor })) = addition {
                let half = |half| self.read_tensor(&all[&adapter.tensor_name(&tensor.name, half)]);
                let (down, up) = (half(LowRankHalf::Down)?.into_real(), half(LowRankHalf::Up)?.into_real());
                let (_, columns) = tensor.rows_and_columns();
                for (row, up) in values.chunks_exact_mut(columns).zip(up.chunks_exact(*rank)) {
                    for (up, down) in up.iter().zip(down.chunks_exact(columns)) {
                        let factor = *factor as f32 * up;
                        row.iter_mut().zip(down).for_each(|(value, down)| *value += factor * down);
                    }
                }
            }
            Ok(Cow::Owned(TensorData::Real(values)))
        })
    }
}

//! What a checkpoint's weights take in memory when it is run, by the number format of its matrices.

use crate::Checkpoint;
use aquatint_compute::WeightFormat;
use aquatint_network::{Role, TensorSpec, families};

/// Bytes of a number, or of a scale, that is kept as it is.
const REAL: u64 = 4;

impl Checkpoint {
    /// Bytes that the weights take when matrices are kept in `format`. Matrices that are quantised in the files stay as
    /// they are; norms are f32, and word vectors bf16 or f32. Padding of prepared matrices is not counted.
    pub fn memory(&self, format: WeightFormat) -> u64 {
        self.memory_of(format, &|_| true)
    }

    /// Bytes of those that only rows read that are routed to an expert.
    pub fn expert_memory(&self, format: WeightFormat) -> u64 {
        self.memory_of(format, &|tensor| tensor.routed)
    }

    fn memory_of(&self, format: WeightFormat, counts: &dyn Fn(&TensorSpec) -> bool) -> u64 {
        let (tied, mixtures) = (self.spec.head.tied, self.spec.reads_mixtures().unwrap_or(false));
        let bytes = self.spec.tensors().into_iter().filter(counts).map(|tensor| {
            let numbers: u64 = tensor.shape.iter().map(|&size| size as u64).product();
            let rows = tensor.shape.first().map_or(1, |&rows| rows as u64);
            let name = families::file_name(self.family, &tensor.name);
            let multiplied = |format| match self.weights.bits(&name) {
                Some(bits) => {
                    let scheme = self.quantisation.as_ref().and_then(|quantisation| quantisation.scheme(bits));
                    let group = scheme.and_then(|scheme| scheme.group);
                    integers(bits.count() as u64, numbers, group.map_or(rows, |group| numbers / group.max(1) as u64))
                }
                None => prepared(format, numbers, rows),
            };
            // A table of which only rows are read stays in bf16 where it is kept so.
            let compact = !mixtures && self.weights.storage(&name).as_deref() == Some("BF16");
            let table = if compact { REAL / 2 } else { REAL } * numbers;
            match tensor.role {
                Role::Matrix => multiplied(format),
                Role::Head => multiplied(of_head(format)),
                Role::Embedding if tied => table + multiplied(of_head(format)),
                Role::Embedding => table,
                Role::UnitVectors | Role::Vector | Role::Router => REAL * numbers,
            }
        });
        bytes.sum()
    }
}

/// With four bits, the head has eight.
fn of_head(format: WeightFormat) -> WeightFormat {
    match format {
        WeightFormat::Int4 { .. } => WeightFormat::Int8,
        format => format,
    }
}

fn prepared(format: WeightFormat, numbers: u64, rows: u64) -> u64 {
    match format {
        WeightFormat::F32 => REAL * numbers,
        WeightFormat::Bf16 => REAL / 2 * numbers,
        WeightFormat::Int8 => integers(8, numbers, rows),
        WeightFormat::Int4 { group } => integers(4, numbers, numbers / group.max(1) as u64),
    }
}

fn integers(bits: u64, numbers: u64, scales: u64) -> u64 {
    (bits * numbers).div_ceil(8) + REAL * scales
}

//! What a checkpoint's weights take in memory when it is run, by the number format of its matrices.

use crate::Checkpoint;
use aquatint_compute::{Quantised, WeightFormat};
use aquatint_network::{Role, TensorSpec, families};

/// Bytes of a number, or of a scale, that is kept as it is.
const REAL: u64 = 4;

impl Checkpoint {
    /// Bytes that the weights take on the CPU when matrices are kept in `format`. Matrices that are quantised in the files
    /// stay as they are, norms are f32, and of the embedding table rows are read from the file, unless the network mixes
    /// them. Padding of prepared matrices is not counted.
    pub fn memory(&self, format: WeightFormat) -> u64 {
        self.memory_of(format, &|_| true)
    }

    /// Bytes of those that only rows read that are routed to an expert.
    pub fn expert_memory(&self, format: WeightFormat) -> u64 {
        self.memory_of(format, &|tensor| tensor.routed)
    }

    /// Bytes that the embedding table takes besides on a device with a memory of its own: bf16 or f32.
    pub fn table_memory(&self) -> u64 {
        let tables = self.spec.tensors().into_iter().filter(|tensor| tensor.role == Role::Embedding);
        tables.filter(|tensor| self.has_stored_rows(tensor)).map(|tensor| self.whole_table(&tensor)).sum()
    }

    /// The columns of the first matrix that `format` cannot hold, as the inputs that share a scale do not divide them.
    pub fn undivided_columns(&self, format: WeightFormat) -> Option<usize> {
        let (_, group) = format.integers()?;
        let group = group?;
        let is_converted = |tensor: &TensorSpec| {
            tensor.role == Role::Matrix && self.weights.bits(&families::file_name(self.family, &tensor.name)).is_none()
        };
        let columns = self.spec.tensors().into_iter().filter(is_converted).map(|tensor| tensor.rows_and_columns().1);
        columns.into_iter().find(|&columns| !Quantised::has_whole_groups(columns, group))
    }

    /// Whether rows of the embedding table are read from the file.
    fn has_stored_rows(&self, table: &TensorSpec) -> bool {
        let name = families::file_name(self.family, &table.name);
        !self.spec.reads_mixtures().unwrap_or(false) && self.weights.has_rows(&name)
    }

    /// Bytes of an embedding table in memory.
    fn whole_table(&self, table: &TensorSpec) -> u64 {
        let name = families::file_name(self.family, &table.name);
        let mixtures = self.spec.reads_mixtures().unwrap_or(false);
        // A table of which only rows are read stays in bf16 where it is kept so.
        let compact = !mixtures && self.weights.storage(&name).as_deref() == Some("BF16");
        if compact { REAL / 2 * table.len() as u64 } else { REAL * table.len() as u64 }
    }

    fn memory_of(&self, format: WeightFormat, counts: &dyn Fn(&TensorSpec) -> bool) -> u64 {
        let tied = self.spec.head.tied;
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
            let table = || if self.has_stored_rows(&tensor) { 0 } else { self.whole_table(&tensor) };
            match tensor.role {
                Role::Matrix => multiplied(format),
                Role::Head => multiplied(of_head(format)),
                Role::Embedding if tied => table() + multiplied(of_head(format)),
                Role::Embedding => table(),
                Role::UnitVectors | Role::Vector | Role::Router | Role::Adapter => REAL * numbers,
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

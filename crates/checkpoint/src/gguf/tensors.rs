//! Tensors of a GGUF file under the names of their family, in the order of rows that the family has.

use super::blocks::BlockType;
use super::header::{Header, TensorPlace};
use crate::CheckpointError;
use aquatint_compute::{Bits, Quantised, QuantisedError};
use aquatint_network::families::gguf::Architecture;
use aquatint_network::families::{self, Family};
use aquatint_network::{NetworkError, NetworkSpec};
use std::ops::Range;

/// A tensor, or some rows of one.
#[derive(Debug, Clone)]
pub(crate) struct GgufTensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    /// Where it begins in the file.
    pub(crate) start: usize,
    /// Bytes.
    pub(crate) length: usize,
    kind: BlockType,
    /// Rows of a head, where the two halves of each head are interleaved.
    interleaved: Option<usize>,
}

/// All tensors by the names of their family.
pub(super) fn placed(
    header: &Header,
    family: &dyn Family,
    spec: &NetworkSpec,
    architecture: Architecture,
) -> Result<Vec<GgufTensor>, CheckpointError> {
    let mut placed = Vec::new();
    for tensor in &header.tensors {
        // What turns positions to angles is computed here.
        if tensor.name == "rope_freqs.weight" {
            continue;
        }
        if let Some(name) = Architecture::experts(&tensor.name) {
            let [experts, rows, columns] = tensor.shape[..] else {
                let shape = tensor.shape.clone();
                return Err(NetworkError::TensorLength { name: tensor.name.clone(), given: shape.len(), shape }.into());
            };
            let length = tensor.length / experts;
            placed.extend((0..experts).map(|expert| GgufTensor {
                name: families::file_name(family, &name(expert)),
                shape: vec![rows, columns],
                start: tensor.start + expert * length,
                length,
                kind: tensor.kind,
                interleaved: None,
            }));
            continue;
        }
        let whole = Architecture::tensor(&tensor.name);
        let name = whole.map_or_else(|| tensor.name.clone(), |name| families::file_name(family, &name));
        let interleaved = architecture.interleaved(&tensor.name, spec);
        let TensorPlace { shape, kind, start, length, .. } = tensor.clone();
        placed.push(GgufTensor { name, shape, start, length, kind, interleaved });
    }
    Ok(placed)
}

impl GgufTensor {
    /// How its numbers are kept.
    pub(crate) fn storage(&self) -> &'static str {
        self.kind.name()
    }

    /// Whether it is kept as integers.
    pub(crate) fn is_quantised(&self) -> bool {
        self.kind.numbers() > 1
    }

    /// In how many bits its integers stay, if they do. Only matrices are multiplied.
    pub(crate) fn bits(&self) -> Option<Bits> {
        self.kind.bits().filter(|_| self.shape.len() == 2)
    }

    /// The real numbers that its bytes stand for, row-major, as f32; some may not be finite.
    pub(crate) fn real(&self, bytes: &[u8]) -> Vec<f32> {
        let mut numbers = Vec::with_capacity(self.shape.iter().product());
        self.rows(bytes).for_each(|row| self.kind.decode(row, &mut numbers));
        numbers
    }

    /// Its integers as they are.
    pub(crate) fn quantised(&self, bits: Bits, bytes: &[u8]) -> Result<Quantised, QuantisedError> {
        let (outputs, inputs) = (self.shape[0], self.shape[1]);
        self.kind.quantised(bits, (outputs, inputs), self.rows(bytes))
    }

    /// The real numbers of some of its rows; some may not be finite.
    pub(crate) fn decoded(&self, rows: &[u8]) -> Vec<f32> {
        let mut numbers = Vec::new();
        self.kind.decode(rows, &mut numbers);
        numbers
    }

    /// The integers of some of its rows.
    pub(crate) fn quantised_rows(
        &self,
        bits: Bits,
        shape: (usize, usize),
        rows: &[u8],
    ) -> Result<Quantised, QuantisedError> {
        self.kind.quantised(bits, shape, std::iter::once(rows))
    }

    /// Where a row lies in its bytes: row `j·d/2 + i` of a head of `d` is row `2i + j` of the file.
    pub(crate) fn row(&self, row: usize) -> Range<usize> {
        let (_, size) = self.row_count_and_size();
        let at = match self.interleaved {
            Some(head) => {
                let (first, within) = (row / head * head, row % head);
                first + 2 * (within % (head / 2)) + within / (head / 2)
            }
            None => row,
        };
        at * size..(at + 1) * size
    }

    /// How many rows there are, and bytes of each. A vector's rows are its numbers, where it is interleaved.
    fn row_count_and_size(&self) -> (usize, usize) {
        let count = if self.shape.len() > 1 { self.shape[0] } else { 1 };
        let numbers = self.shape.iter().product::<usize>() / count.max(1);
        let (count, numbers) = match self.interleaved {
            Some(_) if self.shape.len() == 1 => (numbers, 1),
            _ => (count, numbers),
        };
        (count, numbers / self.kind.numbers() * self.kind.bytes())
    }

    /// Its rows in the order that the family has.
    fn rows<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let (count, _) = self.row_count_and_size();
        (0..count).map(|row| &bytes[self.row(row)])
    }
}

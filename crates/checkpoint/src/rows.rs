//! Tensors that are read row by row: some rows of a table, or all of them quantised piece by piece.

use crate::storage::{Undecodable, decode, first_not_finite};
use crate::weights::Weights;
use crate::{CheckpointError, Quantisation};
use aquatint_compute::{Bits, Quantised, QuantisedError};

/// Bytes of rows that are quantised at a time, so that they are still in the second cache when they are.
const PIECE: usize = 1 << 18;

impl Weights {
    /// Whether [`Weights::read_rows`] reads a tensor: not if the words of other tools hold it, which mix its rows.
    pub fn has_rows(&self, name: &str) -> bool {
        self.packed(name).is_none()
    }

    /// Rows of a matrix of this shape, one after the other, to the bit as [`Weights::read_data`] has them.
    ///
    /// # Errors
    /// As [`Weights::read_data`], of these rows; and when there is no such row.
    pub fn read_rows(
        &self,
        name: &str,
        shape: &[usize],
        quantisation: Option<&Quantisation>,
        rows: &[u32],
    ) -> Result<Vec<f32>, CheckpointError> {
        self.check(name, shape, quantisation)?;
        let (count, inputs) = match *shape {
            [count, inputs] => (count, inputs),
            _ => (1, shape.iter().product()),
        };
        if let Some(row) = rows.iter().find(|row| **row as usize >= count) {
            return Err(CheckpointError::NoRow { name: name.to_owned(), row: *row, count });
        }
        if let Some(tensor) = self.gguf(name) {
            let mut bytes = Vec::new();
            for row in rows {
                self.append(name, tensor.row(*row as usize), &mut bytes)?;
            }
            let values = match tensor.bits() {
                Some(bits) => {
                    let matrix = tensor.quantised_rows(bits, (rows.len(), inputs), &bytes);
                    matrix.map_err(|source| self.refused(name, bits, source))?.dequantise()
                }
                None => tensor.decoded(&bytes),
            };
            return match first_not_finite(&values) {
                Some(found) => Err(self.undecodable(name, found)),
                None => Ok(values),
            };
        }
        if let Some(bits) = self.bits(name) {
            return self.read_integer_rows((name, bits), shape, quantisation, rows);
        }
        let mut values = Vec::with_capacity(rows.len() * inputs);
        let (dtype, length) = self.kind(name)?;
        let size = length / count.max(1);
        let mut bytes = Vec::with_capacity(size);
        for row in rows {
            bytes.clear();
            let row = *row as usize;
            self.append(name, row * size..(row + 1) * size, &mut bytes)?;
            let first = values.len();
            decode(dtype, &bytes, &mut values)
                .map_err(|found| self.undecodable(name, at(found, row * inputs, first)))?;
        }
        Ok(values)
    }

    /// A matrix of real numbers in f32, f16, bf16 or f64, quantised while it is read, so that its numbers are never there
    /// as a whole; as [`Quantised::of`] does. `None` for what the files keep otherwise.
    ///
    /// # Errors
    /// As [`Weights::read`] and [`Quantised::of`], and when the shape is another.
    pub(crate) fn read_quantised(
        &self,
        name: &str,
        shape: &[usize],
        (bits, group): (Bits, Option<usize>),
    ) -> Result<Option<Quantised>, CheckpointError> {
        let &[outputs, inputs] = shape else { return Ok(None) };
        if self.gguf(name).is_some() || self.packed(name).is_some() || self.bits(name).is_some() {
            return Ok(None);
        }
        self.check(name, shape, None)?;
        let group = group.unwrap_or(inputs);
        if !Quantised::has_whole_groups(inputs, group) {
            // Whoever keeps the matrix says why it cannot be.
            return Ok(None);
        }
        let (dtype, length) = self.kind(name)?;
        let size = length / outputs.max(1);
        let at_a_time = (PIECE / size.max(1)).max(1);
        let mut packed = Vec::with_capacity(outputs * bits.row_bytes(inputs));
        let mut scales = Vec::with_capacity(outputs * inputs / group);
        let (mut bytes, mut values) = (Vec::new(), Vec::new());
        for start in (0..outputs).step_by(at_a_time) {
            let end = outputs.min(start + at_a_time);
            bytes.clear();
            values.clear();
            self.append(name, start * size..end * size, &mut bytes)?;
            decode(dtype, &bytes, &mut values).map_err(|found| self.undecodable(name, at(found, start * inputs, 0)))?;
            let piece =
                Quantised::of(&values, (end - start, inputs), bits, Some(group)).map_err(|source| match source {
                    QuantisedError::Weight { index, value } => {
                        self.refused(name, bits, QuantisedError::Weight { index: start * inputs + index, value })
                    }
                    source => self.refused(name, bits, source),
                })?;
            packed.extend_from_slice(piece.packed());
            scales.extend_from_slice(piece.scales());
        }
        let matrix = Quantised::from_packed(bits, (outputs, inputs), group, packed, scales);
        matrix.map(Some).map_err(|source| self.refused(name, bits, source))
    }
}

/// What was found in a piece of a tensor, by its place in the whole: `first` is the tensor's index of the piece, `before`
/// how many numbers of other pieces were decoded before it.
fn at(found: Undecodable, first: usize, before: usize) -> Undecodable {
    match found {
        Undecodable::NotFinite(index, value) => Undecodable::NotFinite(first + index - before, value),
        Undecodable::Type => Undecodable::Type,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantised_writer::write_data;
    use crate::{Scheme, Storage, Tensor};
    use aquatint_network::TensorData;
    use proptest::prelude::*;

    /// A matrix in a file.
    fn written(data: TensorData, shape: [usize; 2], storage: Storage) -> (tempfile::TempDir, Weights) {
        let folder = tempfile::tempdir().unwrap();
        let tensor = Tensor { name: "x.weight".into(), shape: shape.to_vec(), values: &data };
        write_data(&folder.path().join("model.safetensors"), &[tensor], storage).unwrap();
        let weights = Weights::open(folder.path()).unwrap();
        (folder, weights)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn rows_and_pieces_are_those_of_the_whole(
            (outputs, groups) in (1usize..200, 1usize..40),
            seed in any::<u32>(),
            storage in prop::sample::select(vec![Storage::F32, Storage::F16, Storage::Bf16]),
        ) {
            let shape = [outputs, 8 * groups];
            let values: Vec<f32> = (0..outputs * 8 * groups).map(|i| ((i as u32 ^ seed) as f32).sin()).collect();
            let rows = [0, outputs as u32 - 1, (outputs / 2) as u32, 0];
            let expected = |whole: &[f32]| {
                rows.iter().flat_map(|row| whole[*row as usize * 8 * groups..][..8 * groups].to_vec()).collect::<Vec<_>>()
            };
            let (_folder, weights) = written(TensorData::Real(values.clone()), shape, storage);
            let whole = weights.read("x.weight").unwrap();
            prop_assert_eq!(weights.read_rows("x.weight", &shape, None, &rows).unwrap(), expected(&whole));
            for bits in [Bits::Four, Bits::Eight] {
                for group in [Some(8), None] {
                    let matrix = Quantised::of(&whole, (outputs, 8 * groups), bits, group).unwrap();
                    let pieces = weights.read_quantised("x.weight", &shape, (bits, group)).unwrap();
                    prop_assert_eq!(pieces.as_ref(), Some(&matrix));
                    let scheme = Scheme::new(bits, group, vec!["Linear".into()]);
                    let described = Quantisation { schemes: vec![scheme], ignore: Vec::new() };
                    let whole = matrix.dequantise();
                    let (_folder, weights) = written(TensorData::Quantised(matrix), shape, storage);
                    let read = weights.read_rows("x.weight", &shape, Some(&described), &rows).unwrap();
                    prop_assert_eq!(read, expected(&whole));
                }
            }
        }
    }

    #[test]
    fn what_is_wrong_in_a_piece_is_named_by_its_place_in_the_whole() {
        let shape = [3000, 64];
        let mut values = vec![0.5; 3000 * 64];
        values[2500 * 64 + 7] = f32::NAN;
        let (_folder, weights) = written(TensorData::Real(values), shape, Storage::F32);
        let place =
            |error: CheckpointError| matches!(error, CheckpointError::NotFinite { index, .. } if index == 160_007);
        assert!(place(weights.read_quantised("x.weight", &shape, (Bits::Eight, None)).unwrap_err()));
        assert!(place(weights.read_rows("x.weight", &shape, None, &[1, 2500]).unwrap_err()));
        let error = weights.read_rows("x.weight", &shape, None, &[3000]).unwrap_err().to_string();
        assert_eq!(error, "tensor `x.weight` has no row 3000; allowed: 0 to 2999");
    }
}

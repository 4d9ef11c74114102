//! Quantised matrices as they are read from safetensors files, in the layout that [`Quantisation`] describes.

use crate::weights::Weights;
use crate::{CheckpointError, Quantisation};
use aquatint_compute::{Bits, Quantised, QuantisedError};
use aquatint_network::TensorData;
use safetensors::Dtype;

/// Values of 4 bits in a word of `weight_packed`.
pub(crate) const PER_WORD: usize = 8;
/// Suffixes of a weight's name for the tensors that it may consist of.
pub(crate) const PACKED: &str = "_packed";
pub(crate) const SCALE: &str = "_scale";
pub(crate) const SHAPE: &str = "_shape";

impl Weights {
    /// In how many bits a weight is kept; `None` where it is of real numbers, or is not there.
    pub fn bits(&self, name: &str) -> Option<Bits> {
        if let Some(tensor) = self.gguf(name) {
            return tensor.bits();
        }
        if let Some(matrix) = self.packed(name) {
            return matrix.bits();
        }
        if self.dtype(&format!("{name}{PACKED}")).is_some() {
            Some(Bits::Four)
        } else {
            (self.dtype(name) == Some(Dtype::I8)).then_some(Bits::Eight)
        }
    }

    /// How a weight is kept, in words, where it is kept as integers that stand for real numbers.
    pub(crate) fn quantised_format(&self, name: &str) -> Option<String> {
        if let Some(tensor) = self.gguf(name) {
            return tensor.is_quantised().then(|| format!("blocks of {}", tensor.storage()));
        }
        if self.packed(name).is_some() {
            return Some(format!("integers of {}", Bits::Four));
        }
        self.bits(name).map(|bits| format!("integers of {bits}"))
    }

    /// Names of the tensors in the files that make up a weight.
    pub(crate) fn parts(&self, name: &str) -> Vec<String> {
        if let Some(matrix) = self.packed(name) {
            return self.packed_names(name, matrix);
        }
        match self.bits(name).filter(|_| self.gguf(name).is_none()) {
            None => vec![name.to_owned()],
            Some(Bits::Eight) => vec![name.to_owned(), format!("{name}{SCALE}")],
            Some(Bits::Four) => [PACKED, SCALE, SHAPE].map(|suffix| format!("{name}{suffix}")).to_vec(),
        }
    }

    /// Checks from the headers alone that a weight is there, with its scales, in this shape.
    ///
    /// # Errors
    /// As [`Weights::read_data`], except for errors that only the values show.
    pub(crate) fn check(
        &self,
        name: &str,
        shape: &[usize],
        quantisation: Option<&Quantisation>,
    ) -> Result<(), CheckpointError> {
        if let Some(matrix) = self.packed(name) {
            return self.expect_packed(name, matrix, shape);
        }
        match self.bits(name) {
            Some(_) if self.gguf(name).is_some() => self.expect(name, shape),
            Some(bits) => {
                let layout = self.layout(name, bits, shape, quantisation)?;
                self.expect_integers(name, bits, layout)?;
                self.expect(&format!("{name}{SCALE}"), &layout.scales())
            }
            None => self.expect(name, shape),
        }
    }

    /// A weight of this shape as the files keep it: real numbers, or integers as `quantisation` describes them.
    ///
    /// Of 8 bits, -128 is taken as -127: compressed-tensors divides by `absmax / 127.5`, so that -128 stands where a
    /// weight was -127.5 scales, as near to the one as to the other, while products want a range that is symmetric.
    ///
    /// # Errors
    /// When a tensor is missing or has another type or shape, a group does not fit, or a number is not finite or does
    /// not fit its bits.
    pub fn read_data(
        &self,
        name: &str,
        shape: &[usize],
        quantisation: Option<&Quantisation>,
    ) -> Result<TensorData, CheckpointError> {
        if let Some((tensor, bits)) = self.gguf(name).and_then(|tensor| Some((tensor, tensor.bits()?))) {
            self.expect_shape(name, shape)?;
            let matrix = tensor.quantised(bits, &self.copy_of_tensor(name)?);
            return matrix.map(TensorData::Quantised).map_err(|source| self.refused(name, bits, source));
        }
        if let Some(matrix) = self.packed(name) {
            self.expect_packed(name, matrix, shape)?;
            return self.read_packed(name, matrix);
        }
        let Some(bits) = self.bits(name) else { return self.read_shaped(name, shape).map(TensorData::Real) };
        let layout = self.layout(name, bits, shape, quantisation)?;
        self.expect_integers(name, bits, layout)?;
        let packed = match bits {
            Bits::Eight => self.copy_of_tensor(name)?,
            Bits::Four => self.copy_of_tensor(&format!("{name}{PACKED}"))?,
        };
        let mut packed = packed.into_owned();
        if bits == Bits::Eight {
            raise_lowest(&mut packed);
        }
        let scales = self.read_shaped(&format!("{name}{SCALE}"), &layout.scales())?;
        Quantised::from_packed(bits, (layout.outputs, layout.inputs), layout.group, packed, scales)
            .map(TensorData::Quantised)
            .map_err(|source| self.refused(name, bits, source))
    }

    /// Rows of a matrix of integers, as the real numbers that they stand for.
    pub(crate) fn read_integer_rows(
        &self,
        (name, bits): (&str, Bits),
        shape: &[usize],
        quantisation: Option<&Quantisation>,
        rows: &[u32],
    ) -> Result<Vec<f32>, CheckpointError> {
        let layout = self.layout(name, bits, shape, quantisation)?;
        let (integers, scale) = match bits {
            Bits::Eight => (name.to_owned(), format!("{name}{SCALE}")),
            Bits::Four => (format!("{name}{PACKED}"), format!("{name}{SCALE}")),
        };
        let size = bits.row_bytes(layout.inputs);
        let mut packed = Vec::with_capacity(rows.len() * size);
        for row in rows.iter().map(|row| *row as usize) {
            self.append(&integers, row * size..(row + 1) * size, &mut packed)?;
        }
        if bits == Bits::Eight {
            raise_lowest(&mut packed);
        }
        let scales = self.read_rows(&scale, &layout.scales(), None, rows)?;
        let matrix = Quantised::from_packed(bits, (rows.len(), layout.inputs), layout.group, packed, scales);
        matrix.map(|matrix| matrix.dequantise()).map_err(|source| self.refused(name, bits, source))
    }

    /// A tensor that has to be there, in this shape.
    fn expect(&self, name: &str, shape: &[usize]) -> Result<(), CheckpointError> {
        match self.shape(name) {
            Some(_) => self.expect_shape(name, shape),
            None => self.read(name).map(|_| ()),
        }
    }

    /// How the integers of a weight lie, by its shape and the description.
    fn layout(
        &self,
        name: &str,
        bits: Bits,
        shape: &[usize],
        quantisation: Option<&Quantisation>,
    ) -> Result<Layout, CheckpointError> {
        let undescribed = || CheckpointError::Undescribed {
            name: name.to_owned(),
            file: self.integers_file(name, bits).to_owned(),
            bits,
        };
        let scheme = quantisation.and_then(|described| described.scheme(bits)).ok_or_else(undescribed)?;
        let &[outputs, inputs] = shape else {
            // A vector is never quantised; its integers are then a tensor of the wrong type.
            return Err(self.read(name).err().unwrap_or_else(undescribed));
        };
        let group = scheme.group.unwrap_or(inputs);
        if group == 0 || !inputs.is_multiple_of(group) {
            return Err(self.refused(name, bits, QuantisedError::Group { group, inputs }));
        }
        Ok(Layout { outputs, inputs, group })
    }

    /// Insists on the shapes of the integers.
    fn expect_integers(&self, name: &str, bits: Bits, layout: Layout) -> Result<(), CheckpointError> {
        let Layout { outputs, inputs, .. } = layout;
        if bits == Bits::Eight {
            return self.expect_raw(name, Dtype::I8, &[outputs, inputs]);
        }
        let shape = format!("{name}{SHAPE}");
        let stated = self.raw(&shape, Dtype::I64, &[2])?;
        let stated = stated.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
        // What is negative is not any size there is.
        let stated: Vec<usize> = stated.map(|size| usize::try_from(size).unwrap_or(usize::MAX)).collect();
        if stated != [outputs, inputs] {
            return Err(CheckpointError::WrongShape {
                name: name.to_owned(),
                file: self.file_of(&shape).to_owned(),
                found: stated,
                expected: vec![outputs, inputs],
            });
        }
        self.expect_raw(&format!("{name}{PACKED}"), Dtype::I32, &[outputs, inputs.div_ceil(PER_WORD)])
    }

    /// The file that holds the integers of a weight.
    fn integers_file(&self, name: &str, bits: Bits) -> &str {
        match bits {
            Bits::Eight => self.file_of(name),
            Bits::Four => self.file_of(&format!("{name}{PACKED}")),
        }
    }

    pub(crate) fn refused(&self, name: &str, bits: Bits, source: QuantisedError) -> CheckpointError {
        CheckpointError::Quantised { name: name.to_owned(), file: self.integers_file(name, bits).to_owned(), source }
    }
}

#[derive(Debug, Clone, Copy)]
struct Layout {
    outputs: usize,
    inputs: usize,
    group: usize,
}

impl Layout {
    fn scales(self) -> [usize; 2] {
        [self.outputs, self.inputs / self.group]
    }
}

/// Takes integers of 8 bits that are -128 as -127.
pub(crate) fn raise_lowest(packed: &mut [u8]) {
    for byte in packed {
        *byte = byte.cast_signed().max(Bits::Eight.range().0).cast_unsigned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantised_writer::write_data;
    use crate::safetensors_writer::{FORMAT, Part, write};
    use crate::{Scheme, Storage, Tensor};
    use proptest::prelude::*;

    fn described(bits: Bits, group: Option<usize>) -> Quantisation {
        Quantisation { schemes: vec![Scheme::new(bits, group, vec!["Linear".into()])], ignore: Vec::new() }
    }

    fn written(matrix: &Quantised) -> (tempfile::TempDir, Weights) {
        let folder = tempfile::tempdir().unwrap();
        let shape = vec![matrix.outputs(), matrix.inputs()];
        let values = TensorData::Quantised(matrix.clone());
        let tensor = Tensor { name: "x.weight".into(), shape, values: &values };
        write_data(&folder.path().join("model.safetensors"), &[tensor], Storage::Bf16).unwrap();
        let weights = Weights::open(folder.path()).unwrap();
        (folder, weights)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_matrix_comes_back_as_it_was(
            (outputs, inputs, group) in (1usize..6, 1usize..50, any::<bool>())
                .prop_map(|(outputs, inputs, grouped)| if grouped { (outputs, inputs * 8, Some(8)) } else { (outputs, inputs, None) }),
            seed in any::<u32>(),
        ) {
            let values: Vec<f32> = (0..outputs * inputs).map(|i| ((i as u32 ^ seed) as f32).sin()).collect();
            for bits in [Bits::Four, Bits::Eight] {
                let matrix = Quantised::of(&values, (outputs, inputs), bits, group).unwrap();
                let (_folder, weights) = written(&matrix);
                prop_assert_eq!(weights.bits("x.weight"), Some(bits));
                let described = described(bits, group);
                weights.check("x.weight", &[outputs, inputs], Some(&described)).unwrap();
                let back = weights.read_data("x.weight", &[outputs, inputs], Some(&described)).unwrap();
                prop_assert_eq!(back, TensorData::Quantised(matrix));
            }
        }
    }

    proptest! {
        #[test]
        fn any_change_of_a_quantised_file_is_read_or_refused(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            four in any::<bool>(),
        ) {
            let bits = if four { Bits::Four } else { Bits::Eight };
            let values: Vec<f32> = (0..48).map(|i| (i as f32).sin()).collect();
            let (folder, _) = written(&Quantised::of(&values, (2, 24), bits, Some(8)).unwrap());
            let path = folder.path().join("model.safetensors");
            let mut bytes = std::fs::read(&path).unwrap();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            std::fs::write(&path, bytes).unwrap();
            let Ok(weights) = Weights::open(folder.path()) else { return Ok(()) };
            if let Ok(data) = weights.read_data("x.weight", &[2, 24], Some(&described(bits, Some(8)))) {
                prop_assert!(data.into_real().iter().all(|value| value.is_finite()));
            }
        }
    }

    #[test]
    fn four_bits_lie_in_words_the_first_lowest() {
        // As `pack_to_int32` of compressed-tensors documents it: values plus 8, from the lowest bits up, zeros after.
        let values: Vec<i8> = (-8..=1).collect();
        let matrix = Quantised::from_parts(Bits::Four, (1, 10), 10, values, vec![1.0]).unwrap();
        let (folder, _) = written(&matrix);
        let bytes = std::fs::read(folder.path().join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let packed = file.tensor("x.weight_packed").unwrap();
        assert_eq!((packed.dtype(), packed.shape()), (Dtype::I32, [1, 2].as_slice()));
        let words: Vec<u32> = packed.data().as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        assert_eq!(words, [0x7654_3210, 0x0000_0098]);
        let shape = file.tensor("x.weight_shape").unwrap();
        assert_eq!((shape.dtype(), shape.data()), (Dtype::I64, [1u64, 10].map(u64::to_le_bytes).concat().as_slice()));
        assert_eq!(file.tensor("x.weight_scale").unwrap().shape(), [1, 1]);
    }

    /// A tensor in bytes.
    type Bytes<'a> = (&'a str, Dtype, Vec<usize>, Vec<u8>);

    /// The error of a file with these tensors, read as `x.weight` of the shape `[2, 16]` in groups of 8.
    fn stated(bits: Bits, tensors: &[Bytes], group: usize) -> String {
        let folder = tempfile::tempdir().unwrap();
        let parts = tensors.iter().map(|(name, dtype, shape, _)| Part { name, shape, dtype: *dtype }).collect();
        write(&folder.path().join("model.safetensors"), parts, FORMAT, |index| tensors[index].3.clone()).unwrap();
        let weights = Weights::open(folder.path()).unwrap();
        let described = described(bits, Some(group));
        let error = weights.read_data("x.weight", &[2, 16], Some(&described)).unwrap_err();
        let error = error.hint().map_or_else(|| error.to_string(), |hint| format!("{error}; {hint}"));
        let path = folder.path().display().to_string();
        error.replace(&format!("{path}/"), "").replace(&format!("{path}\\"), "")
    }

    #[test]
    fn damaged_files_are_refused_with_the_tensor_and_what_is_allowed() {
        let f32s = |values: [f32; 4]| values.map(f32::to_le_bytes).concat();
        let scale = ("x.weight_scale", Dtype::F32, vec![2, 2], f32s([1.0; 4]));
        let eight = ("x.weight", Dtype::I8, vec![2, 16], vec![1; 32]);
        let packed = ("x.weight_packed", Dtype::I32, vec![2, 2], vec![0x11; 16]);
        let shape = ("x.weight_shape", Dtype::I64, vec![2], [2u64, 16].map(u64::to_le_bytes).concat());
        let file = "in `model.safetensors`";

        let cases: [(Bits, Vec<Bytes>, usize, String); 13] = [
            (Bits::Eight, vec![eight.clone()], 8, "tensor `x.weight_scale` is missing in `model.safetensors`".into()),
            (Bits::Four, vec![packed.clone(), shape.clone()], 8, "tensor `x.weight_scale` is missing".into()),
            (Bits::Four, vec![packed.clone(), scale.clone()], 8, "tensor `x.weight_shape` is missing".into()),
            (
                Bits::Eight,
                vec![eight.clone(), scale.clone()],
                16,
                format!("tensor `x.weight_scale` {file} has shape [2, 2]; config.json asks for [2, 1]"),
            ),
            (
                Bits::Eight,
                vec![eight.clone(), scale.clone()],
                4,
                format!("tensor `x.weight_scale` {file} has shape [2, 2]; config.json asks for [2, 4]"),
            ),
            (
                Bits::Eight,
                vec![eight.clone(), scale.clone()],
                12,
                format!("tensor `x.weight` {file}: `group` is 12; allowed: a divisor of 16 that is a multiple of 8"),
            ),
            (
                Bits::Eight,
                vec![eight.clone(), (scale.0, Dtype::I8, vec![2, 2], vec![1; 4])],
                8,
                format!("tensor `x.weight_scale` {file} is of type I8; allowed: F64, F32, F16, BF16"),
            ),
            (
                Bits::Eight,
                vec![eight.clone(), (scale.0, Dtype::F32, vec![2, 2], f32s([1.0, f32::NAN, 1.0, 1.0]))],
                8,
                format!("tensor `x.weight_scale` {file} has NaN at index 1; allowed: finite numbers"),
            ),
            (
                Bits::Eight,
                vec![eight.clone(), (scale.0, Dtype::F32, vec![2, 2], f32s([1.0, 1.0, f32::MAX, 1.0]))],
                8,
                format!("tensor `x.weight` {file}: `scales[2]` is 3"),
            ),
            (
                Bits::Four,
                vec![("x.weight_packed", Dtype::I32, vec![2, 3], vec![0; 24]), shape.clone(), scale.clone()],
                8,
                format!("tensor `x.weight_packed` {file} has shape [2, 3]; config.json asks for [2, 2]"),
            ),
            (
                Bits::Four,
                vec![("x.weight_packed", Dtype::I8, vec![2, 2], vec![0; 4]), shape.clone(), scale.clone()],
                8,
                format!("tensor `x.weight_packed` {file} is of type I8; allowed: I32"),
            ),
            (
                Bits::Four,
                vec![
                    packed.clone(),
                    ("x.weight_shape", Dtype::I64, vec![2], [16u64, 2].map(u64::to_le_bytes).concat()),
                    scale.clone(),
                ],
                8,
                format!("tensor `x.weight` {file} has shape [16, 2]; config.json asks for [2, 16]"),
            ),
            (
                Bits::Four,
                vec![eight, scale],
                8,
                format!(
                    "tensor `x.weight` {file} is kept in 8 bits, which the `quantization_config` of config.json does"
                ),
            ),
        ];
        for (bits, tensors, group, expected) in cases {
            let error = stated(bits, &tensors, group);
            assert!(error.starts_with(&expected), "{error}\nexpected\n{expected}");
        }
    }
}

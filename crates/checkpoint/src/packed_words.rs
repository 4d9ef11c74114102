//! Matrices of 4 bits as the tools of GPTQ and AWQ write them: eight numbers in a word of 32 bits, zero points beside the
//! scales, and groups of inputs.
//!
//! | | of a matrix `[N, K]` with `G` groups |
//! |---|---|
//! | GPTQ | `qweight` I32 `[K / 8, N]`, eight inputs in a word; `qzeros` I32 `[G, N / 8]`, one less than the zero points (`gptq`) or the zero points (`gptq_v2`); `scales` `[G, N]`; `g_idx` I32 `[K]`, the group of each input, where it is there |
//! | AWQ | `qweight` I32 `[K, N / 8]`, eight outputs in a word, in the order 0, 2, 4, 6, 1, 3, 5, 7; `qzeros` I32 `[G, N / 8]` in the same order; `scales` `[G, N]` |
//!
//! A weight is `(number - zero point) · scale`. Where all zero points are 8 and groups are neighbours, as without
//! `desc_act` and with `sym`, the integers stay; other matrices are taken as the real numbers that they stand for.
//!
//! References: 2210.17323 and github.com/ModelCloud/GPTQModel; 2306.00978 and github.com/casper-hansen/AutoAWQ (`gemm`).

use crate::weights::Weights;
use crate::{CheckpointError, Packing, Quantisation, Scheme};
use aquatint_compute::{Bits, Quantised};
use aquatint_network::TensorData;
use safetensors::Dtype;
use std::borrow::Cow;

/// Numbers in a word.
const PER_WORD: usize = 8;
/// The zero point of a symmetric matrix.
const MIDDLE: u8 = 8;
/// The output within eight that each number of a word of AWQ is for.
const AWQ_ORDER: [usize; PER_WORD] = [0, 2, 4, 6, 1, 3, 5, 7];
/// Words of a line of the cache: as many are moved together in both directions.
const TILE: usize = 16;
/// The module's tensor of packed numbers, by which such a matrix is known.
const NUMBERS: &str = ".qweight";

/// A matrix whose numbers are packed so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PackedMatrix {
    packing: Packing,
    outputs: usize,
    inputs: usize,
    groups: usize,
    /// Whether it has a list of groups.
    listed: bool,
    /// Whether its integers stay.
    symmetric: bool,
}

/// What gives the numbers of a matrix their meaning.
struct Parts<'a> {
    zeros: Cow<'a, [u8]>,
    scales: Vec<f32>,
    /// The group of each input.
    groups: Vec<u32>,
}

impl Weights {
    /// Lets matrices that a description says are packed so be found as weights.
    ///
    /// # Errors
    /// When a tensor of one is missing or has another type or shape, or a group does not exist.
    pub(crate) fn resolve_packed(&mut self, quantisation: &Quantisation) -> Result<(), CheckpointError> {
        let packed = |scheme: &&Scheme| matches!(scheme.packing, Packing::Gptq { .. } | Packing::Awq);
        let Some(&Scheme { packing, group, .. }) = quantisation.schemes.iter().find(packed) else { return Ok(()) };
        let modules: Vec<String> =
            self.names().filter_map(|name| name.strip_suffix(NUMBERS)).map(str::to_owned).collect();
        for module in modules {
            let matrix = self.packed_matrix(&module, packing, group)?;
            self.insert_packed(format!("{module}.weight"), matrix);
        }
        Ok(())
    }

    /// Checks the tensors of a module.
    fn packed_matrix(
        &self,
        module: &str,
        packing: Packing,
        group: Option<usize>,
    ) -> Result<PackedMatrix, CheckpointError> {
        let name = |tensor: &str| format!("{module}.{tensor}");
        let &[first, second] = self.shape(&name("qweight")).unwrap_or_default() else {
            return Err(self.read(&name("qweight")).err().unwrap_or_else(|| self.no_matrix(&name("qweight"))));
        };
        let (outputs, inputs) = match packing {
            Packing::Awq => (second.saturating_mul(PER_WORD), first),
            _ => (second, first.saturating_mul(PER_WORD)),
        };
        let group = group.unwrap_or(inputs);
        if group == 0 || !inputs.is_multiple_of(group) {
            let source = aquatint_compute::QuantisedError::Group { group, inputs };
            let file = self.file_of(&name("qweight")).to_owned();
            return Err(CheckpointError::Quantised { name: name("weight"), file, source });
        }
        let listed = self.shape(&name("g_idx")).is_some();
        let matrix = PackedMatrix { packing, outputs, inputs, groups: inputs / group, listed, symmetric: false };
        let parts = self.packed_parts(module, matrix)?;
        let neighbours = parts.groups.iter().enumerate().all(|(input, of)| *of as usize == input / group);
        let middle = (0..matrix.groups).all(|of| (0..outputs).all(|output| matrix.zero(&parts, of, output) == MIDDLE));
        let whole = group == inputs || group.is_multiple_of(PER_WORD);
        Ok(PackedMatrix { symmetric: neighbours && middle && whole, ..matrix })
    }

    /// A matrix of real numbers, or of integers where they stay.
    pub(crate) fn read_packed(&self, name: &str, matrix: PackedMatrix) -> Result<TensorData, CheckpointError> {
        let module = name.strip_suffix(".weight").unwrap_or(name);
        let parts = self.packed_parts(module, matrix)?;
        let PackedMatrix { outputs, inputs, groups, .. } = matrix;
        let numbers = matrix.in_rows(&self.raw(&format!("{module}{NUMBERS}"), Dtype::I32, &matrix.words())?);
        if matrix.symmetric {
            let scales = (0..outputs).flat_map(|output| (0..groups).map(move |of| of * outputs + output));
            let scales = scales.map(|at| parts.scales[at]).collect();
            let quantised = Quantised::from_packed(Bits::Four, (outputs, inputs), inputs / groups, numbers, scales);
            return quantised.map(TensorData::Quantised).map_err(|source| CheckpointError::Quantised {
                name: name.to_owned(),
                file: self.file_of(&format!("{module}{NUMBERS}")).to_owned(),
                source,
            });
        }
        Ok(TensorData::Real(matrix.real(&parts, &numbers)))
    }

    /// Names of the tensors of a matrix in the files.
    pub(crate) fn packed_names(&self, name: &str, matrix: PackedMatrix) -> Vec<String> {
        let module = name.strip_suffix(".weight").unwrap_or(name);
        let tensors = ["qweight", "qzeros", "scales"].into_iter().chain(matrix.listed.then_some("g_idx"));
        tensors.map(|tensor| format!("{module}.{tensor}")).collect()
    }

    /// Insists on a shape.
    pub(crate) fn expect_packed(
        &self,
        name: &str,
        matrix: PackedMatrix,
        expected: &[usize],
    ) -> Result<(), CheckpointError> {
        if expected == [matrix.outputs, matrix.inputs] {
            return Ok(());
        }
        let numbers = self.packed_names(name, matrix).swap_remove(0);
        Err(CheckpointError::WrongShape {
            name: name.to_owned(),
            file: self.file_of(&numbers).to_owned(),
            found: vec![matrix.outputs, matrix.inputs],
            expected: expected.to_vec(),
        })
    }

    fn packed_parts(&self, module: &str, matrix: PackedMatrix) -> Result<Parts<'_>, CheckpointError> {
        let PackedMatrix { outputs, inputs, groups, listed, .. } = matrix;
        let name = |tensor: &str| format!("{module}.{tensor}");
        let words = |tensor: &str, shape: &[usize]| self.raw(&name(tensor), Dtype::I32, shape);
        self.expect_raw(&name("qweight"), Dtype::I32, &matrix.words())?;
        let zeros = words("qzeros", &[groups, outputs.div_ceil(PER_WORD)])?;
        let scales = self.read_shaped(&name("scales"), &[groups, outputs])?;
        let of = match listed {
            true => words("g_idx", &[inputs])?.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect(),
            false => (0..inputs).map(|input| (input / (inputs / groups)) as u32).collect::<Vec<_>>(),
        };
        if let Some(input) = of.iter().position(|of| *of as usize >= groups) {
            return Err(CheckpointError::Packed {
                name: name("g_idx"),
                file: self.file_of(&name("g_idx")).to_owned(),
                index: input,
                found: of[input].cast_signed(),
                groups,
            });
        }
        Ok(Parts { zeros, scales, groups: of })
    }

    fn no_matrix(&self, name: &str) -> CheckpointError {
        CheckpointError::WrongShape {
            name: name.to_owned(),
            file: self.file_of(name).to_owned(),
            found: self.shape(name).unwrap_or_default().to_vec(),
            expected: vec![0, 0],
        }
    }
}

impl PackedMatrix {
    /// In how many bits its integers stay, if they do.
    pub(crate) fn bits(self) -> Option<Bits> {
        self.symmetric.then_some(Bits::Four)
    }

    /// The zero point of a group of an output. One more than 15 is 16 in files of `gptq`.
    fn zero(self, parts: &Parts<'_>, group: usize, output: usize) -> u8 {
        let word = word_at(&parts.zeros, group * self.outputs.div_ceil(PER_WORD) + output / PER_WORD);
        let within = output % PER_WORD;
        match self.packing {
            Packing::Awq => nibble(word, AWQ_ORDER.iter().position(|of| *of == within).unwrap_or(within)),
            Packing::Gptq { one_less } => nibble(word, within) + u8::from(one_less),
            Packing::CompressedTensors | Packing::Gguf => MIDDLE,
        }
    }

    /// The shape of the tensor of its words.
    fn words(self) -> [usize; 2] {
        match self.packing {
            Packing::Awq => [self.inputs, self.outputs / PER_WORD],
            _ => [self.inputs / PER_WORD, self.outputs],
        }
    }

    /// The numbers output after output, eight inputs in a word, as [`Quantised::packed`] has them: of GPTQ the words
    /// transposed, of AWQ the numbers too.
    fn in_rows(self, numbers: &[u8]) -> Vec<u8> {
        let [lines, columns] = self.words();
        let per_row = self.inputs.div_ceil(PER_WORD);
        let mut rows = vec![0; self.outputs * per_row * size_of::<u32>()];
        let (from, to) = (numbers.as_chunks().0, rows.as_chunks_mut().0);
        for first in (0..columns).step_by(TILE) {
            let tile = first..(first + TILE).min(columns);
            match self.packing {
                Packing::Awq => {
                    for word in 0..per_row {
                        let inputs = word * PER_WORD..((word + 1) * PER_WORD).min(lines);
                        for column in tile.clone() {
                            let mut eight = [0; PER_WORD];
                            for (number, input) in eight.iter_mut().zip(inputs.clone()) {
                                *number = u32::from_le_bytes(from[input * columns + column]);
                            }
                            for (number, within) in transposed(eight).into_iter().zip(AWQ_ORDER) {
                                to[(column * PER_WORD + within) * per_row + word] = number.to_le_bytes();
                            }
                        }
                    }
                }
                _ => {
                    for start in (0..per_row).step_by(TILE) {
                        for output in tile.clone() {
                            for word in start..(start + TILE).min(per_row) {
                                to[output * per_row + word] = from[word * columns + output];
                            }
                        }
                    }
                }
            }
        }
        rows
    }

    /// The real numbers that these stand for, row-major.
    fn real(self, parts: &Parts<'_>, numbers: &[u8]) -> Vec<f32> {
        let Self { outputs, inputs, groups, .. } = self;
        let mut values = Vec::with_capacity(outputs * inputs);
        let mut row = vec![0.0; inputs.next_multiple_of(PER_WORD)];
        let mut meaning = vec![(0.0, 0.0); groups];
        for (output, bytes) in numbers.chunks_exact(Bits::Four.row_bytes(inputs)).enumerate() {
            for (of, meaning) in meaning.iter_mut().enumerate() {
                *meaning = (f32::from(self.zero(parts, of, output)), parts.scales[of * outputs + output]);
            }
            for (pair, byte) in row.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
                *pair = [f32::from(byte & 15), f32::from(byte >> 4)];
            }
            // Neighbours are of one group where inputs were not reordered.
            let mut rest = row.as_slice();
            for neighbours in parts.groups.chunk_by(|one, other| one == other) {
                let (own, after) = rest.split_at(neighbours.len());
                let (zero, scale) = meaning[neighbours[0] as usize];
                values.extend(own.iter().map(|number| (number - zero) * scale));
                rest = after;
            }
        }
        values
    }
}

/// Eight words of eight numbers, transposed: number `i` of word `j` becomes number `j` of word `i`. Blocks of four, of two
/// and of one number change places.
fn transposed(mut words: [u32; PER_WORD]) -> [u32; PER_WORD] {
    for (size, mask) in [(4, 0x0000_ffff), (2, 0x00ff_00ff), (1, 0x0f0f_0f0f)] {
        for first in (0..PER_WORD).filter(|at| at & size == 0) {
            let (upper, lower) = (words[first], words[first + size]);
            let changed = (upper >> (4 * size) ^ lower) & mask;
            words[first] = upper ^ changed << (4 * size);
            words[first + size] = lower ^ changed;
        }
    }
    words
}

/// A word of a list of them.
fn word_at(bytes: &[u8], index: usize) -> u32 {
    u32::from_le_bytes(bytes.as_chunks().0[index])
}

/// A number of a word, the first in its lowest bits.
fn nibble(word: u32, at: usize) -> u8 {
    (word >> (4 * at) & 15) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use safetensors::tensor::TensorView;
    use serde_json::json;

    /// A matrix by its numbers, zero points and scales.
    struct Known {
        outputs: usize,
        inputs: usize,
        groups: usize,
        /// Of each input.
        of: Vec<usize>,
        seed: usize,
        symmetric: bool,
    }

    impl Known {
        fn number(&self, output: usize, input: usize) -> u32 {
            ((output * 7 + input * 13 + self.seed + input / 5) % 16) as u32
        }

        fn zero(&self, group: usize, output: usize) -> u32 {
            if self.symmetric { 8 } else { 1 + ((group * 5 + output * 3 + self.seed) % 15) as u32 }
        }

        fn scale(group: usize, output: usize) -> f32 {
            (1 + group + 2 * output) as f32 / 64.0
        }

        fn weights(&self) -> Vec<f32> {
            let all = (0..self.outputs).flat_map(|output| (0..self.inputs).map(move |input| (output, input)));
            let weight = |(output, input)| {
                let group = self.of[input];
                (self.number(output, input) as f32 - self.zero(group, output) as f32) * Self::scale(group, output)
            };
            all.map(weight).collect()
        }

        fn scales(&self) -> Vec<u8> {
            let all = (0..self.groups).flat_map(|group| (0..self.outputs).map(move |output| (group, output)));
            all.flat_map(|(group, output)| Self::scale(group, output).to_le_bytes()).collect()
        }

        /// Words along inputs, and zero points along outputs, one less than they are if `less` is 1.
        fn gptq(&self, less: u32) -> (Vec<u8>, Vec<u8>) {
            let words = (0..self.inputs / 8).flat_map(|word| (0..self.outputs).map(move |output| (word, output)));
            let word = |(word, output)| (0..8).map(|at| self.number(output, 8 * word + at) << (4 * at)).sum::<u32>();
            let zeros = (0..self.groups).flat_map(|group| (0..self.outputs / 8).map(move |word| (group, word)));
            let zero =
                |(group, word)| (0..8).map(|at| (self.zero(group, 8 * word + at) - less) << (4 * at)).sum::<u32>();
            (bytes(words.map(word)), bytes(zeros.map(zero)))
        }

        /// Words along outputs, in which output `c` of eight lies at `PLACES[c]`.
        fn awq(&self) -> (Vec<u8>, Vec<u8>) {
            const PLACES: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];
            let words = (0..self.inputs).flat_map(|input| (0..self.outputs / 8).map(move |word| (input, word)));
            let word = |(input, word)| (0..8).map(|c| self.number(8 * word + c, input) << (4 * PLACES[c])).sum::<u32>();
            let zeros = (0..self.groups).flat_map(|group| (0..self.outputs / 8).map(move |word| (group, word)));
            let zero = |(group, word)| (0..8).map(|c| self.zero(group, 8 * word + c) << (4 * PLACES[c])).sum::<u32>();
            (bytes(words.map(word)), bytes(zeros.map(zero)))
        }

        /// The matrix as it is read from a file.
        fn read(&self, config: &serde_json::Value, listed: bool) -> (TensorData, Option<Bits>) {
            let of = bytes(self.of.iter().map(|group| *group as u32));
            let awq = config["quant_method"] == "awq";
            let less = u32::from(config["checkpoint_format"] != "gptq_v2");
            let (numbers, zeros) = if awq { self.awq() } else { self.gptq(less) };
            let shape = if awq { [self.inputs, self.outputs / 8] } else { [self.inputs / 8, self.outputs] };
            let scales = self.scales();
            let view = |dtype, shape: &[usize], data| TensorView::new(dtype, shape.to_vec(), data).unwrap();
            let mut tensors = vec![
                ("m.qweight", view(Dtype::I32, &shape, &numbers)),
                ("m.qzeros", view(Dtype::I32, &[self.groups, self.outputs / 8], &zeros)),
                ("m.scales", view(Dtype::F32, &[self.groups, self.outputs], &scales)),
            ];
            if listed {
                tensors.push(("m.g_idx", view(Dtype::I32, &[self.inputs], &of)));
            }
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), safetensors::serialize(tensors, None).unwrap()).unwrap();
            let mut weights = Weights::open_file(file.path()).unwrap();
            let described = Quantisation::from_config("config.json", &json!({ "quantization_config": config }));
            let described = described.unwrap();
            weights.resolve_packed(described.as_ref().unwrap()).unwrap();
            let mut parts = weights.parts("m.weight");
            parts.sort();
            assert_eq!(parts, weights.names().collect::<Vec<_>>());
            let shape = [self.outputs, self.inputs];
            (weights.read_data("m.weight", &shape, described.as_ref()).unwrap(), weights.bits("m.weight"))
        }
    }

    fn bytes(words: impl Iterator<Item = u32>) -> Vec<u8> {
        words.flat_map(u32::to_le_bytes).collect()
    }

    proptest! {
        #[test]
        fn matrices_are_unpacked_as_they_are_packed(
            (outputs, groups, group) in (1_usize..10, 1_usize..4, 1_usize..4),
            seed in 0_usize..1000,
            (symmetric, order) in (any::<bool>(), any::<bool>()),
        ) {
            let (outputs, inputs) = (8 * outputs, 8 * groups * group);
            let neighbours = |input: usize| input / (8 * group);
            // With `desc_act`, inputs of a group lie anywhere.
            let of: Vec<usize> =
                (0..inputs).map(|input| if order { (input * 3 + seed) % groups } else { neighbours(input) }).collect();
            let sorted = of.iter().enumerate().all(|(input, of)| *of == neighbours(input));
            let known = Known { outputs, inputs, groups, of, seed, symmetric };
            let size = json!(8 * group);
            for format in [json!(null), json!("gptq"), json!("gptq_v2")] {
                let config =
                    json!({"quant_method": "gptq", "bits": 4, "group_size": size, "checkpoint_format": format, "sym": symmetric});
                let (data, bits) = known.read(&config, true);
                prop_assert_eq!(bits.is_some(), symmetric && sorted);
                prop_assert_eq!(matches!(data, TensorData::Quantised(_)), symmetric && sorted);
                prop_assert_eq!(data.into_real(), known.weights());
            }
            if sorted {
                let config = json!({"quant_method": "awq", "bits": 4, "group_size": size, "zero_point": true, "version": "gemm"});
                let (data, bits) = known.read(&config, false);
                prop_assert_eq!(bits.is_some(), symmetric);
                prop_assert_eq!(data.into_real(), known.weights());
            }
        }
    }

    #[test]
    fn what_is_packed_otherwise_is_refused_by_its_key() {
        for (config, key) in [
            (json!({"quant_method": "gptq", "bits": 8, "group_size": 128}), "quantization_config.bits"),
            (json!({"quant_method": "gptq", "bits": 4, "group_size": 0}), "quantization_config.group_size"),
            (json!({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}), "checkpoint_format"),
            (json!({"quant_method": "gptq", "bits": 4, "is_marlin_format": true}), "is_marlin_format"),
            (json!({"quant_method": "awq", "bits": 4, "version": "gemv"}), "quantization_config.version"),
            (json!({"quant_method": "bitsandbytes"}), "quantization_config.quant_method"),
        ] {
            let error =
                Quantisation::from_config("config.json", &json!({ "quantization_config": config })).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
        }
    }
}

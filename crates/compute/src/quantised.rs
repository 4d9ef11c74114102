//! Matrices of small integers with one scale for each group of consecutive inputs of an output.
//!
//! Symmetric quantisation to nearest, without zero points: `w[n, k] ≈ values[n, k] * scales[n, k / group]`, every value
//! at most half a scale from what it stands for. Eight bits take the scale `absmax / 127`. Four bits take -8 for the
//! value of largest magnitude, of whichever sign it is, as `Q4_0` of llama.cpp does, since sixteen steps are too few to
//! leave one unused; but the scale grows where the largest value of the other sign would be cut at 7 by more than half
//! a step.
//!
//! Integers of four bits are kept as the files of compressed-tensors keep them, eight in a word, so that neither a file
//! nor a kernel has to take them apart one by one: see [`Quantised::packed`].

mod packing;

pub(crate) use packing::in_byte_halves;

use packing::{OFFSET, PER_WORD, fill_up, pack_row, unpack_row};
use std::borrow::Cow;
use std::fmt;

/// The largest magnitude of a weight that is quantised: beyond it a value times its scale could leave f32.
const LARGEST: f32 = 1e38;
/// Kernels get the size of groups in units of this many inputs.
const GROUP_UNIT: usize = 8;

/// How many bits each integer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bits {
    /// Integers from -8 to 7.
    Four,
    /// Integers from -127 to 127.
    Eight,
}

impl Bits {
    /// The number of bits.
    pub fn count(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// The smallest and the largest integer.
    pub fn range(self) -> (i8, i8) {
        match self {
            Self::Four => (-8, 7),
            Self::Eight => (-127, 127),
        }
    }

    /// The scale of a group whose values span `low..=high`, `0.0` being within; `0.0` for a group of zeros.
    fn scale(self, low: f32, high: f32) -> f32 {
        let magnitude = match self {
            Self::Eight => high.max(-low) / 127.0,
            // -8 reaches half a step further than its own value, 7 as well: the other sign has room for 7.5 steps.
            Self::Four => (high.max(-low) / 8.0).max(high.min(-low) / 7.5),
        };
        match (self, magnitude == 0.0 && low == 0.0 && high == 0.0) {
            (_, true) => 0.0,
            // A subnormal scale has too few bits to be divided by; values that small become zero.
            (Self::Four, false) if high > -low => -magnitude.max(f32::MIN_POSITIVE),
            (_, false) => magnitude.max(f32::MIN_POSITIVE),
        }
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bits", self.count())
    }
}

/// Why a matrix was not quantised, or quantised parts are no matrix.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum QuantisedError {
    /// A matrix without outputs or without inputs.
    #[error("a matrix of {outputs} outputs and {inputs} inputs cannot be quantised; allowed: at least 1 of each")]
    Empty {
        /// Rows of the matrix.
        outputs: usize,
        /// Columns of the matrix.
        inputs: usize,
    },
    /// A group that does not divide the inputs of an output.
    #[error(
        "`group` is {group}; allowed: a divisor of {inputs} that is a multiple of {GROUP_UNIT}, or {inputs} (one scale for each output)"
    )]
    Group {
        /// The requested group.
        group: usize,
        /// Inputs of the matrix.
        inputs: usize,
    },
    /// More or fewer values or scales than the matrix has room for.
    #[error("`{parameter}` has {length} entries; allowed: {expected}")]
    Length {
        /// `values`, `packed` or `scales`.
        parameter: &'static str,
        /// How many there are.
        length: usize,
        /// How many there have to be.
        expected: usize,
    },
    /// A weight that is not a number, infinite, or too large for its scale.
    #[error("`values[{index}]` is {value}; allowed: numbers from -{LARGEST:e} to {LARGEST:e}")]
    Weight {
        /// Where it stands, row-major.
        index: usize,
        /// What it is.
        value: f32,
    },
    /// An integer that does not fit in the bits.
    #[error("`values[{index}]` is {value}; allowed in {bits}: {} to {}", bits.range().0, bits.range().1)]
    Value {
        /// Where it stands, row-major.
        index: usize,
        /// What it is.
        value: i8,
        /// Bits of each integer.
        bits: Bits,
    },
    /// A scale that is not a number, infinite, or so large that an integer times it is infinite.
    #[error("`scales[{index}]` is {value}; allowed: numbers of magnitude up to {largest:e}")]
    Scale {
        /// Where it stands, row-major.
        index: usize,
        /// What it is.
        value: f32,
        /// The largest magnitude there may be.
        largest: f32,
    },
}

/// A matrix `[outputs, inputs]` of small integers, and a scale for each group of consecutive inputs of an output.
///
/// `w[n, k] = values[n, k] * scales[n, k / group]`. Symmetric, no zero points.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantised {
    bits: Bits,
    outputs: usize,
    inputs: usize,
    group: usize,
    /// As [`Quantised::packed`] describes them.
    packed: Vec<u8>,
    scales: Vec<f32>,
}

impl Quantised {
    /// Rounds a row-major matrix `[outputs, inputs]`, each value to at most half a scale from itself.
    ///
    /// `group` is how many consecutive inputs share a scale; `None` is one scale for each output.
    ///
    /// # Errors
    /// For an empty matrix, a group that does not fit, values of another number than the shape says, and values that
    /// are not finite or beyond ±1e38.
    pub fn of(
        values: &[f32],
        (outputs, inputs): (usize, usize),
        bits: Bits,
        group: Option<usize>,
    ) -> Result<Self, QuantisedError> {
        let group = group.unwrap_or(inputs);
        check_shape((outputs, inputs), group)?;
        check_length("values", values.len(), outputs.saturating_mul(inputs))?;
        let mut packed = Vec::with_capacity(outputs * bits.row_bytes(inputs));
        let mut scales = Vec::with_capacity(values.len() / group);
        let mut row = vec![0; inputs];
        let (lowest, highest) = bits.range();
        let (lowest, highest) = (f32::from(lowest), f32::from(highest));
        for line in values.chunks_exact(inputs) {
            for (group_values, integers) in line.chunks_exact(group).zip(row.chunks_exact_mut(group)) {
                let (low, high, fine) = span(group_values);
                if !fine {
                    let within = group_values.iter().position(|v| !(-LARGEST..=LARGEST).contains(v)).unwrap_or(0);
                    return Err(QuantisedError::Weight {
                        index: scales.len() * group + within,
                        value: group_values[within],
                    });
                }
                let scale = bits.scale(low, high);
                scales.push(scale);
                let divisor = if scale == 0.0 { 1.0 } else { scale };
                for (integer, value) in integers.iter_mut().zip(group_values) {
                    // As comparisons: `clamp` is not made of vector instructions.
                    let steps = value / divisor;
                    let steps = if steps < lowest { lowest } else { steps };
                    *integer = nearest(if steps > highest { highest } else { steps });
                }
            }
            pack_row(bits, &row, &mut packed);
        }
        Ok(Self { bits, outputs, inputs, group, packed, scales })
    }

    /// Matrices one above the other, if all have the same bits, inputs and group; `None` for none at all.
    pub fn stack(parts: &[&Self]) -> Option<Self> {
        let first = parts.first()?;
        let alike = |part: &&Self| (part.bits, part.inputs, part.group) == (first.bits, first.inputs, first.group);
        parts.iter().all(alike).then(|| Self {
            bits: first.bits,
            outputs: parts.iter().map(|part| part.outputs).sum(),
            inputs: first.inputs,
            group: first.group,
            packed: parts.iter().map(|part| part.packed.as_slice()).collect::<Vec<_>>().concat(),
            scales: parts.iter().map(|part| part.scales.as_slice()).collect::<Vec<_>>().concat(),
        })
    }

    /// Some outputs, as they are: what [`Quantised::stack`] put together.
    ///
    /// # Panics
    /// Where there are no such outputs.
    pub fn rows(&self, rows: std::ops::Range<usize>) -> Self {
        let part = |per_row: usize| rows.start * per_row..rows.end * per_row;
        Self {
            bits: self.bits,
            outputs: rows.len(),
            inputs: self.inputs,
            group: self.group,
            packed: self.packed[part(self.row_bytes())].to_vec(),
            scales: self.scales[part(self.inputs / self.group)].to_vec(),
        }
    }

    /// Takes over integers, row-major `[outputs, inputs]`, and scales, row-major `[outputs, inputs / group]`.
    ///
    /// # Errors
    /// When their numbers do not fit the shape, the group does not fit the inputs, an integer does not fit the bits, or
    /// a scale times an integer would not be finite.
    pub fn from_parts(
        bits: Bits,
        (outputs, inputs): (usize, usize),
        group: usize,
        values: Vec<i8>,
        scales: Vec<f32>,
    ) -> Result<Self, QuantisedError> {
        check_shape((outputs, inputs), group)?;
        check_length("values", values.len(), outputs.saturating_mul(inputs))?;
        check_scales(bits, outputs * (inputs / group), &scales)?;
        check_range(bits, &values)?;
        let packed = match bits {
            Bits::Eight => values.into_iter().map(i8::cast_unsigned).collect(),
            Bits::Four => {
                let mut packed = Vec::with_capacity(outputs * bits.row_bytes(inputs));
                values.chunks_exact(inputs).for_each(|row| pack_row(bits, row, &mut packed));
                packed
            }
        };
        Ok(Self { bits, outputs, inputs, group, packed, scales })
    }

    /// Takes over integers as [`Quantised::packed`] describes them, without a look at each of four bits; whatever fills
    /// the last words of rows up. Scales are as for [`Quantised::from_parts`].
    ///
    /// # Errors
    /// As [`Quantised::from_parts`].
    pub fn from_packed(
        bits: Bits,
        (outputs, inputs): (usize, usize),
        group: usize,
        mut packed: Vec<u8>,
        scales: Vec<f32>,
    ) -> Result<Self, QuantisedError> {
        check_shape((outputs, inputs), group)?;
        check_length("packed", packed.len(), outputs.saturating_mul(bits.row_bytes(inputs)))?;
        check_scales(bits, outputs * (inputs / group), &scales)?;
        match bits {
            Bits::Eight => check_bytes(&packed)?,
            Bits::Four => fill_up(&mut packed, inputs, OFFSET),
        }
        Ok(Self { bits, outputs, inputs, group, packed, scales })
    }

    /// Bits of each integer.
    pub fn bits(&self) -> Bits {
        self.bits
    }

    /// Rows of the matrix.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the matrix.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// How many consecutive inputs share a scale: a divisor of the inputs, and a multiple of 8 or all inputs.
    pub fn group(&self) -> usize {
        self.group
    }

    /// Whether the inputs of an output can share scales in groups of this size: in one group, or in several whole ones of a
    /// multiple of eight.
    pub fn has_whole_groups(inputs: usize, group: usize) -> bool {
        let is_unit = || group.is_multiple_of(GROUP_UNIT) && inputs.is_multiple_of(group);
        group > 0 && (group == inputs || is_unit())
    }

    /// Bytes that the integers of an output take.
    pub fn row_bytes(&self) -> usize {
        self.bits.row_bytes(self.inputs)
    }

    /// The integers as they are kept, output after output. Eight bits: a byte each, in two's complement. Four bits: eight
    /// in a word of 32 bits, little endian, each plus 8, the first in the lowest bits; each output begins a word, and what
    /// fills its last one up stands for 0.
    pub fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// The same as compressed-tensors writes them, with zeros behind the last integer of an output.
    pub fn packed_for_file(&self) -> Cow<'_, [u8]> {
        if self.bits == Bits::Eight || self.inputs.is_multiple_of(PER_WORD) {
            return Cow::Borrowed(&self.packed);
        }
        let mut packed = self.packed.clone();
        fill_up(&mut packed, self.inputs, 0);
        Cow::Owned(packed)
    }

    /// The integers, row-major `[outputs, inputs]`; one byte each, whatever the bits.
    pub fn values(&self) -> Vec<i8> {
        let mut values = vec![0; self.outputs * self.inputs];
        for (output, row) in values.chunks_exact_mut(self.inputs).enumerate() {
            self.read_row(output, row);
        }
        values
    }

    /// Writes the integers of an output, one for each input.
    ///
    /// # Panics
    /// Where there is no such output, or `row` has not as many numbers as there are inputs.
    pub fn read_row(&self, output: usize, row: &mut [i8]) {
        assert_eq!(row.len(), self.inputs, "one number for each input");
        let packed = &self.packed[output * self.row_bytes()..][..self.row_bytes()];
        unpack_row(self.bits, packed, row);
    }

    /// The scales, row-major `[outputs, inputs / group]`; all finite, of either sign, `0.0` for a group of zeros.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// What the integers stand for, row-major `[outputs, inputs]`; all finite.
    pub fn dequantise(&self) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.outputs * self.inputs);
        let mut row = vec![0; self.inputs];
        for (output, scales) in self.scales.chunks_exact(self.inputs / self.group).enumerate() {
            self.read_row(output, &mut row);
            for (integers, scale) in row.chunks_exact(self.group).zip(scales) {
                values.extend(integers.iter().map(|v| f32::from(*v) * scale));
            }
        }
        values
    }
}

fn check_shape((outputs, inputs): (usize, usize), group: usize) -> Result<(), QuantisedError> {
    if outputs == 0 || inputs == 0 {
        return Err(QuantisedError::Empty { outputs, inputs });
    }
    if !Quantised::has_whole_groups(inputs, group) {
        return Err(QuantisedError::Group { group, inputs });
    }
    Ok(())
}

/// Insists on a number of entries. A shape read from a damaged file may be larger than any memory.
fn check_length(parameter: &'static str, length: usize, expected: usize) -> Result<(), QuantisedError> {
    if length != expected {
        return Err(QuantisedError::Length { parameter, length, expected });
    }
    Ok(())
}

fn check_range(bits: Bits, values: &[i8]) -> Result<(), QuantisedError> {
    let (lowest, highest) = bits.range();
    let outside = |v: &i8| *v < lowest || *v > highest;
    // Without a branch the check of a whole matrix is a few vector instructions.
    if values.iter().fold(false, |any, v| any | outside(v)) {
        let index = values.iter().position(outside).unwrap_or(0);
        return Err(QuantisedError::Value { index, value: values[index], bits });
    }
    Ok(())
}

/// The same of eight bits that lie in bytes.
fn check_bytes(bytes: &[u8]) -> Result<(), QuantisedError> {
    let outside = |byte: &u8| byte.cast_signed() < Bits::Eight.range().0;
    if bytes.iter().fold(false, |any, byte| any | outside(byte)) {
        let index = bytes.iter().position(outside).unwrap_or(0);
        return Err(QuantisedError::Value { index, value: bytes[index].cast_signed(), bits: Bits::Eight });
    }
    Ok(())
}

fn check_scales(bits: Bits, expected: usize, scales: &[f32]) -> Result<(), QuantisedError> {
    check_length("scales", scales.len(), expected)?;
    let largest = f32::MAX / f32::from(bits.range().0).abs();
    let fine = |scale: &f32| scale.abs() <= largest;
    if !scales.iter().fold(true, |all, scale| all & fine(scale)) {
        let index = scales.iter().position(|scale| !fine(scale)).unwrap_or(0);
        return Err(QuantisedError::Scale { index, value: scales[index], largest });
    }
    Ok(())
}

/// The least and the greatest of some values and 0, and whether all are numbers that may be quantised.
fn span(values: &[f32]) -> (f32, f32, bool) {
    /// As many extremes are kept side by side: one alone would be a chain that no vector instruction shortens.
    const LANES: usize = 8;
    let (mut lows, mut highs, mut bad) = ([0.0_f32; LANES], [0.0_f32; LANES], [0_u32; LANES]);
    let mut widen = |lane: usize, value: f32| {
        lows[lane] = if value < lows[lane] { value } else { lows[lane] };
        highs[lane] = if value > highs[lane] { value } else { highs[lane] };
        // Comparisons pass over what is not a number, so that this one is turned round.
        let allowed = value.abs() <= LARGEST;
        bad[lane] |= u32::from(!allowed);
    };
    let (chunks, rest) = values.as_chunks::<LANES>();
    chunks.iter().for_each(|chunk| (0..LANES).for_each(|lane| widen(lane, chunk[lane])));
    rest.iter().enumerate().for_each(|(lane, value)| widen(lane, *value));
    (lows.into_iter().fold(0.0, f32::min), highs.into_iter().fold(0.0, f32::max), bad == [0; LANES])
}

/// The nearest integer, ties to even, of a number from -128 to 127: adding the rounder leaves it in the low bits of the
/// significand. A call of the system's function for each weight, or a conversion that saturates, would take most of the
/// time.
fn nearest(x: f32) -> i8 {
    const ROUNDER: f32 = 12_582_912.0;
    ((x + ROUNDER).to_bits() as u8).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Shapes with a group that fits them.
    fn shapes() -> impl Strategy<Value = (usize, usize, Option<usize>)> {
        prop_oneof![
            (1usize..5, 1usize..40).prop_map(|(outputs, inputs)| (outputs, inputs, None)),
            (1usize..5, 1usize..5, 1usize..4).prop_map(|(outputs, unit, groups)| (
                outputs,
                unit * 8 * groups,
                Some(unit * 8)
            )),
        ]
    }

    fn matrices() -> impl Strategy<Value = (Vec<f32>, (usize, usize), Option<usize>)> {
        // Magnitudes from subnormal to the largest allowed, all in one matrix or each alone.
        let value = prop_oneof![
            8 => -1.0f32..1.0,
            1 => Just(0.0),
            1 => (-45.0f32..38.0, any::<bool>()).prop_map(|(e, sign)| 10f32.powf(e) * if sign { 1.0 } else { -1.0 }),
        ];
        (shapes(), -30.0f32..30.0).prop_flat_map(move |((outputs, inputs, group), power)| {
            prop::collection::vec(value.clone(), outputs * inputs).prop_map(move |values| {
                let scaled = values.iter().map(|v| (v * 10f32.powf(power)).clamp(-LARGEST, LARGEST)).collect();
                (scaled, (outputs, inputs), group)
            })
        })
    }

    proptest! {
        #[test]
        fn every_value_is_at_most_half_a_scale_from_itself((values, shape, group) in matrices()) {
            for bits in [Bits::Eight, Bits::Four] {
                let quantised = Quantised::of(&values, shape, bits, group).unwrap();
                let scales = quantised.scales().iter().flat_map(|s| std::iter::repeat_n(s, quantised.group()));
                for ((original, back), scale) in values.iter().zip(quantised.dequantise()).zip(scales) {
                    // The product itself is rounded once, to 24 bits of at most 127 scales.
                    let allowed = f64::from(scale.abs()) * (0.5 + 128.0 / f64::from(1 << 23));
                    let error = (f64::from(*original) - f64::from(back)).abs();
                    prop_assert!(error <= allowed, "{bits}: {original:e} became {back:e} with the scale {scale:e}");
                }
            }
        }

        #[test]
        fn the_parts_of_a_quantised_matrix_are_a_quantised_matrix((values, shape, group) in matrices()) {
            for bits in [Bits::Eight, Bits::Four] {
                let one = Quantised::of(&values, shape, bits, group).unwrap();
                let parts = (one.values(), one.scales().to_vec());
                let again = Quantised::from_parts(bits, shape, one.group(), parts.0, parts.1).unwrap();
                prop_assert!(again.dequantise().iter().all(|v| v.is_finite()));
                prop_assert_eq!(&again, &one);
                let (packed, scales) = (one.packed_for_file().into_owned(), one.scales().to_vec());
                let again = Quantised::from_packed(bits, shape, one.group(), packed, scales).unwrap();
                prop_assert_eq!(again, one);
            }
        }

        #[test]
        fn what_is_not_a_finite_number_is_named_with_its_index(
            (mut values, shape, group) in matrices(),
            place in any::<prop::sample::Index>(),
            bad in prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2e38]),
        ) {
            let place = place.index(values.len());
            values[place] = bad;
            let error = Quantised::of(&values, shape, Bits::Eight, group).unwrap_err();
            let named = matches!(error, QuantisedError::Weight { index, value }
                if index == place && value.to_bits() == bad.to_bits());
            prop_assert!(named, "{error}");
        }
    }

    #[test]
    fn four_bits_take_minus_eight_for_the_largest_of_either_sign() {
        let mut values = [0.25, -0.5, 0.0, 1.0, 0.125, 0.0, 0.0, 0.0];
        for sign in [1.0, -1.0] {
            values.iter_mut().for_each(|v| *v *= sign);
            let quantised = Quantised::of(&values, (1, 8), Bits::Four, None).unwrap();
            assert_eq!(quantised.values(), [-2, 4, 0, -8, -1, 0, 0, 0]);
            assert_eq!(quantised.scales(), [-0.125 * values[3].signum()]);
            assert_eq!(quantised.dequantise(), values);
        }
        // Nearly as large on the other side: with the scale 1/8 it would be cut at 7, almost a whole step away.
        let quantised = Quantised::of(&[-1.0, 0.99], (1, 2), Bits::Four, None).unwrap();
        assert_eq!(quantised.scales(), [0.99 / 7.5]);
        assert_eq!(quantised.values(), [-8, 7]);
    }

    #[test]
    fn a_group_of_zeros_has_the_scale_zero() {
        let values = [[0.0; 8], [2.54; 8], [-0.0; 8], [0.0; 8]].concat();
        for bits in [Bits::Eight, Bits::Four] {
            let quantised = Quantised::of(&values, (2, 16), bits, Some(8)).unwrap();
            for (index, scale) in quantised.scales().iter().enumerate() {
                assert_eq!(*scale == 0.0, index != 1, "{bits}");
                assert_eq!(quantised.values()[index * 8..][..8].iter().all(|v| *v == 0), index != 1, "{bits}");
            }
        }
    }

    #[test]
    fn groups_divide_the_inputs_in_eights_or_are_all_of_them() {
        let of =
            |inputs: usize, group: Option<usize>| Quantised::of(&vec![1.0; inputs], (1, inputs), Bits::Four, group);
        for (inputs, group) in [(7, None), (7, Some(7)), (24, Some(8)), (24, Some(24)), (64, Some(32))] {
            assert_eq!(of(inputs, group).unwrap().group(), group.unwrap_or(inputs));
        }
        for (inputs, group) in [(24, 0), (24, 4), (24, 12), (24, 16), (24, 48), (7, 8)] {
            assert_eq!(of(inputs, Some(group)).unwrap_err(), QuantisedError::Group { group, inputs });
        }
        assert_eq!(
            of(48, Some(12)).unwrap_err().to_string(),
            "`group` is 12; allowed: a divisor of 48 that is a multiple of 8, or 48 (one scale for each output)"
        );
    }

    #[test]
    fn damaged_parts_are_refused_with_what_is_allowed() {
        let parts = |bits, shape, group, values: &[i8], scales: &[f32]| {
            Quantised::from_parts(bits, shape, group, values.to_vec(), scales.to_vec()).map_err(|e| e.to_string())
        };
        let (values, scales) = ([3i8; 32], [0.5f32; 4]);
        assert!(parts(Bits::Four, (2, 16), 8, &values, &scales).is_ok());
        let cases = [
            (parts(Bits::Four, (0, 16), 8, &[], &[]), "of 0 outputs and 16 inputs"),
            (parts(Bits::Four, (2, 16), 8, &values[..31], &scales), "`values` has 31 entries; allowed: 32"),
            (parts(Bits::Four, (usize::MAX, 16), 8, &values, &scales), "`values` has 32 entries; allowed: 184467"),
            (parts(Bits::Four, (2, 16), 8, &values, &scales[..3]), "`scales` has 3 entries; allowed: 4"),
            (parts(Bits::Four, (2, 16), 16, &values, &scales), "`scales` has 4 entries; allowed: 2"),
            (parts(Bits::Four, (2, 16), 0, &values, &scales), "`group` is 0; allowed: a divisor of 16"),
        ];
        for (result, expected) in cases {
            let error = result.unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        for (bits, bad, expected) in [
            (Bits::Four, 8, "`values[17]` is 8; allowed in 4 bits: -8 to 7"),
            (Bits::Four, -9, "`values[17]` is -9; allowed in 4 bits: -8 to 7"),
            (Bits::Eight, -128, "`values[17]` is -128; allowed in 8 bits: -127 to 127"),
        ] {
            let mut values = values;
            values[17] = bad;
            assert_eq!(parts(bits, (2, 16), 8, &values, &scales).unwrap_err(), expected);
        }
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX / 4.0] {
            let scales = [0.5, 0.5, bad, 0.5];
            let error = parts(Bits::Four, (2, 16), 8, &values, &scales).unwrap_err();
            assert!(error.starts_with(&format!("`scales[2]` is {bad}; allowed: numbers of magnitude")), "{error}");
        }
    }

    #[test]
    fn only_like_matrices_are_stacked() {
        let of = |bits, group| Quantised::of(&[1.0; 32], (2, 16), bits, Some(group)).unwrap();
        let stacked = Quantised::stack(&[&of(Bits::Eight, 8), &of(Bits::Eight, 8)]).unwrap();
        assert_eq!((stacked.outputs(), stacked.values().len(), stacked.scales().len()), (4, 64, 8));
        assert_eq!(Quantised::stack(&[&of(Bits::Eight, 8), &of(Bits::Eight, 16)]), None);
        assert_eq!(Quantised::stack(&[&of(Bits::Eight, 8), &of(Bits::Four, 8)]), None);
        assert_eq!(Quantised::stack(&[]), None);
    }
}

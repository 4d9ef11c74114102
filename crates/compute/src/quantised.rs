//! Matrices of small integers with scales.
//!
//! `w[n, k] ≈ values[n, k] · scales[n, k / group]`, symmetric: there are no zero points. With 8 bits values are in
//! −127..=127 and the scale is the largest magnitude of a group over 127 (LLM.int8(), 2208.07339, section 2.1). With 4
//! bits they are in −8..=7 and the scale is the value of largest magnitude over −8, so that all sixteen are used. Each
//! value is off by at most half a scale, the largest positive one of a group of 4 bits by at most one.

/// Bits of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bits {
    /// Values in −127..=127.
    Eight,
    /// Values in −8..=7.
    Four,
}

impl Bits {
    /// How many they are.
    pub fn count(self) -> usize {
        match self {
            Self::Eight => 8,
            Self::Four => 4,
        }
    }

    /// The smallest and the largest value.
    pub fn range(self) -> (i8, i8) {
        match self {
            Self::Eight => (-127, 127),
            Self::Four => (-8, 7),
        }
    }
}

/// Groups that do not span a whole row are a multiple of this, because kernels read as many inputs at a time.
const GROUP_STEP: usize = 8;

/// Why there is no such matrix.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum QuantisedError {
    /// A group does not divide the inputs, or kernels cannot read it.
    #[error("`group` is {group}; allowed: {inputs}, the number of inputs, or a divisor of it that is a multiple of 8")]
    Group {
        /// The group.
        group: usize,
        /// The inputs.
        inputs: usize,
    },
    /// There are more or fewer entries than the shape says.
    #[error("`{parameter}` has {given} entries; expected: {expected}")]
    Length {
        /// Values or scales.
        parameter: &'static str,
        /// Entries given.
        given: usize,
        /// Entries expected.
        expected: usize,
    },
    /// A value to be quantised, or a scale, is not a finite number.
    #[error("`{parameter}` has {given} at index {index}; allowed: finite numbers")]
    NotFinite {
        /// Values or scales.
        parameter: &'static str,
        /// The entry.
        given: f32,
        /// Where it stands.
        index: usize,
    },
    /// An integer is not in the range of its bits.
    #[error("`values` has {given} at index {index}; allowed with {bits} bits: {lowest} to {highest}")]
    Range {
        /// The entry.
        given: i8,
        /// Where it stands.
        index: usize,
        /// The bits.
        bits: usize,
        /// The smallest value allowed.
        lowest: i8,
        /// The largest value allowed.
        highest: i8,
    },
}

/// A matrix `[N, K]` of small integers, with one scale for each group of consecutive inputs of an output.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantised {
    bits: Bits,
    outputs: usize,
    inputs: usize,
    group: usize,
    values: Vec<i8>,
    scales: Vec<f32>,
}

impl Quantised {
    /// Quantises a row-major matrix `[outputs, inputs]`; without a group, all inputs of an output share a scale.
    ///
    /// # Errors
    /// When the matrix has another length or an entry that is not finite, or the group cannot be.
    pub fn of(
        values: &[f32],
        (outputs, inputs): (usize, usize),
        bits: Bits,
        group: Option<usize>,
    ) -> Result<Self, QuantisedError> {
        let group = group.unwrap_or(inputs);
        check_group(group, inputs)?;
        check_length("values", values.len(), outputs * inputs)?;
        check_finite("values", values)?;
        let (lowest, highest) = bits.range();
        let (mut quantised, mut scales) = (Vec::with_capacity(values.len()), Vec::new());
        for part in values.chunks(group.max(1)) {
            let extreme = part.iter().fold(0.0_f32, |extreme, x| if x.abs() > extreme.abs() { *x } else { extreme });
            let scale = match bits {
                Bits::Eight => extreme.abs() / f32::from(highest),
                Bits::Four => extreme / f32::from(lowest),
            };
            // A division, as the inverse of the smallest scales is beyond f32.
            let quantise = |x: &f32| match scale {
                0.0 => 0,
                scale => nearest(x / scale).clamp(f32::from(lowest), f32::from(highest)) as i8,
            };
            quantised.extend(part.iter().map(quantise));
            scales.push(scale);
        }
        Ok(Self { bits, outputs, inputs, group, values: quantised, scales })
    }

    /// A matrix of parts that were quantised elsewhere: row-major values `[outputs, inputs]` and scales
    /// `[outputs, inputs / group]`.
    ///
    /// # Errors
    /// When the group cannot be, a part has another length, a value is out of range or a scale is not finite.
    pub fn from_parts(
        bits: Bits,
        (outputs, inputs): (usize, usize),
        group: usize,
        values: Vec<i8>,
        scales: Vec<f32>,
    ) -> Result<Self, QuantisedError> {
        check_group(group, inputs)?;
        check_length("values", values.len(), outputs * inputs)?;
        check_length("scales", scales.len(), outputs * inputs.checked_div(group).unwrap_or(0))?;
        check_finite("scales", &scales)?;
        let (lowest, highest) = bits.range();
        match values.iter().position(|value| !(lowest..=highest).contains(value)) {
            Some(index) => {
                Err(QuantisedError::Range { given: values[index], index, bits: bits.count(), lowest, highest })
            }
            None => Ok(Self { bits, outputs, inputs, group, values, scales }),
        }
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
            values: parts.iter().flat_map(|part| &part.values).copied().collect(),
            scales: parts.iter().flat_map(|part| &part.scales).copied().collect(),
        })
    }

    /// The bits of a value.
    pub fn bits(&self) -> Bits {
        self.bits
    }
    /// `N`.
    pub fn outputs(&self) -> usize {
        self.outputs
    }
    /// `K`.
    pub fn inputs(&self) -> usize {
        self.inputs
    }
    /// Inputs that share a scale.
    pub fn group(&self) -> usize {
        self.group
    }
    /// The integers, `[N, K]`.
    pub fn values(&self) -> &[i8] {
        &self.values
    }
    /// The scales, `[N, K / group]`.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The matrix as real numbers, `[N, K]`.
    pub fn dequantise(&self) -> Vec<f32> {
        let parts = self.values.chunks(self.group.max(1)).zip(&self.scales);
        parts.flat_map(|(values, &scale)| values.iter().map(move |&value| f32::from(value) * scale)).collect()
    }
}

/// The nearest integer, ties to even, of a number of magnitude below 2²²; a call of the system's function for each number
/// would take most of the time.
fn nearest(x: f32) -> f32 {
    const ROUNDER: f32 = 12_582_912.0;
    (x + ROUNDER) - ROUNDER
}

fn check_group(group: usize, inputs: usize) -> Result<(), QuantisedError> {
    let divides = group == inputs || group > 0 && inputs.is_multiple_of(group) && group.is_multiple_of(GROUP_STEP);
    if divides { Ok(()) } else { Err(QuantisedError::Group { group, inputs }) }
}

fn check_length(parameter: &'static str, given: usize, expected: usize) -> Result<(), QuantisedError> {
    if given == expected { Ok(()) } else { Err(QuantisedError::Length { parameter, given, expected }) }
}

fn check_finite(parameter: &'static str, entries: &[f32]) -> Result<(), QuantisedError> {
    match entries.iter().position(|entry| !entry.is_finite()) {
        Some(index) => Err(QuantisedError::NotFinite { parameter, given: entries[index], index }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_are_off_by_half_a_scale(
            values in prop::collection::vec(-3.0_f32..3.0, 96), four: bool, group in prop_oneof![Just(8), Just(16), Just(48)]
        ) {
            let bits = if four { Bits::Four } else { Bits::Eight };
            let matrix = Quantised::of(&values, (2, 48), bits, Some(group)).unwrap();
            for (i, (value, back)) in values.iter().zip(matrix.dequantise()).enumerate() {
                // The scale of 4 bits is signed, and 8 of them would be needed where 7 is the largest value.
                let (scale, half) = (matrix.scales()[i / group], if four { 1.0 } else { 0.5 });
                prop_assert!((value - back).abs() <= half * scale.abs() * 1.001, "{value} became {back}");
                if four && value / scale <= 7.0 {
                    prop_assert!((value - back).abs() <= 0.5 * scale.abs() * 1.001, "{value} became {back}");
                }
            }
            // The extreme of each group is met, and what was quantised stays as it is.
            let again = Quantised::of(&matrix.dequantise(), (2, 48), bits, Some(group)).unwrap();
            prop_assert_eq!(again.values(), matrix.values());
            let parts = (matrix.values().to_vec(), matrix.scales().to_vec());
            prop_assert_eq!(Quantised::from_parts(bits, (2, 48), group, parts.0, parts.1), Ok(matrix));
        }
    }

    #[test]
    fn groups_of_zeros_stay_zeros_and_tiny_numbers_do_not_overflow() {
        let matrix = Quantised::of(&[0.0; 32], (2, 16), Bits::Four, Some(8)).unwrap();
        assert_eq!((matrix.values(), matrix.scales()), (&[0; 32][..], &[0.0; 4][..]));
        let tiny = Quantised::of(&[1e-40, -1e-40, 0.0, 1e-41], (1, 4), Bits::Eight, None).unwrap();
        assert!(tiny.dequantise().iter().all(|x| x.abs() < 2e-40));
    }

    #[test]
    fn what_cannot_be_is_told_with_what_can() {
        let told = |result: Result<Quantised, QuantisedError>| result.unwrap_err().to_string();
        let of = |values: &[f32], group| told(Quantised::of(values, (2, 16), Bits::Four, Some(group)));
        for group in [0, 3, 4, 12, 32] {
            let text = of(&[0.0; 32], group);
            assert_eq!(
                text,
                format!(
                    "`group` is {group}; allowed: 16, the number of inputs, or a divisor of it that is a multiple of 8"
                )
            );
        }
        assert_eq!(of(&[0.0; 31], 8), "`values` has 31 entries; expected: 32");
        let mut damaged = [0.0; 32];
        damaged[5] = f32::NAN;
        assert_eq!(of(&damaged, 8), "`values` has NaN at index 5; allowed: finite numbers");
        damaged[5] = f32::INFINITY;
        assert_eq!(of(&damaged, 8), "`values` has inf at index 5; allowed: finite numbers");

        let parts = |bits, values: Vec<i8>, scales| told(Quantised::from_parts(bits, (2, 16), 8, values, scales));
        assert_eq!(parts(Bits::Four, vec![0; 32], vec![1.0; 2]), "`scales` has 2 entries; expected: 4");
        let mut values = vec![0; 32];
        values[9] = 8;
        assert_eq!(
            parts(Bits::Four, values.clone(), vec![1.0; 4]),
            "`values` has 8 at index 9; allowed with 4 bits: -8 to 7"
        );
        values[9] = -128;
        assert!(parts(Bits::Eight, values, vec![1.0; 4]).ends_with("allowed with 8 bits: -127 to 127"));
        assert!(parts(Bits::Eight, vec![0; 32], vec![f32::NEG_INFINITY; 4]).starts_with("`scales` has -inf"));
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

//! How the integers of a quantised matrix lie in bytes; see [`Quantised::packed`](super::Quantised::packed).

use super::Bits;

/// Integers of four bits in a word of 32.
pub(super) const PER_WORD: usize = 8;
/// Bytes of such a word.
const WORD: usize = size_of::<u32>();
/// What is added to an integer of four bits, so that none is negative.
pub(super) const OFFSET: u8 = 8;

impl Bits {
    /// Bytes that the integers of an output take: one for each input, or whole words of eight inputs.
    pub fn row_bytes(self, inputs: usize) -> usize {
        match self {
            Self::Four => inputs.div_ceil(PER_WORD) * WORD,
            Self::Eight => inputs,
        }
    }
}

/// The halves of a word's bytes, from the lowest up, as kernels take them apart: the low halves of the four bytes are the
/// first four integers of eight, the high halves the last four.
pub(crate) fn in_byte_halves(word: u32) -> u32 {
    // Four integers of 16 bits, one in each byte.
    let spread = |half: u32| {
        let pairs = (half | half << 8) & 0x00ff_00ff;
        (pairs | pairs << 4) & 0x0f0f_0f0f
    };
    spread(word & 0xffff) | spread(word >> 16) << 4
}

/// Integers of an output behind those of the outputs before, as [`Quantised::packed`] describes them.
pub(super) fn pack_row(bits: Bits, row: &[i8], packed: &mut Vec<u8>) {
    match bits {
        Bits::Eight => packed.extend(row.iter().map(|value| value.cast_unsigned())),
        Bits::Four => {
            let end = packed.len() + bits.row_bytes(row.len());
            let unsigned = |value: i8| (value + OFFSET.cast_signed()).cast_unsigned();
            let (pairs, rest) = row.as_chunks::<2>();
            packed.extend(pairs.iter().map(|[low, high]| unsigned(*low) | unsigned(*high) << 4));
            packed.extend(rest.iter().map(|last| unsigned(*last) | OFFSET << 4));
            packed.resize(end, OFFSET | OFFSET << 4);
        }
    }
}

/// Writes the integers of an output, one for each input, from its bytes.
pub(super) fn unpack_row(bits: Bits, packed: &[u8], row: &mut [i8]) {
    match bits {
        Bits::Eight => row.iter_mut().zip(packed).for_each(|(value, byte)| *value = byte.cast_signed()),
        Bits::Four => {
            let signed = |half: u8| half.cast_signed() - OFFSET.cast_signed();
            let (pairs, rest) = row.as_chunks_mut::<2>();
            pairs.iter_mut().zip(packed).for_each(|(pair, byte)| *pair = [signed(byte & 15), signed(byte >> 4)]);
            rest.iter_mut().zip(&packed[pairs.len()..]).for_each(|(value, byte)| *value = signed(byte & 15));
        }
    }
}

/// Writes a number of four bits behind the last integer of each output, up to a whole word.
pub(super) fn fill_up(packed: &mut [u8], inputs: usize, filling: u8) {
    if inputs.is_multiple_of(PER_WORD) {
        return;
    }
    for row in packed.chunks_exact_mut(Bits::Four.row_bytes(inputs)) {
        let (last, behind) = row[inputs / 2..].split_at_mut(inputs % 2);
        last.iter_mut().for_each(|byte| *byte = *byte & 15 | filling << 4);
        behind.fill(filling | filling << 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Quantised;

    #[test]
    fn four_bits_lie_eight_in_a_word_and_are_taken_apart_by_halves_of_bytes() {
        let values: Vec<i8> = (-8..=1).collect();
        let matrix = Quantised::from_parts(Bits::Four, (1, 10), 10, values.clone(), vec![1.0]).unwrap();
        let words = |bytes: &[u8]| bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect::<Vec<_>>();
        assert_eq!(words(matrix.packed()), [0x7654_3210, 0x8888_8898]);
        assert_eq!(words(&matrix.packed_for_file()), [0x7654_3210, 0x0000_0098]);
        assert_eq!(in_byte_halves(0x7654_3210).to_le_bytes(), [0x40, 0x51, 0x62, 0x73]);
        let filled = [0x7654_3210_u32, 0xffff_ff98].map(u32::to_le_bytes).concat();
        let again = Quantised::from_packed(Bits::Four, (1, 10), 10, filled, vec![1.0]).unwrap();
        assert_eq!((again.values(), again), (values, matrix));
        let refused = |bits, packed: Vec<u8>| {
            Quantised::from_packed(bits, (1, 10), 10, packed, vec![1.0]).unwrap_err().to_string()
        };
        assert_eq!(refused(Bits::Four, vec![0; 5]), "`packed` has 5 entries; allowed: 8");
        assert_eq!(refused(Bits::Eight, vec![0x80; 10]), "`values[0]` is -128; allowed in 8 bits: -127 to 127");
    }
}

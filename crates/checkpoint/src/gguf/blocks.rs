//! The number types of GGUF: real numbers, and blocks of small integers with their scales.
//!
//! | type | block | holds |
//! |---|---|---|
//! | Q8_0 | 32 numbers in 34 bytes | f16 scale, 32 signed bytes |
//! | Q4_0 | 32 in 18 | f16 scale, 16 bytes with two numbers plus 8 each: the low halves first, then the high ones |
//! | Q4_K | 256 in 144 | f16 scale of scales, f16 scale of offsets, 8 scales and 8 offsets of 6 bits in 12 bytes, 128 bytes |
//! | Q6_K | 256 in 210 | 128 bytes with low 4 bits, 64 with high 2 bits, 16 signed scales, f16 scale of scales |
//!
//! Read against `gguf-py/gguf/quants.py` and `ggml-common.h` of llama.cpp.

use crate::quantised_tensors::raise_lowest;
use aquatint_compute::{Bits, Quantised, QuantisedError};
use half::{bf16, f16};

/// Numbers of a block of the types with one scale.
pub(super) const SHORT: usize = 32;
/// Numbers of a block of the types with scales of scales.
const LONG: usize = 256;
/// Numbers with a scale and an offset of their own in Q4_K.
const PART: usize = 32;

/// How the numbers of a tensor are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockType {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4_0,
    Q4K,
    Q6K,
}

impl BlockType {
    /// All that can be read, for messages.
    pub(super) const NAMES: &'static str = "F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q6_K";

    /// The type with a number in the file (`ggml_type`).
    pub(super) fn of(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            14 => Self::Q6K,
            30 => Self::Bf16,
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q8_0 => "Q8_0",
            Self::Q4_0 => "Q4_0",
            Self::Q4K => "Q4_K",
            Self::Q6K => "Q6_K",
        }
    }

    /// Numbers of a block.
    pub(super) fn numbers(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q8_0 | Self::Q4_0 => SHORT,
            Self::Q4K | Self::Q6K => LONG,
        }
    }

    /// Bytes of a block.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
            Self::Q4K => 144,
            Self::Q6K => 210,
        }
    }

    /// In how many bits its integers stay, if they do.
    pub(super) fn bits(self) -> Option<Bits> {
        match self {
            Self::Q8_0 => Some(Bits::Eight),
            Self::Q4_0 => Some(Bits::Four),
            Self::F32 | Self::F16 | Self::Bf16 | Self::Q4K | Self::Q6K => None,
        }
    }

    /// The numbers that whole blocks stand for, behind those that are there already.
    pub(super) fn decode(self, bytes: &[u8], numbers: &mut Vec<f32>) {
        let blocks = bytes.chunks_exact(self.bytes());
        match self {
            Self::F32 => numbers.extend(blocks.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
            Self::F16 => numbers.extend(blocks.map(half)),
            Self::Bf16 => numbers.extend(blocks.map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32())),
            Self::Q8_0 | Self::Q4_0 => blocks.for_each(|block| {
                let scale = half(block);
                let mut integers = [0; SHORT];
                self.integers(block, &mut integers);
                numbers.extend(integers.map(|integer| scale * f32::from(integer)));
            }),
            Self::Q4K => blocks.for_each(|block| q4_k(block, numbers)),
            Self::Q6K => blocks.for_each(|block| q6_k(block, numbers)),
        }
    }

    /// The integers of one block of a type whose integers stay.
    fn integers(self, block: &[u8], integers: &mut [i8; SHORT]) {
        let packed = &block[2..];
        if self == Self::Q4_0 {
            for (at, byte) in packed.iter().enumerate() {
                let signed = |nibble: u8| nibble.cast_signed() - 8;
                (integers[at], integers[at + SHORT / 2]) = (signed(byte & 15), signed(byte >> 4));
            }
        } else {
            integers.iter_mut().zip(packed).for_each(|(integer, byte)| *integer = byte.cast_signed());
        }
    }

    /// A matrix of a type whose integers stay, from its rows in the order in which they are wanted. As elsewhere, -128 is
    /// taken as -127, since products want a range that is symmetric.
    pub(super) fn quantised<'a>(
        self,
        bits: Bits,
        (outputs, inputs): (usize, usize),
        rows: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Quantised, QuantisedError> {
        let mut packed = Vec::with_capacity(outputs * bits.row_bytes(inputs));
        let mut scales = Vec::with_capacity(outputs * inputs / SHORT);
        for block in rows.flat_map(|row| row.chunks_exact(self.bytes())) {
            scales.push(half(block));
            match bits {
                Bits::Eight => packed.extend_from_slice(&block[2..]),
                Bits::Four => {
                    let (pairs, _) = block[2..].as_chunks::<2>();
                    packed.extend(pairs.iter().map(|[first, second]| first & 15 | second << 4));
                    packed.extend(pairs.iter().map(|[first, second]| first >> 4 | second & 0xf0));
                }
            }
        }
        if bits == Bits::Eight {
            raise_lowest(&mut packed);
        }
        Quantised::from_packed(bits, (outputs, inputs), SHORT, packed, scales)
    }
}

/// The half-precision number at the beginning of some bytes.
fn half(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// `(scale of scales · scale) · number - scale of offsets · offset`, in eight parts of 32; parts 0 and 1 are the low and the
/// high halves of the first 32 bytes, and so on.
fn q4_k(block: &[u8], numbers: &mut Vec<f32>) {
    let (scale, offset) = (half(block), half(&block[2..]));
    let (packed, bytes) = (&block[4..16], &block[16..]);
    for (part, bytes) in bytes.chunks_exact(PART).flat_map(|bytes| [bytes, bytes]).enumerate() {
        let (factor, least) = q4_k_part(packed, part);
        let (factor, least) = (scale * f32::from(factor), offset * f32::from(least));
        let shift = 4 * (part % 2);
        numbers.extend(bytes.iter().map(|byte| factor * f32::from(byte >> shift & 15) - least));
    }
}

/// The 6-bit scale and offset of a part: whole in bytes 0 to 7 for the first four parts; for the last four, the low bits in
/// bytes 8 to 11 and the high bits on top of the former.
fn q4_k_part(packed: &[u8], part: usize) -> (u8, u8) {
    match part {
        0..4 => (packed[part] & 63, packed[part + 4] & 63),
        _ => (packed[part + 4] & 15 | (packed[part - 4] >> 6) << 4, packed[part + 4] >> 4 | (packed[part] >> 6) << 4),
    }
}

/// `(scale of scales · scale) · (number - 32)`, in halves of 128 numbers, each in four parts of 32 whose low bits are the low
/// and high halves of 64 bytes and whose high bits are two bits each of 32 bytes. A scale is for 16 numbers.
fn q6_k(block: &[u8], numbers: &mut Vec<f32>) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let scale = half(&block[208..]);
    for side in 0..2 {
        let (low, high, scales) = (&low[64 * side..], &high[32 * side..], &scales[8 * side..]);
        for part in 0..4 {
            let low = &low[32 * (part % 2)..];
            for at in 0..32 {
                let number = low[at] >> (4 * (part / 2)) & 15 | (high[at] >> (2 * part) & 3) << 4;
                let factor = scale * f32::from(scales[2 * part + at / 16].cast_signed());
                numbers.push(factor * (f32::from(number) - 32.0));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packs numbers of 6-bit scales, offsets and 4-bit numbers, one by one, by the positions of their bits.
    #[test]
    fn q4_k_is_unpacked_as_it_is_packed() {
        let (scales, offsets): (Vec<u8>, Vec<u8>) = (0..8).map(|part| (7 * part + 5, 63 - 8 * part)).unzip();
        let nibble = |at: usize| ((at * 7 + at / 32) % 16) as u8;
        let mut block = [f16::from_f32(0.5).to_le_bytes(), f16::from_f32(0.25).to_le_bytes()].concat();
        let mut bytes = [0_u8; 12];
        for part in 0..4 {
            bytes[part] = scales[part] | scales[part + 4] >> 4 << 6;
            bytes[part + 4] = offsets[part] | offsets[part + 4] >> 4 << 6;
            bytes[part + 8] = scales[part + 4] & 15 | (offsets[part + 4] & 15) << 4;
        }
        block.extend(bytes);
        for at in 0..128 {
            let first = at / 32 * 64 + at % 32;
            block.push(nibble(first) | nibble(first + 32) << 4);
        }
        let mut numbers = Vec::new();
        BlockType::Q4K.decode(&block, &mut numbers);
        let expected = (0..256).map(|at| {
            let part = at / 32;
            0.5 * f32::from(scales[part]) * f32::from(nibble(at)) - 0.25 * f32::from(offsets[part])
        });
        assert_eq!(numbers, expected.collect::<Vec<_>>());
    }

    #[test]
    fn q6_k_is_unpacked_as_it_is_packed() {
        let number = |at: usize| ((at * 11 + at / 16) % 64) as u8;
        let mut block = vec![0_u8; 208];
        for at in 0..256 {
            let (side, part, column) = (at / 128, at % 128 / 32, at % 32);
            block[64 * side + 32 * (part % 2) + column] |= (number(at) & 15) << (4 * (part / 2));
            block[128 + 32 * side + column] |= number(at) >> 4 << (2 * part);
        }
        let scale = |at: usize| (at as i8 - 8) * 3;
        (0..16).for_each(|at| block[192 + at] = scale(at).cast_unsigned());
        block.extend(f16::from_f32(0.125).to_le_bytes());
        let mut numbers = Vec::new();
        BlockType::Q6K.decode(&block, &mut numbers);
        let expected = (0..256).map(|at| 0.125 * f32::from(scale(at / 16)) * (f32::from(number(at)) - 32.0));
        assert_eq!(numbers, expected.collect::<Vec<_>>());
    }

    #[test]
    fn short_blocks_stay_integers_that_mean_the_same() {
        for (kind, bits) in [(BlockType::Q8_0, Bits::Eight), (BlockType::Q4_0, Bits::Four)] {
            let row: Vec<u8> = (0..3_u8)
                .flat_map(|block| {
                    let scale = f16::from_f32(0.01 * f32::from(block + 1)).to_le_bytes();
                    let integers = (0..kind.bytes() as u8 - 2).map(move |at| at.wrapping_mul(37) ^ block);
                    scale.into_iter().chain(integers)
                })
                .collect();
            let mut numbers = Vec::new();
            kind.decode(&row, &mut numbers);
            let quantised = kind.quantised(bits, (1, 96), [row.as_slice()].into_iter()).unwrap();
            let symmetric = quantised.dequantise().into_iter().zip(&numbers).all(|(rounded, number)| {
                // The one integer that is clipped.
                rounded == *number || (rounded - number).abs() < 0.031
            });
            assert!(symmetric, "{kind:?}");
        }
    }
}

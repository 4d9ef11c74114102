//! How numbers lie in a file: f32, f16 or bf16 when weights are written; f64 too when they are read.

use crate::CheckpointError;
use half::{bf16, f16};
use safetensors::Dtype;
use std::fmt;
use std::str::FromStr;

/// The type in which weights are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// 32 bits: what training works in.
    F32,
    /// 16 bits, 11 of precision, up to 65,504.
    F16,
    /// 16 bits, 8 of precision, the range of f32.
    #[default]
    Bf16,
}

impl Storage {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// The name that config.json gives it (`torch_dtype`).
    pub fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
        }
    }

    pub(crate) fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
        }
    }

    /// Little-endian bytes of the values, each rounded to nearest even.
    pub(crate) fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
            Self::Bf16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        }
    }
}

/// Why bytes are not real numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Undecodable {
    /// Their type is not one of real numbers.
    Type,
    /// The value at this index is not a number, or infinite as f32.
    NotFinite(usize, f64),
}

/// Values that are looked at while they are still in the nearest cache.
const BLOCK: usize = 2048;

/// Widens or rounds little-endian bytes of type `dtype` to f32, all of them finite, behind the values that are there.
pub(crate) fn decode(dtype: Dtype, bytes: &[u8], values: &mut Vec<f32>) -> Result<(), Undecodable> {
    match dtype {
        Dtype::F32 => finite(bytes, f32::from_le_bytes, values),
        Dtype::F16 => finite(bytes, |b| f16::from_le_bytes(b).to_f32(), values),
        Dtype::BF16 => finite(bytes, |b| bf16::from_le_bytes(b).to_f32(), values),
        Dtype::F64 => finite(bytes, |b| f64::from_le_bytes(b) as f32, values),
        _ => Err(Undecodable::Type),
    }
}

/// Decodes block by block and looks at each, so that a large tensor goes through memory once.
fn finite<const WIDTH: usize>(
    bytes: &[u8],
    decode: impl Fn([u8; WIDTH]) -> f32,
    values: &mut Vec<f32>,
) -> Result<(), Undecodable> {
    let (numbers, _) = bytes.as_chunks::<WIDTH>();
    for block in numbers.chunks(BLOCK) {
        let start = values.len();
        values.extend(block.iter().map(|number| decode(*number)));
        // Without a branch for each value this is a few vector instructions.
        if !values[start..].iter().fold(true, |all, value| all & value.is_finite()) {
            let within = values[start..].iter().position(|value| !value.is_finite()).unwrap_or(0);
            return Err(Undecodable::NotFinite(start + within, values[start + within].into()));
        }
    }
    Ok(())
}

/// The first value that is no number, or infinite.
pub(crate) fn first_not_finite(values: &[f32]) -> Option<Undecodable> {
    let index = values.iter().position(|value| !value.is_finite())?;
    Some(Undecodable::NotFinite(index, values[index].into()))
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for Storage {
    type Err = CheckpointError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        match given {
            "f32" | "float32" => Ok(Self::F32),
            "f16" | "float16" => Ok(Self::F16),
            "bf16" | "bfloat16" => Ok(Self::Bf16),
            _ => Err(CheckpointError::Storage { given: given.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(dtype: Dtype, bytes: &[u8]) -> Result<Vec<f32>, Undecodable> {
        let mut values = Vec::new();
        decode(dtype, bytes, &mut values).map(|()| values)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_within_the_precision(values in prop::collection::vec(-1e4f32..1e4, 0..50)) {
            for (storage, tolerance) in [(Storage::F32, 0.0), (Storage::F16, 1.0 / 2048.0), (Storage::Bf16, 1.0 / 256.0)] {
                let bytes = storage.encode(&values);
                prop_assert_eq!(bytes.len(), values.len() * storage.bytes());
                let back = decoded(storage.dtype(), &bytes).unwrap();
                for (a, b) in values.iter().zip(&back) {
                    prop_assert!((a - b).abs() <= a.abs() * tolerance + 1e-7, "{storage}: {a} became {b}");
                }
                // A second round trip changes nothing.
                prop_assert_eq!(storage.encode(&back), bytes);
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_reported_with_its_index() {
        for length in [1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            for (storage, bad) in
                [(Storage::F32, f32::NAN), (Storage::F16, f32::INFINITY), (Storage::Bf16, -f32::INFINITY)]
            {
                for index in [0, length / 2, length - 1] {
                    let mut values = vec![1.0; length];
                    values[index] = bad;
                    let error = decoded(storage.dtype(), &storage.encode(&values)).unwrap_err();
                    let Undecodable::NotFinite(at, value) = error else { panic!("{error:?}") };
                    assert_eq!((at, value.to_string()), (index, bad.to_string()));
                }
            }
        }
        // Finite as f64, but no f32.
        let bytes = [1.0f64, 1e300].map(f64::to_le_bytes).concat();
        assert_eq!(decoded(Dtype::F64, &bytes), Err(Undecodable::NotFinite(1, f64::INFINITY)));
    }

    #[test]
    fn integers_are_not_weights() {
        assert_eq!(decoded(Dtype::I64, &[0; 8]), Err(Undecodable::Type));
        assert!("int4".parse::<Storage>().unwrap_err().to_string().contains("allowed: f32, f16, bf16"));
    }
}

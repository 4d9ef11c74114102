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

/// Widens or rounds little-endian bytes of type `dtype` to f32; `None` for a type that is not a real number.
pub(crate) fn decode(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let pairs = |widen: fn([u8; 2]) -> f32| bytes.chunks_exact(2).map(|c| widen([c[0], c[1]])).collect();
    match dtype {
        Dtype::F32 => Some(bytes.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()),
        Dtype::F16 => Some(pairs(|b| f16::from_le_bytes(b).to_f32())),
        Dtype::BF16 => Some(pairs(|b| bf16::from_le_bytes(b).to_f32())),
        Dtype::F64 => Some(decode_f64(bytes).into_iter().map(|v| v as f32).collect()),
        _ => None,
    }
}

/// Little-endian f64.
pub(crate) fn decode_f64(bytes: &[u8]) -> Vec<f64> {
    let value = |c: &[u8]| f64::from_le_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]]);
    bytes.chunks_exact(8).map(value).collect()
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

    proptest! {
        #[test]
        fn what_was_written_is_read_within_the_precision(values in prop::collection::vec(-1e4f32..1e4, 0..50)) {
            for (storage, tolerance) in [(Storage::F32, 0.0), (Storage::F16, 1.0 / 2048.0), (Storage::Bf16, 1.0 / 256.0)] {
                let bytes = storage.encode(&values);
                prop_assert_eq!(bytes.len(), values.len() * storage.bytes());
                let back = decode(storage.dtype(), &bytes).unwrap();
                for (a, b) in values.iter().zip(&back) {
                    prop_assert!((a - b).abs() <= a.abs() * tolerance + 1e-7, "{storage}: {a} became {b}");
                }
                // A second round trip changes nothing.
                prop_assert_eq!(storage.encode(&back), bytes);
            }
        }
    }

    #[test]
    fn integers_are_not_weights() {
        assert!(decode(Dtype::I64, &[0; 8]).is_none());
        assert!("int4".parse::<Storage>().unwrap_err().to_string().contains("allowed: f32, f16, bf16"));
    }
}

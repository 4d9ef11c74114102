//! In which numbers a matrix is kept for products.

use crate::Bits;
use crate::cpu::{ParseNameError, Precision};
use std::fmt;
use std::str::FromStr;

/// What a matrix is kept in when it is prepared for products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightFormat {
    /// As it is, in 32 bits.
    F32,
    /// Rounded to bfloat16; what it is multiplied with is rounded too.
    Bf16,
    /// Integers of 8 bits with one scale for each output; what it is multiplied with is rounded to 8 bits row by row.
    Int8,
    /// Integers of 4 bits with one scale for each group of that many inputs of an output; otherwise as [`Self::Int8`].
    Int4 {
        /// Inputs that share a scale.
        group: usize,
    },
}

impl WeightFormat {
    /// Default number of inputs that share a scale.
    pub const DEFAULT_GROUP: usize = 32;

    /// The bits of its integers and how many inputs share a scale, as [`Quantised::of`](crate::Quantised::of) takes them;
    /// `None` for real numbers.
    pub fn integers(self) -> Option<(Bits, Option<usize>)> {
        match self {
            Self::F32 | Self::Bf16 => None,
            Self::Int8 => Some((Bits::Eight, None)),
            Self::Int4 { group } => Some((Bits::Four, Some(group))),
        }
    }
}

impl From<Precision> for WeightFormat {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F32 => f.write_str("f32"),
            Self::Bf16 => f.write_str("bf16"),
            Self::Int8 => f.write_str("int8"),
            Self::Int4 { group } => write!(f, "int4:{group}"),
        }
    }
}

impl FromStr for WeightFormat {
    type Err = ParseNameError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        let unknown = || ParseNameError {
            parameter: "weight format",
            value: value.to_owned(),
            allowed: "f32, bf16, int8, int4, int4:GROUP",
        };
        match value.split_once(':') {
            None => match value {
                "f32" => Ok(Self::F32),
                "bf16" => Ok(Self::Bf16),
                "int8" => Ok(Self::Int8),
                "int4" => Ok(Self::Int4 { group: Self::DEFAULT_GROUP }),
                _ => Err(unknown()),
            },
            Some(("int4", group)) => group.parse().map(|group| Self::Int4 { group }).map_err(|_| unknown()),
            Some(_) => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let all = [WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8, WeightFormat::Int4 { group: 64 }];
        for format in all {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!("int4".parse(), Ok(WeightFormat::Int4 { group: WeightFormat::DEFAULT_GROUP }));
        for wrong in ["int5", "int8:64", "int4:", "int4:x", ""] {
            let error = wrong.parse::<WeightFormat>().unwrap_err().to_string();
            assert!(error.contains("allowed: f32, bf16, int8, int4, int4:GROUP"), "{error}");
        }
    }
}

//! Which instructions the CPU device uses, and in which precision its products multiply.

use crate::DeviceError;
use std::fmt;
use std::str::FromStr;

/// A set of instructions for which there are kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CpuPath {
    /// Plain loops on one thread: the specification of every operation.
    Scalar,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// 512-bit vectors.
    Avx512,
    /// The same, and tiles for products of bf16.
    Amx,
}

impl CpuPath {
    /// All paths, the plainest first.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Avx2, Self::Avx512, Self::Amx];

    /// The fastest path that this processor has.
    pub fn best() -> Self {
        *Self::available().last().unwrap_or(&Self::Scalar)
    }

    /// The paths that this processor has, the plainest first.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|path| path.is_available()).collect()
    }

    /// Whether this processor has the instructions.
    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let narrow = has!("avx2") && has!("fma");
            let wide = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
            match self {
                Self::Scalar => true,
                Self::Avx2 => narrow,
                Self::Avx512 => narrow && wide,
                Self::Amx => narrow && wide && has!("avx512bf16") && super::fast::tiles::are_available(),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Scalar
        }
    }

    /// Whether vectors have 512 bits.
    pub(super) fn is_wide(self) -> bool {
        matches!(self, Self::Avx512 | Self::Amx)
    }

    /// Whether this processor multiplies bf16 on this path without going through f32.
    pub fn multiplies_bf16(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            self.is_wide() && self.is_available() && std::arch::is_x86_feature_detected!("avx512bf16")
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            false
        }
    }

    /// An error that says what there is, unless the path is available.
    pub(super) fn require(self) -> Result<(), DeviceError> {
        if self.is_available() {
            return Ok(());
        }
        let available: Vec<String> = Self::available().iter().map(ToString::to_string).collect();
        Err(DeviceError::Unavailable { requested: self.to_string(), available: available.join(", ") })
    }
}

impl fmt::Display for CpuPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        })
    }
}

/// A name that is not one of a closed set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{parameter}` cannot be `{value}`; allowed: {allowed}")]
pub struct ParseNameError {
    /// What was to be named.
    pub parameter: &'static str,
    /// The name given.
    pub value: String,
    /// The names there are.
    pub allowed: &'static str,
}

impl FromStr for CpuPath {
    type Err = ParseNameError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        let unknown =
            || ParseNameError { parameter: "cpu path", value: value.to_owned(), allowed: "scalar, avx2, avx512, amx" };
        Self::ALL.into_iter().find(|path| path.to_string() == value).ok_or_else(unknown)
    }
}

/// In which precision products with weights multiply; they always sum in f32, and everything else is f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// Both factors in full.
    #[default]
    F32,
    /// Both factors rounded to bfloat16 (8 significant bits, to nearest even) just before they are multiplied.
    Bf16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for Precision {
    type Err = ParseNameError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        match value {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(ParseNameError { parameter: "precision", value: value.to_owned(), allowed: "f32, bf16" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for path in CpuPath::ALL {
            assert_eq!(path.to_string().parse(), Ok(path));
        }
        for precision in [Precision::F32, Precision::Bf16] {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        let error = "sse9".parse::<CpuPath>().unwrap_err();
        assert_eq!(error.to_string(), "`cpu path` cannot be `sse9`; allowed: scalar, avx2, avx512, amx");
    }

    #[test]
    fn scalar_is_always_there_and_best_is_the_last() {
        let available = CpuPath::available();
        assert_eq!(available[0], CpuPath::Scalar);
        assert_eq!(available.last(), Some(&CpuPath::best()));
        for path in CpuPath::ALL {
            assert_eq!(path.require().is_ok(), available.contains(&path));
        }
    }
}

//! Where a model is computed and in which numbers.

use aquatint::runtime::DeviceChoice;
use clap::{Args, ValueEnum};

/// Which model, where and in which precision.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DeviceArguments {
    /// Device: auto (an NVIDIA GPU if one is ready, else the CPU), cpu, cpu-scalar (slow; the reference for all
    /// others), cpu-avx2, cpu-avx512, cpu-amx (the CPU with these instructions), cuda, cuda:N (GPU N, from 0)
    #[arg(long, value_name = "DEVICE", default_value = "auto", help_heading = "Computing")]
    pub(crate) device: DeviceChoice,

    /// Number format of matrix products
    #[arg(long, visible_alias = "dtype", value_name = "PRECISION", default_value = "auto", help_heading = "Computing")]
    pub(crate) precision: Precision,

    /// Number of threads [default: one per processor]
    #[arg(short = 't', long, value_name = "N", help_heading = "Computing")]
    pub(crate) threads: Option<usize>,

    /// MiB that the experts of a mixture take in memory at most; they are read when tokens are routed to them, which is
    /// slower, and the results are the same [default: all are in memory]
    #[arg(long, value_name = "MIB", help_heading = "Computing")]
    pub(crate) expert_memory: Option<u64>,

    /// Replay GPU launches that repeat, as CUDA graphs; rows whose logits are wanted are padded to few numbers. Tested
    /// on an emulated GPU only
    #[arg(long, help_heading = "Computing")]
    pub(crate) graphs: bool,
}

/// As [`aquatint::runtime::Precision`], with what `--help` says of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Precision {
    /// bf16 if the processor has instructions for it, else f32
    #[default]
    Auto,
    /// 32 bits
    F32,
    /// Factors rounded to 16 bits (bfloat16), sums in 32 bits
    Bf16,
    /// Matrices as 8-bit integers with a scale per output
    Int8,
    /// Matrices as 4-bit integers with a scale per 32 inputs; the head has 8 bits
    Int4,
    /// 64 bits, only on cpu-scalar
    F64,
}

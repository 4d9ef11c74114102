//! What `quantize` takes.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What `quantize` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint quantize runs/mine --out runs/mine-8\n  aquatint quantize runs/big --bits 4 \
                        --group 64 --head 8 --out runs/big-4"
)]
pub(crate) struct QuantiseArguments {
    /// Model folder, name of a built-in model, or OWNER/NAME that was pulled; a folder called like one is ./NAME
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,

    /// Bits per integer: 8 or 4
    #[arg(long, value_name = "BITS", default_value_t = 8)]
    pub(crate) bits: u32,

    /// Consecutive inputs that share a scale [default: all inputs of an output for 8 bits, 32 for 4 bits]
    #[arg(long, value_name = "N", alias = "group-size")]
    pub(crate) group: Option<usize>,

    /// Output head, with the word vectors that it may be tied to: keep it, or quantise it to 8 bits
    #[arg(long, value_name = "HEAD", default_value = "keep")]
    pub(crate) head: HeadChoice,

    /// Folder to write
    #[arg(long, value_name = "DIR", alias = "out-dir")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum HeadChoice {
    /// Leave it unchanged
    #[default]
    Keep,
    /// 8 bits
    #[value(name = "8")]
    Eight,
}

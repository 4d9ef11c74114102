//! What `merge` takes.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What `merge` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  aquatint merge tales+runs/pirate --out runs/pirate-whole")]
pub(crate) struct MergeArguments {
    /// Model with its adapter, MODEL+FOLDER, or the folder of an adapter that names its model
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,

    /// Type in which the weights are saved
    #[arg(long, value_name = "TYPE", default_value = "bf16")]
    pub(crate) storage: Storage,

    /// Folder to write
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Storage {
    /// bfloat16
    #[default]
    Bf16,
    /// 16 bits with more precision and less range
    F16,
    /// 32 bits
    F32,
}

//! What `train` takes.

use super::DeviceArguments;
use clap::Args;
use std::path::PathBuf;

/// What `train` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint train recipes/smoke.toml\n  aquatint train recipes/tales.toml --out runs/tales --set \
                        run.steps=2000\n  aquatint train recipes/tales.toml --out runs/tales --resume"
)]
pub(crate) struct TrainArguments {
    /// Recipe, a TOML file
    #[arg(value_name = "RECIPE")]
    pub(crate) recipe: PathBuf,

    /// Continue the run in the run folder
    #[arg(long)]
    pub(crate) resume: bool,

    /// Check everything, print the resolved recipe and exit; with --resume, check whether the run may go on
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Override a key of the recipe; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,

    /// Run folder [default: the recipe's `output`]
    #[arg(long, value_name = "DIR", alias = "out-dir")]
    pub(crate) out: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

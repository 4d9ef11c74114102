//! What `run` takes.

use super::{DeviceArguments, GuardArguments, MediaArguments, SamplingArguments};
use clap::Args;

/// What `run` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint run\n  aquatint run tales \"Once upon a time\"\n  echo \"A fox\" | aquatint run"
)]
pub(crate) struct RunArguments {
    /// Model folder, name of a built-in model, or OWNER/NAME that was pulled; a folder called like one is ./NAME [default: the built-in model]
    #[arg(value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Answer this prompt and exit
    #[arg(value_name = "PROMPT")]
    pub(crate) words: Option<String>,

    /// Same as MODEL
    #[arg(short = 'm', long = "model", value_name = "MODEL", conflicts_with = "model")]
    pub(crate) model_flag: Option<String>,

    /// Same as PROMPT
    #[arg(short, long, value_name = "PROMPT", conflicts_with = "words")]
    pub(crate) prompt: Option<String>,

    #[command(flatten)]
    pub(crate) sampling: SamplingArguments,

    #[command(flatten)]
    pub(crate) guard: GuardArguments,

    #[command(flatten)]
    pub(crate) media: MediaArguments,

    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

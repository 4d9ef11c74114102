//! Where pictures and sounds go: what `generate` and `run` share.

use clap::Args;
use std::path::PathBuf;

/// Files for what is made.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct MediaArguments {
    /// Write the picture that is made to FILE.png; of several FILE-1.png, FILE-2.png …
    #[arg(long, value_name = "FILE", help_heading = "Pictures and sounds")]
    pub(crate) picture_out: Option<PathBuf>,

    /// Write the sound that is made to FILE.wav; of several FILE-1.wav, FILE-2.wav …
    #[arg(long, value_name = "FILE", help_heading = "Pictures and sounds")]
    pub(crate) sound_out: Option<PathBuf>,
}

//! What the commands take that only tell: `show`, `list`, `doctor`, `completions`.

use super::ReportFormat;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// Model folder, name of a built-in model, or OWNER/NAME that was pulled; a folder called like one is ./NAME [default: the built-in model]
    #[arg(value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Output format: text or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Folders to search for models [default: runs and models, where they exist]
    #[arg(value_name = "DIR")]
    pub(crate) folders: Vec<PathBuf>,

    /// Output format: text or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Output format: text or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

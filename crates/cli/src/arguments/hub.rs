//! What the commands take that move models between the Hugging Face Hub and its cache here: `pull`, `rm`.

use aquatint::hub::ModelName;
use clap::Args;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint pull GSAI-ML/LLaDA-8B-Instruct\n  aquatint pull JetLM/SDAR-1.7B-Chat@main\n  \
                  HF_TOKEN=hf_... aquatint pull owner/private-model"
)]
pub(crate) struct PullArguments {
    /// Models: OWNER/NAME, or OWNER/NAME@REVISION with a branch, a tag or a commit
    #[arg(value_name = "MODEL", required = true)]
    pub(crate) models: Vec<ModelName>,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArguments {
    /// Models: OWNER/NAME with all its revisions, or OWNER/NAME@REVISION
    #[arg(value_name = "MODEL", required = true)]
    pub(crate) models: Vec<ModelName>,
}

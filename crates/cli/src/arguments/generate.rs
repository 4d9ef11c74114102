//! What `generate` takes.

use super::{DeviceArguments, GuardArguments, MediaArguments, SamplingArguments, SigningArguments};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What `generate` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint generate \"Once upon a time\" --seed 7\n  aquatint generate \"The [[3]] sat on \
                        the [[5]].\" --steps 8\n  aquatint generate \"A fox in the snow. [[picture]]\" \
                        --picture-out fox.png\n  aquatint generate \"fox [[sound,seconds=1]]\" --sound-out fox.wav\n  echo \"A fox\" | aquatint generate - --format json\n  aquatint generate \"The fox [[~12]]\" --count 100 --format jsonl"
)]
pub(crate) struct GenerateArguments {
    /// Text to continue or template to fill; `-` reads standard input
    #[arg(value_name = "TEMPLATE", required_unless_present_any = ["prompt", "tokens"])]
    pub(crate) template: Option<String>,

    /// Same as TEMPLATE
    #[arg(short, long, value_name = "TEMPLATE", conflicts_with = "template")]
    pub(crate) prompt: Option<String>,

    /// Ids of tokens to continue, as in "1 2 3", or with holes, as in "1 [[8]] 3"; ids are printed, too. The tokenizer
    /// has no part in it: only the mask is never written, and only --end-token ends a text
    #[arg(long, value_name = "IDS", conflicts_with_all = ["template", "prompt"])]
    pub(crate) tokens: Option<String>,

    /// Fill the template N times, with seeds that follow on from --seed, many of them together. Texts stand one after
    /// another; with --format jsonl each has a line with its seed, and files of pictures and sounds are numbered
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,

    /// Attention layout by which the model is read: full or block:LENGTH [default: that of its config.json]
    #[arg(long, value_name = "LAYOUT")]
    pub(crate) layout: Option<String>,

    /// Model folder, name of a built-in model, or OWNER/NAME that was pulled; a folder called like one is ./NAME [default: the built-in model]
    #[arg(short, long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Output format: the text, one JSON object, or one JSON object per event
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: Format,

    /// Write all events to FILE as JSON lines
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,

    /// Report holes as abstained from whose probability is below P: the geometric mean of that of their tokens at commit
    #[arg(long, value_name = "P")]
    pub(crate) abstain: Option<f64>,

    #[command(flatten)]
    pub(crate) sampling: SamplingArguments,

    #[command(flatten)]
    pub(crate) guard: GuardArguments,

    #[command(flatten)]
    pub(crate) media: MediaArguments,

    /// Write the text to FILE.txt, too; of --count N to FILE-1.txt, FILE-2.txt …
    #[arg(long, value_name = "FILE", conflicts_with = "tokens")]
    pub(crate) text_out: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) signing: SigningArguments,

    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    // The text
    #[default]
    Human,
    // One object at the end
    Json,
    // One object for each event, and the one at the end
    Jsonl,
}

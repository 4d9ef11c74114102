//! What `watermark-key` and `detect` take.

use super::ReportFormat;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint watermark-key key.json\n  aquatint watermark-key key.json --scheme green \
                        --strength 3\n  aquatint generate \"Once upon a time\" --watermark key.json"
)]
pub(crate) struct WatermarkKeyArguments {
    /// File to write; one that is there is never replaced
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Scheme: gumbel (the law of each draw stays, and without remasking and editing that of a text), green (favours green pairs of tokens) or order (of the positions
    /// that could become final, green ones go first)
    #[arg(long, value_name = "SCHEME", default_value = "gumbel")]
    pub(crate) scheme: String,

    /// Of gumbel: positions after which its numbers come again, as many as the longest text has [default: 1024]
    #[arg(long, value_name = "N")]
    pub(crate) period: Option<u32>,

    /// Of green and order: share of pairs that are green [default: 0.25, of order 0.5]
    #[arg(long, value_name = "SHARE")]
    pub(crate) share: Option<f64>,

    /// Of green: what the logit of a token gains that is green on one side [default: 2]
    #[arg(long, value_name = "NATS")]
    pub(crate) strength: Option<f64>,

    /// Of order: among how many times the positions that the policy chooses [default: 8]
    #[arg(long, value_name = "N")]
    pub(crate) width: Option<usize>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint detect story.txt --key key.json\n  aquatint detect stories.jsonl --key key.json \
                        --format json"
)]
pub(crate) struct DetectArguments {
    /// Text to examine; `-` reads standard input, and of FILE.jsonl each line is one ({"text": …})
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Key file by which the text may have been marked
    #[arg(short, long, value_name = "KEYFILE")]
    pub(crate) key: PathBuf,

    /// Model whose tokenizer the text was written with: a folder, a built-in model, or OWNER/NAME that was pulled
    /// [default: the built-in model]
    #[arg(short, long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// P-value up to which a text is called marked: the share of unmarked texts that are called so
    #[arg(long, value_name = "P", default_value_t = 1e-4)]
    pub(crate) level: f64,

    /// Output format: a line or one JSON object for each text
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,
}

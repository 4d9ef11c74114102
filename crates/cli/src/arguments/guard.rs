//! What guards take: the flags by which a text is judged, and the commands that make and measure them.

use super::ReportFormat;
use aquatint::guard::TrainingSettings;
use clap::Args;
use std::path::PathBuf;

/// Who judges what is given and what is written.
#[derive(Debug, Default, Args)]
pub(crate) struct GuardArguments {
    /// Judge the given text and each block that is filled by this file: a classifier (.json, `aquatint guard-classifier`), or
    /// otherwise a list of phrases and /regular expressions/, one a line; repeat it for several
    #[arg(long = "guard", value_name = "FILE", help_heading = "Guards")]
    pub(crate) guards: Vec<PathBuf>,

    /// Times that what offends in a block is written anew before the text is refused [default: 3]
    #[arg(long, value_name = "N", help_heading = "Guards")]
    pub(crate) repairs: Option<usize>,

    /// Judge what is written by this corpus, too: a file or a folder as `eval memory --corpus` takes it. A run of more than
    /// --novel-run words that stands there offends
    #[arg(long, value_name = "CORPUS", help_heading = "Guards")]
    pub(crate) novel: Option<PathBuf>,

    /// Words of a run that may stand in the corpus of --novel [default: 8]
    #[arg(long, value_name = "N", requires = "novel", help_heading = "Guards")]
    pub(crate) novel_run: Option<usize>,
}

/// What `guard-classifier` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  aquatint guard-classifier data/sample/guard.jsonl guard.json\n  aquatint generate \"Once upon a \
                        time\" --guard guard.json"
)]
pub(crate) struct GuardClassifierArguments {
    /// Labelled texts, JSON lines of {"text": TEMPLATE, "refuse": true or false}
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,

    /// File to write
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Words of the n-grams that have weights, from one to N
    #[arg(long, value_name = "N", default_value_t = TrainingSettings::default().words)]
    pub(crate) words: usize,

    /// Rows that have to have an n-gram for it to get a weight
    #[arg(long, value_name = "N", default_value_t = TrainingSettings::default().least)]
    pub(crate) least: usize,

    /// Penalty on the squares of the weights
    #[arg(long, value_name = "L", default_value_t = TrainingSettings::default().penalty)]
    pub(crate) penalty: f64,

    /// Probability from which on a text is refused
    #[arg(long, value_name = "P", default_value_t = TrainingSettings::default().threshold)]
    pub(crate) threshold: f64,
}

/// What `eval guard` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  aquatint eval guard --guard guard.json --data data/sample/guard.jsonl")]
pub(crate) struct EvalGuardArguments {
    /// Guard to measure: a classifier (.json) or a word list; repeat it for several, which refuse together
    #[arg(long = "guard", value_name = "FILE", required = true)]
    pub(crate) guards: Vec<PathBuf>,

    /// Labelled texts, JSON lines of {"text": TEMPLATE, "refuse": true or false, "set": NAME}
    #[arg(short, long, value_name = "FILE")]
    pub(crate) data: PathBuf,

    /// Output format: a table or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: ReportFormat,
}

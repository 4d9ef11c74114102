//! Why a model could not be measured.

use aquatint_generate::GenerateError;
use aquatint_network::NetworkError;
use aquatint_vocabulary::VocabularyError;
use std::path::PathBuf;

/// Why a model could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The network refused.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// There is no token to measure.
    #[error("there is no text to measure")]
    Empty,
    /// A setting outside of what makes sense.
    #[error("`{name}` is {given}; allowed: {allowed}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        given: usize,
        /// What is allowed.
        allowed: String,
    },
    /// What judges a text gives it no possible score.
    #[error("a text was scored {given}; allowed: 0 to 1")]
    Score {
        /// The score.
        given: f64,
    },
    /// Only a gaussian field has a probability flow.
    #[error("the process {process} has no probability flow")]
    NoFlow {
        /// The model's process.
        process: String,
    },
    /// The reader of the canvases failed.
    #[error(transparent)]
    Corpus(#[from] aquatint_corpus::CorpusError),
    /// A canvas could not be filled.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// The tokenizer refused, or lacks a token.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
    /// A judge sees what comes after.
    #[error("the judge `{model}` is no causal model")]
    NotCausal {
        /// The judge.
        model: String,
    },
    /// A causal model was to be compared at different numbers of steps.
    #[error("`{model}` is a causal model, which takes one step for each token, however many are asked for")]
    CausalWriter {
        /// The model.
        model: String,
    },
    /// The cells of a puzzle are not one token each.
    #[error("{cells} cells are {tokens} tokens of this model's vocabulary")]
    Cells {
        /// Cells of the puzzle.
        cells: usize,
        /// Tokens that write them.
        tokens: usize,
    },
    /// A row of conversations lacks a field that was named.
    #[error("line {row} has no `{field}`")]
    NoField {
        /// The field.
        field: String,
        /// The number of the line.
        row: u64,
    },
    /// A line of a file is no row.
    #[error("line {line} of `{}`: {reason}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The number of the line.
        line: usize,
        /// What is wrong with it, with what is allowed.
        reason: String,
    },
    /// The operating system refused.
    #[error("could not {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file of figures is not one.
    #[error("`{}` cannot be understood", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A plot could not be drawn.
    #[error("no plot was drawn: {reason}")]
    Plot {
        /// Why not.
        reason: String,
    },
    /// It was cancelled.
    #[error("stopped before the end")]
    Stopped,
}

impl EvaluateError {
    pub(crate) fn setting(name: &'static str, given: usize, allowed: impl Into<String>) -> Self {
        Self::Setting { name, given, allowed: allowed.into() }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Empty => {
                Some("the file or folder is empty, nothing in it was kept, or all of it is given".to_owned())
            }
            Self::NoFlow { .. } => Some("leave `flow` out".to_owned()),
            Self::Network(error) => error.hint(),
            Self::Corpus(error) => error.hint(),
            Self::Generate(error) => error.hint(),
            Self::Vocabulary(error) => error.hint(),
            Self::NotCausal { .. } => {
                Some("train one with objective.kind = \"causal\": see recipes/compare/judge.toml".to_owned())
            }
            Self::CausalWriter { .. } => Some("name it with --judge, or leave it out".to_owned()),
            Self::Cells { .. } => {
                Some("a model for Sudoku has one token for each character: see recipes/sudoku".to_owned())
            }
            Self::NoField { .. } => Some(
                "rows are grouped by a field that all of them have, and retrieval reads `passage` and `question`"
                    .to_owned(),
            ),
            Self::Setting { .. }
            | Self::Score { .. }
            | Self::Row { .. }
            | Self::Io { .. }
            | Self::Json { .. }
            | Self::Plot { .. }
            | Self::Stopped => None,
        }
    }
}

//! Why a model could not be measured.

use aquatint_network::NetworkError;

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
        allowed: &'static str,
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
    /// It was asked to stop.
    #[error("stopped before the end")]
    Stopped,
}

impl EvaluateError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Empty => Some("the file or folder is empty, or nothing in it was kept".to_owned()),
            Self::NoFlow { .. } => Some("measure its bound".to_owned()),
            Self::Network(error) => error.hint(),
            Self::Corpus(error) => error.hint(),
            Self::Setting { .. } | Self::Stopped => None,
        }
    }
}

//! Why a model could not be measured.

use aquatint_network::NetworkError;

/// Why a model could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The network refused.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// There is no token to measure.
    #[error("there is no text to measure; the file or folder is empty, or nothing in it was kept")]
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
    #[error("the process {process} has no probability flow; measure its bound")]
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

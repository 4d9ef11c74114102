//! The errors of a model, each from the crate where it happened.

use crate::runtime::RuntimeError;
use crate::{Hint, MediaError};
use aquatint_checkpoint::CheckpointError;
use aquatint_compute::DeviceError;
use aquatint_constraint::CompileError;
use aquatint_evaluate::EvaluateError;
use aquatint_generate::GenerateError;
use aquatint_guard::GuardError;
use aquatint_train::TrainError;
use aquatint_vocabulary::{ChatError, TemplateCanvasError, TemplateError, VocabularyError};

/// Why a model could not be opened, trained, measured or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The checkpoint cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// There is no such place to compute.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The template is not understood.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The template does not fit the model.
    #[error(transparent)]
    TemplateCanvas(#[from] TemplateCanvasError),
    /// A picture or a sound cannot stand on the canvas.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The vocabulary lacks something.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
    /// The conversation has no text.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The settings or the canvas were refused, or the network failed.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// What a text is to be cannot be kept.
    #[error(transparent)]
    Constraint(#[from] CompileError),
    /// The model or the text could not be measured.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// A guard refused what was given, or is none.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The run could not begin or go on.
    #[error(transparent)]
    Train(#[from] TrainError),
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Checkpoint(error) => Hint::hint(error),
            Self::Template(error) => Hint::hint(error),
            Self::TemplateCanvas(error) => Hint::hint(error),
            Self::Media(error) => Hint::hint(error),
            Self::Vocabulary(error) => Hint::hint(error),
            Self::Chat(error) => Hint::hint(error),
            Self::Generate(error) => Hint::hint(error),
            Self::Constraint(error) => Hint::hint(error),
            Self::Device(error) => Hint::hint(error),
            Self::Runtime(error) => Hint::hint(error),
            Self::Evaluate(error) => Hint::hint(error),
            Self::Guard(error) => Hint::hint(error),
            Self::Train(error) => Hint::hint(error),
        }
    }
}

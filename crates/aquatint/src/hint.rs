//! What helps, beside what went wrong: errors say the one in their message and the other by [`Hint`].

use aquatint_checkpoint::CheckpointError;
use aquatint_compute::DeviceError;
use aquatint_corpus::CorpusError;
use aquatint_evaluate::EvaluateError;
use aquatint_generate::GenerateError;
use aquatint_network::NetworkError;
use aquatint_train::{LaunchError, ParallelError, RecipeError, TrainError};
use aquatint_vocabulary::{ChatError, TemplateCanvasError, TemplateError, VocabularyError};

/// An error that may know what the user can do about it.
pub trait Hint {
    /// One sentence without a full stop; `None` where the message says all there is to say.
    fn hint(&self) -> Option<String>;
}

/// Each error knows its hint itself, so that a crate under this one can be used alone.
macro_rules! hints {
    ($($error:ty),* $(,)?) => {$(
        impl Hint for $error {
            fn hint(&self) -> Option<String> {
                <$error>::hint(self)
            }
        }
    )*};
}

hints!(
    ChatError,
    CheckpointError,
    CorpusError,
    GenerateError,
    LaunchError,
    NetworkError,
    ParallelError,
    TemplateCanvasError,
    TemplateError,
    TrainError,
    VocabularyError,
);

/// What to do about the failures of a disk that people meet most.
impl Hint for std::io::Error {
    fn hint(&self) -> Option<String> {
        use std::io::ErrorKind;
        let hint = match self.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                "the disk is full; free some space or choose a folder on another disk, then run the same command again"
            }
            ErrorKind::PermissionDenied => "choose a place that you may write to",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl Hint for EvaluateError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } => source.hint(),
            _ => Self::hint(self),
        }
    }
}

impl Hint for DeviceError {
    /// What a device lacks, and what to do about it, stands in one message.
    fn hint(&self) -> Option<String> {
        None
    }
}

impl Hint for RecipeError {
    /// A refused recipe names the key, its value and what is allowed, all in its message.
    fn hint(&self) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_behind_others_keeps_its_hint() {
        let innermost = || VocabularyError::NoText;
        let expected = innermost().hint();
        assert!(expected.is_some());
        let wrapped: [&dyn Hint; 4] = [
            &CheckpointError::from(innermost()),
            &CorpusError::from(innermost()),
            &EvaluateError::from(CorpusError::from(innermost())),
            &TrainError::from(EvaluateError::from(CorpusError::from(innermost()))),
        ];
        for error in wrapped {
            assert_eq!(error.hint(), expected);
        }
    }
}

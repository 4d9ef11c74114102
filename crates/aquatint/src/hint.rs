//! What helps, beside what went wrong: errors say the one in their message and the other by [`Hint`].

use crate::MediaError;
use aquatint_checkpoint::CheckpointError;
use aquatint_codec::CodecError;
use aquatint_compute::DeviceError;
use aquatint_constraint::CompileError;
use aquatint_corpus::CorpusError;
use aquatint_diffusion::SettingError;
use aquatint_evaluate::EvaluateError;
use aquatint_generate::GenerateError;
use aquatint_guard::GuardError;
use aquatint_hub::HubError;
use aquatint_network::NetworkError;
use aquatint_train::{LaunchError, ParallelError, RecipeError, TrainError};
use aquatint_vocabulary::{ChatError, TemplateCanvasError, TemplateError, VocabularyError};
use std::error::Error;

/// An error that may know what the user can do about it.
pub trait Hint {
    /// One sentence without a full stop; `None` where the message says all there is to say.
    fn hint(&self) -> Option<String>;
}

/// Each error knows its hint itself, so that a crate under this one can be used alone. Only what a device or
/// a disk lacks is advised on here, since flags and keys of recipes help and neither knows them.
macro_rules! hints {
    ($($error:ty),* $(,)?) => {$(
        impl Hint for $error {
            fn hint(&self) -> Option<String> {
                <$error>::hint(self).or_else(|| of_machine(self))
            }
        }
    )*};
}

hints!(
    ChatError,
    CheckpointError,
    CodecError,
    CompileError,
    CorpusError,
    GenerateError,
    GuardError,
    HubError,
    LaunchError,
    MediaError,
    NetworkError,
    ParallelError,
    RecipeError,
    SettingError,
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
            ErrorKind::FileTooLarge => {
                "a file may not be that large here: raise the limit (`ulimit -f`) or choose a folder on another disk"
            }
            ErrorKind::PermissionDenied => "change its permissions, or choose another place",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl Hint for EvaluateError {
    fn hint(&self) -> Option<String> {
        Self::hint(self).or_else(|| of_machine(self))
    }
}

impl Hint for DeviceError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::GpuMemory { .. } => Some(GPU_MEMORY.to_owned()),
            Self::OutOfMemory { .. }
            | Self::Gpu { .. }
            | Self::Unavailable { .. }
            | Self::Weight { .. }
            | Self::Quantised(_) => None,
        }
    }
}

const GPU_MEMORY: &str = "`--set run.activation_memory=2GiB` or `--set optimiser.recompute=true` shrinks training, \
    `--precision int8` a model that is run, and `--device cpu` does without";

/// The hint of the error of a device or of the operating system among the sources of another one.
fn of_machine(error: &dyn Error) -> Option<String> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(device) = cause.downcast_ref::<DeviceError>() {
            return device.hint();
        }
        if let Some(error) = cause.downcast_ref::<std::io::Error>() {
            return error.hint();
        }
        source = cause.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_gpu_is_advised_on_behind_every_error() {
        let innermost = || DeviceError::GpuMemory {
            device: "cuda:0".to_owned(),
            requested: 4 << 20,
            free: 1 << 20,
            memory: 1 << 20,
        };
        let network = || NetworkError::from(innermost());
        let generate = || GenerateError::from(network());
        let wrapped: [&dyn Hint; 9] = [
            &network(),
            &generate(),
            &CheckpointError::from(network()),
            &EvaluateError::from(network()),
            &EvaluateError::from(generate()),
            &TrainError::from(innermost()),
            &TrainError::from(EvaluateError::from(generate())),
            &crate::Error::from(innermost()),
            &crate::Error::from(TrainError::from(network())),
        ];
        for error in wrapped {
            assert_eq!(error.hint().as_deref(), Some(GPU_MEMORY));
        }
        assert!(!innermost().to_string().contains("--"), "{}", innermost());
    }

    #[test]
    fn a_full_disk_is_advised_on_behind_every_error() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let path = std::path::PathBuf::from("run");
        let wrapped: [&dyn Hint; 4] = [
            &CheckpointError::Io { action: "write", path: path.clone(), source: full() },
            &CorpusError::Io { action: "write", path: path.clone(), source: full() },
            &EvaluateError::Io { action: "write", path: path.clone(), source: full() },
            &crate::Error::from(TrainError::Io { action: "write", path, source: full() }),
        ];
        for error in wrapped {
            assert!(error.hint().is_some_and(|hint| hint.starts_with("the disk is full")));
        }
    }

    #[test]
    fn a_refused_setting_keeps_its_hint() {
        let innermost = || "polynomial:-1".parse::<aquatint_diffusion::ScheduleSpec>().unwrap_err();
        let expected = innermost().hint();
        assert!(expected.as_ref().is_some_and(|hint| !innermost().to_string().contains(hint)));
        let wrapped: [&dyn Hint; 5] = [
            &NetworkError::from(innermost()),
            &GenerateError::from(innermost()),
            &CheckpointError::from(NetworkError::from(innermost())),
            &RecipeError::Schedule(innermost()),
            &crate::Error::from(TrainError::from(RecipeError::Schedule(innermost()))),
        ];
        for error in wrapped {
            assert_eq!(error.hint(), expected);
        }
    }

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

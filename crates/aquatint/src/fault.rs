//! Whose fault an error is, which is what a program's exit code says: 1 where something went wrong, 2 where something
//! was asked wrongly.

use crate::runtime::RuntimeError;
use crate::{Error, MediaError};
use aquatint_checkpoint::CheckpointError;
use aquatint_codec::CodecError;
use aquatint_compute::{DeviceError, GpuError};
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
use std::io;

/// An error that knows whose fault it is.
pub trait Fault {
    /// Whether something went wrong that no other request would have prevented: a full disk, a device that fails, a
    /// run that diverges, an interruption. Otherwise the request was wrong: a file that is not there or is damaged, a
    /// value that cannot be.
    fn is_failure(&self) -> bool;
}

/// Errors that are failures only by what the operating system or the device answered.
macro_rules! by_the_machine {
    ($($error:ty),* $(,)?) => {$(
        impl Fault for $error {
            fn is_failure(&self) -> bool {
                machine_failed(self)
            }
        }
    )*};
}

by_the_machine!(
    ChatError,
    CheckpointError,
    CompileError,
    GenerateError,
    GuardError,
    LaunchError,
    MediaError,
    NetworkError,
    RecipeError,
    SettingError,
    TemplateCanvasError,
    TemplateError,
    VocabularyError,
);

impl Fault for io::Error {
    fn is_failure(&self) -> bool {
        use io::ErrorKind as Kind;
        // What the path, which somebody named, is to blame for; and what is in the file.
        !matches!(
            self.kind(),
            Kind::NotFound
                | Kind::PermissionDenied
                | Kind::AlreadyExists
                | Kind::NotADirectory
                | Kind::IsADirectory
                | Kind::DirectoryNotEmpty
                | Kind::ReadOnlyFilesystem
                | Kind::InvalidFilename
                | Kind::InvalidInput
                | Kind::InvalidData
                | Kind::UnexpectedEof
        )
    }
}

impl Fault for DeviceError {
    fn is_failure(&self) -> bool {
        match self {
            Self::OutOfMemory { .. } | Self::GpuMemory { .. } | Self::Gpu { .. } | Self::Weight { .. } => true,
            Self::Unavailable { .. } | Self::Quantised(_) => false,
        }
    }
}

impl Fault for GpuError {
    fn is_failure(&self) -> bool {
        match self {
            Self::Kernels(_) | Self::Failed { .. } => true,
            // A GPU that was requested and is not there, or cannot be used.
            _ => false,
        }
    }
}

impl Fault for RuntimeError {
    fn is_failure(&self) -> bool {
        match self {
            Self::Gpu(error) => error.is_failure(),
            Self::Threads { .. } | Self::Wide { .. } | Self::Path { .. } | Self::Training { .. } => false,
        }
    }
}

impl Fault for HubError {
    fn is_failure(&self) -> bool {
        Self::is_failure(self) || machine_failed(self)
    }
}

impl Fault for CorpusError {
    fn is_failure(&self) -> bool {
        matches!(self, Self::Stopped) || machine_failed(self)
    }
}

impl Fault for CodecError {
    fn is_failure(&self) -> bool {
        matches!(self, Self::Stopped) || machine_failed(self)
    }
}

impl Fault for ParallelError {
    fn is_failure(&self) -> bool {
        match self {
            Self::NoMeeting { .. }
            | Self::NoListener { .. }
            | Self::Missing { .. }
            | Self::NotConnected { .. }
            | Self::Lost { .. } => true,
            Self::Other { .. } | Self::Share { .. } => false,
        }
    }
}

impl Fault for EvaluateError {
    fn is_failure(&self) -> bool {
        match self {
            Self::Stopped | Self::Plot { .. } => true,
            Self::Corpus(error) => error.is_failure(),
            _ => machine_failed(self),
        }
    }
}

impl Fault for TrainError {
    fn is_failure(&self) -> bool {
        match self {
            Self::Diverged { .. } | Self::NotFinite { .. } | Self::Plot { .. } | Self::Stopped => true,
            // A full disk is one before the run as well as within it.
            Self::Disk { .. } => true,
            Self::Corpus(error) => error.is_failure(),
            Self::Codec(error) => error.is_failure(),
            Self::Evaluate(error) => error.is_failure(),
            Self::Parallel(error) => error.is_failure(),
            Self::Device(error) => error.is_failure(),
            _ => machine_failed(self),
        }
    }
}

impl Fault for Error {
    fn is_failure(&self) -> bool {
        match self {
            Self::Checkpoint(error) => error.is_failure(),
            Self::Template(error) => error.is_failure(),
            Self::TemplateCanvas(error) => error.is_failure(),
            Self::Media(error) => error.is_failure(),
            Self::Vocabulary(error) => error.is_failure(),
            Self::Chat(error) => error.is_failure(),
            Self::Generate(error) => error.is_failure(),
            Self::Constraint(error) => error.is_failure(),
            Self::Device(error) => error.is_failure(),
            Self::Runtime(error) => error.is_failure(),
            Self::Evaluate(error) => error.is_failure(),
            Self::Guard(error) => error.is_failure(),
            Self::Train(error) => error.is_failure(),
        }
    }
}

/// Whether the operating system or a device failed, which is then among the sources of an error.
fn machine_failed(error: &dyn std::error::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<DeviceError>() {
            return error.is_failure();
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return error.is_failure();
        }
        source = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_train::Bytes;
    use std::path::PathBuf;

    #[test]
    fn a_full_disk_is_a_failure_and_a_missing_file_a_mistake_behind_every_error() {
        for (kind, failure) in [
            (io::ErrorKind::StorageFull, true),
            (io::ErrorKind::FileTooLarge, true),
            (io::ErrorKind::QuotaExceeded, true),
            (io::ErrorKind::BrokenPipe, true),
            (io::ErrorKind::NotFound, false),
            (io::ErrorKind::PermissionDenied, false),
        ] {
            let path = PathBuf::from("run/model.safetensors");
            let corpus = || CorpusError::Io { action: "write", path: path.clone(), source: kind.into() };
            let checkpoint = || CheckpointError::Io { action: "write", path: path.clone(), source: kind.into() };
            let wrapped: [&dyn Fault; 9] = [
                &io::Error::from(kind),
                &corpus(),
                &checkpoint(),
                &EvaluateError::from(corpus()),
                &EvaluateError::Io { action: "write", path: path.clone(), source: kind.into() },
                &TrainError::Io { action: "write", path: path.clone(), source: kind.into() },
                &TrainError::from(checkpoint()),
                &TrainError::from(EvaluateError::from(corpus())),
                &Error::from(TrainError::from(corpus())),
            ];
            for error in wrapped {
                assert_eq!(error.is_failure(), failure, "{kind}");
            }
        }
    }

    #[test]
    fn what_happens_while_it_runs_is_a_failure() {
        let device = || DeviceError::OutOfMemory { device: "cpu".to_owned(), bytes: 1 << 40 };
        let lost = || ParallelError::Lost { rank: 0, neighbour: 1, reason: "it is gone".to_owned() };
        let disk = TrainError::Disk { path: PathBuf::from("runs"), needed: Bytes(2e9), available: Bytes(1e9) };
        let failures: [&dyn Fault; 9] = [
            &disk,
            &device(),
            &NetworkError::from(device()),
            &TrainError::from(NetworkError::from(device())),
            &Error::from(TrainError::from(lost())),
            &Error::from(TrainError::Diverged { steps: 20, step: 25 }),
            &Error::from(TrainError::Stopped),
            &TrainError::from(CorpusError::Stopped),
            &Error::from(EvaluateError::Stopped),
        ];
        assert!(failures.iter().all(|error| error.is_failure()));
        let mistakes: [&dyn Fault; 3] = [
            &Error::from(TrainError::NothingTrains),
            &TrainError::from(ParallelError::Share { batch: 3, size: 2, multiple: 2 }),
            &Error::from(EvaluateError::Empty),
        ];
        assert!(!mistakes.iter().any(|error| error.is_failure()));
    }
}

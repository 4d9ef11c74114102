//! Why there is no place to compute.

use super::{CpuPath, DeviceChoice, Precision};
use crate::Hint;
use aquatint_compute::GpuError;

/// Why a [`Runtime`](super::Runtime) cannot be, or cannot do what was requested.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// No thread is to compute, or more than there can be.
    #[error("`threads` is {given}; allowed: 1 to {}", super::MOST_THREADS)]
    Threads {
        /// The number of threads.
        given: usize,
    },
    /// 64 bits were requested of a device that has only 32.
    #[error("`precision` is f64; allowed on the device `{device}`: f32, bf16, int8, int4")]
    Wide {
        /// The device.
        device: DeviceChoice,
    },
    /// The processor lacks the instructions that were requested.
    #[error("`device` is cpu-{path}; this processor has {}", available())]
    Path {
        /// The instructions.
        path: CpuPath,
    },
    /// A network of integers was to learn.
    #[error("`precision` is {given}; allowed for training: f32, bf16")]
    Training {
        /// The precision.
        given: Precision,
    },
    /// The GPU cannot be used.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

/// The devices that are paths of this processor.
fn available() -> String {
    let names: Vec<String> = CpuPath::available().iter().map(|path| format!("cpu-{path}")).collect();
    names.join(", ")
}

impl Hint for RuntimeError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Threads { .. } => "leave it out to use every processor".to_owned(),
            Self::Wide { .. } => "add --device cpu-scalar, the slow path that computes in 64 bits".to_owned(),
            Self::Path { .. } => "--device cpu takes the fastest of these".to_owned(),
            Self::Training { .. } => "train in bf16 and run the model in integers afterwards".to_owned(),
            Self::Gpu(error) => error.hint().unwrap_or_else(|| "--device cpu computes without it".to_owned()),
        })
    }
}

//! The CPU device.
//!
//! [`scalar`] is the specification of every operation, for any element type. The fast paths serve `f32` and are chosen
//! at run time; whatever path runs, a result does not depend on the number of threads.

mod device;
mod memory;
mod path;
mod scalar;

pub use memory::Buffer;
pub use path::{CpuPath, ParseNameError, Precision};

use crate::{DeviceError, Element};
use memory::Arena;
use std::sync::Arc;

/// The CPU as a device: `f32` in use, `f64` for specification and finite differences.
#[derive(Debug, Clone)]
pub struct Cpu<E: Element> {
    arena: Arc<Arena<E>>,
    path: CpuPath,
    precision: Precision,
    threads: usize,
}

impl<E: Element> Cpu<E> {
    /// The specification: plain loops on one thread.
    pub fn scalar() -> Self {
        Self { arena: Arena::new(), path: CpuPath::Scalar, precision: Precision::F32, threads: 1 }
    }

    /// The same device with its products in another precision.
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// The instructions in use.
    pub fn path(&self) -> CpuPath {
        self.path
    }

    /// The precision of products.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// What is done to each factor of a product before it is multiplied.
    fn rounding(&self) -> fn(E) -> E {
        match self.precision {
            Precision::F32 => |value| value,
            Precision::Bf16 => |value| E::from_f64(half::bf16::from_f64(value.to_f64()).to_f64()),
        }
    }
}

impl Cpu<f32> {
    /// A device that uses this path (an error if the processor lacks it) and this many threads (at least one).
    pub fn new(path: CpuPath, threads: usize) -> Result<Self, DeviceError> {
        path.require()?;
        Ok(Self { path, threads: threads.max(1), ..Self::scalar() })
    }
}

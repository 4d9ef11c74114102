//! The CPU device.
//!
//! [`scalar`] is the specification of every operation, for any element type. The fast paths serve `f32` and are chosen
//! at run time; whatever path runs, a result does not depend on the number of threads.

mod cost;
mod device;
mod fast;
mod finish;
mod logits;
mod memory;
mod path;
mod peak;
mod prepared;
mod scalar;

#[cfg(test)]
pub(crate) use scalar::gradients::{Numbers, random_visibility};

pub use fast::{softmax_row, summarise};
pub use logits::{ShapedRow, draw_row, draw_row_expecting, shape_row, summarise_row};
pub use memory::Buffer;
pub use path::{CpuPath, ParseNameError, Precision};
pub use peak::{Arithmetic, peak};
pub use prepared::Prepared;

use crate::{DeviceError, Element};
use fast::Fast;
use memory::Arena;
use std::sync::Arc;

/// The CPU as a device: `f32` in use, `f64` for specification and finite differences.
#[derive(Debug, Clone)]
pub struct Cpu<E: Element> {
    arena: Arc<Arena<E>>,
    path: CpuPath,
    precision: Precision,
    /// What the fast path needs; only where the element is f32 and the path is not scalar.
    fast: Option<Fast>,
}

impl<E: Element> Cpu<E> {
    /// The specification: plain loops on one thread.
    pub fn scalar() -> Self {
        Self { arena: Arena::new(), path: CpuPath::Scalar, precision: Precision::F32, fast: None }
    }

    /// The same device with its products in another precision.
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self.fast = self.fast.map(|fast| fast.with_precision(precision));
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

    /// The most bytes that buffers of this device took at one time since it was made.
    pub fn peak_bytes(&self) -> usize {
        self.arena.peak() * size_of::<E>()
    }

    /// The number of threads.
    pub fn threads(&self) -> usize {
        self.fast.as_ref().map_or(1, Fast::threads)
    }

    /// What is done to each factor of a product before it is multiplied.
    fn rounding(precision: Precision) -> fn(E) -> E {
        match precision {
            Precision::F32 => |value| value,
            // Through f32, as the f64 conversion of `half` looks at the upper 32 bits only.
            Precision::Bf16 => |value| E::from_f64(half::bf16::from_f32(value.to_f64() as f32).to_f64()),
        }
    }
}

impl Cpu<f32> {
    /// A device that uses this path and this many threads (at least one).
    ///
    /// # Errors
    /// When the processor lacks the path.
    pub fn new(path: CpuPath, threads: usize) -> Result<Self, DeviceError> {
        path.require()?;
        let mut cpu = Self::scalar();
        if path != CpuPath::Scalar {
            cpu.path = path;
            cpu.fast = Some(Fast::new(path, cpu.precision, threads, Arc::clone(&cpu.arena)));
        }
        Ok(cpu)
    }
}

//! NVIDIA GPUs.
//!
//! Nothing of CUDA is needed to build this: the driver, cuBLASLt and NVRTC are loaded when a GPU is asked for. Products
//! are cuBLASLt's; everything else is CUDA C++ in `kernels/`, compiled at first use. Activations, gradients and master
//! weights are f32 in memory; in the precision bf16 both factors of a product are rounded to bf16 before it, as on the
//! CPU, and its sums are f32. All work of a device is in one order.
//!
//! What a kernel computes is tested without a GPU: [`emulator`] compiles the same source for the processor.

mod attention;
mod compile;
mod device;
mod driver;
mod integers;
mod kernels;
mod mask;
mod memory;
mod nvidia;
mod products;

#[cfg(test)]
mod agreement;
#[cfg(any(test, feature = "emulator"))]
mod emulator;

pub use compile::CompileError;
pub use driver::GpuFacts;
pub use memory::GpuBuffer;
pub use nvidia::GpuError;
pub use products::GpuMatrix;

use crate::{DeviceError, Precision};
use driver::{Argument, Driver, DriverError, Launch};
use mask::Mask;
use memory::{Memory, Pool};
use nvidia::Nvidia;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Threads of a block where nothing speaks for another number.
const THREADS: u32 = 256;

/// One NVIDIA GPU as a device.
#[derive(Debug, Clone)]
pub struct Cuda {
    driver: Arc<dyn Driver>,
    pool: Arc<Pool>,
    kept: Arc<Kept>,
    precision: Precision,
}

/// Cosines and sines of one base and head size: for how many positions, and where.
type Turns = (usize, Arc<Memory>);

/// What operations leave on the GPU for the next ones.
#[derive(Debug, Default)]
struct Kept {
    turns: Mutex<HashMap<(u64, usize), Turns>>,
    masks: Mutex<Vec<Arc<Mask>>>,
}

impl Cuda {
    /// The GPUs that are there, in the driver's order.
    ///
    /// # Errors
    /// When there is no driver, it is too old, or it fails.
    pub fn gpus() -> Result<Vec<GpuFacts>, GpuError> {
        nvidia::gpus()
    }

    /// Which of the libraries that a GPU needs besides its driver are missing here.
    pub fn missing_libraries() -> Vec<&'static str> {
        nvidia::missing_libraries()
    }

    /// Opens a GPU: compiles the kernels for it, or takes them from `folder`, where they are kept.
    ///
    /// # Errors
    /// When there is no such GPU, or something that it needs is missing or too old.
    pub fn new(ordinal: usize, folder: Option<&Path>) -> Result<Self, GpuError> {
        Ok(Self::on(Arc::new(Nvidia::open(ordinal, folder)?)))
    }

    fn on(driver: Arc<dyn Driver>) -> Self {
        let pool = Pool::new(Arc::clone(&driver));
        Self { driver, pool, kept: Arc::default(), precision: Precision::F32 }
    }

    /// The same device with its products in another precision.
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// The precision of products.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// What the GPU is.
    pub fn facts(&self) -> &GpuFacts {
        self.driver.facts()
    }

    /// The most bytes that buffers of this device took at one time since it was opened.
    pub fn peak_bytes(&self) -> usize {
        self.pool.peak()
    }

    fn name(&self) -> String {
        format!("cuda:{}", self.facts().ordinal)
    }

    /// The driver's failure as the device's.
    fn failure(&self, error: DriverError) -> DeviceError {
        match error {
            DriverError::OutOfMemory { asked, free } => {
                DeviceError::GpuMemory { device: self.name(), asked, free, memory: self.facts().memory }
            }
            DriverError::Failed { call, reason } => DeviceError::Gpu { device: self.name(), call, reason },
        }
    }

    fn take(&self, bytes: usize) -> Result<Memory, DeviceError> {
        self.pool.take(bytes).map_err(|error| self.failure(error))
    }

    /// Memory for the time of one operation.
    ///
    /// # Panics
    /// When there is none left, as an operation has no other way to say so.
    fn scratch(&self, bytes: usize) -> Memory {
        self.take(bytes).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What the host knows, on the GPU.
    fn indices(&self, values: &[u32]) -> Memory {
        let memory = self.scratch(size_of_val(values));
        self.copy(memory.at(), values);
        memory
    }

    fn copy<T: Plain>(&self, at: u64, values: &[T]) {
        self.must(self.driver.write(at, bytes(values)));
    }

    fn fetch<T: Plain>(&self, at: u64, count: usize) -> Vec<T> {
        let mut values = vec![T::default(); count];
        self.must(self.driver.read(at, bytes_mut(&mut values)));
        values
    }

    /// # Panics
    /// When the driver fails: a GPU that failed once answers nothing more.
    fn must(&self, done: Result<(), DriverError>) {
        done.unwrap_or_else(|error| panic!("{}", self.failure(error)));
    }

    /// One thread for each of `count` elements, whose number is the kernel's first argument.
    fn each(&self, kernel: &'static str, count: usize, arguments: &[Argument]) {
        let blocks = count.div_ceil(THREADS as usize) as u32;
        let arguments: Vec<Argument> = [Argument::Long(count as i64)].iter().chain(arguments).copied().collect();
        self.launch(kernel, (blocks, 1), THREADS, 0, &arguments);
    }

    /// Blocks of so many threads; nothing happens where there are none.
    fn launch(&self, kernel: &'static str, blocks: (u32, u32), threads: u32, shared: usize, arguments: &[Argument]) {
        if blocks.0 == 0 || blocks.1 == 0 {
            return;
        }
        let launch = Launch { blocks, threads, shared: shared as u32 };
        self.must(self.driver.launch(kernel, launch, arguments));
    }

    /// Cosine and sine of every pair of elements of a head at the positions up to `largest`: `[positions, E/2, 2]`.
    fn turns(&self, theta: f64, size: usize, largest: u32) -> Arc<Memory> {
        let mut kept = self.kept.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (theta.to_bits(), size);
        if let Some((positions, turns)) = kept.get(&key)
            && *positions > largest as usize
        {
            return Arc::clone(turns);
        }
        let positions = (largest as usize + 1).next_power_of_two().max(64);
        let mut values = Vec::with_capacity(positions * size);
        for position in 0..positions {
            for pair in 0..size / 2 {
                let angle = position as f64 * theta.powf(-2.0 * pair as f64 / size as f64);
                values.extend([angle.cos() as f32, angle.sin() as f32]);
            }
        }
        let memory = self.scratch(size_of_val(values.as_slice()));
        self.copy(memory.at(), &values);
        let memory = Arc::new(memory);
        kept.insert(key, (positions, Arc::clone(&memory)));
        memory
    }
}

/// Types whose every pattern of bytes is a value and that have no padding.
trait Plain: Copy + Default {}
impl Plain for f32 {}
impl Plain for f64 {}
impl Plain for u32 {}
impl Plain for u8 {}

fn bytes<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: a `Plain` type has no padding, and a byte no alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

fn bytes_mut<T: Plain>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: as above, and any bytes are values of a `Plain` type.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}

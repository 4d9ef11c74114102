//! NVIDIA GPUs.
//!
//! Nothing of CUDA is needed to build this: the driver, cuBLASLt and NVRTC are loaded when a GPU is opened. Products
//! are cuBLASLt's; everything else is CUDA C++ in `kernels/`, compiled at first use. In the precision bf16 both factors
//! of a product are rounded to bf16, as on the CPU, and its sums are f32; what products and attention read is kept
//! rounded, see [`buffer`]. All else, and master weights, are f32 in memory. All work of a device is in one order.
//!
//! What a kernel computes is tested without a GPU: [`emulator`] compiles the same source for the processor. So is what
//! several GPUs exchange: an emulated NCCL serves threads of one process.

mod algorithms;
mod arguments;
mod attention;
mod buffer;
mod compile;
mod connection;
mod device;
mod driver;
mod graphs;
mod indices;
mod integers;
mod kernels;
mod logits;
mod memory;
mod nccl;
mod nvidia;
mod prepared;
mod products;
mod segments;
mod sums;
mod visible;

#[cfg(any(test, feature = "emulator"))]
mod emulator;
#[cfg(test)]
mod instructions;
#[cfg(test)]
mod tests;

pub use buffer::GpuBuffer;
pub use compile::CompileError;
pub use driver::GpuFacts;
#[cfg(any(test, feature = "emulator"))]
pub use emulator::Watched;
pub use graphs::GraphFigures;
pub use indices::GpuIndices;
pub use nvidia::GpuError;
pub use prepared::GpuMatrix;
pub use visible::GpuVisibility;

use crate::{DeviceError, Precision, RopeShape};
use arguments::{In, Kernel};
use connection::GpuConnection;
use driver::{Driver, DriverError, Launch};
use graphs::Graphs;
use half::bf16;
use memory::{Allocation, Array, Pool};
use nvidia::Nvidia;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Threads of a block where nothing speaks for another number.
const THREADS: u32 = 256;
/// Threads of a warp.
const WARP: usize = 32;

/// One NVIDIA GPU as a device.
#[derive(Debug, Clone)]
pub struct Cuda {
    driver: Arc<dyn Driver>,
    pool: Arc<Pool>,
    rope_tables: Arc<RopeTables>,
    precision: Precision,
    /// What `driver` is, where launches are replayed.
    graphs: Option<Arc<Graphs>>,
    /// With the GPUs of other ranks.
    connection: Option<Arc<GpuConnection>>,
}

/// The tables of each rotation and factor of queries that was met, of which there are few.
type RopeTables = Mutex<Vec<RopeTable>>;

/// What a rotation reads by position.
#[derive(Debug, Clone)]
struct RopeTable {
    /// What it was made for, but for heads, of which a table knows nothing.
    shape: RopeShape,
    positions: usize,
    /// Cosine and sine of every pair: `[positions, columns/2, 2]`.
    turns: Arc<Array<f32>>,
    /// The factor of queries, `[positions]`, where they have one.
    query_factors: Option<Arc<Array<f32>>>,
}

impl RopeTable {
    fn fits(&self, shape: &RopeShape) -> bool {
        let numbers = |shape: &RopeShape| (shape.rotation, shape.query_scale, shape.query_growth);
        numbers(&self.shape) == numbers(shape)
    }

    /// The factors of queries; a null pointer where there are none.
    fn factors(&self) -> In<f32> {
        self.query_factors.as_ref().map_or(In::none(), |factors| factors.input())
    }
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
        Self { driver, pool, rope_tables: Arc::default(), precision: Precision::F32, connection: None, graphs: None }
    }

    /// The same device, on which sequences of launches that come again are captured as CUDA graphs and replayed. Sums over
    /// rows that are padded have another order on a real GPU; on the emulated one, whose sums are exact, results are the same to
    /// the bit.
    ///
    /// # Panics
    /// When it has buffers already: what they are still to be used for would not be in one order with the rest.
    pub fn with_graphs(self) -> Self {
        assert!(self.peak_bytes() == 0, "graphs are chosen before a device has buffers");
        let graphs = Graphs::new(self.driver);
        let device = Self::on(Arc::<Graphs>::clone(&graphs)).with_precision(self.precision);
        Self { graphs: Some(graphs), ..device }
    }

    /// What graphs have done so far; `None` without [`Cuda::with_graphs`].
    pub fn graph_figures(&self) -> Option<GraphFigures> {
        self.graphs.as_ref().map(|graphs| graphs.figures())
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

    /// An array of any values.
    fn take<T: Plain>(&self, len: usize) -> Result<Array<T>, DeviceError> {
        Ok(Array::new(self.allocate(len * size_of::<T>())?, len))
    }

    fn allocate(&self, bytes: usize) -> Result<Allocation, DeviceError> {
        self.pool.take(bytes).map_err(|error| self.pool.failure(error))
    }

    /// An array for the time of one operation.
    ///
    /// # Panics
    /// When there is no memory left, as an operation has no other way to say so.
    fn scratch<T: Plain>(&self, len: usize) -> Array<T> {
        self.take::<T>(len).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What the host knows, on the GPU.
    fn store<T: Plain>(&self, values: &[T]) -> Result<Array<T>, DeviceError> {
        let array = self.take::<T>(values.len())?;
        self.copy_in(array.at(), values);
        Ok(array)
    }

    /// # Panics
    /// As for scratch.
    fn must_store<T: Plain>(&self, values: &[T]) -> Array<T> {
        self.store(values).unwrap_or_else(|error| panic!("{error}"))
    }

    fn copy_in<T: Plain>(&self, at: u64, values: &[T]) {
        // What a driver makes of no bytes is not written down.
        if !values.is_empty() {
            self.must(self.driver.write(at, bytes(values)));
        }
    }

    fn fetch<T: Plain>(&self, at: u64, count: usize) -> Vec<T> {
        let mut values = vec![T::default(); count];
        if count > 0 {
            self.must(self.driver.read(at, bytes_mut(&mut values)));
        }
        values
    }

    /// # Panics
    /// When the driver fails: a GPU that failed once answers nothing more.
    fn must(&self, done: Result<(), DriverError>) {
        self.pool.must(done);
    }

    /// One thread for each of `count` elements, whose number is one of the kernel's arguments.
    fn each<K: Kernel>(&self, count: usize, kernel: impl FnOnce(i64) -> K) {
        self.pool.launch_each(count, kernel);
    }

    /// One block of [`THREADS`] for each of `count` rows.
    fn by_row<K: Kernel>(&self, count: usize, kernel: K) {
        self.launch(0, kernel, (count as u32, 1), THREADS, 0);
    }

    /// Blocks of so many threads, of one of the kernels that take these arguments; nothing happens where there are
    /// none.
    fn launch<K: Kernel>(&self, variant: usize, kernel: K, blocks: (u32, u32), threads: u32, shared: usize) {
        if blocks.0 == 0 || blocks.1 == 0 {
            return;
        }
        let launch = Launch { blocks, threads, shared: shared as u32 };
        self.must(self.driver.launch(K::NAMES[variant], launch, &kernel.arguments()));
    }

    /// What the positions up to `largest` turn by.
    fn rope_table(&self, shape: &RopeShape, largest: u32) -> RopeTable {
        let mut tables = self.rope_tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.iter().find(|table| table.fits(shape) && table.positions > largest as usize) {
            return table.clone();
        }
        tables.retain(|table| !table.fits(shape));
        let positions = (largest as usize + 1).next_power_of_two().max(64);
        let mut turns = Vec::with_capacity(positions * shape.rotation.columns);
        for position in 0..positions as u32 {
            for pair in 0..shape.rotation.columns / 2 {
                let (cosine, sine) = shape.rotation.at(position, pair);
                turns.extend([cosine as f32, sine as f32]);
            }
        }
        let factors = (0..positions as u32).map(|position| shape.query_factor(position) as f32);
        let factors = shape.scales_queries().then(|| factors.collect::<Vec<f32>>());
        let table = RopeTable {
            shape: *shape,
            positions,
            turns: Arc::new(self.must_store(&turns)),
            query_factors: factors.map(|factors| Arc::new(self.must_store(&factors))),
        };
        tables.push(table.clone());
        table
    }
}

/// A count as a kernel takes it.
fn int(count: usize) -> i32 {
    count as i32
}

/// Types whose every pattern of bytes is a value and that have no padding.
trait Plain: Copy + Default {}
impl Plain for f32 {}
impl Plain for f64 {}
impl Plain for i64 {}
impl Plain for u32 {}
impl Plain for u8 {}
impl Plain for bf16 {}

fn bytes<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: a `Plain` type has no padding, and a byte no alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

fn bytes_mut<T: Plain>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: as above, and any bytes are values of a `Plain` type.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}

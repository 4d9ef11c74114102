//! The interface of a GPU's driver: memory, launches, products.
//!
//! All of it happens in the order of the calls, as on one stream; only reading waits. The one real driver is
//! [`super::nvidia::Nvidia`]; tests put an emulation in its place, so that kernels and host logic run without a GPU.

use super::arguments::Argument;
use super::nccl;
use crate::DType;
use std::ffi::c_void;
use std::fmt::Debug;

/// Where something lies in the device's memory.
pub(super) type Address = u64;

/// What is known of a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuFacts {
    /// Its number, from 0.
    pub ordinal: usize,
    /// Its name.
    pub name: String,
    /// Compute capability, such as (9, 0).
    pub capability: (u32, u32),
    /// Bytes of memory.
    pub memory: usize,
    /// The newest CUDA that its driver serves: 13000 for 13.0.
    pub driver: u32,
}

impl GpuFacts {
    /// The GPU's name as a device.
    pub(super) fn device(&self) -> String {
        format!("cuda:{}", self.ordinal)
    }
}

/// What a driver can fail with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DriverError {
    /// There is not that much memory left.
    #[error("the GPU has no {requested} bytes left; {free} are free")]
    OutOfMemory { requested: usize, free: usize },
    /// Anything else, in the driver's words.
    #[error("{call} failed: {reason}")]
    Failed { call: &'static str, reason: String },
}

/// `blocks` of `threads` each, with that many bytes of shared memory for each block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Launch {
    pub(super) blocks: (u32, u32),
    pub(super) threads: u32,
    pub(super) shared: u32,
}

/// A factor: where it lies, and whether it is read with rows and columns exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Factor {
    pub(super) at: Address,
    pub(super) transposed: bool,
}

/// `out[rows, columns] = left[rows, depth] right[depth, columns] (+ bias[columns]) (+ added)`, all row-major; of several
/// products at once the matrices of each kind lie one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Product {
    /// Of both factors: f32 or bf16; the result is f32.
    pub(super) dtype: DType,
    /// How many products.
    pub(super) batch: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) depth: usize,
    pub(super) left: Factor,
    pub(super) right: Factor,
    pub(super) out: Address,
    pub(super) bias: Option<Address>,
    /// What is added: the result as it was, or another matrix of its shape.
    pub(super) added: Option<Address>,
}

/// The same product in the order of BLAS: `D[m, n] = op(A)[m, k] op(B)[k, n]`, all column-major, the bias along `m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ColumnMajor {
    pub(super) dtype: DType,
    /// How many products.
    pub(super) batch: usize,
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) a_transposed: bool,
    pub(super) b_transposed: bool,
    pub(super) accumulate: bool,
    pub(super) biased: bool,
}

impl ColumnMajor {
    /// Rows and columns of A, B and D as they lie in memory; each one's leading dimension is its rows.
    pub(super) fn layouts(&self) -> [(usize, usize); 3] {
        let turned = |transposed, rows, columns| if transposed { (columns, rows) } else { (rows, columns) };
        [turned(self.a_transposed, self.m, self.k), turned(self.b_transposed, self.k, self.n), (self.m, self.n)]
    }
}

impl Product {
    /// Reads row-major matrices as their column-major transposes: `Dᵀ = rightᵀ leftᵀ`, so that A is `right` and B is
    /// `left`, and each is transposed exactly where it was before.
    pub(super) fn column_major(&self) -> ColumnMajor {
        ColumnMajor {
            dtype: self.dtype,
            batch: self.batch,
            m: self.columns,
            n: self.rows,
            k: self.depth,
            a_transposed: self.right.transposed,
            b_transposed: self.left.transposed,
            accumulate: self.added.is_some(),
            biased: self.bias.is_some(),
        }
    }
}

/// A call that the GPU works on.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Work {
    /// See [`Driver::launch`].
    Launch { kernel: &'static str, launch: Launch, arguments: Vec<Argument> },
    /// See [`Driver::multiply`].
    Multiply(Product),
    /// See [`Driver::clear`].
    Clear { at: Address, bytes: usize },
}

/// A sequence of calls that a driver has captured, by its number.
pub(super) type Graph = u64;

/// A GPU's driver; see the module.
pub(super) trait Driver: Debug + Send + Sync {
    /// What the GPU is.
    fn facts(&self) -> &GpuFacts;
    /// So many bytes of memory, aligned to 256.
    fn allocate(&self, bytes: usize) -> Result<Address, DriverError>;
    /// Gives memory back.
    fn free(&self, at: Address);
    /// What lies there means nothing from now on, as the memory is lent again. A GPU keeps it; an emulation finds who
    /// reads it.
    fn forget(&self, _at: Address, _bytes: usize) {}
    /// Copies from the host; the bytes may be changed as soon as the call returns.
    fn write(&self, at: Address, bytes: &[u8]) -> Result<(), DriverError>;
    /// Waits for all earlier work, and copies to the host.
    fn read(&self, at: Address, bytes: &mut [u8]) -> Result<(), DriverError>;
    /// Sets bytes to zero.
    fn clear(&self, at: Address, bytes: usize) -> Result<(), DriverError>;
    /// Runs a kernel with arguments of the types that it takes.
    fn launch(&self, kernel: &'static str, launch: Launch, arguments: &[Argument]) -> Result<(), DriverError>;
    /// Multiplies.
    fn multiply(&self, product: &Product) -> Result<(), DriverError>;
    /// Takes calls in their order as one that can be replayed; none of them is made.
    fn capture(&self, work: &[Work]) -> Result<Graph, DriverError>;
    /// Makes all calls of a graph, some of them, by their places, changed before and from now on: launches of the kernels
    /// that were there. When it fails, none was made.
    fn replay(&self, graph: Graph, changed: &[(usize, &Work)]) -> Result<(), DriverError>;
    /// Gives a graph back; replays of it that still run end.
    fn release(&self, graph: Graph);
    /// Waits for all earlier work.
    fn wait(&self) -> Result<(), DriverError>;
    /// What tells this GPU from every other, on this machine or elsewhere.
    fn uuid(&self) -> Result<[u8; 16], DriverError>;
    /// NCCL, where it is installed.
    fn nccl(&self) -> Option<&'static nccl::Library>;
    /// Makes this GPU the calling thread's, and gives the stream on which all of its work is, for NCCL.
    fn stream(&self) -> Result<*mut c_void, DriverError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_major_product_is_the_transposed_column_major_one() {
        // x wᵀ with x [5, 3] and w [7, 3].
        let factor = |transposed| Factor { at: 0, transposed };
        let product = Product {
            dtype: DType::F32,
            batch: 1,
            rows: 5,
            columns: 7,
            depth: 3,
            left: factor(false),
            right: factor(true),
            out: 0,
            bias: None,
            added: None,
        };
        let blas = product.column_major();
        assert_eq!((blas.m, blas.n, blas.k), (7, 5, 3));
        // A row-major [7, 3] lies as a column-major [3, 7].
        assert_eq!(blas.layouts(), [(3, 7), (3, 5), (7, 5)]);
        assert_eq!((blas.a_transposed, blas.b_transposed), (true, false));
    }
}

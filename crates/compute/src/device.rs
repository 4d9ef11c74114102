//! The interface of a device: memory, the closed set of operations, each with its backward, and optimiser updates, one
//! file and one trait for each concern.
//!
//! Legend of shapes: `T` rows of the batch, `D` width, `N` outputs, `H` query heads, `G` key/value heads, `E` head
//! size, `F` feed-forward width, `V` vocabulary, `B` sequences, `R` chosen rows. All matrices are row-major.
//!
//! Conventions: a forward operation overwrites its output; a backward operation *accumulates* into the gradients of
//! parameters and *overwrites* the gradient of its input unless it says otherwise. Results never depend on the number
//! of threads. Lengths of buffers are the caller's duty (the tape's); a device may panic on a wrong one.

mod attention;
mod connection;
mod elementwise;
mod experts;
mod later;
mod linear;
mod logits;
mod loss;
mod memory;
mod norm;
mod optimiser;

pub use attention::{Attention, AttentionBackward, AttentionOperands, AttentionRows, AttentionShape, Rows};
pub use connection::{Connection, RankPart};
pub(crate) use elementwise::halves;
pub use elementwise::{
    Activation, AddColumns, Dropout, Elementwise, Modulation, RowScale, ScaleAdd, ScaledPoints, ShiftScale, WriteRows,
};
pub use experts::{
    Combine, Experts, Factor, GroupBackwardWeight, GroupedOperands, RouteBackward, Router, RouterLogits, RouterScore,
    RowGroup,
};
pub use later::Later;
pub use linear::{
    BackwardInput, BackwardWeight, GluOperands, Linear, LinearOperands, LinearShape, PreparedBackwardInput,
    PreparedOperands, PreparedValues,
};
pub use logits::{DrawnRow, Evidence, LogitRows, Logits, ReadRow, RowDraw, RowSummary, Sampling};
pub use loss::{CostKind, Head, Loss, LossGradients, LossRows, RatioCost, RowCost, RowLoss, Targets, TokenVectors};
pub use memory::{Columns, Memory, Part};
pub use norm::{
    HeadNormGradients, HeadNorms, LayerNorm, LayerNormBackward, Norm, RmsNorm, RmsNormBackward, Rope, RopeShape,
};
pub use optimiser::{AdamW, AdamWState, AdamWUpdate, NewtonSchulz, NewtonSchulzScratch, Optimiser};

use crate::QuantisedError;
use std::fmt::{self, Debug};

/// A device: where buffers live and operations run.
pub trait Device: Memory + Linear + Experts + Norm + Attention + Elementwise + Logits + Loss + Optimiser {}

impl<D: Memory + Linear + Experts + Norm + Attention + Elementwise + Logits + Loss + Optimiser> Device for D {}

/// The real numbers that a buffer or a factor of a product holds. Token ids, positions and lists of rows are
/// [`Memory::Indices`], integers of quantised matrices are part of a prepared matrix: an operation cannot take one for
/// another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// 64-bit floating point: the specification's.
    F64,
    /// 32-bit floating point.
    F32,
    /// bfloat16: the upper half of an f32.
    Bf16,
}

impl DType {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// Host element type of a device: `f32` in use, `f64` for specification and finite differences.
pub trait Element:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + 'static
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
    + std::ops::MulAssign
{
    /// What buffers of this type hold.
    const DTYPE: DType;
    /// Rounds an `f64` to this type.
    fn from_f64(value: f64) -> Self;
    /// Widens to `f64`.
    fn to_f64(self) -> f64;
    /// Natural exponential.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
}

macro_rules! element {
    ($t:ty, $dtype:ident) => {
        impl Element for $t {
            const DTYPE: DType = DType::$dtype;
            fn from_f64(value: f64) -> Self {
                value as $t
            }
            fn to_f64(self) -> f64 {
                self as f64
            }
            fn exp(self) -> Self {
                <$t>::exp(self)
            }
            fn ln(self) -> Self {
                <$t>::ln(self)
            }
            fn sqrt(self) -> Self {
                <$t>::sqrt(self)
            }
        }
    };
}
element!(f32, F32);
element!(f64, F64);

/// What a device can fail with.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The device does not have that much memory.
    #[error("the device `{device}` could not give {bytes} bytes")]
    OutOfMemory {
        /// The device.
        device: String,
        /// The requested bytes.
        bytes: usize,
    },
    /// A GPU does not have that much memory left.
    #[error(
        "{device} has no room for {} more: {} of its {} are free", Binary(*requested), Binary(*free), Binary(*memory)
    )]
    GpuMemory {
        /// The device.
        device: String,
        /// The requested bytes.
        requested: usize,
        /// Bytes that were free.
        free: usize,
        /// Bytes that it has in all.
        memory: usize,
    },
    /// A GPU's driver or library failed; the GPU answers nothing more.
    #[error("{device} failed in {call}: {reason}")]
    Gpu {
        /// The device.
        device: String,
        /// What was called.
        call: &'static str,
        /// What was answered.
        reason: String,
    },
    /// The processor lacks what was requested by name.
    #[error("`{requested}` is not available here; available: {available}")]
    Unavailable {
        /// What was requested.
        requested: String,
        /// What there is.
        available: String,
    },
    /// Weights that are read when a pass needs them could not be.
    #[error("the weights `{name}` could not be read: {reason}")]
    Weight {
        /// Their name.
        name: String,
        /// What was answered.
        reason: String,
    },
    /// A matrix cannot be kept in integers.
    #[error(transparent)]
    Quantised(#[from] QuantisedError),
}

/// Bytes in the largest binary unit of which there is one.
struct Binary(usize);

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        match self.0 {
            0..1024 => write!(f, "{} B", self.0),
            1024..0x10_0000 => write!(f, "{:.1} KiB", bytes / 1024.0),
            0x10_0000..0x4000_0000 => write!(f, "{:.1} MiB", bytes / 1048576.0),
            _ => write!(f, "{:.1} GiB", bytes / 1073741824.0),
        }
    }
}

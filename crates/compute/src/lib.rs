//! Devices and the closed set of fused operations on which every network here runs.
//!
//! Everything is a row-major matrix in a flat [`Device::Buffer`]. A ragged batch of sequences is laid out row after
//! row with no padding; what sees what is told by [`Visibility`], so no operation knows about batches or masks.

mod cpu;
mod cuda;
mod device;
mod format;
mod parameters;
mod quantised;
mod summary;
mod tape;
mod visibility;

pub use cpu::{Arithmetic, Buffer, Cpu, CpuPath, ParseNameError, Precision, Prepared, peak};
pub use cuda::{CompileError, Cuda, GpuBuffer, GpuError, GpuFacts, GpuMatrix};
pub use device::{AdamW, AttentionShape, Device, DeviceError, Element, LinearShape, ReadRow, RopeShape};
pub use format::WeightFormat;
pub use parameters::{Gradients, Parameters, WeightId};
pub use quantised::{Bits, Quantised, QuantisedError};
pub use summary::{RowSummary, softmax_row, summarise};
pub use tape::{Tape, Targets, Value};
pub use visibility::{Visibility, VisibilityError};

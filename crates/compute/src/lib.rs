//! Devices and the closed set of fused operations on which every network here runs.
//!
//! Everything is a row-major matrix in a flat [`Memory::Buffer`]. A ragged batch of sequences is laid out row after
//! row with no padding; [`Visibility`] defines attention, so no operation knows about batches or masks.

#[cfg(test)]
mod agreement;
mod cpu;
mod cuda;
mod device;
mod format;
mod on_demand;
mod parameters;
mod quantised;
mod rotation;
mod summary;
mod tape;
mod visibility;

pub use cpu::{Arithmetic, Buffer, Cpu, CpuPath, ParseNameError, Precision, Prepared, peak};
#[cfg(any(test, feature = "emulator"))]
pub use cuda::Watched;
pub use cuda::{CompileError, Cuda, GpuBuffer, GpuError, GpuFacts, GpuIndices, GpuMatrix, GpuVisibility, GraphFigures};
pub use device::{
    Activation, AdamW, AdamWState, AdamWUpdate, AddColumns, Attention, AttentionBackward, AttentionOperands,
    AttentionRows, AttentionShape, BackwardInput, BackwardWeight, Columns, Combine, Connection, CostKind, DType,
    Device, DeviceError, DrawnRow, Dropout, Element, Elementwise, Evidence, Experts, Factor, GluOperands,
    GroupBackwardWeight, GroupedOperands, Head, HeadNormGradients, HeadNorms, Later, LayerNorm, LayerNormBackward,
    Linear, LinearOperands, LinearShape, LogitRows, Logits, Loss, LossGradients, LossRows, Memory, Modulation,
    NewtonSchulz, NewtonSchulzScratch, Norm, Optimiser, Part, PreparedBackwardInput, PreparedOperands, PreparedValues,
    RankPart, RatioCost, ReadRow, RmsNorm, RmsNormBackward, Rope, RopeShape, RouteBackward, Router, RouterLogits,
    RouterScore, RowCost, RowDraw, RowGroup, RowLoss, RowScale, RowSummary, Rows, Sampling, ScaleAdd, ScaledPoints,
    ShiftScale, Targets, TokenVectors, WriteRows,
};
pub use format::WeightFormat;
pub use on_demand::PrepareMatrix;
pub use parameters::{Gradients, LowRank, Parameters, WeightId};
pub use quantised::{Bits, Quantised, QuantisedError};
pub use rotation::{QueryGrowth, Rotation, RotationScaling, Yarn};
pub use summary::{
    LogitsSummary, ShapedRow, draw_row, draw_row_expecting, shape_row, softmax_row, summarise, summarise_row,
};
pub use tape::{LogitHead, Routes, RowGroups, Tape, Value};
pub use visibility::{Visibility, VisibilityError};

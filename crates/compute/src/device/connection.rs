//! Exchange between devices of several processes without the host.

use super::DeviceError;
use std::fmt::Debug;
use std::ops::Range;

/// Elements of a buffer that one rank answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankPart {
    /// Which of the buffers.
    pub buffer: usize,
    /// Which of its elements.
    pub range: Range<usize>,
    /// Whose they are.
    pub rank: usize,
}

/// A device's connection with those of the other ranks. All ranks call the same in the same order, with buffers of the same
/// lengths and the same parts. What is called happens in the order of the device's other work, and the host does not wait.
pub trait Connection<B>: Debug + Send + Sync {
    /// Replaces each part, at its rank, by its sum over all ranks; what it becomes elsewhere is not said.
    ///
    /// # Errors
    /// When the connection fails.
    fn reduce(&self, buffers: &mut [&mut B], parts: &[RankPart]) -> Result<(), DeviceError>;
    /// Brings each part from its rank to all others.
    ///
    /// # Errors
    /// When the connection fails.
    fn broadcast(&self, buffers: &mut [&mut B], parts: &[RankPart]) -> Result<(), DeviceError>;
    /// Waits until everything that was called has happened here.
    ///
    /// # Errors
    /// When the device fails.
    fn wait(&self) -> Result<(), DeviceError>;
}

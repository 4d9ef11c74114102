//! Rows of logits.

use crate::cuda::{Cuda, GpuBuffer, GpuMatrix};
use crate::{DeviceError, DrawnRow, LogitRows, Logits, ReadRow, RowDraw, RowSummary};

impl Logits for Cuda {
    fn linear_rows(&self, logits: LogitRows<'_, GpuBuffer, GpuMatrix>, read: &ReadRow<'_>) -> Result<(), DeviceError> {
        self.read_rows(logits, read)
    }
    fn summarise_rows(
        &self,
        logits: LogitRows<'_, GpuBuffer, GpuMatrix>,
        best: usize,
    ) -> Result<Vec<RowSummary>, DeviceError> {
        self.summarise(logits, best)
    }
    fn draw_rows(
        &self,
        logits: LogitRows<'_, GpuBuffer, GpuMatrix>,
        draws: &[RowDraw<'_>],
    ) -> Result<Vec<DrawnRow>, DeviceError> {
        self.draw(logits, draws)
    }
}

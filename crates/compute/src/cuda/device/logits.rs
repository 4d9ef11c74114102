//! Rows of logits.

use crate::cuda::algorithms::near;
use crate::cuda::{Cuda, GpuBuffer, GpuMatrix};
use crate::{
    DeviceError, DrawnRow, Head, LinearShape, LogitRows, Logits, LossRows, ReadRow, RowDraw, RowSummary, Targets,
    TokenVectors,
};

impl Logits for Cuda {
    fn padded_rows(&self, rows: usize) -> usize {
        // Launches are replayed where shapes are the same.
        if self.graphs.is_some() { near(rows) } else { rows }
    }
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
    fn nll_rows(&self, logits: LogitRows<'_, GpuBuffer, GpuMatrix>, targets: &[u32]) -> Result<Vec<f64>, DeviceError> {
        let LogitRows { rows, hidden, head, bias, soft_cap, forbidden, evidence } = logits;
        assert_eq!(rows, targets.len(), "as many targets as rows");
        let (outputs, inputs) = head.shape();
        let (shape, head) = (LinearShape { rows, inputs, outputs }, Head::Prepared(head));
        // Nothing is learnt, so that nobody reads what a row weighs.
        let targets = Targets { ids: targets, weights: &[] };
        let rows = LossRows { shape, hidden, head, bias, soft_cap, forbidden, evidence };
        Ok(self.cross_entropy(rows, targets, None)?.get())
    }
    fn draw_rows(
        &self,
        logits: LogitRows<'_, GpuBuffer, GpuMatrix>,
        draws: &[RowDraw<'_>],
    ) -> Result<Vec<DrawnRow>, DeviceError> {
        Ok(self.draw(logits, draws, None)?.into_iter().map(|(drawn, _)| drawn).collect())
    }
    fn draw_rows_expecting(
        &self,
        logits: LogitRows<'_, GpuBuffer, GpuMatrix>,
        draws: &[RowDraw<'_>],
        vectors: TokenVectors<'_, GpuBuffer>,
    ) -> Result<Vec<(DrawnRow, Vec<f32>)>, DeviceError> {
        self.draw(logits, draws, Some(vectors))
    }
}

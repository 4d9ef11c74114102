//! Losses.

use crate::cuda::{Cuda, GpuBuffer, GpuMatrix};
use crate::{DeviceError, Later, Loss, LossGradients, LossRows, ReadRow, RowCost, RowLoss, Targets, TokenVectors};

impl Loss for Cuda {
    fn linear_cross_entropy(
        &self,
        logits: LossRows<'_, GpuBuffer, GpuMatrix>,
        targets: Targets<'_>,
        gradients: Option<LossGradients<'_, GpuBuffer>>,
    ) -> Result<Later<Vec<f64>>, DeviceError> {
        self.cross_entropy(logits, targets, gradients)
    }
    fn linear_cost_rows(
        &self,
        logits: LossRows<'_, GpuBuffer, GpuMatrix>,
        costs: &[RowCost],
        vectors: Option<TokenVectors<'_, GpuBuffer>>,
        gradients: Option<LossGradients<'_, GpuBuffer>>,
    ) -> Result<Later<Vec<RowLoss>>, DeviceError> {
        self.cost_rows(logits, costs, vectors, gradients)
    }
    fn linear_learn_rows(
        &self,
        logits: LossRows<'_, GpuBuffer, GpuMatrix>,
        read: &ReadRow<'_>,
        gradients: LossGradients<'_, GpuBuffer>,
    ) -> Result<(), DeviceError> {
        self.learn_rows(logits, read, gradients)
    }
}

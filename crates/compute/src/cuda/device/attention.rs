//! Attention.

use crate::cuda::arguments::{In, Out};
use crate::cuda::attention::Attended;
use crate::cuda::{Cuda, GpuBuffer, GpuIndices, GpuVisibility};
use crate::{Attention, AttentionBackward, AttentionOperands, AttentionRows, Rows};

impl Attention for Cuda {
    fn attention(
        &self,
        operands: AttentionOperands<'_, GpuBuffer, GpuVisibility>,
        out: &mut GpuBuffer,
        log_sum_exp: &mut GpuBuffer,
    ) {
        let AttentionOperands { shape, visible, packed } = operands;
        let AttentionRows::<_, GpuIndices, _> { queries, keys_values, .. } =
            AttentionRows::packed(shape, visible, packed);
        let attended = Attended { shape, visible, count: visible.len(), rows: In::none(), queries, keys_values };
        self.attend(attended, out, log_sum_exp.output());
    }
    fn attention_rows(&self, operands: AttentionRows<'_, GpuBuffer, GpuIndices, GpuVisibility>, out: &mut GpuBuffer) {
        let AttentionRows { shape, visible, rows, queries, keys_values } = operands;
        let (count, rows) = match rows {
            Rows::All => (visible.len(), In::none()),
            Rows::At(rows) => (rows.len(), rows.input()),
        };
        self.attend(Attended { shape, visible, count, rows, queries, keys_values }, out, Out::none());
    }
    fn attention_backward(&self, operands: AttentionBackward<'_, GpuBuffer, GpuVisibility>, d_packed: &mut GpuBuffer) {
        self.attend_back(operands, d_packed);
    }
}

//! Attention.

use crate::cpu::fast::{f32s, f32s_mut};
use crate::cpu::{Buffer, Cpu, scalar};
use crate::{Attention, AttentionBackward, AttentionOperands, AttentionRows, Element, Rows, Visibility};

impl<E: Element> Attention for Cpu<E> {
    fn attention(
        &self,
        operands: AttentionOperands<'_, Buffer<E>, Visibility>,
        out: &mut Buffer<E>,
        log_sum_exp: &mut Buffer<E>,
    ) {
        let (operands, out) = (operands.map(Buffer::as_slice), out.as_mut_slice());
        let log_sum_exp = log_sum_exp.as_mut_slice();
        match &self.fast {
            Some(fast) => fast.attention(operands.map(f32s), f32s_mut(out), f32s_mut(log_sum_exp)),
            None => scalar::attention(operands, out, log_sum_exp),
        }
    }
    fn attention_rows(&self, operands: AttentionRows<'_, Buffer<E>, Vec<u32>, Visibility>, out: &mut Buffer<E>) {
        let AttentionRows { shape, visible, rows, queries, keys_values } = operands.map(Buffer::as_slice);
        let rows = match rows {
            Rows::All => Rows::All,
            Rows::At(rows) => Rows::At(rows.as_slice()),
        };
        let (operands, out) = (AttentionRows { shape, visible, rows, queries, keys_values }, out.as_mut_slice());
        match &self.fast {
            Some(fast) => fast.attention_rows(operands.map(f32s), f32s_mut(out)),
            None => scalar::attention_rows(operands, Self::rounding(self.precision), out),
        }
    }
    fn attention_backward(&self, operands: AttentionBackward<'_, Buffer<E>, Visibility>, d_packed: &mut Buffer<E>) {
        let (operands, d_packed) = (operands.map(Buffer::as_slice), d_packed.as_mut_slice());
        match &self.fast {
            Some(fast) => fast.attention_backward(operands.map(f32s), f32s_mut(d_packed)),
            None => scalar::attention_backward(operands, d_packed),
        }
    }
}

//! Low-rank additions to products (LoRA: Hu et al., 2106.09685): `x (W + factor · up · down)ᵀ` as `x Wᵀ` and, beside it, the
//! product with both halves, each part of a stacked weight with its own.

use super::{Record, Tape, Value};
use crate::{AddColumns, Columns, Device, DeviceError, Dropout, LowRank, WeightId};

impl<'p, D: Device> Tape<'p, D> {
    /// Adds to the product of a weight with `x` what the set of low-rank additions says of its parts.
    pub(super) fn add_low_rank(
        &mut self,
        x: &Value<D>,
        weight: WeightId,
        mut out: Value<D>,
    ) -> Result<Value<D>, DeviceError> {
        let Some(set) = self.low_rank else { return Ok(out) };
        for (first, LowRank { down, up, factor }) in self.parameters.low_rank(set, weight) {
            let inner = match self.dropout.filter(|_| self.learning) {
                Some(dropout) => {
                    let rest = self.drop_some(x, dropout.of_use(down.index()))?;
                    self.product(&rest, down, None)?
                }
                None => self.product(x, down, None)?,
            };
            let added = self.product(&inner, up, None)?;
            out = self.add_columns(out, &added, (factor, first))?;
        }
        Ok(out)
    }

    /// Numbers of which some are dropped.
    fn drop_some(&mut self, x: &Value<D>, dropout: Dropout) -> Result<Value<D>, DeviceError> {
        let mut out = self.device().uninitialised(x.rows * x.columns)?;
        self.device().dropout(dropout, &x.buffer, &mut out);
        let out = self.value(out, x.rows, x.columns, x.slot.is_some());
        let slot = x.slot;
        self.note(&out, |out| Record::Dropout { x: slot, dropout, length: x.rows * x.columns, out });
        Ok(out)
    }

    /// `to`, with `factor · added` added to its columns from `first` on.
    fn add_columns(
        &mut self,
        to: Value<D>,
        added: &Value<D>,
        (factor, first): (f64, usize),
    ) -> Result<Value<D>, DeviceError> {
        let (rows, stride, columns) = (to.rows, to.columns, added.columns);
        let (to_slot, slot) = (to.slot, added.slot);
        let mut out = self.own(to)?;
        let from = Columns::all(&*added.buffer, columns);
        let operands = AddColumns { rows, columns, factor, from, stride, first, accumulate: true };
        self.device().add_columns(operands, &mut out);
        let out = self.value(out, rows, stride, to_slot.is_some() || slot.is_some());
        let record = |out| Record::AddColumns { to: to_slot, added: slot, rows, columns, factor, stride, first, out };
        self.note(&out, record);
        Ok(out)
    }

    /// Two matrices of as many rows beside each other.
    pub(super) fn beside(&mut self, left: &Value<D>, right: &Value<D>) -> Result<Value<D>, DeviceError> {
        let (rows, stride) = (left.rows, left.columns + right.columns);
        let empty = self.device().zeros(rows * stride)?;
        let out = self.adopt(empty, rows, stride);
        let out = self.add_columns(out, left, (1.0, 0))?;
        self.add_columns(out, right, (1.0, left.columns))
    }
}

//! Choosing and replacing rows, gates, activations and modulation.

use super::{Record, Routes, Tape, Value};
use crate::{Activation, Columns, Device, DeviceError, Modulation, RowScale, ShiftScale, WeightId, WriteRows};
use std::rc::Rc;

/// The group of each row.
pub enum RowGroups<'p, D: Device> {
    /// As they were uploaded.
    Given(&'p D::Indices),
    /// The experts of rows, for `[T, K]` numbers.
    Chosen(Rc<Routes<D>>),
}

impl<'p, D: Device> Tape<'p, D> {
    /// How many indices there are.
    pub fn count(&self, indices: &D::Indices) -> usize {
        self.device().count(indices)
    }

    /// Rows of a table by id: `[ids, columns]`.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn gather(&mut self, table: WeightId, ids: &'p D::Indices) -> Result<Value<D>, DeviceError> {
        let (rows, (_, columns)) = (self.device().count(ids), self.parameters.shape(table));
        let mut out = self.device().uninitialised(rows * columns)?;
        self.device().gather(columns, self.parameters.get(table)?, ids, &mut out);
        let out = self.value(out, rows, columns, self.parameters.trains(table));
        self.note(&out, |out| Record::Gather { table, ids, out });
        Ok(out)
    }

    /// Chosen rows of a value.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn rows(&mut self, x: &Value<D>, ids: &'p D::Indices) -> Result<Value<D>, DeviceError> {
        let rows = self.device().count(ids);
        let mut out = self.device().uninitialised(rows * x.columns)?;
        self.device().gather(x.columns, &x.buffer, ids, &mut out);
        let out = self.value(out, rows, x.columns, x.slot.is_some());
        if let Some(slot) = x.slot {
            self.note(&out, |out| Record::Rows { x: slot, ids, rows: x.rows, columns: x.columns, out });
        }
        Ok(out)
    }

    /// `f(gate) · up` of packed `[gate, up]`.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn glu(&mut self, activation: Activation, gate_up: &Value<D>) -> Result<Value<D>, DeviceError> {
        let width = gate_up.columns / 2;
        let mut out = self.device().uninitialised(gate_up.rows * width)?;
        self.device().glu(activation, width, &gate_up.buffer, &mut out);
        let out = self.value(out, gate_up.rows, width, gate_up.slot.is_some());
        self.note(&out, |out| Record::Glu { activation, gate_up: gate_up.clone(), out });
        Ok(out)
    }

    /// `factors[g] · x`, `g` the group of each row. Where there are more groups than rows, rows are those of a matrix of as
    /// many rows as groups.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn scale_rows(
        &mut self,
        x: &Value<D>,
        factors: WeightId,
        groups: RowGroups<'p, D>,
    ) -> Result<Value<D>, DeviceError> {
        let mut out = self.device().uninitialised(x.rows * x.columns)?;
        let scaled = self.row_scale(x, factors, &groups)?;
        self.device().scale_rows(scaled, &mut out);
        let out = self.value(out, x.rows, x.columns, x.slot.is_some() || self.parameters.trains(factors));
        self.note(&out, |out| Record::ScaleRows { x: x.clone(), factors, groups, out });
        Ok(out)
    }

    pub(super) fn row_scale<'a>(
        &'a self,
        x: &'a Value<D>,
        factors: WeightId,
        groups: &'a RowGroups<'p, D>,
    ) -> Result<RowScale<'a, D::Buffer, D::Indices>, DeviceError> {
        let groups = match groups {
            RowGroups::Given(groups) => groups,
            RowGroups::Chosen(routes) => routes.chosen(),
        };
        let columns = (x.rows * x.columns).checked_div(self.device().count(groups)).unwrap_or(1);
        Ok(RowScale { columns, groups, factors: self.parameters.get(factors)?, x: &x.buffer })
    }

    /// `factor · x`.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn scaled(&mut self, x: &Value<D>, factor: f64) -> Result<Value<D>, DeviceError> {
        let length = x.rows * x.columns;
        let mut out = self.device().uninitialised(length)?;
        self.device().scale_add(factor, &x.buffer, 0.0, &mut out);
        let out = self.value(out, x.rows, x.columns, x.slot.is_some());
        if let Some(slot) = x.slot {
            self.note(&out, |out| Record::Scaled { x: slot, factor, length, out });
        }
        Ok(out)
    }

    /// `x` with other rows in the places `ids`, each of them once.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn replace_rows(&mut self, x: Value<D>, ids: &'p D::Indices, rows: &Value<D>) -> Result<Value<D>, DeviceError> {
        let (count, columns, slot) = (x.rows, x.columns, x.slot);
        let mut out = self.own(x)?;
        let written = Columns { buffer: rows.buffer(), stride: columns, first: 0 };
        self.device().write_rows(WriteRows { columns, rows: written, ids }, &mut out);
        let out = self.value(out, count, columns, slot.is_some() || rows.slot.is_some());
        self.note(&out, |out| Record::Replace { x: slot, rows: rows.slot, ids, columns, out });
        Ok(out)
    }

    /// `x σ(x)`.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn silu(&mut self, x: &Value<D>) -> Result<Value<D>, DeviceError> {
        let mut out = self.device().uninitialised(x.rows * x.columns)?;
        self.device().silu(&x.buffer, &mut out);
        let out = self.value(out, x.rows, x.columns, x.slot.is_some());
        self.note(&out, |out| Record::Silu { x: x.clone(), out });
        Ok(out)
    }

    /// GELU in its tanh form.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn gelu(&mut self, x: &Value<D>) -> Result<Value<D>, DeviceError> {
        let mut out = self.device().uninitialised(x.rows * x.columns)?;
        self.device().gelu(&x.buffer, &mut out);
        let out = self.value(out, x.rows, x.columns, x.slot.is_some());
        self.note(&out, |out| Record::Gelu { x: x.clone(), out });
        Ok(out)
    }

    /// Each column at the nearest of its levels in `[−1, 1]`, with a gradient straight through the rounding; see
    /// [`Elementwise::round_to_levels`](crate::Elementwise::round_to_levels).
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn round_to_levels(&mut self, x: &Value<D>, levels: &D::Indices) -> Result<Value<D>, DeviceError> {
        let mut out = self.device().uninitialised(x.rows * x.columns)?;
        self.device().round_to_levels(levels, &x.buffer, &mut out);
        let out = self.value(out, x.rows, x.columns, x.slot.is_some());
        self.note(&out, |out| Record::RoundToLevels { x: x.clone(), out });
        Ok(out)
    }

    /// `x · (1 + scale) + shift`, with shift and scale at columns of the `modulation` of each row's group.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn modulate(
        &mut self,
        x: &Value<D>,
        modulation: &Value<D>,
        groups: &'p D::Indices,
        at: ShiftScale,
    ) -> Result<Value<D>, DeviceError> {
        let mut out = self.device().uninitialised(x.rows * x.columns)?;
        self.device().modulate(Self::modulation(x, modulation, groups), at, &mut out);
        let out = self.value(out, x.rows, x.columns, x.slot.is_some() || modulation.slot.is_some());
        self.note(&out, |out| Record::Modulate { x: x.clone(), modulation: modulation.clone(), groups, at, out });
        Ok(out)
    }

    pub(super) fn modulation<'a>(
        x: &'a Value<D>,
        modulation: &'a Value<D>,
        groups: &'a D::Indices,
    ) -> Modulation<'a, D::Buffer, D::Indices> {
        let (columns, stride) = (x.columns, modulation.columns);
        Modulation { columns, groups, stride, x: &x.buffer, modulation: &modulation.buffer }
    }

    /// `residual + gate · x`; `gate` is the column of `modulation` at which the gate begins.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn gated_add(
        &mut self,
        x: &Value<D>,
        modulation: &Value<D>,
        groups: &'p D::Indices,
        gate: usize,
        residual: Value<D>,
    ) -> Result<Value<D>, DeviceError> {
        let slot = residual.slot;
        let mut out = self.own(residual)?;
        self.device().gated_add(Self::modulation(x, modulation, groups), gate, &mut out);
        let differentiable = slot.is_some() || x.slot.is_some() || modulation.slot.is_some();
        let out = self.value(out, x.rows, x.columns, differentiable);
        self.note(&out, |out| Record::GatedAdd {
            x: x.clone(),
            modulation: modulation.clone(),
            groups,
            gate,
            residual: slot,
            out,
        });
        Ok(out)
    }

    /// `x + y`.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn add(&mut self, x: Value<D>, y: &Value<D>) -> Result<Value<D>, DeviceError> {
        let (rows, columns, slot) = (x.rows, x.columns, x.slot);
        let mut out = self.own(x)?;
        self.device().scale_add(1.0, &y.buffer, 1.0, &mut out);
        let out = self.value(out, rows, columns, slot.is_some() || y.slot.is_some());
        self.note(&out, |out| Record::Add { x: slot, y: y.slot, length: rows * columns, out });
        Ok(out)
    }
}

//! Modulation by the time: shift and scale of what a norm gives, and a gate on the way back into the stream (DiT,
//! 2212.09748, figure 3, adaLN-Zero).

use super::Affine;
use aquatint_compute::{Device, DeviceError, ShiftScale, Tape, Value, WeightId};

/// Parts of a layer's modulation, `width` columns each: shift, scale and gate of attention, then of the feed-forward part.
pub(super) const PARTS: usize = 6;
/// Parts of one half.
pub(super) const PARTS_OF_HALF: usize = 3;

/// What a half of a layer does around its own work, modulated where there is time conditioning.
pub(super) struct Half<'p, 'm, D: Device> {
    /// `[groups, PARTS · width]`.
    pub(super) modulation: Option<&'m Value<D>>,
    /// The row of the modulation for each row of the stream.
    pub(super) groups: &'p D::Indices,
    /// The first of the parts that are this half's.
    pub(super) part: usize,
    /// Columns of the stream.
    pub(super) width: usize,
}

impl<'p, D: Device> Half<'p, '_, D> {
    /// `h ⊙ (1 + scale) + shift`.
    pub(super) fn modulate(&self, tape: &mut Tape<'p, D>, h: Value<D>) -> Result<Value<D>, DeviceError> {
        match self.modulation {
            Some(modulation) => {
                let at = ShiftScale { shift: self.part * self.width, scale: (self.part + 1) * self.width };
                tape.modulate(&h, modulation, self.groups, at)
            }
            None => Ok(h),
        }
    }

    /// Projects back and adds to the residual stream, through the gate where there is one.
    pub(super) fn add(
        &self,
        tape: &mut Tape<'p, D>,
        h: &Value<D>,
        (weight, bias): (WeightId, Option<WeightId>),
        residual: Value<D>,
    ) -> Result<Value<D>, DeviceError> {
        match self.modulation {
            Some(modulation) => {
                let projected = tape.linear(h, weight, bias)?;
                tape.gated_add(&projected, modulation, self.groups, (self.part + 2) * self.width, residual)
            }
            None => tape.linear_add(h, weight, bias, residual),
        }
    }

    /// Adds what is of the stream's width already, through the gate where there is one.
    pub(super) fn add_value(
        &self,
        tape: &mut Tape<'p, D>,
        value: &Value<D>,
        residual: Value<D>,
    ) -> Result<Value<D>, DeviceError> {
        match self.modulation {
            Some(modulation) => tape.gated_add(value, modulation, self.groups, (self.part + 2) * self.width, residual),
            None => tape.add(residual, value),
        }
    }
}

/// The modulation that follows from what each sequence is conditioned on.
pub(super) fn forward<'p, D: Device>(
    tape: &mut Tape<'p, D>,
    weights: Option<Affine>,
    condition: Option<&Value<D>>,
) -> Result<Option<Value<D>>, DeviceError> {
    match (weights, condition) {
        (Some((weight, bias)), Some(condition)) => Ok(Some(tape.linear(condition, weight, Some(bias))?)),
        _ => Ok(None),
    }
}

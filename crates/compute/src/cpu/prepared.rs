//! Matrices that the CPU multiplies by again and again.

use super::fast::{f32s, f32s_mut};
use super::{Buffer, Cpu, Precision, fast, scalar};
use crate::{
    Activation, BackwardInput, DType, DeviceError, Element, Factor, GluOperands, GroupedOperands, LinearOperands,
    LinearShape, Memory, PreparedBackwardInput, PreparedOperands, PreparedValues, Quantised, RowGroup, WeightFormat,
};
use std::borrow::Cow;

/// A matrix `[N, K]` in the order and the numbers in which the CPU multiplies by it.
#[derive(Debug)]
pub struct Prepared<E: Element>(pub(super) PreparedKind<E>);

/// The forms of a prepared matrix.
#[derive(Debug)]
pub(super) enum PreparedKind<E: Element> {
    /// As the specification reads it, in the element type or in bf16.
    Real { values: Buffer<E>, shape: (usize, usize) },
    /// As the specification reads it.
    Quantised(Quantised),
    /// Packed for the kernels.
    Packed(fast::Prepared),
}

/// How a factor of a product is rounded.
type Rounding<E> = fn(E) -> E;

impl<E: Element> Prepared<E> {
    /// Rows and columns of the matrix: `(N, K)`.
    pub fn shape(&self) -> (usize, usize) {
        match &self.0 {
            PreparedKind::Real { shape, .. } => *shape,
            PreparedKind::Quantised(matrix) => (matrix.outputs(), matrix.inputs()),
            PreparedKind::Packed(packed) => packed.shape(),
        }
    }

    fn packed(&self) -> Option<&fast::Prepared> {
        match &self.0 {
            PreparedKind::Packed(packed) => Some(packed),
            PreparedKind::Real { .. } | PreparedKind::Quantised(_) => None,
        }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            PreparedKind::Real { values, .. } => values.len() * values.dtype().bytes(),
            PreparedKind::Quantised(matrix) => matrix.packed().len() + size_of_val(matrix.scales()),
            PreparedKind::Packed(packed) => packed.bytes(),
        }
    }
}

/// The precision of products with real numbers of this type.
fn precision(dtype: DType) -> Precision {
    if dtype == DType::Bf16 { Precision::Bf16 } else { Precision::F32 }
}

impl<E: Element> Cpu<E> {
    /// See [`crate::Linear::prepare`].
    pub(super) fn prepare_matrix(
        &self,
        shape: (usize, usize),
        w: &Buffer<E>,
        format: WeightFormat,
    ) -> Result<Prepared<E>, DeviceError> {
        if let Some((bits, group)) = format.integers() {
            let values: Cow<'_, [f32]> = match &self.fast {
                Some(_) => Cow::Borrowed(f32s(w.as_slice())),
                None => w.as_slice().iter().map(|value| value.to_f64() as f32).collect(),
            };
            return self.prepare_integers(Quantised::of(&values, shape, bits, group)?);
        }
        self.prepare_real(shape, w, if format == WeightFormat::Bf16 { DType::Bf16 } else { E::DTYPE })
    }

    fn prepare_real(&self, shape: (usize, usize), w: &Buffer<E>, dtype: DType) -> Result<Prepared<E>, DeviceError> {
        if let Some(fast) = &self.fast {
            return Ok(Prepared(PreparedKind::Packed(fast.prepare(shape, f32s(w.as_slice()), precision(dtype))?)));
        }
        let mut values = self.uninitialised_as(dtype, w.len())?;
        self.convert(w, &mut values);
        Ok(Prepared(PreparedKind::Real { values, shape }))
    }

    /// See [`crate::Linear::prepare_quantised`].
    pub(super) fn prepare_integers(&self, matrix: Quantised) -> Result<Prepared<E>, DeviceError> {
        Ok(Prepared(match &self.fast {
            Some(fast) => PreparedKind::Packed(fast.prepare_quantised(&matrix)?),
            None => PreparedKind::Quantised(matrix),
        }))
    }

    /// See [`crate::Linear::read_prepared`].
    pub(super) fn unpack(weight: &Prepared<E>) -> Result<PreparedValues<E>, DeviceError> {
        Ok(match &weight.0 {
            PreparedKind::Real { values, .. } => PreparedValues::Real(values.to_elements().into_owned()),
            PreparedKind::Quantised(matrix) => PreparedValues::Quantised(matrix.clone()),
            PreparedKind::Packed(packed) => match packed.unpack()? {
                PreparedValues::Real(values) => {
                    PreparedValues::Real(values.into_iter().map(|value| E::from_f64(f64::from(value))).collect())
                }
                PreparedValues::Quantised(matrix) => PreparedValues::Quantised(matrix),
            },
        })
    }

    /// See [`crate::Linear::linear_prepared`].
    pub(super) fn multiply_prepared(&self, operands: PreparedOperands<'_, [E], Prepared<E>>, out: &mut [E]) {
        let PreparedOperands { rows, x, weight, bias, accumulate } = operands;
        match (&weight.0, &self.fast) {
            (PreparedKind::Real { values, shape: (outputs, inputs) }, _) => {
                let shape = LinearShape { rows, inputs: *inputs, outputs: *outputs };
                let weight: &[E] = &values.to_elements();
                let round = Self::rounding(precision(values.dtype()));
                scalar::linear(LinearOperands { shape, x, weight, bias, accumulate }, round, out);
            }
            (PreparedKind::Quantised(matrix), _) => scalar::linear_quantised(rows, x, matrix, bias, accumulate, out),
            (PreparedKind::Packed(weight), Some(fast)) => {
                let (x, bias) = (f32s(x), bias.map(f32s));
                fast.linear_prepared(PreparedOperands { rows, x, weight, bias, accumulate }, f32s_mut(out));
            }
            (PreparedKind::Packed(_), None) => unreachable!("only a device with a fast path packs"),
        }
    }

    /// See [`crate::Linear::linear_prepared_backward_input`].
    pub(super) fn multiply_prepared_back(&self, operands: PreparedBackwardInput<'_, [E], Prepared<E>>, d_x: &mut [E]) {
        let PreparedBackwardInput { rows, d_out, weight, accumulate } = operands;
        if let (PreparedKind::Packed(weight), Some(fast)) = (&weight.0, &self.fast) {
            let operands = PreparedBackwardInput { rows, d_out: f32s(d_out), weight, accumulate };
            return fast.linear_prepared_backward_input(operands, f32s_mut(d_x));
        }
        let (outputs, inputs) = weight.shape();
        let (values, round) = self.stands_for(weight);
        let shape = LinearShape { rows, inputs, outputs };
        scalar::linear_backward_input(BackwardInput { shape, d_out, weight: &values, accumulate }, round, d_x);
    }

    /// The values of a matrix of the specification in its backward, and how factors are rounded there.
    pub(super) fn stands_for<'a>(&self, weight: &'a Prepared<E>) -> (Cow<'a, [E]>, Rounding<E>) {
        match &weight.0 {
            PreparedKind::Real { values, .. } => (values.to_elements(), Self::rounding(precision(values.dtype()))),
            PreparedKind::Quantised(matrix) => {
                let values = matrix.dequantise().into_iter().map(|value| E::from_f64(f64::from(value)));
                (values.collect(), Self::rounding(self.precision))
            }
            PreparedKind::Packed(_) => unreachable!("only a device with a fast path packs"),
        }
    }

    /// See [`crate::Experts::grouped_linear`]; whether the fast path did it, which it does where all is packed alike.
    pub(super) fn multiply_groups(
        &self,
        operands: GroupedOperands<'_, [E], Factor<'_, Buffer<E>, Prepared<E>>>,
        out: &mut [E],
    ) -> bool {
        let GroupedOperands { shape, x, groups } = operands;
        let packed = groups.iter().map(|group| match group.weight {
            Factor::Prepared(weight) => Some(RowGroup { rows: group.rows.clone(), weight: weight.packed()? }),
            Factor::Values(_) => None,
        });
        let Some((fast, groups)) = self.fast.as_ref().zip(packed.collect::<Option<Vec<_>>>()) else { return false };
        let alike = fast::Prepared::are_alike(groups.iter().map(|group| group.weight));
        if alike {
            fast.grouped_linear(GroupedOperands { shape, x: f32s(x), groups: &groups }, f32s_mut(out));
        }
        alike
    }

    /// See [`crate::Experts::grouped_glu`]; whether the fast path did it.
    pub(super) fn gate_groups(
        &self,
        activation: Activation,
        operands: GroupedOperands<'_, [E], (&Prepared<E>, &Prepared<E>)>,
        out: &mut [E],
    ) -> bool {
        let GroupedOperands { shape, x, groups } = operands;
        let packed = groups.iter().map(|group| {
            let (gate, up) = group.weight;
            Some(RowGroup { rows: group.rows.clone(), weight: (gate.packed()?, up.packed()?) })
        });
        let Some((fast, groups)) = self.fast.as_ref().zip(packed.collect::<Option<Vec<_>>>()) else { return false };
        let alike = fast::Prepared::are_alike(groups.iter().flat_map(|group| [group.weight.0, group.weight.1]));
        if alike {
            fast.grouped_glu(activation, GroupedOperands { shape, x: f32s(x), groups: &groups }, f32s_mut(out));
        }
        alike
    }

    /// See [`crate::Linear::linear_glu`].
    pub(super) fn multiply_glu(&self, operands: GluOperands<'_, [E], Prepared<E>>, out: &mut [E]) {
        let GluOperands { activation, rows, x, gate, up } = operands;
        if let (PreparedKind::Packed(gate), PreparedKind::Packed(up), Some(fast)) = (&gate.0, &up.0, &self.fast) {
            return fast.linear_glu(GluOperands { activation, rows, x: f32s(x), gate, up }, f32s_mut(out));
        }
        let width = gate.shape().0;
        let mut halves = [vec![E::default(); rows * width], vec![E::default(); rows * width]];
        for (weight, half) in [gate, up].into_iter().zip(&mut halves) {
            self.multiply_prepared(PreparedOperands { rows, x, weight, bias: None, accumulate: false }, half);
        }
        let lines = halves[0].chunks(width.max(1)).zip(halves[1].chunks(width.max(1)));
        let gate_up: Vec<E> = lines.flat_map(|(gate, up)| [gate, up].concat()).collect();
        scalar::glu(activation, width, &gate_up, out);
    }
}

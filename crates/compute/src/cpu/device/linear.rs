//! Products.

use crate::cpu::fast::{f32s, f32s_mut};
use crate::cpu::{Buffer, Cpu, Prepared, scalar};
use crate::{
    BackwardInput, BackwardWeight, DeviceError, Element, Elementwise, GluOperands, Linear, LinearOperands,
    PreparedBackwardInput, PreparedOperands, PreparedValues, Quantised, WeightFormat,
};

impl<E: Element> Cpu<E> {
    /// See [`Linear::linear`].
    pub(super) fn multiply(&self, operands: LinearOperands<'_, [E]>, out: &mut [E]) {
        match &self.fast {
            Some(fast) => fast.linear(operands.map(f32s), f32s_mut(out)),
            None => scalar::linear(operands, Self::rounding(self.precision), out),
        }
    }

    /// See [`Linear::linear_backward_input`].
    pub(super) fn multiply_back(&self, operands: BackwardInput<'_, [E]>, d_x: &mut [E]) {
        match &self.fast {
            Some(fast) => fast.linear_backward_input(operands.map(f32s), f32s_mut(d_x)),
            None => scalar::linear_backward_input(operands, Self::rounding(self.precision), d_x),
        }
    }

    /// See [`Linear::linear_backward_weight`].
    pub(super) fn add_weight_gradient(
        &self,
        operands: BackwardWeight<'_, [E]>,
        d_weight: &mut [E],
        d_bias: Option<&mut [E]>,
    ) {
        match &self.fast {
            Some(fast) => fast.linear_backward_weight(operands.map(f32s), f32s_mut(d_weight), d_bias.map(f32s_mut)),
            None => scalar::linear_backward_weight(operands, Self::rounding(self.precision), d_weight, d_bias),
        }
    }
}

impl<E: Element> Linear for Cpu<E> {
    type Prepared = Prepared<E>;

    fn linear(&self, operands: LinearOperands<'_, Buffer<E>>, out: &mut Buffer<E>) {
        self.multiply(operands.map(Buffer::as_slice), out.as_mut_slice());
    }
    fn linear_onto(&self, operands: LinearOperands<'_, Buffer<E>>, residual: &Buffer<E>, out: &mut Buffer<E>) {
        self.scale_add(1.0, residual, 0.0, out);
        self.linear(LinearOperands { accumulate: true, ..operands }, out);
    }
    fn linear_backward_input(&self, operands: BackwardInput<'_, Buffer<E>>, d_x: &mut Buffer<E>) {
        self.multiply_back(operands.map(Buffer::as_slice), d_x.as_mut_slice());
    }
    fn linear_backward_weight(
        &self,
        operands: BackwardWeight<'_, Buffer<E>>,
        d_weight: &mut Buffer<E>,
        d_bias: Option<&mut Buffer<E>>,
    ) {
        let (d_weight, d_bias) = (d_weight.as_mut_slice(), d_bias.map(Buffer::as_mut_slice));
        self.add_weight_gradient(operands.map(Buffer::as_slice), d_weight, d_bias);
    }

    fn format(&self) -> WeightFormat {
        self.precision.into()
    }
    fn prepare(
        &self,
        shape: (usize, usize),
        weight: &Buffer<E>,
        format: WeightFormat,
    ) -> Result<Prepared<E>, DeviceError> {
        self.prepare_matrix(shape, weight, format)
    }
    fn prepare_quantised(&self, matrix: Quantised) -> Result<Prepared<E>, DeviceError> {
        self.prepare_integers(matrix)
    }
    fn prepared_shape(&self, weight: &Prepared<E>) -> (usize, usize) {
        weight.shape()
    }
    fn prepared_bytes(&self, weight: &Prepared<E>) -> usize {
        weight.bytes()
    }
    fn read_prepared(&self, weight: &Prepared<E>) -> Result<PreparedValues<E>, DeviceError> {
        Self::unpack(weight)
    }
    fn linear_prepared(&self, operands: PreparedOperands<'_, Buffer<E>, Prepared<E>>, out: &mut Buffer<E>) {
        let PreparedOperands { rows, x, weight, bias, accumulate } = operands;
        let (x, bias) = (x.as_slice(), bias.map(Buffer::as_slice));
        self.multiply_prepared(PreparedOperands { rows, x, weight, bias, accumulate }, out.as_mut_slice());
    }
    fn linear_prepared_backward_input(
        &self,
        operands: PreparedBackwardInput<'_, Buffer<E>, Prepared<E>>,
        d_x: &mut Buffer<E>,
    ) {
        let PreparedBackwardInput { rows, d_out, weight, accumulate } = operands;
        let operands = PreparedBackwardInput { rows, d_out: d_out.as_slice(), weight, accumulate };
        self.multiply_prepared_back(operands, d_x.as_mut_slice());
    }
    fn linear_glu(&self, operands: GluOperands<'_, Buffer<E>, Prepared<E>>, out: &mut Buffer<E>) {
        let GluOperands { activation, rows, x, gate, up } = operands;
        self.multiply_glu(GluOperands { activation, rows, x: x.as_slice(), gate, up }, out.as_mut_slice());
    }
}

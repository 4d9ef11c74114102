//! Products.

use crate::cpu::fast::{f32s, f32s_mut};
use crate::cpu::{Buffer, Cpu, Prepared, scalar};
use crate::{
    BackwardInput, BackwardWeight, DeviceError, Element, Linear, LinearOperands, PreparedBackwardInput,
    PreparedOperands, PreparedValues, Quantised, SwigluOperands, WeightFormat,
};

impl<E: Element> Linear for Cpu<E> {
    type Prepared = Prepared<E>;

    fn linear(&self, operands: LinearOperands<'_, Buffer<E>>, out: &mut Buffer<E>) {
        let (operands, out) = (operands.map(Buffer::as_slice), out.as_mut_slice());
        match &self.fast {
            Some(fast) => fast.linear(operands.map(f32s), f32s_mut(out)),
            None => scalar::linear(operands, Self::rounding(self.precision), out),
        }
    }
    fn linear_backward_input(&self, operands: BackwardInput<'_, Buffer<E>>, d_x: &mut Buffer<E>) {
        let (operands, d_x) = (operands.map(Buffer::as_slice), d_x.as_mut_slice());
        match &self.fast {
            Some(fast) => fast.linear_backward_input(operands.map(f32s), f32s_mut(d_x)),
            None => scalar::linear_backward_input(operands, Self::rounding(self.precision), d_x),
        }
    }
    fn linear_backward_weight(
        &self,
        operands: BackwardWeight<'_, Buffer<E>>,
        d_weight: &mut Buffer<E>,
        d_bias: Option<&mut Buffer<E>>,
    ) {
        let (operands, d_weight) = (operands.map(Buffer::as_slice), d_weight.as_mut_slice());
        let d_bias = d_bias.map(Buffer::as_mut_slice);
        match &self.fast {
            Some(fast) => fast.linear_backward_weight(operands.map(f32s), f32s_mut(d_weight), d_bias.map(f32s_mut)),
            None => scalar::linear_backward_weight(operands, Self::rounding(self.precision), d_weight, d_bias),
        }
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
    fn linear_swiglu(&self, operands: SwigluOperands<'_, Buffer<E>, Prepared<E>>, out: &mut Buffer<E>) {
        let SwigluOperands { rows, x, gate, up } = operands;
        self.multiply_swiglu(SwigluOperands { rows, x: x.as_slice(), gate, up }, out.as_mut_slice());
    }
}

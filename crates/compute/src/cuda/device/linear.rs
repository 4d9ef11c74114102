//! Products.

use crate::cuda::products::Operand;
use crate::cuda::{Cuda, GpuBuffer, GpuMatrix};
use crate::{
    BackwardInput, BackwardWeight, DeviceError, GluOperands, Linear, LinearOperands, PreparedBackwardInput,
    PreparedOperands, PreparedValues, Quantised, WeightFormat,
};

impl Linear for Cuda {
    type Prepared = GpuMatrix;

    fn linear(&self, operands: LinearOperands<'_, GpuBuffer>, out: &mut GpuBuffer) {
        let LinearOperands { shape, x, weight, bias, accumulate } = operands;
        let (factors, bias) = ((Operand::of(x), Operand::of(weight)), bias.map(GpuBuffer::input));
        let out = out.output();
        self.forward(shape, self.precision.dtype(), factors, (bias, accumulate.then(|| out.input())), out);
    }
    fn linear_onto(&self, operands: LinearOperands<'_, GpuBuffer>, residual: &GpuBuffer, out: &mut GpuBuffer) {
        let LinearOperands { shape, x, weight, bias, .. } = operands;
        let (factors, bias) = ((Operand::of(x), Operand::of(weight)), bias.map(GpuBuffer::input));
        self.forward(shape, self.precision.dtype(), factors, (bias, Some(residual.input())), out.output());
    }
    fn linear_backward_input(&self, operands: BackwardInput<'_, GpuBuffer>, d_x: &mut GpuBuffer) {
        let BackwardInput { shape, d_out, weight, accumulate } = operands;
        let factors = (Operand::of(d_out), Operand::of(weight));
        self.backward_input(shape, self.precision.dtype(), factors, accumulate, d_x.output());
    }
    fn linear_backward_weight(
        &self,
        operands: BackwardWeight<'_, GpuBuffer>,
        d_weight: &mut GpuBuffer,
        d_bias: Option<&mut GpuBuffer>,
    ) {
        let BackwardWeight { shape, d_out, x } = operands;
        self.backward_weight(shape, (Operand::of(d_out), Operand::of(x)), d_weight.output());
        if let Some(d_bias) = d_bias {
            self.add_rows(shape.rows, shape.outputs, d_out.either(), d_bias.output());
        }
    }

    fn format(&self) -> WeightFormat {
        self.precision.into()
    }
    fn prepare(
        &self,
        shape: (usize, usize),
        weight: &GpuBuffer,
        format: WeightFormat,
    ) -> Result<GpuMatrix, DeviceError> {
        self.prepare_matrix(shape, weight, format)
    }
    fn prepare_quantised(&self, matrix: Quantised) -> Result<GpuMatrix, DeviceError> {
        self.prepare_integers(&matrix)
    }
    fn prepared_shape(&self, weight: &GpuMatrix) -> (usize, usize) {
        weight.shape()
    }
    fn prepared_bytes(&self, weight: &GpuMatrix) -> usize {
        weight.bytes()
    }
    fn read_prepared(&self, weight: &GpuMatrix) -> Result<PreparedValues<f32>, DeviceError> {
        self.unpack(weight)
    }
    fn linear_prepared(&self, operands: PreparedOperands<'_, GpuBuffer, GpuMatrix>, out: &mut GpuBuffer) {
        let PreparedOperands { rows, x, weight, bias, accumulate } = operands;
        let bias = bias.map(GpuBuffer::input);
        self.multiply_prepared(rows, (Operand::of(x), weight), (bias, accumulate), out.output());
    }
    fn linear_prepared_backward_input(
        &self,
        operands: PreparedBackwardInput<'_, GpuBuffer, GpuMatrix>,
        d_x: &mut GpuBuffer,
    ) {
        let PreparedBackwardInput { rows, d_out, weight, accumulate } = operands;
        self.multiply_prepared_back(rows, (Operand::of(d_out), weight), accumulate, d_x.output());
    }
    fn linear_glu(&self, operands: GluOperands<'_, GpuBuffer, GpuMatrix>, out: &mut GpuBuffer) {
        let GluOperands { activation, rows, x, gate, up } = operands;
        let count = rows * gate.shape().0;
        let [gate, up] = [gate, up].map(|matrix| {
            let half = self.scratch::<f32>(count);
            self.multiply_prepared(rows, (Operand::of(x), matrix), (None, false), half.output());
            half
        });
        self.gate_halves(activation, count, (gate.input(), up.input()), self.for_all(out));
    }
}

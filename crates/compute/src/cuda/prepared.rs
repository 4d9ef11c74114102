//! Matrices that a GPU multiplies by again and again.

use super::Cuda;
use super::arguments::{In, Out};
use super::buffer::GpuBuffer;
use super::integers::Integers;
use super::products::Operand;
use crate::{DType, DeviceError, LinearShape, Memory, Precision, PreparedValues, Quantised, WeightFormat};

/// A matrix `[N, K]` on a GPU, in the numbers in which it multiplies.
#[derive(Debug)]
pub struct GpuMatrix(MatrixKind);

#[derive(Debug)]
enum MatrixKind {
    /// f32 or bf16.
    Real {
        values: GpuBuffer,
        shape: (usize, usize),
    },
    Integers(Integers),
}

impl GpuMatrix {
    /// Rows and columns: `(N, K)`.
    pub(super) fn shape(&self) -> (usize, usize) {
        match &self.0 {
            MatrixKind::Real { shape, .. } => *shape,
            MatrixKind::Integers(matrix) => matrix.shape(),
        }
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        match &self.0 {
            MatrixKind::Real { values, shape: (outputs, inputs) } => outputs * inputs * values.dtype().bytes(),
            MatrixKind::Integers(matrix) => matrix.bytes(),
        }
    }

    /// The numbers in which it multiplies gradients.
    pub(super) fn gradient_dtype(&self, precision: Precision) -> DType {
        match &self.0 {
            MatrixKind::Real { values, .. } => values.dtype(),
            MatrixKind::Integers(_) => precision.dtype(),
        }
    }

    fn product(&self, rows: usize) -> LinearShape {
        let (outputs, inputs) = self.shape();
        LinearShape { rows, inputs, outputs }
    }
}

impl Cuda {
    /// See [`crate::Linear::prepare`].
    pub(super) fn prepare_matrix(
        &self,
        shape: (usize, usize),
        weight: &GpuBuffer,
        format: WeightFormat,
    ) -> Result<GpuMatrix, DeviceError> {
        if let Some((bits, group)) = format.integers() {
            return self.prepare_integers(&Quantised::of(&self.download(weight), shape, bits, group)?);
        }
        let dtype = if format == WeightFormat::Bf16 { DType::Bf16 } else { DType::F32 };
        let mut values = self.uninitialised_as(dtype, weight.len())?;
        self.convert(weight, &mut values);
        Ok(GpuMatrix(MatrixKind::Real { values, shape }))
    }

    /// See [`crate::Linear::prepare_quantised`].
    pub(super) fn prepare_integers(&self, matrix: &Quantised) -> Result<GpuMatrix, DeviceError> {
        Ok(GpuMatrix(MatrixKind::Integers(Integers::new(self, matrix)?)))
    }

    /// See [`crate::Linear::read_prepared`].
    pub(super) fn unpack(&self, weight: &GpuMatrix) -> Result<PreparedValues<f32>, DeviceError> {
        Ok(match &weight.0 {
            MatrixKind::Real { values, .. } => PreparedValues::Real(self.download(values)),
            MatrixKind::Integers(matrix) => PreparedValues::Quantised(matrix.read(self)?),
        })
    }

    /// `out = x wᵀ (+ bias) (+ out)`.
    pub(super) fn multiply_prepared(
        &self,
        rows: usize,
        (x, weight): (Operand<'_>, &GpuMatrix),
        (bias, accumulate): (Option<In<f32>>, bool),
        out: Out<f32>,
    ) {
        match &weight.0 {
            MatrixKind::Real { values, .. } => {
                let factors = (x, Operand::of(values));
                let added = accumulate.then(|| out.input());
                self.forward(weight.product(rows), values.dtype(), factors, (bias, added), out);
            }
            MatrixKind::Integers(matrix) => self.multiply_integers(rows, (x.either(), matrix), (bias, accumulate), out),
        }
    }

    /// `d_x = d_out w (+ d_x)`.
    pub(super) fn multiply_prepared_back(
        &self,
        rows: usize,
        (d_out, weight): (Operand<'_>, &GpuMatrix),
        accumulate: bool,
        d_x: Out<f32>,
    ) {
        let shape = weight.product(rows);
        match &weight.0 {
            MatrixKind::Real { values, .. } => {
                let factors = (d_out, Operand::of(values));
                self.backward_input(shape, values.dtype(), factors, accumulate, d_x);
            }
            MatrixKind::Integers(matrix) => {
                let values = self.dequantise(matrix);
                let factors = (d_out, Operand::plain(values.input()));
                self.backward_input(shape, self.precision.dtype(), factors, accumulate, d_x);
            }
        }
    }
}

//! Products of matrices of real numbers.

use super::Cuda;
use super::arguments::{In, Out};
use super::driver::{Address, Factor, Product};
use super::kernels::{RoundToBf16, ScaleAdd};
use super::memory::{Array, GpuBuffer};
use crate::{DType, LinearShape, Precision};
use half::bf16;

impl Precision {
    /// The numbers in which factors are multiplied.
    pub(super) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::Bf16,
        }
    }
}

/// A factor of a product as it lies in memory: f32 or bf16, and whether it is read with rows and columns exchanged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operand {
    pub(super) at: Address,
    pub(super) dtype: DType,
    pub(super) transposed: bool,
}

impl Operand {
    /// f32 as they lie.
    pub(super) fn plain(values: In<f32>) -> Self {
        Self { at: values.0, dtype: DType::F32, transposed: false }
    }
    /// A buffer as it lies.
    pub(super) fn of(buffer: &GpuBuffer) -> Self {
        Self { at: buffer.at(), dtype: buffer.dtype(), transposed: false }
    }
    /// With rows and columns exchanged.
    pub(super) fn transposed(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }
}

/// Rows and columns of a result, the inner length, and what becomes of the result.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) depth: usize,
    pub(super) bias: Option<In<f32>>,
    pub(super) accumulate: bool,
}

impl Cuda {
    /// A factor in the numbers in which it is multiplied: rounded to bf16 where it is not, in memory that is then lent.
    pub(super) fn factor(&self, operand: Operand, count: usize, dtype: DType) -> (Operand, Option<Array<bf16>>) {
        match (operand.dtype, dtype) {
            (has, wanted) if has == wanted => (operand, None),
            (DType::F32, DType::Bf16) => {
                let rounded = self.scratch::<bf16>(count);
                self.each(count, |count| RoundToBf16 { count, x: In::new(operand.at), out: rounded.output() });
                (Operand { at: rounded.at(), dtype: DType::Bf16, transposed: operand.transposed }, Some(rounded))
            }
            (has, wanted) => panic!("a factor of {has:?} is not multiplied in {wanted:?}"),
        }
    }

    /// `out = left right (+ bias) (+ out)`, factors in these numbers.
    pub(super) fn multiply(&self, extent: Extent, dtype: DType, left: Operand, right: Operand, out: Out<f32>) {
        let Extent { rows, columns, depth, bias, accumulate } = extent;
        if rows * columns * depth == 0 {
            return;
        }
        let (left, _left) = self.factor(left, rows * depth, dtype);
        let (right, _right) = self.factor(right, depth * columns, dtype);
        let factor = |operand: Operand| Factor { at: operand.at, transposed: operand.transposed };
        self.must(self.driver.multiply(&Product {
            dtype,
            rows,
            columns,
            depth,
            left: factor(left),
            right: factor(right),
            out: out.0,
            bias: bias.map(|bias| bias.0),
            accumulate,
        }));
    }

    /// `out = x wᵀ (+ bias) (+ out)`.
    pub(super) fn forward(
        &self,
        LinearShape { rows, inputs, outputs }: LinearShape,
        dtype: DType,
        (x, weight): (Operand, Operand),
        (bias, accumulate): (Option<In<f32>>, bool),
        out: Out<f32>,
    ) {
        let extent = Extent { rows, columns: outputs, depth: inputs, bias, accumulate };
        self.multiply(extent, dtype, x, weight.transposed(), out);
    }

    /// `d_x = d_out w (+ d_x)`.
    pub(super) fn backward_input(
        &self,
        LinearShape { rows, inputs, outputs }: LinearShape,
        dtype: DType,
        (d_out, weight): (Operand, Operand),
        accumulate: bool,
        d_x: Out<f32>,
    ) {
        let extent = Extent { rows, columns: inputs, depth: outputs, bias: None, accumulate };
        self.multiply(extent, dtype, d_out, weight, d_x);
    }

    /// `d_weight += d_outᵀ x`.
    pub(super) fn backward_weight(&self, shape: LinearShape, d_out: Operand, x: Operand, d_weight: Out<f32>) {
        let LinearShape { rows, inputs, outputs } = shape;
        let extent = Extent { rows: outputs, columns: inputs, depth: rows, bias: None, accumulate: true };
        self.multiply(extent, self.precision.dtype(), d_out.transposed(), x, d_weight);
    }

    /// `y = a x + b y`.
    pub(super) fn scale_into(&self, a: f64, x: In<f32>, b: f64, y: Out<f32>, count: usize) {
        self.each(count, |count| ScaleAdd { count, a: a as f32, x, b: b as f32, y });
    }
}

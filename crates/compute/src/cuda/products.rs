//! Products of matrices of real numbers.

use super::Cuda;
use super::arguments::{In, Out};
use super::buffer::{Either, GpuBuffer, Written};
use super::driver::{Factor, Product};
use super::kernels::{RoundToBf16, ScaleAdd};
use super::memory::Array;
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

/// Numbers of a factor where they lie.
#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    /// A buffer, which has both forms or gets them, from an element on.
    Buffer(&'a GpuBuffer, usize),
    Plain(In<f32>),
    Rounded(In<bf16>),
}

/// A factor of a product as it lies in memory, and whether it is read with rows and columns exchanged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operand<'a> {
    source: Source<'a>,
    transposed: bool,
}

impl<'a> Operand<'a> {
    fn new(source: Source<'a>) -> Self {
        Self { source, transposed: false }
    }
    /// f32 as they lie.
    pub(super) fn plain(values: In<f32>) -> Self {
        Self::new(Source::Plain(values))
    }
    /// bf16 as they lie.
    pub(super) fn rounded(values: In<bf16>) -> Self {
        Self::new(Source::Rounded(values))
    }
    /// A buffer as it lies.
    pub(super) fn of(buffer: &'a GpuBuffer) -> Self {
        Self::of_part(buffer, 0)
    }
    /// A buffer from an element on.
    pub(super) fn of_part(buffer: &'a GpuBuffer, first: usize) -> Self {
        Self::new(Source::Buffer(buffer, first))
    }
    /// With rows and columns exchanged.
    pub(super) fn transposed(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }
    /// For a kernel that takes f32 or bf16.
    pub(super) fn either(self) -> Either {
        match self.source {
            Source::Buffer(buffer, first) => buffer.either().skip(first),
            Source::Plain(values) => values.into(),
            Source::Rounded(values) => values.into(),
        }
    }
}

/// Rows and columns of a result, the inner length, and what becomes of the result.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// How many products, whose matrices of each kind lie one behind the other.
    pub(super) batch: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) depth: usize,
    pub(super) bias: Option<In<f32>>,
    /// What is added to it, of its shape.
    pub(super) added: Option<In<f32>>,
}

impl Cuda {
    /// Where a factor lies in the numbers in which it is multiplied: rounded to bf16 where it is not, in memory that is
    /// then lent, or that its buffer keeps.
    fn factor(&self, operand: Operand<'_>, count: usize, dtype: DType) -> (Factor, Option<Array<bf16>>) {
        let (at, lent) = match (operand.source, dtype) {
            (Source::Buffer(buffer, first), DType::Bf16) => (buffer.rounded().skip(first).0, None),
            (Source::Buffer(buffer, first), _) => (buffer.input::<f32>().skip(first).0, None),
            (Source::Rounded(values), DType::Bf16) => (values.0, None),
            (Source::Plain(x), DType::Bf16) => {
                let lent = self.scratch::<bf16>(count);
                self.each(count, |count| RoundToBf16 { count, x, out: lent.output() });
                (lent.at(), Some(lent))
            }
            (Source::Plain(x), _) => (x.0, None),
            (Source::Rounded(_), _) => panic!("a factor of bf16 is not multiplied in {dtype:?}"),
        };
        (Factor { at, transposed: operand.transposed }, lent)
    }

    /// `out = left right (+ bias) (+ added)`, factors in these numbers.
    pub(super) fn multiply(&self, extent: Extent, dtype: DType, left: Operand<'_>, right: Operand<'_>, out: Out<f32>) {
        let Extent { batch, rows, columns, depth, bias, added } = extent;
        if batch * rows * columns * depth == 0 {
            return;
        }
        let (left, _left) = self.factor(left, batch * rows * depth, dtype);
        let (right, _right) = self.factor(right, batch * depth * columns, dtype);
        self.must(self.driver.multiply(&Product {
            dtype,
            batch,
            rows,
            columns,
            depth,
            left,
            right,
            out: out.0,
            bias: bias.map(|bias| bias.0),
            added: added.map(|added| added.0),
        }));
    }

    /// `out = x wᵀ (+ bias) (+ added)`.
    pub(super) fn forward(
        &self,
        LinearShape { rows, inputs, outputs }: LinearShape,
        dtype: DType,
        (x, weight): (Operand<'_>, Operand<'_>),
        (bias, added): (Option<In<f32>>, Option<In<f32>>),
        out: Out<f32>,
    ) {
        let extent = Extent { batch: 1, rows, columns: outputs, depth: inputs, bias, added };
        self.multiply(extent, dtype, x, weight.transposed(), out);
    }

    /// `d_x = d_out w (+ d_x)`.
    pub(super) fn backward_input(
        &self,
        LinearShape { rows, inputs, outputs }: LinearShape,
        dtype: DType,
        (d_out, weight): (Operand<'_>, Operand<'_>),
        accumulate: bool,
        d_x: Out<f32>,
    ) {
        let extent = Extent {
            batch: 1,
            rows,
            columns: inputs,
            depth: outputs,
            bias: None,
            added: accumulate.then(|| d_x.input()),
        };
        self.multiply(extent, dtype, d_out, weight, d_x);
    }

    /// `d_weight += d_outᵀ x`.
    pub(super) fn backward_weight(
        &self,
        shape: LinearShape,
        (d_out, x): (Operand<'_>, Operand<'_>),
        d_weight: Out<f32>,
    ) {
        let LinearShape { rows, inputs, outputs } = shape;
        let extent =
            Extent { batch: 1, rows: outputs, columns: inputs, depth: rows, bias: None, added: Some(d_weight.input()) };
        self.multiply(extent, self.precision.dtype(), d_out.transposed(), x, d_weight);
    }

    /// `y = a x + b y`.
    pub(super) fn scale_into(&self, a: f64, x: Either, b: f64, y: Written, count: usize) {
        self.each(count, |count| ScaleAdd {
            count,
            a: a as f32,
            x: x.wide,
            x_image: x.image,
            b: b as f32,
            y: y.wide,
            image: y.image,
        });
    }
}

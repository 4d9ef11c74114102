//! Matrices of small integers.

use super::arguments::{In, Out};
use super::buffer::Either;
use super::kernels::{Dequantise, MultiplyIntegers, QuantiseRows};
use super::memory::Array;
use super::{Cuda, int};
use crate::quantised::in_byte_halves;
use crate::{Bits, DeviceError, Quantised};
use std::borrow::Cow;

/// Inputs that a lane multiplies at a time; rows are padded to a multiple of them.
const AT_ONCE: usize = 8;
/// Rows of the input that a warp multiplies, as in the kernel.
const ROWS_AT_ONCE: usize = 8;
/// Outputs of a block: one for each of its warps.
const OUTPUTS_AT_ONCE: usize = 4;

/// A matrix `[N, K]` of integers as the kernel reads it.
#[derive(Debug)]
pub(super) struct Integers {
    shape: (usize, usize),
    /// Padded inputs of an output.
    stride: usize,
    group: usize,
    four_bits: bool,
    values: Array<u8>,
    scales: Array<f32>,
}

impl Integers {
    pub(super) fn new(device: &Cuda, matrix: &Quantised) -> Result<Self, DeviceError> {
        let (outputs, inputs) = (matrix.outputs(), matrix.inputs());
        let stride = inputs.next_multiple_of(AT_ONCE);
        // A group that is all of an output's inputs may end anywhere, and takes the padding with it.
        let group = if matrix.group() == inputs { stride } else { matrix.group() };
        let four_bits = matrix.bits() == Bits::Four;
        let bytes: Cow<'_, [u8]> = match matrix.bits() {
            Bits::Eight if stride == inputs => Cow::Borrowed(matrix.packed()),
            Bits::Eight => {
                let lines = matrix.packed().chunks_exact(inputs);
                let padding = || std::iter::repeat_n(&0, stride - inputs);
                lines.flat_map(|line| line.iter().chain(padding())).copied().collect()
            }
            Bits::Four => {
                let words = matrix.packed().as_chunks().0.iter();
                words.flat_map(|word| in_byte_halves(u32::from_le_bytes(*word)).to_le_bytes()).collect()
            }
        };
        let (values, scales) = (device.store(&bytes)?, device.store(matrix.scales())?);
        Ok(Self { shape: (outputs, inputs), stride, group, four_bits, values, scales })
    }

    /// The matrix that was stored.
    pub(super) fn read(&self, device: &Cuda) -> Result<Quantised, DeviceError> {
        let (outputs, inputs) = self.shape;
        let group = if self.group == self.stride { inputs } else { self.group };
        let per_output = if self.four_bits { self.stride / 2 } else { self.stride };
        let bytes = device.fetch::<u8>(self.values.at(), outputs * per_output);
        let mut values = Vec::with_capacity(outputs * inputs);
        for line in bytes.chunks_exact(per_output) {
            let end = values.len() + inputs;
            match self.four_bits {
                false => values.extend(line.iter().map(|byte| byte.cast_signed())),
                true => {
                    for four in line.chunks_exact(AT_ONCE / 2) {
                        values.extend(four.iter().map(|byte| (byte & 0x0f).cast_signed() - 8));
                        values.extend(four.iter().map(|byte| (byte >> 4).cast_signed() - 8));
                    }
                }
            }
            values.truncate(end);
        }
        let scales = device.fetch::<f32>(self.scales.at(), outputs * (inputs / group));
        let bits = if self.four_bits { Bits::Four } else { Bits::Eight };
        Ok(Quantised::from_parts(bits, self.shape, group, values, scales)?)
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        let (outputs, _) = self.shape;
        let row = if self.four_bits { self.stride / 2 } else { self.stride };
        outputs * (row + self.stride / self.group * size_of::<f32>())
    }

    pub(super) fn shape(&self) -> (usize, usize) {
        self.shape
    }
}

impl Cuda {
    /// `out = x wᵀ (+ bias) (+ out)`, each row of `x` rounded to 8 bits.
    pub(super) fn multiply_integers(
        &self,
        rows: usize,
        (x, weight): (Either, &Integers),
        (bias, accumulate): (Option<In<f32>>, bool),
        out: Out<f32>,
    ) {
        let ((outputs, inputs), stride) = (weight.shape, int(weight.stride));
        let (rounded, x_scales) = (self.scratch::<u8>(rows * weight.stride), self.scratch::<f32>(rows));
        let kernel = QuantiseRows {
            columns: int(inputs),
            stride,
            x: x.wide,
            image: x.image,
            out: Out::new(rounded.at()),
            scales: x_scales.output(),
        };
        self.launch(0, kernel, (rows as u32, 1), 128, 0);
        let kernel = MultiplyIntegers {
            rows: int(rows),
            outputs: int(outputs),
            stride,
            group: int(weight.group),
            four_bits: i32::from(weight.four_bits),
            x: In::new(rounded.at()),
            x_scales: x_scales.input(),
            w: weight.values.input(),
            w_scales: weight.scales.input(),
            bias: bias.unwrap_or(In::none()),
            accumulate: i32::from(accumulate),
            out,
        };
        let blocks = (outputs.div_ceil(OUTPUTS_AT_ONCE) as u32, rows.div_ceil(ROWS_AT_ONCE) as u32);
        self.launch(0, kernel, blocks, 32 * OUTPUTS_AT_ONCE as u32, 0);
    }

    /// What a matrix of integers stands for.
    pub(super) fn dequantise(&self, weight: &Integers) -> Array<f32> {
        let (outputs, inputs) = weight.shape;
        let values = self.scratch::<f32>(outputs * inputs);
        self.each(outputs * inputs, |count| Dequantise {
            count,
            columns: int(inputs),
            stride: int(weight.stride),
            group: int(weight.group),
            four_bits: i32::from(weight.four_bits),
            w: weight.values.input(),
            scales: weight.scales.input(),
            out: values.output(),
        });
        values
    }
}

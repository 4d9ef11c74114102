//! Matrices of small integers.

use super::driver::Argument;
use super::products::int;
use super::{Cuda, Memory};
use crate::{Bits, DeviceError, Quantised};

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
    values: Memory,
    scales: Memory,
}

impl Integers {
    pub(super) fn new(device: &Cuda, matrix: &Quantised) -> Result<Self, DeviceError> {
        let (outputs, inputs) = (matrix.outputs(), matrix.inputs());
        let stride = inputs.next_multiple_of(AT_ONCE);
        // A group that is all of an output's inputs may end anywhere, and takes the padding with it.
        let group = if matrix.group() == inputs { stride } else { matrix.group() };
        let four_bits = matrix.bits() == Bits::Four;
        let mut bytes = Vec::with_capacity(outputs * stride);
        for line in matrix.values().chunks_exact(inputs) {
            let padded = || line.iter().copied().chain(std::iter::repeat_n(0, stride - inputs));
            match four_bits {
                false => bytes.extend(padded().map(|value| value as u8)),
                true => {
                    let shifted: Vec<u8> = padded().map(|value| (value + 8) as u8).collect();
                    for eight in shifted.chunks_exact(AT_ONCE) {
                        bytes.extend((0..4).map(|k| eight[k] | eight[k + 4] << 4));
                    }
                }
            }
        }
        let (values, scales) = (device.take(bytes.len())?, device.take(size_of_val(matrix.scales()))?);
        device.copy(values.at(), &bytes);
        device.copy(scales.at(), matrix.scales());
        Ok(Self { shape: (outputs, inputs), stride, group, four_bits, values, scales })
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
        x: u64,
        w: &Integers,
        bias: Option<u64>,
        accumulate: bool,
        out: u64,
    ) {
        let (outputs, inputs) = w.shape;
        let (rounded, scales) = (self.scratch(rows * w.stride), self.scratch(rows * size_of::<f32>()));
        let (to, of) = (Argument::Pointer(rounded.at()), Argument::Pointer(scales.at()));
        let arguments = [int(inputs), int(w.stride), Argument::Pointer(x), to, of];
        self.launch("quantise_rows", (rows as u32, 1), 128, 0, &arguments);
        let arguments = [
            int(rows),
            int(outputs),
            int(w.stride),
            int(w.group),
            Argument::Int(i32::from(w.four_bits)),
            to,
            of,
            Argument::Pointer(w.values.at()),
            Argument::Pointer(w.scales.at()),
            Argument::Pointer(bias.unwrap_or(0)),
            Argument::Int(i32::from(accumulate)),
            Argument::Pointer(out),
        ];
        let blocks = (outputs.div_ceil(OUTPUTS_AT_ONCE) as u32, rows.div_ceil(ROWS_AT_ONCE) as u32);
        self.launch("multiply_integers", blocks, 32 * OUTPUTS_AT_ONCE as u32, 0, &arguments);
    }
}

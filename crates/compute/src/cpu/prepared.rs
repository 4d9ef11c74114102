//! Matrices that the CPU multiplies by again and again.

use super::fast::{f32s, f32s_mut};
use super::{Buffer, Cpu, Precision, fast, scalar};
use crate::{Bits, DeviceError, Element, LinearShape, Quantised, ReadRow, WeightFormat};

/// A matrix `[N, K]` in the order and the numbers in which the CPU multiplies by it.
#[derive(Debug)]
pub struct Prepared<E: Element>(Kept<E>);

#[derive(Debug)]
enum Kept<E: Element> {
    /// As the specification reads it.
    Real { values: Buffer<E>, shape: (usize, usize), precision: Precision },
    /// As the specification reads it.
    Quantised(Quantised),
    /// Packed for the kernels.
    Packed(fast::Prepared),
}

impl<E: Element> Prepared<E> {
    /// Rows and columns of the matrix: `(N, K)`.
    pub fn shape(&self) -> (usize, usize) {
        match &self.0 {
            Kept::Real { shape, .. } => *shape,
            Kept::Quantised(matrix) => (matrix.outputs(), matrix.inputs()),
            Kept::Packed(packed) => packed.shape(),
        }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Kept::Real { values, .. } => size_of_val(values.as_slice()),
            Kept::Quantised(matrix) => matrix.values().len() + size_of_val(matrix.scales()),
            Kept::Packed(packed) => packed.bytes(),
        }
    }
}

impl<E: Element> Cpu<E> {
    /// See [`crate::Device::prepare`].
    pub(super) fn prepare_matrix(
        &self,
        shape: (usize, usize),
        w: &[E],
        format: WeightFormat,
    ) -> Result<Prepared<E>, DeviceError> {
        let quantise = |bits, group| {
            let values: Vec<f32> = w.iter().map(|value| value.to_f64() as f32).collect();
            self.prepare_integers(Quantised::of(&values, shape, bits, group)?)
        };
        match format {
            WeightFormat::F32 => self.prepare_real(shape, w, Precision::F32),
            WeightFormat::Bf16 => self.prepare_real(shape, w, Precision::Bf16),
            WeightFormat::Int8 => quantise(Bits::Eight, None),
            WeightFormat::Int4 { group } => quantise(Bits::Four, Some(group)),
        }
    }

    fn prepare_real(&self, shape: (usize, usize), w: &[E], precision: Precision) -> Result<Prepared<E>, DeviceError> {
        if let Some(fast) = &self.fast {
            return Ok(Prepared(Kept::Packed(fast.prepare(shape, f32s(w), precision)?)));
        }
        let mut values = self.arena.take(w.len())?;
        values.as_mut_slice().copy_from_slice(w);
        Ok(Prepared(Kept::Real { values, shape, precision }))
    }

    /// See [`crate::Device::prepare_quantised`].
    pub(super) fn prepare_integers(&self, matrix: Quantised) -> Result<Prepared<E>, DeviceError> {
        Ok(Prepared(match &self.fast {
            Some(fast) => Kept::Packed(fast.prepare_quantised(&matrix)?),
            None => Kept::Quantised(matrix),
        }))
    }

    /// See [`crate::Device::linear_prepared`].
    pub(super) fn multiply_prepared(
        &self,
        rows: usize,
        x: &[E],
        w: &Prepared<E>,
        bias: Option<&[E]>,
        accumulate: bool,
        out: &mut [E],
    ) {
        match (&w.0, &self.fast) {
            (Kept::Real { values, shape: (outputs, inputs), precision }, _) => {
                let shape = LinearShape { rows, inputs: *inputs, outputs: *outputs };
                scalar::linear(shape, x, values.as_slice(), bias, accumulate, Self::rounding(*precision), out);
            }
            (Kept::Quantised(matrix), _) => scalar::linear_quantised(rows, x, matrix, bias, accumulate, out),
            (Kept::Packed(packed), Some(fast)) => {
                fast.linear_prepared(rows, f32s(x), packed, bias.map(f32s), accumulate, f32s_mut(out));
            }
            (Kept::Packed(_), None) => unreachable!("only a device with a fast path packs"),
        }
    }

    /// See [`crate::Device::linear_rows`].
    pub(super) fn read_rows(
        &self,
        rows: usize,
        hidden: &[E],
        head: &Prepared<E>,
        read: &ReadRow<'_>,
    ) -> Result<(), DeviceError> {
        if let (Kept::Packed(head), Some(fast)) = (&head.0, &self.fast) {
            return fast.linear_rows(rows, f32s(hidden), head, read);
        }
        let (outputs, inputs) = head.shape();
        let mut out = vec![E::default(); outputs];
        for row in 0..rows {
            self.multiply_prepared(1, &hidden[row * inputs..][..inputs], head, None, false, &mut out);
            let mut numbers: Vec<f32> = out.iter().map(|value| value.to_f64() as f32).collect();
            read(row, &mut numbers);
        }
        Ok(())
    }

    /// See [`crate::Device::linear_swiglu`].
    pub(super) fn multiply_swiglu(
        &self,
        rows: usize,
        x: &[E],
        (gate, up): (&Prepared<E>, &Prepared<E>),
        out: &mut [E],
    ) {
        if let (Kept::Packed(gate), Kept::Packed(up), Some(fast)) = (&gate.0, &up.0, &self.fast) {
            return fast.linear_swiglu(rows, f32s(x), (gate, up), f32s_mut(out));
        }
        let width = gate.shape().0;
        let mut halves = [vec![E::default(); rows * width], vec![E::default(); rows * width]];
        for (weight, half) in [gate, up].into_iter().zip(&mut halves) {
            self.multiply_prepared(rows, x, weight, None, false, half);
        }
        let lines = halves[0].chunks(width.max(1)).zip(halves[1].chunks(width.max(1)));
        let gate_up: Vec<E> = lines.flat_map(|(gate, up)| [gate, up].concat()).collect();
        scalar::swiglu(width, &gate_up, out);
    }
}

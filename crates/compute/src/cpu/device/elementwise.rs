//! Rows, gates, activations and modulation.

use crate::cpu::fast::{f32s, f32s_mut};
use crate::cpu::{Buffer, Cpu, scalar};
use crate::{
    Activation, AddColumns, Columns, DType, DeviceError, Dropout, Element, Elementwise, Modulation, Part, RowScale,
    ScaleAdd, ScaledPoints, ShiftScale, WriteRows,
};

/// The same with the groups as a slice.
fn on_slices<'a, E: Element>(operands: Modulation<'a, Buffer<E>, Vec<u32>>) -> Modulation<'a, [E], [u32]> {
    let Modulation { columns, groups, stride, x, modulation } = operands.map(Buffer::as_slice);
    Modulation { columns, groups: groups.as_slice(), stride, x, modulation }
}

/// The same of factors.
fn scale_on_slices<'a, E: Element>(operands: RowScale<'a, Buffer<E>, Vec<u32>>) -> RowScale<'a, [E], [u32]> {
    let RowScale { columns, groups, factors, x } = operands.map(Buffer::as_slice);
    RowScale { columns, groups: groups.as_slice(), factors, x }
}

impl<E: Element> Elementwise for Cpu<E> {
    fn gather(&self, columns: usize, table: &Buffer<E>, ids: &Vec<u32>, out: &mut Buffer<E>) {
        let out = out.as_mut_slice();
        if table.dtype() == DType::Bf16 {
            // A copy is as fast as memory on any path.
            return scalar::gather(columns, table.as_bf16(), ids, out, |value| E::from_f64(value.to_f64()));
        }
        let table = table.as_slice();
        match &self.fast {
            Some(fast) => fast.gather(columns, f32s(table), ids, f32s_mut(out)),
            None => scalar::gather(columns, table, ids, out, |value| value),
        }
    }
    fn write_rows(&self, operands: WriteRows<'_, Buffer<E>, Vec<u32>>, table: &mut Buffer<E>) {
        let WriteRows { columns, rows: Columns { buffer, stride, first }, ids } = operands;
        let rows = Columns { buffer: buffer.as_slice(), stride, first };
        // A copy is as fast as memory on any path.
        scalar::write_rows(WriteRows { columns, rows, ids: ids.as_slice() }, table.as_mut_slice());
    }
    fn scatter_add(&self, columns: usize, d_out: &Buffer<E>, ids: &Vec<u32>, d_table: &mut Buffer<E>) {
        let (d_out, d_table) = (d_out.as_slice(), d_table.as_mut_slice());
        match &self.fast {
            Some(fast) => fast.scatter_add(columns, f32s(d_out), ids, f32s_mut(d_table)),
            None => scalar::scatter_add(columns, d_out, ids, d_table),
        }
    }

    fn scaled_points(&self, operands: ScaledPoints<'_, Buffer<E>, Vec<u32>>, out: &mut Buffer<E>) {
        let ScaledPoints { size, vectors, tokens, weights, offsets, scales } = operands;
        let [vectors, weights, offsets, scales] = [vectors, weights, offsets, scales].map(Buffer::as_slice);
        // Some rows of one vector each: little on any path.
        let operands = ScaledPoints { size, vectors, tokens: tokens.as_slice(), weights, offsets, scales };
        scalar::scaled_points(operands, out.as_mut_slice());
    }

    fn glu(&self, activation: Activation, width: usize, gate_up: &Buffer<E>, out: &mut Buffer<E>) {
        let (gate_up, out) = (gate_up.as_slice(), out.as_mut_slice());
        match &self.fast {
            Some(fast) => fast.glu(activation, width, f32s(gate_up), f32s_mut(out)),
            None => scalar::glu(activation, width, gate_up, out),
        }
    }
    fn glu_backward(
        &self,
        activation: Activation,
        width: usize,
        gate_up: &Buffer<E>,
        d_out: &Buffer<E>,
        d_gate_up: &mut Buffer<E>,
    ) {
        let (gate_up, d_out, d_gate_up) = (gate_up.as_slice(), d_out.as_slice(), d_gate_up.as_mut_slice());
        match &self.fast {
            Some(fast) => fast.glu_backward(activation, width, f32s(gate_up), f32s(d_out), f32s_mut(d_gate_up)),
            None => scalar::glu_backward(activation, width, gate_up, d_out, d_gate_up),
        }
    }
    fn silu(&self, x: &Buffer<E>, out: &mut Buffer<E>) {
        let (x, out) = (x.as_slice(), out.as_mut_slice());
        match &self.fast {
            Some(fast) => fast.silu(f32s(x), f32s_mut(out)),
            None => scalar::silu(x, out),
        }
    }
    fn silu_backward(&self, x: &Buffer<E>, d_out: &Buffer<E>, d_x: &mut Buffer<E>) {
        let (x, d_out, d_x) = (x.as_slice(), d_out.as_slice(), d_x.as_mut_slice());
        match &self.fast {
            Some(fast) => fast.silu_backward(f32s(x), f32s(d_out), f32s_mut(d_x)),
            None => scalar::silu_backward(x, d_out, d_x),
        }
    }
    fn gelu(&self, x: &Buffer<E>, out: &mut Buffer<E>) {
        let (x, out) = (x.as_slice(), out.as_mut_slice());
        match &self.fast {
            Some(fast) => fast.gelu(f32s(x), f32s_mut(out)),
            None => scalar::gelu(x, out),
        }
    }
    fn gelu_backward(&self, x: &Buffer<E>, d_out: &Buffer<E>, d_x: &mut Buffer<E>) {
        let (x, d_out, d_x) = (x.as_slice(), d_out.as_slice(), d_x.as_mut_slice());
        match &self.fast {
            Some(fast) => fast.gelu_backward(f32s(x), f32s(d_out), f32s_mut(d_x)),
            None => scalar::gelu_backward(x, d_out, d_x),
        }
    }
    fn round_to_levels(&self, levels: &Vec<u32>, x: &Buffer<E>, out: &mut Buffer<E>) {
        // A few columns of each row: little on any path.
        scalar::round_to_levels(levels, x.as_slice(), out.as_mut_slice());
    }
    fn round_to_levels_backward(&self, x: &Buffer<E>, d_out: &Buffer<E>, d_x: &mut Buffer<E>) {
        scalar::round_to_levels_backward(x.as_slice(), d_out.as_slice(), d_x.as_mut_slice());
    }
    fn modulate(&self, operands: Modulation<'_, Buffer<E>, Vec<u32>>, at: ShiftScale, out: &mut Buffer<E>) {
        let (operands, out) = (on_slices(operands), out.as_mut_slice());
        match &self.fast {
            Some(fast) => fast.modulate(operands.map(f32s), at, f32s_mut(out)),
            None => scalar::modulate(operands, at, out),
        }
    }
    fn modulate_backward(
        &self,
        operands: Modulation<'_, Buffer<E>, Vec<u32>>,
        at: ShiftScale,
        d_out: &Buffer<E>,
        d_x: &mut Buffer<E>,
        d_modulation: &mut Buffer<E>,
    ) {
        let (operands, d_out) = (on_slices(operands), d_out.as_slice());
        let (d_x, d_modulation) = (d_x.as_mut_slice(), d_modulation.as_mut_slice());
        match &self.fast {
            Some(fast) => {
                let (d_x, d_modulation) = (f32s_mut(d_x), f32s_mut(d_modulation));
                fast.modulate_backward(operands.map(f32s), at, f32s(d_out), d_x, d_modulation);
            }
            None => scalar::modulate_backward(operands, at, d_out, d_x, d_modulation),
        }
    }
    fn gated_add(&self, operands: Modulation<'_, Buffer<E>, Vec<u32>>, gate: usize, residual: &mut Buffer<E>) {
        let (operands, residual) = (on_slices(operands), residual.as_mut_slice());
        match &self.fast {
            Some(fast) => fast.gated_add(operands.map(f32s), gate, f32s_mut(residual)),
            None => scalar::gated_add(operands, gate, residual),
        }
    }
    fn gated_add_backward(
        &self,
        operands: Modulation<'_, Buffer<E>, Vec<u32>>,
        gate: usize,
        d_out: &Buffer<E>,
        d_x: &mut Buffer<E>,
        d_modulation: &mut Buffer<E>,
    ) {
        let (operands, d_out) = (on_slices(operands), d_out.as_slice());
        let (d_x, d_modulation) = (d_x.as_mut_slice(), d_modulation.as_mut_slice());
        match &self.fast {
            Some(fast) => {
                let (d_x, d_modulation) = (f32s_mut(d_x), f32s_mut(d_modulation));
                fast.gated_add_backward(operands.map(f32s), gate, f32s(d_out), d_x, d_modulation);
            }
            None => scalar::gated_add_backward(operands, gate, d_out, d_x, d_modulation),
        }
    }
    fn scale_rows(&self, operands: RowScale<'_, Buffer<E>, Vec<u32>>, out: &mut Buffer<E>) {
        let (operands, out) = (scale_on_slices(operands), out.as_mut_slice());
        match &self.fast {
            Some(fast) => fast.scale_rows(operands.map(f32s), f32s_mut(out)),
            None => scalar::scale_rows(operands, out),
        }
    }
    fn scale_rows_backward(
        &self,
        operands: RowScale<'_, Buffer<E>, Vec<u32>>,
        d_out: &Buffer<E>,
        d_x: &mut Buffer<E>,
        d_factors: &mut Buffer<E>,
    ) {
        // A product of vectors and a copy for each row: as fast as memory on any path.
        let (d_out, d_x) = (d_out.as_slice(), d_x.as_mut_slice());
        scalar::scale_rows_backward(scale_on_slices(operands), d_out, d_x, d_factors.as_mut_slice());
    }
    fn scale_add(&self, a: f64, x: &Buffer<E>, b: f64, y: &mut Buffer<E>) {
        self.scale_add_slices(a, x.as_slice(), b, y.as_mut_slice());
    }
    fn scale_add_all(&self, terms: &mut [ScaleAdd<'_, Buffer<E>>]) -> Result<(), DeviceError> {
        for ScaleAdd { a, x: Part { buffer, first, len }, b, y } in terms {
            self.scale_add_slices(*a, &buffer.as_slice()[*first..][..*len], *b, y.as_mut_slice());
        }
        Ok(())
    }
    fn stack(&self, parts: &[(f64, &Buffer<E>)], accumulate: bool, to: &mut Buffer<E>) -> Result<(), DeviceError> {
        let mut rest = to.as_mut_slice();
        for (factor, part) in parts {
            let (own, after) = rest.split_at_mut(part.len());
            self.scale_add_slices(*factor, part.as_slice(), if accumulate { 1.0 } else { 0.0 }, own);
            rest = after;
        }
        Ok(())
    }
    fn dropout(&self, dropout: Dropout, x: &Buffer<E>, out: &mut Buffer<E>) {
        let (x, out) = (x.as_slice(), out.as_mut_slice());
        match &self.fast {
            Some(fast) => fast.dropout(dropout, f32s(x), f32s_mut(out)),
            None => scalar::dropout(dropout, x, out),
        }
    }
    fn add_columns(&self, operands: AddColumns<'_, Buffer<E>>, out: &mut Buffer<E>) {
        let (operands, out) = (operands.map(Buffer::as_slice), out.as_mut_slice());
        match &self.fast {
            Some(fast) => fast.add_columns(operands.map(f32s), f32s_mut(out)),
            None => scalar::add_columns(operands, out),
        }
    }
}

impl<E: Element> Cpu<E> {
    fn scale_add_slices(&self, a: f64, x: &[E], b: f64, y: &mut [E]) {
        match &self.fast {
            Some(fast) => fast.scale_add(a, f32s(x), b, f32s_mut(y)),
            None => scalar::scale_add(a, x, b, y),
        }
    }
}

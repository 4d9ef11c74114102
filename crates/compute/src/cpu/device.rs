//! Each operation of [`Device`], handed to the path in use.

use super::fast::{f32s, f32s_mut};
use super::scalar::{self, Modulation, Targets};
use super::{Buffer, Cpu, Prepared};
use crate::{
    AdamW, AttentionShape, Device, DeviceError, Element, LinearShape, Quantised, ReadRow, RopeShape, Visibility,
    WeightFormat,
};

impl<E: Element> Device for Cpu<E> {
    type Element = E;
    type Buffer = Buffer<E>;
    type Prepared = Prepared<E>;

    fn describe(&self) -> String {
        let threads = match self.threads() {
            1 => "1 thread".to_owned(),
            threads => format!("{threads} threads"),
        };
        format!("cpu ({}, products in {}, {threads})", self.path, self.precision)
    }

    fn zeros(&self, len: usize) -> Result<Buffer<E>, DeviceError> {
        let mut buffer = self.arena.take(len)?;
        self.clear(&mut buffer);
        Ok(buffer)
    }
    fn uninitialised(&self, len: usize) -> Result<Buffer<E>, DeviceError> {
        self.arena.take(len)
    }
    fn upload(&self, values: &[E]) -> Result<Buffer<E>, DeviceError> {
        let mut buffer = self.arena.take(values.len())?;
        self.write(&mut buffer, values);
        Ok(buffer)
    }
    fn write(&self, buffer: &mut Buffer<E>, values: &[E]) {
        buffer.as_mut_slice().copy_from_slice(values);
    }
    fn download(&self, buffer: &Buffer<E>) -> Vec<E> {
        buffer.as_slice().to_vec()
    }
    fn len(&self, buffer: &Buffer<E>) -> usize {
        buffer.as_slice().len()
    }
    fn clear(&self, buffer: &mut Buffer<E>) {
        buffer.as_mut_slice().fill(E::default());
    }

    fn linear(
        &self,
        shape: LinearShape,
        x: &Buffer<E>,
        w: &Buffer<E>,
        bias: Option<&Buffer<E>>,
        accumulate: bool,
        out: &mut Buffer<E>,
    ) {
        let (x, w, bias, out) = (x.as_slice(), w.as_slice(), bias.map(Buffer::as_slice), out.as_mut_slice());
        if let Some(fast) = &self.fast {
            return fast.linear(shape, f32s(x), f32s(w), bias.map(f32s), accumulate, f32s_mut(out));
        }
        scalar::linear(shape, x, w, bias, accumulate, Self::rounding(self.precision), out);
    }
    fn linear_backward_input(
        &self,
        shape: LinearShape,
        d_out: &Buffer<E>,
        w: &Buffer<E>,
        accumulate: bool,
        d_x: &mut Buffer<E>,
    ) {
        let (d_out, w, d_x) = (d_out.as_slice(), w.as_slice(), d_x.as_mut_slice());
        if let Some(fast) = &self.fast {
            return fast.linear_backward_input(shape, f32s(d_out), f32s(w), accumulate, f32s_mut(d_x));
        }
        scalar::linear_backward_input(shape, d_out, w, accumulate, Self::rounding(self.precision), d_x);
    }
    fn linear_backward_weight(
        &self,
        shape: LinearShape,
        d_out: &Buffer<E>,
        x: &Buffer<E>,
        d_w: &mut Buffer<E>,
        d_bias: Option<&mut Buffer<E>>,
    ) {
        let (d_out, x, d_w) = (d_out.as_slice(), x.as_slice(), d_w.as_mut_slice());
        let d_bias = d_bias.map(Buffer::as_mut_slice);
        if let Some(fast) = &self.fast {
            let d_bias = d_bias.map(f32s_mut);
            return fast.linear_backward_weight(shape, f32s(d_out), f32s(x), f32s_mut(d_w), d_bias);
        }
        scalar::linear_backward_weight(shape, d_out, x, Self::rounding(self.precision), d_w, d_bias);
    }

    fn format(&self) -> WeightFormat {
        self.precision.into()
    }
    fn prepare(&self, shape: (usize, usize), w: &Buffer<E>, format: WeightFormat) -> Result<Prepared<E>, DeviceError> {
        self.prepare_matrix(shape, w.as_slice(), format)
    }
    fn prepare_quantised(&self, matrix: Quantised) -> Result<Prepared<E>, DeviceError> {
        self.prepare_integers(matrix)
    }
    fn prepared_shape(&self, w: &Prepared<E>) -> (usize, usize) {
        w.shape()
    }
    fn linear_prepared(
        &self,
        rows: usize,
        x: &Buffer<E>,
        w: &Prepared<E>,
        bias: Option<&Buffer<E>>,
        accumulate: bool,
        out: &mut Buffer<E>,
    ) {
        let bias = bias.map(Buffer::as_slice);
        self.multiply_prepared(rows, x.as_slice(), w, bias, accumulate, out.as_mut_slice());
    }
    fn linear_swiglu(&self, rows: usize, x: &Buffer<E>, gate: &Prepared<E>, up: &Prepared<E>, out: &mut Buffer<E>) {
        self.multiply_swiglu(rows, x.as_slice(), (gate, up), out.as_mut_slice());
    }
    fn linear_rows(
        &self,
        rows: usize,
        hidden: &Buffer<E>,
        head: &Prepared<E>,
        read: &ReadRow<'_>,
    ) -> Result<(), DeviceError> {
        self.read_rows(rows, hidden.as_slice(), head, read)
    }

    fn gather(&self, columns: usize, table: &Buffer<E>, ids: &[u32], out: &mut Buffer<E>) {
        let (table, out) = (table.as_slice(), out.as_mut_slice());
        if let Some(fast) = &self.fast {
            return fast.gather(columns, f32s(table), ids, f32s_mut(out));
        }
        scalar::gather(columns, table, ids, out);
    }
    fn write_rows(&self, columns: usize, rows: &Buffer<E>, ids: &[u32], table: &mut Buffer<E>) {
        // A copy is as fast as memory on any path.
        scalar::write_rows(columns, rows.as_slice(), ids, table.as_mut_slice());
    }
    fn scatter_add(&self, columns: usize, d_out: &Buffer<E>, ids: &[u32], d_table: &mut Buffer<E>) {
        let (d_out, d_table) = (d_out.as_slice(), d_table.as_mut_slice());
        if let Some(fast) = &self.fast {
            return fast.scatter_add(columns, f32s(d_out), ids, f32s_mut(d_table));
        }
        scalar::scatter_add(columns, d_out, ids, d_table);
    }

    fn rms_norm(
        &self,
        columns: usize,
        epsilon: f64,
        x: &Buffer<E>,
        weight: Option<&Buffer<E>>,
        out: &mut Buffer<E>,
        inverse_rms: &mut Buffer<E>,
    ) {
        let weight = weight.map(Buffer::as_slice);
        let (x, out, inverse_rms) = (x.as_slice(), out.as_mut_slice(), inverse_rms.as_mut_slice());
        if let Some(fast) = &self.fast {
            return fast.rms_norm(columns, epsilon, f32s(x), weight.map(f32s), f32s_mut(out), f32s_mut(inverse_rms));
        }
        scalar::rms_norm(columns, epsilon, x, weight, out, inverse_rms);
    }
    fn rms_norm_backward(
        &self,
        columns: usize,
        x: &Buffer<E>,
        weight: Option<&Buffer<E>>,
        inverse_rms: &Buffer<E>,
        d_out: &Buffer<E>,
        accumulate: bool,
        d_x: &mut Buffer<E>,
        d_weight: Option<&mut Buffer<E>>,
    ) {
        let (x, weight, inverse_rms) = (x.as_slice(), weight.map(Buffer::as_slice), inverse_rms.as_slice());
        let (d_out, d_x, d_weight) = (d_out.as_slice(), d_x.as_mut_slice(), d_weight.map(Buffer::as_mut_slice));
        if let Some(fast) = &self.fast {
            let (x, weight, inverse_rms, d_out) = (f32s(x), weight.map(f32s), f32s(inverse_rms), f32s(d_out));
            let (d_x, d_weight) = (f32s_mut(d_x), d_weight.map(f32s_mut));
            return fast.rms_norm_backward(columns, x, weight, inverse_rms, d_out, accumulate, d_x, d_weight);
        }
        scalar::rms_norm_backward(columns, x, weight, inverse_rms, d_out, accumulate, d_x, d_weight);
    }
    fn rope(
        &self,
        shape: RopeShape,
        positions: &[u32],
        packed: &Buffer<E>,
        norms: Option<(&Buffer<E>, &Buffer<E>)>,
        out: &mut Buffer<E>,
    ) {
        let norms = norms.map(|(query, key)| (query.as_slice(), key.as_slice()));
        let (packed, out) = (packed.as_slice(), out.as_mut_slice());
        if let Some(fast) = &self.fast {
            let norms = norms.map(|(query, key)| (f32s(query), f32s(key)));
            return fast.rope(shape, positions, f32s(packed), norms, f32s_mut(out));
        }
        scalar::rope(shape, positions, packed, norms, out);
    }
    fn rope_backward(
        &self,
        shape: RopeShape,
        positions: &[u32],
        packed: &Buffer<E>,
        norms: Option<(&Buffer<E>, &Buffer<E>)>,
        d_out: &Buffer<E>,
        d_packed: &mut Buffer<E>,
        d_norms: Option<(&mut Buffer<E>, &mut Buffer<E>)>,
    ) {
        let norms = norms.map(|(query, key)| (query.as_slice(), key.as_slice()));
        let d_norms = d_norms.map(|(query, key)| (query.as_mut_slice(), key.as_mut_slice()));
        let (packed, d_out, d_packed) = (packed.as_slice(), d_out.as_slice(), d_packed.as_mut_slice());
        if let Some(fast) = &self.fast {
            let norms = norms.map(|(query, key)| (f32s(query), f32s(key)));
            let d_norms = d_norms.map(|(query, key)| (f32s_mut(query), f32s_mut(key)));
            let (packed, d_out, d_packed) = (f32s(packed), f32s(d_out), f32s_mut(d_packed));
            return fast.rope_backward(shape, positions, packed, norms, d_out, d_packed, d_norms);
        }
        scalar::rope_backward(shape, positions, packed, norms, d_out, d_packed, d_norms);
    }

    fn attention(
        &self,
        shape: AttentionShape,
        visibility: &Visibility,
        packed: &Buffer<E>,
        out: &mut Buffer<E>,
        log_sum_exp: &mut Buffer<E>,
    ) {
        let (packed, out, log_sum_exp) = (packed.as_slice(), out.as_mut_slice(), log_sum_exp.as_mut_slice());
        if let Some(fast) = &self.fast {
            return fast.attention(shape, visibility, f32s(packed), f32s_mut(out), f32s_mut(log_sum_exp));
        }
        scalar::attention(shape, visibility, packed, out, log_sum_exp);
    }
    fn attention_rows(
        &self,
        shape: AttentionShape,
        visibility: &Visibility,
        packed: &Buffer<E>,
        queries: &[u32],
        out: &mut Buffer<E>,
    ) {
        let (packed, out) = (packed.as_slice(), out.as_mut_slice());
        if let Some(fast) = &self.fast {
            return fast.attention_rows(shape, visibility, f32s(packed), queries, f32s_mut(out));
        }
        scalar::attention_rows(shape, visibility, packed, queries, Self::rounding(self.precision), out);
    }
    fn attention_backward(
        &self,
        shape: AttentionShape,
        visibility: &Visibility,
        packed: &Buffer<E>,
        out: &Buffer<E>,
        log_sum_exp: &Buffer<E>,
        d_out: &Buffer<E>,
        d_packed: &mut Buffer<E>,
    ) {
        let (packed, out, log_sum_exp) = (packed.as_slice(), out.as_slice(), log_sum_exp.as_slice());
        let (d_out, d_packed) = (d_out.as_slice(), d_packed.as_mut_slice());
        if let Some(fast) = &self.fast {
            let (packed, out, log_sum_exp) = (f32s(packed), f32s(out), f32s(log_sum_exp));
            let (d_out, d_packed) = (f32s(d_out), f32s_mut(d_packed));
            return fast.attention_backward(shape, visibility, packed, out, log_sum_exp, d_out, d_packed);
        }
        scalar::attention_backward(shape, visibility, packed, out, log_sum_exp, d_out, d_packed);
    }

    fn swiglu(&self, width: usize, gate_up: &Buffer<E>, out: &mut Buffer<E>) {
        let (gate_up, out) = (gate_up.as_slice(), out.as_mut_slice());
        if let Some(fast) = &self.fast {
            return fast.swiglu(width, f32s(gate_up), f32s_mut(out));
        }
        scalar::swiglu(width, gate_up, out);
    }
    fn swiglu_backward(&self, width: usize, gate_up: &Buffer<E>, d_out: &Buffer<E>, d_gate_up: &mut Buffer<E>) {
        let (gate_up, d_out, d_gate_up) = (gate_up.as_slice(), d_out.as_slice(), d_gate_up.as_mut_slice());
        if let Some(fast) = &self.fast {
            return fast.swiglu_backward(width, f32s(gate_up), f32s(d_out), f32s_mut(d_gate_up));
        }
        scalar::swiglu_backward(width, gate_up, d_out, d_gate_up);
    }
    fn silu(&self, x: &Buffer<E>, out: &mut Buffer<E>) {
        let (x, out) = (x.as_slice(), out.as_mut_slice());
        if let Some(fast) = &self.fast {
            return fast.silu(f32s(x), f32s_mut(out));
        }
        scalar::silu(x, out);
    }
    fn silu_backward(&self, x: &Buffer<E>, d_out: &Buffer<E>, d_x: &mut Buffer<E>) {
        let (x, d_out, d_x) = (x.as_slice(), d_out.as_slice(), d_x.as_mut_slice());
        if let Some(fast) = &self.fast {
            return fast.silu_backward(f32s(x), f32s(d_out), f32s_mut(d_x));
        }
        scalar::silu_backward(x, d_out, d_x);
    }
    fn modulate(
        &self,
        columns: usize,
        group_of_row: &[u32],
        stride: usize,
        offsets: (usize, usize),
        x: &Buffer<E>,
        modulation: &Buffer<E>,
        out: &mut Buffer<E>,
    ) {
        let shape = Modulation { columns, group_of_row, stride };
        let (x, modulation, out) = (x.as_slice(), modulation.as_slice(), out.as_mut_slice());
        if let Some(fast) = &self.fast {
            return fast.modulate(shape, offsets, f32s(x), f32s(modulation), f32s_mut(out));
        }
        scalar::modulate(shape, offsets, x, modulation, out);
    }
    fn modulate_backward(
        &self,
        columns: usize,
        group_of_row: &[u32],
        stride: usize,
        offsets: (usize, usize),
        x: &Buffer<E>,
        modulation: &Buffer<E>,
        d_out: &Buffer<E>,
        d_x: &mut Buffer<E>,
        d_modulation: &mut Buffer<E>,
    ) {
        let shape = Modulation { columns, group_of_row, stride };
        let (x, modulation, d_out) = (x.as_slice(), modulation.as_slice(), d_out.as_slice());
        let (d_x, d_modulation) = (d_x.as_mut_slice(), d_modulation.as_mut_slice());
        if let Some(fast) = &self.fast {
            let (x, modulation, d_out) = (f32s(x), f32s(modulation), f32s(d_out));
            return fast.modulate_backward(shape, offsets, x, modulation, d_out, f32s_mut(d_x), f32s_mut(d_modulation));
        }
        scalar::modulate_backward(shape, offsets, x, modulation, d_out, d_x, d_modulation);
    }
    fn gated_add(
        &self,
        columns: usize,
        group_of_row: &[u32],
        stride: usize,
        offset: usize,
        x: &Buffer<E>,
        modulation: &Buffer<E>,
        residual: &mut Buffer<E>,
    ) {
        let shape = Modulation { columns, group_of_row, stride };
        let (x, modulation, residual) = (x.as_slice(), modulation.as_slice(), residual.as_mut_slice());
        if let Some(fast) = &self.fast {
            return fast.gated_add(shape, offset, f32s(x), f32s(modulation), f32s_mut(residual));
        }
        scalar::gated_add(shape, offset, x, modulation, residual);
    }
    fn gated_add_backward(
        &self,
        columns: usize,
        group_of_row: &[u32],
        stride: usize,
        offset: usize,
        x: &Buffer<E>,
        modulation: &Buffer<E>,
        d_out: &Buffer<E>,
        d_x: &mut Buffer<E>,
        d_modulation: &mut Buffer<E>,
    ) {
        let shape = Modulation { columns, group_of_row, stride };
        let (x, modulation, d_out) = (x.as_slice(), modulation.as_slice(), d_out.as_slice());
        let (d_x, d_modulation) = (d_x.as_mut_slice(), d_modulation.as_mut_slice());
        if let Some(fast) = &self.fast {
            let (x, modulation, d_out) = (f32s(x), f32s(modulation), f32s(d_out));
            return fast.gated_add_backward(shape, offset, x, modulation, d_out, f32s_mut(d_x), f32s_mut(d_modulation));
        }
        scalar::gated_add_backward(shape, offset, x, modulation, d_out, d_x, d_modulation);
    }
    fn scale_add(&self, a: f64, x: &Buffer<E>, b: f64, y: &mut Buffer<E>) {
        let (x, y) = (x.as_slice(), y.as_mut_slice());
        if let Some(fast) = &self.fast {
            return fast.scale_add(a, f32s(x), b, f32s_mut(y));
        }
        scalar::scale_add(a, x, b, y);
    }
    fn softmax(&self, columns: usize, x: &mut Buffer<E>) {
        let x = x.as_mut_slice();
        if let Some(fast) = &self.fast {
            return fast.softmax(columns, f32s_mut(x));
        }
        scalar::softmax(columns, x);
    }

    fn linear_cross_entropy(
        &self,
        shape: LinearShape,
        hidden: &Buffer<E>,
        head: &Buffer<E>,
        targets: &[u32],
        weights: &[f64],
        forbidden: Option<u32>,
        gradients: Option<(&mut Buffer<E>, &mut Buffer<E>)>,
    ) -> Result<Vec<f64>, DeviceError> {
        let targets = Targets { ids: targets, weights, forbidden };
        let gradients = gradients.map(|(hidden, head)| (hidden.as_mut_slice(), head.as_mut_slice()));
        let (hidden, head) = (hidden.as_slice(), head.as_slice());
        if let Some(fast) = &self.fast {
            let gradients = gradients.map(|(hidden, head)| (f32s_mut(hidden), f32s_mut(head)));
            return Ok(fast.linear_cross_entropy(shape, f32s(hidden), f32s(head), targets, gradients));
        }
        Ok(scalar::linear_cross_entropy(shape, hidden, head, targets, Self::rounding(self.precision), gradients))
    }

    fn linear_learn_rows(
        &self,
        shape: LinearShape,
        hidden: &Buffer<E>,
        head: &Buffer<E>,
        read: &ReadRow<'_>,
        (d_hidden, d_head): (&mut Buffer<E>, &mut Buffer<E>),
    ) {
        let (hidden, head) = (hidden.as_slice(), head.as_slice());
        let (d_hidden, d_head) = (d_hidden.as_mut_slice(), d_head.as_mut_slice());
        if let Some(fast) = &self.fast {
            let gradients = (f32s_mut(d_hidden), f32s_mut(d_head));
            return fast.linear_learn_rows(shape, f32s(hidden), f32s(head), read, gradients);
        }
        scalar::linear_learn_rows(shape, hidden, head, read, Self::rounding(self.precision), (d_hidden, d_head));
    }

    fn sum_of_squares(&self, x: &Buffer<E>) -> f64 {
        let x = x.as_slice();
        if let Some(fast) = &self.fast {
            return fast.sum_of_squares(f32s(x));
        }
        scalar::sum_of_squares(x)
    }
    fn adamw(
        &self,
        step: AdamW,
        gradient_scale: f64,
        gradient: &Buffer<E>,
        first: &mut Buffer<E>,
        second: &mut Buffer<E>,
        parameter: &mut Buffer<E>,
    ) {
        let (first, second, parameter) = (first.as_mut_slice(), second.as_mut_slice(), parameter.as_mut_slice());
        let gradient = gradient.as_slice();
        if let Some(fast) = &self.fast {
            let (first, second, parameter) = (f32s_mut(first), f32s_mut(second), f32s_mut(parameter));
            return fast.adamw(step, gradient_scale, f32s(gradient), first, second, parameter);
        }
        scalar::adamw(step, gradient_scale, gradient, first, second, parameter);
    }
}

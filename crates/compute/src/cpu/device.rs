//! Each operation of [`Device`], handed to the path in use.

use super::fast::{f32s, f32s_mut};
use super::scalar::{self, Modulation, Targets};
use super::{Buffer, Cpu};
use crate::{AdamW, AttentionShape, Device, DeviceError, Element, LinearShape, RopeShape, Visibility};

impl<E: Element> Device for Cpu<E> {
    type Element = E;
    type Buffer = Buffer<E>;

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
        scalar::linear(shape, x, w, bias, accumulate, self.rounding(), out);
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
        scalar::linear_backward_input(shape, d_out, w, accumulate, self.rounding(), d_x);
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
        scalar::linear_backward_weight(shape, d_out, x, self.rounding(), d_w, d_bias);
    }

    fn gather(&self, columns: usize, table: &Buffer<E>, ids: &[u32], out: &mut Buffer<E>) {
        scalar::gather(columns, table.as_slice(), ids, out.as_mut_slice());
    }
    fn scatter_add(&self, columns: usize, d_out: &Buffer<E>, ids: &[u32], d_table: &mut Buffer<E>) {
        scalar::scatter_add(columns, d_out.as_slice(), ids, d_table.as_mut_slice());
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
        scalar::rms_norm(columns, epsilon, x.as_slice(), weight, out.as_mut_slice(), inverse_rms.as_mut_slice());
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
        scalar::rope(shape, positions, packed.as_slice(), norms, out.as_mut_slice());
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
        scalar::swiglu(width, gate_up.as_slice(), out.as_mut_slice());
    }
    fn swiglu_backward(&self, width: usize, gate_up: &Buffer<E>, d_out: &Buffer<E>, d_gate_up: &mut Buffer<E>) {
        scalar::swiglu_backward(width, gate_up.as_slice(), d_out.as_slice(), d_gate_up.as_mut_slice());
    }
    fn silu(&self, x: &Buffer<E>, out: &mut Buffer<E>) {
        scalar::silu(x.as_slice(), out.as_mut_slice());
    }
    fn silu_backward(&self, x: &Buffer<E>, d_out: &Buffer<E>, d_x: &mut Buffer<E>) {
        scalar::silu_backward(x.as_slice(), d_out.as_slice(), d_x.as_mut_slice());
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
        scalar::modulate(shape, offsets, x.as_slice(), modulation.as_slice(), out.as_mut_slice());
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
        scalar::modulate_backward(
            shape,
            offsets,
            x,
            modulation,
            d_out,
            d_x.as_mut_slice(),
            d_modulation.as_mut_slice(),
        );
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
        scalar::gated_add(shape, offset, x.as_slice(), modulation.as_slice(), residual.as_mut_slice());
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
        scalar::gated_add_backward(
            shape,
            offset,
            x,
            modulation,
            d_out,
            d_x.as_mut_slice(),
            d_modulation.as_mut_slice(),
        );
    }
    fn scale_add(&self, a: f64, x: &Buffer<E>, b: f64, y: &mut Buffer<E>) {
        scalar::scale_add(a, x.as_slice(), b, y.as_mut_slice());
    }
    fn softmax(&self, columns: usize, x: &mut Buffer<E>) {
        scalar::softmax(columns, x.as_mut_slice());
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
        Ok(scalar::linear_cross_entropy(shape, hidden, head, targets, self.rounding(), gradients))
    }

    fn sum_of_squares(&self, x: &Buffer<E>) -> f64 {
        scalar::sum_of_squares(x.as_slice())
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
        scalar::adamw(step, gradient_scale, gradient.as_slice(), first, second, parameter);
    }
}

//! Each operation of [`Device`] as launches and products.

use super::driver::Argument::{Float, Int, Pointer, Unsigned};
use super::products::int;
use super::{Cuda, GpuBuffer, GpuMatrix, Memory, THREADS};
use crate::{
    AdamW, AttentionShape, Device, DeviceError, LinearShape, Quantised, ReadRow, RopeShape, Visibility, WeightFormat,
};

/// Blocks among which a sum of squares is cut.
const SQUARE_PARTS: usize = 256;
/// Stands for no forbidden id.
const NO_ID: u32 = u32::MAX;

pub(super) fn place(buffer: &GpuBuffer) -> super::driver::Argument {
    Pointer(buffer.at())
}

/// A null pointer where there is none.
pub(super) fn maybe(buffer: Option<&GpuBuffer>) -> super::driver::Argument {
    Pointer(buffer.map_or(0, GpuBuffer::at))
}

/// Equal ids side by side: the places of each in their order, where each one's places end, and the ids.
struct Grouped {
    rows: Memory,
    ends: Memory,
    ids: Memory,
    count: usize,
}

impl Cuda {
    fn grouped(&self, ids: &[u32]) -> Grouped {
        let mut rows: Vec<u32> = (0..ids.len() as u32).collect();
        rows.sort_by_key(|&row| ids[row as usize]);
        let (mut ends, mut unique) = (Vec::new(), Vec::new());
        for (place, &row) in rows.iter().enumerate() {
            let id = ids[row as usize];
            if unique.last() != Some(&id) {
                unique.push(id);
                ends.push(0);
            }
            if let Some(end) = ends.last_mut() {
                *end = place as u32 + 1;
            }
        }
        Grouped {
            rows: self.indices(&rows),
            ends: self.indices(&ends),
            ids: self.indices(&unique),
            count: unique.len(),
        }
    }

    /// Blocks that give each element of a row a thread, for so many rows.
    fn across(rows: usize, columns: usize) -> (u32, u32) {
        (rows as u32, columns.div_ceil(THREADS as usize) as u32)
    }

    fn rope_arguments(
        &self,
        shape: RopeShape,
        positions: u64,
        turns: u64,
        packed: &GpuBuffer,
        norms: Option<(&GpuBuffer, &GpuBuffer)>,
    ) -> [super::Argument; 9] {
        let attention = shape.attention;
        [
            int(attention.heads),
            int(attention.key_value_heads),
            int(attention.head_size),
            Float(shape.epsilon as f32),
            Pointer(positions),
            Pointer(turns),
            place(packed),
            maybe(norms.map(|norms| norms.0)),
            maybe(norms.map(|norms| norms.1)),
        ]
    }
}

impl Device for Cuda {
    type Element = f32;
    type Buffer = GpuBuffer;
    type Prepared = GpuMatrix;

    fn describe(&self) -> String {
        let (facts, name) = (self.facts(), self.name());
        let (major, minor) = facts.capability;
        format!("{name} ({}, sm_{major}{minor}, products in {})", facts.name, self.precision)
    }

    fn zeros(&self, len: usize) -> Result<GpuBuffer, DeviceError> {
        let mut buffer = self.uninitialised(len)?;
        self.clear(&mut buffer);
        Ok(buffer)
    }
    fn uninitialised(&self, len: usize) -> Result<GpuBuffer, DeviceError> {
        Ok(GpuBuffer { memory: self.take(len * size_of::<f32>())?, len })
    }
    fn upload(&self, values: &[f32]) -> Result<GpuBuffer, DeviceError> {
        let mut buffer = self.uninitialised(values.len())?;
        self.write(&mut buffer, values);
        Ok(buffer)
    }
    fn write(&self, buffer: &mut GpuBuffer, values: &[f32]) {
        assert_eq!(buffer.len, values.len(), "a buffer is overwritten by as many values as it has");
        self.copy(buffer.at(), values);
    }
    fn download(&self, buffer: &GpuBuffer) -> Vec<f32> {
        self.fetch(buffer.at(), buffer.len)
    }
    fn len(&self, buffer: &GpuBuffer) -> usize {
        buffer.len
    }
    fn clear(&self, buffer: &mut GpuBuffer) {
        self.must(self.driver.clear(buffer.at(), buffer.len * size_of::<f32>()));
    }

    fn linear(
        &self,
        shape: LinearShape,
        x: &GpuBuffer,
        w: &GpuBuffer,
        bias: Option<&GpuBuffer>,
        accumulate: bool,
        out: &mut GpuBuffer,
    ) {
        self.multiply_linear(shape, (x.at(), w.at()), bias.map(GpuBuffer::at), accumulate, out.at());
    }
    fn linear_backward_input(
        &self,
        shape: LinearShape,
        d_out: &GpuBuffer,
        w: &GpuBuffer,
        accumulate: bool,
        d_x: &mut GpuBuffer,
    ) {
        self.multiply_back(shape, d_out.at(), w.at(), accumulate, d_x.at());
    }
    fn linear_backward_weight(
        &self,
        shape: LinearShape,
        d_out: &GpuBuffer,
        x: &GpuBuffer,
        d_w: &mut GpuBuffer,
        d_bias: Option<&mut GpuBuffer>,
    ) {
        self.multiply_for_weight(shape, d_out.at(), x.at(), d_w.at());
        if let Some(d_bias) = d_bias {
            self.add_rows(shape.rows, shape.outputs, d_out.at(), d_bias.at());
        }
    }

    fn format(&self) -> WeightFormat {
        self.precision.into()
    }
    fn prepare(&self, shape: (usize, usize), w: &GpuBuffer, format: WeightFormat) -> Result<GpuMatrix, DeviceError> {
        self.prepare_matrix(shape, w, format)
    }
    fn prepare_quantised(&self, matrix: Quantised) -> Result<GpuMatrix, DeviceError> {
        self.prepare_integers(&matrix)
    }
    fn prepared_shape(&self, w: &GpuMatrix) -> (usize, usize) {
        w.shape()
    }
    fn linear_prepared(
        &self,
        rows: usize,
        x: &GpuBuffer,
        w: &GpuMatrix,
        bias: Option<&GpuBuffer>,
        accumulate: bool,
        out: &mut GpuBuffer,
    ) {
        self.multiply_prepared(rows, x.at(), w, bias.map(GpuBuffer::at), accumulate, out.at());
    }
    fn linear_swiglu(&self, rows: usize, x: &GpuBuffer, gate: &GpuMatrix, up: &GpuMatrix, out: &mut GpuBuffer) {
        let count = rows * gate.shape().0;
        let halves = [gate, up].map(|matrix| {
            let half = self.scratch(count * size_of::<f32>());
            self.multiply_prepared(rows, x.at(), matrix, None, false, half.at());
            half
        });
        self.each("swiglu_halves", count, &[Pointer(halves[0].at()), Pointer(halves[1].at()), place(out)]);
    }
    fn linear_rows(
        &self,
        rows: usize,
        hidden: &GpuBuffer,
        head: &GpuMatrix,
        read: &ReadRow<'_>,
    ) -> Result<(), DeviceError> {
        self.read_rows(rows, hidden, head, read)
    }

    fn gather(&self, columns: usize, table: &GpuBuffer, ids: &[u32], out: &mut GpuBuffer) {
        let places = self.indices(ids);
        let arguments = [int(columns), place(table), Pointer(places.at()), place(out)];
        self.each("gather", ids.len() * columns, &arguments);
    }
    fn write_rows(&self, columns: usize, rows: &GpuBuffer, ids: &[u32], table: &mut GpuBuffer) {
        // In the order of the rows the last of equal ids stays; threads have no order.
        let last: std::collections::BTreeMap<u32, u32> = ids.iter().copied().zip(0..).collect();
        let (places, sources): (Vec<u32>, Vec<u32>) = last.into_iter().unzip();
        let (places_at, sources_at) = (self.indices(&places), self.indices(&sources));
        let arguments = [int(columns), place(rows), Pointer(sources_at.at()), Pointer(places_at.at()), place(table)];
        self.each("write_rows", places.len() * columns, &arguments);
    }
    fn scatter_add(&self, columns: usize, d_out: &GpuBuffer, ids: &[u32], d_table: &mut GpuBuffer) {
        let groups = self.grouped(ids);
        let lists = [Pointer(groups.rows.at()), Pointer(groups.ends.at()), Pointer(groups.ids.at())];
        let arguments = [int(columns), lists[0], lists[1], lists[2], place(d_out), place(d_table)];
        self.launch("scatter_add", Self::across(groups.count, columns), THREADS, 0, &arguments);
    }

    fn rms_norm(
        &self,
        columns: usize,
        epsilon: f64,
        x: &GpuBuffer,
        weight: Option<&GpuBuffer>,
        out: &mut GpuBuffer,
        inverse_rms: &mut GpuBuffer,
    ) {
        let epsilon = Float(epsilon as f32);
        let arguments = [int(columns), epsilon, place(x), maybe(weight), place(out), place(inverse_rms)];
        self.launch("rms_norm", (inverse_rms.len as u32, 1), THREADS, 0, &arguments);
    }
    fn rms_norm_backward(
        &self,
        columns: usize,
        x: &GpuBuffer,
        weight: Option<&GpuBuffer>,
        inverse_rms: &GpuBuffer,
        d_out: &GpuBuffer,
        accumulate: bool,
        d_x: &mut GpuBuffer,
        d_weight: Option<&mut GpuBuffer>,
    ) {
        let (rows, add) = (inverse_rms.len, Int(i32::from(accumulate)));
        let factors = [place(x), maybe(weight), place(inverse_rms), place(d_out)];
        let arguments = [int(columns), factors[0], factors[1], factors[2], factors[3], add, place(d_x)];
        self.launch("rms_norm_backward", (rows as u32, 1), THREADS, 0, &arguments);
        if let Some(d_weight) = d_weight {
            self.add_parts(rows, columns, d_weight.at(), |partial, blocks| {
                let sizes = [int(rows), int(columns)];
                let arguments = [sizes[0], sizes[1], place(x), place(inverse_rms), place(d_out), Pointer(partial)];
                self.launch("rms_norm_backward_weight", blocks, THREADS, 0, &arguments);
            });
        }
    }
    fn rope(
        &self,
        shape: RopeShape,
        positions: &[u32],
        packed: &GpuBuffer,
        norms: Option<(&GpuBuffer, &GpuBuffer)>,
        out: &mut GpuBuffer,
    ) {
        let largest = positions.iter().copied().max().unwrap_or(0);
        let turns = self.turns(shape.theta, shape.attention.head_size, largest);
        let at = self.indices(positions);
        let mut arguments = self.rope_arguments(shape, at.at(), turns.at(), packed, norms).to_vec();
        arguments.push(place(out));
        self.launch("rope", (positions.len() as u32, 1), THREADS, 0, &arguments);
    }
    fn rope_backward(
        &self,
        shape: RopeShape,
        positions: &[u32],
        packed: &GpuBuffer,
        norms: Option<(&GpuBuffer, &GpuBuffer)>,
        d_out: &GpuBuffer,
        d_packed: &mut GpuBuffer,
        d_norms: Option<(&mut GpuBuffer, &mut GpuBuffer)>,
    ) {
        let AttentionShape { heads, key_value_heads, head_size } = shape.attention;
        super::attention::check_head(shape.attention);
        let largest = positions.iter().copied().max().unwrap_or(0);
        let (turns, at, rows) = (self.turns(shape.theta, head_size, largest), self.indices(positions), positions.len());
        let inverses = self.scratch(rows * (heads + key_value_heads) * size_of::<f32>());
        let mut arguments = self.rope_arguments(shape, at.at(), turns.at(), packed, norms).to_vec();
        arguments.extend([place(d_out), place(d_packed), Pointer(inverses.at())]);
        self.launch("rope_backward", (rows as u32, 1), THREADS, 0, &arguments);
        let (Some(_), Some((d_query, d_key))) = (norms, d_norms) else { return };
        for (d_weight, first, count) in [(d_query, 0, heads), (d_key, heads, key_value_heads)] {
            self.add_parts(rows, head_size, d_weight.at(), |partial, (_, parts)| {
                let arguments = [
                    int(rows),
                    int(heads),
                    int(key_value_heads),
                    int(head_size),
                    int(first),
                    int(count),
                    Pointer(at.at()),
                    Pointer(turns.at()),
                    place(packed),
                    Pointer(inverses.at()),
                    place(d_out),
                    Pointer(partial),
                ];
                self.launch("rope_backward_weight", (parts, 1), THREADS, 0, &arguments);
            });
        }
    }

    fn attention(
        &self,
        shape: AttentionShape,
        visibility: &Visibility,
        packed: &GpuBuffer,
        out: &mut GpuBuffer,
        log_sum_exp: &mut GpuBuffer,
    ) {
        self.attend(shape, visibility, packed, (visibility.len(), 0), (out, Some(log_sum_exp)));
    }
    fn attention_rows(
        &self,
        shape: AttentionShape,
        visibility: &Visibility,
        packed: &GpuBuffer,
        queries: &[u32],
        out: &mut GpuBuffer,
    ) {
        let places = self.indices(queries);
        self.attend(shape, visibility, packed, (queries.len(), places.at()), (out, None));
    }
    fn attention_backward(
        &self,
        shape: AttentionShape,
        visibility: &Visibility,
        packed: &GpuBuffer,
        out: &GpuBuffer,
        log_sum_exp: &GpuBuffer,
        d_out: &GpuBuffer,
        d_packed: &mut GpuBuffer,
    ) {
        let forward = super::attention::Forward { packed, out, log_sum_exp };
        self.attend_back(shape, visibility, forward, d_out, d_packed);
    }

    fn swiglu(&self, width: usize, gate_up: &GpuBuffer, out: &mut GpuBuffer) {
        self.each("swiglu", out.len, &[int(width), place(gate_up), place(out)]);
    }
    fn swiglu_backward(&self, width: usize, gate_up: &GpuBuffer, d_out: &GpuBuffer, d_gate_up: &mut GpuBuffer) {
        self.each("swiglu_backward", d_out.len, &[int(width), place(gate_up), place(d_out), place(d_gate_up)]);
    }
    fn silu(&self, x: &GpuBuffer, out: &mut GpuBuffer) {
        self.each("silu", x.len, &[place(x), place(out)]);
    }
    fn silu_backward(&self, x: &GpuBuffer, d_out: &GpuBuffer, d_x: &mut GpuBuffer) {
        self.each("silu_backward", x.len, &[place(x), place(d_out), place(d_x)]);
    }
    fn modulate(
        &self,
        columns: usize,
        group_of_row: &[u32],
        stride: usize,
        offsets: (usize, usize),
        x: &GpuBuffer,
        modulation: &GpuBuffer,
        out: &mut GpuBuffer,
    ) {
        let groups = self.indices(group_of_row);
        let sizes = [int(columns), Pointer(groups.at()), int(stride), int(offsets.0), int(offsets.1)];
        let arguments: Vec<_> = sizes.into_iter().chain([place(x), place(modulation), place(out)]).collect();
        self.each("modulate", group_of_row.len() * columns, &arguments);
    }
    fn modulate_backward(
        &self,
        columns: usize,
        group_of_row: &[u32],
        stride: usize,
        offsets: (usize, usize),
        x: &GpuBuffer,
        modulation: &GpuBuffer,
        d_out: &GpuBuffer,
        d_x: &mut GpuBuffer,
        d_modulation: &mut GpuBuffer,
    ) {
        let groups = self.indices(group_of_row);
        let sizes = [int(columns), Pointer(groups.at()), int(stride), int(offsets.1)];
        let arguments: Vec<_> = sizes.into_iter().chain([place(modulation), place(d_out), place(d_x)]).collect();
        self.each("modulate_backward", group_of_row.len() * columns, &arguments);
        let offsets = (Int(offsets.0 as i32), int(offsets.1));
        self.add_to_modulation(columns, group_of_row, stride, offsets, (x, d_out), d_modulation);
    }
    fn gated_add(
        &self,
        columns: usize,
        group_of_row: &[u32],
        stride: usize,
        offset: usize,
        x: &GpuBuffer,
        modulation: &GpuBuffer,
        residual: &mut GpuBuffer,
    ) {
        let groups = self.indices(group_of_row);
        let sizes = [int(columns), Pointer(groups.at()), int(stride), int(offset)];
        let arguments: Vec<_> = sizes.into_iter().chain([place(x), place(modulation), place(residual)]).collect();
        self.each("gated_add", group_of_row.len() * columns, &arguments);
    }
    fn gated_add_backward(
        &self,
        columns: usize,
        group_of_row: &[u32],
        stride: usize,
        offset: usize,
        x: &GpuBuffer,
        modulation: &GpuBuffer,
        d_out: &GpuBuffer,
        d_x: &mut GpuBuffer,
        d_modulation: &mut GpuBuffer,
    ) {
        let groups = self.indices(group_of_row);
        let sizes = [int(columns), Pointer(groups.at()), int(stride), int(offset)];
        let arguments: Vec<_> = sizes.into_iter().chain([place(modulation), place(d_out), place(d_x)]).collect();
        self.each("gated_add_backward", group_of_row.len() * columns, &arguments);
        self.add_to_modulation(columns, group_of_row, stride, (Int(-1), int(offset)), (x, d_out), d_modulation);
    }
    fn scale_add(&self, a: f64, x: &GpuBuffer, b: f64, y: &mut GpuBuffer) {
        self.scale_into(a, x.at(), b, y.at(), y.len);
    }
    fn softmax(&self, columns: usize, x: &mut GpuBuffer) {
        self.launch("softmax", ((x.len / columns.max(1)) as u32, 1), THREADS, 0, &[int(columns), place(x)]);
    }

    fn linear_cross_entropy(
        &self,
        shape: LinearShape,
        hidden: &GpuBuffer,
        head: &GpuBuffer,
        targets: &[u32],
        weights: &[f64],
        forbidden: Option<u32>,
        gradients: Option<(&mut GpuBuffer, &mut GpuBuffer)>,
    ) -> Result<Vec<f64>, DeviceError> {
        let losses = self.take(shape.rows * size_of::<f32>())?;
        let targets = self.indices(targets);
        let weights: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
        let weights_at = self.take(size_of_val(weights.as_slice()))?;
        self.copy(weights_at.at(), &weights);
        let learns = gradients.is_some();
        self.through_logits(shape, (hidden, head), gradients, |first, count, logits| {
            let offset = (first * size_of::<f32>()) as u64;
            let arguments = [
                int(shape.outputs),
                Pointer(targets.at() + offset),
                Unsigned(forbidden.unwrap_or(NO_ID)),
                Pointer(if learns { weights_at.at() + offset } else { 0 }),
                Pointer(logits),
                Pointer(losses.at() + offset),
            ];
            self.launch("cross_entropy", (count as u32, 1), THREADS, 0, &arguments);
        })?;
        Ok(self.fetch::<f32>(losses.at(), shape.rows).into_iter().map(f64::from).collect())
    }

    fn linear_learn_rows(
        &self,
        shape: LinearShape,
        hidden: &GpuBuffer,
        head: &GpuBuffer,
        read: &ReadRow<'_>,
        gradients: (&mut GpuBuffer, &mut GpuBuffer),
    ) {
        let done = self.through_logits(shape, (hidden, head), Some(gradients), |first, count, logits| {
            self.learn_on_host(first, count, shape.outputs, logits, read);
        });
        done.unwrap_or_else(|error| panic!("{error}"));
    }

    fn sum_of_squares(&self, x: &GpuBuffer) -> f64 {
        let partial = self.scratch(SQUARE_PARTS * size_of::<f64>());
        let arguments = [super::Argument::Long(x.len as i64), place(x), Pointer(partial.at())];
        self.launch("sum_of_squares", (SQUARE_PARTS as u32, 1), THREADS, 0, &arguments);
        self.fetch::<f64>(partial.at(), SQUARE_PARTS).into_iter().sum()
    }
    fn adamw(
        &self,
        step: AdamW,
        gradient_scale: f64,
        gradient: &GpuBuffer,
        first: &mut GpuBuffer,
        second: &mut GpuBuffer,
        parameter: &mut GpuBuffer,
    ) {
        let numbers = [
            step.learning_rate,
            step.beta1,
            step.beta2,
            1.0 - step.beta1,
            1.0 - step.beta2,
            step.epsilon,
            1.0 - step.learning_rate * step.weight_decay,
            1.0 - step.beta1.powf(step.step as f64),
            1.0 - step.beta2.powf(step.step as f64),
            gradient_scale,
        ];
        let places = [place(gradient), place(first), place(second), place(parameter)];
        let arguments: Vec<_> = numbers.into_iter().map(|number| Float(number as f32)).chain(places).collect();
        self.each("adamw", parameter.len, &arguments);
    }
}

impl Cuda {
    /// Adds the gradients of shift (left out where it is negative) and scale, or of a gate.
    fn add_to_modulation(
        &self,
        columns: usize,
        group_of_row: &[u32],
        stride: usize,
        (shift, scale): (super::Argument, super::Argument),
        (x, d_out): (&GpuBuffer, &GpuBuffer),
        d_modulation: &mut GpuBuffer,
    ) {
        let groups = self.grouped(group_of_row);
        let lists = [Pointer(groups.rows.at()), Pointer(groups.ends.at()), Pointer(groups.ids.at())];
        let sizes = [int(columns), lists[0], lists[1], lists[2], int(stride), shift, scale];
        let arguments: Vec<_> = sizes.into_iter().chain([place(x), place(d_out), place(d_modulation)]).collect();
        self.launch("modulation_backward", Self::across(groups.count, columns), THREADS, 0, &arguments);
    }
}

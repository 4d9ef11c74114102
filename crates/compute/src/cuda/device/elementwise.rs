//! Rows, gates, activations and modulation.

use crate::cuda::arguments::{In, Out};
use crate::cuda::buffer::{Either, Written};
use crate::cuda::kernels::{
    self, AddColumnsOf, DropoutOf, Gather, Gelu, GeluBackward, Glu, GluBackward, GluHalves, ModulateBackward,
    ModulationBackward, RoundToLevels, RoundToLevelsBackward, RowFactorsBackward, ScaleAddAll, ScaleRows,
    ScaledPointsOf, ScatterAdd, Silu, SiluBackward, WriteRowsOf,
};
use crate::cuda::memory::Array;
use crate::cuda::segments::{Segment, pair};
use crate::cuda::{Cuda, GpuBuffer, GpuIndices, THREADS, int};
use crate::device::halves;
use crate::{
    Activation, AddColumns, DType, DeviceError, Dropout, Elementwise, Modulation, Part, RowScale, ScaleAdd,
    ScaledPoints, ShiftScale, WriteRows,
};
use half::bf16;

/// Blocks that give each element of a row a thread, for so many rows.
fn across(rows: usize, columns: usize) -> (u32, u32) {
    (rows as u32, columns.div_ceil(THREADS as usize) as u32)
}

impl Elementwise for Cuda {
    fn gather(&self, columns: usize, table: &GpuBuffer, ids: &GpuIndices, out: &mut GpuBuffer) {
        // Rows of an image are an image, to the bit.
        let (table, out) = match table.dtype() {
            DType::Bf16 => (table.input::<bf16>().into(), out.output::<f32>().into()),
            _ if table.is_image() => (table.either(), Written { wide: Out::none(), image: out.image_output() }),
            _ => (table.either(), out.output::<f32>().into()),
        };
        self.each(ids.len() * columns, |count| Gather {
            count,
            columns: int(columns),
            table: table.wide,
            table_image: table.image,
            ids: ids.input(),
            out: out.wide,
            image: out.image,
        });
    }
    fn write_rows(&self, operands: WriteRows<'_, GpuBuffer, GpuIndices>, table: &mut GpuBuffer) {
        let WriteRows { columns, rows, ids } = operands;
        let (last, from) = (self.last(ids), rows.buffer.either().skip(rows.first));
        self.each(last.ids.len() * columns, |count| WriteRowsOf {
            count,
            columns: int(columns),
            rows: from.wide,
            rows_image: from.image,
            stride: int(rows.stride),
            sources: last.places.input(),
            ids: last.ids.input(),
            table: table.output(),
        });
    }
    fn scaled_points(&self, operands: ScaledPoints<'_, GpuBuffer, GpuIndices>, out: &mut GpuBuffer) {
        let ScaledPoints { size, vectors, tokens, weights, offsets, scales } = operands;
        self.each(tokens.len() * size, |count| ScaledPointsOf {
            count,
            size: int(size),
            vectors: vectors.input(),
            tokens: tokens.input(),
            weights: weights.input(),
            offsets: offsets.input(),
            scales: scales.input(),
            out: out.output(),
        });
    }
    fn scatter_add(&self, columns: usize, d_out: &GpuBuffer, ids: &GpuIndices, d_table: &mut GpuBuffer) {
        let (table, mut rows) = (d_table.output(), d_out.input());
        // What one launch writes the next one reads.
        let mut partials: Vec<Array<f32>> = Vec::new();
        for level in self.levels(ids) {
            partials.extend((level.split > 0).then(|| self.scratch(level.split * columns)));
            let partial = partials.last().map_or(Out::none(), Array::output);
            let kernel = ScatterAdd {
                columns: int(columns),
                split: int(level.split),
                rows: level.rows,
                ends: level.ends,
                ids: level.ids,
                d_out: rows,
                partial,
                d_table: table,
            };
            self.launch(0, kernel, across(level.pieces, columns), THREADS, 0);
            rows = partial.input();
        }
    }

    fn glu(&self, activation: Activation, width: usize, gate_up: &GpuBuffer, out: &mut GpuBuffer) {
        let (geglu, width, gate_up) = (is_geglu(activation), int(width), gate_up.input());
        let (len, Written { wide, image }) = (out.len(), self.for_products(out));
        self.each(len, |count| Glu { count, geglu, width, gate_up, out: wide, image });
    }
    fn glu_backward(
        &self,
        activation: Activation,
        width: usize,
        gate_up: &GpuBuffer,
        d_out: &GpuBuffer,
        d_gate_up: &mut GpuBuffer,
    ) {
        let Written { wide, image } = self.for_products(d_gate_up);
        self.each(d_out.len(), |count| GluBackward {
            count,
            geglu: is_geglu(activation),
            width: int(width),
            gate_up: gate_up.input(),
            d_out: d_out.input(),
            d_gate_up: wide,
            image,
        });
    }
    fn silu(&self, x: &GpuBuffer, out: &mut GpuBuffer) {
        self.each(x.len(), |count| Silu { count, x: x.input(), out: out.output() });
    }
    fn silu_backward(&self, x: &GpuBuffer, d_out: &GpuBuffer, d_x: &mut GpuBuffer) {
        self.each(x.len(), |count| SiluBackward { count, x: x.input(), d_out: d_out.input(), d_x: d_x.output() });
    }
    fn gelu(&self, x: &GpuBuffer, out: &mut GpuBuffer) {
        let Written { wide, image } = self.for_products(out);
        self.each(x.len(), |count| Gelu { count, x: x.input(), out: wide, image });
    }
    fn gelu_backward(&self, x: &GpuBuffer, d_out: &GpuBuffer, d_x: &mut GpuBuffer) {
        let Written { wide, image } = self.for_products(d_x);
        self.each(x.len(), |count| GeluBackward { count, x: x.input(), d_out: d_out.input(), d_x: wide, image });
    }
    fn round_to_levels(&self, levels: &GpuIndices, x: &GpuBuffer, out: &mut GpuBuffer) {
        let (columns, levels) = (int(levels.len()), levels.input());
        self.each(x.len(), |count| RoundToLevels { count, columns, levels, x: x.input(), out: out.output() });
    }
    fn round_to_levels_backward(&self, x: &GpuBuffer, d_out: &GpuBuffer, d_x: &mut GpuBuffer) {
        self.each(x.len(), |count| RoundToLevelsBackward {
            count,
            x: x.input(),
            d_out: d_out.input(),
            d_x: d_x.output(),
        });
    }
    fn modulate(&self, operands: Modulation<'_, GpuBuffer, GpuIndices>, at: ShiftScale, out: &mut GpuBuffer) {
        let Modulation { columns, groups, stride, x, modulation } = operands;
        let (x, Written { wide, image }) = (x.either(), self.for_products(out));
        self.each(groups.len() * columns, |count| kernels::Modulate {
            count,
            columns: int(columns),
            groups: groups.input(),
            stride: int(stride),
            shift: int(at.shift),
            scale: int(at.scale),
            x: x.wide,
            x_image: x.image,
            modulation: modulation.input(),
            out: wide,
            image,
        });
    }
    fn modulate_backward(
        &self,
        operands: Modulation<'_, GpuBuffer, GpuIndices>,
        at: ShiftScale,
        d_out: &GpuBuffer,
        d_x: &mut GpuBuffer,
        d_modulation: &mut GpuBuffer,
    ) {
        let Modulation { columns, groups, stride, modulation, .. } = operands;
        self.each(groups.len() * columns, |count| ModulateBackward {
            count,
            columns: int(columns),
            groups: groups.input(),
            stride: int(stride),
            scale: int(at.scale),
            modulation: modulation.input(),
            d_out: d_out.input(),
            d_x: d_x.output(),
        });
        self.add_to_modulation(operands, (int(at.shift), at.scale), d_out, d_modulation);
    }
    fn gated_add(&self, operands: Modulation<'_, GpuBuffer, GpuIndices>, gate: usize, residual: &mut GpuBuffer) {
        let Modulation { columns, groups, stride, x, modulation } = operands;
        self.each(groups.len() * columns, |count| kernels::GatedAdd {
            count,
            columns: int(columns),
            groups: groups.input(),
            stride: int(stride),
            gate: int(gate),
            x: x.input(),
            modulation: modulation.input(),
            residual: residual.output(),
        });
    }
    fn gated_add_backward(
        &self,
        operands: Modulation<'_, GpuBuffer, GpuIndices>,
        gate: usize,
        d_out: &GpuBuffer,
        d_x: &mut GpuBuffer,
        d_modulation: &mut GpuBuffer,
    ) {
        let Modulation { columns, groups, stride, modulation, .. } = operands;
        let Written { wide, image } = self.for_products(d_x);
        self.each(groups.len() * columns, |count| kernels::GatedAddBackward {
            count,
            columns: int(columns),
            groups: groups.input(),
            stride: int(stride),
            gate: int(gate),
            modulation: modulation.input(),
            d_out: d_out.input(),
            d_x: wide,
            image,
        });
        self.add_to_modulation(operands, (NO_SHIFT, gate), d_out, d_modulation);
    }
    fn scale_rows(&self, operands: RowScale<'_, GpuBuffer, GpuIndices>, out: &mut GpuBuffer) {
        let RowScale { columns, groups, factors, x } = operands;
        self.scaled_rows((columns, groups), factors, x, out);
    }
    fn scale_rows_backward(
        &self,
        operands: RowScale<'_, GpuBuffer, GpuIndices>,
        d_out: &GpuBuffer,
        d_x: &mut GpuBuffer,
        d_factors: &mut GpuBuffer,
    ) {
        let RowScale { columns, groups, factors, x } = operands;
        self.scaled_rows((columns, groups), factors, d_out, d_x);
        let groups = self.grouped(groups);
        let kernel = RowFactorsBackward {
            columns: int(columns),
            rows: groups.rows.input(),
            ends: groups.ends.input(),
            groups: groups.ids.input(),
            x: x.input(),
            d_out: d_out.input(),
            d_factors: d_factors.output(),
        };
        self.by_row(groups.ids.len(), kernel);
    }
    fn scale_add(&self, a: f64, x: &GpuBuffer, b: f64, y: &mut GpuBuffer) {
        let len = y.len();
        self.scale_into(a, x.either(), b, y.output().into(), len);
    }
    fn scale_add_all(&self, terms: &mut [ScaleAdd<'_, GpuBuffer>]) -> Result<(), DeviceError> {
        let segment = |ScaleAdd { a, x: Part { buffer, first, len }, b, y }: &mut ScaleAdd<'_, GpuBuffer>| {
            assert!(*first + *len <= buffer.len() && *len == y.len(), "a part of a buffer");
            // The image that products read is made anew where there was one.
            scale_add_segment(*len, (*a, buffer.either().skip(*first)), *b, y.present_outputs())
        };
        self.over(terms.iter_mut().map(segment), |segments, table| ScaleAddAll { segments, table })
    }
    fn stack(&self, parts: &[(f64, &GpuBuffer)], accumulate: bool, to: &mut GpuBuffer) -> Result<(), DeviceError> {
        let (len, mut out) = (to.len(), Written::from(to.output()));
        assert!(parts.iter().map(|(_, part)| part.len()).sum::<usize>() <= len, "a part of a buffer");
        let segments = parts.iter().map(|(factor, part)| {
            let own = out;
            out = own.skip(part.len());
            scale_add_segment(part.len(), (*factor, part.either()), if accumulate { 1.0 } else { 0.0 }, own)
        });
        self.over(segments, |segments, table| ScaleAddAll { segments, table })
    }
    fn dropout(&self, dropout: Dropout, x: &GpuBuffer, out: &mut GpuBuffer) {
        let [seed_low, seed_high] = halves(dropout.seed);
        let (factor, threshold) = (dropout.factor() as f32, dropout.threshold());
        let (length, x, out) = (x.len(), x.input(), out.output());
        self.each(length, |count| DropoutOf { count, factor, threshold, seed_low, seed_high, x, out });
    }
    fn add_columns(&self, operands: AddColumns<'_, GpuBuffer>, out: &mut GpuBuffer) {
        let AddColumns { rows, columns, factor, from, stride, first, accumulate } = operands;
        self.each(rows * columns, |count| AddColumnsOf {
            count,
            columns: int(columns),
            a: factor as f32,
            x: from.buffer.input().skip(from.first),
            x_stride: int(from.stride),
            accumulate: i32::from(accumulate),
            y_stride: int(stride),
            y: out.output().skip(first),
        });
    }
}

/// Where the gradient of a gate has no shift beside it.
const NO_SHIFT: i32 = -1;

/// `y = a x + b y` in a launch over several; without `x` zeros.
pub(super) fn scale_add_segment(count: usize, (a, x): (f64, Either), b: f64, y: Written) -> Segment<5> {
    let words = [x.wide.0, x.image.0, y.wide.0, y.image.0].map(|at| at as i64);
    Segment::new(count, [words[0], words[1], words[2], words[3], pair(a, b)])
}

/// As kernels read an activation.
fn is_geglu(activation: Activation) -> i32 {
    i32::from(activation == Activation::Geglu)
}

impl Cuda {
    /// `f(gate) · up` of two matrices.
    pub(super) fn gate_halves(
        &self,
        activation: Activation,
        count: usize,
        (gate, up): (In<f32>, In<f32>),
        Written { wide, image }: Written,
    ) {
        self.each(count, |count| GluHalves { count, geglu: is_geglu(activation), gate, up, out: wide, image });
    }

    fn scaled_rows(
        &self,
        (columns, groups): (usize, &GpuIndices),
        factors: &GpuBuffer,
        x: &GpuBuffer,
        out: &mut GpuBuffer,
    ) {
        self.each(groups.len() * columns, |count| ScaleRows {
            count,
            columns: int(columns),
            groups: groups.input(),
            factors: factors.input(),
            x: x.input(),
            out: out.output(),
        });
    }

    /// Adds the gradients of shift and scale, or of a gate.
    fn add_to_modulation(
        &self,
        operands: Modulation<'_, GpuBuffer, GpuIndices>,
        (shift, scale): (i32, usize),
        d_out: &GpuBuffer,
        d_modulation: &mut GpuBuffer,
    ) {
        let Modulation { columns, groups, stride, x, .. } = operands;
        let groups = self.grouped(groups);
        let kernel = ModulationBackward {
            columns: int(columns),
            rows: groups.rows.input(),
            ends: groups.ends.input(),
            groups: groups.ids.input(),
            stride: int(stride),
            shift,
            scale: int(scale),
            x: x.input(),
            d_out: d_out.input(),
            d_modulation: d_modulation.output(),
        };
        self.launch(0, kernel, across(groups.ids.len(), columns), THREADS, 0);
    }
}

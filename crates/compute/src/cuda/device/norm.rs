//! Norms and positions.

use crate::cuda::arguments::{In, Kernel, Out};
use crate::cuda::attention::check_head;
use crate::cuda::buffer::Written;
use crate::cuda::kernels::{
    LayerNormRows, LayerNormRowsBackward, LayerNormWeightBackward, RmsNormRows, RmsNormRowsBackward,
    RmsNormWeightBackward, RopeRows, RopeRowsBackward,
};
use crate::cuda::memory::Array;
use crate::cuda::sums::PARTS;
use crate::cuda::{Cuda, GpuBuffer, GpuIndices, THREADS, WARP, int};
use crate::{
    AttentionShape, HeadNormGradients, HeadNorms, LayerNorm, LayerNormBackward, Norm, RmsNorm, RmsNormBackward, Rope,
};

/// Columns of a row for each thread: with few threads for a row a multiprocessor has many rows under way, and waits for
/// memory once for all of them.
const COLUMNS: usize = 16;

/// Heads that a block rotates at once: 16 lanes share one, as in `rows.cu`.
const HEADS: usize = THREADS as usize / 16;

/// A null pointer where there is none.
fn maybe(buffer: Option<&GpuBuffer>) -> In<f32> {
    buffer.map_or(In::none(), GpuBuffer::input)
}

fn both(norms: Option<HeadNorms<'_, GpuBuffer>>) -> (In<f32>, In<f32>) {
    (maybe(norms.map(|norms| norms.query)), maybe(norms.map(|norms| norms.key)))
}

impl Norm for Cuda {
    fn rms_norm(&self, operands: RmsNorm<'_, GpuBuffer>, out: &mut GpuBuffer, inverse_rms: &mut GpuBuffer) {
        let RmsNorm { columns, epsilon, x, weight } = operands;
        let Written { wide, image } = self.for_products(out);
        self.by_row_of(
            columns,
            inverse_rms.len(),
            RmsNormRows {
                columns: int(columns),
                epsilon: epsilon as f32,
                x: x.input(),
                weight: maybe(weight),
                out: wide,
                image,
                inverse_rms: inverse_rms.output(),
            },
        );
    }
    fn rms_norm_backward(
        &self,
        operands: RmsNormBackward<'_, GpuBuffer>,
        d_x: &mut GpuBuffer,
        d_weight: Option<&mut GpuBuffer>,
    ) {
        let RmsNormBackward { columns, x, weight, inverse_rms, d_out, accumulate } = operands;
        let rows = inverse_rms.len();
        let (x, inverse_rms, d_out) = (x.input(), inverse_rms.input(), d_out.input());
        // What reads the gradient of a stream next is the product that added to it.
        let Written { wide, image } = self.for_all(d_x);
        self.by_row_of(
            columns,
            rows,
            RmsNormRowsBackward {
                columns: int(columns),
                x,
                weight: maybe(weight),
                inverse_rms,
                d_out,
                accumulate: i32::from(accumulate),
                d_x: wide,
                image,
            },
        );
        if let Some(d_weight) = d_weight {
            self.add_parts(rows, columns, d_weight.output(), |partial, blocks| {
                let (rows, columns) = (int(rows), int(columns));
                let kernel = RmsNormWeightBackward { rows, columns, x, inverse_rms, d_out, partial };
                self.launch(0, kernel, blocks, THREADS, 0);
            });
        }
    }
    fn layer_norm(&self, operands: LayerNorm<'_, GpuBuffer>, out: &mut GpuBuffer, moments: &mut GpuBuffer) {
        let LayerNorm { columns, epsilon, x, weight } = operands;
        self.by_row_of(
            columns,
            moments.len() / 2,
            LayerNormRows {
                columns: int(columns),
                epsilon: epsilon as f32,
                x: x.input(),
                weight: weight.input(),
                out: out.output(),
                moments: moments.output(),
            },
        );
    }
    fn layer_norm_backward(
        &self,
        operands: LayerNormBackward<'_, GpuBuffer>,
        d_x: &mut GpuBuffer,
        d_weight: Option<&mut GpuBuffer>,
    ) {
        let LayerNormBackward { columns, x, weight, moments, d_out, accumulate } = operands;
        let rows = moments.len() / 2;
        let (x, moments, d_out) = (x.input(), moments.input(), d_out.input());
        self.by_row_of(
            columns,
            rows,
            LayerNormRowsBackward {
                columns: int(columns),
                x,
                weight: weight.input(),
                moments,
                d_out,
                accumulate: i32::from(accumulate),
                d_x: d_x.output(),
            },
        );
        if let Some(d_weight) = d_weight {
            self.add_parts(rows, columns, d_weight.output(), |partial, blocks| {
                let (rows, columns) = (int(rows), int(columns));
                let kernel = LayerNormWeightBackward { rows, columns, x, moments, d_out, partial };
                self.launch(0, kernel, blocks, THREADS, 0);
            });
        }
    }
    fn rope(&self, operands: Rope<'_, GpuBuffer, GpuIndices>, out: &mut GpuBuffer) {
        let Rope { shape, positions, packed, norms } = operands;
        let AttentionShape { heads, key_value_heads, head_size } = shape.attention;
        let (table, rows) = (self.rope_table(&shape, positions.largest()), positions.len() / shape.rotation.axes);
        let (query_norm, key_norm) = both(norms);
        let Written { wide, image } = self.for_attention(shape.attention, out);
        self.by_row(
            (rows * (heads + 2 * key_value_heads)).div_ceil(HEADS),
            RopeRows {
                rows: int(rows),
                heads: int(heads),
                key_value_heads: int(key_value_heads),
                size: int(head_size),
                turned: int(shape.rotation.columns),
                axes: int(shape.rotation.axes),
                epsilon: shape.epsilon as f32,
                value_norm: i32::from(shape.value_norm),
                positions: positions.input(),
                table: table.turns.input(),
                query_factors: table.factors(),
                packed: packed.input(),
                query_norm,
                key_norm,
                out: wide,
                image,
            },
        );
    }
    fn rope_backward(
        &self,
        operands: Rope<'_, GpuBuffer, GpuIndices>,
        d_out: &GpuBuffer,
        d_packed: &mut GpuBuffer,
        d_norms: Option<HeadNormGradients<'_, GpuBuffer>>,
    ) {
        let Rope { shape, positions, packed, norms } = operands;
        check_head(shape.attention);
        let AttentionShape { heads, key_value_heads, head_size } = shape.attention;
        let (table, rows) = (self.rope_table(&shape, positions.largest()), positions.len() / shape.rotation.axes);
        let (query_norm, key_norm) = both(norms);
        let Written { wide, image } = self.for_products(d_packed);
        let d_out = d_out.either();
        // As many blocks as forward, or as there are parts of a sum over rows.
        let blocks = (rows * (heads + 2 * key_value_heads)).div_ceil(HEADS).min(PARTS);
        let d_norms = norms.and(d_norms);
        let partial = d_norms.as_ref().map(|_| self.scratch::<f32>(blocks * 2 * head_size));
        let kernel = RopeRowsBackward {
            rows: int(rows),
            heads: int(heads),
            key_value_heads: int(key_value_heads),
            size: int(head_size),
            turned: int(shape.rotation.columns),
            axes: int(shape.rotation.axes),
            epsilon: shape.epsilon as f32,
            value_norm: i32::from(shape.value_norm),
            positions: positions.input(),
            table: table.turns.input(),
            query_factors: table.factors(),
            packed: packed.input(),
            query_norm,
            key_norm,
            d_out: d_out.wide,
            d_out_image: d_out.image,
            d_packed: wide,
            image,
            partial: partial.as_ref().map_or(Out::none(), Array::output),
        };
        let shared = if partial.is_some() { HEADS * 2 * head_size * size_of::<f32>() } else { 0 };
        self.launch(0, kernel, (blocks as u32, 1), THREADS, shared);
        let (Some(partial), Some(HeadNormGradients { query, key })) = (partial, d_norms) else { return };
        for (which, d_weight) in [query, key].into_iter().enumerate() {
            let part = partial.input().skip(which * head_size);
            self.add_partial(blocks, (head_size, 2 * head_size), part, d_weight.output());
        }
    }
}

impl Cuda {
    /// A block for each of so many rows, of as many warps as their columns need.
    fn by_row_of<K: Kernel>(&self, columns: usize, rows: usize, kernel: K) {
        let threads = columns.div_ceil(COLUMNS).next_multiple_of(WARP).clamp(WARP, THREADS as usize);
        self.launch(0, kernel, (rows as u32, 1), threads as u32, 0);
    }
}

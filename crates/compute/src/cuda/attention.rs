//! Attention: which kernel serves which heads and precision, and what it is given.
//!
//! In bf16 queries, keys and values are multiplied by tensor cores, a tile after another, as rotation left them; what is
//! not in bf16 yet is rounded once. In f32 a warp computes one row and head. Neither ever keeps a matrix of all pairs.

use super::arguments::{In, Out};
use super::buffer::Written;
use super::kernels::{
    AttentionDelta, AttentionGradients, AttentionKeysBackward, AttentionKeysTiles, AttentionOf,
    AttentionQueriesBackward, AttentionQueriesTiles, AttentionTiles, RoundHeads,
};
use super::memory::Array;
use super::{Cuda, GpuBuffer, GpuVisibility, THREADS, int};
use crate::{AttentionBackward, AttentionOperands, AttentionShape, Columns, Precision};
use half::bf16;

/// The largest head: what a lane keeps of it is an array of fixed length.
const LARGEST_HEAD: usize = 256;
/// Warps of a block of either kind.
const WARPS: usize = 4;
const ATTENTION_THREADS: u32 = 32 * WARPS as u32;
/// Elements of a head in bf16 that are copied at once: heads are filled up to a multiple.
const CHUNK: usize = 8;
/// Tiles that lie in shared memory for each of the two that a kernel reads.
const STAGES: usize = 2;

/// # Panics
/// On a head that no kernel takes.
pub(super) fn check_head(shape: AttentionShape) {
    assert!(shape.head_size <= LARGEST_HEAD, "`head_size` is {}; allowed on a GPU: up to 256", shape.head_size);
}

/// Rows of a block, and rows of a tile of the other side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) rows: usize,
    pub(super) tile: usize,
}

/// The kernels that serve heads of up to a size by tiles; the numbers are those of `tiles.cu`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiles {
    /// Elements to which heads are filled up in shared memory.
    pub(super) elements: usize,
    /// Which of the kernels that take the same.
    variant: usize,
    pub(super) forward: Cut,
    pub(super) queries: Cut,
    pub(super) keys: Cut,
    /// Blocks that share the columns of a key's gradient.
    parts: usize,
}

pub(super) const TILES: [Tiles; 3] = [
    Tiles {
        elements: 64,
        variant: 0,
        forward: Cut { rows: 128, tile: 64 },
        queries: Cut { rows: 128, tile: 32 },
        keys: Cut { rows: 128, tile: 32 },
        parts: 1,
    },
    Tiles {
        elements: 128,
        variant: 1,
        forward: Cut { rows: 128, tile: 32 },
        queries: Cut { rows: 128, tile: 32 },
        keys: Cut { rows: 64, tile: 32 },
        parts: 1,
    },
    Tiles {
        elements: 256,
        variant: 2,
        forward: Cut { rows: 64, tile: 32 },
        queries: Cut { rows: 64, tile: 16 },
        keys: Cut { rows: 64, tile: 16 },
        parts: 2,
    },
];

impl Tiles {
    /// Bytes of shared memory: `own` matrices of a block's rows, two of tiles, and `beside` for each row of the block.
    fn shared(&self, cut: Cut, own: usize, beside: usize) -> usize {
        2 * self.elements * (own * cut.rows + 2 * STAGES * cut.tile) + beside * cut.rows
    }
    /// What a row of the block sees is four words.
    fn forward_bytes(&self) -> usize {
        self.shared(self.forward, 1, 16)
    }
    fn queries_bytes(&self) -> usize {
        self.shared(self.queries, 2, 16)
    }
    /// Beside each row of a tile lie two sums and what it sees.
    fn keys_bytes(&self) -> usize {
        self.shared(self.keys, 2, 0) + STAGES * self.keys.tile * 24
    }
}

/// Queries, and the keys and values that they see.
pub(super) struct Attended<'a> {
    pub(super) shape: AttentionShape,
    pub(super) visible: &'a GpuVisibility,
    /// How many queries there are, and which rows they are where they are not all.
    pub(super) count: usize,
    pub(super) rows: In<u32>,
    pub(super) queries: Columns<'a, GpuBuffer>,
    pub(super) keys_values: Columns<'a, GpuBuffer>,
}

/// Blocks for so many rows and heads.
fn blocks(rows: usize, heads: usize, in_a_block: usize) -> (u32, u32) {
    (rows.div_ceil(in_a_block) as u32, heads as u32)
}

/// Heads in bf16, `inner` columns each, the rows `stride` apart.
struct Rounded {
    values: In<bf16>,
    stride: i32,
    /// What they were rounded into.
    _lent: Option<Array<bf16>>,
}

impl Cuda {
    fn tiles(&self, shape: AttentionShape) -> Option<Tiles> {
        check_head(shape);
        let fits = |tiles: &&Tiles| self.precision == Precision::Bf16 && shape.head_size <= tiles.elements;
        TILES.iter().find(fits).copied()
    }

    /// Where queries, keys and values go that attention reads: in bf16 only where they are its heads as they lie.
    pub(super) fn for_attention(&self, shape: AttentionShape, out: &mut GpuBuffer) -> Written {
        match shape.head_size.is_multiple_of(CHUNK) && shape.head_size <= LARGEST_HEAD {
            true => self.for_products(out),
            false => out.output::<f32>().into(),
        }
    }

    /// The first columns of each of so many rows, as heads in bf16.
    fn round_heads(&self, columns: &Columns<'_, GpuBuffer>, rows: usize, (heads, size): (usize, usize)) -> Rounded {
        let inner = size.next_multiple_of(CHUNK);
        if columns.buffer.is_image() && inner == size && (columns.first | columns.stride).is_multiple_of(CHUNK) {
            let values = columns.buffer.rounded().skip(columns.first);
            return Rounded { values, stride: int(columns.stride), _lent: None };
        }
        let values = self.scratch::<bf16>(rows * heads * inner);
        let kernel = RoundHeads {
            count: int(rows),
            heads: int(heads),
            size: int(size),
            x: columns.buffer.input::<f32>().skip(columns.first),
            stride: int(columns.stride),
            out: values.output(),
        };
        // A thread for four elements of a head.
        self.launch(0, kernel, blocks(rows * inner / 4, heads, THREADS as usize), THREADS, 0);
        Rounded { values: values.input(), stride: int(heads * inner), _lent: Some(values) }
    }

    /// Attention of some rows.
    pub(super) fn attend(&self, attended: Attended<'_>, out: &mut GpuBuffer, log_sum_exp: Out<f32>) {
        let Attended { shape, visible, count, rows, queries, keys_values } = attended;
        let AttentionShape { heads, key_value_heads, head_size } = shape;
        let (intervals, scale) = (visible.intervals(), scale(shape));
        match self.tiles(shape) {
            Some(tiles) => {
                let queries = self.round_heads(&queries, count, (heads, head_size));
                let keys_values = self.round_heads(&keys_values, visible.len(), (2 * key_value_heads, head_size));
                let kernel = AttentionTiles {
                    rows: int(visible.len()),
                    count: int(count),
                    heads: int(heads),
                    key_value_heads: int(key_value_heads),
                    size: int(head_size),
                    scale,
                    queries: queries.values,
                    query_stride: queries.stride,
                    keys_values: keys_values.values,
                    stride: keys_values.stride,
                    intervals,
                    requested: rows,
                    out: out.image_output(),
                    log_sum_exp,
                };
                let blocks = blocks(count, heads, tiles.forward.rows);
                self.launch(tiles.variant, kernel, blocks, ATTENTION_THREADS, tiles.forward_bytes());
            }
            None => {
                let kernel = AttentionOf {
                    count: int(count),
                    heads: int(heads),
                    key_value_heads: int(key_value_heads),
                    size: int(head_size),
                    scale,
                    queries: queries.buffer.input::<f32>().skip(queries.first),
                    query_stride: int(queries.stride),
                    keys_values: keys_values.buffer.input::<f32>().skip(keys_values.first),
                    stride: int(keys_values.stride),
                    intervals,
                    rows,
                    out: out.output(),
                    log_sum_exp,
                };
                let shared = WARPS * head_size * size_of::<f32>();
                self.launch(0, kernel, blocks(count, heads, WARPS), ATTENTION_THREADS, shared);
            }
        }
    }

    /// The gradient of the packed matrix, which it overwrites.
    pub(super) fn attend_back(
        &self,
        operands: AttentionBackward<'_, GpuBuffer, GpuVisibility>,
        d_packed: &mut GpuBuffer,
    ) {
        match self.tiles(operands.forward.shape) {
            Some(tiles) => self.attend_back_by_tiles(tiles, operands, d_packed.image_output()),
            None => self.attend_back_by_rows(operands, d_packed.output()),
        }
    }

    fn attend_back_by_tiles(
        &self,
        tiles: Tiles,
        operands: AttentionBackward<'_, GpuBuffer, GpuVisibility>,
        d_packed: Out<bf16>,
    ) {
        let AttentionBackward { forward, out, log_sum_exp, d_out } = operands;
        let AttentionOperands { shape, visible, packed } = forward;
        let AttentionShape { heads, key_value_heads: groups, head_size } = shape;
        let rows = visible.len();
        let all = Columns { buffer: packed, stride: shape.packed_columns(), first: 0 };
        let packed = self.round_heads(&all, rows, (heads + 2 * groups, head_size));
        let rounded = self.scratch::<bf16>(rows * heads * head_size.next_multiple_of(CHUNK));
        // Two sums of each head and row; pairs of rows are copied at once.
        let sums = self.scratch::<f32>(2 * heads * rows.next_multiple_of(2));
        let d_out = d_out.either();
        let kernel = AttentionGradients {
            rows: int(rows),
            heads: int(heads),
            size: int(head_size),
            out: out.rounded(),
            d_out: d_out.wide,
            image: d_out.image,
            log_sum_exp: log_sum_exp.input(),
            rounded: rounded.output(),
            sums: sums.output(),
        };
        self.launch(0, kernel, blocks(rows * heads, 1, (THREADS / 32) as usize), THREADS, 0);

        let (intervals, scale) = (visible.intervals(), scale(shape));
        let (packed, sums, d_out) = (packed.values, sums.input(), rounded.input());
        let of_queries = AttentionQueriesTiles {
            rows: int(rows),
            heads: int(heads),
            key_value_heads: int(groups),
            size: int(head_size),
            scale,
            packed,
            intervals,
            sums,
            d_out,
            d_packed,
        };
        let of_keys = AttentionKeysTiles {
            rows: int(rows),
            heads: int(heads),
            key_value_heads: int(groups),
            size: int(head_size),
            scale,
            packed,
            intervals,
            summaries: self.tile_summaries(visible),
            readers: self.readers(visible),
            sums,
            d_out,
            d_packed,
        };
        let (query_blocks, key_blocks) =
            (blocks(rows, heads, tiles.queries.rows), blocks(rows, groups * tiles.parts, tiles.keys.rows));
        self.launch(tiles.variant, of_queries, query_blocks, ATTENTION_THREADS, tiles.queries_bytes());
        self.launch(tiles.variant, of_keys, key_blocks, ATTENTION_THREADS, tiles.keys_bytes());
    }

    fn attend_back_by_rows(&self, operands: AttentionBackward<'_, GpuBuffer, GpuVisibility>, d_packed: Out<f32>) {
        let AttentionBackward { forward, out, log_sum_exp, d_out } = operands;
        let AttentionOperands { shape, visible, packed } = forward;
        let rows = visible.len();
        let count = rows * shape.heads;
        let delta = self.scratch::<f32>(count);
        let (size, scale) = (int(shape.head_size), scale(shape));
        let kernel =
            AttentionDelta { count: count as i64, size, out: out.input(), d_out: d_out.input(), delta: delta.output() };
        self.launch(0, kernel, blocks(count, 1, (THREADS / 32) as usize), THREADS, 0);

        let (heads, key_value_heads) = (int(shape.heads), int(shape.key_value_heads));
        let (packed, log_sum_exp, delta) = (packed.input(), log_sum_exp.input(), delta.input());
        let (intervals, d_out) = (visible.intervals(), d_out.input());
        let of_queries = AttentionQueriesBackward {
            rows: int(rows),
            heads,
            key_value_heads,
            size,
            scale,
            packed,
            intervals,
            log_sum_exp,
            delta,
            d_out,
            d_packed,
        };
        let of_keys = AttentionKeysBackward {
            rows: int(rows),
            heads,
            key_value_heads,
            size,
            scale,
            packed,
            intervals,
            readers: self.readers(visible),
            log_sum_exp,
            delta,
            d_out,
            d_packed,
        };
        let shared = WARPS * 2 * shape.head_size * size_of::<f32>();
        self.launch(0, of_queries, blocks(rows, shape.heads, WARPS), ATTENTION_THREADS, shared);
        self.launch(0, of_keys, blocks(rows, shape.key_value_heads, WARPS), ATTENTION_THREADS, shared);
    }
}

fn scale(shape: AttentionShape) -> f32 {
    (1.0 / (shape.head_size as f64).sqrt()) as f32
}

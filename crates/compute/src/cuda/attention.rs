//! Attention: which kernel serves which heads and precision, and what it is given.
//!
//! In bf16 heads of up to 128 are multiplied by tensor cores, 64 rows in a block; all others, and f32, one row and head in
//! a warp. Neither ever keeps a matrix of all pairs.

use super::arguments::{In, Out};
use super::kernels::{AttentionDelta, AttentionKeysBackward, AttentionOf, AttentionQueriesBackward, AttentionTiles};
use super::{Cuda, GpuBuffer, GpuVisibility, THREADS, int};
use crate::{AttentionBackward, AttentionOperands, AttentionShape, Columns, Precision};

/// The largest head: what a lane keeps of it is an array of fixed length.
const LARGEST_HEAD: usize = 256;
/// Warps of a block of either kind.
const WARPS: usize = 4;
/// Rows of a block of tiles, rows of a tile, and elements between two rows: as in the kernels.
const TILE_ROWS: usize = 64;
const TILE: usize = 32;
const PAD: usize = 8;

/// # Panics
/// On a head that no kernel takes.
pub(super) fn check_head(shape: AttentionShape) {
    assert!(shape.head_size <= LARGEST_HEAD, "`head_size` is {}; allowed on a GPU: up to 256", shape.head_size);
}

/// The kernels that serve heads of up to a size by tiles.
#[derive(Clone, Copy)]
struct Tiles {
    /// Elements to which heads are padded.
    elements: usize,
    /// Which of the kernels that take the same, counted from those that have no tiles.
    variant: usize,
}

const TILES: [Tiles; 2] = [Tiles { elements: 64, variant: 1 }, Tiles { elements: 128, variant: 2 }];

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

impl Tiles {
    /// Bytes of a block's rows, of tiles, and of tiles transposed.
    fn shared(&self, rows: usize, tiles: usize, turned: usize) -> usize {
        let row = self.elements + PAD;
        2 * (rows * TILE_ROWS * row + tiles * TILE * row + turned * self.elements * (TILE + PAD))
    }
}

/// Blocks and threads of kernels with one row and head in a warp.
fn by_rows(rows: usize, heads: usize) -> (u32, u32) {
    (rows.div_ceil(WARPS) as u32, heads as u32)
}

fn by_tiles(rows: usize, heads: usize) -> (u32, u32) {
    (rows.div_ceil(TILE_ROWS) as u32, heads as u32)
}

const ATTENTION_THREADS: u32 = 32 * WARPS as u32;

impl Cuda {
    fn tiles(&self, shape: AttentionShape) -> Option<Tiles> {
        check_head(shape);
        let fits = |tiles: &&Tiles| self.precision == Precision::Bf16 && shape.head_size <= tiles.elements;
        TILES.iter().find(fits).copied()
    }

    /// Attention of some rows.
    pub(super) fn attend(&self, attended: Attended<'_>, out: Out<f32>, log_sum_exp: Out<f32>) {
        let Attended { shape, visible, count, rows, queries, keys_values } = attended;
        let AttentionShape { heads, key_value_heads, head_size } = shape;
        let (query_stride, stride) = (int(queries.stride), int(keys_values.stride));
        let queries = queries.buffer.input::<f32>().skip(queries.first);
        let keys_values = keys_values.buffer.input::<f32>().skip(keys_values.first);
        let (intervals, scale) = (visible.intervals(), scale(shape));
        let (heads, key_value_heads, size) = (int(heads), int(key_value_heads), int(head_size));
        match self.tiles(shape) {
            Some(tiles) => {
                let blocks = by_tiles(count, shape.heads);
                let (all, count) = (int(visible.len()), int(count));
                let kernel = AttentionTiles {
                    rows: all,
                    count,
                    heads,
                    key_value_heads,
                    size,
                    scale,
                    queries,
                    query_stride,
                    keys_values,
                    stride,
                    intervals,
                    requested: rows,
                    out,
                    log_sum_exp,
                };
                self.launch(tiles.variant - 1, kernel, blocks, ATTENTION_THREADS, tiles.shared(1, 2, 1));
            }
            None => {
                let (blocks, shared) = (by_rows(count, shape.heads), WARPS * head_size * size_of::<f32>());
                let kernel = AttentionOf {
                    count: int(count),
                    heads,
                    key_value_heads,
                    size,
                    scale,
                    queries,
                    query_stride,
                    keys_values,
                    stride,
                    intervals,
                    rows,
                    out,
                    log_sum_exp,
                };
                self.launch(0, kernel, blocks, ATTENTION_THREADS, shared);
            }
        }
    }

    /// The gradient of the packed matrix, which it overwrites.
    pub(super) fn attend_back(
        &self,
        operands: AttentionBackward<'_, GpuBuffer, GpuVisibility>,
        d_packed: &mut GpuBuffer,
    ) {
        let AttentionBackward { forward, out, log_sum_exp, d_out } = operands;
        let AttentionOperands { shape, visible, packed } = forward;
        let rows = visible.len();
        let count = rows * shape.heads;
        let delta = self.scratch::<f32>(count);
        let blocks = count.div_ceil((THREADS / 32) as usize) as u32;
        let (size, scale) = (int(shape.head_size), scale(shape));
        let kernel =
            AttentionDelta { count: count as i64, size, out: out.input(), d_out: d_out.input(), delta: delta.output() };
        self.launch(0, kernel, (blocks, 1), THREADS, 0);

        let (heads, key_value_heads) = (int(shape.heads), int(shape.key_value_heads));
        let (packed, log_sum_exp, delta) = (packed.input(), log_sum_exp.input(), delta.input());
        let (intervals, d_out, d_packed) = (visible.intervals(), d_out.input(), d_packed.output());
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
        let (heads, groups) = (shape.heads, shape.key_value_heads);
        match self.tiles(shape) {
            Some(tiles) => {
                let (variant, shared) = (tiles.variant, (tiles.shared(2, 2, 1), tiles.shared(2, 2, 2)));
                self.launch(variant, of_queries, by_tiles(rows, heads), ATTENTION_THREADS, shared.0);
                self.launch(variant, of_keys, by_tiles(rows, groups), ATTENTION_THREADS, shared.1);
            }
            None => {
                let shared = WARPS * 2 * shape.head_size * size_of::<f32>();
                self.launch(0, of_queries, by_rows(rows, heads), ATTENTION_THREADS, shared);
                self.launch(0, of_keys, by_rows(rows, groups), ATTENTION_THREADS, shared);
            }
        }
    }
}

fn scale(shape: AttentionShape) -> f32 {
    (1.0 / (shape.head_size as f64).sqrt()) as f32
}

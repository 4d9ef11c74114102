//! Attention: which kernel serves which heads and precision, and what it is given.
//!
//! In bf16 heads of up to 128 are multiplied by tensor cores, 64 rows in a block; all others, and f32, one row and head in
//! a warp. Neither ever keeps a matrix of all pairs.

use super::device::{maybe, place};
use super::driver::Argument::{self, Float, Long, Pointer};
use super::products::int;
use super::{Cuda, GpuBuffer, THREADS};
use crate::{AttentionShape, Precision, Visibility};

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

/// What the forward pass left.
pub(super) struct Forward<'a> {
    pub(super) packed: &'a GpuBuffer,
    pub(super) out: &'a GpuBuffer,
    pub(super) log_sum_exp: &'a GpuBuffer,
}

/// The kernels that serve one size of heads by tiles.
#[derive(Clone, Copy)]
struct Tiles {
    /// Elements to which heads are padded.
    elements: usize,
    forward: &'static str,
    queries: &'static str,
    keys: &'static str,
}

const TILES: [Tiles; 2] = [
    Tiles {
        elements: 64,
        forward: "attention_tiles_64",
        queries: "attention_backward_queries_tiles_64",
        keys: "attention_backward_keys_tiles_64",
    },
    Tiles {
        elements: 128,
        forward: "attention_tiles_128",
        queries: "attention_backward_queries_tiles_128",
        keys: "attention_backward_keys_tiles_128",
    },
];

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

    /// Heads and sizes, the scale, and the packed matrix.
    fn sizes(shape: AttentionShape, packed: &GpuBuffer) -> [Argument; 5] {
        let scale = 1.0 / (shape.head_size as f64).sqrt();
        let heads = (int(shape.heads), int(shape.key_value_heads));
        [heads.0, heads.1, int(shape.head_size), Float(scale as f32), place(packed)]
    }

    /// Attention of `count` rows, all or those at `queries`.
    pub(super) fn attend(
        &self,
        shape: AttentionShape,
        visibility: &Visibility,
        packed: &GpuBuffer,
        (count, queries): (usize, u64),
        (out, log_sum_exp): (&mut GpuBuffer, Option<&GpuBuffer>),
    ) {
        let mask = self.mask(visibility);
        let last = [Pointer(mask.intervals.at()), Pointer(queries), place(out), maybe(log_sum_exp)];
        let sizes = Self::sizes(shape, packed);
        match self.tiles(shape) {
            Some(tiles) => {
                let rows = [int(visibility.len()), int(count)];
                let arguments: Vec<_> = rows.into_iter().chain(sizes).chain(last).collect();
                let blocks = by_tiles(count, shape.heads);
                self.launch(tiles.forward, blocks, ATTENTION_THREADS, tiles.shared(1, 2, 1), &arguments);
            }
            None => {
                let arguments: Vec<_> = [int(count)].into_iter().chain(sizes).chain(last).collect();
                let shared = WARPS * shape.head_size * size_of::<f32>();
                self.launch("attention", by_rows(count, shape.heads), ATTENTION_THREADS, shared, &arguments);
            }
        }
    }

    /// The gradient of the packed matrix, which it overwrites.
    pub(super) fn attend_back(
        &self,
        shape: AttentionShape,
        visibility: &Visibility,
        forward: Forward<'_>,
        d_out: &GpuBuffer,
        d_packed: &mut GpuBuffer,
    ) {
        let (rows, mask) = (visibility.len(), self.mask(visibility));
        let count = rows * shape.heads;
        let delta = self.scratch(count * size_of::<f32>());
        let sizes = [Long(count as i64), int(shape.head_size)];
        let places = [place(forward.out), place(d_out), Pointer(delta.at())];
        let arguments: Vec<_> = sizes.into_iter().chain(places).collect();
        let blocks = count.div_ceil((THREADS / 32) as usize) as u32;
        self.launch("attention_delta", (blocks, 1), THREADS, 0, &arguments);

        let first: Vec<_> = [int(rows)].into_iter().chain(Self::sizes(shape, forward.packed)).collect();
        let last = [place(forward.log_sum_exp), Pointer(delta.at()), place(d_out), place(d_packed)];
        let (intervals, readers) = (Pointer(mask.intervals.at()), Pointer(mask.readers.at()));
        let of_queries: Vec<_> = first.iter().copied().chain([intervals]).chain(last).collect();
        let of_keys: Vec<_> = first.into_iter().chain([intervals, readers]).chain(last).collect();
        let (heads, groups) = (shape.heads, shape.key_value_heads);
        match self.tiles(shape) {
            Some(tiles) => {
                let shared = (tiles.shared(2, 2, 1), tiles.shared(2, 2, 2));
                self.launch(tiles.queries, by_tiles(rows, heads), ATTENTION_THREADS, shared.0, &of_queries);
                self.launch(tiles.keys, by_tiles(rows, groups), ATTENTION_THREADS, shared.1, &of_keys);
            }
            None => {
                let shared = WARPS * 2 * shape.head_size * size_of::<f32>();
                let launch = |kernel, heads, arguments: &[Argument]| {
                    self.launch(kernel, by_rows(rows, heads), ATTENTION_THREADS, shared, arguments);
                };
                launch("attention_backward_queries", heads, &of_queries);
                launch("attention_backward_keys", groups, &of_keys);
            }
        }
    }
}

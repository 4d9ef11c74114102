// Attention in bfloat16 by tensor cores, and its gradient: FlashAttention-2 (Dao, 2307.08691, algorithms 1 and 2) over
// visible rows. Factors and results are bfloat16 in memory, scores and sums f32.
//
// A block of four warps owns `64 M` rows, `16 M` of each warp, and goes through the rows of the other side in tiles of
// `N`. Tiles that no row of the block sees are passed over before they are loaded. While one tile is multiplied, the
// next comes by asynchronous copies into the other of two stages:
//
//     find the next tile, whose barrier also says that all are done with the other stage; begin its copies
//     wait for the copies of this tile, barrier
//     scores = mine · tileᵀ; weights; sums += weights · tile
//
// Shared memory. A row of a tile has `E / 8` chunks of 16 bytes; chunk `c` of row `r` lies at place `c ^ r % 8` of its
// row. As `E / 8` is a multiple of 8, the eight rows that `ldmatrix` reads at once at one `c` lie in eight different
// groups of four banks, and so do the eight chunks of a row that eight neighbouring threads copy: no conflicts.
//
// Fragments (PTX ISA, mma.m16n8k16 and ldmatrix), with g = lane / 4 and t = lane % 4, of `D += A B`:
//     A, 16×16:  a0 row g, a1 row g + 8, at columns 2t, +1; a2, a3 the same rows at columns 2t + 8, +1
//     B, 16×8:   b0 rows 2t, +1 and b1 rows 2t + 8, +1 of column g
//     D, 16×8:   d0, d1 row g and d2, d3 row g + 8, at columns 2t, +1
// `mine` is A as it lies: four matrices, rows 0 to 7 and 8 to 15 of two chunks. In `mine · tileᵀ` the rows of the tile
// are the columns of B, so that it is B as it lies; in `weights · tile` its rows are those of B, and it is loaded
// turned. Each load serves two columns of fragments. D of two neighbouring columns, rounded, is A of the second
// product: weights never leave registers.
//
// Weights are `2^(s · scale · log2 e − …)`, one multiplication and addition and one `ex2` each. Heads of `size` columns
// are `inner` columns in memory, zeros behind `size`, and `E` columns in shared memory, zeros behind `inner`.

#define TILE_THREADS 128
#define TILE_WARPS 4
#define LOG2_E 1.44269504f
#define LN_2 0.69314718f
// No tile.
#define NOWHERE 0xffffffffu
// Rows that share a summary.
#define SUMMARY 32

// Columns of a head in bfloat16: whole chunks of 16 bytes.
DEVICE int chunked(int size) { return (size + 7) / 8 * 8; }

DEVICE bool in_either(const u32 (&interval)[4], u32 row) {
    return (row >= interval[0] && row < interval[1]) || (row >= interval[2] && row < interval[3]);
}
// Whether either interval has any, and whether one has all, of the rows from `first` on.
DEVICE bool has_any(const u32* interval, u32 first, u32 rows) {
    return (interval[0] < interval[1] && interval[0] < first + rows && interval[1] > first) ||
           (interval[2] < interval[3] && interval[2] < first + rows && interval[3] > first);
}
DEVICE bool has_all(const u32* interval, u32 first, u32 rows) {
    u32 end = first + rows;
    return (interval[0] <= first && interval[1] >= end) || (interval[2] <= first && interval[3] >= end);
}

// Both in bfloat16, at an even place.
DEVICE void write_half_pair(u16* to, float low, float high) { *reinterpret_cast<u32*>(to) = pair_bf16(low, high); }

// `x`, rows of `heads` heads of `size` columns, `stride` apart, in bfloat16: `[count, heads, inner]`. One thread for
// four numbers; `blockIdx.y` is the head.
KERNEL round_heads(int count, int heads, int size, const float* x, int stride, u16* out) {
    int inner = chunked(size), quads = inner / 4, head = blockIdx.y;
    u32 i = blockIdx.x * blockDim.x + threadIdx.x, row = i / quads, e = i % quads * 4;
    if (row >= u32(count)) return;
    const float* from = x + i64(row) * stride + head * size + e;
    float value[4] = {};
    if (int(e) + 4 <= size && reinterpret_cast<u64>(from) % 16 == 0) {
        read_four(value, from);
    } else {
        for (int k = 0; k < 4; k++)
            if (int(e) + k < size) value[k] = from[k];
    }
    u32* to = reinterpret_cast<u32*>(out + (i64(row) * heads + head) * inner + e);
    to[0] = pair_bf16(value[0], value[1]);
    to[1] = pair_bf16(value[2], value[3]);
}

// What the backward pass reads of each row and head: the gradient of the output in bfloat16, `[rows, heads, inner]`,
// and `lse · log2 e` and `Σ_e d_out out`, `[heads, even, 2]`, where `even` are the rows rounded up to an even number, and
// a row that there is not has zeros. A warp for a row and head.
KERNEL attention_gradients(int rows, int heads, int size, const u16* out, const float* d_out, const u16* image,
                           const float* log_sum_exp, u16* rounded, float* sums) {
    i64 at = i64(blockIdx.x) * (blockDim.x / WARP) + threadIdx.x / WARP;
    int lane = threadIdx.x % WARP, inner = chunked(size);
    if (at >= i64(rows) * heads) return;
    float sum = 0.0f;
    for (int e = 2 * lane; e < inner; e += 2 * WARP) {
        float low = 0.0f, high = 0.0f;
        if (e < size) {
            low = get(d_out, image, at * size + e), high = get(d_out, image, at * size + e + 1);
            sum += low * from_bf16(out[at * size + e]) + high * from_bf16(out[at * size + e + 1]);
        }
        write_half_pair(rounded + at * inner + e, low, high);
    }
    sum = warp_sum(sum);
    if (lane == 0) {
        i64 row = at / heads, even = rows + rows % 2;
        float* to = sums + (at % heads * even + row) * 2;
        write_pair(to, log_sum_exp[at] * LOG2_E, sum);
        // Rows are copied in pairs.
        if (row + 1 == rows && rows % 2) write_pair(to + 2, 0.0f, 0.0f);
    }
}

template <int E> DEVICE u16* chunk_of(u16* tile, int row, int chunk) { return tile + row * E + (chunk ^ row % 8) * 8; }

// Begins copies of rows from `first` on, of which there are `end`, into a tile `[ROWS, E]`; zeros for all others.
template <int E, int ROWS>
DEVICE void copy_rows(u16* tile, const u16* from, i64 stride, int first, int end, int inner) {
    const int STEP = TILE_THREADS / (E / 8);
    int chunk = threadIdx.x % (E / 8), row = threadIdx.x / (E / 8);
    const u16* place = from + i64(first + row) * stride + 8 * chunk;
    UNROLL
    for (int i = 0; i < ROWS / STEP; i++) {
        bool there = first + row < end && 8 * chunk < inner;
        copy_async(chunk_of<E>(tile, row, chunk), there ? place : from, there ? 16 : 0);
        row += STEP;
        place += STEP * stride;
    }
}

// The `16 M` rows of a warp as A: in registers, or read again at each use.
template <int E, int M, bool KEPT> struct Mine {
    u16* tile;
    int row;
    u32 kept[KEPT ? M : 1][KEPT ? E / 16 : 1][4];

    static_assert(E % 64 == 0, "rows of whole turns of banks");
    DEVICE_MEMBER void read(u32 (&a)[4], int m, int step) {
        int lane = threadIdx.x % WARP;
        load_matrices(a, chunk_of<E>(tile, row + 16 * m + lane % 16, 2 * step + lane / 16));
    }
    // Once, when the rows are there.
    DEVICE_MEMBER void keep() {
        if (!KEPT) return;
        UNROLL
        for (int m = 0; m < M; m++)
            UNROLL
            for (int step = 0; step < E / 16; step++) read(kept[KEPT ? m : 0][KEPT ? step : 0], m, step);
    }
    // `d = mine · tileᵀ`.
    template <int N> DEVICE_MEMBER void times(float (&d)[M][N / 8][4], u16* other) {
        int lane = threadIdx.x % WARP, from = lane / 16 * 8 + lane % 8, half = lane / 8 % 2;
        UNROLL
        for (int m = 0; m < M; m++)
            UNROLL
            for (int j = 0; j < N / 8; j++)
                UNROLL
                for (int i = 0; i < 4; i++) d[m][j][i] = 0.0f;
        UNROLL
        for (int step = 0; step < E / 16; step++) {
            u32 a[M][4];
            UNROLL
            for (int m = 0; m < M; m++) {
                if (!KEPT) read(a[m], m, step);
                UNROLL
                for (int i = 0; i < 4 && KEPT; i++) a[m][i] = kept[KEPT ? m : 0][KEPT ? step : 0][i];
            }
            UNROLL
            for (int j = 0; j < N / 16; j++) {
                u32 b[4];
                load_matrices(b, chunk_of<E>(other, 16 * j + from, 2 * step + half));
                u32 low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
                UNROLL
                for (int m = 0; m < M; m++) {
                    multiply_tile(d[m][2 * j], a[m], low);
                    multiply_tile(d[m][2 * j + 1], a[m], high);
                }
            }
        }
    }
};

// `sum += p · tile` at `C` columns of the tile from chunk `first` on.
template <int E, int C, int M, int N>
DEVICE void add_weighted(float (&sum)[M][C / 8][4], const float (&p)[M][N / 8][4], u16* tile, int first) {
    int lane = threadIdx.x % WARP;
    UNROLL
    for (int step = 0; step < N / 16; step++) {
        u32 a[M][4];
        UNROLL
        for (int m = 0; m < M; m++)
            UNROLL
            for (int i = 0; i < 4; i++) {
                const float(&d)[4] = p[m][2 * step + i / 2];
                a[m][i] = pair_bf16(d[2 * (i % 2)], d[2 * (i % 2) + 1]);
            }
        UNROLL
        for (int n = 0; n < C / 16; n++) {
            u32 b[4];
            load_turned_matrices(b, chunk_of<E>(tile, 16 * step + lane % 16, first + 2 * n + lane / 16));
            u32 low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
            UNROLL
            for (int m = 0; m < M; m++) {
                multiply_tile(sum[m][2 * n], a[m], low);
                multiply_tile(sum[m][2 * n + 1], a[m], high);
            }
        }
    }
}

// The largest and the sum over the four lanes that hold a row.
DEVICE float row_max(float value) {
    value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, 1));
    return fmaxf(value, __shfl_xor_sync(ALL_LANES, value, 2));
}
DEVICE float row_sum(float value) {
    value += __shfl_xor_sync(ALL_LANES, value, 1);
    return value + __shfl_xor_sync(ALL_LANES, value, 2);
}

// What a row sees, from shared memory.
DEVICE void visible_to(u32 (&interval)[4], const u32* seeing, int row) {
    for (int i = 0; i < 4; i++) interval[i] = seeing[row * 4 + i];
}

// The smallest intervals with the first and the second intervals of all threads of a block, in shared memory.
DEVICE const u32* hull_of(const u32 (&interval)[4]) {
    SHARED u32 parts[TILE_WARPS][4], hull[4];
    for (int i = 0; i < 4; i += 2) {
        bool any = interval[i] < interval[i + 1];
        u32 from = __reduce_min_sync(ALL_LANES, any ? interval[i] : NOWHERE);
        u32 to = __reduce_max_sync(ALL_LANES, any ? interval[i + 1] : 0);
        parts[threadIdx.x / WARP][i] = from;
        parts[threadIdx.x / WARP][i + 1] = to;
    }
    __syncthreads();
    if (threadIdx.x < 4) {
        u32 all = parts[0][threadIdx.x];
        for (int warp = 1; warp < TILE_WARPS; warp++) {
            u32 one = parts[warp][threadIdx.x];
            all = threadIdx.x % 2 == 0 ? (one < all ? one : all) : (one > all ? one : all);
        }
        hull[threadIdx.x] = all;
    }
    __syncthreads();
    return hull;
}

// Tiles of `N` keys that the rows of a block see. Each of the first `16 M` lanes of a warp answers for one of its rows.
// What it sees stays in shared memory: registers are what these kernels are short of.
template <int M, int N> struct Tiles {
    const u32* seeing;
    const u32* hull;
    int row;
    bool there;

    // `requested` says which rows they are, or is null where they are all; what each sees is laid down at `place`.
    DEVICE_MEMBER void find(int first, int count, const u32* intervals, const u32* requested, u32* place) {
        int lane = threadIdx.x % WARP;
        row = threadIdx.x / WARP * 16 * M + lane % (16 * M);
        there = lane < 16 * M && first + row < count;
        i64 which = !there ? 0 : requested ? requested[first + row] : u32(first + row);
        u32 interval[4];
        for (int i = 0; i < 4; i++) interval[i] = there ? intervals[which * 4 + i] : 0;
        for (int i = 0; i < 4 && lane < 16 * M; i++) place[row * 4 + i] = interval[i];
        seeing = place;
        hull = hull_of(interval);
    }
    DEVICE_MEMBER bool sees(u32 tile) {
        u32 interval[4];
        visible_to(interval, seeing, row);
        return has_any(interval, tile, N);
    }
    // The first tile from `start` on that any row sees; all threads of the block have to call, and where there is
    // one they have met at a barrier.
    DEVICE_MEMBER u32 next(u32 start) {
        for (;; start += N) {
            u32 tile = NOWHERE;
            for (int i = 0; i < 4; i += 2)
                if (hull[i] < hull[i + 1] && start < hull[i + 1]) {
                    u32 from = hull[i] / N * N > start ? hull[i] / N * N : start;
                    tile = from < tile ? from : tile;
                }
            start = tile;
            if (tile == NOWHERE || __syncthreads_or(sees(tile))) return tile;
        }
    }
    // Whether any row of the warp sees any of a tile, and whether all see all of it.
    DEVICE_MEMBER bool any(u32 tile) { return __any_sync(ALL_LANES, sees(tile)); }
    DEVICE_MEMBER bool all(u32 tile) {
        u32 interval[4];
        visible_to(interval, seeing, row);
        return __all_sync(ALL_LANES, !there || has_all(interval, tile, N));
    }
};

template <int E, int M, int N, bool KEPT>
DEVICE void attend_tiles(int rows, int count, int heads, int key_value_heads, int size, float scale,
                         const u16* queries, int query_stride, const u16* keys_values, int stride,
                         const u32* intervals, const u32* requested, u16* out, float* log_sum_exp) {
    const int ROWS = 16 * M * TILE_WARPS;
    DYNAMIC_SHARED(u16, shared);
    u16* stages = shared + ROWS * E;
    u32* seeing = reinterpret_cast<u32*>(stages + 4 * N * E);
    int lane = threadIdx.x % WARP, own = threadIdx.x / WARP * 16 * M + lane / 4, inner = chunked(size);
    int head = blockIdx.y, group = head / (heads / key_value_heads), first = blockIdx.x * ROWS;
    auto begin = [&](u32 tile, int stage) {
        u16* to = stages + stage * 2 * N * E;
        UNROLL
        for (int i = 0; i < 2 && tile != NOWHERE; i++) {
            const u16* from = keys_values + (group + i * key_value_heads) * inner;
            copy_rows<E, N>(to + i * N * E, from, stride, tile, rows, inner);
        }
        commit_copies();
    };
    copy_rows<E, ROWS>(shared, queries + head * inner, query_stride, first, count, inner);
    commit_copies();
    Tiles<M, N> tiles;
    tiles.find(first, count, intervals, requested, seeing);
    u32 tile = tiles.next(0);
    begin(tile, 0);
    Mine<E, M, KEPT> mine;
    mine.tile = shared;
    mine.row = threadIdx.x / WARP * 16 * M;
    await_copies<1>();
    __syncthreads();
    mine.keep();

    float factor = scale * LOG2_E, best[M][2], sum[M][2], kept[M][E / 8][4] = {};
    for (int m = 0; m < M; m++)
        for (int i = 0; i < 2; i++) best[m][i] = -INFINITY, sum[m][i] = 0.0f;
    for (int stage = 0; tile != NOWHERE; stage ^= 1) {
        u32 next = tiles.next(tile + N);
        begin(next, stage ^ 1);
        await_copies<1>();
        __syncthreads();
        u16* there = stages + stage * 2 * N * E;
        if (tiles.any(tile)) {
            float p[M][N / 8][4];
            mine.template times<N>(p, there);
            bool all = tiles.all(tile);
            UNROLL
            for (int m = 0; m < M; m++)
                UNROLL
                for (int i = 0; i < 2; i++) {
                    float largest = best[m][i];
                    if (!all) {
                        u32 visible[4];
                        visible_to(visible, seeing, own + 16 * m + 8 * i);
                        UNROLL
                        for (int j = 0; j < N / 8; j++)
                            UNROLL
                            for (int k = 0; k < 2; k++) {
                                u32 key = tile + 8 * j + 2 * (lane % 4) + k;
                                if (!in_either(visible, key)) p[m][j][2 * i + k] = -INFINITY;
                            }
                    }
                    UNROLL
                    for (int j = 0; j < N / 8; j++)
                        largest = fmaxf(largest, fmaxf(p[m][j][2 * i], p[m][j][2 * i + 1]));
                    largest = row_max(largest);
                    // A row that saw nothing yet keeps its zeros.
                    float base = largest == -INFINITY ? 0.0f : largest * factor;
                    float shrink = exp2_fast(best[m][i] * factor - base), added = 0.0f;
                    UNROLL
                    for (int j = 0; j < N / 8; j++)
                        UNROLL
                        for (int k = 0; k < 2; k++) {
                            float& weight = p[m][j][2 * i + k];
                            weight = exp2_fast(weight * factor - base);
                            added += weight;
                        }
                    best[m][i] = largest;
                    // Of this lane's columns; the four lanes of a row add up at the end.
                    sum[m][i] = sum[m][i] * shrink + added;
                    UNROLL
                    for (int n = 0; n < E / 8; n++)
                        UNROLL
                        for (int k = 0; k < 2; k++) kept[m][n][2 * i + k] *= shrink;
                }
            add_weighted<E, E, M, N>(kept, p, there + N * E, 0);
        }
        tile = next;
    }
    await_copies<0>();
    UNROLL
    for (int m = 0; m < M; m++)
        UNROLL
        for (int i = 0; i < 2; i++) {
            float total = row_sum(sum[m][i]), inverse = 1.0f / total;
            int place = first + own + 16 * m + 8 * i;
            i64 at = i64(place) * heads + head;
            if (place >= count) continue;
            UNROLL
            for (int n = 0; n < E / 8; n++) {
                int e = 8 * n + 2 * (lane % 4);
                const float(&row)[4] = kept[m][n];
                if (e < size) write_half_pair(out + at * size + e, row[2 * i] * inverse, row[2 * i + 1] * inverse);
            }
            if (log_sum_exp && lane % 4 == 0) log_sum_exp[at] = (best[m][i] * factor + log2f(total)) * LN_2;
        }
}

// The gradient of the queries: `packed` and `d_out` in bfloat16 by `round_heads` and `attention_gradients`, `sums` by
// the latter.
template <int E, int M, int N>
DEVICE void backward_query_tiles(int rows, int heads, int key_value_heads, int size, float scale, const u16* packed,
                                 const u32* intervals, const float* sums, const u16* d_out, u16* d_packed) {
    const int ROWS = 16 * M * TILE_WARPS;
    DYNAMIC_SHARED(u16, shared);
    u16* stages = shared + 2 * ROWS * E;
    u32* seeing = reinterpret_cast<u32*>(stages + 4 * N * E);
    int lane = threadIdx.x % WARP, own = threadIdx.x / WARP * 16 * M + lane / 4, inner = chunked(size);
    int head = blockIdx.y, group = head / (heads / key_value_heads), first = blockIdx.x * ROWS;
    i64 columns = heads + 2 * key_value_heads, even = rows + rows % 2;
    auto begin = [&](u32 tile, int stage) {
        u16* to = stages + stage * 2 * N * E;
        UNROLL
        for (int i = 0; i < 2 && tile != NOWHERE; i++) {
            const u16* from = packed + (heads + group + i * key_value_heads) * inner;
            copy_rows<E, N>(to + i * N * E, from, columns * inner, tile, rows, inner);
        }
        commit_copies();
    };
    copy_rows<E, ROWS>(shared, packed + head * inner, columns * inner, first, rows, inner);
    copy_rows<E, ROWS>(shared + ROWS * E, d_out + head * inner, i64(heads) * inner, first, rows, inner);
    Tiles<M, N> tiles;
    tiles.find(first, rows, intervals, nullptr, seeing);
    u32 tile = tiles.next(0);
    begin(tile, 0);
    Mine<E, M, false> mine, gradients;
    mine.tile = shared;
    gradients.tile = shared + ROWS * E;
    mine.row = gradients.row = threadIdx.x / WARP * 16 * M;
    float factor = scale * LOG2_E, kept[M][E / 8][4] = {};
    for (int stage = 0; tile != NOWHERE; stage ^= 1) {
        u32 next = tiles.next(tile + N);
        begin(next, stage ^ 1);
        await_copies<1>();
        __syncthreads();
        u16* there = stages + stage * 2 * N * E;
        if (tiles.any(tile)) {
            float p[M][N / 8][4], d[M][N / 8][4];
            mine.template times<N>(p, there);
            gradients.template times<N>(d, there + N * E);
            bool all = tiles.all(tile);
            UNROLL
            for (int m = 0; m < M; m++)
                UNROLL
                for (int i = 0; i < 2; i++) {
                    u32 visible[4] = {};
                    if (!all) visible_to(visible, seeing, own + 16 * m + 8 * i);
                    // Read at each tile, which costs less than registers do here.
                    int row = first + own + 16 * m + 8 * i;
                    const float* of_row = sums + (head * even + (row < rows ? row : rows - 1)) * 2;
                    float logarithm = of_row[0], change = of_row[1];
                    UNROLL
                    for (int j = 0; j < N / 8; j++)
                        UNROLL
                        for (int k = 0; k < 2; k++) {
                            bool sees = all || in_either(visible, tile + 8 * j + 2 * (lane % 4) + k);
                            float score = p[m][j][2 * i + k], slope = d[m][j][2 * i + k] - change;
                            p[m][j][2 * i + k] = sees ? exp2_fast(score * factor - logarithm) * slope : 0.0f;
                        }
                }
            add_weighted<E, E, M, N>(kept, p, there, 0);
        }
        tile = next;
    }
    await_copies<0>();
    UNROLL
    for (int m = 0; m < M; m++)
        UNROLL
        for (int i = 0; i < 2; i++) {
            int row = first + own + 16 * m + 8 * i;
            if (row >= rows) continue;
            u16* to = d_packed + (row * columns + head) * size;
            UNROLL
            for (int n = 0; n < E / 8; n++) {
                int e = 8 * n + 2 * (lane % 4);
                if (e < size) write_half_pair(to + e, kept[m][n][2 * i] * scale, kept[m][n][2 * i + 1] * scale);
            }
        }
}

// The gradients of keys and values at `C` of `E` columns: rows are keys, tiles are queries, of all heads of the group.
// `summaries` holds for each 32 queries the hulls of their first and of their second intervals, and what all of them
// see of either: `[T / 32, 8]`; `readers` for each row the half-open interval of rows within which all are that see it:
// `[T, 2]`.
template <int E, int C, int M, int N>
DEVICE void backward_key_tiles(int rows, int heads, int key_value_heads, int size, float scale, const u16* packed,
                               const u32* intervals, const u32* summaries, const u32* readers, const float* sums,
                               const u16* d_out, u16* d_packed) {
    const int ROWS = 16 * M * TILE_WARPS, STAGE = 2 * N * E + N * 12;
    DYNAMIC_SHARED(u16, shared);
    u16* stages = shared + 2 * ROWS * E;
    int lane = threadIdx.x % WARP, own = threadIdx.x / WARP * 16 * M, inner = chunked(size);
    int group = blockIdx.y / (E / C), part = blockIdx.y % (E / C), per_group = heads / key_value_heads;
    int first = blockIdx.x * ROWS, key_at = heads + group, value_at = heads + key_value_heads + group;
    i64 columns = heads + 2 * key_value_heads, even = rows + rows % 2;
    copy_rows<E, ROWS>(shared, packed + key_at * inner, columns * inner, first, rows, inner);
    copy_rows<E, ROWS>(shared + ROWS * E, packed + value_at * inner, columns * inner, first, rows, inner);
    u32 interval[4] = {};
    if (int(threadIdx.x) < ROWS && first + int(threadIdx.x) < rows)
        for (int i = 0; i < 2; i++) interval[i] = readers[i64(first + threadIdx.x) * 2 + i];
    const u32* hull = hull_of(interval);
    u32 start = hull[0] / N * N, end = hull[0] < hull[1] ? hull[1] : 0;
    int last = (group + 1) * per_group;
    // The first tile from `tile` of `head` on that sees any of the keys, and its head; `last` where there is none.
    auto seek = [&](int& head, u32& tile) {
        for (; head < last; tile += N) {
            if (tile >= end) {
                head++;
                // As many as before the loop's addition.
                tile = start - N;
                continue;
            }
            if (has_any(summaries + tile / SUMMARY * 8, first, ROWS)) return;
        }
    };
    // Queries and gradients, then two sums and what is visible for each query.
    auto begin = [&](int head, u32 tile, int stage) {
        u16* to = stages + stage * STAGE;
        if (head < last) {
            copy_rows<E, N>(to, packed + head * inner, columns * inner, tile, rows, inner);
            copy_rows<E, N>(to + N * E, d_out + head * inner, i64(heads) * inner, tile, rows, inner);
            int i = threadIdx.x;
            u16* beside = to + 2 * N * E;
            if (i < N / 2) {
                // Two rows in 16 bytes.
                int query = tile + 2 * i;
                copy_async(beside + 8 * i, sums + (query < rows ? (head * even + query) * 2 : 0), query < rows ? 16 : 0);
            } else if (i < N / 2 + N) {
                int query = tile + i - N / 2;
                copy_async(beside + 8 * i, intervals + (query < rows ? query * i64(4) : 0), query < rows ? 16 : 0);
            }
        }
        commit_copies();
    };
    int head = group * per_group;
    u32 tile = start;
    seek(head, tile);
    begin(head, tile, 0);
    Mine<E, M, false> keys, values;
    keys.tile = shared;
    values.tile = shared + ROWS * E;
    keys.row = values.row = own;
    float factor = scale * LOG2_E, d_key[M][C / 8][4] = {}, d_value[M][C / 8][4] = {};
    for (int stage = 0; head < last; stage ^= 1) {
        int next_head = head;
        u32 next = tile + N;
        seek(next_head, next);
        // All are done with the other stage.
        __syncthreads();
        begin(next_head, next, stage ^ 1);
        await_copies<1>();
        __syncthreads();
        u16* there = stages + stage * STAGE;
        const u32* beside = reinterpret_cast<const u32*>(there + 2 * N * E);
        const u32* summary = summaries + tile / SUMMARY * 8;
        u32 key = first + own + lane / 4;
        if (has_any(summary, first + own, 16 * M)) {
            bool all = has_all(summary + 4, first + own, 16 * M);
            float p[M][N / 8][4], d[M][N / 8][4];
            keys.template times<N>(p, there);
            values.template times<N>(d, there + N * E);
            UNROLL
            for (int j = 0; j < N / 8; j++) {
                int query = 8 * j + 2 * (lane % 4);
                // Of two queries the logarithm and the change.
                u32 pairs[4], visible[2][4];
                shared_four(pairs, beside + 2 * query);
                for (int k = 0; k < 2 && !all; k++) shared_four(visible[k], beside + 2 * N + 4 * (query + k));
                UNROLL
                for (int m = 0; m < M; m++)
                    UNROLL
                    for (int i = 0; i < 4; i++) {
                        bool sees = all || in_either(visible[i % 2], key + 16 * m + 8 * (i / 2));
                        float logarithm = float_of(pairs[2 * (i % 2)]), change = float_of(pairs[2 * (i % 2) + 1]);
                        p[m][j][i] = sees ? exp2_fast(p[m][j][i] * factor - logarithm) : 0.0f;
                        d[m][j][i] = p[m][j][i] * (d[m][j][i] - change);
                    }
            }
            add_weighted<E, C, M, N>(d_value, p, there + N * E, part * C / 8);
            add_weighted<E, C, M, N>(d_key, d, there, part * C / 8);
        }
        head = next_head;
        tile = next;
    }
    await_copies<0>();
    UNROLL
    for (int m = 0; m < M; m++)
        UNROLL
        for (int i = 0; i < 2; i++) {
            int key = first + own + lane / 4 + 16 * m + 8 * i;
            if (key >= rows) continue;
            UNROLL
            for (int n = 0; n < C / 8; n++) {
                int e = part * C + 8 * n + 2 * (lane % 4);
                if (e >= size) continue;
                const float(&dk)[4] = d_key[m][n], (&dv)[4] = d_value[m][n];
                u16* to = d_packed + key * columns * size + e;
                write_half_pair(to + key_at * size, dk[2 * i] * scale, dk[2 * i + 1] * scale);
                write_half_pair(to + value_at * size, dv[2 * i], dv[2 * i + 1]);
            }
        }
}

#define FORWARD(E, M, N, KEPT)                                                                                         \
    KERNEL_BOUNDED(TILE_THREADS, 2)                                                                                    \
    attention_tiles_##E(int rows, int count, int heads, int key_value_heads, int size, float scale,                    \
                        const u16* queries, int query_stride, const u16* keys_values, int stride,                      \
                        const u32* intervals, const u32* requested, u16* out, float* log_sum_exp) {                    \
        attend_tiles<E, M, N, KEPT>(rows, count, heads, key_value_heads, size, scale, queries, query_stride,           \
                                    keys_values, stride, intervals, requested, out, log_sum_exp);                      \
    }
#define BACKWARD_QUERIES(E, M, N)                                                                                      \
    KERNEL_BOUNDED(TILE_THREADS, 2)                                                                                    \
    attention_backward_queries_tiles_##E(int rows, int heads, int key_value_heads, int size, float scale,              \
                                         const u16* packed, const u32* intervals, const float* sums,                   \
                                         const u16* d_out, u16* d_packed) {                                          \
        backward_query_tiles<E, M, N>(rows, heads, key_value_heads, size, scale, packed, intervals, sums, d_out,       \
                                      d_packed);                                                                       \
    }
#define BACKWARD_KEYS(E, C, M, N)                                                                                      \
    KERNEL_BOUNDED(TILE_THREADS, 2)                                                                                    \
    attention_backward_keys_tiles_##E(int rows, int heads, int key_value_heads, int size, float scale,                 \
                                      const u16* packed, const u32* intervals, const u32* summaries,                   \
                                      const u32* readers, const float* sums, const u16* d_out, u16* d_packed) {      \
        backward_key_tiles<E, C, M, N>(rows, heads, key_value_heads, size, scale, packed, intervals, summaries,        \
                                       readers, sums, d_out, d_packed);                                                \
    }

// Rows of a warp by sixteens, rows of a tile: as in `attention.rs`. By registers: up to 255 for each of 128 threads, so
// that two blocks share a multiprocessor.
FORWARD(64, 2, 64, true)
FORWARD(128, 2, 32, false)
FORWARD(256, 1, 32, false)
BACKWARD_QUERIES(64, 2, 32)
BACKWARD_QUERIES(128, 2, 32)
BACKWARD_QUERIES(256, 1, 16)
BACKWARD_KEYS(64, 64, 2, 32)
BACKWARD_KEYS(128, 128, 1, 32)
BACKWARD_KEYS(256, 128, 1, 16)

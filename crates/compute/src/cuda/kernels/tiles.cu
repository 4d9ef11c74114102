// Attention in bfloat16 by tensor cores, and its gradient: FlashAttention-2 (Dao, 2307.08691, algorithms 1 and 2) over
// visible rows. Factors are rounded to bfloat16, scores, sums and results are f32.
//
// A block has four warps and 64 rows, 16 for each warp; it goes through the other side in tiles of 32 rows that lie in
// shared memory, as they are and transposed, so that both products read pairs of neighbours. Tiles that none of the 64
// rows sees are passed over. Heads are padded with zeros to `E`, 64 or 128. The fragments are those of `multiply_tile`.

#define TILE_ROWS 64
#define TILE 32
#define PAD 8

DEVICE bool in_either(const u32 (&interval)[4], u32 row) {
    return (row >= interval[0] && row < interval[1]) || (row >= interval[2] && row < interval[3]);
}

DEVICE u32 word_at(const u16* place) { return *reinterpret_cast<const u32*>(place); }

// `rows` rows of a matrix from row `first` on into shared memory, `[rows, E + PAD]`; zeros from `end` on and beyond `size`.
template <int E> DEVICE void load_rows(u16* tile, int rows, const float* from, i64 columns, i64 first, i64 end, int size) {
    for (int i = threadIdx.x; i < rows * E; i += blockDim.x) {
        int row = i / E, e = i % E;
        float value = first + row < end && e < size ? from[(first + row) * columns + e] : 0.0f;
        tile[row * (E + PAD) + e] = to_bf16(value);
    }
}

// A tile `[TILE, E + PAD]` transposed: `[E, TILE + PAD]`.
template <int E> DEVICE void transpose(u16* turned, const u16* tile) {
    for (int i = threadIdx.x; i < TILE * E; i += blockDim.x) {
        int row = i % TILE, e = i / TILE;
        turned[e * (TILE + PAD) + row] = tile[row * (E + PAD) + e];
    }
}

// Rows `16 warp..` of a tile `[64, E + PAD]` at columns `16 step..` as the factor A.
template <int E> DEVICE void left_fragment(u32 (&a)[4], const u16* tile, int step) {
    int lane = threadIdx.x % WARP, row = threadIdx.x / WARP * 16 + lane / 4, column = 16 * step + 2 * (lane % 4);
    a[0] = word_at(tile + row * (E + PAD) + column);
    a[1] = word_at(tile + (row + 8) * (E + PAD) + column);
    a[2] = word_at(tile + row * (E + PAD) + column + 8);
    a[3] = word_at(tile + (row + 8) * (E + PAD) + column + 8);
}

// `d[j] = A Bᵀ` for the 16 rows of a warp and the 32 rows of a tile, both `[, E + PAD]`.
template <int E> DEVICE void scores_of(float (&d)[TILE / 8][4], const u16* left, const u16* tile) {
    int lane = threadIdx.x % WARP;
    for (int j = 0; j < TILE / 8; j++)
        for (int i = 0; i < 4; i++) d[j][i] = 0.0f;
    for (int step = 0; step < E / 16; step++) {
        u32 a[4];
        left_fragment<E>(a, left, step);
        for (int j = 0; j < TILE / 8; j++) {
            const u16* place = tile + (8 * j + lane / 4) * (E + PAD) + 16 * step + 2 * (lane % 4);
            u32 b[2] = {word_at(place), word_at(place + 8)};
            multiply_tile(d[j], a, b);
        }
    }
}

// `sum[n] += P tile` for the weights of 16 rows over 32, and a tile transposed, `[E, TILE + PAD]`.
template <int E> DEVICE void add_weighted(float (&sum)[E / 8][4], const float (&p)[TILE / 8][4], const u16* turned) {
    int lane = threadIdx.x % WARP;
    for (int step = 0; step < TILE / 16; step++) {
        const float(&low)[4] = p[2 * step], (&high)[4] = p[2 * step + 1];
        u32 a[4] = {pair_bf16(low[0], low[1]), pair_bf16(low[2], low[3]), pair_bf16(high[0], high[1]),
                    pair_bf16(high[2], high[3])};
        for (int n = 0; n < E / 8; n++) {
            const u16* place = turned + (8 * n + lane / 4) * (TILE + PAD) + 16 * step + 2 * (lane % 4);
            u32 b[2] = {word_at(place), word_at(place + 8)};
            multiply_tile(sum[n], a, b);
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

// What one lane holds of a block's rows: two rows, which it sees, and what all of them see from where to where.
struct Seen {
    i64 place[2]; // where the rows stand among those asked for
    i64 row[2];   // which rows they are
    u32 interval[2][4];
    u32 first, end;
};

DEVICE Seen look(int count, const u32* intervals, const u32* asked) {
    SHARED u32 firsts[TILE_ROWS], ends[TILE_ROWS];
    Seen seen;
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    for (int i = 0; i < 2; i++) {
        seen.place[i] = i64(blockIdx.x) * TILE_ROWS + warp * 16 + lane / 4 + 8 * i;
        bool there = seen.place[i] < count;
        seen.row[i] = !there ? 0 : asked ? asked[seen.place[i]] : seen.place[i];
        u32 first = 0xffffffffu, end = 0;
        for (int part = 0; part < 4; part++) seen.interval[i][part] = there ? intervals[seen.row[i] * 4 + part] : 0;
        for (int part = 0; part < 4; part += 2) {
            u32 from = seen.interval[i][part], to = seen.interval[i][part + 1];
            if (from < to) {
                first = from < first ? from : first;
                end = to > end ? to : end;
            }
        }
        if (lane % 4 == 0) {
            firsts[warp * 16 + lane / 4 + 8 * i] = first;
            ends[warp * 16 + lane / 4 + 8 * i] = end;
        }
    }
    __syncthreads();
    seen.first = 0xffffffffu;
    seen.end = 0;
    for (int i = 0; i < TILE_ROWS; i++) {
        seen.first = firsts[i] < seen.first ? firsts[i] : seen.first;
        seen.end = ends[i] > seen.end ? ends[i] : seen.end;
    }
    seen.first = seen.first / TILE * TILE;
    return seen;
}

// Whether any row of the block sees any of the tile that begins at `start`; all threads have to ask.
DEVICE bool any_sees(const Seen& seen, u32 start) {
    bool sees = false;
    for (int i = 0; i < 2; i++)
        for (int part = 0; part < 4; part += 2) {
            u32 from = seen.interval[i][part], to = seen.interval[i][part + 1];
            sees = sees || (from < to && from < start + TILE && to > start);
        }
    return __syncthreads_or(sees);
}

template <int E>
DEVICE void attend_tiles(int rows, int count, int heads, int key_value_heads, int size, float scale,
                         const float* queries, int query_stride, const float* keys_values, int stride,
                         const u32* intervals, const u32* asked, float* out, float* log_sum_exp) {
    DYNAMIC_SHARED(u16, shared);
    u16 *mine = shared, *keys = mine + TILE_ROWS * (E + PAD), *values = keys + TILE * (E + PAD);
    u16* turned = values + TILE * (E + PAD);
    int lane = threadIdx.x % WARP, head = blockIdx.y, group = head / (heads / key_value_heads);
    i64 columns = stride;
    Seen seen = look(count, intervals, asked);
    for (int i = threadIdx.x; i < TILE_ROWS * E; i += blockDim.x) {
        i64 place = i64(blockIdx.x) * TILE_ROWS + i / E;
        int e = i % E;
        float value = 0.0f;
        if (place < count && e < size) value = queries[place * query_stride + head * size + e];
        mine[i / E * (E + PAD) + e] = to_bf16(value);
    }
    float best[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f}, kept[E / 8][4] = {};
    for (u32 start = seen.first; start < seen.end; start += TILE) {
        if (!any_sees(seen, start)) continue;
        load_rows<E>(keys, TILE, keys_values + i64(group) * size, columns, start, rows, size);
        load_rows<E>(values, TILE, keys_values + i64(key_value_heads + group) * size, columns, start, rows, size);
        __syncthreads();
        transpose<E>(turned, values);
        __syncthreads();
        float p[TILE / 8][4];
        scores_of<E>(p, mine, keys);
        for (int i = 0; i < 2; i++) {
            float largest = best[i];
            for (int j = 0; j < TILE / 8; j++)
                for (int k = 0; k < 2; k++) {
                    u32 key = start + 8 * j + 2 * (lane % 4) + k;
                    float& score = p[j][2 * i + k];
                    score = in_either(seen.interval[i], key) ? score * scale : -INFINITY;
                    largest = fmaxf(largest, score);
                }
            largest = row_max(largest);
            // A row that has seen nothing yet keeps its zeros.
            float base = largest == -INFINITY ? 0.0f : largest, shrink = expf(best[i] - base), added = 0.0f;
            for (int j = 0; j < TILE / 8; j++)
                for (int k = 0; k < 2; k++) {
                    float& weight = p[j][2 * i + k];
                    weight = expf(weight - base);
                    added += weight;
                }
            best[i] = largest;
            sum[i] = sum[i] * shrink + row_sum(added);
            for (int n = 0; n < E / 8; n++)
                for (int k = 0; k < 2; k++) kept[n][2 * i + k] *= shrink;
        }
        add_weighted<E>(kept, p, turned);
        __syncthreads();
    }
    for (int i = 0; i < 2; i++) {
        if (seen.place[i] >= count) continue;
        i64 at = seen.place[i] * heads + head;
        for (int n = 0; n < E / 8; n++)
            for (int k = 0; k < 2; k++) {
                int e = 8 * n + 2 * (lane % 4) + k;
                if (e < size) out[at * size + e] = kept[n][2 * i + k] / sum[i];
            }
        if (log_sum_exp && lane % 4 == 0) log_sum_exp[at] = best[i] + logf(sum[i]);
    }
}

// The gradient of 64 queries.
template <int E>
DEVICE void backward_query_tiles(int rows, int heads, int key_value_heads, int size, float scale, const float* packed,
                                 const u32* intervals, const float* log_sum_exp, const float* delta,
                                 const float* d_out, float* d_packed) {
    DYNAMIC_SHARED(u16, shared);
    u16 *mine = shared, *gradients = mine + TILE_ROWS * (E + PAD), *keys = gradients + TILE_ROWS * (E + PAD);
    u16 *values = keys + TILE * (E + PAD), *turned = values + TILE * (E + PAD);
    int lane = threadIdx.x % WARP, head = blockIdx.y, group = head / (heads / key_value_heads);
    i64 columns = i64(heads + 2 * key_value_heads) * size, first = i64(blockIdx.x) * TILE_ROWS;
    Seen seen = look(rows, intervals, nullptr);
    load_rows<E>(mine, TILE_ROWS, packed + head * size, columns, first, rows, size);
    load_rows<E>(gradients, TILE_ROWS, d_out + head * size, i64(heads) * size, first, rows, size);
    float logarithm[2], change[2], kept[E / 8][4] = {};
    for (int i = 0; i < 2; i++) {
        bool there = seen.place[i] < rows;
        logarithm[i] = there ? log_sum_exp[seen.place[i] * heads + head] : 0.0f;
        change[i] = there ? delta[seen.place[i] * heads + head] : 0.0f;
    }
    for (u32 start = seen.first; start < seen.end; start += TILE) {
        if (!any_sees(seen, start)) continue;
        load_rows<E>(keys, TILE, packed + i64(heads + group) * size, columns, start, rows, size);
        load_rows<E>(values, TILE, packed + i64(heads + key_value_heads + group) * size, columns, start, rows, size);
        __syncthreads();
        transpose<E>(turned, keys);
        __syncthreads();
        float p[TILE / 8][4], d[TILE / 8][4];
        scores_of<E>(p, mine, keys);
        scores_of<E>(d, gradients, values);
        for (int j = 0; j < TILE / 8; j++)
            for (int i = 0; i < 4; i++) {
                u32 key = start + 8 * j + 2 * (lane % 4) + i % 2;
                float weight = in_either(seen.interval[i / 2], key) ? expf(p[j][i] * scale - logarithm[i / 2]) : 0.0f;
                p[j][i] = weight * (d[j][i] - change[i / 2]) * scale;
            }
        add_weighted<E>(kept, p, turned);
        __syncthreads();
    }
    for (int i = 0; i < 4; i++) {
        if (seen.place[i / 2] >= rows) continue;
        for (int n = 0; n < E / 8; n++) {
            int e = 8 * n + 2 * (lane % 4) + i % 2;
            if (e < size) d_packed[seen.place[i / 2] * columns + head * size + e] = kept[n][i];
        }
    }
}

// The gradients of 64 keys and their values: rows are keys, tiles are queries.
template <int E>
DEVICE void backward_key_tiles(int rows, int heads, int key_value_heads, int size, float scale, const float* packed,
                               const u32* intervals, const u32* readers, const float* log_sum_exp, const float* delta,
                               const float* d_out, float* d_packed) {
    DYNAMIC_SHARED(u16, shared);
    u16 *keys = shared, *values = keys + TILE_ROWS * (E + PAD), *queries = values + TILE_ROWS * (E + PAD);
    u16 *gradients = queries + TILE * (E + PAD), *turned = gradients + TILE * (E + PAD);
    u16* turned_gradients = turned + E * (TILE + PAD);
    SHARED u32 seeing[TILE][4];
    SHARED float logarithms[TILE], changes[TILE];
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, group = blockIdx.y, per_group = heads / key_value_heads;
    i64 columns = i64(heads + 2 * key_value_heads) * size, first_key = i64(blockIdx.x) * TILE_ROWS;
    i64 key_at = i64(heads + group) * size, value_at = i64(heads + key_value_heads + group) * size;
    load_rows<E>(keys, TILE_ROWS, packed + key_at, columns, first_key, rows, size);
    load_rows<E>(values, TILE_ROWS, packed + value_at, columns, first_key, rows, size);
    u32 first = 0xffffffffu, end = 0;
    for (int i = 0; i < TILE_ROWS && first_key + i < rows; i++) {
        u32 from = readers[(first_key + i) * 2], to = readers[(first_key + i) * 2 + 1];
        if (from < to) {
            first = from < first ? from : first;
            end = to > end ? to : end;
        }
    }
    float d_key[E / 8][4] = {}, d_value[E / 8][4] = {};
    for (int head = group * per_group; head < (group + 1) * per_group; head++) {
        for (u32 start = first / TILE * TILE; start < end; start += TILE) {
            bool sees = false;
            if (threadIdx.x < TILE) {
                i64 query = start + threadIdx.x;
                bool there = query < rows;
                for (int part = 0; part < 4; part++) {
                    u32 bound = there ? intervals[query * 4 + part] : 0;
                    seeing[threadIdx.x][part] = bound;
                    if (part % 2 == 1) {
                        u32 from = seeing[threadIdx.x][part - 1];
                        sees = sees || (from < bound && from < first_key + TILE_ROWS && bound > first_key);
                    }
                }
                logarithms[threadIdx.x] = there ? log_sum_exp[query * heads + head] : 0.0f;
                changes[threadIdx.x] = there ? delta[query * heads + head] : 0.0f;
            }
            if (!__syncthreads_or(sees)) continue;
            load_rows<E>(queries, TILE, packed + head * size, columns, start, rows, size);
            load_rows<E>(gradients, TILE, d_out + head * size, i64(heads) * size, start, rows, size);
            __syncthreads();
            transpose<E>(turned, queries);
            transpose<E>(turned_gradients, gradients);
            __syncthreads();
            float p[TILE / 8][4], d[TILE / 8][4];
            scores_of<E>(p, keys, queries);
            scores_of<E>(d, values, gradients);
            for (int j = 0; j < TILE / 8; j++)
                for (int i = 0; i < 4; i++) {
                    int query = 8 * j + 2 * (lane % 4) + i % 2;
                    u32 key = u32(first_key) + warp * 16 + lane / 4 + 8 * (i / 2);
                    p[j][i] = in_either(seeing[query], key) ? expf(p[j][i] * scale - logarithms[query]) : 0.0f;
                    d[j][i] = p[j][i] * (d[j][i] - changes[query]) * scale;
                }
            add_weighted<E>(d_value, p, turned_gradients);
            add_weighted<E>(d_key, d, turned);
            __syncthreads();
        }
    }
    for (int i = 0; i < 4; i++) {
        i64 key = first_key + warp * 16 + lane / 4 + 8 * (i / 2);
        if (key >= rows) continue;
        for (int n = 0; n < E / 8; n++) {
            int e = 8 * n + 2 * (lane % 4) + i % 2;
            if (e >= size) continue;
            d_packed[key * columns + key_at + e] = d_key[n][i];
            d_packed[key * columns + value_at + e] = d_value[n][i];
        }
    }
}

#define ATTENTION_KERNELS(E)                                                                                           \
    KERNEL attention_tiles_##E(int rows, int count, int heads, int key_value_heads, int size, float scale,             \
                               const float* queries, int query_stride, const float* keys_values, int stride,           \
                               const u32* intervals, const u32* asked, float* out, float* log_sum_exp) {               \
        attend_tiles<E>(rows, count, heads, key_value_heads, size, scale, queries, query_stride, keys_values, stride,  \
                        intervals, asked, out, log_sum_exp);                                                           \
    }                                                                                                                  \
    KERNEL attention_backward_queries_tiles_##E(                                                                       \
        int rows, int heads, int key_value_heads, int size, float scale, const float* packed, const u32* intervals,    \
        const float* log_sum_exp, const float* delta, const float* d_out, float* d_packed) {                           \
        backward_query_tiles<E>(rows, heads, key_value_heads, size, scale, packed, intervals, log_sum_exp, delta,     \
                                d_out, d_packed);                                                                      \
    }                                                                                                                  \
    KERNEL attention_backward_keys_tiles_##E(                                                                          \
        int rows, int heads, int key_value_heads, int size, float scale, const float* packed, const u32* intervals,    \
        const u32* readers, const float* log_sum_exp, const float* delta, const float* d_out, float* d_packed) {       \
        backward_key_tiles<E>(rows, heads, key_value_heads, size, scale, packed, intervals, readers, log_sum_exp,     \
                              delta, d_out, d_packed);                                                                 \
    }

ATTENTION_KERNELS(64)
ATTENTION_KERNELS(128)

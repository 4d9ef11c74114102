// Attention in f32 over visible rows, and its gradient without the probabilities kept: one warp for one row and head.
//
// FlashAttention-2 (Dao, 2307.08691, algorithms 1 and 2): a running maximum and sum going forward, `exp(s − lse)` going
// back. `intervals` holds two half-open intervals of visible rows for each row: `[T, 4]`.

// Head sizes up to 256: each lane keeps so many elements of a head.
#define PER_LANE 8

DEVICE float dot_of(int size, const float* a, const float* b) {
    float sum = 0.0f;
    for (int e = 0; e < size; e++) sum += a[e] * b[e];
    return sum;
}

DEVICE bool sees(const u32* interval, u32 row) {
    return (row >= interval[0] && row < interval[1]) || (row >= interval[2] && row < interval[3]);
}

// `rows` says which row each query is, or is null where they are all; queries, and keys with values, are `query_stride`
// and `stride` apart; `log_sum_exp` may be null.
KERNEL attention(int count, int heads, int key_value_heads, int size, float scale, const float* queries,
                 int query_stride, const float* keys_values, int stride, const u32* intervals, const u32* rows,
                 float* out, float* log_sum_exp) {
    DYNAMIC_SHARED(float, shared);
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, head = blockIdx.y;
    i64 asked = i64(blockIdx.x) * (blockDim.x / WARP) + warp;
    if (asked >= count) return;
    i64 row = rows ? rows[asked] : asked, columns = stride;
    int group = head / (heads / key_value_heads);
    const float* keys = keys_values + i64(group) * size;
    const float* values = keys_values + i64(key_value_heads + group) * size;
    float* query = shared + warp * size;
    for (int e = lane; e < size; e += WARP) query[e] = queries[asked * query_stride + head * size + e];
    __syncwarp();
    float best = -INFINITY, sum = 0.0f, kept[PER_LANE] = {};
    for (int part = 0; part < 2; part++) {
        u32 end = intervals[row * 4 + 2 * part + 1];
        for (u32 start = intervals[row * 4 + 2 * part]; start < end; start += WARP) {
            u32 key = start + lane;
            float score = key < end ? dot_of(size, query, keys + key * columns) * scale : -INFINITY;
            float next = fmaxf(best, warp_max(score)), shrink = expf(best - next);
            float weight = key < end ? expf(score - next) : 0.0f;
            sum = sum * shrink + warp_sum(weight);
            best = next;
            for (int i = 0; i < PER_LANE; i++) kept[i] *= shrink;
            for (u32 j = 0; j < WARP && start + j < end; j++) {
                float p = __shfl_sync(ALL_LANES, weight, j);
                const float* value = values + (start + j) * columns;
                for (int i = 0, e = lane; e < size; i++, e += WARP) kept[i] += p * value[e];
            }
        }
    }
    for (int i = 0, e = lane; e < size; i++, e += WARP) out[(asked * heads + head) * size + e] = kept[i] / sum;
    if (log_sum_exp && lane == 0) log_sum_exp[asked * heads + head] = best + logf(sum);
}

// `δ = Σ_e g_e o_e` for each row and head; one warp each.
KERNEL attention_delta(i64 count, int size, const float* out, const float* d_out, float* delta) {
    i64 at = element_index() / WARP;
    int lane = threadIdx.x % WARP;
    if (at >= count) return;
    float sum = 0.0f;
    for (int e = lane; e < size; e += WARP) sum += out[at * size + e] * d_out[at * size + e];
    sum = warp_sum(sum);
    if (lane == 0) delta[at] = sum;
}

// The gradient of the queries.
KERNEL attention_backward_queries(int count, int heads, int key_value_heads, int size, float scale,
                                  const float* packed, const u32* intervals, const float* log_sum_exp,
                                  const float* delta, const float* d_out, float* d_packed) {
    DYNAMIC_SHARED(float, shared);
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, head = blockIdx.y;
    i64 row = i64(blockIdx.x) * (blockDim.x / WARP) + warp;
    if (row >= count) return;
    i64 columns = i64(heads + 2 * key_value_heads) * size;
    int group = head / (heads / key_value_heads);
    const float* keys = packed + i64(heads + group) * size;
    const float* values = packed + i64(heads + key_value_heads + group) * size;
    float* query = shared + warp * 2 * size;
    float* gradient = query + size;
    for (int e = lane; e < size; e += WARP) {
        query[e] = packed[row * columns + head * size + e];
        gradient[e] = d_out[(row * heads + head) * size + e];
    }
    __syncwarp();
    float logarithm = log_sum_exp[row * heads + head], change = delta[row * heads + head], kept[PER_LANE] = {};
    for (int part = 0; part < 2; part++) {
        u32 end = intervals[row * 4 + 2 * part + 1];
        for (u32 start = intervals[row * 4 + 2 * part]; start < end; start += WARP) {
            u32 key = start + lane;
            float d_score = 0.0f;
            if (key < end) {
                float p = expf(dot_of(size, query, keys + key * columns) * scale - logarithm);
                d_score = p * (dot_of(size, gradient, values + key * columns) - change) * scale;
            }
            for (u32 j = 0; j < WARP && start + j < end; j++) {
                float d = __shfl_sync(ALL_LANES, d_score, j);
                const float* other = keys + (start + j) * columns;
                for (int i = 0, e = lane; e < size; i++, e += WARP) kept[i] += d * other[e];
            }
        }
    }
    for (int i = 0, e = lane; e < size; i++, e += WARP) d_packed[row * columns + head * size + e] = kept[i];
}

// The gradients of a key and its value; `readers` holds for each row the half-open interval of rows within which all
// are that see it: `[T, 2]`.
KERNEL attention_backward_keys(int count, int heads, int key_value_heads, int size, float scale, const float* packed,
                               const u32* intervals, const u32* readers, const float* log_sum_exp,
                               const float* delta, const float* d_out, float* d_packed) {
    DYNAMIC_SHARED(float, shared);
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, group = blockIdx.y;
    i64 row = i64(blockIdx.x) * (blockDim.x / WARP) + warp;
    if (row >= count) return;
    i64 columns = i64(heads + 2 * key_value_heads) * size;
    i64 key_at = row * columns + i64(heads + group) * size;
    i64 value_at = row * columns + i64(heads + key_value_heads + group) * size;
    float* key = shared + warp * 2 * size;
    float* value = key + size;
    for (int e = lane; e < size; e += WARP) {
        key[e] = packed[key_at + e];
        value[e] = packed[value_at + e];
    }
    __syncwarp();
    float d_key[PER_LANE] = {}, d_value[PER_LANE] = {};
    int per_group = heads / key_value_heads;
    for (int head = group * per_group; head < (group + 1) * per_group; head++) {
        u32 end = readers[row * 2 + 1];
        for (u32 start = readers[row * 2]; start < end; start += WARP) {
            i64 other = start + lane;
            float p = 0.0f, d_score = 0.0f;
            if (other < end && sees(intervals + other * 4, u32(row))) {
                const float* gradient = d_out + (other * heads + head) * size;
                p = expf(dot_of(size, packed + other * columns + head * size, key) * scale -
                         log_sum_exp[other * heads + head]);
                d_score = p * (dot_of(size, gradient, value) - delta[other * heads + head]) * scale;
            }
            for (u32 j = 0; j < WARP && start + j < end; j++) {
                float weight = __shfl_sync(ALL_LANES, p, j), d = __shfl_sync(ALL_LANES, d_score, j);
                const float* query = packed + (start + j) * columns + head * size;
                const float* gradient = d_out + (i64(start + j) * heads + head) * size;
                for (int i = 0, e = lane; e < size; i++, e += WARP) {
                    d_key[i] += d * query[e];
                    d_value[i] += weight * gradient[e];
                }
            }
        }
    }
    for (int i = 0, e = lane; e < size; i++, e += WARP) {
        d_packed[key_at + e] = d_key[i];
        d_packed[value_at + e] = d_value[i];
    }
}

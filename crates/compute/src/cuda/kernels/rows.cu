// Rows of matrices: choosing them, norms, rotary positions, and sums over rows.

KERNEL gather(i64 count, int columns, const float* table, const u16* table_image, const u32* ids, float* out,
              u16* image) {
    i64 i = element_index();
    if (i < count) put(out, image, i, get(table, table_image, i64(ids[i / columns]) * columns + i % columns));
}

// `table[ids[k]] = rows[sources[k]]`; the host has dropped all but the last of equal ids. Rows are `stride` apart.
KERNEL write_rows(i64 count, int columns, const float* rows, const u16* rows_image, int stride, const u32* sources,
                  const u32* ids, float* table) {
    i64 i = element_index();
    if (i >= count) return;
    i64 k = i / columns, column = i % columns;
    table[i64(ids[k]) * columns + column] = get(rows, rows_image, i64(sources[k]) * stride + column);
}

// `out[i] = scales[i] (weights[i] vectors[tokens[i]] + offsets[i])`, and 0 where `scales[i]` is 0.
KERNEL scaled_points(i64 count, int size, const float* vectors, const u32* tokens, const float* weights,
                     const float* offsets, const float* scales, float* out) {
    i64 i = element_index();
    if (i >= count) return;
    i64 row = i / size;
    float point = weights[row] * vectors[i64(tokens[row]) * size + i % size] + offsets[i];
    out[i] = scales[row] == 0.0f ? 0.0f : scales[row] * point;
}

// Sums over rows with equal ids. The host has cut each id's rows into pieces, so that no two blocks add to one place, sums
// do not depend on which is first, and no thread has many rows: piece p has the rows `rows[ends[p - 1]..ends[p]]` of
// `d_out`, in that order. The first `split` pieces are parts of longer sums, and go to `partial[p]`, whose rows the next
// launch adds up; of all others `d_table[ids[p]] += Σ`.
KERNEL scatter_add(int columns, int split, const u32* rows, const u32* ends, const u32* ids, const float* d_out,
                   float* partial, float* d_table) {
    int column = blockIdx.y * blockDim.x + threadIdx.x, piece = blockIdx.x;
    if (column >= columns) return;
    u32 first = piece == 0 ? 0 : ends[piece - 1], end = ends[piece];
    float sum = 0.0f;
    for (u32 i = first; i < end; i++) sum += d_out[i64(rows[i]) * columns + column];
    if (piece < split) {
        partial[i64(piece) * columns + column] = sum;
    } else {
        d_table[i64(ids[piece]) * columns + column] += sum;
    }
}

// `partial[p, c] = Σ` of a part of the rows of `x`.
KERNEL sum_rows(int rows, int columns, const float* x, const u16* x_image, float* partial) {
    int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    float sum = 0.0f;
    for (int row = blockIdx.y; row < rows; row += gridDim.y) sum += get(x, x_image, i64(row) * columns + column);
    partial[i64(blockIdx.y) * columns + column] = sum;
}

// `out[c] += Σ_p partial[p, c]`, the rows of which are `stride` apart: a lane for each column in each warp of a block, which
// adds up every so many-th part.
KERNEL add_partial(int parts, int columns, int stride, const float* partial, float* out) {
    int column = blockIdx.x * WARP + threadIdx.x % WARP;
    float sum = 0.0f;
    if (column < columns)
        for (int part = threadIdx.x / WARP; part < parts; part += blockDim.x / WARP)
            sum += partial[i64(part) * stride + column];
    sum = sum_of_warps(sum);
    if (int(threadIdx.x) < WARP && column < columns) out[column] += sum;
}

// One block for each row.
KERNEL rms_norm(int columns, float epsilon, const float* x, const float* weight, float* out, u16* image,
                float* inverse_rms) {
    i64 row = blockIdx.x, first = row * columns;
    x += first;
    float squares = 0.0f;
    for (int c = threadIdx.x; c < columns; c += blockDim.x) squares += x[c] * x[c];
    float inverse = 1.0f / sqrtf(block_sum(squares) / columns + epsilon);
    for (int c = threadIdx.x; c < columns; c += blockDim.x)
        put(out, image, first + c, x[c] * inverse * (weight ? weight[c] : 1.0f));
    if (threadIdx.x == 0) inverse_rms[row] = inverse;
}

KERNEL rms_norm_backward(int columns, const float* x, const float* weight, const float* inverse_rms,
                         const float* d_out, int accumulate, float* d_x, u16* image) {
    i64 row = blockIdx.x, first = row * columns;
    x += first;
    d_out += first;
    float product = 0.0f;
    for (int c = threadIdx.x; c < columns; c += blockDim.x) product += d_out[c] * (weight ? weight[c] : 1.0f) * x[c];
    float inverse = inverse_rms[row];
    float pull = inverse * inverse * inverse * block_sum(product) / columns;
    for (int c = threadIdx.x; c < columns; c += blockDim.x) {
        float gradient = inverse * d_out[c] * (weight ? weight[c] : 1.0f) - pull * x[c];
        put(d_x, image, first + c, accumulate ? d_x[first + c] + gradient : gradient);
    }
}

// `partial[p, c] = Σ d_out x r` of a part of the rows.
KERNEL rms_norm_backward_weight(int rows, int columns, const float* x, const float* inverse_rms, const float* d_out,
                                float* partial) {
    int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    float sum = 0.0f;
    for (int row = blockIdx.y; row < rows; row += gridDim.y) {
        i64 at = i64(row) * columns + column;
        sum += d_out[at] * x[at] * inverse_rms[row];
    }
    partial[i64(blockIdx.y) * columns + column] = sum;
}

// One block for each row; `moments` are the mean and the inverse deviation of each.
KERNEL layer_norm(int columns, float epsilon, const float* x, const float* weight, float* out, float* moments) {
    i64 row = blockIdx.x;
    x += row * columns;
    out += row * columns;
    float total = 0.0f;
    for (int c = threadIdx.x; c < columns; c += blockDim.x) total += x[c];
    float mean = block_sum(total) / columns, squares = 0.0f;
    for (int c = threadIdx.x; c < columns; c += blockDim.x) squares += (x[c] - mean) * (x[c] - mean);
    float inverse = 1.0f / sqrtf(block_sum(squares) / columns + epsilon);
    for (int c = threadIdx.x; c < columns; c += blockDim.x) out[c] = (x[c] - mean) * inverse * weight[c];
    if (threadIdx.x == 0) {
        moments[2 * row] = mean;
        moments[2 * row + 1] = inverse;
    }
}

KERNEL layer_norm_backward(int columns, const float* x, const float* weight, const float* moments,
                           const float* d_out, int accumulate, float* d_x) {
    i64 row = blockIdx.x;
    x += row * columns;
    d_out += row * columns;
    d_x += row * columns;
    float mean = moments[2 * row], inverse = moments[2 * row + 1], shift = 0.0f, pull = 0.0f;
    for (int c = threadIdx.x; c < columns; c += blockDim.x) {
        float gradient = d_out[c] * weight[c];
        shift += gradient;
        pull += gradient * (x[c] - mean) * inverse;
    }
    shift = block_sum(shift) / columns;
    pull = block_sum(pull) / columns;
    for (int c = threadIdx.x; c < columns; c += blockDim.x) {
        float gradient = inverse * (d_out[c] * weight[c] - shift - (x[c] - mean) * inverse * pull);
        d_x[c] = accumulate ? d_x[c] + gradient : gradient;
    }
}

// `partial[p, c] = Σ d_out (x − mean) r` of a part of the rows.
KERNEL layer_norm_backward_weight(int rows, int columns, const float* x, const float* moments, const float* d_out,
                                  float* partial) {
    int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    float sum = 0.0f;
    for (int row = blockIdx.y; row < rows; row += gridDim.y) {
        i64 at = i64(row) * columns + column;
        sum += d_out[at] * (x[at] - moments[2 * row]) * moments[2 * row + 1];
    }
    partial[i64(blockIdx.y) * columns + column] = sum;
}

// Cosine and sine of a pair of a row, whose place has an index for each of `axes`; pairs belong to the axes in turn.
DEVICE const float* turn_of(const float* table, int turned, const u32* place, int axes, int pair) {
    int axis = axes > 1 ? pair % axes : 0;
    return table + i64(place[axis]) * turned + 2 * pair;
}

// Lanes that share a head of a row: two heads are under way in each warp, so that it waits for memory once for both.
#define HEAD_LANES 16
// The sum over them, in each; all lanes of a warp have to come here.
DEVICE float head_sum(float value) {
    for (int offset = HEAD_LANES / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(ALL_LANES, value, offset);
    return value;
}

// The heads of all rows, one after another. `turned` columns of a head are in pairs; `positions` are `[T, axes]`; `table`
// holds cosine and sine, `[positions, turned/2, 2]`, and `query_factors`, where they are, what queries are multiplied by,
// `[positions]`.
KERNEL_BOUNDED(256, 4) rope(int rows, int heads, int key_value_heads, int size, int turned, int axes, float epsilon,
            int value_norm, const u32* positions, const float* table, const float* query_factors, const float* packed,
            const float* query_norm, const float* key_norm, float* out, u16* image) {
    int lane = threadIdx.x % HEAD_LANES, half = turned / 2, all = heads + 2 * key_value_heads;
    u32 item = blockIdx.x * (blockDim.x / HEAD_LANES) + threadIdx.x / HEAD_LANES;
    bool there = item < u32(rows) * all;
    if (!there) item = 0;
    int row = item / all, head = item % all;
    i64 first = i64(item) * size;
    const float* x = packed + first;
    float squares = 0.0f;
    for (int e = lane; e < size; e += HEAD_LANES) squares += x[e] * x[e];
    squares = head_sum(squares);
    // What has no head of its own only takes part in the sum.
    if (!there) return;
    bool value = head >= heads + key_value_heads;
    const float* weight = value ? nullptr : head < heads ? query_norm : key_norm;
    float inverse = weight || (value && value_norm) ? 1.0f / sqrtf(squares / size + epsilon) : 1.0f;
    const u32* place = positions + i64(row) * axes;
    float factor = query_factors && head < heads ? query_factors[place[0]] : 1.0f;
    int pairs = value ? 0 : half, behind = value ? 0 : turned;
    for (int pair = lane; pair < pairs; pair += HEAD_LANES) {
        float a = x[pair] * inverse * (weight ? weight[pair] : 1.0f);
        float b = x[pair + half] * inverse * (weight ? weight[pair + half] : 1.0f);
        const float* turn = turn_of(table, turned, place, axes, pair);
        float cosine = turn[0], sine = turn[1];
        put(out, image, first + pair, (a * cosine - b * sine) * factor);
        put(out, image, first + pair + half, (a * sine + b * cosine) * factor);
    }
    for (int e = behind + lane; e < size; e += HEAD_LANES)
        put(out, image, first + e, x[e] * inverse * (weight ? weight[e] : 1.0f) * factor);
}

// As above, but that the blocks take the heads of all rows in turn. Where there is a `partial`, `[blocks, 2, size]`, it
// receives what each block knows of the gradients of both norms' weights, `Σ turned gradient · x / rms`: the lanes of a
// head add up theirs in shared memory, `[blockDim / HEAD_LANES, 2, size]`, where each has columns of its own, and then
// the block does, in order.
KERNEL_BOUNDED(256, 4) rope_backward(int rows, int heads, int key_value_heads, int size, int turned, int axes,
                     float epsilon, int value_norm, const u32* positions, const float* table,
                     const float* query_factors, const float* packed, const float* query_norm, const float* key_norm,
                     const float* d_out, const u16* d_out_image, float* d_packed, u16* image, float* partial) {
    DYNAMIC_SHARED(float, sums);
    int lane = threadIdx.x % HEAD_LANES, teams = blockDim.x / HEAD_LANES, team = threadIdx.x / HEAD_LANES;
    int half = turned / 2, all = heads + 2 * key_value_heads;
    float* own = sums + team * 2 * size;
    for (int e = lane; partial && e < 2 * size; e += HEAD_LANES) own[e] = 0.0f;
    __syncwarp();
    u32 items = u32(rows) * all;
    // Both heads of a warp go on while the first is there.
    for (u32 pair_item = blockIdx.x * teams + team / 2 * 2; pair_item < items; pair_item += gridDim.x * teams) {
        u32 item = pair_item + team % 2;
        bool there = item < items;
        if (!there) item = pair_item;
        int row = item / all, head = item % all;
        const u32* place = positions + i64(row) * axes;
        i64 first = i64(item) * size;
        const float* x = packed + first;
        auto g = [&](int e) { return get(d_out, d_out_image, first + e); };
        bool value = head >= heads + key_value_heads;
        const float* weight = value ? nullptr : head < heads ? query_norm : key_norm;
        int pairs = value ? 0 : half, behind = value ? 0 : turned;
        float factor = query_factors && head < heads ? query_factors[place[0]] : 1.0f;
        float inverse = 1.0f, pull = 0.0f;
        bool normed = weight || (value && value_norm);
        if (query_norm || value_norm) {
            float squares = 0.0f, product = 0.0f;
            for (int pair = lane; pair < pairs && normed; pair += HEAD_LANES) {
                const float* turn = turn_of(table, turned, place, axes, pair);
                float cosine = turn[0], sine = turn[1];
                float a = (g(pair) * cosine + g(pair + half) * sine) * factor;
                float b = (g(pair + half) * cosine - g(pair) * sine) * factor;
                squares += x[pair] * x[pair] + x[pair + half] * x[pair + half];
                product += a * weight[pair] * x[pair] + b * weight[pair + half] * x[pair + half];
            }
            for (int e = behind + lane; e < size && normed; e += HEAD_LANES) {
                squares += x[e] * x[e];
                product += g(e) * factor * (weight ? weight[e] : 1.0f) * x[e];
            }
            squares = head_sum(squares);
            product = head_sum(product);
            if (normed) {
                inverse = 1.0f / sqrtf(squares / size + epsilon);
                pull = inverse * inverse * inverse * product / size;
            }
        }
        if (!there) continue;
        float* sum = partial && !value ? own + (head < heads ? 0 : size) : nullptr;
        for (int pair = lane; pair < pairs; pair += HEAD_LANES) {
            const float* turn = turn_of(table, turned, place, axes, pair);
            float cosine = turn[0], sine = turn[1];
            float a = (g(pair) * cosine + g(pair + half) * sine) * factor;
            float b = (g(pair + half) * cosine - g(pair) * sine) * factor;
            float low = x[pair], high = x[pair + half];
            if (sum) {
                sum[pair] += a * low * inverse;
                sum[pair + half] += b * high * inverse;
            }
            put(d_packed, image, first + pair, inverse * a * (weight ? weight[pair] : 1.0f) - pull * low);
            put(d_packed, image, first + pair + half, inverse * b * (weight ? weight[pair + half] : 1.0f) - pull * high);
        }
        for (int e = behind + lane; e < size; e += HEAD_LANES) {
            float a = g(e) * factor;
            if (sum) sum[e] += a * x[e] * inverse;
            put(d_packed, image, first + e, inverse * a * (weight ? weight[e] : 1.0f) - pull * x[e]);
        }
    }
    if (!partial) return;
    __syncthreads();
    for (int e = threadIdx.x; e < 2 * size; e += blockDim.x) {
        float sum = 0.0f;
        for (int i = 0; i < teams; i++) sum += sums[i * 2 * size + e];
        partial[i64(blockIdx.x) * 2 * size + e] = sum;
    }
}

// `partial[m, b] = Σ x²` of a part of the `count` elements of each matrix, in f64; `blockIdx.y` is the matrix.
KERNEL sum_of_squares(i64 count, const float* x, double* partial) {
    SHARED double parts[256];
    double sum = 0.0;
    x += i64(blockIdx.y) * count;
    for (i64 i = element_index(); i < count; i += i64(gridDim.x) * blockDim.x) sum += double(x[i]) * double(x[i]);
    parts[threadIdx.x] = sum;
    __syncthreads();
    for (int width = blockDim.x / 2; width > 0; width /= 2) {
        if (int(threadIdx.x) < width) parts[threadIdx.x] += parts[threadIdx.x + width];
        __syncthreads();
    }
    if (threadIdx.x == 0) partial[blockIdx.y * gridDim.x + blockIdx.x] = parts[0];
}

// `partial[b] = Σ x²` of a part of a segment, `x`, in f64, for each block.
KERNEL sums_of_squares(int segments, const i64* table, double* partial) {
    i64 first, step;
    const i64* segment = segment_of(segments, 3, table, first, step);
    const float* x = pointer_of<const float>(segment[2]);
    double sum = 0.0;
    for (i64 i = first; i < segment[1]; i += step) sum += double(x[i]) * double(x[i]);
    sum = block_total(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// Each matrix of `count` elements divided by its norm; `partial` as above, of as many parts as there are blocks here.
// `blockIdx.y` is the matrix.
KERNEL divide_by_norm(i64 count, float epsilon, const double* partial, float* x, u16* image) {
    double squares = block_total(threadIdx.x < gridDim.x ? partial[blockIdx.y * gridDim.x + threadIdx.x] : 0.0);
    float factor = float(1.0 / (sqrt(squares) + epsilon));
    i64 first = i64(blockIdx.y) * count;
    for (i64 i = element_index(); i < count; i += i64(gridDim.x) * blockDim.x)
        put(x, image, first + i, x[first + i] * factor);
}

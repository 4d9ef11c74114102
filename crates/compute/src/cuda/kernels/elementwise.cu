// One thread for one element: roundings, gates, activations, modulation.

KERNEL round_to_bf16(i64 count, const float* x, u16* out) {
    i64 i = element_index();
    if (i < count) out[i] = to_bf16(x[i]);
}

KERNEL widen_bf16(i64 count, const u16* x, float* out) {
    i64 i = element_index();
    if (i < count) out[i] = from_bf16(x[i]);
}

KERNEL copy_bf16(i64 count, const u16* x, u16* out) {
    i64 i = element_index();
    if (i < count) out[i] = x[i];
}

// A gate goes through SiLU, or with `geglu` through GELU.
KERNEL glu(i64 count, int geglu, int width, const float* gate_up, float* out, u16* image) {
    i64 i = element_index();
    if (i >= count) return;
    i64 row = i / width, column = i % width;
    float gate = gate_up[row * 2 * width + column], up = gate_up[row * 2 * width + width + column];
    put(out, image, i, gate * (geglu ? gelu_gate(gate) : sigmoid(gate)) * up);
}

KERNEL glu_halves(i64 count, int geglu, const float* gate, const float* up, float* out, u16* image) {
    i64 i = element_index();
    if (i < count) put(out, image, i, gate[i] * (geglu ? gelu_gate(gate[i]) : sigmoid(gate[i])) * up[i]);
}

KERNEL glu_backward(i64 count, int geglu, int width, const float* gate_up, const float* d_out, float* d_gate_up,
                    u16* image) {
    i64 i = element_index();
    if (i >= count) return;
    i64 at = (i / width) * 2 * width + i % width;
    float gate = gate_up[at], up = gate_up[at + width], gradient = d_out[i];
    put(d_gate_up, image, at, gradient * up * (geglu ? gelu_slope(gate) : silu_slope(gate)));
    put(d_gate_up, image, at + width, gradient * gate * (geglu ? gelu_gate(gate) : sigmoid(gate)));
}

KERNEL silu(i64 count, const float* x, float* out) {
    i64 i = element_index();
    if (i < count) out[i] = x[i] * sigmoid(x[i]);
}

KERNEL silu_backward(i64 count, const float* x, const float* d_out, float* d_x) {
    i64 i = element_index();
    if (i < count) d_x[i] = d_out[i] * silu_slope(x[i]);
}

KERNEL gelu(i64 count, const float* x, float* out, u16* image) {
    i64 i = element_index();
    if (i < count) put(out, image, i, x[i] * gelu_gate(x[i]));
}

KERNEL gelu_backward(i64 count, const float* x, const float* d_out, float* d_x, u16* image) {
    i64 i = element_index();
    if (i < count) put(d_x, image, i, d_out[i] * gelu_slope(x[i]));
}

KERNEL round_to_levels(i64 count, int columns, const u32* levels, const float* x, float* out) {
    i64 i = element_index();
    if (i >= count) return;
    float last = float(levels[i % columns]) - 1.0f;
    out[i] = 2.0f * floorf(last * sigmoid(2.0f * x[i]) + 0.5f) / last - 1.0f;
}

KERNEL round_to_levels_backward(i64 count, const float* x, const float* d_out, float* d_x) {
    i64 i = element_index();
    if (i >= count) return;
    float share = sigmoid(2.0f * x[i]);
    d_x[i] = d_out[i] * 4.0f * share * (1.0f - share);
}

KERNEL modulate(i64 count, int columns, const u32* group_of_row, int stride, int shift, int scale, const float* x,
                const u16* x_image, const float* modulation, float* out, u16* image) {
    i64 i = element_index();
    if (i >= count) return;
    const float* group = modulation + i64(group_of_row[i / columns]) * stride;
    int column = i % columns;
    put(out, image, i, get(x, x_image, i) * (1.0f + group[scale + column]) + group[shift + column]);
}

KERNEL modulate_backward(i64 count, int columns, const u32* group_of_row, int stride, int scale,
                         const float* modulation, const float* d_out, float* d_x) {
    i64 i = element_index();
    if (i >= count) return;
    d_x[i] = d_out[i] * (1.0f + modulation[i64(group_of_row[i / columns]) * stride + scale + i % columns]);
}

// `d_modulation[g, shift] += Σ d_out`, `d_modulation[g, scale] += Σ d_out x` over the rows of a group, in their order:
// one column of blocks for each group, whose rows are `rows[ends[g - 1]..ends[g]]`. A negative shift is left out, and
// then the sum is `Σ d_out x`: the gradient of a gate.
KERNEL modulation_backward(int columns, const u32* rows, const u32* ends, const u32* groups, int stride, int shift,
                           int scale, const float* x, const float* d_out, float* d_modulation) {
    int column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    u32 first = blockIdx.x == 0 ? 0 : ends[blockIdx.x - 1], end = ends[blockIdx.x];
    float sum = 0.0f, product = 0.0f;
    for (u32 i = first; i < end; i++) {
        i64 at = i64(rows[i]) * columns + column;
        sum += d_out[at];
        product += d_out[at] * x[at];
    }
    float* group = d_modulation + i64(groups[blockIdx.x]) * stride;
    if (shift >= 0) group[shift + column] += sum;
    group[scale + column] += product;
}

KERNEL gated_add(i64 count, int columns, const u32* group_of_row, int stride, int offset, const float* x,
                 const float* modulation, float* residual) {
    i64 i = element_index();
    if (i >= count) return;
    residual[i] += modulation[i64(group_of_row[i / columns]) * stride + offset + i % columns] * x[i];
}

KERNEL gated_add_backward(i64 count, int columns, const u32* group_of_row, int stride, int offset,
                          const float* modulation, const float* d_out, float* d_x, u16* image) {
    i64 i = element_index();
    if (i >= count) return;
    put(d_x, image, i, d_out[i] * modulation[i64(group_of_row[i / columns]) * stride + offset + i % columns]);
}

// `y = a x + b y`, and its image; with `b = 0` the old `y` is not read, so that it may be uninitialised.
KERNEL scale_add(i64 count, float a, const float* x, const u16* x_image, float b, float* y, u16* image) {
    i64 i = element_index();
    if (i >= count) return;
    float value = get(x, x_image, i);
    put(y, image, i, b == 0.0f ? a * value : a * value + b * y[i]);
}

// The same of each segment: `x`, its image, `y`, its image, and the factors. Where there is no `x`, it is 0.
KERNEL scale_add_all(int segments, const i64* table) {
    i64 first, step;
    const i64* segment = segment_of(segments, 7, table, first, step);
    const float* x = pointer_of<const float>(segment[2]);
    const u16* x_image = pointer_of<const u16>(segment[3]);
    float* y = pointer_of<float>(segment[4]);
    u16* image = pointer_of<u16>(segment[5]);
    float a = low_of(segment[6]), b = high_of(segment[6]);
    for (i64 i = first; i < segment[1]; i += step) {
        float value = x || x_image ? a * get(x, x_image, i) : 0.0f;
        put(y, image, i, b == 0.0f ? value : value + b * y[i]);
    }
}

// Spreads each bit of a word over all.
DEVICE u32 mixed(u32 word) {
    word = (word ^ word >> 16) * 0x7FEB352Du;
    word = (word ^ word >> 15) * 0x846CA68Bu;
    return word ^ word >> 16;
}

// `factor x` where a number stays, else 0.
KERNEL dropout(i64 count, float factor, u32 threshold, u32 seed_low, u32 seed_high, const float* x, float* out) {
    i64 i = element_index();
    if (i >= count) return;
    u32 bits = mixed(mixed(u32(i) + seed_low) ^ u32(i >> 32) ^ seed_high);
    out[i] = bits >= threshold ? factor * x[i] : 0.0f;
}

// `y[r, c] = a x[r, c]`, added to what is there or in its place; both begin at their first column.
KERNEL add_columns(i64 count, int columns, float a, const float* x, int x_stride, int accumulate, int y_stride, float* y) {
    i64 i = element_index();
    if (i >= count) return;
    i64 row = i / columns, column = i % columns;
    float* to = y + row * y_stride + column;
    float value = a * x[row * x_stride + column];
    *to = accumulate ? value + *to : value;
}

// `c tanh(l / c)`.
KERNEL soft_cap(i64 count, float cap, float* logits) {
    i64 i = element_index();
    if (i < count) logits[i] = cap * (2.0f * sigmoid(2.0f / cap * logits[i]) - 1.0f);
}

// `gradient` is overwritten, or the product goes to `image`.
KERNEL soft_cap_backward(i64 count, int columns, float cap, const float* uncapped, const float* bias, float* gradient,
                         u16* image) {
    i64 i = element_index();
    if (i >= count) return;
    float logit = bias ? uncapped[i] + bias[i % columns] : uncapped[i];
    float share = 2.0f * sigmoid(2.0f / cap * logit) - 1.0f;
    put(image ? nullptr : gradient, image, i, gradient[i] * (1.0f - share * share));
}

// `factors[g] x`, `g` the group of the row.
KERNEL scale_rows(i64 count, int columns, const u32* group_of_row, const float* factors, const float* x, float* out) {
    i64 i = element_index();
    if (i < count) out[i] = factors[group_of_row[i / columns]] * x[i];
}

// `d_factors[g] += Σ d_out x` over the rows of a group: one block for each group, whose rows are
// `rows[ends[g - 1]..ends[g]]`.
KERNEL row_factors_backward(int columns, const u32* rows, const u32* ends, const u32* groups, const float* x,
                            const float* d_out, float* d_factors) {
    u32 first = blockIdx.x == 0 ? 0 : ends[blockIdx.x - 1], end = ends[blockIdx.x];
    float sum = 0.0f;
    for (u32 i = first; i < end; i++)
        for (int c = threadIdx.x; c < columns; c += blockDim.x) {
            i64 at = i64(rows[i]) * columns + c;
            sum += d_out[at] * x[at];
        }
    sum = block_sum(sum);
    if (threadIdx.x == 0) d_factors[groups[blockIdx.x]] += sum;
}

KERNEL add_bias(i64 count, int columns, const float* bias, float* out) {
    i64 i = element_index();
    if (i < count) out[i] += bias[i % columns];
}

// One AdamW update of each segment: gradient, both moments, parameter, its image, rate with what is kept of the parameter,
// and of both moments what is kept, what is added, and the correction `1 − βᵏ`; then `ε`. Where a parameter has an image
// it becomes that of the new value.
KERNEL adamw(int segments, const i64* table, float gradient_scale) {
    i64 first, step;
    const i64* segment = segment_of(segments, 12, table, first, step);
    const float* gradient = pointer_of<const float>(segment[2]);
    float *means = pointer_of<float>(segment[3]), *squares = pointer_of<float>(segment[4]);
    float* parameter = pointer_of<float>(segment[5]);
    u16* image = pointer_of<u16>(segment[6]);
    float rate = low_of(segment[7]), keep = high_of(segment[7]), epsilon = low_of(segment[11]);
    float beta1 = low_of(segment[8]), beta2 = high_of(segment[8]);
    float rest1 = low_of(segment[9]), rest2 = high_of(segment[9]);
    float correction1 = low_of(segment[10]), correction2 = high_of(segment[10]);
    for (i64 i = first; i < segment[1]; i += step) {
        float g = gradient[i] * gradient_scale;
        float m = means[i] * beta1 + g * rest1, v = squares[i] * beta2 + g * g * rest2;
        means[i] = m;
        squares[i] = v;
        put(parameter, image, i, parameter[i] * keep - m / correction1 / (sqrtf(v / correction2) + epsilon) * rate);
    }
}

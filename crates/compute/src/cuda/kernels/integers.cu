// Products with matrices of integers: rows of the input are rounded to 8 bits, sums of each group are exact.

// Each row to `round(127 x / max |x|)`, padded with zeros to `stride`; one block for each row.
KERNEL quantise_rows(int columns, int stride, const float* x, const u16* image, signed char* out, float* scales) {
    i64 first = i64(blockIdx.x) * columns;
    out += i64(blockIdx.x) * stride;
    float largest = 0.0f;
    for (int c = threadIdx.x; c < columns; c += blockDim.x) 
        largest = fmaxf(largest, fabsf(get(x, image, first + c)));
    largest = block_max(largest);
    // A row without a larger magnitude becomes zeros: the inverse of its scale could be beyond f32.
    float inverse = largest > 1e-30f ? 127.0f / largest : 0.0f;
    for (int c = threadIdx.x; c < stride; c += blockDim.x)
        out[c] = c < columns ? (signed char)(int(rintf(get(x, image, first + c) * inverse))) : 0;
    if (threadIdx.x == 0) scales[blockIdx.x] = largest / 127.0f;
}

// What the integers of `multiply_integers` stand for, `[outputs, columns]`.
KERNEL dequantise(i64 count, int columns, int stride, int group, int four_bits, const u8* w, const float* scales,
                  float* out) {
    i64 i = element_index();
    if (i >= count) return;
    i64 output = i / columns;
    int k = i % columns, groups = (stride + group - 1) / group, integer;
    if (four_bits) {
        u8 both = w[(output * stride + k / 8 * 8) / 2 + k % 4];
        integer = int(k % 8 < 4 ? both & 15 : both >> 4) - 8;
    } else {
        integer = int((signed char)(w[output * stride + k]));
    }
    out[i] = integer * scales[output * groups + k / group];
}

#define ROWS_AT_ONCE 8

// One warp for one output of eight rows: each lane multiplies eight inputs at a time, which are of one group.
// Eight bits: a byte for each input. Four bits: byte k of each four holds inputs k (low) and k + 4 (high) of eight, plus 8.
KERNEL multiply_integers(int rows, int outputs, int stride, int group, int four_bits, const signed char* x,
                         const float* x_scales, const u8* w, const float* w_scales, const float* bias, int accumulate,
                         float* out) {
    int lane = threadIdx.x % WARP, output = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    if (output >= outputs) return;
    int first = blockIdx.y * ROWS_AT_ONCE, groups = (stride + group - 1) / group;
    float sums[ROWS_AT_ONCE] = {};
    for (int k = lane * 8; k < stride; k += WARP * 8) {
        int low, high;
        if (four_bits) {
            u32 packed = *(const u32*)(w + (i64(output) * stride + k) / 2);
            low = int(packed & 0x0f0f0f0fu);
            high = int((packed >> 4) & 0x0f0f0f0fu);
        } else {
            const int* words = (const int*)(w + i64(output) * stride + k);
            low = words[0];
            high = words[1];
        }
        float scale = w_scales[i64(output) * groups + k / group];
        for (int r = 0; r < ROWS_AT_ONCE && first + r < rows; r++) {
            const int* words = (const int*)(x + i64(first + r) * stride + k);
            int exact = __dp4a(high, words[1], __dp4a(low, words[0], 0));
            if (four_bits) exact -= 8 * __dp4a(0x01010101, words[1], __dp4a(0x01010101, words[0], 0));
            sums[r] += exact * scale;
        }
    }
    for (int r = 0; r < ROWS_AT_ONCE; r++) {
        float sum = warp_sum(sums[r]);
        if (lane != 0 || first + r >= rows) continue;
        sum *= x_scales[first + r];
        if (bias) sum += bias[output];
        float* place = out + i64(first + r) * outputs + output;
        *place = accumulate ? *place + sum : sum;
    }
}

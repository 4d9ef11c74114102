// Small functions that several kernels share.
#define WARP 32
#define ALL_LANES 0xffffffffu

DEVICE i64 element_index() { return i64(blockIdx.x) * blockDim.x + threadIdx.x; }

// Rounds to the nearest bfloat16, ties to even; what is not a number stays that.
DEVICE u16 to_bf16(float value) {
    u32 bits = bits_of(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return u16((bits >> 16) | 0x40u);
    return u16((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
DEVICE float from_bf16(u16 value) { return float_of(u32(value) << 16); }

// A matrix is in f32, or rounded in `image`, or in both: a null pointer stands for what there is not.
DEVICE float get(const float* wide, const u16* image, i64 at) { return wide ? wide[at] : from_bf16(image[at]); }
DEVICE void put(float* wide, u16* image, i64 at, float value) {
    if (wide) wide[at] = value;
    if (image) image[at] = to_bf16(value);
}

DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
DEVICE float silu_slope(float x) {
    float s = sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}

// `σ(2u)` with `u = √(2/π) (x + 0.044715 x³)`: what GELU in its tanh form multiplies x by.
DEVICE float gelu_gate(float x) { return sigmoid(1.5957691f * (x + 0.044715f * x * x * x)); }

DEVICE float gelu_slope(float x) {
    float gate = gelu_gate(x), slope = 1.5957691f * (1.0f + 3.0f * 0.044715f * x * x);
    return gate + x * gate * (1.0f - gate) * slope;
}

struct Sum {
    DEVICE float of(float a, float b) { return a + b; }
};
struct Largest {
    DEVICE float of(float a, float b) { return fmaxf(a, b); }
};

template <class Fold> DEVICE float warp_fold(float value) {
    for (int offset = WARP / 2; offset > 0; offset /= 2)
        value = Fold::of(value, __shfl_xor_sync(ALL_LANES, value, offset));
    return value;
}

// Over all threads of a block of whole warps, in every thread.
template <class Fold> DEVICE float block_fold(float value) {
    SHARED float parts[WARP];
    int warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    value = warp_fold<Fold>(value);
    __syncthreads();
    if (threadIdx.x % WARP == 0) parts[warp] = value;
    __syncthreads();
    float all = parts[0];
    for (int i = 1; i < warps; i++) all = Fold::of(all, parts[i]);
    return all;
}

// The sum over a block of 256 threads in f64, in every thread, in an order that never changes.
DEVICE double block_total(double value) {
    SHARED double parts[256];
    __syncthreads();
    parts[threadIdx.x] = value;
    __syncthreads();
    for (int width = 128; width > 0; width /= 2) {
        if (int(threadIdx.x) < width) parts[threadIdx.x] += parts[threadIdx.x + width];
        __syncthreads();
    }
    return parts[0];
}

// The sum over the warps of a block, at most 32, for each lane, in their order; in the threads of the first warp.
DEVICE float sum_of_warps(float value) {
    SHARED float parts[WARP * WARP];
    __syncthreads();
    parts[threadIdx.x] = value;
    __syncthreads();
    if (threadIdx.x < WARP)
        for (int at = threadIdx.x + WARP; at < int(blockDim.x); at += WARP) value += parts[at];
    return value;
}

// The segment of this block in a launch over several buffers, `words` in the table for each. The first two are the block
// behind its last one and its number of elements. `first` becomes the thread's first element, `step` how far the next is.
DEVICE const i64* segment_of(int segments, int words, const i64* table, i64& first, i64& step) {
    int low = 0, high = segments - 1;
    while (low < high) {
        int middle = (low + high) / 2;
        if (table[i64(middle) * words] > blockIdx.x)
            high = middle;
        else
            low = middle + 1;
    }
    const i64* segment = table + i64(low) * words;
    i64 start = low > 0 ? segment[-words] : 0;
    first = (blockIdx.x - start) * blockDim.x + threadIdx.x;
    step = (segment[0] - start) * blockDim.x;
    return segment;
}
template <class T> DEVICE T* pointer_of(i64 word) { return reinterpret_cast<T*>(word); }
DEVICE float low_of(i64 word) { return float_of(u32(word)); }
DEVICE float high_of(i64 word) { return float_of(u32(u64(word) >> 32)); }

// Finite numbers as integers of the same order.
DEVICE i64 order_of(double value) {
    i64 bits = bits_of(value);
    return bits < 0 ? bits ^ 0x7fffffffffffffffll : bits;
}

DEVICE float warp_sum(float value) { return warp_fold<Sum>(value); }
DEVICE float warp_max(float value) { return warp_fold<Largest>(value); }
DEVICE float block_sum(float value) { return block_fold<Sum>(value); }
DEVICE float block_max(float value) { return block_fold<Largest>(value); }

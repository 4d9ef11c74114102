// Kernels for tests only: single instructions, with the operands of each lane as they are given, and copies in right
// and wrong orders.

// Four matrices of 8×8, a row of 8 after another; `[32, 4]` words come out.
KERNEL try_load_matrices(int turned, const u16* rows, u32* out) {
    DYNAMIC_SHARED(u16, shared);
    int lane = threadIdx.x;
    for (int i = 0; i < 8; i++) shared[8 * lane + i] = rows[8 * lane + i];
    __syncthreads();
    u32 words[4];
    if (turned)
        load_turned_matrices(words, shared + 8 * lane);
    else
        load_matrices(words, shared + 8 * lane);
    for (int i = 0; i < 4; i++) out[4 * lane + i] = words[i];
}

// Rows that are 128 bytes apart.
KERNEL try_shared_banks(u32* out) {
    DYNAMIC_SHARED(u16, shared);
    u32 words[4];
    for (int i = 0; i < 8; i++) shared[64 * threadIdx.x + i] = 0;
    __syncthreads();
    load_matrices(words, shared + 64 * threadIdx.x);
    out[threadIdx.x] = words[0];
}

// Fragments of each lane: `[32, 4]`, `[32, 2]` and `[32, 4]`.
KERNEL try_multiply(const u32* a, const u32* b, float* d) {
    int lane = threadIdx.x;
    u32 left[4], right[2];
    float sum[4];
    for (int i = 0; i < 4; i++) left[i] = a[4 * lane + i], sum[i] = d[4 * lane + i];
    for (int i = 0; i < 2; i++) right[i] = b[2 * lane + i];
    multiply_tile(sum, left, right);
    for (int i = 0; i < 4; i++) d[4 * lane + i] = sum[i];
}

KERNEL try_numbers(i64 count, const float* x, float* powers, u32* pairs) {
    i64 i = element_index();
    if (i >= count) return;
    powers[i] = exp2_fast(x[i]);
    pairs[i] = pair_bf16(x[i], -x[i]);
}

// Each of 32 threads copies 16 bytes, of which `bytes` are given, and reads what a neighbour copied; twice. `fault`
// says what is left out or wrong.
KERNEL try_copies(int fault, int bytes, const u32* in, u32* out) {
    DYNAMIC_SHARED(u32, shared);
    int lane = threadIdx.x, other = fault == 3 ? 0 : fault == 8 ? WARP - 1 : 1;
    int place = 4 * lane, next = 4 * ((lane + other) % WARP);
    u32 words[4];
    for (int round = 0; round < 2; round++) {
        u32* to = shared + place + (fault == 6 ? 1 : fault == 7 ? 4 * WARP : 0);
        copy_async(to, in + 4 * WARP * round + place, bytes);
        if (fault != 5) commit_copies();
        if (fault == 4) copy_async(to, in, bytes);
        // An empty group is no wait for the one before it.
        if (fault == 2) commit_copies(), await_copies<2>();
        if (fault != 1 && fault != 2) await_copies<0>();
        if (fault != 3 && fault != 8) __syncthreads();
        shared_four(words, shared + next);
        for (int i = 0; i < 4; i++) out[4 * WARP * round + place + i] = words[i];
        if (fault != 9) __syncthreads();
    }
}

// Writes behind the end of its shared memory.
KERNEL try_beyond(int word) {
    DYNAMIC_SHARED(u32, shared);
    shared[word] = 7;
}

// A `read` of some kind of what nothing wrote, or, with `written`, of what was written.
KERNEL try_unwritten(int read, int written, u32* in, u32* out) {
    DYNAMIC_SHARED(u32, shared);
    SHARED u32 array[4 * WARP];
    int place = 4 * threadIdx.x;
    for (int i = 0; written && i < 4; i++) in[place + i] = shared[place + i] = array[place + i] = 7;
    if (read == 0) out[threadIdx.x] = in[place + 1];
    if (read == 1) out[threadIdx.x] = shared[place + 1];
    if (read == 2) out[threadIdx.x] = array[place + 1];
    if (read == 3) out[threadIdx.x] = reinterpret_cast<const u16*>(in)[2 * place];
    if (read == 4) out[threadIdx.x] = bits_of(reinterpret_cast<const double*>(in)[place / 2]) != 0;
    if (read == 5) {
        // Only the first half is wanted, and only that was written.
        in[place] = in[place + 1] = 7;
        copy_async(shared + place, in + place, 8);
        commit_copies();
        await_copies<0>();
        out[threadIdx.x] = shared[place];
    }
}

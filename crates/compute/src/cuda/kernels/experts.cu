// Mixtures of experts: which experts a row goes to, and the sum of what they give. One block for each row, but for rows
// that choose together.

// The scores of a row's experts, in shared memory.
DEVICE void router_scores(int experts, int sigmoids, const float* logits, float* scores) {
    if (sigmoids) {
        for (int e = threadIdx.x; e < experts; e += blockDim.x) scores[e] = sigmoid(logits[e]);
        __syncthreads();
        return;
    }
    float largest = -INFINITY;
    for (int e = threadIdx.x; e < experts; e += blockDim.x) largest = fmaxf(largest, logits[e]);
    largest = block_max(largest);
    float sum = 0.0f;
    for (int e = threadIdx.x; e < experts; e += blockDim.x) {
        scores[e] = expf(logits[e] - largest);
        sum += scores[e];
    }
    sum = block_sum(sum);
    for (int e = threadIdx.x; e < experts; e += blockDim.x) scores[e] = scores[e] / sum;
    __syncthreads();
}

// How many keys precede one: the greater, and of equals the first. A closed key precedes none.
DEVICE int rank_of(int place, int count, const float* keys, const int* open, int size) {
    int rank = 0;
    for (int other = 0; other < count; other++) {
        bool precedes = keys[other] > keys[place] || (keys[other] == keys[place] && other < place);
        rank += precedes && open[other / size];
    }
    return rank;
}

// What the scores of the chosen experts are divided by.
DEVICE float router_divisor(int normalised, int per_token, const u32* chosen, const float* scores) {
    if (!normalised) return 1.0f;
    float sum = 1e-20f;
    for (int k = 0; k < per_token; k++) sum += scores[chosen[k]];
    return sum;
}

// What the experts of a row are compared by, in shared memory, with its scores.
DEVICE void router_keys(int experts, int sigmoids, const float* logits, const float* bias, float* scores, float* keys) {
    router_scores(experts, sigmoids, logits, scores);
    for (int e = threadIdx.x; e < experts; e += blockDim.x) {
        float key = scores[e] + (bias ? bias[e] : 0.0f);
        keys[e] = key == key ? key : -INFINITY;
    }
    __syncthreads();
}

// The chosen experts of a row in ascending order, and their weights, by its scores and keys; those of a part that is not
// open are not chosen. A part is `size` neighbouring experts.
DEVICE void route_row(int experts, int per_token, int normalised, float scale, const float* scores, const float* keys,
                      const int* open, int size, int* taken, u32* chosen, float* weights) {
    for (int e = threadIdx.x; e < experts; e += blockDim.x)
        taken[e] = open[e / size] && rank_of(e, experts, keys, open, size) < per_token;
    __syncthreads();
    for (int e = threadIdx.x; e < experts; e += blockDim.x) {
        if (!taken[e]) continue;
        int slot = 0;
        for (int other = 0; other < e; other++) slot += taken[other];
        chosen[slot] = e;
    }
    __syncthreads();
    for (int k = threadIdx.x; k < per_token; k += blockDim.x)
        weights[k] = scale * scores[chosen[k]] / router_divisor(normalised, per_token, chosen, scores);
    __syncthreads();
}

// The chosen experts of each row in ascending order, and their weights. Shared memory holds scores and keys of all
// experts, then keys and marks of all groups, then two marks for each expert. With `blocks`, the first row of each and the
// number of rows, a block of threads routes a block of rows: first it compares experts by the row for which each is best,
// and closes all but `per_block` of them.
KERNEL route(int experts, int per_token, int sigmoids, int groups, int groups_per_token, int per_block, int normalised,
             float scale, const float* logits, const float* bias, const u32* blocks, u32* chosen, float* weights) {
    DYNAMIC_SHARED(float, scores);
    float *keys = scores + experts, *group_keys = keys + experts;
    int *open = reinterpret_cast<int*>(group_keys + groups), *taken = open + groups, size = experts / groups;
    if (blocks) {
        int* together = taken + experts;
        i64 first = blocks[blockIdx.x], end = blocks[blockIdx.x + 1];
        // The marks of all experts hold their best keys until these are compared.
        float* best = reinterpret_cast<float*>(together);
        for (i64 row = first; row < end; row++) {
            router_keys(experts, sigmoids, logits + row * experts, bias, scores, keys);
            for (int e = threadIdx.x; e < experts; e += blockDim.x)
                best[e] = row == first ? keys[e] : fmaxf(best[e], keys[e]);
            __syncthreads();
        }
        if (threadIdx.x == 0) open[0] = 1;
        __syncthreads();
        for (int e = threadIdx.x; e < experts; e += blockDim.x)
            taken[e] = rank_of(e, experts, best, open, experts) < per_block;
        __syncthreads();
        for (int e = threadIdx.x; e < experts; e += blockDim.x) together[e] = taken[e];
        __syncthreads();
        for (i64 row = first; row < end; row++) {
            router_keys(experts, sigmoids, logits + row * experts, bias, scores, keys);
            route_row(experts, per_token, normalised, scale, scores, keys, together, 1, taken, chosen + row * per_token,
                      weights + row * per_token);
        }
        return;
    }
    logits += i64(blockIdx.x) * experts;
    chosen += i64(blockIdx.x) * per_token;
    weights += i64(blockIdx.x) * per_token;
    router_keys(experts, sigmoids, logits, bias, scores, keys);
    for (int g = threadIdx.x; g < groups; g += blockDim.x) open[g] = 1;
    __syncthreads();
    if (groups > 1) {
        for (int g = threadIdx.x; g < groups; g += blockDim.x) {
            float first = keys[g * size], second = size > 1 ? -INFINITY : 0.0f;
            for (int e = g * size + 1; e < (g + 1) * size; e++) {
                second = fmaxf(second, fminf(first, keys[e]));
                first = fmaxf(first, keys[e]);
            }
            group_keys[g] = first + second;
        }
        __syncthreads();
        for (int g = threadIdx.x; g < groups; g += blockDim.x)
            taken[g] = rank_of(g, groups, group_keys, open, 1) < groups_per_token;
        __syncthreads();
        for (int g = threadIdx.x; g < groups; g += blockDim.x) open[g] = taken[g];
        __syncthreads();
    }
    route_row(experts, per_token, normalised, scale, scores, keys, open, size, taken, chosen, weights);
}

// Shared memory holds the scores of all experts.
KERNEL route_backward(int experts, int per_token, int sigmoids, int normalised, float scale, const float* logits,
                      const u32* chosen, const float* d_weights, float* d_logits) {
    DYNAMIC_SHARED(float, scores);
    logits += i64(blockIdx.x) * experts;
    d_logits += i64(blockIdx.x) * experts;
    chosen += i64(blockIdx.x) * per_token;
    d_weights += i64(blockIdx.x) * per_token;
    router_scores(experts, sigmoids, logits, scores);
    float sum = router_divisor(normalised, per_token, chosen, scores), pull = 0.0f, mean = 0.0f;
    // What all weights lose when the sum grows.
    for (int k = 0; normalised && k < per_token; k++) pull += d_weights[k] * scores[chosen[k]] / sum;
    for (int k = 0; k < per_token; k++) mean += scale * (d_weights[k] - pull) / sum * scores[chosen[k]];
    for (int e = threadIdx.x; e < experts; e += blockDim.x) {
        float d = 0.0f;
        for (int k = 0; k < per_token; k++)
            if (chosen[k] == u32(e)) d = scale * (d_weights[k] - pull) / sum;
        d_logits[e] = sigmoids ? d * scores[e] * (1.0f - scores[e]) : scores[e] * (d - mean);
    }
}

// `out[t] = Σ_k weights[t, k] sorted[places[t, k]]`, one thread for each element.
KERNEL combine(i64 count, int columns, int per_token, const u32* places, const float* weights, const float* sorted,
               float* out) {
    i64 i = element_index();
    if (i >= count) return;
    i64 first = i / columns * per_token, column = i % columns;
    float sum = 0.0f;
    for (i64 k = first; k < first + per_token; k++) sum += weights[k] * sorted[i64(places[k]) * columns + column];
    out[i] = sum;
}

// One block for each place.
KERNEL combine_backward(int columns, int per_token, const u32* places, const float* weights, const float* sorted,
                        const float* d_out, float* d_weights, float* d_sorted, u16* image) {
    i64 at = i64(places[blockIdx.x]) * columns;
    d_out += i64(blockIdx.x) / per_token * columns;
    float weight = weights[blockIdx.x], product = 0.0f;
    for (int c = threadIdx.x; c < columns; c += blockDim.x) {
        product += d_out[c] * sorted[at + c];
        put(d_sorted, image, at + c, weight * d_out[c]);
    }
    product = block_sum(product);
    if (threadIdx.x == 0) d_weights[blockIdx.x] = product;
}

// What rows of logits cost, and the gradients with respect to them; one block for each row.

// The logit of one token of each row becomes −∞.
KERNEL forbid_token(i64 rows, int columns, u32 token, float* logits) {
    i64 row = element_index();
    if (row < rows) logits[row * columns + token] = -INFINITY;
}

// Softmax of each row, in place; one block for each row.
KERNEL softmax(int columns, float* x) {
    x += i64(blockIdx.x) * columns;
    float largest = -INFINITY;
    for (int c = threadIdx.x; c < columns; c += blockDim.x) largest = fmaxf(largest, x[c]);
    largest = block_max(largest);
    float sum = 0.0f;
    for (int c = threadIdx.x; c < columns; c += blockDim.x) {
        x[c] = expf(x[c] - largest);
        sum += x[c];
    }
    sum = block_sum(sum);
    for (int c = threadIdx.x; c < columns; c += blockDim.x) x[c] = x[c] / sum;
}

// Softmax cross-entropy of each row of logits: the loss, and where `weights` are given the logits' gradient, in their
// place or in `image`. The logit of `forbidden` is −∞.
KERNEL cross_entropy(int columns, const u32* targets, u32 forbidden, const float* weights, float* logits, u16* image,
                     float* losses) {
    i64 first = i64(blockIdx.x) * columns;
    const float* row = logits + first;
    u32 target = targets[blockIdx.x];
    float largest = -INFINITY;
    for (int c = threadIdx.x; c < columns; c += blockDim.x)
        if (u32(c) != forbidden) largest = fmaxf(largest, row[c]);
    largest = block_max(largest);
    float sum = 0.0f;
    for (int c = threadIdx.x; c < columns; c += blockDim.x)
        if (u32(c) != forbidden) sum += expf(row[c] - largest);
    sum = block_sum(sum);
    if (threadIdx.x == 0) losses[blockIdx.x] = target == forbidden ? INFINITY : largest + logf(sum) - row[target];
    if (!weights) return;
    float weight = weights[blockIdx.x];
    // The target's logit was read above by one thread, and is overwritten below by another.
    __syncthreads();
    for (int c = threadIdx.x; c < columns; c += blockDim.x) {
        float probability = u32(c) == forbidden ? 0.0f : expf(row[c] - largest) / sum;
        bool hit = u32(c) == target && target != forbidden;
        put(image ? nullptr : logits, image, first + c, weight * (probability - (hit ? 1.0f : 0.0f)));
    }
}

// `expected[r] − vectors[targets[r]]` in place, and its square.
KERNEL distance_error(int size, const u32* targets, const float* vectors, float* expected, double* costs) {
    expected += i64(blockIdx.x) * size;
    vectors += i64(targets[blockIdx.x]) * size;
    double square = 0.0;
    for (int e = threadIdx.x; e < size; e += blockDim.x) {
        expected[e] -= vectors[e];
        square += double(expected[e]) * double(expected[e]);
    }
    square = block_total(square);
    if (threadIdx.x == 0) costs[blockIdx.x] = square;
}

// The law of a row that is paid for by ratios: see `RatioCost`.
struct Law {
    u32 clean, shown, mask;
    double alpha, text, masked;
    DEVICE double noise(const Law& law, u32 token) { return token == law.mask ? law.masked : law.text; }
    DEVICE double marginal(const Law& law, u32 token) {
        return noise(law, token) + (token == law.clean ? law.alpha : 0.0);
    }
    DEVICE double excess(double q, double a) { return q > 0.0 ? q * (a / q - 1.0 - log(a / q)) : a; }
};

#define CROSS_ENTROPY 0
#define RATIO 1

// The cost of each row of probabilities and −log p of its target, and where `learns` their gradient with respect to the
// logits, in their place or in `image`.
// `kinds` holds for each row kind, target, shown token, mask and whether the probabilities have looked at what is shown;
// `numbers` weight, α, text and masked; `dots` for a distance the product of its error with each vector.
KERNEL cost_rows(int columns, const u32* kinds, const double* numbers, const float* dots, int learns,
                 float* probabilities, u16* image, double* costs, double* nll) {
    const u32* kind = kinds + i64(blockIdx.x) * 5;
    const double* number = numbers + i64(blockIdx.x) * 4;
    i64 first = i64(blockIdx.x) * columns;
    const float* p = probabilities + first;
    float* wide = image ? nullptr : probabilities;
    if (dots) dots += i64(blockIdx.x) * columns;
    Law law = {kind[1], kind[2], kind[3], number[1], number[2], number[3]};
    double weight = number[0], shown_now = Law::marginal(law, law.shown);
    double clean_p = p[law.clean], least = 1.17549435082228750797e-38;
    if (threadIdx.x == 0) nll[blockIdx.x] = -log(clean_p > least ? clean_p : least);
    if (kind[0] == CROSS_ENTROPY) {
        if (threadIdx.x == 0) costs[blockIdx.x] = nll[blockIdx.x];
    } else if (kind[0] == RATIO) {
        double shown_p = p[law.shown], evidence = 1.0 + law.alpha / Law::noise(law, law.shown), norm = 1.0;
        if (kind[4]) norm = fmax(1.0 - shown_p + shown_p / evidence, 1e-300);
        double divergence = 0.0;
        for (u32 v = threadIdx.x; v < u32(columns); v += blockDim.x) {
            double alone = p[v] / norm;
            if (kind[4] && v == law.shown) alone /= evidence;
            double part = law.alpha * alone;
            if (v == law.clean || v == law.shown || v == law.mask)
                divergence += Law::excess(Law::marginal(law, v), Law::noise(law, v) + part);
            else
                divergence += part - (law.text > 0.0 ? law.text * log1p(part / law.text) : 0.0);
        }
        divergence = block_total(divergence);
        double alone = (kind[4] ? shown_p / evidence : shown_p) / norm;
        double share = shown_now / (Law::noise(law, law.shown) + law.alpha * alone);
        if (threadIdx.x == 0) costs[blockIdx.x] = (divergence + share - 1.0 - log(share)) / shown_now;
    }
    if (!learns) return;
    // What was read above by one thread is overwritten below by another.
    __syncthreads();
    if (kind[0] == CROSS_ENTROPY) {
        for (u32 v = threadIdx.x; v < u32(columns); v += blockDim.x)
            put(wide, image, first + v, float(p[v] * weight) - (v == law.clean ? float(weight) : 0.0f));
        return;
    }
    auto slope = [&](u32 v) {
        if (kind[0] != RATIO) return 2.0 * double(dots[v]);
        double a = Law::noise(law, v) + law.alpha * p[v], q = Law::marginal(law, v), slope;
        if (v == law.clean || v == law.shown || v == law.mask)
            slope = q > 0.0 ? -law.alpha * q / (shown_now * a) : 0.0;
        else
            slope = law.text > 0.0 ? -law.alpha * law.text / (shown_now * a) : 0.0;
        return v == law.shown ? slope + law.alpha * (1.0 / (shown_now * a) - 1.0 / (a * a)) : slope;
    };
    double mean = 0.0;
    for (u32 v = threadIdx.x; v < u32(columns); v += blockDim.x) mean += p[v] * slope(v);
    mean = block_total(mean);
    for (u32 v = threadIdx.x; v < u32(columns); v += blockDim.x) 
        put(wide, image, first + v, float(weight * p[v] * (slope(v) - mean)));
}

// Rows of logits that are reduced to what was asked for; one block of 256 threads for each row.
#define ROW_THREADS 256
#define NO_TOKEN 0xffffffffu

// Whether a logit is no number or plus infinity.
DEVICE bool is_broken(float logit) { return !(logit < INFINITY); }

// The smallest of a block's values, in every thread.
DEVICE u32 block_min(u32 value) {
    SHARED u32 parts[ROW_THREADS];
    __syncthreads();
    parts[threadIdx.x] = value;
    __syncthreads();
    for (int width = ROW_THREADS / 2; width > 0; width /= 2) {
        if (int(threadIdx.x) < width && parts[threadIdx.x + width] < parts[threadIdx.x])
            parts[threadIdx.x] = parts[threadIdx.x + width];
        __syncthreads();
    }
    return parts[0];
}

// Of a block's values the largest, and of equal ones that of the smallest token, in every thread.
template <class T> struct Found {
    T value;
    u32 token;
};
template <class T> DEVICE bool comes_first(const Found<T>& a, const Found<T>& b) {
    if (a.token == NO_TOKEN || b.token == NO_TOKEN) return b.token == NO_TOKEN;
    return a.value > b.value || (a.value == b.value && a.token < b.token);
}
template <class T> DEVICE Found<T> block_first(Found<T> mine) {
    SHARED Found<T> parts[ROW_THREADS];
    __syncthreads();
    parts[threadIdx.x] = mine;
    __syncthreads();
    for (int width = ROW_THREADS / 2; width > 0; width /= 2) {
        if (int(threadIdx.x) < width && comes_first(parts[threadIdx.x + width], parts[threadIdx.x]))
            parts[threadIdx.x] = parts[threadIdx.x + width];
        __syncthreads();
    }
    return parts[0];
}

// The first token by falling logit that comes after `last`; all of them come after a token that there is not.
DEVICE Found<float> next_token(const float* row, int columns, Found<float> last) {
    Found<float> mine = {0.0f, NO_TOKEN};
    for (u32 v = threadIdx.x; v < u32(columns); v += ROW_THREADS) {
        Found<float> here = {row[v], v};
        if (row[v] == -INFINITY || (last.token != NO_TOKEN && !comes_first(last, here))) continue;
        if (comes_first(here, mine)) mine = here;
    }
    return block_first(mine);
}

// What is added to one token of a row, and what takes others away. `forbidden` holds the bounds of a part of `lists` for
// each row. The second of a row's two `tokens` becomes the first forbidden one whose logit is no number, or NO_TOKEN.
KERNEL adjust_rows(int columns, const u32* bonus_tokens, const float* bonuses, const u32* forbidden, const u32* lists,
                   float* logits, u32* tokens) {
    float* row = logits + i64(blockIdx.x) * columns;
    u32 token = bonus_tokens[blockIdx.x], first = forbidden[blockIdx.x * 2], end = forbidden[blockIdx.x * 2 + 1];
    if (threadIdx.x == 0 && token < u32(columns)) row[token] += bonuses[blockIdx.x];
    __syncthreads();
    u32 place = NO_TOKEN;
    for (u32 i = first + threadIdx.x; i < end; i += ROW_THREADS)
        if (lists[i] < u32(columns) && is_broken(row[lists[i]]) && place == NO_TOKEN) place = i;
    place = block_min(place);
    __syncthreads();
    for (u32 i = first + threadIdx.x; i < end; i += ROW_THREADS)
        if (lists[i] < u32(columns)) row[lists[i]] = -INFINITY;
    if (threadIdx.x == 0) tokens[i64(blockIdx.x) * 2 + 1] = place == NO_TOKEN ? NO_TOKEN : lists[place];
}

// Each row at a glance. `numbers`: the highest logit, ln Σ e^l, entropy and margin. `tokens`: the likeliest and the first
// broken one; who calls has put a broken one there before, or NO_TOKEN. `best` and `probabilities` are `[rows, count]`.
KERNEL summarise_rows(int columns, const float* logits, int count, double* numbers, u32* tokens, u32* best,
                      double* probabilities) {
    const float* row = logits + i64(blockIdx.x) * columns;
    numbers += i64(blockIdx.x) * 4;
    tokens += i64(blockIdx.x) * 2;
    best += i64(blockIdx.x) * count;
    probabilities += i64(blockIdx.x) * count;
    u32 broken = NO_TOKEN;
    for (u32 v = threadIdx.x; v < u32(columns); v += ROW_THREADS)
        if (is_broken(row[v]) && broken == NO_TOKEN) broken = v;
    broken = block_min(broken);
    if (tokens[1] != NO_TOKEN) broken = tokens[1];
    Found<float> nobody = {0.0f, NO_TOKEN};
    Found<float> first = broken == NO_TOKEN ? next_token(row, columns, nobody) : nobody;
    // Every thread has read `tokens` before one writes it.
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += ROW_THREADS) {
        best[i] = NO_TOKEN;
        probabilities[i] = 0.0;
    }
    if (first.token == NO_TOKEN) {
        if (threadIdx.x == 0) {
            numbers[0] = numbers[1] = -INFINITY;
            numbers[2] = numbers[3] = 0.0;
            tokens[0] = NO_TOKEN;
            tokens[1] = broken;
        }
        return;
    }
    double total = 0.0, mean = 0.0;
    for (u32 v = threadIdx.x; v < u32(columns); v += ROW_THREADS) {
        if (row[v] == -INFINITY) continue;
        float d = row[v] - first.value, weight = expf(d);
        total += weight;
        mean += double(d) * weight;
    }
    total = block_total(total);
    mean = block_total(mean);
    Found<float> last = first, second = next_token(row, columns, first);
    double entropy = log(total) - mean / total, highest = first.value;
    if (threadIdx.x == 0) {
        double behind = second.token == NO_TOKEN ? 0.0 : exp(double(second.value) - highest);
        numbers[0] = highest;
        numbers[1] = highest + log(total);
        numbers[2] = entropy > 0.0 ? entropy : 0.0;
        numbers[3] = (1.0 - behind) / total;
        tokens[0] = first.token;
        tokens[1] = NO_TOKEN;
    }
    for (int i = 0; i < count && last.token != NO_TOKEN; i++) {
        __syncthreads();
        if (threadIdx.x == 0) {
            best[i] = last.token;
            probabilities[i] = exp(double(last.value) - highest) / total;
        }
        last = i == 0 ? second : next_token(row, columns, last);
    }
}

// Tokens of a row by falling key, and of equal keys by rising token: a beginning of that order ends with one of them.
struct Beginning {
    i64 key;
    u32 token;
};
DEVICE bool holds(const Beginning& beginning, i64 key, u32 token) {
    return key > beginning.key || (key == beginning.key && token <= beginning.token);
}

// Where a token stands in an ascending list, or the list's length where it does not.
DEVICE u32 place_in(const u32* list, u32 length, u32 token) {
    u32 low = 0, high = length;
    while (low < high) {
        u32 middle = low + (high - low) / 2;
        if (list[middle] < token) low = middle + 1;
        else high = middle;
    }
    return low < length && list[low] == token ? low : length;
}

// Sets the bits of the tokens of an ascending list. One thread sets all bits of a word.
DEVICE void mark(u32* bits, const u32* list, u32 length, int columns) {
    for (u32 i = threadIdx.x; i < length; i += ROW_THREADS) {
        if (i > 0 && list[i - 1] / 32 == list[i] / 32) continue;
        for (u32 j = i; j < length && list[j] / 32 == list[i] / 32; j++)
            if (list[j] < u32(columns)) bits[list[j] / 32] |= 1u << (list[j] % 32);
    }
    __syncthreads();
}

// A row that is drawn from, as it is shaped.
struct Shaped {
    const float* row;
    const u32* marked;   // a bit for each token that is repeated or biased
    const u32* repeated; // ascending, as many as `repeats`
    const u32* biased;   // ascending, as many as `biases`; behind them the bits of what is added to their logits
    u32 repeats, biases;
    int columns;
    double penalty, temperature;
    double top, least; // the largest logit, and the least one that is drawn
    bool ordered;      // by falling key, else by rising token
    DEVICE double logit(const Shaped& shaped, u32 v) {
        double l = shaped.row[v];
        if (!shaped.marked || !(shaped.marked[v / 32] >> (v % 32) & 1u)) return l;
        // Without biases all that is marked is repeated.
        if (shaped.biases == 0 || place_in(shaped.repeated, shaped.repeats, v) < shaped.repeats)
            l = l > 0.0 ? l / shaped.penalty : l * shaped.penalty;
        u32 place = place_in(shaped.biased, shaped.biases, v);
        return place < shaped.biases ? l + double(float_of(shaped.biased[shaped.biases + place])) : l;
    }
    DEVICE double weight(const Shaped& shaped, double logit) { return exp((logit - shaped.top) / shaped.temperature); }
};

// How many tokens of `within` are in `beginning` as well, or what they weigh.
DEVICE double measure(const Shaped& shaped, const Beginning& within, const Beginning& beginning, bool counts) {
    double sum = 0.0;
    for (u32 v = threadIdx.x; v < u32(shaped.columns); v += ROW_THREADS) {
        double logit = Shaped::logit(shaped, v);
        if (!(logit >= shaped.least) || logit == -INFINITY) continue;
        i64 key = order_of(logit);
        if (!holds(within, key, v) || !(shaped.ordered ? holds(beginning, key, v) : v <= beginning.token)) continue;
        sum += counts ? 1.0 : Shaped::weight(shaped, logit);
    }
    return block_total(sum);
}

// The shortest beginning of `within` that measures at least `wanted`, or more than it where `beyond`.
DEVICE Beginning shortest(const Shaped& shaped, const Beginning& within, double wanted, bool counts, bool beyond) {
    Beginning found = {order_of(shaped.least), u32(shaped.columns) - 1};
    auto enough = [&](Beginning beginning) {
        double held = measure(shaped, within, beginning, counts);
        return beyond ? held > wanted : held >= wanted;
    };
    if (shaped.ordered) {
        // The largest key with which there is enough.
        i64 low = found.key, high = order_of(shaped.top);
        while (low < high) {
            // The distance may be beyond what a signed number holds.
            u64 distance = u64(high) - u64(low);
            i64 middle = i64(u64(low) + distance / 2 + distance % 2);
            if (enough(Beginning{middle, NO_TOKEN - 1})) low = middle;
            else high = middle - 1;
        }
        found.key = low;
    }
    u32 low = 0, high = u32(shaped.columns) - 1;
    while (low < high) {
        u32 middle = low + (high - low) / 2;
        if (enough(Beginning{found.key, middle})) high = middle;
        else low = middle + 1;
    }
    found.token = low;
    return found;
}

// The last token of a beginning that belongs to `within` and weighs anything: where rounding has let a search run past the
// end, that is the one that is meant.
DEVICE u32 last_token(const Shaped& shaped, const Beginning& within, const Beginning& beginning) {
    // By falling order, so that the first is the last.
    Found<double> mine = {0.0, NO_TOKEN};
    for (u32 v = threadIdx.x; v < u32(shaped.columns); v += ROW_THREADS) {
        double logit = Shaped::logit(shaped, v);
        if (!(logit >= shaped.least) || logit == -INFINITY) continue;
        i64 key = order_of(logit);
        if (!holds(within, key, v) || !(shaped.ordered ? holds(beginning, key, v) : v <= beginning.token)) continue;
        // The token is turned round, so that of equal ones the largest comes first.
        Found<double> here = {shaped.ordered ? -logit : double(v), NO_TOKEN - 1 - v};
        if (comes_first(here, mine)) mine = here;
    }
    Found<double> found = block_first(mine);
    return found.token == NO_TOKEN ? NO_TOKEN : NO_TOKEN - 1 - found.token;
}

// Each row of logits becomes probabilities at the temperature of its draw, in place: at 0 all of it is the likeliest
// token's, and a row from which no token was drawn is zeros. `numbers` and `drawn` are those of `draw_rows`, after it.
KERNEL temper_rows(int columns, const double* numbers, const u32* drawn, float* logits) {
    float* row = logits + i64(blockIdx.x) * columns;
    float temperature = float(numbers[i64(blockIdx.x) * 5 + 1]);
    bool any = drawn[blockIdx.x] != NO_TOKEN;
    if (!any || temperature == 0.0f) {
        Found<float> nobody = {0.0f, NO_TOKEN};
        u32 likeliest = any ? next_token(row, columns, nobody).token : NO_TOKEN;
        __syncthreads();
        for (u32 v = threadIdx.x; v < u32(columns); v += ROW_THREADS) row[v] = v == likeliest ? 1.0f : 0.0f;
        return;
    }
    float largest = -INFINITY;
    for (u32 v = threadIdx.x; v < u32(columns); v += ROW_THREADS) largest = fmaxf(largest, row[v] / temperature);
    largest = block_max(largest);
    float sum = 0.0f;
    for (u32 v = threadIdx.x; v < u32(columns); v += ROW_THREADS) {
        row[v] = expf(row[v] / temperature - largest);
        sum += row[v];
    }
    sum = block_sum(sum);
    for (u32 v = threadIdx.x; v < u32(columns); v += ROW_THREADS) row[v] /= sum;
}

// One token of each row. `repeated` and `biased` hold the bounds of a part of `lists` for each row, and behind the biased
// tokens stand the bits of what is added to their logits; both parts ascend. `numbers`: penalty, temperature, top-p (1 for
// all), the uniform number, and what is added to the largest logit for the least one that is drawn; `summaries` what
// `summarise_rows` has made of the row, and `tokens` its likeliest and its broken one; `result` is the token drawn, or
// NO_TOKEN.
KERNEL draw_rows(int columns, const float* logits, const u32* repeated, const u32* biased, const u32* lists,
                 const u32* top_k, const double* numbers, const double* summaries, const u32* tokens, u32* result,
                 double* probabilities) {
    DYNAMIC_SHARED(u32, bits);
    const float* row = logits + i64(blockIdx.x) * columns;
    const double* number = numbers + i64(blockIdx.x) * 5;
    u32 drawn = tokens[i64(blockIdx.x) * 2];
    u32 repeats = repeated[blockIdx.x * 2 + 1] - repeated[blockIdx.x * 2];
    u32 biases = biased[blockIdx.x * 2 + 1] - biased[blockIdx.x * 2];
    double penalty = number[0], temperature = number[1], top_p = number[2];
    if (drawn != NO_TOKEN && (temperature != 0.0 || repeats > 0 || biases > 0)) {
        const u32 *those_repeated = lists + repeated[blockIdx.x * 2], *those_biased = lists + biased[blockIdx.x * 2];
        bool marked = repeats > 0 || biases > 0;
        if (marked) {
            for (u32 word = threadIdx.x; word < u32(columns + 31) / 32; word += ROW_THREADS) bits[word] = 0;
            __syncthreads();
            mark(bits, those_repeated, repeats, columns);
            mark(bits, those_biased, biases, columns);
        }
        Shaped shaped = {row,     marked ? bits : nullptr, those_repeated, those_biased, repeats, biases,
                         columns, penalty,                 temperature,    0.0,          0.0,     false};
        Found<double> mine = {0.0, NO_TOKEN};
        for (u32 v = threadIdx.x; v < u32(columns); v += ROW_THREADS) {
            Found<double> here = {Shaped::logit(shaped, v), v};
            if (here.value != -INFINITY && comes_first(here, mine)) mine = here;
        }
        Found<double> highest = block_first(mine);
        drawn = highest.token;
        if (temperature != 0.0) {
            shaped.top = highest.value;
            shaped.least = highest.value + number[4];
            Beginning all = {order_of(shaped.least), NO_TOKEN - 1};
            shaped.ordered = true;
            double there = measure(shaped, all, all, true);
            bool cuts = top_k[blockIdx.x] > 0 && top_k[blockIdx.x] < there;
            if (cuts) all = shortest(shaped, all, top_k[blockIdx.x], true, false);
            if (top_p < 1.0) all = shortest(shaped, all, top_p * measure(shaped, all, all, false), false, false);
            shaped.ordered = cuts || top_p < 1.0;
            Beginning everything = {all.key, NO_TOKEN - 1};
            double share = number[3] * measure(shaped, all, everything, false);
            drawn = last_token(shaped, all, shortest(shaped, all, share, false, true));
        }
    }
    if (threadIdx.x == 0) {
        result[blockIdx.x] = drawn;
        probabilities[blockIdx.x] =
            drawn == NO_TOKEN ? 0.0 : exp(double(row[drawn]) - summaries[i64(blockIdx.x) * 4 + 1]);
    }
}

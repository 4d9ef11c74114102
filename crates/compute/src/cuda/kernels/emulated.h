// Kernels on a processor: what `prelude.cuh` has for a GPU, for a C++ compiler.
//
// One block after another; the threads of a block are fibers that run in turn and wait for each other at barriers and
// shuffles. Slow and exact: what a kernel computes here is what its source says, whatever the hardware.
//
// Memory that nothing wrote holds a pattern, that of a block's shared memory too. Kernels are compiled with
// `-fsanitize=thread` and without its library: the functions that it calls at each access stand here, and a read of the
// pattern is an error of the launch. So is an asynchronous copy from 16 bytes some of which nothing wrote.
//
// Asynchronous copies happen as late as they may: at the wait for their group. Until then their bytes in shared memory
// count as unwritten. What the memory model does not promise is an error of the launch: a read of shared memory before
// the copy into it was awaited, or, by another thread than waited, without a barrier behind the wait; a copy over bytes
// that others may still read; a copy that nobody awaits. Reads are checked where the kernel reads by `load_matrices` or
// `shared_four`. Bytes beyond the shared memory of a launch must not change.
#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <ucontext.h>
#include <utility>
#include <vector>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

#define KERNEL static void
#define DEVICE static inline
#define KERNEL_BOUNDED(threads, blocks) KERNEL
#define UNROLL
#define DEVICE_MEMBER inline
// Arrays of blocks stand side by side, so that each block finds them unwritten; GCC before 14 leaves those of templates
// elsewhere.
#ifdef __ELF__
#define SHARED static __attribute__((section("shared_arrays")))
extern "C" unsigned char __start_shared_arrays[], __stop_shared_arrays[];
#else
#define SHARED static
#endif
#define UNCHECKED __attribute__((no_sanitize("thread")))
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(dynamic_shared)

struct Index {
    u32 x, y, z;
};
static Index threadIdx, blockIdx, blockDim, gridDim;
alignas(16) static u8 dynamic_shared[256 * 1024];

namespace emulation {
// Half a word of memory that nothing wrote: no number in bf16, twice none in f32, and no index that there is.
const u16 UNWRITTEN = 0xffe5;
UNCHECKED static void forget(void* place, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) static_cast<u8*>(place)[i] = u8(i % 2 ? UNWRITTEN >> 8 : UNWRITTEN & 0xff);
}
const size_t STACK = 64 * 1024;
const int LANES = 32;
struct Barrier {
    int arrived = 0, alive = 0;
    long generation = 0;
};
// What is known of 16 bytes of shared memory: whose copy into them is under way or was awaited, and who read them, each
// with the generation of the block's barrier.
struct Chunk {
    enum { PLAIN, COMING, ARRIVED } state = PLAIN;
    u32 owner = 0, reader = 0;
    long arrived = -1, read = -1;
};
const size_t CHUNK = 16, BEYOND = 256;
const u32 SEVERAL = ~0u;
struct Copy {
    u8* to;
    const u8* from;
    int bytes;
};
struct Fiber {
    // A context to begin with, which saves the signal mask by a call to the system; then plain jumps.
    ucontext_t context;
    jmp_buf place;
    bool begun = false;
    std::vector<u8> stack = std::vector<u8>(STACK);
    bool done = false;
    // Copies that are under way, oldest first, and how many of them were there at each commit.
    std::vector<Copy> copies;
    std::vector<size_t> groups;
};
static std::vector<Fiber*> fibers;
static std::vector<Barrier> warps;
static Barrier block;
static ucontext_t origin;
static jmp_buf scheduler;
static u32 current;
static long waiting;
static std::vector<u32> words;
// What each lane of a warp hands over to an instruction of the whole warp.
struct Operands {
    const char* instruction;
    const void *in, *more;
    void* out;
};
static std::vector<Operands> operands;
static std::vector<Chunk> chunks(sizeof(dynamic_shared) / CHUNK);
// Bytes of shared memory of the launch, and how many chunks the block has used.
static size_t shared_bytes, used_chunks;
// The first error of a launch, in words; copies of more than zeros; accesses of eight rows at once by `load_matrices`,
// and how many turns more than one they take because rows share banks.
static std::string trouble;
static u64 copied, accesses, conflicts;
static void (*body)(void**);
static void** arguments;

static void fail(const char* format, ...) {
    if (!trouble.empty()) return;
    char text[256];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    char place[96];
    snprintf(place, sizeof place, "block (%u, %u), thread %u: ", blockIdx.x, blockIdx.y, threadIdx.x);
    trouble = std::string(place) + text;
}
// The first bytes of a read that nothing wrote, by words; single bytes may be anything.
UNCHECKED static void check_read(const void* place, size_t bytes) {
    const u16* halves = static_cast<const u16*>(place);
    if (bytes == 2 && *halves == UNWRITTEN) return fail("reads 2 bytes of memory that nothing wrote");
    for (size_t i = 0; i + 4 <= bytes; i += 4)
        if (halves[i / 2] == UNWRITTEN && halves[i / 2 + 1] == UNWRITTEN)
            return fail("reads %zu bytes of memory, of which nothing wrote byte %zu", bytes, i);
}
static void give_way() {
    // Every fiber looked at its barrier many times and none opened.
    if (++waiting > 100000000) {
        fprintf(stderr, "the threads of a block wait for each other for ever\n");
        abort();
    }
    if (!_setjmp(fibers[current]->place)) _longjmp(scheduler, 1);
}
static void open_if_full(Barrier& barrier) {
    if (barrier.alive > 0 && barrier.arrived >= barrier.alive) {
        barrier.arrived = 0;
        barrier.generation++;
        waiting = 0;
    }
}
static void wait(Barrier& barrier) {
    long generation = barrier.generation;
    barrier.arrived++;
    open_if_full(barrier);
    while (barrier.generation == generation) give_way();
}
static void enter() {
    body(arguments);
    fibers[current]->done = true;
    if (!fibers[current]->copies.empty()) fail("ends with a copy that it did not await");
    block.alive--;
    open_if_full(block);
    Barrier& warp = warps[current / LANES];
    warp.alive--;
    open_if_full(warp);
    _longjmp(scheduler, 1);
}
static void resume(Fiber& fiber) {
    if (_setjmp(scheduler)) return;
    if (fiber.begun) _longjmp(fiber.place, 1);
    fiber.begun = true;
    swapcontext(&origin, &fiber.context);
}
static void run_block(u32 threads) {
    while (fibers.size() < threads) fibers.push_back(new Fiber);
    block = Barrier{0, int(threads), 0};
    warps.assign((threads + LANES - 1) / LANES, Barrier{});
    words.assign(threads, 0);
    operands.assign(threads, Operands{});
    std::fill(chunks.begin(), chunks.begin() + used_chunks, Chunk{});
    used_chunks = 0;
    forget(dynamic_shared, shared_bytes + BEYOND);
#ifdef __ELF__
    forget(__start_shared_arrays, __stop_shared_arrays - __start_shared_arrays);
#endif
    waiting = 0;
    for (u32 i = 0; i < threads; i++) {
        warps[i / LANES].alive++;
        Fiber& fiber = *fibers[i];
        fiber.done = fiber.begun = false;
        fiber.copies.clear();
        fiber.groups.clear();
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, enter, 0);
    }
    for (u32 left = threads; left > 0;) {
        left = 0;
        for (u32 i = 0; i < threads; i++) {
            if (fibers[i]->done) continue;
            current = i;
            threadIdx = Index{i, 0, 0};
            resume(*fibers[i]);
            if (!fibers[i]->done) left++;
        }
    }
    for (size_t i = shared_bytes; i < shared_bytes + BEYOND; i++)
        if (dynamic_shared[i] != u8(i % 2 ? UNWRITTEN >> 8 : UNWRITTEN & 0xff)) fail("byte %zu of %zu of shared memory was written", i, shared_bytes);
}

// The chunk of shared memory at a place; none, and an error, where 16 bytes there are not the launch's.
static Chunk* chunk_at(const void* place, const char* what) {
    size_t at = static_cast<const u8*>(place) - dynamic_shared;
    if (at >= sizeof(dynamic_shared) || at / CHUNK * CHUNK + CHUNK > shared_bytes) {
        fail("%s beyond the %zu bytes of shared memory", what, shared_bytes);
        return nullptr;
    }
    used_chunks = std::max(used_chunks, at / CHUNK + 1);
    return &chunks[at / CHUNK];
}
// That this thread, or all of its warp, may read what lies there, and that it does.
static void reading(const void* place, u32 reader) {
    Chunk* chunk = chunk_at(place, "reads");
    if (!chunk) return;
    size_t at = static_cast<const u8*>(place) - dynamic_shared;
    if (chunk->state == Chunk::COMING)
        fail("reads byte %zu of shared memory before the copy by thread %u is awaited", at, chunk->owner);
    if (chunk->state == Chunk::ARRIVED && reader != chunk->owner && chunk->arrived == block.generation)
        fail("reads byte %zu of shared memory without a barrier behind the wait by thread %u", at, chunk->owner);
    chunk->reader = chunk->read == block.generation && chunk->reader != reader ? SEVERAL : reader;
    chunk->read = block.generation;
}
// One instruction of a whole warp: the last lane to come does the work of all.
template <class Work> void together(Operands mine, Work work) {
    u32 first = current / LANES * LANES;
    Barrier& warp = warps[current / LANES];
    operands[current] = mine;
    if (warp.arrived + 1 == warp.alive) {
        if (warp.alive != LANES) fail("%s without all lanes of the warp", mine.instruction);
        for (int lane = 0; lane < warp.alive; lane++)
            if (operands[first + lane].instruction != mine.instruction)
                fail("%s beside %s in one warp", mine.instruction, operands[first + lane].instruction);
        if (warp.alive == LANES && trouble.empty()) work(&operands[first]);
    }
    wait(warp);
}
static float half_of(u32 word, int high) {
    u32 bits = high ? word & 0xffff0000u : word << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

template <class T> T read(void* argument) { return *static_cast<T*>(argument); }
template <class... A, size_t... I> void call(void (*kernel)(A...), void** from, std::index_sequence<I...>) {
    kernel(read<A>(from[I])...);
}
template <class... A> void unpack(void (*kernel)(A...), void** from) {
    call(kernel, from, std::index_sequence_for<A...>());
}
// How a type is written in the source of a kernel.
template <class T> struct Name;
#define NAME(type) template <> struct Name<type> { static const char* of() { return #type; } }
NAME(int);
NAME(u32);
NAME(i64);
NAME(float);
NAME(const float*);
NAME(float*);
NAME(const double*);
NAME(double*);
NAME(const u32*);
NAME(u32*);
NAME(const i64*);
NAME(i64*);
NAME(const u16*);
NAME(u16*);
NAME(const u8*);
NAME(u8*);
NAME(const signed char*);
NAME(signed char*);
template <class... A> const char* signature(void (*)(A...)) {
    static std::string text;
    if (text.empty()) {
        const char* names[] = {Name<A>::of()...};
        for (const char* name : names) text += text.empty() ? name : std::string(", ") + name;
    }
    return text.c_str();
}
static u32 exchange(u32 word, u32 lane) {
    u32 first = current / LANES * LANES;
    words[current] = word;
    wait(warps[current / LANES]);
    u32 result = words[first + lane % LANES];
    wait(warps[current / LANES]);
    return result;
}
} // namespace emulation

// What `-fsanitize=thread` calls.
#define ON_READ(bytes)                                                                                                 \
    UNCHECKED void __tsan_read##bytes(void* place) { emulation::check_read(place, bytes); }                            \
    UNCHECKED void __tsan_unaligned_read##bytes(void* place) { emulation::check_read(place, bytes); }                  \
    UNCHECKED void __tsan_write##bytes(void*) {}                                                                       \
    UNCHECKED void __tsan_unaligned_write##bytes(void*) {}
extern "C" {
ON_READ(1)
ON_READ(2)
ON_READ(4)
ON_READ(8)
ON_READ(16)
UNCHECKED void __tsan_init() {}
UNCHECKED void __tsan_func_entry(void*) {}
UNCHECKED void __tsan_func_exit() {}
UNCHECKED void __tsan_read_range(void*, size_t) {}
UNCHECKED void __tsan_write_range(void*, size_t) {}
UNCHECKED void __tsan_vptr_read(void*) {}
UNCHECKED void __tsan_vptr_update(void*, void*) {}
// Clang's.
UNCHECKED void* __tsan_memcpy(void* to, const void* from, size_t bytes) { return memcpy(to, from, bytes); }
UNCHECKED void* __tsan_memmove(void* to, const void* from, size_t bytes) { return memmove(to, from, bytes); }
UNCHECKED void* __tsan_memset(void* to, int byte, size_t bytes) { return memset(to, byte, bytes); }
}

DEVICE u32 bits_of(float value) {
    u32 bits;
    memcpy(&bits, &value, 4);
    return bits;
}
DEVICE i64 bits_of(double value) {
    i64 bits;
    memcpy(&bits, &value, 8);
    return bits;
}
DEVICE float float_of(u32 bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
DEVICE void __syncthreads() { emulation::wait(emulation::block); }
DEVICE int __syncthreads_or(int predicate) {
    static int any;
    if (predicate) any = 1;
    emulation::wait(emulation::block);
    int result = any;
    emulation::wait(emulation::block);
    any = 0;
    emulation::wait(emulation::block);
    return result;
}
DEVICE void __syncwarp() { emulation::wait(emulation::warps[emulation::current / emulation::LANES]); }
DEVICE float __shfl_sync(u32, float value, u32 lane) { return float_of(emulation::exchange(bits_of(value), lane)); }
DEVICE float __shfl_xor_sync(u32, float value, u32 mask) {
    return float_of(emulation::exchange(bits_of(value), threadIdx.x % emulation::LANES ^ mask));
}
DEVICE int __dp4a(int a, int b, int sum) {
    for (int i = 0; i < 4; i++) sum += int((signed char)(a >> 8 * i)) * int((signed char)(b >> 8 * i));
    return sum;
}

template <class Fold> u32 fold_words(const char* instruction, u32 word, Fold fold) {
    u32 result = 0;
    emulation::together({instruction, &word, nullptr, &result}, [&](emulation::Operands* lanes) {
        u32 all = *static_cast<const u32*>(lanes[0].in);
        for (int i = 1; i < emulation::LANES; i++) all = fold(all, *static_cast<const u32*>(lanes[i].in));
        for (int i = 0; i < emulation::LANES; i++) *static_cast<u32*>(lanes[i].out) = all;
    });
    return result;
}
DEVICE u32 __reduce_min_sync(u32, u32 word) {
    return fold_words("redux.min", word, [](u32 a, u32 b) { return std::min(a, b); });
}
DEVICE u32 __reduce_max_sync(u32, u32 word) {
    return fold_words("redux.max", word, [](u32 a, u32 b) { return std::max(a, b); });
}
DEVICE int __any_sync(u32, int predicate) {
    return fold_words("vote.any", predicate != 0, [](u32 a, u32 b) { return a | b; });
}
DEVICE int __all_sync(u32, int predicate) {
    return fold_words("vote.all", predicate != 0, [](u32 a, u32 b) { return a & b; });
}

// See `prelude.cuh` for all that follow.
DEVICE void multiply_tile(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    using namespace emulation;
    together({"mma", a, b, d}, [](Operands* lanes) {
        float left[16][16], right[16][8], sum[16][8];
        for (int lane = 0; lane < LANES; lane++) {
            const u32 *a = static_cast<const u32*>(lanes[lane].in), *b = static_cast<const u32*>(lanes[lane].more);
            const float* d = static_cast<const float*>(lanes[lane].out);
            int row = lane / 4, pair = 2 * (lane % 4);
            for (int half = 0; half < 2; half++) {
                for (int i = 0; i < 4; i++)
                    left[row + 8 * (i % 2)][pair + 8 * (i / 2) + half] = half_of(a[i], half);
                for (int i = 0; i < 2; i++) {
                    right[pair + 8 * i + half][row] = half_of(b[i], half);
                    sum[row + 8 * i][pair + half] = d[2 * i + half];
                }
            }
        }
        for (int row = 0; row < 16; row++)
            for (int k = 0; k < 16; k++)
                for (int column = 0; column < 8; column++) sum[row][column] += left[row][k] * right[k][column];
        for (int lane = 0; lane < LANES; lane++)
            for (int i = 0; i < 4; i++)
                static_cast<float*>(lanes[lane].out)[i] = sum[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2];
    });
}
template <bool TURNED> void load_matrices_of(u32 (&words)[4], const u16* row) {
    using namespace emulation;
    together({TURNED ? "ldmatrix.trans" : "ldmatrix", row, nullptr, words}, [](Operands* lanes) {
        for (int i = 0; i < 4; i++) {
            u16 matrix[8][8];
            int turns[8] = {};
            const void* rows[8];
            for (int r = 0; r < 8; r++) {
                rows[r] = lanes[8 * i + r].in;
                size_t at = static_cast<const u8*>(rows[r]) - dynamic_shared;
                if (at % CHUNK != 0) fail("ldmatrix from byte %zu of shared memory, which is no multiple of 16", at);
                reading(rows[r], SEVERAL);
                if (!trouble.empty()) return;
                memcpy(matrix[r], rows[r], CHUNK);
                // Rows that are the same are read once.
                if (std::find(rows, rows + r, rows[r]) == rows + r) turns[at / CHUNK % 8]++;
            }
            accesses++;
            conflicts += *std::max_element(turns, turns + 8) - 1;
            for (int lane = 0; lane < LANES; lane++) {
                int row = lane / 4, pair = 2 * (lane % 4);
                u16 low = TURNED ? matrix[pair][row] : matrix[row][pair];
                u16 high = TURNED ? matrix[pair + 1][row] : matrix[row][pair + 1];
                static_cast<u32*>(lanes[lane].out)[i] = low | u32(high) << 16;
            }
        }
    });
}
DEVICE void load_matrices(u32 (&words)[4], const u16* row) { load_matrices_of<false>(words, row); }
DEVICE void load_turned_matrices(u32 (&words)[4], const u16* row) { load_matrices_of<true>(words, row); }
DEVICE void copy_async(void* to, const void* from, int bytes) {
    using namespace emulation;
    Chunk* chunk = chunk_at(to, "copies");
    if (!chunk) return;
    size_t at = static_cast<u8*>(to) - dynamic_shared;
    if (at % CHUNK != 0 || size_t(from) % CHUNK != 0) fail("a copy whose ends are no multiples of 16 bytes");
    if (bytes < 0 || bytes > int(CHUNK)) fail("a copy of %d bytes", bytes);
    if (chunk->state == Chunk::COMING) fail("copies over byte %zu, into which a copy is under way", at);
    if (chunk->read == block.generation && chunk->reader != current)
        fail("copies over byte %zu of shared memory, which others may still read", at);
    chunk->state = Chunk::COMING;
    chunk->owner = current;
    copied += bytes > 0;
    forget(to, CHUNK);
    // As compute-sanitizer has it, however many of them are wanted.
    if (bytes > 0) check_read(from, CHUNK);
    fibers[current]->copies.push_back({static_cast<u8*>(to), static_cast<const u8*>(from), bytes});
}
DEVICE void commit_copies() {
    emulation::Fiber& fiber = *emulation::fibers[emulation::current];
    fiber.groups.push_back(fiber.copies.size());
}
template <int PENDING> void await_copies() {
    using namespace emulation;
    Fiber& fiber = *fibers[current];
    if (fiber.groups.size() <= PENDING) return;
    size_t groups = fiber.groups.size() - PENDING, count = fiber.groups[groups - 1];
    for (size_t i = 0; i < count; i++) {
        const Copy& copy = fiber.copies[i];
        memcpy(copy.to, copy.from, copy.bytes);
        memset(copy.to + copy.bytes, 0, CHUNK - copy.bytes);
        Chunk& chunk = chunks[(copy.to - dynamic_shared) / CHUNK];
        chunk.state = Chunk::ARRIVED;
        chunk.arrived = block.generation;
    }
    fiber.copies.erase(fiber.copies.begin(), fiber.copies.begin() + count);
    fiber.groups.erase(fiber.groups.begin(), fiber.groups.begin() + groups);
    for (size_t& end : fiber.groups) end -= count;
}
DEVICE float exp2_fast(float x) {
    float result = exp2f(x);
    return result < 1.17549435e-38f ? 0.0f : result;
}
DEVICE void shared_four(u32 (&to)[4], const u32* from) {
    emulation::reading(from, emulation::current);
    if (size_t(from) % 16 != 0) emulation::fail("four words that are not aligned");
    memcpy(to, from, 16);
}
DEVICE void read_four(float (&to)[4], const float* from) {
    if (size_t(from) % 16 != 0) emulation::fail("four numbers that are not aligned");
    memcpy(to, from, 16);
}
DEVICE void write_pair(float* to, float low, float high) {
    if (size_t(to) % 8 != 0) emulation::fail("a pair that is not aligned");
    to[0] = low;
    to[1] = high;
}
DEVICE u32 pair_bf16(float low, float high) {
    auto rounded = [](float value) {
        u32 bits = bits_of(value);
        if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffu;
        return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    };
    return rounded(low) | rounded(high) << 16;
}

static void launch_blocks(void (*body)(void**), u32 x, u32 y, u32 threads, u32 shared, void** arguments) {
    emulation::trouble.clear();
    emulation::copied = emulation::accesses = emulation::conflicts = 0;
    emulation::shared_bytes = shared;
    emulation::body = body;
    emulation::arguments = arguments;
    gridDim = Index{x, y, 1};
    blockDim = Index{threads, 1, 1};
    for (u32 j = 0; j < y; j++)
        for (u32 i = 0; i < x; i++) {
            blockIdx = Index{i, j, 0};
            emulation::run_block(threads);
        }
}

// Kernels on a processor: what `prelude.cuh` has for a GPU, for a C++ compiler.
//
// One block after another; the threads of a block are fibers that run in turn and wait for each other at barriers and
// shuffles. Slow and exact: what a kernel computes here is what its source says, whatever the hardware.
#include <cmath>
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
#define SHARED static
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(dynamic_shared)

struct Index {
    u32 x, y, z;
};
static Index threadIdx, blockIdx, blockDim, gridDim;
alignas(16) static u8 dynamic_shared[256 * 1024];

namespace emulation {
const size_t STACK = 64 * 1024;
const int LANES = 32;
struct Barrier {
    int arrived = 0, alive = 0;
    long generation = 0;
};
struct Fiber {
    // A context to begin with, which saves the signal mask by a call to the system; then plain jumps.
    ucontext_t context;
    jmp_buf place;
    bool begun = false;
    std::vector<u8> stack = std::vector<u8>(STACK);
    bool done = false;
};
static std::vector<Fiber*> fibers;
static std::vector<Barrier> warps;
static Barrier block;
static ucontext_t origin;
static jmp_buf scheduler;
static u32 current;
static long waiting;
static std::vector<u32> words, more;
static void (*body)(void**);
static void** arguments;

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
    more.assign(threads * 6, 0);
    waiting = 0;
    for (u32 i = 0; i < threads; i++) {
        warps[i / LANES].alive++;
        Fiber& fiber = *fibers[i];
        fiber.done = fiber.begun = false;
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

// See `prelude.cuh`: each lane lays its fragments down, and each takes the products of its places of D.
DEVICE void multiply_tile(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    using namespace emulation;
    u32 first = current / LANES * LANES, lane = current - first;
    u32* mine = &more[current * 6];
    for (int i = 0; i < 4; i++) mine[i] = a[i];
    for (int i = 0; i < 2; i++) mine[4 + i] = b[i];
    wait(warps[first / LANES]);
    auto half = [](u32 word, int high) { return float_of(high ? word & 0xffff0000u : word << 16); };
    for (int i = 0; i < 4; i++) {
        u32 row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
        for (u32 k = 0; k < 16; k++) {
            const u32* left = &more[(first + (row % 8) * 4 + k % 8 / 2) * 6];
            const u32* right = &more[(first + column * 4 + k % 8 / 2) * 6];
            d[i] += half(left[row / 8 + 2 * (k / 8)], k % 2) * half(right[4 + k / 8], k % 2);
        }
    }
    wait(warps[first / LANES]);
}

static void launch_blocks(void (*body)(void**), u32 x, u32 y, u32 threads, void** arguments) {
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

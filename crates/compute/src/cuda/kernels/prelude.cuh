// What every kernel file begins with when it is compiled for a GPU. `emulated.h` has the same names for a processor.
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

#define KERNEL extern "C" __global__ void
// At most so many threads in a block, and registers for so many blocks on a multiprocessor at least.
#define KERNEL_BOUNDED(threads, blocks) extern "C" __global__ void __launch_bounds__(threads, blocks)
// Arrays stay in registers only where every index is a constant.
#define UNROLL _Pragma("unroll")
#define DEVICE static __device__ __forceinline__
#define DEVICE_MEMBER __device__ __forceinline__
#define SHARED __shared__
#define DYNAMIC_SHARED(type, name)                                                                                     \
    extern __shared__ __align__(16) u8 dynamic_shared[];                                                               \
    type* name = reinterpret_cast<type*>(dynamic_shared)

// No header is at hand when a program is compiled at run time.
#define INFINITY __int_as_float(0x7f800000)

DEVICE u32 bits_of(float value) { return __float_as_uint(value); }
DEVICE i64 bits_of(double value) { return __double_as_longlong(value); }
DEVICE float float_of(u32 bits) { return __uint_as_float(bits); }

// D += A B for one warp: A 16×16 and B 16×8 in bfloat16, D 16×8 in f32, in the fragments of the PTX ISA, section
// "Matrix Fragments for mma.m16n8k16". Lane l holds of A the rows l/4 and l/4+8 at columns 2(l%4) and +1, then both
// rows at those columns + 8; of B the rows 2(l%4), +1, then those + 8, of column l/4; of D the rows l/4 (0, 1) and
// l/4+8 (2, 3) at columns 2(l%4) and +1.
DEVICE void multiply_tile(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// ldmatrix.x4: lane l gives the place of row l % 8 of matrix l / 8, 16 bytes in shared memory; of each of the four 8×8
// matrices it takes the elements 2(l%4) and +1 of row l/4, turned those of column l/4.
DEVICE void load_matrices(u32 (&words)[4], const u16* row) {
    u32 place = u32(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(place));
}
DEVICE void load_turned_matrices(u32 (&words)[4], const u16* row) {
    u32 place = u32(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(place));
}

// cp.async: 16 bytes of shared memory, of which the first `bytes` come from memory and the others are zeros; both ends
// are aligned to 16. They may be read by this thread behind the wait for their group, by others behind a barrier too.
DEVICE void copy_async(void* to, const void* from, int bytes) {
    u32 place = u32(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" : : "r"(place), "l"(from), "r"(bytes) : "memory");
}
// The copies of this thread since the last commit become a group.
DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" : : : "memory"); }
// Waits for all groups of this thread but the newest `PENDING`.
template <int PENDING> DEVICE void await_copies() {
    asm volatile("cp.async.wait_group %0;" : : "n"(PENDING) : "memory");
}

// 2^x, off by at most 2^-22 of itself; results below 2^-126 are zero.
DEVICE float exp2_fast(float x) {
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
}
// Both to the nearest bfloat16, ties to even, the first in the low half.
DEVICE u32 pair_bf16(float low, float high) {
    u32 result;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
    return result;
}

// Several numbers at once, aligned to their size; the first from shared memory, into which copies may go.
DEVICE void shared_four(u32 (&to)[4], const u32* from) {
    uint4 value = *reinterpret_cast<const uint4*>(from);
    to[0] = value.x, to[1] = value.y, to[2] = value.z, to[3] = value.w;
}
DEVICE void read_four(float (&to)[4], const float* from) {
    float4 value = *reinterpret_cast<const float4*>(from);
    to[0] = value.x, to[1] = value.y, to[2] = value.z, to[3] = value.w;
}
DEVICE void write_pair(float* to, float low, float high) { *reinterpret_cast<float2*>(to) = make_float2(low, high); }

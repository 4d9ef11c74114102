// What every kernel file begins with when it is compiled for a GPU. `emulated.h` has the same names for a processor.
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

#define KERNEL extern "C" __global__ void
#define DEVICE static __device__ __forceinline__
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

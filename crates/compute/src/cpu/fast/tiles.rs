//! Products of bf16 in tiles: AMX keeps eight matrices of 16 × 64 bytes in registers and multiplies two of them at once.
//!
//! A block of 32 × 32 outputs is four tiles of sums; each step of the sum loads two tiles of either factor, 16 groups
//! long, and multiplies each with each. Sums are of the even and of the odd elements of 16 groups, then of both, then of
//! the steps ("Intel 64 and IA-32 Architectures Software Developer's Manual", volume 2, TDPBF16PS): the same for a row
//! whatever rows stand beside it. Values below the smallest normal number count as zero.

use super::kernel::{Left, Output, Right};
use std::arch::asm;
use std::sync::OnceLock;

/// Rows of a tile, groups of its rows, and columns of a tile of sums.
const SIDE: usize = 16;
/// Rows and columns of a block of outputs.
const BLOCK: usize = 2 * SIDE;
/// Bytes of a row of a tile.
const LINE: usize = 64;

/// Whether the processor multiplies bf16 in tiles and the system lets this process do so.
pub(in crate::cpu) fn are_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_instructions() && is_permitted())
}

/// Tiles and products of bf16 in them (leaf 7 of `cpuid`).
fn has_instructions() -> bool {
    const TILES: u32 = 1 << 24;
    const BF16: u32 = 1 << 22;
    let leaves = std::arch::x86_64::__cpuid(0).eax;
    leaves >= 7 && std::arch::x86_64::__cpuid_count(7, 0).edx & (TILES | BF16) == TILES | BF16
}

/// Asks the system for the registers of tiles, which a process has only once it asked (Linux,
/// Documentation/arch/x86/xstate.rst).
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const TILE_DATA: usize = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: the call changes only what this process may use; the kernel keeps all registers but those named.
    unsafe {
        asm!("syscall", inlateout("rax") result, in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") TILE_DATA,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result == 0
}

/// No other system is known to give them.
#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// The sizes of the eight tiles: sums in 0 to 3, the left factor in 4 and 5, the right one in 6 and 7.
#[repr(C, align(64))]
struct Sizes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_of_rows: [u16; 16],
    rows: [u8; 16],
}

impl Sizes {
    /// For so many rows of the upper and of the lower half, and so many groups in a step.
    fn new((upper, lower): (usize, usize), groups: usize) -> Self {
        let (upper_rows, lower_rows, group_rows) = (upper as u8, lower as u8, groups as u8);
        // A tile without rows is none, and then has no bytes either.
        let of = |rows: usize, bytes: usize| if rows == 0 { 0 } else { bytes as u16 };
        let (sums, left) = (LINE, groups * size_of::<f32>());
        let mut sizes = Self { palette: 1, start_row: 0, reserved: [0; 14], bytes_of_rows: [0; 16], rows: [0; 16] };
        sizes.rows[..8].copy_from_slice(&[
            upper_rows, upper_rows, lower_rows, lower_rows, upper_rows, lower_rows, group_rows, group_rows,
        ]);
        sizes.bytes_of_rows[..8].copy_from_slice(&[
            of(upper, sums),
            of(upper, sums),
            of(lower, sums),
            of(lower, sums),
            of(upper, left),
            of(lower, left),
            LINE as u16,
            LINE as u16,
        ]);
        sizes
    }

    /// Makes these the sizes of the tiles, which are all zero then.
    ///
    /// # Safety
    /// The processor has tiles, and the process may use them.
    unsafe fn set(&self) {
        // SAFETY: 64 bytes are read.
        unsafe { asm!("ldtilecfg [{}]", in(reg) self, options(nostack, readonly)) };
    }
}

/// Operations of one product of two tiles.
pub(in crate::cpu) const OPERATIONS: f64 = (2 * SIDE * SIDE * 2 * SIDE) as f64;

/// Multiplies tiles of zeros, so many times for each tile of sums: what the processor does at most.
///
/// # Safety
/// The processor has tiles, and the process may use them.
pub(in crate::cpu) unsafe fn multiply_zeros(times: u32) {
    // SAFETY: as the caller vouches for; nothing but the tiles is written.
    unsafe {
        Sizes::new((SIDE, SIDE), SIDE).set();
        for _ in 0..times {
            asm!(
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                options(nostack, nomem)
            );
        }
        asm!("tilerelease", options(nostack, nomem));
    }
}

/// Multiplies `rows × groups` by `groups × columns`, columns in panels of `width`, a multiple of [`BLOCK`].
///
/// # Safety
/// As for [`super::kernel::Kernel::multiply`]; the groups of a row of the left factor lie side by side.
pub(super) unsafe fn multiply(
    (rows, columns, groups): (usize, usize, usize),
    left: Left,
    (right, width): (Right, usize),
    output: Output,
) {
    debug_assert_eq!(left.group_stride, 1, "a tile is loaded row by row");
    let whole = groups / SIDE * SIDE;
    for (range, step) in [((0, whole), SIDE), ((whole, groups), groups - whole)] {
        if range.0 == range.1 {
            continue;
        }
        let accumulate = output.accumulate || range.0 > 0;
        for (rows, height) in [((0, rows / BLOCK * BLOCK), BLOCK), ((rows / BLOCK * BLOCK, rows), rows % BLOCK)] {
            if rows.0 == rows.1 {
                continue;
            }
            let halves = (height.min(SIDE), height.saturating_sub(SIDE));
            // SAFETY: the caller vouches for the instructions.
            unsafe { Sizes::new(halves, step).set() };
            for column in (0..columns).step_by(BLOCK) {
                let (panel, place) = (column / width, column % width);
                let right = right.start.wrapping_add(panel * right.panel_stride + range.0 * width + place);
                for row in (rows.0..rows.1).step_by(height) {
                    let left = Left { start: left.start.wrapping_add(row * left.row_stride + range.0), ..left };
                    let start = output.start.wrapping_add(row * output.row_stride + column);
                    let output = Output { start, accumulate, ..output };
                    let steps = (range.1 - range.0) / step;
                    // SAFETY: the addresses are inside what the caller vouches for; a block that is not filled goes
                    // through one of our own.
                    unsafe {
                        if columns - column >= BLOCK {
                            block(halves, (steps, step), left, (right, width), output);
                        } else {
                            let mut sums = [0.0; BLOCK * BLOCK];
                            let own = Output { start: sums.as_mut_ptr(), row_stride: BLOCK, accumulate: false };
                            block(halves, (steps, step), left, (right, width), own);
                            output.write(&sums, BLOCK, (height, columns - column));
                        }
                    }
                }
            }
        }
    }
    // SAFETY: no tile is used behind it. A system that saves registers need not save these.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// A block of outputs of [`BLOCK`] columns, or of fewer rows.
///
/// # Safety
/// As for [`multiply`]; the tiles have the sizes of these rows and of this step.
unsafe fn block(
    (upper, lower): (usize, usize),
    (steps, step): (usize, usize),
    left: Left,
    (right, width): (*const f32, usize),
    output: Output,
) {
    let both = lower > 0;
    debug_assert!(upper > 0, "a block has rows");
    let (left_stride, right_stride) = (left.row_stride * size_of::<f32>(), width * size_of::<f32>());
    let output_stride = output.row_stride * size_of::<f32>();
    let below = output.start.wrapping_add(SIDE * output.row_stride);
    // SAFETY: the caller vouches for the addresses and the sizes. The compiler knows no tiles and uses none.
    unsafe {
        if output.accumulate {
            asm!("tileloadd tmm0, [{c} + {s}]", "tileloadd tmm1, [{c} + {s} + 64]",
                c = in(reg) output.start, s = in(reg) output_stride, options(nostack, readonly));
            if both {
                asm!("tileloadd tmm2, [{c} + {s}]", "tileloadd tmm3, [{c} + {s} + 64]",
                    c = in(reg) below, s = in(reg) output_stride, options(nostack, readonly));
            }
        } else {
            asm!("tilezero tmm0", "tilezero tmm1", options(nostack, nomem));
            if both {
                asm!("tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
            }
        }
        let (mut a, mut b) = (left.start, right);
        let under = SIDE * left.row_stride;
        for _ in 0..steps {
            if both {
                asm!("tileloadd tmm6, [{b} + {t}]", "tileloadd tmm4, [{a} + {s}]", "tileloadd tmm7, [{b} + {t} + 64]",
                    "tileloadd tmm5, [{u} + {s}]",
                    "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7",
                    "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
                    a = in(reg) a, u = in(reg) a.wrapping_add(under), s = in(reg) left_stride,
                    b = in(reg) b, t = in(reg) right_stride, options(nostack, readonly));
            } else {
                asm!("tileloadd tmm6, [{b} + {t}]", "tileloadd tmm4, [{a} + {s}]", "tileloadd tmm7, [{b} + {t} + 64]",
                    "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7",
                    a = in(reg) a, s = in(reg) left_stride,
                    b = in(reg) b, t = in(reg) right_stride, options(nostack, readonly));
            }
            a = a.wrapping_add(step);
            b = b.wrapping_add(step * width);
        }
        asm!("tilestored [{c} + {s}], tmm0", "tilestored [{c} + {s} + 64], tmm1",
            c = in(reg) output.start, s = in(reg) output_stride, options(nostack));
        if both {
            asm!("tilestored [{c} + {s}], tmm2", "tilestored [{c} + {s} + 64], tmm3",
                c = in(reg) below, s = in(reg) output_stride, options(nostack));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs of small whole numbers, which products and their sums keep exactly.
    fn group(first: usize, second: usize) -> (f32, [f32; 2]) {
        let [low, high] = [first % 7, second % 5].map(|x| x as f32 - 2.0);
        (f32::from_bits((low.to_bits() >> 16) | (high.to_bits() & 0xffff_0000)), [low, high])
    }

    #[test]
    fn blocks_of_any_size_are_exact_and_a_row_is_the_same_whatever_stands_beside_it() {
        if !are_available() {
            println!("skipped: this processor has no tiles");
            return;
        }
        const WIDTH: usize = 64;
        for (rows, columns, groups) in [
            (1, 1, 1),
            (15, 31, 15),
            (16, 32, 16),
            (17, 33, 17),
            (32, 64, 32),
            (33, 65, 40),
            (61, 100, 37),
            (96, 128, 7),
        ] {
            let panels = usize::div_ceil(columns, WIDTH);
            let left: Vec<_> = (0..rows * groups).map(|i| group(3 * i + i / groups, i)).collect();
            let right: Vec<_> = (0..panels * groups * WIDTH).map(|i| group(i, i / 3)).collect();
            let factor = |of: &[(f32, [f32; 2])]| of.iter().map(|(packed, _)| *packed).collect::<Vec<_>>();
            let (a, b) = (factor(&left), factor(&right));
            for accumulate in [false, true] {
                let stride = columns + 3;
                let product = |row: usize, rows: usize| {
                    let mut out = vec![0.5_f32; rows * stride];
                    let left = Left { start: a[row * groups..].as_ptr(), row_stride: groups, group_stride: 1 };
                    let right = Right { start: b.as_ptr(), panel_stride: groups * WIDTH };
                    let output = Output { start: out.as_mut_ptr(), row_stride: stride, accumulate };
                    // SAFETY: tiles are available; all factors and the output were made of this size.
                    unsafe { multiply((rows, columns, groups), left, (right, WIDTH), output) };
                    out
                };
                let out = product(0, rows);
                for (i, row) in out.chunks_exact(stride).enumerate() {
                    for (j, got) in row.iter().enumerate() {
                        let pairs = (0..groups).map(|g: usize| {
                            let (x, y) =
                                (left[i * groups + g].1, right[(j / WIDTH * groups + g) * WIDTH + j % WIDTH].1);
                            x[0] * y[0] + x[1] * y[1]
                        });
                        let beside = j >= columns;
                        let expected =
                            if beside { 0.5 } else { pairs.sum::<f32>() + if accumulate { 0.5 } else { 0.0 } };
                        assert_eq!(*got, expected, "{rows} × {groups} × {columns}, {accumulate}, at {i}, {j}");
                    }
                    assert_eq!(row[..columns], product(i, 1)[..columns], "row {i} of {rows} alone");
                }
            }
        }
    }
}

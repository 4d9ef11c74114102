//! Loops that the compiler turns into vector instructions, and the few functions that they share.
//!
//! [`vectorised!`] compiles a body once for each instruction set. Sums have sixteen or more partial sums in a fixed
//! order, because the compiler may not reorder additions by itself.

/// Defines a function that takes the path as its first argument and runs the body compiled for it.
macro_rules! vectorised {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$attribute])*
        $visibility fn $name(path: $crate::cpu::CpuPath, $($argument: $type),*) $(-> $result)? {
            #[inline(always)]
            fn body($($argument: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn narrow($($argument: $type),*) $(-> $result)? {
                body($($argument),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            fn wide($($argument: $type),*) $(-> $result)? {
                body($($argument),*)
            }

            match path {
                // SAFETY: a device with one of these paths exists only where `CpuPath::require` found the features.
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::CpuPath::Avx512 | $crate::cpu::CpuPath::Amx => unsafe { wide($($argument),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::CpuPath::Avx2 => unsafe { narrow($($argument),*) },
                _ => body($($argument),*),
            }
        }
    };
}
pub(super) use vectorised;

/// Partial sums kept side by side: four of the widest vectors, which hides the latency of an addition.
const LANES: usize = 64;
/// One of them.
const VECTOR: usize = 16;

/// `e^x` to about two units in the last place; 0 below −87.33, finite above 88.37, NaN for NaN.
///
/// `x = n ln 2 + r`, `e^r` by a polynomial of degree 7 (the coefficients of Cephes' `expf`), `2^n` by its bits.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.33;
    const HIGHEST: f32 = 88.37;
    /// Adding it leaves the nearest integer in the low bits of the significand.
    const ROUNDER: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let clamped = if x < LOWEST { LOWEST } else { x };
    let clamped = if clamped > HIGHEST { HIGHEST } else { clamped };
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUNDER);
    let n = shifted - ROUNDER;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, clamped));
    let mut p = 1.987_569_1e-4_f32;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p.mul_add(r, coefficient);
    }
    let mantissa = (p * r).mul_add(r, r) + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUNDER.to_bits()).wrapping_add(127) << 23;
    let value = mantissa * f32::from_bits(exponent);
    if x < LOWEST { 0.0 } else { value }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Adds the lanes pairwise.
#[inline(always)]
fn total(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// `Σ a[i] b[i]`.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (mut left, mut right) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in (&mut left).zip(&mut right) {
        for i in 0..LANES {
            lanes[i] = a[i].mul_add(b[i], lanes[i]);
        }
    }
    let (mut left, mut right) = (left.remainder().chunks_exact(VECTOR), right.remainder().chunks_exact(VECTOR));
    for (a, b) in (&mut left).zip(&mut right) {
        for i in 0..VECTOR {
            lanes[i] = a[i].mul_add(b[i], lanes[i]);
        }
    }
    let tail = left.remainder().iter().zip(right.remainder());
    for (lane, (a, b)) in lanes.iter_mut().zip(tail) {
        *lane = a.mul_add(*b, *lane);
    }
    total(lanes)
}

/// `Σ x[i]`.
#[inline(always)]
pub(super) fn sum(x: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for x in &mut chunks {
        for i in 0..LANES {
            lanes[i] += x[i];
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane += x;
    }
    total(lanes)
}

/// `Σ a[i] b[i] c[i]`.
#[inline(always)]
pub(super) fn dot3(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (mut first, mut second, mut third) = (a.chunks_exact(LANES), b.chunks_exact(LANES), c.chunks_exact(LANES));
    for ((a, b), c) in (&mut first).zip(&mut second).zip(&mut third) {
        for i in 0..LANES {
            lanes[i] = (a[i] * b[i]).mul_add(c[i], lanes[i]);
        }
    }
    let mut first = first.remainder().chunks_exact(VECTOR);
    let mut second = second.remainder().chunks_exact(VECTOR);
    let mut third = third.remainder().chunks_exact(VECTOR);
    for ((a, b), c) in (&mut first).zip(&mut second).zip(&mut third) {
        for i in 0..VECTOR {
            lanes[i] = (a[i] * b[i]).mul_add(c[i], lanes[i]);
        }
    }
    let tail = first.remainder().iter().zip(second.remainder()).zip(third.remainder());
    for (lane, ((a, b), c)) in lanes.iter_mut().zip(tail) {
        *lane = (a * b).mul_add(*c, *lane);
    }
    total(lanes)
}

/// The largest element, or `least` if none is larger.
#[inline(always)]
pub(super) fn largest(x: &[f32], least: f32) -> f32 {
    let mut lanes = [least; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for i in 0..LANES {
            lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
        }
    }
    let mut vectors = chunks.remainder().chunks_exact(VECTOR);
    for (lanes, x) in lanes.chunks_exact_mut(VECTOR).zip(&mut vectors) {
        for i in 0..VECTOR {
            lanes[i] = if x[i] > lanes[i] { x[i] } else { lanes[i] };
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(vectors.remainder()) {
        *lane = if x > *lane { x } else { *lane };
    }
    greatest(lanes)
}

/// The largest lane, by halves: one after the other they would wait for each other.
#[inline(always)]
fn greatest(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = if lanes[i + width] > lanes[i] { lanes[i + width] } else { lanes[i] };
        }
        width /= 2;
    }
    lanes[0]
}

/// The largest magnitude; 0 of nothing.
#[inline(always)]
pub(super) fn largest_magnitude(x: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for i in 0..LANES {
            let size = chunk[i].abs();
            lanes[i] = if size > lanes[i] { size } else { lanes[i] };
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane = if x.abs() > *lane { x.abs() } else { *lane };
    }
    greatest(lanes)
}

/// `x[i] = e^(scale · x[i] − shift)`; returns the sum.
#[inline(always)]
pub(super) fn exponentials(x: &mut [f32], scale: f32, shift: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let mut chunks = x.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for i in 0..LANES {
            let value = exp(chunk[i].mul_add(scale, -shift));
            chunk[i] = value;
            lanes[i] += value;
        }
    }
    // Rows of attention are short: what is no whole chunk takes whole vectors too, the last one padded.
    let rest = chunks.into_remainder();
    let whole = rest.len() / VECTOR;
    let mut vectors = rest.chunks_exact_mut(VECTOR);
    for (lanes, x) in lanes.chunks_exact_mut(VECTOR).zip(&mut vectors) {
        for i in 0..VECTOR {
            let value = exp(x[i].mul_add(scale, -shift));
            x[i] = value;
            lanes[i] += value;
        }
    }
    let last = vectors.into_remainder();
    if !last.is_empty() {
        let mut padded = [0.0; VECTOR];
        padded[..last.len()].copy_from_slice(last);
        for value in &mut padded {
            *value = exp(value.mul_add(scale, -shift));
        }
        last.copy_from_slice(&padded[..last.len()]);
        for (lane, value) in lanes[whole * VECTOR..].iter_mut().zip(last) {
            *lane += *value;
        }
    }
    total(lanes)
}

/// `Σ e^d` and `Σ d e^d` with `d = x[i] − highest`, which is no more than 0; −∞ adds nothing to either.
#[inline(always)]
pub(super) fn softmax_sums(x: &[f32], highest: f32) -> (f32, f32) {
    let (mut sums, mut weighted) = ([0.0; LANES], [0.0; LANES]);
    let mut add = |lane: usize, x: f32| {
        let d = if x - highest < -87.0 { -87.0 } else { x - highest };
        let value = exp(d);
        sums[lane] += value;
        weighted[lane] = d.mul_add(value, weighted[lane]);
    };
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, &x) in chunk.iter().enumerate() {
            add(lane, x);
        }
    }
    for (lane, &x) in chunks.remainder().iter().enumerate() {
        add(lane, x);
    }
    (total(sums), total(weighted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_adds_the_same_elements_to_the_same_lanes() {
        let numbers: Vec<f32> = (0..200).map(|i| ((i * 37) % 101) as f32 * 0.07 - 3.0).collect();
        for length in 0..numbers.len() {
            let mut lanes = [0.0_f32; LANES];
            let mut greatest = -1.0;
            let mut expected = numbers[..length].to_vec();
            for (i, x) in expected.iter_mut().enumerate() {
                greatest = if *x > greatest { *x } else { greatest };
                *x = exp(x.mul_add(0.5, -0.25));
                lanes[i % LANES] += *x;
            }
            let mut given = numbers[..length].to_vec();
            assert_eq!(largest(&given, -1.0), greatest, "{length}");
            assert_eq!(exponentials(&mut given, 0.5, 0.25).to_bits(), total(lanes).to_bits(), "{length}");
            assert_eq!(given, expected, "{length}");
        }
    }

    #[test]
    fn exp_is_within_three_units_in_the_last_place() {
        for i in -87_300..88_300 {
            let x = i as f32 * 1e-3;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 3.0 * f64::from(f32::EPSILON) / 2.0, "exp({x}): relative error {error:e}");
        }
        assert_eq!(exp(-87.4), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::INFINITY).is_finite());
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(exp(0.0), 1.0);
    }
}

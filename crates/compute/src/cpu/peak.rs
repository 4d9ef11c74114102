//! What this processor could do at most: multiply-adds in registers, with nothing to load and nothing to wait for.
//!
//! Kernels are judged by the share of this that they reach. Twelve sums hide the latency of the instruction on every
//! processor with one or two units for it; the best of several short rounds is taken, since whatever else runs can only
//! take away.

use super::CpuPath;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What is multiplied and added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arithmetic {
    /// f32 factors and sums.
    F32,
    /// bf16 factors, f32 sums.
    Bf16,
    /// Factors of 8 bits, sums of 32.
    Int8,
}

impl Arithmetic {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::Int8];
}

impl std::fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

/// Rounds of which the best counts.
const ROUNDS: usize = 6;
/// Turns of a loop in one round: some milliseconds.
const TURNS: u32 = 1 << 20;
/// Independent sums of a loop.
const SUMS: usize = 12;

/// Measures the most multiplications and additions that this processor does on a path, in 10⁹ a second (GFLOP/s, or
/// GOP/s of integers), on this many threads (at least one; fewer where the system gives no more).
///
/// `None` where the path is the scalar one, which is no measure of a processor, or the processor lacks the instruction.
/// Takes a few tens of milliseconds.
pub fn peak(path: CpuPath, arithmetic: Arithmetic, threads: usize) -> Option<f64> {
    let work = Work::of(path, arithmetic)?;
    let rounds = (0..ROUNDS).map(|_| work.round(threads.max(1)));
    rounds.reduce(f64::max)
}

/// A loop and what one turn of it does.
#[derive(Clone, Copy)]
struct Work {
    /// Safe to call on this processor: [`Work::of`] has asked.
    turns: unsafe fn(u32),
    operations_per_turn: f64,
}

impl Work {
    /// The loop for an arithmetic on a path, if this processor has the instructions.
    #[cfg(target_arch = "x86_64")]
    fn of(path: CpuPath, arithmetic: Arithmetic) -> Option<Self> {
        use std::arch::is_x86_feature_detected as has;
        if !path.is_available() {
            return None;
        }
        let (turns, lanes): (unsafe fn(u32), usize) = match (path, arithmetic) {
            (CpuPath::Avx2, Arithmetic::F32) => (x86::narrow_f32, 8),
            (CpuPath::Avx2, Arithmetic::Int8) => (x86::narrow_int8, 32),
            (CpuPath::Amx, Arithmetic::Bf16) => {
                return Some(Self { turns: x86::tiled_bf16, operations_per_turn: x86::TILED });
            }
            (CpuPath::Avx512 | CpuPath::Amx, Arithmetic::F32) => (x86::wide_f32, 16),
            (CpuPath::Avx512, Arithmetic::Bf16) if has!("avx512bf16") => (x86::wide_bf16, 32),
            (CpuPath::Avx512 | CpuPath::Amx, Arithmetic::Int8) if has!("avx512vnni") => (x86::wide_int8, 64),
            _ => return None,
        };
        Some(Self { turns, operations_per_turn: (2 * lanes * SUMS) as f64 })
    }

    /// No other processor has a loop.
    #[cfg(not(target_arch = "x86_64"))]
    fn of(_: CpuPath, _: Arithmetic) -> Option<Self> {
        None
    }

    /// One round on all threads at once, the caller's among them: operations in 10⁹ a second.
    fn round(self, threads: usize) -> f64 {
        let arrived = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let run = |expected: usize| {
                arrived.fetch_add(1, Ordering::AcqRel);
                let begun = Instant::now();
                // A late thread would find the processor half empty; no wait is long.
                while arrived.load(Ordering::Acquire) < expected && begun.elapsed() < Duration::from_millis(20) {
                    std::hint::spin_loop();
                }
                let begun = Instant::now();
                // SAFETY: `Work::of` hands out a loop only where the processor has its instructions.
                unsafe { (self.turns)(TURNS) };
                begun.elapsed()
            };
            let helpers: Vec<_> = (1..threads)
                .filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, move || run(threads)).ok())
                .collect();
            let working = (helpers.len() + 1) as f64;
            let own = run(helpers.len() + 1);
            let longest = helpers.into_iter().filter_map(|helper| helper.join().ok()).fold(own, Duration::max);
            working * f64::from(TURNS) * self.operations_per_turn / longest.as_secs_f64() / 1e9
        })
    }
}

/// The loops. Their factors are hidden from the compiler, which would otherwise compute the sums itself.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::fast::tiles;
    use super::SUMS;
    use std::arch::x86_64::{
        __m512, __m512bh, _mm256_add_epi32, _mm256_fmadd_ps, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi8,
        _mm256_set1_epi16, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm512_dpbf16_ps,
        _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_set1_epi8, _mm512_set1_ps, _mm512_setzero_ps,
        _mm512_setzero_si512,
    };
    use std::hint::black_box;

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn narrow_f32(turns: u32) {
        let factors = black_box([_mm256_set1_ps(0.5); 2]);
        let mut sums = [_mm256_setzero_ps(); SUMS];
        for _ in 0..turns {
            // A closure could stay a call, and the sums then go through memory.
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(factors[0], factors[1], *sum);
            }
        }
        black_box(sums);
    }

    /// Pairs of products, sums of pairs, and the addition: three instructions where VNNI has one. The sum is a factor
    /// too, since products of constants would be taken out of the loop.
    #[target_feature(enable = "avx2")]
    pub(super) fn narrow_int8(turns: u32) {
        let (factor, ones) = black_box((_mm256_set1_epi8(1), _mm256_set1_epi16(1)));
        let mut sums = [_mm256_setzero_si256(); SUMS];
        for _ in 0..turns {
            for sum in &mut sums {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_maddubs_epi16(factor, *sum), ones));
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn wide_f32(turns: u32) {
        let factors = black_box([_mm512_set1_ps(0.5); 2]);
        let mut sums = [_mm512_setzero_ps(); SUMS];
        for _ in 0..turns {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(factors[0], factors[1], *sum);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn wide_bf16(turns: u32) {
        // SAFETY: both types are 512 bits without any that are invalid; as bf16 these are pairs of 0.5 and 0.
        let factors = black_box([unsafe { std::mem::transmute::<__m512, __m512bh>(_mm512_set1_ps(0.5)) }; 2]);
        let mut sums = [_mm512_setzero_ps(); SUMS];
        for _ in 0..turns {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, factors[0], factors[1]);
            }
        }
        black_box(sums);
    }

    /// Turns in which each of the four tiles of sums gains a product: one product takes as long as sixteen vectors do.
    const EACH: u32 = 16;
    /// Operations of a turn.
    pub(super) const TILED: f64 = 4.0 * tiles::OPERATIONS / EACH as f64;

    pub(super) fn tiled_bf16(turns: u32) {
        // SAFETY: this loop is handed out only where the processor has the path of tiles.
        unsafe { tiles::multiply_zeros(turns / EACH) };
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn wide_int8(turns: u32) {
        let factors = black_box([_mm512_set1_epi8(1); 2]);
        let mut sums = [_mm512_setzero_si512(); SUMS];
        for _ in 0..turns {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, factors[0], factors[1]);
            }
        }
        black_box(sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vector_path_has_a_peak_in_what_it_multiplies_and_the_scalar_one_has_none() {
        for arithmetic in Arithmetic::ALL {
            assert_eq!(peak(CpuPath::Scalar, arithmetic, 1), None);
        }
        for path in
            CpuPath::available().into_iter().filter(|path| cfg!(target_arch = "x86_64") && *path != CpuPath::Scalar)
        {
            let measured = peak(path, Arithmetic::F32, 2).unwrap();
            assert!(measured.is_finite() && measured > 0.0, "{path}: {measured}");
            assert_eq!(peak(path, Arithmetic::Bf16, 1).is_some(), path.multiplies_bf16());
        }
    }
}

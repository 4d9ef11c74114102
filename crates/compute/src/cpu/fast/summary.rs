//! One look at a row of logits, two passes of vector instructions.

use super::vector::{exponentials, largest, softmax_sums, vectorised};
use crate::LogitsSummary;
use crate::cpu::CpuPath;
use std::sync::OnceLock;

/// Numbers whose exponentials are summed in f32 before they go on in f64.
const PART: usize = 4096;

vectorised! {
    /// The largest logit, and whether all are numbers below infinity.
    fn extremes(logits: &[f32]) -> (f32, bool) {
        let sound = logits.iter().fold(true, |sound, l| sound & (*l < f32::INFINITY));
        (largest(logits, f32::NEG_INFINITY), sound)
    }
}

vectorised! {
    /// `Σ e^d` and `Σ d e^d` with `d = l − highest`.
    fn sums(logits: &[f32], highest: f32) -> (f32, f32) {
        softmax_sums(logits, highest)
    }
}

vectorised! {
    /// The index of the first logit that is this large.
    fn first(logits: &[f32], value: f32) -> Option<usize> {
        let part = logits.chunks(64).position(|part| part.iter().fold(false, |any, l| any | (*l == value)))?;
        logits[part * 64..].iter().position(|l| *l == value).map(|index| part * 64 + index)
    }
}

/// Sums up one row of logits on the fastest path of this processor; a few parts in a million off the truth.
pub fn summarise(logits: &[f32]) -> LogitsSummary {
    static PATH: OnceLock<CpuPath> = OnceLock::new();
    on_path(*PATH.get_or_init(CpuPath::best), logits)
}

vectorised! {
    /// Softmax in place; returns the sum of the exponentials, so that nothing finite is seen.
    fn soften(logits: &mut [f32]) -> f32 {
        let sum = exponentials(logits, 1.0, largest(logits, f32::NEG_INFINITY));
        for p in logits {
            *p /= sum;
        }
        sum
    }
}

/// Turns one row of logits into probabilities on the fastest path of this processor; a row in which nothing is finite
/// becomes zeros.
pub fn softmax_row(logits: &mut [f32]) {
    static PATH: OnceLock<CpuPath> = OnceLock::new();
    let sum = soften(*PATH.get_or_init(CpuPath::best), logits);
    if !(sum.is_finite() && sum > 0.0) {
        logits.fill(0.0);
    }
}

fn on_path(path: CpuPath, logits: &[f32]) -> LogitsSummary {
    let nothing = LogitsSummary::NOTHING;
    let (highest, sound) = extremes(path, logits);
    if !sound {
        return LogitsSummary { broken: logits.iter().position(|l| l.is_nan() || *l == f32::INFINITY), ..nothing };
    }
    let Some(likeliest) = first(path, logits, highest).filter(|_| highest.is_finite()) else { return nothing };
    let (mut total, mut mean) = (0.0_f64, 0.0_f64);
    for part in logits.chunks(PART) {
        let (sum, weighted) = sums(path, part, highest);
        total += f64::from(sum);
        mean += f64::from(weighted);
    }
    let (before, after) = (&logits[..likeliest], &logits[likeliest + 1..]);
    let second = extremes(path, before).0.max(extremes(path, after).0);
    let log_total = total.ln();
    LogitsSummary {
        likeliest: Some(likeliest),
        highest: f64::from(highest),
        log_sum_exp: f64::from(highest) + log_total,
        // −Σ p ln p with ln p = d − ln Σ e^d; rounding may push a certain prediction just below 0.
        entropy: (log_total - mean / total).max(0.0),
        margin: (1.0 - (f64::from(second) - f64::from(highest)).exp()) / total,
        broken: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_summary_is_that_of_the_softmax(
            logits in prop::collection::vec(prop_oneof![9 => -30.0_f32..30.0, 1 => Just(f32::NEG_INFINITY)], 1..9000)
        ) {
            let wide: Vec<f64> = logits.iter().map(|l| f64::from(*l)).collect();
            let highest = wide.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            for path in CpuPath::available() {
                let summary = on_path(path, &logits);
                prop_assert_eq!(summary.broken, None);
                let Some(likeliest) = summary.likeliest else {
                    prop_assert_eq!(highest, f64::NEG_INFINITY);
                    continue;
                };
                prop_assert_eq!(Some(likeliest), wide.iter().position(|l| *l == highest));
                let total: f64 = wide.iter().map(|l| (l - highest).exp()).sum();
                let p: Vec<f64> = wide.iter().map(|l| (l - highest).exp() / total).collect();
                let entropy: f64 = p.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
                let second = (0..p.len()).filter(|i| *i != likeliest).map(|i| p[i]).fold(0.0, f64::max);
                prop_assert!((summary.log_sum_exp - highest - total.ln()).abs() < 1e-5);
                prop_assert!((summary.entropy - entropy).abs() < 1e-4, "{} {}", summary.entropy, entropy);
                let mut softened = logits.clone();
                soften(path, &mut softened);
                prop_assert!(softened.iter().zip(&p).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6));
                prop_assert!((summary.margin - (p[likeliest] - second)).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn what_is_broken_is_found() {
        for path in CpuPath::available() {
            let mut logits = vec![1.0; 200];
            logits[70] = f32::NAN;
            logits[150] = f32::INFINITY;
            assert_eq!(on_path(path, &logits).broken, Some(70));
            logits[70] = f32::NEG_INFINITY;
            assert_eq!(on_path(path, &logits).broken, Some(150));
            assert_eq!(on_path(path, &[f32::NEG_INFINITY; 3]).likeliest, None);
            assert_eq!(on_path(path, &[]).likeliest, None);
            assert_eq!(on_path(path, &[7.0]).margin, 1.0);
        }
    }
}
